//! The answer that the scores of n completions add up to most for: `[rollout.weighted_vote]` (Li et al. 2022, arXiv
//! 2206.02336; Math-Shepherd, Wang et al. 2023, 2312.08935).

use super::{Found, Means, Search};
use crate::error::{Error, Result};
use crate::rollout::{Group, Prompted, Rollout};
use crate::select::vote::{same, vote};
use serde::{Deserialize, Serialize};

/// The completion of highest score among those with the answer whose scores are most together; where none has an answer, among
/// all. Scores must not be negative.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WeightedVote {
    /// Completions of each prompt.
    pub n: usize,
    /// The reward that judges, such as `process`; the weighted sum of all by default.
    pub by: Option<String>,
}

impl Default for WeightedVote {
    fn default() -> Self {
        Self { n: 8, by: None }
    }
}

impl Search for WeightedVote {
    fn name(&self) -> &'static str {
        "weighted_vote"
    }

    fn n(&self) -> usize {
        self.n
    }

    fn by(&self) -> Option<&str> {
        self.by.as_deref()
    }

    fn with(&self, n: usize) -> Box<dyn Search> {
        Box::new(Self { n, ..self.clone() })
    }

    fn independent(&self) -> bool {
        true
    }

    fn validate(&self) -> Result<()> {
        super::at_least_one(self.name(), "n", self.n)
    }

    fn find(&self, prompts: &[Prompted], means: &mut Means) -> Result<Vec<Found>> {
        let choose = |group: Group| {
            let chosen = chosen(&group, &super::worths(&group, self.by())?)?;
            Ok(Found { group, chosen })
        };
        super::independent(prompts, self.n, means)?.into_iter().map(choose).collect()
    }
}

/// The best-scored rollout of the answer that most weight speaks for.
pub(super) fn chosen(group: &Group, worths: &[f64]) -> Result<usize> {
    if let Some(worth) = worths.iter().find(|worth| **worth < 0.0) {
        return Err(Error::Reward(format!(
            "example {}: rollout.weighted_vote adds up scores, and one is {worth}: a negative vote would speak against its \
             own answer; name a reward whose scores are shares or probabilities in rollout.weighted_vote.by",
            group.example.id
        )));
    }
    let answers: Vec<Option<&str>> = group.rollouts.iter().map(Rollout::answer).collect();
    let winner = vote(&answers, worths).and_then(|(first, _)| answers[first]);
    let speaks = |index: &usize| winner.is_none_or(|winner| answers[*index].is_some_and(|a| same(a, winner)));
    let voices: Vec<usize> = (0..answers.len()).filter(speaks).collect();
    let of_voices: Vec<f64> = voices.iter().map(|&voice| worths[voice]).collect();
    Ok(voices[super::best(&of_voices)])
}
