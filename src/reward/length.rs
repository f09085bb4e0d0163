//! A penalty for completions that come near the token limit: DAPO's soft overlong punishment (arXiv 2503.14476).

use super::{Reward, of_rollouts};
use serde::Deserialize;

/// `[reward.length]`: 0 up to `max_tokens − buffer` tokens, from there down in a line to −1 at `max_tokens`, and −1
/// beyond (TRL's `get_soft_overlong_punishment`).
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Length {
    /// Where the penalty is full; mostly `policy.sampling.max_new_tokens`.
    pub max_tokens: usize,
    /// Over how many tokens it grows; 0 for all at once, beyond `max_tokens`.
    pub buffer: usize,
}

impl Length {
    /// The score of a completion of so many tokens.
    pub fn of(&self, tokens: usize) -> f64 {
        let free = self.max_tokens - self.buffer;
        if tokens <= free {
            0.0
        } else if tokens <= self.max_tokens {
            -((tokens - free) as f64) / self.buffer as f64
        } else {
            -1.0
        }
    }

    /// The reward, its section checked.
    pub fn checked(self) -> anyhow::Result<impl Reward> {
        anyhow::ensure!(self.max_tokens > 0, "max_tokens = 0: must be at least 1");
        let Self { max_tokens, buffer } = self;
        anyhow::ensure!(
            buffer <= max_tokens,
            "buffer = {buffer}: must not be more than max_tokens = {max_tokens}"
        );
        Ok(of_rollouts(move |_, rollout| Ok(self.of(rollout.tokens.len()))))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{group, scores};
    use super::*;

    #[test]
    fn the_penalty_is_zero_then_a_line_then_minus_one() {
        // TRL's test: max 100, cache 20: 80 tokens → 0, 90 → −0.5, 101 → −1.
        let length = Length { max_tokens: 100, buffer: 20 };
        assert_eq!(
            [0, 80, 85, 90, 100, 101, 500].map(|n| length.of(n)),
            [0.0, 0.0, -0.25, -0.5, -1.0, -1.0, -1.0]
        );
        let hard = Length { max_tokens: 100, buffer: 0 };
        assert_eq!([100, 101].map(|n| hard.of(n)), [0.0, -1.0]);
    }

    #[test]
    fn it_counts_tokens_and_checks_its_section() {
        let recipe = "[length]\nmax_tokens = 4\nbuffer = 2";
        assert_eq!(scores(recipe, group(None, &[], &["ab", "äöü", "abcdefg"])), Ok(vec![0.0, -0.5, -1.0]));
        let error = scores("[length]\nmax_tokens = 4\nbuffer = 5", group(None, &[], &[])).unwrap_err();
        assert!(
            error.contains("[reward.length]: buffer = 5: must not be more than max_tokens = 4"),
            "{error}"
        );
        assert!(scores("[length]\nbuffer = 5", group(None, &[], &[])).unwrap_err().contains("max_tokens"));
    }
}
