//! `[data.columns]`: columns that have another name in the files, or stand inside of another column.

use super::tree;
use crate::error::{Error, Result};
use crate::nearest::{did_you_mean, list, nearest};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, BTreeSet};

/// Every column that something here reads by its name.
pub const KNOWN: [&str; 44] = [
    "id",
    "question",
    "system",
    "system_prompt",
    "prompt",
    "messages",
    "text",
    "completion",
    "completions",
    "rationale",
    "answer",
    "choices",
    "chosen",
    "rejected",
    "label",
    "weight",
    "margin",
    "tools",
    "chat_template_kwargs",
    "counterfactual_of",
    "ratings",
    "first_error",
    "labels",
    "step_labels",
    "scores",
    "step_scores",
    "steps",
    "cuts",
    "branched_at",
    "forks",
    "example",
    "step",
    "predicted",
    "stop",
    "reward",
    "advantage",
    "prompt_ids",
    "completion_ids",
    "logprobs",
    "given_spans",
    "episode_reward",
    "own_completion",
    "rubric",
    tree::COLUMN,
];

/// How columns are renamed, and which of the names were found with a value in some row so far.
#[derive(Debug, Clone, Default)]
pub struct Renaming {
    columns: BTreeMap<String, String>,
    found: BTreeSet<String>,
    /// Those that some row has without a value in it.
    empty: BTreeSet<String>,
    seen: BTreeSet<String>,
    /// Of a name that leads into columns, what stands where it leads astray.
    beside: BTreeMap<String, BTreeSet<String>>,
}

/// Names that are kept of what stands where one leads astray.
const BESIDE: usize = 100;

impl Renaming {
    /// As `data.columns` says.
    pub fn new(columns: &BTreeMap<String, String>) -> Self {
        Self { columns: columns.clone(), ..Self::default() }
    }

    /// What the files call the column that is read as `ours`.
    pub fn theirs<'a>(&'a self, ours: &'a str) -> &'a str {
        self.columns.get(ours).map_or(ours, String::as_str)
    }

    /// Whether the files' column `theirs` is read under another name.
    pub fn reads(&self, theirs: &str) -> bool {
        let inner = |path: &String| path.split('.').next() == Some(theirs);
        self.columns.values().any(|name| name == theirs || inner(name))
    }

    /// Gives a row's columns our names and drops null ones, so that null means absent. A name with dots that no column has
    /// leads into objects and lists: `reward_model.ground_truth`.
    pub fn apply(&mut self, mut fields: Map<String, Value>) -> Map<String, Value> {
        if self.columns.len() > self.found.len() {
            self.seen
                .extend(fields.keys().filter(|name| !self.seen.contains(*name)).cloned().collect::<Vec<_>>());
        }
        let mut moved = Vec::new();
        for (ours, theirs) in &self.columns {
            let value = fields.shift_remove(theirs).or_else(|| inside(&fields, theirs).cloned());
            if value.is_none() && theirs.contains('.') && !self.found.contains(ours) {
                let beside = self.beside.entry(ours.clone()).or_default();
                let room = BESIDE - beside.len();
                beside.extend(astray(&fields, theirs).into_iter().take(room));
            }
            if let Some(value) = value {
                let of = if value.is_null() { &mut self.empty } else { &mut self.found };
                of.insert(ours.clone());
                moved.push((ours.clone(), value));
            }
        }
        // Only now, so that two columns may swap their names.
        fields.extend(moved);
        fields.retain(|_, value| !value.is_null());
        fields
    }

    /// Refuses a name that no row of `place` has a value under.
    ///
    /// # Errors
    /// [`Error::Data`] with the nearest name that the rows have, where they do not have this one.
    pub fn check(&self, place: &str) -> Result<()> {
        let missing = self.columns.iter().filter(|(ours, _)| !self.found.contains(*ours));
        let lines: Vec<String> = missing
            .map(|(ours, theirs)| {
                if self.empty.contains(ours) {
                    return format!(
                        "data.columns.{ours} = {theirs:?}: the column has no value in any row of {place} (all are null); name another, or \
                         leave this out"
                    );
                }
                let known = self.beside.get(ours).filter(|beside| !beside.is_empty()).unwrap_or(&self.seen);
                let near = nearest(theirs, known.iter().map(String::as_str));
                format!(
                    "data.columns.{ours} = {theirs:?}: no row of {place} has such a column{}; known: {}",
                    did_you_mean(near),
                    list(known.iter().map(String::as_str))
                )
            })
            .collect();
        if lines.is_empty() { Ok(()) } else { Err(Error::Data(lines.join("\n  "))) }
    }
}

/// What an object has, with the path to it, where a path that begins in a column goes on with what is not there.
fn astray(fields: &Map<String, Value>, path: &str) -> Vec<String> {
    for (end, _) in path.rmatch_indices('.') {
        if let Some(Value::Object(object)) = inside(fields, &path[..end]) {
            return object.keys().map(|key| format!("{}.{key}", &path[..end])).collect();
        }
    }
    Vec::new()
}

/// The value of a column, or inside of one.
pub fn inside<'a>(fields: &'a Map<String, Value>, path: &str) -> Option<&'a Value> {
    if let Some(value) = fields.get(path) {
        return Some(value);
    }
    let mut parts = path.split('.');
    let mut value = fields.get(parts.next()?)?;
    for part in parts {
        value = match value {
            Value::Object(object) => object.get(part)?,
            Value::Array(list) => list.get(part.parse::<usize>().ok()?)?,
            _ => return None,
        };
    }
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn fields(value: Value) -> Map<String, Value> {
        value.as_object().unwrap().clone()
    }

    fn renaming(columns: &[(&str, &str)]) -> Renaming {
        Renaming::new(&columns.iter().map(|(a, b)| (a.to_string(), b.to_string())).collect())
    }

    #[test]
    fn names_lead_to_columns_and_into_them() {
        let mut names = renaming(&[
            ("answer", "reward_model.ground_truth"),
            ("question", "prompt.0.content"),
            ("id", "a.b"),
        ]);
        let row = json!({"reward_model": {"ground_truth": "4"}, "prompt": [{"content": "2+2?"}], "a.b": 7, "x": null});
        let read = names.apply(fields(row));
        assert_eq!(
            (&read["answer"], &read["question"], &read["id"]),
            (&json!("4"), &json!("2+2?"), &json!(7))
        );
        assert!(read.contains_key("reward_model") && !read.contains_key("a.b") && !read.contains_key("x"));
        names.check("rows").unwrap();
        let mut swapped = renaming(&[("question", "answer"), ("answer", "question")]);
        let read = swapped.apply(fields(json!({"question": "q", "answer": "a"})));
        assert_eq!((&read["question"], &read["answer"]), (&json!("a"), &json!("q")));
    }

    #[test]
    fn a_name_that_no_row_has_is_an_error_with_the_nearest_one() {
        let mut names = renaming(&[("rationale", "explanaton"), ("question", "q")]);
        names.apply(fields(json!({"q": null, "explanation": "e", "answer": "5"})));
        let said = names.check("rows.jsonl").unwrap_err().to_string();
        assert!(said.contains("data.columns.rationale = \"explanaton\": no row of rows.jsonl"), "{said}");
        assert!(said.contains("did you mean `explanation`?"), "{said}");
    }

    #[test]
    fn a_name_that_leads_astray_is_told_where() {
        let mut names =
            renaming(&[("answer", "meta.solution.finl"), ("question", "mta.q"), ("id", "note.x")]);
        let row = json!({"meta": {"solution": {"final": "4", "steps": []}, "level": 1}, "note": "n"});
        names.apply(fields(row));
        let said = names.check("rows.jsonl").unwrap_err().to_string();
        for part in [
            "data.columns.answer = \"meta.solution.finl\": no row of rows.jsonl has such a column; did you mean \
             `meta.solution.final`?; known: meta.solution.final, meta.solution.steps",
            "data.columns.question = \"mta.q\": no row of rows.jsonl has such a column; known: meta, note",
            "data.columns.id = \"note.x\": no row of rows.jsonl has such a column; did you mean `note`?; known: meta, note",
        ] {
            assert!(said.contains(part), "{said}");
        }
    }

    #[test]
    fn a_column_that_is_null_in_every_row_has_no_value() {
        let mut names = renaming(&[("question", "q"), ("answer", "gold.text")]);
        names.apply(fields(json!({"q": null, "gold": {"text": null}})));
        let said = names.check("rows.jsonl").unwrap_err().to_string();
        for part in ["data.columns.question = \"q\"", "data.columns.answer = \"gold.text\""] {
            let part = format!("{part}: the column has no value in any row of rows.jsonl");
            assert!(said.contains(&part), "{said}");
        }
        // One row with a value is enough.
        names.apply(fields(json!({"q": "2+2?", "gold": {"text": "4"}})));
        names.check("rows.jsonl").unwrap();
    }
}
