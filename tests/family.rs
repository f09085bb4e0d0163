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

/// Additions whose rationale is sometimes preceded by lines that only make it longer, learned a little; then MaRio with
/// two rewards.
const MARIO: &str = r#"
[data]
train = "rows.jsonl"
eval = "rows.jsonl"
eval_limit = 100
prompts_per_step = 32
template.chat = false
template.user = "{{ question }}\n"
[policy.init]
tokenizer = "characters"
alphabet = "0123456789+=:# \n<>answerlgth"
hidden_size = 32
layers = 2
heads = 4
kv_heads = 4
context = 96
[policy.sampling]
max_new_tokens = 40
[policy]
decode_slots = 256
[devices]
policy = "cpu"
threads = 1
[optim]
lr = 5e-3
[reward.answer]
[reward.length]
max_tokens = 40
buffer = 40
[eval]
at_start = false
temperature = 1.0
[[stage]]
name = "warmup"
run.steps = 120
[stage.loop.sft]
[[stage]]
name = "mario"
run.steps = 120
[stage.policy]
model = "@warmup"
[stage.rollout.group]
size = 1
[stage.loop.mario]
rows = false
sample_every = 40
quantiles = 4
borders.answer = [0.5]
[stage.checkpoint]
every = 60
"#;

fn mario() -> Program {
    let program = Program::new(MARIO);
    let row = |i: usize| {
        let (a, b) = (i % 10, i / 10 % 10);
        let padding = format!("{:05}\n", i * 7919 % 100_000).repeat(i / 100 % 4);
        let rationale = format!("{padding}{a}+{b}: {}", a + b);
        json!({"question": format!("{a}+{b}"), "rationale": rationale, "answer": (a + b).to_string()})
    };
    let rows: String = (0..400).map(|i| format!("{}\n", row(i))).collect();
    program.write("rows.jsonl", &rows);
    program
}

#[test]
fn the_best_quantiles_of_two_rewards_improve_both() {
    let program = mario();
    program.train(&[]).success();
    let evaluations = lines(&program.out().join("evaluations.jsonl"));
    let [warmup, best] = [0, 1].map(|at| &evaluations[at]["report"]);
    let figures = |of: &Value| (number(of, "accuracy"), number(of, "length"));
    println!("after the warm-up {:?}, under the best quantiles {:?}", figures(warmup), figures(best));
    assert!(number(best, "accuracy") > number(warmup, "accuracy"));
    assert!(number(best, "length") < 0.85 * number(warmup, "length"));
    assert!(evaluations[1]["report"]["shown"].as_array().unwrap().is_empty());

    let metrics = lines(&program.out().join("metrics.jsonl"));
    let of = |step: u64, name: &str| {
        number(metrics.iter().find(|m| m["stage"] == "mario" && m["step"] == step && m["nll"].is_number()).unwrap(), name)
    };
    // The pool grows by what has an answer, and explorations under the best tokens come to be better than the first.
    assert!(of(1, "pool/size") <= 400.0 && of(120, "pool/size") > 2.5 * of(1, "pool/size"));
    for reward in ["answer", "length"] {
        let name = format!("rewards/{reward}/mean");
        assert!(of(81, &name) > of(1, &name), "{name}: {} {}", of(1, &name), of(81, &name));
    }
    assert!(of(60, "pool/age") > 0.0 && of(60, "kl").is_finite());
    // The traces are the pool: what an exploration asked ends in the best control tokens.
    let traces = lines(&program.out().join("traces/mario.jsonl"));
    assert_eq!(traces.len(), 3 * 400);
    let answered = traces.iter().filter(|trace| trace["predicted"].is_string()).count();
    assert_eq!(answered as f64, of(120, "pool/size"));
    let prompt = |step: u64| {
        traces.iter().find(|t| t["step"] == step).unwrap()["prompt_ids"].as_array().unwrap().len()
    };
    assert_eq!(prompt(41) - prompt(1), "<answer:1><length:3>".len());
}

#[test]
fn a_pool_is_taken_up_again_where_a_run_was_cut_off() {
    let short = ["--set", "stage.warmup.run.steps=10", "--set", "stage.mario.loop.mario.rows=true"];
    let whole = mario();
    whole.train(&short).success();
    let cut = mario();
    cut.train(&short).success();
    // As if it had been killed after the checkpoint of step 60: the end of the stage is not there.
    std::fs::remove_dir_all(cut.out().join("mario-step-000120")).unwrap();
    cut.train(&[&short[..], &["--resume"]].concat()).success();
    let bytes = |program: &Program, file: &str| std::fs::read(program.out().join(file)).unwrap();
    assert!(bytes(&whole, "mario-step-000120/model.safetensors") == bytes(&cut, "mario-step-000120/model.safetensors"));
    assert!(bytes(&whole, "traces/mario.jsonl") == bytes(&cut, "traces/mario.jsonl"), "nothing is sampled twice");
    // The rows' own completions came first: 400 of them beside 400 samples, then two explorations.
    assert_eq!(lines(&whole.out().join("traces/mario.jsonl")).len(), 4 * 400);
}
