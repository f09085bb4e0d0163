//! Advantages with mean 0 and deviation 1 over a whole step.

use serde::{Deserialize, Serialize};

/// Over what they are whitened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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
    /// Whitens the advantages of all groups; `lengths` are the completions' tokens.
    pub(super) fn apply(self, advantages: &mut [Vec<f64>], lengths: &[&[usize]], epsilon: f64) {
        let weight = |n: usize| if self == Whiten::Tokens { n as f64 } else { 1.0 };
        let weighted = || {
            advantages.iter().flatten().zip(lengths.iter().copied().flatten()).map(|(a, &n)| (*a, weight(n)))
        };
        let total: f64 = weighted().map(|(_, weight)| weight).sum();
        if self == Whiten::None || total < 2.0 {
            return;
        }
        let mean = weighted().map(|(a, weight)| a * weight).sum::<f64>() / total;
        let variance = weighted().map(|(a, weight)| weight * (a - mean).powi(2)).sum::<f64>() / (total - 1.0);
        let divisor = match self {
            Whiten::Tokens => (variance + 1e-8).sqrt(),
            _ => variance.sqrt() + epsilon,
        };
        let white = |a: &mut f64| *a = if divisor > 0.0 { (*a - mean) / divisor } else { 0.0 };
        advantages.iter_mut().flatten().for_each(white);
    }
}
