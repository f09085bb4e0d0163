//! Where the completions that are evaluated come from: independent samples, or a search among several.

use super::{Eval, search};
use crate::engine::{Progress, Sampling};
use crate::error::Result;
use crate::policy::Policy;
use crate::rationale::Format;
use crate::reward::{Models, Rewards};
use crate::rollout::search::Means;
use crate::rollout::{Group, Kind, Prompted, group};
use crate::seed;

/// What answers: the policy, and what a search among its completions goes by.
pub struct Answering<'a> {
    /// What writes.
    pub policy: &'a Policy,
    /// The policy's own way of sampling, of which [`Eval`] changes temperature and length.
    pub sampling: &'a Sampling,
    /// How a rationale is written.
    pub format: &'a Format,
    /// Where the completions come from, if it is a search; independent samples otherwise.
    pub rollout: &'a Kind,
    /// What judges them.
    pub rewards: &'a mut Rewards,
    /// Tokens that go through a model together.
    pub budget: usize,
}

impl Answering<'_> {
    /// The answers of one repeat; with a search, one to each question.
    pub(super) fn groups(
        &mut self,
        questions: &[Prompted],
        config: &Eval,
        of: [u64; 2],
        progress: &mut dyn FnMut(&Progress),
    ) -> Result<(Vec<Group>, Option<search::Search>)> {
        let sampling = config.sampling(self.sampling);
        let seeds = |index: usize, sample: usize| seed::derive(&[of[0], of[1], index as u64, sample as u64]);
        let (policy, format) = (self.policy, self.format);
        let Some(search) = self.rollout.search() else {
            let sampled =
                group::sample(policy, questions, config.samples, &sampling, format, seeds, progress)?;
            return Ok((sampled.0, None));
        };
        let models = Models::of(policy, self.budget);
        let rewards = &mut self.rewards;
        let score = &mut |groups: &mut [Group]| rewards.score(groups, &models);
        let sampling = &sampling;
        let mut means = Means { policy, sampling, format, seed: &seeds, score, progress, tokens: 0 };
        let (groups, report) = search::search(search, questions, &mut means, seed::derive(&of))?;
        Ok((groups, Some(report)))
    }
}
