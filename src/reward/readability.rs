//! How easy the rationale is to read, by a classical formula for English.

use super::{Part, Reward, of_rollouts};
use crate::text::readability::TextCounts;
use schemars::JsonSchema;
use serde::Deserialize;

/// `[reward.readability]`: 1 at `easy` and beyond, 0 at `hard` and beyond, a line between; 0 where there are no words.
/// Syllables are counted by a rule of thumb.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Readability {
    /// `flesch` (reading ease), `fog` or `coleman_liau` (both years of school).
    pub formula: Formula,
    /// The formula's value for a score of 1; by default 90 for `flesch`, 6 for the others.
    pub easy: Option<f64>,
    /// The formula's value for a score of 0; by default 30 for `flesch`, 16 for the others.
    pub hard: Option<f64>,
    /// `text`, `rationale` or `answer`.
    pub of: Part,
}

/// The formula.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Formula {
    /// Flesch's reading ease; high is easy.
    Flesch,
    /// Gunning's fog index; low is easy.
    Fog,
    /// Coleman and Liau's index; low is easy.
    ColemanLiau,
}

impl Default for Readability {
    fn default() -> Self {
        Self { formula: Formula::Flesch, easy: None, hard: None, of: Part::Rationale }
    }
}

impl Readability {
    /// The reward, its section checked.
    pub fn checked(self) -> anyhow::Result<impl Reward> {
        let (easy, hard) = if self.formula == Formula::Flesch { (90.0, 30.0) } else { (6.0, 16.0) };
        let (easy, hard) = (self.easy.unwrap_or(easy), self.hard.unwrap_or(hard));
        anyhow::ensure!(
            (easy - hard).is_finite() && easy != hard,
            "easy = {easy}, hard = {hard}: must be two different numbers"
        );
        Ok(of_rollouts(move |_, rollout| {
            let Some(counts) = TextCounts::of(self.of.of(rollout)) else { return Ok(0.0) };
            let value = match self.formula {
                Formula::Flesch => counts.flesch(),
                Formula::Fog => counts.fog(),
                Formula::ColemanLiau => counts.coleman_liau(),
            };
            Ok(((value - hard) / (easy - hard)).clamp(0.0, 1.0))
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{group, scores};

    #[test]
    fn easy_text_scores_high() {
        let asked = || {
            let easy = "The cat sat on the mat.\n#### 1";
            let hard = "Multiplicative distributivity necessitates reconsideration.\n#### 1";
            group(None, &[], &[easy, hard, "#### 1"])
        };
        // 6 words, 6 syllables, one sentence: Flesch 206.835 − 6.09 − 84.6 = 116.145, beyond 90.
        assert_eq!(scores("[readability]", asked()), Ok(vec![1.0, 0.0, 0.0]));
        // Fog 0.4 · 6 = 2.4 between 0 and 12: 1 − 2.4/12 = 0.8; the other 0.4 · (4 + 100).
        let fog = scores("[readability]\nformula = \"fog\"\neasy = 0\nhard = 12.0", asked()).unwrap();
        assert!((fog[0] - 0.8).abs() < 1e-12 && fog[1..] == [0.0, 0.0]);
        assert!(scores("[readability]\neasy = 5\nhard = 5", asked()).unwrap_err().contains("two different"));
    }
}
