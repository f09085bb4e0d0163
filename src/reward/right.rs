//! Which completions are right: by the gold answer, or by another reward's score.

use super::{Wants, correct};
use crate::rollout::Group;
use anyhow::Context;

/// Whether each rollout of a group is right.
#[derive(Debug, Clone, PartialEq)]
pub struct Right {
    by: Option<String>,
    at: f64,
}

impl Right {
    /// By the score of the reward `by`, of at least `at` (1 by default); else by the gold answer.
    pub fn new(by: Option<String>, at: Option<f64>) -> anyhow::Result<Self> {
        anyhow::ensure!(
            by.is_some() || at.is_none(),
            "right_at needs right_by, the reward whose score it bounds"
        );
        let at = at.unwrap_or(1.0);
        anyhow::ensure!(at.is_finite(), "right_at = {at}: must be a finite number");
        Ok(Self { by, at })
    }

    /// Whether another reward's score decides, so that it has to be known before.
    pub fn by_another(&self) -> bool {
        self.by.is_some()
    }

    /// What it needs: a gold answer of every row, or the score of the other reward.
    pub fn wants(&self) -> Wants {
        match &self.by {
            Some(name) => Wants::default().reward("right_by", name),
            None => Wants::default().gold(
                "it says which completions are right: add an `answer` column, or name a reward that says it as right_by",
            ),
        }
    }

    /// One answer a rollout.
    pub fn of(&self, group: &Group) -> anyhow::Result<Vec<bool>> {
        let right = |rollout| {
            match &self.by {
            None => correct(&group.example, rollout).context(
                "it has no gold answer that says which completions are right; add an `answer` column, or name a reward \
                 that says it as right_by",
            ),
            Some(name) => Ok(rollout.score_of(name)? >= self.at),
        }
        };
        group.rollouts.iter().map(right).collect()
    }
}
