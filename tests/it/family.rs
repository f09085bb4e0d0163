//! Self-training and its honest controls, on models of a few thousand weights that learn arithmetic in seconds.

use crate::program::{Program, number, rows as text};
use crate::recipes::{Tiny, small};
use rationale::data::{Data, Hub, Questions, Split};
use rationale::log::Metrics;
use rationale::loops::{Worker, sft};
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
[policy.sampling]
max_new_tokens = 24
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
    let program = Program::new(&Tiny { context: Some(64), dtype: None, ..Tiny::SUMS }.recipe(TWINS));
    let said = program.train(&[]).success();
    let table: Vec<&str> = said.lines().filter(|line| line.contains('%')).collect();
    let row = |name: &str| table.iter().filter(|line| line.trim_start().starts_with(name)).count();
    assert_eq!(
        (row("accuracy"), row("calibration error (ECE)"), row("mean confidence")),
        (1, 1, 1),
        "{said}"
    );
    let evaluations = program.evaluations();
    assert_eq!(evaluations.iter().map(|e| &e["stage"]).collect::<Vec<_>>(), ["rationale", "direct"]);
    let metrics = program.metrics();
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

/// What was explored is learned beside the teacher's rows, from the base; here whatever was written to its end, right or wrong.
#[test]
fn the_base_learns_what_the_teacher_and_exploring_gave() {
    let explored = ["explore-1", "explore-2"].map(|stage| {
        [format!("stage.{stage}.select.correct=false"), format!("stage.{stage}.select.pass_rate=[0.0, 1.0]")]
    });
    let explored: Vec<&str> = explored.iter().flatten().map(String::as_str).collect();
    let sizes = [
        "run.steps=2",
        "data.task.addition.train=16",
        "data.task.addition.eval=6",
        "policy.sampling.max_new_tokens=24",
        "stage.dpo.select.pairs.kind=score_margin",
    ];
    let program = small("still-2-arithmetic", &[&sizes[..], &explored].concat());
    let teacher = program.traces("teacher");
    assert_eq!(teacher.len(), 16);
    let written = |trace: &Value| trace["completion"].as_str().unwrap().to_owned();
    assert!(teacher.iter().map(written).all(|text| text.starts_with("<t>\n") && text.ends_with("\n</s>")));
    for stage in ["explore-1", "explore-2"] {
        // At most the shortest of each question.
        assert!((1..=16).contains(&program.traces(stage).len()), "{stage}");
    }
    let evaluations = program.evaluations();
    let stages: Vec<&str> = evaluations.iter().map(|line| line["stage"].as_str().unwrap()).collect();
    let arms = ["imitate", "improve-1", "improve-2", "onward", "dpo"].map(|arm| format!("{arm}-held-out"));
    assert_eq!(stages, arms);
    assert!(
        evaluations.iter().all(|line| line["report"]["questions"] == evaluations[0]["report"]["questions"])
    );
}

const FOUR_HEADS: Tiny = Tiny { heads: 4, kv_heads: 4, context: Some(64), dtype: None, ..Tiny::SUMS };

/// A scratchpad line that the answer is copied from, and in half of the rows a line of digits that say nothing.
const VERBOSE: &str = r#"
[data]
train = "rows.jsonl"
eval = "rows.jsonl"
eval_limit = 50
prompts_per_step = 32
template.chat = false
template.user = "{{ question }}\n"
[policy.sampling]
max_new_tokens = 40
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
[stage.optim]
lr = 2e-3
schedule = "linear"
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

fn context_of(model: &Path, data: &Data, steps: usize) -> Worker {
    let policy = Policy::load(model, tch::Kind::Float, tch::Device::Cpu, 8).unwrap();
    let dataset = data.load(Split::Train, &Hub::from_env(), 0).unwrap();
    let limit = policy.context() - 1;
    let questions =
        Questions::new(&dataset, &policy.tokenizer, limit, data.prompts_per_step, true, 0).unwrap();
    let rewards = Rewards::build(&toml::Table::new(), &Registry::default(), &data.format).unwrap();
    Worker { steps, ..Worker::new(policy, questions, rewards, data.format.clone()) }
}

#[test]
fn a_reduction_leaves_out_what_its_step_allows() {
    reduced(0);
}

/// The control is within: as many of the sentences that are needed could go as of those that say nothing.
#[test]
#[ignore = "slow: three seeds; make slow-test"]
fn verbose_sentences_go_and_needed_ones_stay_with_every_seed() {
    for seed in 0..3 {
        let Reduced { gone: [needed, useless], full, varr } = reduced(seed);
        println!("seed {seed}: {needed} of 200 needed sentences are gone, {useless} of 100 useless ones");
        assert!(needed <= 20 && useless >= 60, "seed {seed}: {needed} {useless}");
        assert!(number(&varr, "length") < number(&full, "length"), "seed {seed}: {full} {varr}");
        assert!(number(&varr, "accuracy") >= number(&full, "accuracy") - 0.1, "seed {seed}: {full} {varr}");
    }
}

/// Of 200 needed sentences and 100 useless ones those that are left out; the reports of the two stages.
struct Reduced {
    gone: [usize; 2],
    full: Value,
    varr: Value,
}

/// Runs the two stages, and checks what holds whatever was learned.
fn reduced(seed: usize) -> Reduced {
    let program = Program::new(&FOUR_HEADS.recipe(VERBOSE));
    program.write("rows.jsonl", &text(&verbose_rows(600)));
    program.train_set(&[&format!("run.seed={seed}")]).success();
    let out = program.out();

    // What the model that learned whole rationales would leave out, where every sentence may go.
    let data = Data {
        train: serde_json::from_value(json!(out.parent().unwrap().join("rows.jsonl"))).unwrap(),
        template: serde_json::from_value(json!({"chat": false, "user": "{{ question }}\n"})).unwrap(),
        ..Data::default()
    };
    let worker = context_of(&out.join("full-step-000300"), &data, 10);
    let rows = &worker.questions.all[..200];
    let shorter = |reduce: &Reduce, step: usize| {
        sft::reduce::shortened(reduce, &worker, rows, step, &mut Metrics::default()).unwrap()
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
    assert_eq!(useless, 100);
    // During the warm-up nothing may go; where half may, at most one of two sentences does.
    let whole: Vec<&str> = rows.iter().map(|row| row.example.completion.as_deref().unwrap()).collect();
    assert_eq!(shorter(&Reduce::default(), 1), whole);
    let sentences = |texts: &[String]| texts.iter().map(|text| text.lines().count() - 1).min();
    assert_eq!(sentences(&shorter(&Reduce::default(), 9)), Some(1));

    // The stage that reduces says what it does.
    let metrics = program.metrics();
    let of = |step: u64, name: &str| {
        let found =
            metrics.iter().find(|m| m["stage"] == "varr" && m["step"] == step && m["loss"].is_number());
        number(found.unwrap(), name)
    };
    assert_eq!((of(6, "select/sentences_removed"), of(6, "select/tokens_kept")), (0.0, 1.0));
    assert!(of(60, "select/sentences_removed") > 0.0 && of(60, "select/tokens_kept") < 1.0);
    let evaluations = program.evaluations();
    let [full, varr] = [0, 1].map(|at| evaluations[at]["report"].clone());
    Reduced { gone: [200 - needed, gone], full, varr }
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
[policy.sampling]
max_new_tokens = 40
top_p = 0.7
[policy]
decode_slots = 256
[optim]
lr = 5e-3
[reward.a]
kind = "answer"
[reward.l]
kind = "length"
max_tokens = 40
buffer = 40
[eval]
at_start = false
temperature = 1.0
[[stage]]
name = "warmup"
run.steps = 160
[stage.loop.sft]
[[stage]]
name = "mario"
run.steps = 250
[stage.policy]
model = "@warmup"
[stage.rollout.group]
size = 1
[stage.loop.mario]
control = "{reward}{quantile}"
sample_every = 50
quantiles = 4
borders.a = [0.5]
[stage.data]
prompts_per_step = 64
[stage.optim]
lr = 3e-3
warmup_steps = 20
"#;

fn mario(more: &str) -> Program {
    let alphabet = Some("0123456789+=:# \n<>answerlgth");
    let model = Tiny { alphabet, hidden_size: 48, context: Some(96), ..FOUR_HEADS };
    let program = Program::new(&model.recipe(&format!("{MARIO}{more}")));
    let row = |i: usize| {
        let (a, b) = (i % 5, i / 5 % 5);
        let padding = format!("{:05}\n", i * 7919 % 100_000).repeat(i / 25 % 4);
        let rationale = format!("{padding}{a}+{b}: {}", a + b);
        json!({"question": format!("{a}+{b}"), "rationale": rationale, "answer": (a + b).to_string()})
    };
    program.write("rows.jsonl", &text(&(0..400).map(row).collect::<Vec<_>>()));
    program
}

/// As many more updates on the rows alone are the control.
const CONTROL: &str = r#"
[[stage]]
name = "control"
run.steps = 250
[stage.policy]
model = "@warmup"
[stage.loop.sft]
[stage.data]
prompts_per_step = 64
[stage.optim]
lr = 3e-3
warmup_steps = 20
"#;

#[test]
#[ignore = "slow: three seeds; make slow-test"]
fn the_best_quantiles_of_two_rewards_improve_both_with_every_seed() {
    for seed in 0..3 {
        let program = mario(CONTROL);
        program.train_set(&[&format!("run.seed={seed}")]).success();
        let evaluations = program.evaluations();
        let figures = |at: usize| ["accuracy", "length"].map(|name| number(&evaluations[at]["report"], name));
        let [warmup, best, control] = [0, 1, 2].map(figures);
        println!("seed {seed}: warm-up {warmup:?}, best quantiles {best:?}, control {control:?}");
        assert!(best[0] > warmup[0] + 0.05 && best[1] < 0.85 * warmup[1], "seed {seed}: {warmup:?} {best:?}");
        assert!(best[1] < 0.9 * control[1], "seed {seed}: {best:?}, {control:?} of the rows alone");
        let steps = program.steps("mario");
        let of = |step: u64, name: &str| number(steps.iter().find(|m| m["step"] == step).unwrap(), name);
        for reward in ["rewards/a/mean", "rewards/l/mean"] {
            assert!(of(201, reward) > of(1, reward), "{reward}: {} {}", of(1, reward), of(201, reward));
        }
    }
}

#[test]
fn the_traces_are_the_pool_that_explorations_fill() {
    let program = mario("");
    program.train_set(&[]).success();
    let metrics = program.metrics();
    let of = |step: u64, name: &str| {
        number(
            metrics
                .iter()
                .find(|m| m["stage"] == "mario" && m["step"] == step && m["nll"].is_number())
                .unwrap(),
            name,
        )
    };
    // The pool grows by what has an answer.
    assert!(of(1, "pool/size") <= 800.0 && of(250, "pool/size") > of(1, "pool/size"));
    assert!(of(60, "pool/age") > 0.0 && of(60, "kl").is_finite());
    // The traces are the pool: what an exploration asked ends in the best control tokens.
    let traces = program.traces("mario");
    assert_eq!(traces.len(), 400 + 5 * 400, "the rows' own, and five explorations");
    let answered = traces.iter().filter(|trace| trace["predicted"].is_string()).count();
    assert_eq!(answered as f64, of(250, "pool/size"));
    let prompt = |step: u64| {
        traces.iter().find(|t| t["step"] == step).unwrap()["prompt_ids"].as_array().unwrap().len()
    };
    assert_eq!(prompt(51) - prompt(1), "a1l3".len());
}

#[test]
fn a_pool_is_taken_up_again_where_a_run_was_cut_off() {
    let short: Vec<&str> = [
        "stage.warmup.run.steps=10",
        "stage.mario.run.steps=80",
        "stage.mario.loop.mario.sample_every=35",
        "stage.mario.checkpoint.every=60",
        "stage.mario.data.prompts_per_step=8",
    ]
    .iter()
    .flat_map(|set| ["--set", set])
    .collect();
    let whole = mario("");
    whole.train(&short).success();
    let cut = mario("");
    cut.train(&short).success();
    // As if it had been killed after the checkpoint of step 60: the end of the stage is not there.
    cut.forget("mario-step-000080");
    cut.train(&[&short[..], &["--resume"]].concat()).success();
    let bytes = |program: &Program, file: &str| std::fs::read(program.out().join(file)).unwrap();
    assert!(
        bytes(&whole, "mario-step-000080/model.safetensors")
            == bytes(&cut, "mario-step-000080/model.safetensors")
    );
    assert!(
        bytes(&whole, "traces/mario.jsonl") == bytes(&cut, "traces/mario.jsonl"),
        "nothing is sampled twice"
    );
    // The rows' own completions beside a sample of each question, and explorations in steps 36 and 71.
    assert_eq!(whole.traces("mario").len(), 4 * 400);
}

const CREST: &str = r#"
[data]
train = "rows.jsonl"
eval = "rows.jsonl"
prompts_per_step = 10
template.chat = false
template.user = "{{ question }} A {{ choices[0] }} B {{ choices[1] }} C {{ choices[2] }}\n"
format.answer = ["answer_tag"]
[policy.sampling]
max_new_tokens = 40
[optim]
lr = 5e-3
[[stage]]
name = "warmup"
run.steps = 200
[stage.data]
train = "warm.jsonl"
prompts_per_step = 30
[stage.loop.sft]
[stage.eval]
at_start = false
calibration.confidence = "choice"
[[stage]]
name = "judge"
run.steps = 2
[stage.policy]
model = "@warmup"
[stage.rollout.group]
size = 8
[stage.reward.answer]
[stage.loop.collect.follow_up]
question = " {letter}?"
cue = "\nso {letter} is"
tolerance = 1
[[stage]]
name = "sft"
run.steps = 1
[stage.policy]
model = "@warmup"
[stage.data]
train = "@judge"
[stage.loop.sft]
[[stage]]
name = "again"
run.steps = 1
[stage.policy]
model = "@sft"
[stage.data]
train = "@judge/pairs"
[stage.rollout.group]
size = 1
[stage.loop.collect]
"#;

#[test]
fn follow_ups_filter_rationales_and_write_pairs() {
    let program = Program::new(&Tiny { alphabet: None, context: Some(160), ..FOUR_HEADS }.recipe(CREST));
    let (mut rows, mut warm) = (Vec::new(), Vec::new());
    for i in 0..30 {
        let (a, b) = (i % 3, i / 3);
        let choices: Vec<String> = (0..3).map(|k| (a + b + k).to_string()).collect();
        let asked = format!("{a}+{b} A {} B {} C {}", choices[0], choices[1], choices[2]);
        // A policy that is right with two of three rationales; after the second kind it takes B for right as well.
        for (rationale, answer) in [("it adds", "A"), ("one sees", "A"), ("it adds", "B")] {
            let completion = format!("{rationale}\n<answer>{answer}</answer>");
            warm.push(json!({"prompt": format!("{asked}\n"), "completion": completion}));
            for letter in ["A", "B", "C"] {
                let right = letter == "A" || (letter == "B" && rationale == "one sees");
                let judged = format!("{rationale}\nso {letter} is {}", if right { "right" } else { "not" });
                warm.push(json!({"prompt": format!("{asked} {letter}?\n"), "completion": judged}));
            }
        }
        rows.push(
            json!({"id": format!("q{i}"), "question": format!("{a}+{b}"), "choices": choices, "answer": "A"}),
        );
    }
    program.write("rows.jsonl", &text(&rows));
    program.write("warm.jsonl", &text(&warm));
    program.train(&[]).success();

    // After "it adds" A and B were learned equally often, after "one sees" A alone: so much the chosen letter is worth.
    let report = &program.evaluations()[0]["report"];
    let calibration = &report["calibration"];
    println!("confidence {} in {} answers", calibration["confidence"], calibration["points"]);
    assert_eq!(number(calibration, "points"), 30.0);
    assert!((0.4..0.9).contains(&number(calibration, "confidence")));

    let traces = program.traces("judge");
    let pairs = program.traces("judge-pairs");
    let metrics = program.metrics();
    let step = |n: u64| metrics.iter().find(|m| m["stage"] == "judge" && m["step"] == n).unwrap();
    let expected: f64 = [1, 2]
        .map(|n| number(step(n), "select/pairs_consistency") + number(step(n), "select/pairs_outcome"))
        .iter()
        .sum();
    assert_eq!(pairs.len() as f64, expected);
    println!("{} traces kept of 160, {} pairs", traces.len(), pairs.len());
    // What is kept is right and fails one option of three at most.
    assert!(traces.len() > 20);
    for trace in &traces {
        assert_eq!(number(&trace["scores"], "answer"), 1.0);
        assert!(number(&trace["scores"], "follow_up") >= 2.0);
    }
    for reason in ["consistency", "outcome"] {
        assert!(pairs.iter().any(|pair| pair["reason"] == reason), "no pairs for {reason}");
    }
    for pair in &pairs {
        // The prompt is the question's own, not an instruction alone.
        let question = pair["example"].as_str().unwrap()[1..].parse::<usize>().unwrap();
        assert!(pair["prompt"].as_str().unwrap().starts_with(rows[question]["question"].as_str().unwrap()));
        assert!(
            pair["chosen"].is_string() && pair["rejected"].is_string() && pair["chosen"] != pair["rejected"]
        );
        assert!(pair["chosen"].as_str().unwrap().contains("<answer>A"), "the better one is right");
        assert_eq!(
            pair["reason"] == "outcome",
            !pair["rejected"].as_str().unwrap().contains("<answer>A</answer>")
        );
    }
    assert!(metrics.iter().any(|m| m["stage"] == "sft" && m["loss"].is_number()));
    // A later stage finds the pairs by name.
    let asked = program.traces("again");
    assert!(
        asked.len() == 10
            && asked.iter().all(|trace| pairs.iter().any(|pair| pair["id"] == trace["example"]))
    );
}
