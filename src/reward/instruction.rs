//! Whether the rationale follows the row's instruction about its form: the instruction-following score of reasoning (ReasonIF, Kwon et al.
//! 2025).

use super::{Holds, Part, Reward, Wants, column, wanting};
use crate::text::instruction::Instruction as Rule;
use anyhow::Context;
use schemars::JsonSchema;
use serde::Deserialize;

/// `[reward.instruction]`: 1 where the text follows the instruction that stands in the row's column, else 0; an empty text follows
/// none. As a measure with `eval.by` it gives the score by kind.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Instruction {
    /// The column: an object, or its JSON as text, of `kind` and what that takes: `words` with `less`, `upper`, `ends` with `phrase`,
    /// `json`, `commas` (none), `language` with `code`.
    pub column: String,
    /// `text`, `rationale` or `answer`.
    pub of: Part,
}

impl Default for Instruction {
    fn default() -> Self {
        Self { column: "instruction".into(), of: Part::Rationale }
    }
}

impl Instruction {
    /// The reward, its section checked.
    pub fn checked(self) -> anyhow::Result<impl Reward> {
        anyhow::ensure!(!self.column.is_empty(), "column = \"\": name the column that has the instruction");
        let wants = Wants::default().column("column", &self.column, Holds::Instruction);
        Ok(wanting(wants, move |example, rollout| {
            let written = column::text(example, &self.column)?;
            let rule: Rule = serde_json::from_str(&written).with_context(|| {
                format!("its column `{}` holds `{written}`, which is no instruction", self.column)
            })?;
            anyhow::ensure!(
                rule.known(),
                "its column `{}` asks for a language that cannot be told: `{written}`",
                self.column
            );
            Ok(f64::from(u8::from(rule.holds(self.of.of(rollout)))))
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{group, scores};
    use serde_json::json;

    #[test]
    fn the_reasoning_is_held_against_the_rows_instruction() {
        let asked = |instruction: serde_json::Value| {
            let mut asked = group(None, &[], &["2 AND 3\n#### five", "2 and 3\n#### FIVE", "#### FIVE"]);
            let example = std::sync::Arc::get_mut(&mut asked.example).unwrap();
            example.fields.insert("instruction".into(), instruction);
            asked
        };
        let upper = json!({"kind": "upper"});
        assert_eq!(scores("[instruction]", asked(upper.clone())), Ok(vec![1.0, 0.0, 0.0]));
        assert_eq!(scores("[instruction]\nof = \"answer\"", asked(upper)), Ok(vec![0.0, 1.0, 1.0]));
        // As text, too.
        assert_eq!(
            scores("[instruction]", asked(json!(r#"{"kind": "words", "less": 9}"#))),
            Ok(vec![1.0, 1.0, 0.0])
        );
        let wrong = scores("[instruction]", asked(json!({"kind": "rhyme"}))).unwrap_err();
        assert!(wrong.contains("row:7") && wrong.contains("is no instruction"), "{wrong}");
        let unknown = scores("[instruction]", asked(json!({"kind": "language", "code": "xx"}))).unwrap_err();
        assert!(unknown.contains("cannot be told"), "{unknown}");
    }
}
