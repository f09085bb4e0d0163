//! A penalty for completions that come near the token limit: DAPO's soft overlong punishment (arXiv 2503.14476).

use schemars::JsonSchema;
use serde::Deserialize;

/// The keys of `[reward.length]` itself: 0 up to `max_tokens − buffer` tokens, from there down in a line to −1 at
/// `max_tokens`, and −1 beyond (TRL's `get_soft_overlong_punishment`).
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Overlong {
    /// Where the penalty is full; mostly `policy.sampling.max_new_tokens`.
    pub max_tokens: usize,
    /// Over how many tokens it grows; 0 for all at once, beyond `max_tokens`.
    pub buffer: usize,
}

impl Overlong {
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

    /// What is wrong with the section.
    pub fn check(&self) -> anyhow::Result<()> {
        let Self { max_tokens, buffer } = self;
        anyhow::ensure!(*max_tokens > 0, "max_tokens = 0: must be at least 1");
        anyhow::ensure!(
            buffer <= max_tokens,
            "buffer = {buffer}: must not be more than max_tokens = {max_tokens}"
        );
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_penalty_is_zero_then_a_line_then_minus_one() {
        // TRL's test: max 100, cache 20: 80 tokens → 0, 90 → −0.5, 101 → −1.
        let length = Overlong { max_tokens: 100, buffer: 20 };
        assert_eq!(
            [0, 80, 85, 90, 100, 101, 500].map(|n| length.of(n)),
            [0.0, 0.0, -0.25, -0.5, -1.0, -1.0, -1.0]
        );
        let hard = Overlong { max_tokens: 100, buffer: 0 };
        assert_eq!([100, 101].map(|n| hard.of(n)), [0.0, -1.0]);
    }
}
