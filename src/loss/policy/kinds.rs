//! The kinds of `[loop.grpo.loss]`, one row each.

use super::{PolicyLoss, PolicyTokens, Ratio};
use crate::loss::row::Row;
use tch::Tensor;

/// A policy loss: what a token's loss ℓ is, and how tokens are averaged, Σ_t w_t ℓ_t / total.
pub struct PolicyLossKind {
    /// What a recipe calls it.
    pub name: &'static str,
    /// ℓ of each token, `[tokens]`, from the ratio r of each.
    pub(super) token: fn(&PolicyLoss, &PolicyTokens, &Tensor) -> Tensor,
    /// Between which ratios there is no clip.
    pub(super) window: fn(&PolicyLoss) -> (f64, f64),
    /// w of each token of a sequence of this many tokens, at least one.
    pub(super) weight: fn(f64) -> f64,
    /// What the sum is divided by.
    pub(super) total: fn(&Counts) -> usize,
    /// Whether that total is one of the generation batch rather than of the optimiser step.
    pub(super) spans_generation: bool,
    /// What the ratio may be taken over; the first is the default.
    pub(super) ratios: &'static [Ratio],
    /// `clip_low` and `clip_high` where the recipe gives neither; `clip_high` is `clip_low` by default.
    pub(super) clip: (f64, Option<f64>),
    /// `cap` where the recipe gives neither it nor `clip_high`; none where there is no cap.
    pub(super) cap: Option<f64>,
    /// Of `clip_high`, `dual_clip` and `cap`, those that it takes.
    pub(super) keys: &'static [&'static str],
}

/// What there is to divide by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Counts {
    pub sequences: usize,
    /// Those that count.
    pub tokens: usize,
    pub max_new_tokens: usize,
}

/// All kinds. What is averaged like another differs from it in the rest.
pub const KINDS: &[PolicyLossKind] = &[
    // The mean over sequences of the mean over their tokens (arXiv 2402.03300).
    GRPO,
    // The mean over the tokens of the optimiser step.
    PolicyLossKind { name: "bnpo", weight: |_| 1.0, total: |of| of.tokens, ..GRPO },
    // The sum over tokens by a constant, without length bias (arXiv 2503.20783).
    PolicyLossKind { name: "dr_grpo", weight: |_| 1.0, total: |of| of.sequences * of.max_new_tokens, ..GRPO },
    // The mean over the tokens of the whole generation batch (arXiv 2503.14476): where that batch is split into several
    // optimiser steps, each divides by the same total, unlike `bnpo`.
    DAPO,
    // Every token keeps its gradient and its clipped ratio only weighs it (arXiv 2506.13585); averaged as `dapo`.
    PolicyLossKind {
        name: "cispo",
        token: PolicyLoss::weighed,
        window: PolicyLoss::capped,
        cap: Some(5.0),
        keys: &["clip_high", "cap"],
        ..DAPO
    },
    // One ratio a sequence (arXiv 2507.18071), a mean over tokens that hardly ever leaves 0.8 to 1.2: its authors' clip is narrow.
    // Averaged as `grpo`.
    PolicyLossKind { name: "gspo", ratios: &[Ratio::Sequence], clip: (3e-4, Some(4e-4)), ..GRPO },
];

const GRPO: PolicyLossKind = PolicyLossKind {
    name: "grpo",
    token: PolicyLoss::clipped,
    window: PolicyLoss::around_one,
    weight: |length| 1.0 / length,
    total: |of| of.sequences,
    spans_generation: false,
    ratios: &[Ratio::Token, Ratio::Sequence],
    clip: (0.2, None),
    cap: None,
    keys: &["clip_high", "dual_clip"],
};

const DAPO: PolicyLossKind =
    PolicyLossKind { name: "dapo", weight: |_| 1.0, total: |of| of.tokens, spans_generation: true, ..GRPO };

impl Row for PolicyLossKind {
    const ROWS: &'static [Self] = KINDS;

    fn name(&self) -> &'static str {
        self.name
    }

    fn keys(&self) -> &'static [&'static str] {
        self.keys
    }
}
