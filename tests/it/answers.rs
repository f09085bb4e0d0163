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
    /// What was asked, where it matters.
    #[serde(default)]
    question: String,
    right: bool,
}

fn table() -> Vec<Row> {
    rows(include_str!("../fixtures/answers/verdicts.jsonl"))
}

fn rows(text: &str) -> Vec<Row> {
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
        let equality = Equality::of(Some(&row.gold), &row.choices).asked(&row.question);
        answer(row).is_some_and(|answer| equality.same(&row.gold, answer)) != row.right
    });
    let wrongly: Vec<String> = wrongly
        .map(|row| {
            let verdict = if row.right { "right" } else { "wrong" };
            format!(
                "{}: {:?} is {verdict} where {:?} is asked {}",
                row.kind, row.completion, row.gold, row.question
            )
        })
        .collect();
    assert!(wrongly.is_empty(), "{} of {}:\n{}", wrongly.len(), rows.len(), wrongly.join("\n"));
    assert!(rows.len() > 4000);
}

/// Forms that were written from the kinds of fault before any was mended, and not looked at meanwhile: what they say of forms that nobody thought of.
/// docs/answers.md gives the rates.
#[test]
fn forms_that_were_held_out_are_told_apart_too() {
    let rows = rows(include_str!("../fixtures/answers/held_out.jsonl"));
    let (mut refused, mut accepted) = (0, 0);
    for row in &rows {
        let equality = Equality::of(Some(&row.gold), &row.choices).asked(&row.question);
        let right = answer(row).is_some_and(|answer| equality.same(&row.gold, answer));
        refused += usize::from(row.right && !right);
        accepted += usize::from(!row.right && right);
    }
    let right = rows.iter().filter(|row| row.right).count();
    assert_eq!((right, rows.len() - right), (165, 328));
    assert!(refused <= 1, "{refused} of {right} right forms are refused");
    assert!(accepted <= 2, "{accepted} of {} wrong forms are accepted", rows.len() - right);
}

/// An answer votes with those that are right as it is: three spellings of the gold answer outvote two of a wrong one, whatever comes first.
#[test]
fn votes_go_by_what_grading_goes_by() {
    let rows = table();
    let mut kinds = 0;
    let mut start = 0;
    while start < rows.len() {
        let Row { gold, choices, question, .. } = &rows[start];
        let alike = |row: &&Row| row.gold == *gold && row.choices == *choices && row.question == *question;
        let of_gold = rows[start..].iter().take_while(alike).count();
        let rows = &rows[start..start + of_gold];
        start += of_gold;
        let equality = Equality::of(Some(gold), choices).asked(question);
        let right: Vec<Option<&str>> = rows.iter().filter(|row| row.right).map(answer).collect();
        if right.is_empty() {
            continue;
        }
        // One that no right answer is the same as: `x^2`, right for f(x) = x^2, would be so for g(x) = x^2 as well.
        let apart = |wrong: &str| right.iter().flatten().all(|right| !equality.same(right, wrong));
        let Some(wrong) = rows.iter().find(|row| !row.right && answer(row).is_some_and(apart)) else {
            continue;
        };
        // Most right answers are one class: all but those that are worked out less far than another, or could be two (50 beside 50 %).
        let classes = equality.classes(&right);
        let votes = |class: &Option<usize>| classes.iter().filter(|other| *other == class).count();
        let most = *classes.iter().max_by_key(|class| votes(class)).expect("some");
        let first = votes(&most);
        assert!(2 * first > right.len(), "{gold}: {right:?} are {classes:?}");
        if first >= 3 {
            let same: Vec<Option<&str>> = right
                .iter()
                .zip(&classes)
                .filter(|(_, class)| **class == most)
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

/// Completions of the rows themselves, graded.
const GRADED: &str = r#"
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

#[test]
fn integers_beside_choices_count_them_or_are_refused() {
    let rows = |answers: &[i64]| {
        let row = |(at, answer): (usize, &i64)| {
            json!({"id": at.to_string(), "question": "x?", "choices": ["p", "q", "r"], "answer": answer, "completion": "The answer is B."})
                .to_string()
        };
        answers.iter().enumerate().map(row).collect::<Vec<_>>().join("\n")
    };
    let program = Program::new(GRADED);
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
    let said = Program::new(GRADED);
    said.write("rows.jsonl", &rows(&[1, 3]));
    let said = said.train(&["--quiet"]).code(2);
    assert!(said.contains("rows.jsonl:2: `answer` 3 is neither label nor text of the choices"), "{said}");
    assert!(said.contains("data.integer_answers = \"from_1\""), "{said}");
    // So is a text that is none of them, a letter beyond them included.
    for gold in ["D", "pp", "p or q"] {
        let said = Program::new(GRADED);
        let row = json!({"id": "0", "question": "x?", "choices": ["p", "q", "r"], "answer": gold, "completion": "The answer is B."});
        said.write("rows.jsonl", &row.to_string());
        let said = said.train(&["--quiet"]).code(2);
        assert!(
            said.contains(&format!("rows.jsonl:1: `answer` {gold:?} is none of the 3 choices")),
            "{said}"
        );
    }
}

/// A label is carried by its place: of O, A, B and AB the label B is A, which the text B is not.
#[test]
fn a_label_that_is_another_choices_text_is_that_of_its_place() {
    let program = Program::new(GRADED);
    let texts = ["O", "A", "B", "AB"];
    let labelled = json!({"label": ["A", "B", "C", "D"], "text": texts});
    let cases = [
        (labelled.clone(), json!("B"), "The answer is (B).", 1.0),
        (labelled, json!("B"), "The answer is (C).", 0.0),
        (json!(texts), json!(1), "The answer is B) A.", 1.0),
        (json!(texts), json!("B"), "The answer is (C).", 1.0),
        // A letter alone names both.
        (json!(texts), json!("B"), "The answer is B.", 0.0),
    ];
    let rows: Vec<String> = cases
        .iter()
        .enumerate()
        .map(|(at, (choices, answer, completion, _))| {
            json!({"id": at.to_string(), "question": "x?", "choices": choices, "answer": answer, "completion": completion}).to_string()
        })
        .collect();
    program.write("rows.jsonl", &rows.join("\n"));
    program.train(&["--quiet"]).success();
    for trace in program.all_traces() {
        let at: usize = trace["example"].as_str().unwrap().parse().unwrap();
        assert_eq!(trace["scores"]["answer"].as_f64().unwrap(), cases[at].3, "{}", cases[at].2);
    }
}

/// The row's question is what an answer may not copy, whatever the template puts around it.
#[test]
fn a_copy_of_the_question_is_no_answer_to_it() {
    let program =
        Program::new(&GRADED.replace("{{ question }}", "Solve this. {{ question }} Box the answer."));
    let cases = [
        ("84/144", 0.0),
        ("\\frac{84}{144}", 0.0),
        ("+168/288", 0.0),
        ("14/24", 0.0),
        ("7/12", 1.0),
        ("84/144 = 7/12", 1.0),
    ];
    let rows: Vec<String> = cases
        .iter()
        .enumerate()
        .map(|(at, (answer, _))| {
            json!({"id": at.to_string(), "question": "Simplify 84/144.", "answer": "7/12", "completion": format!("\\boxed{{{answer}}}")})
                .to_string()
        })
        .collect();
    program.write("rows.jsonl", &rows.join("\n"));
    program.train(&["--quiet"]).success();
    for trace in program.all_traces() {
        let at: usize = trace["example"].as_str().unwrap().parse().unwrap();
        assert_eq!(trace["scores"]["answer"].as_f64().unwrap(), cases[at].1, "{}", cases[at].0);
    }
}
