//! Advantages with mean 0 and deviation 1 over a whole step.

use crate::statistics::{Moments, Sum};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Over what they are whitened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Whiten {
    /// Nothing.
    None,
    /// (A − mean) / (deviation + epsilon), every completion counting once (TRL's GDPO).
    Sequences,
    /// (A − mean) / √(variance + 1e-8), every token counting once (verl's `masked_whiten`).
    Tokens,
}

impl Whiten {
    /// Whitens the advantages of this rank's groups over those of all; `lengths` are the completions' tokens.
    pub(super) fn apply(
        self,
        advantages: &mut [Vec<f64>],
        lengths: &[&[usize]],
        epsilon: f64,
        sum: &mut Sum,
    ) {
        if self == Whiten::None {
            return;
        }
        let weight = |n: usize| if self == Whiten::Tokens { n as f64 } else { 1.0 };
        let lengths = lengths.iter().copied().flatten();
        let weighted: Vec<(f64, f64)> =
            advantages.iter().flatten().zip(lengths).map(|(a, &n)| (*a, weight(n))).collect();
        let Moments { count, mean, variance } = Moments::of(&weighted, sum);
        if count < 2.0 {
            return;
        }
        let divisor = match self {
            Whiten::Tokens => (variance + 1e-8).sqrt(),
            _ => variance.sqrt() + epsilon,
        };
        let white = |a: &mut f64| *a = if divisor > 0.0 { (*a - mean) / divisor } else { 0.0 };
        advantages.iter_mut().flatten().for_each(white);
    }
}
