//! What is called right: one table of completion, gold answer and choices, and what grading, votes, calibration and marks make of it.

use crate::program::Program;
use rationale::eval::statistics::majority_correct;
use rationale::rationale::Format;
use rationale::rationale::equality::Equality;
use serde::Deserialize;
use serde_json::json;

#[derive(Deserialize)]
struct Row {
    kind: String,
    completion: String,
    gold: String,
    #[serde(default)]
    choices: Vec<String>,
    right: bool,
}

fn table() -> Vec<Row> {
    let text = include_str!("../fixtures/answers/verdicts.jsonl");
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The answer as the default format reads it.
fn answer(row: &Row) -> Option<&str> {
    Format::default().parse(&row.completion).map(|read| &row.completion[read.answer])
}

#[test]
fn what_is_right_is_called_right_and_only_that() {
    let rows = table();
    let wrongly = rows.iter().filter(|row| {
        let equality = Equality::of(Some(&row.gold), &row.choices);
        answer(row).is_some_and(|answer| equality.same(&row.gold, answer)) != row.right
    });
    let wrongly: Vec<String> = wrongly
        .map(|row| {
            let verdict = if row.right { "right" } else { "wrong" };
            format!("{}: {:?} is {verdict} where {:?} is asked", row.kind, row.completion, row.gold)
        })
        .collect();
    assert!(wrongly.is_empty(), "{} of {}:\n{}", wrongly.len(), rows.len(), wrongly.join("\n"));
    assert!(rows.len() > 700);
}

/// An answer votes with those that are right as it is: three spellings of the gold answer outvote two of a wrong one, whatever comes first.
#[test]
fn votes_go_by_what_grading_goes_by() {
    let rows = table();
    let mut kinds = 0;
    let mut start = 0;
    while start < rows.len() {
        let (gold, choices) = (&rows[start].gold, &rows[start].choices);
        let of_gold =
            rows[start..].iter().take_while(|row| row.gold == *gold && row.choices == *choices).count();
        let rows = &rows[start..start + of_gold];
        start += of_gold;
        let equality = Equality::of(Some(gold), choices);
        let right: Vec<Option<&str>> = rows.iter().filter(|row| row.right).map(answer).collect();
        if right.is_empty() {
            continue;
        }
        let Some(wrong) = rows.iter().find(|row| !row.right && answer(row).is_some()) else { continue };
        // All right answers are one class, all but those that are worked out less far than another.
        let classes = equality.classes(&right);
        let first = classes.iter().filter(|class| **class == classes[0]).count();
        assert!(2 * first > right.len(), "{gold}: {right:?} are {classes:?}");
        if first >= 3 {
            let same: Vec<Option<&str>> = right
                .iter()
                .zip(&classes)
                .filter(|(_, class)| **class == classes[0])
                .map(|(answer, _)| *answer)
                .collect();
            let votes = [answer(wrong), same[0], answer(wrong), same[1], same[2]];
            let correct: Vec<bool> =
                votes.iter().map(|vote| vote.is_some_and(|vote| equality.same(gold, vote))).collect();
            assert!(majority_correct(&equality.classes(&votes), &correct), "{gold}: {votes:?}");
            kinds += 1;
        }
    }
    assert!(kinds > 30, "{kinds}");
}

#[test]
fn integers_beside_choices_count_them_or_are_refused() {
    let recipe = r#"
[data]
train = "rows.jsonl"
prompts_per_step = 4
template.chat = false
template.user = "{{ question }}"
[policy]
dtype = "f32"
[policy.init]
tokenizer = "bytes"
hidden_size = 16
layers = 1
heads = 2
kv_heads = 1
context = 256
[rollout.dataset]
[reward.answer]
[loop.collect]
"#;
    let rows = |answers: &[i64]| {
        let row = |(at, answer): (usize, &i64)| {
            json!({"id": at.to_string(), "question": "x?", "choices": ["p", "q", "r"], "answer": answer, "completion": "The answer is B."})
                .to_string()
        };
        answers.iter().enumerate().map(row).collect::<Vec<_>>().join("\n")
    };
    let program = Program::new(recipe);
    program.write("rows.jsonl", &rows(&[1, 0, 2]));
    program.train(&["--quiet"]).success();
    let mut scores: Vec<(String, f64)> = program
        .all_traces()
        .iter()
        .map(|trace| {
            (trace["example"].as_str().unwrap().to_string(), trace["scores"]["answer"].as_f64().unwrap())
        })
        .collect();
    scores.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(scores.iter().map(|(_, score)| *score).collect::<Vec<_>>(), [1.0, 0.0, 0.0]);
    let said = Program::new(recipe);
    said.write("rows.jsonl", &rows(&[1, 3]));
    let said = said.train(&["--quiet"]).code(2);
    assert!(said.contains("rows.jsonl:2: `answer` 3 is neither label nor text of the choices"), "{said}");
    assert!(said.contains("data.integer_answers = \"from_1\""), "{said}");
}
