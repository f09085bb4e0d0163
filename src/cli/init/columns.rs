//! The columns of rows of one's own that nothing reads.

use crate::data::renaming::KNOWN;
use crate::error::Error;
use serde_json::{Map, Value};

/// Columns of a row that a recipe with `renamed` ones does not read, as a line; nothing where there are none.
pub(super) fn unread(row: &Map<String, Value>, renamed: &[(&str, &str)]) -> String {
    let moved = |name: &str| renamed.iter().any(|(_, theirs)| theirs.split('.').next() == Some(name));
    let names: Vec<&str> =
        row.keys().map(String::as_str).filter(|name| !KNOWN.contains(name) && !moved(name)).collect();
    let answered = row.contains_key("answer") || renamed.iter().any(|(ours, _)| *ours == "answer");
    match names.first() {
        None => String::new(),
        Some(_) if answered => format!("Columns that are not read: {}.\n", names.join(", ")),
        Some(first) => format!(
            "Columns that are not read: {}. Where one is the answer, write columns.answer = {first:?} below [data].\n",
            names.join(", ")
        ),
    }
}

/// What is said of a row whose columns do not tell what is to be learned.
pub(super) fn unknown(data: &str, row: &Map<String, Value>) -> Error {
    let names = row.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
    Error::Data(format!(
        "{data}: its columns ({names}) do not say what is to be learned; say it with --method, and name columns as docs/data.md does, \
         such as data.columns.question = \"…\""
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::called::renamed;
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
        let math = json!({"problem": "a", "level": "1", "solution": "so \\boxed{b}"});
        let math = math.as_object().unwrap();
        assert_eq!(unread(math, &renamed(Some(math))), "Columns that are not read: level.\n");
        let solved = json!({"question": "a", "answer": "b"});
        assert_eq!(unread(solved.as_object().unwrap(), &[]), "");
        let verl = json!({"prompt": "a", "reward_model": {"ground_truth": "b"}});
        let verl = verl.as_object().unwrap();
        assert_eq!(unread(verl, &renamed(Some(verl))), "");
    }
}
