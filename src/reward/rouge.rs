//! How near a part of the completion is to a text of the row, by ROUGE-L.

use super::{Holds, Part, Reward, Wants, column, wanting};
use crate::text::rouge::rouge_l;
use schemars::JsonSchema;
use serde::Deserialize;

/// `[reward.rouge]`: the F measure of ROUGE-L, as the `rouge-score` package computes it without its stemmer; 0 below
/// `at_least`.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Rouge {
    /// The column that holds the reference text, such as `rationale`.
    pub column: String,
    /// `text`, `rationale` or `answer`.
    #[serde(default)]
    pub of: Part,
    /// What is less than this counts as 0.
    #[serde(default)]
    pub at_least: f64,
}

impl Rouge {
    /// The reward, its section checked.
    pub fn checked(self) -> anyhow::Result<impl Reward> {
        let at_least = self.at_least;
        anyhow::ensure!((0.0..=1.0).contains(&at_least), "at_least = {at_least}: must lie between 0 and 1");
        let wants = Wants::default().column("column", &self.column, Holds::Anything);
        Ok(wanting(wants, move |example, rollout| {
            let value = rouge_l(self.of.of(rollout), &column::text(example, &self.column)?);
            Ok(if value < self.at_least { 0.0 } else { value })
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{group, scores};

    #[test]
    fn the_rationale_is_compared_with_the_rows_text() {
        let mut asked = group(None, &[], &["the cat sat down\n#### 1", "the\n#### 1", "#### the black cat"]);
        let example = std::sync::Arc::get_mut(&mut asked.example).unwrap();
        example.fields.insert("rationale".into(), "the black cat sat there".into());
        // 3 of 4 and 3 of 5 words: 2/3. 1 of 1 and 1 of 5: 1/3. No reasoning: 0.
        let found = scores("[rouge]\ncolumn = \"rationale\"", asked.clone()).unwrap();
        assert!(
            (found[0] - 2.0 / 3.0).abs() < 1e-12 && (found[1] - 1.0 / 3.0).abs() < 1e-12 && found[2] == 0.0
        );
        // The answers "1", "1" and "the black cat": 3 of 3 and 3 of 5 words make 3/4.
        let recipe = "[rouge]\ncolumn = \"rationale\"\nof = \"answer\"\nat_least = 0.7";
        let answers = scores(recipe, asked.clone()).unwrap();
        assert!(answers[..2] == [0.0, 0.0] && (answers[2] - 0.75).abs() < 1e-12);
        assert!(scores("[rouge]\ncolumn = \"x\"", asked).unwrap_err().contains("no column `x`"));
    }
}
