//! Scores of a completion by its length among the others of its group.

use schemars::JsonSchema;
use serde::Deserialize;

/// A group as the length rewards see it, one entry a rollout.
pub struct Lengths<'a> {
    /// Tokens.
    pub tokens: &'a [usize],
    /// Whether it is right.
    pub right: &'a [bool],
    /// What the rewards that do not depend on others gave it, weighted and summed.
    pub reward: &'a [f64],
}

impl Lengths<'_> {
    fn pass_rate(&self) -> f64 {
        self.right.iter().filter(|&&right| right).count() as f64 / self.right.len().max(1) as f64
    }

    /// One score a rollout: `score` of the right ones' tokens, 0 of the others.
    fn of_right(&self, score: impl Fn(usize) -> f64) -> Vec<f64> {
        self.tokens.iter().zip(self.right).map(|(&n, &right)| if right { score(n) } else { 0.0 }).collect()
    }
}

/// `[reward.length.relative]`: −mean · tokens / most, with the mean of the group's rewards so far and the tokens of its
/// longest completion (prime-rl's `length_penalty = "linear"`, there with weight 0.25). It is in the units of the
/// reward, and a group that is all wrong gets none. A negative mean counts as 0: it would pay for length.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Relative {}

impl Relative {
    /// One score a rollout.
    pub fn of(&self, group: &Lengths) -> Vec<f64> {
        let mean = group.reward.iter().sum::<f64>() / group.reward.len().max(1) as f64;
        let most = group.tokens.iter().copied().max().unwrap_or(0).max(1) as f64;
        group.tokens.iter().map(|&n| -mean.max(0.0) * n as f64 / most).collect()
    }
}

/// `[reward.length.power]`: pass_rate^`difficulty` · (tokens / `unit`)^−`exponent` for a right completion, 0 for a wrong
/// one: much for short answers, little where many tokens are needed anyway.
///
/// The form of the Powered Length Penalty (arXiv 2506.10446), beside a reward of 1 for a right answer. Its exact formula
/// and constants are not known to us: all three numbers are ours to tune, and the defaults are a plain choice, not the
/// paper's.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Power {
    /// How fast it falls with length; above 0.
    pub exponent: f64,
    /// Tokens for which it is 1 on a question that is always answered right.
    pub unit: f64,
    /// How much less it counts on hard questions: the exponent of the group's share of right completions; 0 for no
    /// difference.
    pub difficulty: f64,
    /// The most it can be: what keeps an answer of one token from being worth everything.
    pub most: f64,
}

impl Default for Power {
    fn default() -> Self {
        Self { exponent: 0.5, unit: 1.0, difficulty: 1.0, most: 1.0 }
    }
}

impl Power {
    /// One score a rollout.
    pub fn of(&self, group: &Lengths) -> Vec<f64> {
        let easy = group.pass_rate().powf(self.difficulty);
        group.of_right(|n| easy * (n.max(1) as f64 / self.unit).powf(-self.exponent).min(self.most))
    }
}

/// `[reward.length.shortest]`: (longest − tokens) / (longest − shortest) for a right completion, with the longest and
/// shortest of the group's right ones; 0 for a wrong one and where the right ones are equally long. The policy's own
/// samples are the budget (Self-Rewarded Efficiency, arXiv 2506.15647; its coefficients are not known to us).
///
/// The score is by rank of length and not by its size: once what is needless is gone, two tokens fewer are worth as much as fifty were, and one completion
/// that is right by luck without a line that others need gets all of it. `span` and `min_pass_rate` are against these; both are ours.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Shortest {
    /// The share of the group that must be right: below it a short answer may be right by luck, and all get 0.
    pub min_pass_rate: f64,
    /// Tokens: where the right completions differ by fewer than these, the divisor is these, so that a small difference counts little. 0 for
    /// the plain form; what one needless repetition or detour takes is a good size.
    pub span: usize,
}

impl Default for Shortest {
    fn default() -> Self {
        Self { min_pass_rate: 0.0, span: 0 }
    }
}

impl Shortest {
    /// One score a rollout.
    pub fn of(&self, group: &Lengths) -> Vec<f64> {
        let right = || group.tokens.iter().zip(group.right).filter(|(_, right)| **right).map(|(n, _)| *n);
        let (least, most) = (right().min().unwrap_or(0), right().max().unwrap_or(0));
        if most == least || group.pass_rate() < self.min_pass_rate {
            return vec![0.0; group.tokens.len()];
        }
        group.of_right(|n| (most - n) as f64 / (most - least).max(self.span) as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOKENS: [usize; 4] = [4, 16, 36, 100];

    fn group<'a>(right: &'a [bool], reward: &'a [f64]) -> Lengths<'a> {
        Lengths { tokens: &TOKENS, right, reward }
    }

    #[test]
    fn the_relative_penalty_is_in_the_groups_mean_reward() {
        // Mean 0.5, longest 100: −0.5 · 4/100 = −0.02, −0.08, −0.18, −0.5.
        let found = Relative {}.of(&group(&[], &[1.0, 0.0, 0.0, 1.0]));
        for (found, expected) in found.iter().zip([-0.02, -0.08, -0.18, -0.5]) {
            assert!((found - expected).abs() < 1e-12, "{found} {expected}");
        }
        // All wrong, and all worse than nothing: no penalty (and no prize) for length.
        assert_eq!(Relative {}.of(&group(&[], &[0.0; 4])), [0.0; 4]);
        assert_eq!(Relative {}.of(&group(&[], &[-1.0; 4])), [0.0; 4]);
    }

    #[test]
    fn the_power_falls_with_length_and_counts_less_on_hard_questions() {
        // Half are right, so 0.5^1; 4^−½ = 1/2, 36^−½ = 1/6.
        let right = [true, false, true, false];
        let power = Power::default();
        assert_eq!(power.of(&group(&right, &[])), [0.25, 0.0, 0.5 / 6.0, 0.0]);
        // In units of 100 tokens (4/100)^−½ = 5, cut at 2; without difficulty.
        let wide = Power { unit: 100.0, difficulty: 0.0, most: 2.0, ..power };
        let found = wide.of(&group(&[true, false, false, true], &[]));
        assert_eq!(found, [2.0, 0.0, 0.0, 1.0]);
    }

    #[test]
    fn the_shortest_right_completion_gets_one_and_the_longest_nothing() {
        // Right are 4, 16 and 36: (36 − 16) / 32 = 0.625. The wrong one of 100 tokens changes nothing.
        let right = [true, true, true, false];
        let at = |min_pass_rate, span| Shortest { min_pass_rate, span };
        assert_eq!(at(0.75, 0).of(&group(&right, &[])), [1.0, 0.625, 0.0, 0.0]);
        // They differ by 32 tokens: as a part of 64 that is half, and more than 10.
        assert_eq!(at(0.0, 64).of(&group(&right, &[])), [0.5, 0.3125, 0.0, 0.0]);
        assert_eq!(at(0.0, 10).of(&group(&right, &[])), [1.0, 0.625, 0.0, 0.0]);
        assert_eq!(at(0.8, 0).of(&group(&right, &[])), [0.0; 4]);
        assert_eq!(Shortest::default().of(&group(&[false, true, false, false], &[])), [0.0; 4]);
    }
}
