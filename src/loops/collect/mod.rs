//! Rollouts, scores and filters to traces; nothing is trained.

pub mod follow_up;

use super::selection::selected;
use super::{Worker, figures};
use crate::error::Result;
use crate::log::Metrics;
use crate::rollout::Group;
use follow_up::FollowUp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::HashSet;

/// `[loop.collect]`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Collect {
    /// Ask the policy about each option of a question after its rationales, keep those that pass, and write pairs (CREST).
    pub follow_up: Option<FollowUp>,
}

impl Collect {
    /// Checks the values.
    pub fn validate(&self) -> Result<()> {
        self.follow_up.as_ref().map_or(Ok(()), FollowUp::validate)
    }

    /// The rollouts of `step` that `[select]` and the follow-up questions keep, and the pairs of all of them.
    pub fn groups(
        &self,
        worker: &mut Worker,
        step: usize,
        metrics: &mut Metrics,
    ) -> Result<(Vec<Group>, Vec<Value>)> {
        let mut prompts = worker.questions.of_step(step);
        // A step that begins the next pass over the questions may come to one twice, with the same seeds.
        let mut seen = HashSet::new();
        prompts.retain(|prompted| seen.insert(prompted.example.index));
        let mut groups = worker.roll_out(&prompts, step, 0, metrics)?;
        figures::describe(&groups, metrics);
        let (mut judged, mut pairs) = (Vec::new(), Vec::new());
        if let Some(follow_up) = &self.follow_up {
            judged = follow_up.judge(worker, &mut groups, metrics)?;
            pairs = follow_up.pairs(&groups, &judged, worker.seed, step, metrics);
        }
        for (at, group) in groups.iter_mut().enumerate() {
            let mut kept = selected(&worker.select, group, metrics);
            if let Some(follow_up) = &self.follow_up {
                let passed = follow_up.kept(group, &judged[at]);
                kept.retain(|rollout| passed.contains(rollout));
            }
            let mut index = 0;
            group.rollouts.retain(|_| {
                index += 1;
                kept.contains(&(index - 1))
            });
        }
        Ok((groups, pairs))
    }
}
