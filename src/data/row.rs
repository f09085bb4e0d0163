//! One row as it was read, with the place it came from; what is wrong with rows is collected, then reported at once.

use crate::error::{Error, Result};
use serde_json::{Map, Value};
use std::sync::Arc;

/// A row and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The file, as errors name it.
    pub file: Arc<str>,
    /// The file's name without folder and ending, or more of its path where two files share that.
    pub stem: Arc<str>,
    /// Line of a text file or row of a table, from 1.
    pub line: usize,
    /// The columns, renamed as `data.columns` says; null ones left out.
    pub fields: Map<String, Value>,
}

impl Row {
    /// `file:line`.
    pub fn place(&self) -> String {
        format!("{}:{}", self.file, self.line)
    }

    /// The columns' names, for messages.
    pub fn names(&self) -> String {
        let names: Vec<String> = self.fields.keys().map(|name| format!("`{name}`")).collect();
        if names.is_empty() { "none".to_string() } else { names.join(", ") }
    }
}

/// What is wrong with rows: all are counted, the first ten are kept.
#[derive(Debug, Default)]
pub struct Problems {
    shown: Vec<String>,
    count: usize,
}

const SHOWN: usize = 10;

impl Problems {
    /// Notes what is wrong with a row.
    pub fn at(&mut self, row: &Row, what: impl AsRef<str>) {
        self.line(&row.file, row.line, what);
    }

    /// Notes what is wrong at a line that did not become a row.
    pub fn line(&mut self, file: &str, line: usize, what: impl AsRef<str>) {
        self.everywhere(format!("{file}:{line}: {}", what.as_ref()));
    }

    /// Notes what is wrong with an example.
    pub fn example(&mut self, id: &str, what: impl AsRef<str>) {
        self.everywhere(format!("example {id}: {}", what.as_ref()));
    }

    /// Notes what is wrong with no one row.
    pub fn everywhere(&mut self, what: String) {
        self.count += 1;
        if self.shown.len() < SHOWN {
            self.shown.push(what);
        }
    }

    /// Whether nothing is wrong.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// All of it as one error.
    pub fn into_result(self) -> Result<()> {
        if self.count == 0 {
            return Ok(());
        }
        let noun = if self.count == 1 { "problem" } else { "problems" };
        let mut text = format!("{} {noun} in the data; nothing was started", self.count);
        for line in &self.shown {
            text.push_str("\n  ");
            text.push_str(line);
        }
        if self.count > self.shown.len() {
            text.push_str(&format!("\n  … and {} more", self.count - self.shown.len()));
        }
        Err(Error::Data(text))
    }
}

/// Examples as a message names them: the first ten ids, and how many more there are.
///
/// ```
/// use rationale::data::row::named;
/// assert_eq!(named(&["a"]), "example a");
/// assert_eq!(named(&["a"; 12]), "examples a, a, a, a, a, a, a, a, a, a and 2 more");
/// ```
pub fn named(ids: &[&str]) -> String {
    let noun = if ids.len() == 1 { "example" } else { "examples" };
    let shown = ids[..ids.len().min(SHOWN)].join(", ");
    let more = ids.len().saturating_sub(SHOWN);
    if more == 0 { format!("{noun} {shown}") } else { format!("{noun} {shown} and {more} more") }
}

/// Gives `columns`' names to what the file calls otherwise and drops null columns, so that null means absent.
pub fn renamed(
    mut fields: Map<String, Value>,
    columns: &std::collections::BTreeMap<String, String>,
) -> Map<String, Value> {
    for (ours, theirs) in columns {
        if let Some(value) = fields.shift_remove(theirs) {
            fields.insert(ours.clone(), value);
        }
    }
    fields.retain(|_, value| !value.is_null());
    fields
}
