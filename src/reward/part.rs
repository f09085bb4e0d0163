//! The part of a completion that a reward reads.

use crate::rollout::{Group, Rollout};
use schemars::JsonSchema;
use serde::Deserialize;

/// `of` in the sections of rewards that read a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// The whole completion.
    Text,
    /// The reasoning, from its first step to its last.
    #[default]
    Rationale,
    /// The answer.
    Answer,
}

impl Part {
    /// The part of a completion; empty where it has none.
    pub fn of(self, rollout: &Rollout) -> &str {
        match self {
            Part::Text => &rollout.text,
            Part::Rationale => {
                rollout.rationale.as_ref().map_or("", |rationale| &rollout.text[rationale.reasoning()])
            }
            Part::Answer => rollout.answer().unwrap_or(""),
        }
    }
}

/// The steps of each of a group's completions as texts; none of one that cannot be read.
pub(super) fn chains(group: &Group) -> Vec<Vec<&str>> {
    group
        .rollouts
        .iter()
        .map(|rollout| {
            let steps = rollout.rationale.as_ref().map_or(&[][..], |rationale| &rationale.steps[..]);
            steps.iter().map(|step| &rollout.text[step.clone()]).collect()
        })
        .collect()
}
