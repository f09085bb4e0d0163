//! Cuts between the steps of a completion, and what continuations from there come to.

use serde::{Deserialize, Serialize};

/// Where a completion may be cut: after `step` of its steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// How many steps stand before the cut; 0 is before the first.
    pub step: usize,
    /// How many of the completion's tokens stand before it.
    pub tokens: usize,
    /// How many bytes of its text stand before it: what those tokens decode to.
    pub bytes: usize,
}

impl Place {
    /// Before the first step: nothing is kept.
    pub const START: Place = Place { step: 0, tokens: 0, bytes: 0 };
}

/// What the continuations from a cut say of the steps before it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CutValue {
    /// How many steps stand before the cut: the label is that of step `step`, counted from 1. 0 is before the first.
    pub step: usize,
    /// How many of the completion's tokens stand before the cut.
    pub tokens: usize,
    /// How many bytes of its text stand before it.
    pub bytes: usize,
    /// Continuations.
    pub continuations: usize,
    /// Those with the right answer; where the row has no gold answer, those of positive reward.
    pub good: usize,
    /// Mean reward of the continuations, prefix and all.
    pub value: f64,
    /// The good continuation of fewest tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shortest: Option<Tail>,
    /// The continuation of highest reward.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub best: Option<Tail>,
}

/// What follows a cut.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Tail {
    /// Its text: what the whole completion has behind the cut.
    pub text: String,
    /// Its token ids.
    pub tokens: Vec<u32>,
    /// The reward of the whole.
    pub reward: f64,
}
