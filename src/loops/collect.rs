//! Rollouts, scores and filters to traces; nothing is trained.

use super::Context;
use crate::error::Result;
use crate::log::Metrics;
use crate::rollout::Group;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;

/// `[loop.collect]`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Collect {}

impl Collect {
    /// The rollouts of `step` that `[select]` keeps.
    pub fn groups(&self, context: &mut Context, step: usize, metrics: &mut Metrics) -> Result<Vec<Group>> {
        let mut prompts = context.questions.of_step(step);
        // A step that begins the next pass over the questions may come to one twice, with the same seeds.
        let mut seen = HashSet::new();
        prompts.retain(|prompted| seen.insert(prompted.example.index));
        let mut groups = context.groups(&prompts, step, 0, metrics)?;
        Context::describe(&groups, metrics);
        for group in &mut groups {
            let kept = context.selected(group, metrics);
            let mut index = 0;
            group.rollouts.retain(|_| {
                index += 1;
                kept.contains(&(index - 1))
            });
        }
        Ok(groups)
    }
}
