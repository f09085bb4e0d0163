//! The recipe's rewards as the scorer of those who sample.

use super::{Models, Rewards, correct};
use crate::error::Result;
use crate::rollout::{Group, Rollout, Sample, Scorer};

/// Rewards with the models that they may ask.
pub struct Scoring<'a> {
    /// What scores.
    pub rewards: &'a mut Rewards,
    /// What it may ask.
    pub models: Models<'a>,
}

impl Scorer for Scoring<'_> {
    fn score(&mut self, groups: &mut [Group]) -> Result<()> {
        self.rewards.score(groups, &self.models)
    }

    fn score_counting(&mut self, groups: &mut [Group]) -> Result<()> {
        self.rewards.score_weighted(groups, &self.models)
    }

    fn score_while(&mut self, sample: Sample) -> Result<Vec<Group>> {
        self.rewards.score_sampling(&self.models, sample)
    }

    fn correct(&self, group: &Group, rollout: &Rollout) -> Option<bool> {
        correct(&group.example, rollout)
    }
}
