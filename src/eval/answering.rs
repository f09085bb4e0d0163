//! Where the completions that are evaluated come from: independent samples, or a search among several.

use super::{Eval, choices, search};
use crate::engine::{Progress, Sampling};
use crate::error::Result;
use crate::log::Metrics;
use crate::policy::Policy;
use crate::ranks::Ranks;
use crate::rationale::Format;
use crate::reward::{Models, Rewards, Scoring};
use crate::rollout::{Group, Prompted, SamplingContext, Search, Seeds, Source, Unscored, independent};
use crate::seed;

/// What answers: the policy, and what a search among its completions goes by.
pub struct Answering<'a> {
    /// What writes.
    pub policy: &'a Policy,
    /// The policy's own way of sampling, of which [`Eval`] changes temperature and length.
    pub sampling: &'a Sampling,
    /// How a rationale is written.
    pub format: &'a Format,
    /// The search that finds the answers, where the recipe has one; independent samples otherwise.
    pub search: Option<&'a dyn Search>,
    /// What completions come from where the policy does not write them alone, such as with tools.
    pub source: &'a dyn Source,
    /// What judges them.
    pub rewards: &'a mut Rewards,
    /// What measures them besides, where `[eval.measures]` names something.
    pub measures: &'a mut Rewards,
    /// Tokens that go through a model together.
    pub budget: usize,
    /// Who shares the questions.
    pub ranks: &'a dyn Ranks,
}

impl Answering<'_> {
    /// The answers of one repeat, measured; with a search, one to each question.
    pub(super) fn groups(
        &mut self,
        questions: &[Prompted],
        config: &Eval,
        of: [u64; 2],
        progress: &mut dyn FnMut(&Progress),
    ) -> Result<(Vec<Group>, Vec<search::Searched>)> {
        let mut context = SamplingContext {
            policy: self.policy,
            sampling: &config.sampling(self.sampling),
            format: self.format,
            seeds: Seeds::new(&of, questions),
            tokens_per_microbatch: self.budget,
            nonce: 0,
            scorer: &mut Unscored,
            figures: &mut Metrics::default(),
            progress,
            tokens: 0,
        };
        let models = || Models::of(self.policy, self.budget);
        let (mut groups, searched) = match (self.search, &config.choices) {
            (_, Some(choosing)) => {
                (choices::groups(self.policy, questions, choosing, self.format, self.budget)?, vec![])
            }
            (None, None) => {
                let answered = self.source.answer(questions, config.samples, &mut context)?;
                let alone = |context: &mut SamplingContext| {
                    independent::sample(questions, config.samples, context).map(|(groups, _)| groups)
                };
                (answered.map_or_else(|| alone(&mut context), Ok)?, vec![])
            }
            (Some(search), None) => {
                let mut scoring = Scoring { rewards: self.rewards, models: models() };
                context.scorer = &mut scoring;
                search::search(search, questions, &mut context, seed::derive(&of))?
            }
        };
        if !self.measures.is_empty() {
            self.measures.score(&mut groups, &models())?;
        }
        Ok((groups, searched))
    }
}
