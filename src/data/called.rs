//! What other data sets call our columns.

use super::renaming::{KNOWN, inside};
use super::row::Row;
use super::uses::RATIONALES;
use crate::rationale::AnswerForm;
use crate::rationale::answer::find;
use serde_json::{Map, Value};

/// Our columns with the names that others have for them, the likeliest first.
const OTHERS: [(&str, &[&str]); 4] = [
    ("question", &["problem", "query", "instruction", "input", "question_text"]),
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

/// What they call a completion, which is learned as it stands.
const COMPLETIONS: [&str; 3] = ["response", "output", "generation"];

/// Columns that a row has under another name, or under ours in other letter case. A rationale that ends in its answer is a completion, or the
/// answer where there is no other.
pub fn renamed(row: Option<&Map<String, Value>>) -> Vec<(&'static str, &str)> {
    let Some(row) = row else { return vec![] };
    let asked = ["prompt", "messages", "text"].iter().any(|name| row.contains_key(*name));
    let lacking =
        OTHERS.iter().filter(|(ours, _)| !(row.contains_key(*ours) || asked && *ours == "question"));
    let mut found: Vec<(&'static str, &str)> =
        lacking.filter_map(|(ours, theirs)| Some((*ours, column(row, ours, theirs)?))).collect();
    let has_answer = row.contains_key("answer") || found.iter().any(|(ours, _)| *ours == "answer");
    if let Some((ours, theirs)) = found.iter_mut().find(|(ours, _)| *ours == "rationale") {
        let text = inside(row, theirs).and_then(Value::as_str).unwrap_or_default();
        if !has_answer && is_solution(text) {
            *ours = "answer";
        } else if !row.contains_key("completion") && text.contains("\n#### ") {
            *ours = "completion";
        }
    }
    found
}

/// Whether a text is a whole solution: what is read of it as an answer has something before it.
pub fn is_solution(text: &str) -> bool {
    let found = [AnswerForm::Hashes, AnswerForm::Boxed].iter().find_map(|form| find(form, text));
    found.is_some_and(|found| text[..found.marked.start].contains(char::is_alphanumeric))
}

/// The column of a row that can be `ours`: the first of `theirs`, or else one that is called so in other letter case.
fn column<'r>(row: &'r Map<String, Value>, ours: &str, theirs: &[&'r str]) -> Option<&'r str> {
    let cased = || {
        let mut names = std::iter::once(ours).chain(theirs.iter().copied());
        names.find_map(|name| {
            let mut keys = row.keys().map(String::as_str);
            keys.find(|key| key.eq_ignore_ascii_case(name) && says(row, ours, key))
        })
    };
    theirs.iter().copied().find(|name| says(row, ours, name)).or_else(cased)
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

/// The lines of `[data.columns]` that read a row without a question: of the form that many datasets have, or else with the first column that
/// nothing reads for the question.
pub fn likely(row: &Row) -> String {
    let has = |name: &&&str| row.fields.contains_key(**name);
    if let Some(name) = ["conversations", "conversation", "dialogue"].iter().find(has) {
        return format!("data.columns.messages = \"{name}\"");
    }
    let mut found = renamed(Some(&row.fields));
    let learned = ["rationale", "completion"];
    let is_learned = found.iter().any(|(ours, _)| learned.contains(ours))
        || learned.iter().any(|ours| row.fields.contains_key(*ours));
    if !is_learned {
        let completion = column(&row.fields, "completion", &COMPLETIONS);
        found.extend(completion.map(|theirs| ("completion", theirs)));
    }
    if !found.iter().any(|(ours, _)| *ours == "question") {
        let free = |name: &&str| !KNOWN.contains(name) && !found.iter().any(|(_, theirs)| theirs == name);
        let question = row.fields.keys().map(String::as_str).find(free).unwrap_or("problem");
        found.insert(0, ("question", question));
    }
    let lines: Vec<String> =
        found.iter().map(|(ours, theirs)| format!("data.columns.{ours} = {theirs:?}")).collect();
    lines.join(" and ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn letter_case_does_not_count() {
        let row = json!({"Problem": "1+1", "Answer": "2", "reasoning": "easy"});
        let found = renamed(row.as_object());
        assert_eq!(found, [("question", "Problem"), ("answer", "Answer"), ("rationale", "reasoning")]);
        // Our own name comes before those of others.
        let both = json!({"question": "1+1", "Target": "3", "ANSWER": "2"});
        assert_eq!(renamed(both.as_object()), [("answer", "ANSWER")]);
        assert_eq!(renamed(json!({"Answer": null, "Choices": "A"}).as_object()), []);
    }

    /// Else its answer would be learned twice.
    #[test]
    fn a_rationale_that_ends_in_its_answer_is_a_completion() {
        let row = json!({"problem": "1+1", "solution": "1+1=2\n#### 2", "answer": "2"});
        assert_eq!(renamed(row.as_object()), [("question", "problem"), ("completion", "solution")]);
    }

    /// MATH's rows have no other.
    #[test]
    fn a_whole_solution_is_the_answer_where_there_is_no_other() {
        for solution in ["We add: $1+1=\\boxed{2}$.", "1+1=2\n#### 2"] {
            let row = json!({"problem": "1+1", "type": "Algebra", "solution": solution});
            assert_eq!(
                renamed(row.as_object()),
                [("question", "problem"), ("answer", "solution")],
                "{solution}"
            );
        }
        // Beside an answer it is the way to it, and so is what ends in none.
        let solved = json!({"problem": "1+1", "solution": "so \\boxed{2}", "answer": "2"});
        assert_eq!(renamed(solved.as_object()), [("question", "problem"), ("rationale", "solution")]);
        let open = json!({"problem": "1+1", "solution": "easy"});
        assert_eq!(renamed(open.as_object()), [("question", "problem"), ("rationale", "solution")]);
        assert!(!is_solution("$\\boxed{2}$") && !is_solution("#### 2") && !is_solution("2"));
    }

    #[test]
    fn columns_are_proposed_that_the_row_has() {
        let line = |row: Value| likely(&Row::made("rows", 1, row.as_object().unwrap().clone()));
        let solved = json!({"problem": "1+1", "sol": "it is 2", "target": "2"});
        let expected = "data.columns.question = \"problem\" and data.columns.answer = \"target\" and data.columns.rationale = \"sol\"";
        assert_eq!(line(solved), expected);
        let told = json!({"query": "1+1", "response": "2"});
        let expected = "data.columns.question = \"query\" and data.columns.completion = \"response\"";
        assert_eq!(line(told), expected);
        let foreign = json!({"id": "a", "foo": "1+1", "bar": "2"});
        assert_eq!(line(foreign), "data.columns.question = \"foo\"");
        // One column is not proposed twice, nor another in the place of one's own.
        let nameless = json!({"response": "2", "foo": "1+1"});
        let expected = "data.columns.question = \"foo\" and data.columns.completion = \"response\"";
        assert_eq!(line(nameless), expected);
        let own = json!({"query": "1+1", "answer": "2", "target": "x"});
        assert_eq!(line(own), "data.columns.question = \"query\"");
        assert_eq!(line(json!({"dialogue": []})), "data.columns.messages = \"dialogue\"");
    }
}
