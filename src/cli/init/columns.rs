//! The columns of rows of one's own: what other data sets call ours, and what nothing reads.

use crate::data::renaming::{KNOWN, inside};
use crate::data::uses::RATIONALES;
use serde_json::{Map, Value};

/// What other data sets call our columns.
const OTHERS: [(&str, &[&str]); 4] = [
    ("question", &["problem", "query", "instruction", "input"]),
    (
        "answer",
        &[
            "final_answer",
            "target",
            "gold",
            "ground_truth",
            "correct_answer",
            "answerKey",
            "correct",
            "reward_model.ground_truth",
        ],
    ),
    ("choices", &["options"]),
    ("rationale", &RATIONALES),
];

/// Columns that a row has under another name.
pub(super) fn renamed(row: Option<&Map<String, Value>>) -> Vec<(&'static str, &'static str)> {
    let Some(row) = row else { return vec![] };
    let asked = ["prompt", "messages", "text"].iter().any(|name| row.contains_key(*name));
    let lacking =
        OTHERS.iter().filter(|(ours, _)| !(row.contains_key(*ours) || asked && *ours == "question"));
    lacking
        .filter_map(|(ours, theirs)| Some((*ours, *theirs.iter().find(|name| says(row, ours, name))?)))
        .collect()
}

/// Whether the column `theirs` can be what we call `ours`.
fn says(row: &Map<String, Value>, ours: &str, theirs: &str) -> bool {
    match (ours, inside(row, theirs)) {
        (_, None | Some(Value::Null)) => false,
        ("choices", Some(value)) => value.is_array() || value.is_object(),
        ("rationale", Some(value)) => value.is_string() || value.is_array(),
        ("answer", Some(value)) => value.is_string() || value.is_number() || value.is_boolean(),
        _ => true,
    }
}

/// Columns of a row that a recipe with `renamed` ones does not read, as a line; nothing where there are none.
pub(super) fn unread(row: &Map<String, Value>, renamed: &[(&str, &str)]) -> String {
    let moved = |name: &str| renamed.iter().any(|(_, theirs)| theirs.split('.').next() == Some(name));
    let names: Vec<&str> =
        row.keys().map(String::as_str).filter(|name| !KNOWN.contains(name) && !moved(name)).collect();
    match names.first() {
        None => String::new(),
        Some(first) => format!(
            "Columns that are not read: {}. Where one is the answer, write columns.answer = {first:?} below [data].\n",
            names.join(", ")
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_is_not_read_is_said() {
        let row = json!({"problem": "a", "solution": "b", "final": "c"});
        let row = row.as_object().unwrap();
        let said = unread(row, &renamed(Some(row)));
        let expected = "Columns that are not read: final. Where one is the answer, write columns.answer = \"final\" below [data].\n";
        assert_eq!(said, expected);
        let short = json!({"problem": "a", "sol": "b", "target": "c"});
        let found = renamed(short.as_object());
        assert_eq!(found, [("question", "problem"), ("answer", "target"), ("rationale", "sol")]);
        let solved = json!({"question": "a", "answer": "b"});
        assert_eq!(unread(solved.as_object().unwrap(), &[]), "");
        let verl = json!({"prompt": "a", "reward_model": {"ground_truth": "b"}});
        let verl = verl.as_object().unwrap();
        assert_eq!(unread(verl, &renamed(Some(verl))), "");
    }
}
