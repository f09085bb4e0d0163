//! Self-training and its honest controls, on models of a few thousand weights that learn arithmetic in seconds.

mod program;

use program::{Program, lines, number};
use rationale::data::{Data, Hub, Split};
use rationale::log::Metrics;
use rationale::loops::{Context, Questions, sft};
use rationale::policy::Policy;
use rationale::reward::{Registry, Rewards};
use rationale::select::reduce::Reduce;
use serde_json::{Value, json};
use std::path::Path;

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

/// A scratchpad line that the answer is copied from, and in half of the rows a line of digits that say nothing.
const VERBOSE: &str = r#"
[data]
train = "rows.jsonl"
eval = "rows.jsonl"
eval_limit = 50
prompts_per_step = 32
template.chat = false
template.user = "{{ question }}\n"
[policy.init]
tokenizer = "characters"
alphabet = "0123456789+=:# \n"
hidden_size = 32
layers = 2
heads = 4
kv_heads = 4
context = 64
[policy.sampling]
max_new_tokens = 40
[devices]
policy = "cpu"
threads = 1
[optim]
lr = 5e-3
[run]
steps = 300
[eval]
at_start = false
[[stage]]
name = "full"
[stage.loop.sft]
[[stage]]
name = "varr"
[stage.policy]
model = "@full"
[stage.run]
steps = 60
[stage.loop.sft]
reduce.warmup_ratio = 0.1
"#;

/// The useless line of row `i`, where it has one: five digits and no colon.
fn verbose_rows(count: usize) -> Vec<Value> {
    let row = |i: usize| {
        let (a, b) = (i * 7 % 50 + 10, i * 13 % 40 + 10);
        let needed = format!("{a}+{b}: {}", a + b);
        let useless = format!("{:05}", i * 7919 % 100_000);
        let rationale = match i % 4 {
            0 => format!("{useless}\n{needed}"),
            1 => format!("{needed}\n{useless}"),
            _ => needed,
        };
        json!({"question": format!("{a}+{b}"), "rationale": rationale, "answer": (a + b).to_string()})
    };
    (0..count).map(row).collect()
}

fn context_of(model: &Path, data: &Data, steps: usize) -> Context {
    let policy = Policy::load(model, tch::Kind::Float, tch::Device::Cpu, 8).unwrap();
    let dataset = data.load(Split::Train, &Hub::from_env(), 0).unwrap();
    Context {
        questions: Questions::new(&dataset, &policy, None, data.prompts_per_step, true, 0).unwrap(),
        policy,
        reference: None,
        rewards: Rewards::build(&toml::Table::new(), &Registry::default(), &data.format).unwrap(),
        rollout: Default::default(),
        select: Default::default(),
        sampling: Default::default(),
        format: data.format.clone(),
        seed: 0,
        steps,
        tokens_per_microbatch: 4096,
        progress: Box::new(|_| {}),
    }
}

#[test]
fn verbose_sentences_go_and_needed_ones_stay() {
    let program = Program::new(VERBOSE);
    let rows: String = verbose_rows(600).iter().map(|row| format!("{row}\n")).collect();
    program.write("rows.jsonl", &rows);
    program.train(&[]).success();
    let out = program.out();

    // What the model that learned whole rationales would leave out, where every sentence may go.
    let data = Data {
        train: serde_json::from_value(json!(out.parent().unwrap().join("rows.jsonl"))).unwrap(),
        template: serde_json::from_value(json!({"chat": false, "user": "{{ question }}\n"})).unwrap(),
        ..Data::default()
    };
    let context = context_of(&out.join("full-step-000300"), &data, 10);
    let rows = &context.questions.all[..200];
    let shorter = |reduce: &Reduce, step: usize| {
        sft::reduce::shortened(reduce, &context, rows, step, &mut Metrics::default()).unwrap()
    };
    let all = shorter(&Reduce::default(), 10);
    let (mut needed, mut useless, mut gone) = (0, 0, 0);
    for (row, text) in rows.iter().zip(&all) {
        needed +=
            usize::from(text.contains(&format!("{}: ", row.example.fields["question"].as_str().unwrap())));
        let is_useless = |line: &&str| line.len() == 5 && line.bytes().all(|b| b.is_ascii_digit());
        let had = row.example.completion.as_ref().unwrap().lines().any(|line| is_useless(&line));
        useless += usize::from(had);
        gone += usize::from(had && !text.lines().any(|line| is_useless(&line)));
    }
    println!("{needed} of 200 needed sentences kept, {gone} of {useless} useless ones gone");
    assert_eq!(useless, 100);
    assert!(needed >= 180 && gone >= 60, "{needed} {gone}");
    // During the warm-up nothing may go; where half may, at most one of two sentences does.
    let whole: Vec<&str> = rows.iter().map(|row| row.example.completion.as_deref().unwrap()).collect();
    assert_eq!(shorter(&Reduce::default(), 1), whole);
    let sentences = |texts: &[String]| texts.iter().map(|text| text.lines().count() - 1).min();
    assert_eq!(sentences(&shorter(&Reduce::default(), 9)), Some(1));

    // The stage that reduces says what it does, and in the end writes shorter than it was taught at first.
    let metrics = lines(&out.join("metrics.jsonl"));
    let of = |step: u64, name: &str| {
        let found =
            metrics.iter().find(|m| m["stage"] == "varr" && m["step"] == step && m["loss"].is_number());
        number(found.unwrap(), name)
    };
    assert_eq!((of(6, "select/sentences_removed"), of(6, "select/tokens_kept")), (0.0, 1.0));
    assert!(of(60, "select/sentences_removed") > 0.2 && of(60, "select/tokens_kept") < 0.95);
    let evaluations = lines(&out.join("evaluations.jsonl"));
    let [full, varr] = [0, 1].map(|at| &evaluations[at]["report"]);
    println!("full {full}\nvarr {varr}");
    assert!(number(varr, "length") < number(full, "length"));
    assert!(number(varr, "accuracy") >= number(full, "accuracy") - 0.1);
}
