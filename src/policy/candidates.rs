//! Which answers a model is asked about, where it is asked how likely each is.

use crate::data::Example;
use crate::data::columns::letter;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use toml::Value;

/// Which answers are candidates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Value", into = "Value")]
pub enum Over {
    /// The row's choices.
    Choices,
    /// The gold answer alone.
    Gold,
    /// What the model finds likeliest.
    Enumerate,
    /// These.
    Labels(Vec<String>),
}

impl JsonSchema for Over {
    fn schema_name() -> Cow<'static, str> {
        "Over".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "anyOf": [
            { "type": "string", "enum": ["choices", "gold", "enumerate"] },
            { "type": "array", "items": { "type": "string" }, "minItems": 2 },
        ] })
    }
}

impl TryFrom<Value> for Over {
    type Error = String;

    fn try_from(value: Value) -> Result<Self, String> {
        let wanted = "it must be \"choices\", \"gold\", \"enumerate\" or a list of at least two labels, such as [\"yes\", \"no\"]";
        match &value {
            Value::String(word) if word == "choices" => Ok(Over::Choices),
            Value::String(word) if word == "gold" => Ok(Over::Gold),
            Value::String(word) if word == "enumerate" => Ok(Over::Enumerate),
            Value::Array(labels) if labels.len() > 1 => {
                let text =
                    |label: &Value| label.as_str().filter(|label| !label.is_empty()).map(str::to_string);
                let labels: Option<Vec<String>> = labels.iter().map(text).collect();
                labels.map(Over::Labels).ok_or_else(|| wanted.to_string())
            }
            _ => Err(wanted.to_string()),
        }
    }
}

impl From<Over> for Value {
    fn from(over: Over) -> Self {
        match over {
            Over::Choices => "choices".into(),
            Over::Gold => "gold".into(),
            Over::Enumerate => "enumerate".into(),
            Over::Labels(labels) => labels.into_iter().map(Value::from).collect::<Vec<_>>().into(),
        }
    }
}

impl Over {
    /// The candidates of a row, as they are written; none where the model has to name them itself, or where the row has none.
    pub fn texts(&self, example: &Example, written: Option<Written>) -> Vec<String> {
        match self {
            Over::Gold => example.gold().map(str::to_string).into_iter().collect(),
            Over::Enumerate => vec![],
            Over::Choices => {
                let by_letter = match written {
                    Some(written) => written == Written::Letter,
                    None => example.answer.as_deref().is_some_and(|gold| gold.trim().chars().count() == 1),
                };
                let text = |(at, text): (usize, &String)| if by_letter { letter(at) } else { text.clone() };
                example.choices.iter().enumerate().map(text).collect()
            }
            Over::Labels(labels) => labels.clone(),
        }
    }
}

/// How a choice is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Written {
    /// As its letter.
    Letter,
    /// As its text.
    Text,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn candidates_are_read_written_and_taken_of_rows() {
        #[derive(Deserialize, Serialize)]
        struct Held {
            over: Over,
        }
        for text in ["over = \"choices\"\n", "over = \"enumerate\"\n", "over = [\"yes\", \"no\"]\n"] {
            let held: Held = toml::from_str(text).unwrap();
            assert_eq!(toml::to_string(&held).unwrap(), text);
        }
        assert!(toml::from_str::<Held>("over = [\"yes\"]").is_err());
        let mut row = Example { choices: vec!["ash".into(), "bur".into()], ..Example::text("row:1", "?") };
        assert_eq!(Over::Choices.texts(&row, None), ["ash", "bur"]);
        row.answer = Some("B".into());
        assert_eq!(Over::Choices.texts(&row, None), ["A", "B"]);
        assert_eq!(Over::Choices.texts(&row, Some(Written::Text)), ["ash", "bur"]);
        assert_eq!(Over::Gold.texts(&row, None), ["B"]);
        assert!(Over::Enumerate.texts(&row, None).is_empty());
    }
}
