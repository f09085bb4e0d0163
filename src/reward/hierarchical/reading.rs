//! A completion and its gold counterpart as the levels of a hierarchy read them: whole, or field by field.

use super::Hierarchical;
use crate::data::Example;
use crate::reward::{Part, column};
use crate::rollout::Rollout;
use anyhow::Context;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

/// How fields are found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Read {
    /// There are no fields: the text as it stands, against the gold answer.
    Text,
    /// A JSON object, with or without a code fence around it and with nothing else; a field is a dotted path.
    Json,
    /// Blocks between `<field>` and `</field>`.
    Tags,
}

/// One completion of one example.
pub struct CompletionView<'a> {
    section: &'a Hierarchical,
    /// The example.
    pub example: &'a Example,
    /// The completion.
    pub rollout: &'a Rollout,
}

impl<'a> CompletionView<'a> {
    /// Reads as the section says.
    pub fn new(section: &'a Hierarchical, example: &'a Example, rollout: &'a Rollout) -> Self {
        Self { section, example, rollout }
    }

    /// The text of the part that is read; `None` where the completion has no such part.
    pub fn part(&self, of: Option<Part>) -> Option<&'a str> {
        let whole = if self.section.read == Read::Text { Part::Answer } else { Part::Text };
        let part = of.or(self.section.of).unwrap_or(whole);
        (part == Part::Text || self.rollout.rationale.is_some()).then(|| part.of(self.rollout))
    }

    /// What the completion has at `field`, or all that it has; `None` where it cannot be read or has no such field.
    pub fn own(&self, field: Option<&str>, of: Option<Part>) -> Option<Value> {
        let text = self.part(of)?;
        match self.section.read {
            Read::Text => Some(text.into()),
            Read::Json => {
                column::at(&serde_json::from_str(unfenced(text)).ok()?, field.unwrap_or("")).ok()?
            }
            Read::Tags => match field {
                None => Some(text.into()),
                Some(name) => between(text, &format!("<{name}>"), &format!("</{name}>")).map(Value::from),
            },
        }
    }

    /// What it should be: `path` of the row, or else the gold counterpart of `field`.
    pub fn gold(&self, path: Option<&str>, field: Option<&str>) -> anyhow::Result<Value> {
        match (path, self.section.read, field) {
            (Some(path), _, _) => column::value(self.example, path),
            (None, Read::Json, Some(field)) => {
                column::value(self.example, &format!("{}.{field}", self.section.gold))
            }
            (None, Read::Json, None) => column::value(self.example, &self.section.gold),
            (None, Read::Tags, Some(field)) => column::value(self.example, field),
            (None, _, _) => {
                self.example.gold().map(Value::from).context("it has no gold answer; add an `answer` column")
            }
        }
    }

    /// The text at `path` of the gold object (`read = "json"`) or of the row.
    pub fn gold_text(&self, path: &str) -> anyhow::Result<String> {
        column::text(self.example, &self.section.path(path))
    }
}

/// The text inside a Markdown code fence that is all there is; else the text.
fn unfenced(text: &str) -> &str {
    let text = text.trim();
    let inside = text.strip_prefix("```").and_then(|rest| rest.strip_suffix("```"));
    inside.and_then(|rest| rest.split_once('\n')).map_or(text, |(_language, rest)| rest)
}

fn between<'a>(text: &'a str, open: &str, close: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(open)?;
    rest.split_once(close).map(|(inside, _)| inside.trim())
}
