//! One of n independent completions: the best by a reward, `[rollout.best_of]` (verifiers, Cobbe et al. 2021, arXiv 2110.14168;
//! with step scores, Lightman et al. 2023, 2305.20050), or the answer that the scores add up to most for,
//! `[rollout.weighted_vote]` (Li et al. 2022, 2206.02336; Math-Shepherd, Wang et al. 2023, 2312.08935).

use super::{Search, SearchResult};
use crate::error::{Error, Result};
use crate::rollout::{Group, Picks, Prompted, Rollout, SamplingContext, independent};
use crate::section::Misfit;
use crate::select::vote::{same, vote};
use serde::{Deserialize, Serialize};
use std::marker::PhantomData;

/// The completion that `P` picks among `n` independent ones.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default, bound = "")]
pub struct Sampled<P> {
    /// Completions of each prompt.
    pub n: usize,
    /// The reward that judges, such as `process`; the weighted sum of all by default.
    pub by: Option<String>,
    /// How one of them is picked; only a type.
    #[serde(skip)]
    pub pick: PhantomData<P>,
}

/// The completion of highest score among `n` independent ones.
pub type BestOf = Sampled<Highest>;

/// The completion of highest score among those with the answer whose scores are most together; where none has an answer, among
/// all. Scores must not be negative.
pub type WeightedVote = Sampled<MostWeight>;

/// Which of several completions is the answer.
pub trait Pick: Clone + 'static {
    /// The search's name in recipes.
    const NAME: &'static str;

    /// The index of the answer, by what the judge says of each.
    fn pick(group: &Group, scores: &[f64]) -> Result<usize>;
}

/// Picks the highest score.
#[derive(Debug, Clone, PartialEq)]
pub struct Highest;

/// Picks the answer that most weight speaks for.
#[derive(Debug, Clone, PartialEq)]
pub struct MostWeight;

impl<P> Default for Sampled<P> {
    fn default() -> Self {
        Self { n: 8, by: None, pick: PhantomData }
    }
}

impl<P: Pick> Search for Sampled<P> {
    fn name(&self) -> &'static str {
        P::NAME
    }

    fn picks(&self) -> Picks<'_> {
        Picks { n: self.n, by: self.by.as_deref(), independent: true }
    }

    fn with(&self, n: usize) -> Box<dyn Search> {
        Box::new(Self { n, ..self.clone() })
    }

    fn check(&self) -> Vec<Misfit> {
        super::at_least_one(&[("n", self.n)])
    }

    fn find(&self, prompts: &[Prompted], context: &mut SamplingContext) -> Result<Vec<SearchResult>> {
        let choose = |group: Group| {
            let chosen = P::pick(&group, &super::scores(&group, self.by.as_deref())?)?;
            Ok(SearchResult { group, chosen })
        };
        independent::sample(prompts, self.n, context)?.0.into_iter().map(choose).collect()
    }
}

impl Pick for Highest {
    const NAME: &'static str = "best_of";

    fn pick(_: &Group, scores: &[f64]) -> Result<usize> {
        Ok(super::best(scores))
    }
}

impl Pick for MostWeight {
    const NAME: &'static str = "weighted_vote";

    fn pick(group: &Group, scores: &[f64]) -> Result<usize> {
        if let Some(score) = scores.iter().find(|score| **score < 0.0) {
            return Err(Error::Reward(format!(
                "example {}: rollout.weighted_vote adds up scores, and one is {score}: a negative vote would speak against its \
                 own answer; name a reward whose scores are shares or probabilities in rollout.weighted_vote.by",
                group.example.id
            )));
        }
        let answers: Vec<Option<&str>> = group.rollouts.iter().map(Rollout::answer).collect();
        let winner = vote(&answers, scores).and_then(|(first, _)| answers[first]);
        let speaks =
            |index: &usize| winner.is_none_or(|winner| answers[*index].is_some_and(|a| same(a, winner)));
        let voices: Vec<usize> = (0..answers.len()).filter(speaks).collect();
        let of_voices: Vec<f64> = voices.iter().map(|&voice| scores[voice]).collect();
        Ok(voices[super::best(&of_voices)])
    }
}
