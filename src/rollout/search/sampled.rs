//! One of n independent completions: the best by a reward, `[rollout.best_of]` (verifiers, Cobbe et al. 2021, arXiv 2110.14168;
//! with step scores, Lightman et al. 2023, 2305.20050), or the answer that the scores add up to most for,
//! `[rollout.weighted_vote]` (Li et al. 2022, 2206.02336; Math-Shepherd, Wang et al. 2023, 2312.08935).

use super::{Search, SearchResult, no_negative};
use crate::error::Result;
use crate::rollout::{Group, Picks, Prompted, SamplingContext, independent};
use crate::section::Misfit;
use crate::select::vote::vote;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Among which independent completions one is picked, and by what.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Sampled {
    /// Completions of each prompt.
    pub n: usize,
    /// The reward that judges, such as `process`; the weighted sum of all by default.
    pub by: Option<String>,
}

/// The completion of highest score among `n` independent ones.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct BestOf(pub Sampled);

/// The completion of highest score among those with the answer whose scores are most together; where none has an answer, among
/// all. Scores must not be negative.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct WeightedVote(pub Sampled);

/// Which of several completions is the answer.
pub trait Pick: Clone + 'static {
    /// The search's name in recipes.
    const NAME: &'static str;

    /// Its keys.
    fn sampled(&self) -> &Sampled;

    /// The search with these keys.
    fn of(sampled: Sampled) -> Self;

    /// The index of the answer, by what the judge says of each.
    fn pick(group: &Group, scores: &[f64]) -> Result<usize>;
}

impl Default for Sampled {
    fn default() -> Self {
        Self { n: 8, by: None }
    }
}

impl<P: Pick> Search for P {
    fn name(&self) -> &'static str {
        P::NAME
    }

    fn picks(&self) -> Picks<'_> {
        let Sampled { n, by } = self.sampled();
        Picks { n: *n, by: by.as_deref(), independent: true, judged: true }
    }

    fn with(&self, n: usize) -> Box<dyn Search> {
        Box::new(P::of(Sampled { n, ..self.sampled().clone() }))
    }

    fn check(&self) -> Vec<Misfit> {
        super::at_least_one(&[("n", self.sampled().n)])
    }

    fn find(&self, prompts: &[Prompted], context: &mut SamplingContext) -> Result<Vec<SearchResult>> {
        let Sampled { n, by } = self.sampled();
        let choose = |group: Group| {
            let chosen = P::pick(&group, &super::scores(&group, by.as_deref())?)?;
            Ok(SearchResult { group, chosen })
        };
        independent::sample(prompts, *n, context)?.0.into_iter().map(choose).collect()
    }
}

impl Pick for BestOf {
    const NAME: &'static str = "best_of";

    fn sampled(&self) -> &Sampled {
        &self.0
    }

    fn of(sampled: Sampled) -> Self {
        Self(sampled)
    }

    fn pick(_: &Group, scores: &[f64]) -> Result<usize> {
        Ok(super::best(scores))
    }
}

impl Pick for WeightedVote {
    const NAME: &'static str = "weighted_vote";

    fn sampled(&self) -> &Sampled {
        &self.0
    }

    fn of(sampled: Sampled) -> Self {
        Self(sampled)
    }

    fn pick(group: &Group, scores: &[f64]) -> Result<usize> {
        no_negative(group, scores, Self::NAME)?;
        let classes = group.classes();
        let winner = vote(&classes, scores).and_then(|(first, _)| classes[first]);
        let speaks = |index: &usize| winner.is_none() || classes[*index] == winner;
        let voices: Vec<usize> = (0..classes.len()).filter(speaks).collect();
        let of_voices: Vec<f64> = voices.iter().map(|&voice| scores[voice]).collect();
        Ok(voices[super::best(&of_voices)])
    }
}
