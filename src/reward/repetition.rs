//! A penalty for saying the same again.

use super::{Part, Reward, of_rollouts};
use crate::text::repetition::repeated;
use schemars::JsonSchema;
use serde::Deserialize;

/// `[reward.repetition]`: takes away for what is said again. −(1 − unique / total) over the n-grams of words: 0 where nothing is repeated, near −1 for a
/// loop (Yeo et al. 2025's and Open-R1's repetition penalty).
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Repetition {
    /// Words of an n-gram.
    pub n: usize,
    /// `text`, `rationale` or `answer`.
    pub of: Part,
}

impl Default for Repetition {
    fn default() -> Self {
        Self { n: 3, of: Part::Text }
    }
}

impl Repetition {
    /// The reward, its section checked.
    pub fn checked(self) -> anyhow::Result<impl Reward> {
        anyhow::ensure!(self.n > 0, "n = 0: an n-gram has at least one word, such as 3");
        Ok(of_rollouts(move |_, rollout| Ok(-repeated(self.of.of(rollout), self.n))))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{group, scores};

    #[test]
    fn loops_are_penalised() {
        // "x y x y x y" has 4 triples of 2 kinds: −1/2. In single words 6 of 2 kinds: −2/3.
        let asked = || group(None, &[], &["x y x y x y", "a b c d"]);
        assert_eq!(scores("[repetition]", asked()), Ok(vec![-0.5, 0.0]));
        let words = scores("[repetition]\nn = 1", asked()).unwrap();
        assert!((words[0] + 2.0 / 3.0).abs() < 1e-12 && words[1] == 0.0);
        assert!(scores("[repetition]\nn = 0", asked()).unwrap_err().contains("n = 0"));
    }
}
