//! Scores of a completion by its own length: a line, a cosine (arXiv 2502.03373), a budget by difficulty.

use crate::data::Example;
use crate::reward::column;
use anyhow::Context;
use schemars::JsonSchema;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::f64::consts::PI;

/// `[reward.length.linear]`: −tokens / `max_tokens`, and −1 beyond.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Linear {
    /// Where the penalty is full; mostly `policy.sampling.max_new_tokens`.
    pub max_tokens: usize,
}

impl Linear {
    /// The score of a completion of so many tokens.
    pub fn of(&self, tokens: usize) -> f64 {
        -(tokens as f64 / self.max_tokens as f64).min(1.0)
    }
}

/// `[reward.length.cosine]`: half a cosine from a score for the shortest completion to one for the longest, right ones
/// from `right_short` down to `right_long`, wrong ones from `wrong_short` up to `wrong_long`. Open-R1's
/// `cosine_scaled_reward` with its defaults, except that beyond `max_tokens` the cosine stays at its end.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Cosine {
    /// Where the cosine ends.
    pub max_tokens: usize,
    /// The score of a right completion of no tokens.
    #[serde(default = "one")]
    pub right_short: f64,
    /// The score of a right completion of `max_tokens`.
    #[serde(default = "half")]
    pub right_long: f64,
    /// The score of a wrong completion of no tokens.
    #[serde(default = "minus_one")]
    pub wrong_short: f64,
    /// The score of a wrong completion of `max_tokens`.
    #[serde(default = "minus_half")]
    pub wrong_long: f64,
    /// The score of any completion of more than `max_tokens`, in place of the cosine's end.
    pub beyond: Option<f64>,
}

fn one() -> f64 {
    1.0
}
fn half() -> f64 {
    0.5
}
fn minus_one() -> f64 {
    -1.0
}
fn minus_half() -> f64 {
    -0.5
}

impl Cosine {
    /// long + (short − long) · (1 + cos(π · tokens / max_tokens)) / 2.
    pub fn of(&self, tokens: usize, right: bool) -> f64 {
        if let Some(beyond) = self.beyond.filter(|_| tokens > self.max_tokens) {
            return beyond;
        }
        let (short, long) =
            if right { (self.right_short, self.right_long) } else { (self.wrong_short, self.wrong_long) };
        let progress = (tokens as f64 / self.max_tokens as f64).min(1.0);
        long + (short - long) * (1.0 + (PI * progress).cos()) / 2.0
    }
}

/// `[reward.length.budget]`: 0 up to the example's budget b, then −(tokens − b) / b, and −1 from 2 b on.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Budget {
    /// The column of the data that says the budget in tokens, or, with `tokens`, the difficulty.
    pub column: String,
    /// The budget of each difficulty, such as `{ easy = 60, hard = 200 }`.
    #[serde(default)]
    pub tokens: BTreeMap<String, usize>,
}

impl Budget {
    /// The score of a completion of `example` of so many tokens.
    pub fn of(&self, example: &Example, tokens: usize) -> anyhow::Result<f64> {
        let budget = self.budget(example)? as f64;
        Ok(-((tokens as f64 - budget) / budget).clamp(0.0, 1.0))
    }

    fn budget(&self, example: &Example) -> anyhow::Result<usize> {
        let value = column::text(example, &self.column)?;
        if !self.tokens.is_empty() {
            let known = || self.tokens.keys().cloned().collect::<Vec<_>>().join(", ");
            return self.tokens.get(&value).copied().with_context(|| {
                format!(
                    "its {} is `{value}`, for which budget.tokens has no number; it has: {}",
                    self.column,
                    known()
                )
            });
        }
        value.parse().ok().filter(|budget| *budget > 0).with_context(|| {
            format!(
                "its {} is `{value}`, which is no number of tokens; give budget.tokens for it",
                self.column
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_ends_at_minus_one() {
        let linear = Linear { max_tokens: 200 };
        assert_eq!([0, 50, 200, 300].map(|n| linear.of(n)), [0.0, -0.25, -1.0, -1.0]);
    }

    #[test]
    fn the_cosine_is_open_r1s() {
        // Open-R1's tests, max_len 100: right 50 tokens → 0.5 + 0.25 · (1 + cos(π/2)) = 0.75, wrong → −0.75;
        // 25 tokens: cos(π/4) = 0.70711, so 0.5 + 0.25 · 1.70711 = 0.92678 and −0.5 − 0.25 · 1.70711 = −0.92678.
        let cosine: Cosine = toml::from_str("max_tokens = 100").unwrap();
        let near = |tokens, right, expected: f64| {
            let found = cosine.of(tokens, right);
            assert!((found - expected).abs() < 5e-6, "{tokens} {right}: {found} {expected}");
        };
        for (tokens, right, expected) in [
            (0, true, 1.0),
            (25, true, 0.92678),
            (50, true, 0.75),
            (100, true, 0.5),
            (0, false, -1.0),
            (25, false, -0.92678),
            (100, false, -0.5),
            (500, true, 0.5),
        ] {
            near(tokens, right, expected);
        }
        let hard = Cosine { beyond: Some(-10.0), ..cosine };
        assert_eq!([hard.of(101, true), hard.of(100, true)], [-10.0, 0.5]);
    }
}
