//! What a group's advantages are computed from: its rewards one by one, and the completions' lengths.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The rewards of one group's rollouts.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Outcome {
    /// Of each reward its weight and its scores, one a rollout.
    pub parts: Vec<(f64, Vec<f64>)>,
    /// Tokens of each completion.
    pub lengths: Vec<usize>,
}

/// Rewards that are summed already, of completions of one token each.
impl From<Vec<f64>> for Outcome {
    fn from(rewards: Vec<f64>) -> Self {
        Self { lengths: vec![1; rewards.len()], parts: vec![(1.0, rewards)] }
    }
}

impl Outcome {
    pub(super) fn assert_shape(&self) {
        for (_, scores) in &self.parts {
            assert_eq!(scores.len(), self.lengths.len(), "a group's rewards: one score a rollout");
        }
    }

    /// Σ weight · score of each rollout.
    pub fn rewards(&self) -> Vec<f64> {
        let of_rollout = |i| self.parts.iter().map(|(weight, scores)| weight * scores[i]).sum();
        (0..self.lengths.len()).map(of_rollout).collect()
    }

    /// Whether any reward tells the rollouts apart.
    pub fn differs(&self) -> bool {
        self.parts.iter().any(|(weight, scores)| *weight != 0.0 && !super::zero_variance(scores))
    }
}

/// The groups of equal keys put together, in order of first appearance, and where in them each group lies: which, from
/// where on.
pub(super) fn merged(groups: &[Outcome], keys: &[String]) -> (Vec<Outcome>, Vec<(usize, usize)>) {
    let mut known: Vec<&String> = Vec::new();
    let mut merged: Vec<Outcome> = Vec::new();
    let mut places = Vec::with_capacity(groups.len());
    for (group, key) in groups.iter().zip(keys) {
        let at = known.iter().position(|known| *known == key).unwrap_or(known.len());
        if at == known.len() {
            known.push(key);
            places.push((at, 0));
            merged.push(group.clone());
            continue;
        }
        places.push((at, merged[at].lengths.len()));
        assert_eq!(merged[at].parts.len(), group.parts.len(), "all groups have the same rewards");
        merged[at].lengths.extend(&group.lengths);
        for (part, (_, scores)) in merged[at].parts.iter_mut().zip(&group.parts) {
            part.1.extend(scores);
        }
    }
    (merged, places)
}
