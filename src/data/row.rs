//! One row as it was read, with the place it came from; what is wrong with rows is collected, then reported at once.

use super::{Example, Origin};
use crate::error::{Error, Result};
use serde_json::{Map, Value};
use std::sync::Arc;

/// Columns of a row.
const COLUMNS: usize = 10_000;
/// Bytes of an answer.
const ANSWER: usize = 1 << 20;
/// Choices of a question.
const CHOICES: usize = 10_000;
/// A column that traces have beside their prompt.
pub(super) const TRACED: &str = "prompt_ids";

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

    /// Whether it is a trace, which has the prompt that was made of its other columns.
    pub fn is_traced(&self) -> bool {
        self.fields.contains_key(TRACED)
    }

    /// Where it stands.
    pub fn origin(&self) -> Origin {
        Origin { file: self.file.clone(), line: self.line }
    }

    /// `file:line`.
    pub fn place(&self) -> String {
        self.origin().to_string()
    }

    /// What of it is larger than any row needs, and takes its time again for every completion that is held against it.
    ///
    /// # Errors
    /// What that is, and the most that there may be of it.
    pub(super) fn check_size(&self) -> std::result::Result<(), String> {
        let (columns, answer) = (self.fields.len(), self.fields.get("answer").and_then(Value::as_str));
        if columns > COLUMNS {
            return Err(format!(
                "it has {columns} columns, and the most is {COLUMNS}; leave out what nothing reads"
            ));
        }
        if let Some(answer) = answer.filter(|answer| answer.len() > ANSWER) {
            return Err(format!(
                "`answer` has {:.1} MB, and the most is {} MB; give the answer alone, or leave the row out",
                answer.len() as f64 / f64::from(1 << 20),
                ANSWER >> 20
            ));
        }
        let choices = self.fields.get("choices");
        let choices = choices.and_then(|choices| choices.as_array().or(choices["text"].as_array()));
        match choices.map_or(0, Vec::len) {
            ..=CHOICES => Ok(()),
            count => Err(format!(
                "`choices` has {count} of them, and the most is {CHOICES}; leave some out, or the row"
            )),
        }
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

    /// Notes what tokenising an example, or making a sequence of it, came to.
    ///
    /// # Errors
    /// An error that is not of the data.
    pub fn of(&mut self, example: &Example, error: Error) -> Result<()> {
        let Error::Data(what) = error else { return Err(error) };
        // Its place stands before each problem.
        let place = format!("{example}: ");
        self.example(example, what.strip_prefix(&place).unwrap_or(&what));
        Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn row(fields: Value) -> Row {
        Row::made("rows", 1, fields.as_object().unwrap().clone())
    }

    #[test]
    fn what_is_larger_than_any_row_needs_is_refused() {
        let columns = |count: usize| -> Value {
            Value::Object((0..count).map(|at| (format!("k{at}"), Value::Null)).collect())
        };
        let choices = |count: usize| vec!["x"; count];
        for (fits, too_large, words) in [
            (columns(10_000), columns(10_001), "it has 10001 columns, and the most is 10000"),
            (
                json!({"answer": "9".repeat(1 << 20)}),
                json!({"answer": "9".repeat((1 << 20) + 1)}),
                "`answer` has 1.0 MB, and the most is 1 MB",
            ),
            (json!({"choices": choices(10_000)}), json!({"choices": choices(10_001)}), "`choices` has 10001"),
            (
                json!({"choices": {"text": choices(10_000)}}),
                json!({"choices": {"text": choices(10_001)}}),
                "`choices` has 10001",
            ),
        ] {
            row(fits).check_size().unwrap();
            let said = row(too_large).check_size().unwrap_err();
            assert!(said.contains(words), "{said}");
        }
        row(json!({"choices": "none"})).check_size().unwrap();
    }

    /// What tokenising says of many rows in the same words is one problem of all of them.
    #[test]
    fn errors_of_examples_are_gathered() {
        let mut problems = Problems::default();
        let example = |line: usize| Example {
            origin: Some(Origin { file: "a.jsonl".into(), line }),
            ..Example::text(format!("a:{line}"), "")
        };
        for line in 1..=12 {
            let said = format!("{}: no turn", example(line));
            problems.of(&example(line), Error::Data(said)).unwrap();
        }
        problems.of(&example(13), Error::Data("no tokens".into())).unwrap();
        assert!(problems.of(&example(14), Error::Model("broken".into())).is_err());
        let said = problems.into_result().unwrap_err().to_string();
        let shown: Vec<String> = (2..=10).map(|line| format!("a.jsonl:{line}")).collect();
        for part in [
            "13 problems in the data; nothing was started".to_string(),
            format!("a.jsonl:1: no turn (so too {} and 2 more)", shown.join(", ")),
            "a.jsonl:13: no tokens".to_string(),
        ] {
            assert!(said.contains(&part), "{part}: {said}");
        }
    }
}
