//! Self-training and its honest controls, on models of a few thousand weights that learn arithmetic in seconds.

mod program;

use program::{Program, lines, number};
use serde_json::Value;

/// Rows learned with and without their scratchpad, as `recipes/rationale-vs-direct.toml` has it.
const TWINS: &str = r#"
[data]
prompts_per_step = 16
template.chat = false
template.user = "{{ question }}\n"
[data.task.addition]
digits = [1]
train = 200
eval = 20
[policy.init]
tokenizer = "characters"
alphabet = "0123456789+=:# \n"
hidden_size = 32
layers = 2
heads = 2
kv_heads = 2
context = 64
[policy.sampling]
max_new_tokens = 24
[devices]
policy = "cpu"
threads = 1
[optim]
lr = 1e-2
[run]
steps = 60
[loop.sft]
[eval]
at_start = false
calibration.bins = 10
[[stage]]
name = "rationale"
[[stage]]
name = "direct"
data.template.assistant = '#### {{ answer }}'
"#;

#[test]
fn twins_are_compared_by_accuracy_and_calibration() {
    let program = Program::new(TWINS);
    let said = program.train(&[]).success();
    let table: Vec<&str> = said.lines().filter(|line| line.contains('%')).collect();
    let row = |name: &str| table.iter().filter(|line| line.trim_start().starts_with(name)).count();
    assert_eq!(
        (row("accuracy"), row("calibration error (ECE)"), row("mean confidence")),
        (1, 1, 1),
        "{said}"
    );
    let evaluations = lines(&program.out().join("evaluations.jsonl"));
    assert_eq!(evaluations.iter().map(|e| &e["stage"]).collect::<Vec<_>>(), ["rationale", "direct"]);
    let metrics = lines(&program.out().join("metrics.jsonl"));
    for evaluation in &evaluations {
        let report = &evaluation["report"];
        let calibration = &report["calibration"];
        // One point a question that was answered.
        let answered = number(report, "questions") * (1.0 - number(report, "unanswered"));
        assert!((number(calibration, "points") - answered).abs() < 1e-9);
        // The error is that of its own bins: Σ points · |accuracy − confidence| / all points.
        let gap =
            |bin: &Value| number(bin, "points") * (number(bin, "accuracy") - number(bin, "confidence")).abs();
        let gaps: f64 = calibration["bins"].as_array().unwrap().iter().map(gap).sum();
        let error = number(calibration, "error");
        assert!((error - gaps / number(calibration, "points")).abs() < 1e-12);
        let line =
            metrics.iter().find(|m| m["stage"] == evaluation["stage"] && m["eval/ece"].is_number()).unwrap();
        assert_eq!(
            (number(line, "eval/ece"), number(line, "eval/confidence")),
            (error, number(calibration, "confidence"))
        );
    }
    // Greedy decoding, and a confidence is the product of the answer's probabilities: never 0, never above 1.
    assert!(
        evaluations.iter().all(|e| (1e-6..=1.0).contains(&number(&e["report"]["calibration"], "confidence")))
    );
}
