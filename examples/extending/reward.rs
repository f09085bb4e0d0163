//! `[reward.budget]`: what a completion is over the tokens that its row allows.

use anyhow::ensure;
use rationale::reward::{Holds, Models, Reward, Wants, column};
use rationale::rollout::{Group, Score};
use rationale::schemars::{self, JsonSchema};
use serde::Deserialize;

/// 0 for a completion within its row's budget, else −`slope` · (tokens over it / budget).
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Budget {
    /// The column that says how many tokens a completion may have.
    pub column: String,
    /// What a completion of twice the budget loses.
    pub slope: f64,
}

impl Default for Budget {
    fn default() -> Self {
        Self { column: "budget".into(), slope: 1.0 }
    }
}

impl Budget {
    pub fn checked(self) -> anyhow::Result<Self> {
        ensure!(self.slope > 0.0, "slope = {}: it must be above 0", self.slope);
        Ok(self)
    }
}

impl Reward for Budget {
    fn score(&mut self, group: &Group, _: &Models) -> anyhow::Result<Vec<Score>> {
        let budget: f64 = column::text(&group.example, &self.column)?.parse()?;
        let score = |tokens: usize| self.slope * ((budget - tokens as f64) / budget).min(0.0);
        Ok(group.rollouts.iter().map(|rollout| Score::from(score(rollout.tokens.len()))).collect())
    }

    /// Looked at when the run opens: a row without the column is named before anything trains.
    fn wants(&self) -> Wants {
        Wants::default().column("column", &self.column, Holds::Count)
    }

    /// It asks no model and no other reward, so that it may score while the next groups are sampled.
    fn independent(&self) -> bool {
        true
    }
}
