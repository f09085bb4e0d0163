//! Which rows are learned, and what is said of those that are not.

use super::*;
use crate::data::FeedbackCompletion;
use serde_json::{Value, json};

#[test]
fn completions_that_their_rows_call_bad_are_told_of() {
    let row = |id: &str, good: Option<bool>| {
        let label = |good| Feedback::Label { completion: FeedbackCompletion::from("5"), good, weight: 1.0 };
        Arc::new(Example { feedback: good.map(label), ..Example::text(id, "2+3?") })
    };
    let rows = |examples| Dataset { examples, name: "rows.jsonl".into() };
    assert_eq!(judged_bad(&rows(vec![row("a", None), row("b", Some(true))])), None);
    let told = judged_bad(&rows(vec![row("a", Some(false)), row("b", Some(true)), row("c", Some(false))]));
    assert!(told.unwrap().contains(
        "`label` of 2 of 3 rows calls their completion bad, and loop.sft learns it all the same: a, c;"
    ));
}

/// Four traces, of which the first and the third are right.
fn traces() -> Vec<Value> {
    let trace = |at: usize| {
        json!({
            "id": format!("q/1-{at}"), "example": "q", "step": 1, "prompt": "2+3?", "answer": "5", "steps": [],
            "completion": format!("#### {}", 5 + at % 2), "predicted": null, "stop": "length", "scores": {},
            "reward": 1.0, "advantage": null, "prompt_ids": [1], "completion_ids": [2], "logprobs": [-0.5],
        })
    };
    (0..4).map(trace).collect()
}

fn prepared(rows: Vec<Value>, select: &str) -> Result<usize> {
    let example = |(index, row): (usize, Value)| {
        let Value::Object(fields) = row else { panic!("an object") };
        let answer = fields.get("answer").and_then(Value::as_str).map(str::to_string);
        Arc::new(Example { answer, fields, index, ..Example::text(format!("row:{}", index + 1), "2+3?") })
    };
    let examples = rows.into_iter().enumerate().map(example).collect();
    let rows = Dataset { examples, name: "rows.jsonl".into() };
    let select: Select = toml::from_str(select).unwrap();
    Sft::default().prepare(rows, &select, &Format::default()).map(|rows| rows.examples.len())
}

/// One line that is no trace must not turn the filter off for all the others.
#[test]
fn rows_are_all_traces_or_none() {
    assert_eq!(prepared(traces(), "correct = true").unwrap(), 2);
    let told = |rows: Vec<Value>| prepared(rows, "correct = true").unwrap_err().to_string();
    for at in 0..4 {
        let (mut without, mut wrong, mut beside) = (traces(), traces(), traces());
        without[at].as_object_mut().unwrap().remove("reward");
        wrong[at]["scores"] = json!("x");
        beside.insert(at, json!({"prompt": "2+3?", "completion": "5"}));
        for (rows, lacks) in
            [(without, "missing field `reward`"), (wrong, "expected a map"), (beside, "missing field")]
        {
            let told = told(rows);
            assert!(
                told.contains(&format!("row:{}: it is no trace", at + 1)) && told.contains(lacks),
                "{told}"
            );
        }
    }
    let mut broken = traces();
    broken.iter_mut().for_each(|row| drop(row.as_object_mut().unwrap().remove("reward")));
    assert!(told(broken).contains("row:1"));
}

#[test]
fn a_filter_over_ordinary_rows_is_refused() {
    let rows = || vec![json!({"prompt": "2+3?", "completion": "5"}); 3];
    assert_eq!(prepared(rows(), "").unwrap(), 3);
    let told = prepared(rows(), "correct = true").unwrap_err().to_string();
    assert!(told.contains("rows.jsonl: [select] keeps and drops rollouts"), "{told}");
}
