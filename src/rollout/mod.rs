//! How completions come to be, and what is known of each: groups of scored rollouts.

use crate::data::Example;
use crate::engine::StopReason;
use crate::rationale::Rationale;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What a reward says of one rollout.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Score {
    /// The outcome's worth; finite.
    pub value: f64,
}

impl From<f64> for Score {
    fn from(value: f64) -> Self {
        Self { value }
    }
}

/// One completion of one example, parsed and scored.
#[derive(Debug, Clone)]
pub struct Rollout {
    /// Token ids, as sampled; never re-tokenised.
    pub tokens: Vec<u32>,
    /// The completion as text, special tokens left out.
    pub text: String,
    /// log p(token) recorded while sampling, in nats; `old_logprobs` of the policy-gradient losses.
    pub logprobs: Vec<f32>,
    /// Why the completion ended.
    pub stop: StopReason,
    /// The completion read as a rationale, where it has an answer.
    pub rationale: Option<Rationale>,
    /// Scores by reward name, before weights.
    pub scores: BTreeMap<String, Score>,
    /// Σ weight · score.
    pub reward: f64,
}

impl Rollout {
    /// Whether the completion was cut off by the token limit.
    pub fn truncated(&self) -> bool {
        self.stop == StopReason::Length
    }

    /// The text of the parsed answer.
    pub fn answer(&self) -> Option<&str> {
        self.rationale.as_ref().map(|r| &self.text[r.answer.clone()])
    }
}

/// All rollouts of one prompt.
#[derive(Debug, Clone)]
pub struct Group {
    /// The example that was asked.
    pub example: Arc<Example>,
    /// The prompt's token ids.
    pub prompt: Vec<u32>,
    /// The rollouts, in sample order.
    pub rollouts: Vec<Rollout>,
}
