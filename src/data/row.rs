//! One row as it was read, with the place it came from; what is wrong with rows is collected, then reported at once.

use super::{Example, Origin};
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
    /// Row `line` (from 1) of what the program makes under `name`.
    pub fn made(name: &str, line: usize, fields: Map<String, Value>) -> Self {
        Self { file: name.into(), stem: name.into(), line, fields }
    }

    /// Where it stands.
    pub fn origin(&self) -> Origin {
        Origin { file: self.file.clone(), line: self.line }
    }

    /// `file:line`.
    pub fn place(&self) -> String {
        self.origin().to_string()
    }

    /// The columns' names, for messages.
    pub fn names(&self) -> String {
        let names: Vec<String> = self.fields.keys().map(|name| format!("`{name}`")).collect();
        if names.is_empty() { "none".to_string() } else { names.join(", ") }
    }
}

/// What is wrong with rows: all are counted, and the first ten different things are said, each with the rows it is true of.
#[derive(Debug, Default)]
pub struct Problems {
    shown: Vec<Problem>,
    count: usize,
    /// Rows whose problem is not among those shown.
    unsaid: usize,
}

/// One thing that is wrong, the first row that it was found in, and how many further ones share it.
#[derive(Debug)]
struct Problem {
    place: Option<String>,
    what: String,
    others: Vec<String>,
    more: usize,
}

const SHOWN: usize = 10;

impl Problems {
    /// Notes what is wrong with a row.
    pub fn at(&mut self, row: &Row, what: impl AsRef<str>) {
        self.line(&row.file, row.line, what);
    }

    /// Notes what is wrong at a line that did not become a row.
    pub fn line(&mut self, file: &str, line: usize, what: impl AsRef<str>) {
        self.note(Some(format!("{file}:{line}")), what.as_ref().to_string());
    }

    /// Notes what is wrong with an example.
    pub fn example(&mut self, example: &Example, what: impl AsRef<str>) {
        match &example.origin {
            Some(origin) => self.line(&origin.file, origin.line, what),
            None => self.note(None, format!("{example}: {}", what.as_ref())),
        }
    }

    /// Notes what is wrong with no one row.
    pub fn everywhere(&mut self, what: String) {
        self.note(None, what);
    }

    fn note(&mut self, place: Option<String>, what: String) {
        self.count += 1;
        // The same words again are one problem of several rows.
        if let (Some(place), Some(same)) =
            (&place, self.shown.iter_mut().find(|problem| problem.what == what))
        {
            match same.others.len() < SHOWN - 1 {
                true => same.others.push(place.clone()),
                false => same.more += 1,
            }
        } else if self.shown.len() < SHOWN {
            self.shown.push(Problem { place, what, others: Vec::new(), more: 0 });
        } else {
            self.unsaid += 1;
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
        for problem in &self.shown {
            text.push_str(&format!("\n  {problem}"));
        }
        if self.unsaid > 0 {
            text.push_str(&format!("\n  … and {} more", self.unsaid));
        }
        Err(Error::Data(text))
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(place) = &self.place {
            write!(f, "{place}: ")?;
        }
        f.write_str(&self.what)?;
        if self.others.is_empty() {
            return Ok(());
        }
        write!(f, " (so too {}", self.others.join(", "))?;
        if self.more > 0 {
            write!(f, " and {} more", self.more)?;
        }
        f.write_str(")")
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

/// Up to three rows by their ids, and how many more there are.
pub fn some(rows: &[&Example]) -> String {
    let first: Vec<&str> = rows.iter().take(3).map(|row| row.id.as_str()).collect();
    let (first, more) = (first.join(", "), rows.len().saturating_sub(3));
    if more == 0 { first } else { format!("{first} and {more} more") }
}

/// What some of `all` rows lack, as messages say it.
///
/// ```
/// use rationale::data::{Example, row::need};
/// let (a, b) = (Example::text("a", ""), Example::text("b", ""));
/// assert_eq!(need("choices", &[&a, &b], 3), "needs choices and 2 of 3 rows have none: a, b");
/// assert_eq!(need("choices", &[&b], 3), "needs choices and 1 of 3 rows has none: b");
/// ```
pub fn need(what: &str, none: &[&Example], all: usize) -> String {
    let (count, have) = (none.len(), if none.len() == 1 { "has" } else { "have" });
    format!("needs {what} and {count} of {all} rows {have} none: {}", some(none))
}

/// Bytes of a value in memory, beside what it holds.
pub(super) const VALUE: usize = 32;

/// About what a value takes in memory.
pub(super) fn size(value: &Value) -> usize {
    let inner = match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(size).sum(),
        Value::Object(items) => items.iter().map(|(name, value)| name.len() + size(value) + VALUE).sum(),
        _ => 0,
    };
    inner + VALUE
}
