//! `loop.prm` and `reward.process` from the command line: what is learned, kept, measured and refused.

use crate::program::{Program, number, rows};
use crate::recipes::Tiny;
use serde_json::{Value, json};
use std::fs;

const ON_SCRATCHPADS: &str = r#"
[run]
steps = 4
[data]
prompts_per_step = 4
template.chat = false
template.user = "{{ question }}\n"
[data.task.addition]
digits = [2]
train = 40
eval = 12
faults.share = 0.7
[policy.sampling]
max_new_tokens = 12
"#;

const ON_ROWS: &str = r#"
[run]
steps = 2
[data]
train = "rows.jsonl"
prompts_per_step = 2
template.chat = false
"#;

fn on_scratchpads(more: &str) -> Program {
    let model = Tiny { hidden_size: 16, layers: 1, context: Some(120), ..Tiny::SUMS };
    Program::new(&model.recipe(&format!("{ON_SCRATCHPADS}{more}")))
}

/// A program over `data`, with `keys` in `[loop.prm]`.
fn on_rows(keys: &str, data: &[Value]) -> Program {
    let program = Program::new(&Tiny::BYTES.recipe(&format!("{ON_ROWS}[loop.prm]\n{keys}\n")));
    program.write("rows.jsonl", &rows(data));
    program
}

#[test]
fn a_reward_model_is_kept_measured_and_resumed() {
    for lora in ["", "[policy.lora]\nrank = 2\n"] {
        let program =
            on_scratchpads(&format!("{lora}[loop.prm]\n[checkpoint]\nevery = 2\n[eval]\nby = \"fault\"\n"));
        program.train(&["--quiet"]).success();
        let found = program.steps("prm");
        assert_eq!(found.len(), 4);
        let folder = program.checkpoint("step-000004");
        let reading: Value =
            serde_json::from_str(&fs::read_to_string(folder.join("reward_model.json")).unwrap()).unwrap();
        assert_eq!(reading["judges"], "steps");
        assert_eq!(reading["head"], json!({"classes": 2}));
        let config = fs::read_to_string(folder.join("config.json")).unwrap();
        assert!(config.contains("LlamaForTokenClassification"), "{config}");
        let evaluations = program.evaluations();
        let process = &evaluations[1]["report"]["process"];
        assert!(number(process, "accuracy") > 0.0 && process["first_error"]["f1"].is_number());
        assert!(process["prm_score"].get("none").is_some(), "{process}");

        program.forget("step-000004");
        program.train(&["--quiet", "--resume"]).success();
        assert_eq!(program.steps("prm")[3]["loss"], found[3]["loss"], "{lora}");
    }
}

/// Of two rows one is tested, and so there is no other of its kind: its share is written as null, and read back for the table at the
/// end of the run.
#[test]
fn a_share_of_nothing_is_measured_to_the_end() {
    let program = on_scratchpads("[loop.prm]\n[eval]\nat_start = false\n");
    program.train_set(&["run.steps=1", "data.eval_limit=2"]).success();
    let first_error = &program.evaluations()[0]["report"]["process"]["first_error"];
    assert_eq!(first_error["rows"], 1);
    let found = ["erroneous", "correct"].map(|share| first_error[share].is_null());
    assert!(found[0] != found[1], "{first_error}");
}

/// Bytes are tokens 0 to 255, `<eos>` is 256 and `<pad>` 257.
#[test]
fn a_reward_models_config_names_the_padding_token() {
    let data = [
        json!({"prompt": "p", "chosen": "a", "rejected": "b"}),
        json!({"prompt": "q", "chosen": "c", "rejected": "d"}),
    ];
    let program = on_rows("learns = \"pairs\"", &data);
    program.train(&["--quiet"]).success();
    let json = |file: &std::path::Path| -> Value {
        serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap()
    };
    let folder = program.checkpoint("step-000002");
    assert_eq!(json(&folder.join("config.json"))["pad_token_id"], 257);
    // A tokenizer without one: its end of sequence.
    for name in ["tokenizer_config.json", "special_tokens_map.json", "config.json"] {
        let mut file = json(&folder.join(name));
        file.as_object_mut().unwrap().retain(|key, _| !key.starts_with("pad_token"));
        fs::write(folder.join(name), file.to_string()).unwrap();
    }
    let head = format!(
        "[policy]\nmodel = {:?}\n[devices]\npolicy = \"cpu\"\nthreads = 1\n",
        folder.to_str().unwrap()
    );
    let again = Program::new(&format!("{head}{ON_ROWS}[loop.prm]\nlearns = \"pairs\"\n"));
    again.write("rows.jsonl", &rows(&data));
    again.train(&["--quiet"]).success();
    assert_eq!(json(&again.checkpoint("step-000002").join("config.json"))["pad_token_id"], 256);
}

#[test]
fn steps_are_credited_by_an_earlier_stages_model() {
    let stages = r#"
[[stage]]
name = "prm"
[stage.loop.prm]
[[stage]]
name = "rl"
[stage.run]
steps = 2
[stage.rollout.group]
size = 2
[stage.reward.answer]
[stage.reward.process]
model = "@prm"
weight = 0.0
[stage.loop.grpo.steps]
form = "clip_delta"
"#;
    let program = on_scratchpads(stages);
    program.train(&["--quiet"]).success();
    let credited = program.steps("rl");
    assert!(credited.len() == 2 && credited.iter().all(|line| line["steps/count"].is_number()));
    let score = number(&credited[0], "rewards/process/mean");
    assert!(score > 0.0 && score < 1.0, "{score}");

    let lost = stages.replace("[stage.reward.process]\nmodel = \"@prm\"\nweight = 0.0\n", "");
    let said = on_scratchpads(&lost).train(&["--dry-run"]).code(2);
    assert!(said.contains("there is no [reward.process] that scores steps"), "{said}");
    let generates = "[[stage]]\nname = \"prm\"\n[stage.loop.prm]\n[[stage]]\nname = \"sft\"\n[stage.loop.sft]\n\
        [stage.policy]\nmodel = \"@prm\"\n";
    let said = on_scratchpads(generates).train(&["--quiet"]).code(2);
    assert!(said.contains("is a reward model, which generates nothing"), "{said}");
}

/// Where it lies changes nothing of what it says; a device that is not there is named by the key that asks for it, before anything trains.
#[test]
fn a_reward_model_on_a_device_that_is_named_says_the_same() {
    let stages = |device: &str| {
        format!(
            "[[stage]]\nname = \"prm\"\n[stage.loop.prm]\n[[stage]]\nname = \"rl\"\nrun.steps = 2\n[stage.rollout.group]\nsize = 2\n\
             [stage.reward.answer]\n[stage.reward.process]\nmodel = \"@prm\"\n{device}\n[stage.loop.grpo]\n"
        )
    };
    let figures = |device: &str, sets: &[&str]| {
        let program = on_scratchpads(&stages(device));
        program.train_set(sets).success();
        let of = |line: &Value| ["loss", "grad_norm", "rewards/process/mean"].map(|name| number(line, name));
        program.steps("rl").iter().map(of).collect::<Vec<_>>()
    };
    let own = figures("", &[]);
    assert!(own.len() == 2 && own[0][1] > 0.0 && own[0][2] > 0.0, "{own:?}");
    assert_eq!(figures("", &["devices.reward=\"cpu\""]), own);
    assert_eq!(figures("device = \"cpu\"", &["devices.reward=\"auto\""]), own);

    let refused = |device: &str, sets: &[&str]| on_scratchpads(&stages(device)).train_set(sets).code(2);
    let said = refused("device = \"cuda:99\"", &[]);
    assert!(said.contains("reward.process.device = \"cuda:99\": this machine has"), "{said}");
    let said = refused("", &["devices.reward=\"cuda:99\""]);
    assert!(said.contains("devices.reward = \"cuda:99\": this machine has"), "{said}");
    let said = refused("device = \"gpu\"", &[]);
    assert!(said.contains("reward.process.device = \"gpu\": no such device; known: \"auto\""), "{said}");
    let said = refused("", &["stage.rl.reward.answer.device=\"cpu\""]);
    assert!(said.contains("it loads no model of its own"), "{said}");
}

#[test]
fn every_kind_of_head_and_row_trains() {
    let stepped = [
        json!({"prompt": "p", "completions": ["a", "b"], "labels": [true, false]}),
        json!({"prompt": "q", "completions": ["c"], "labels": [0.75]}),
    ];
    let paired = [
        json!({"prompt": "p", "chosen": "a", "rejected": "b", "margin": 0.5}),
        json!({"prompt": "q", "chosen": "c", "rejected": "d"}),
    ];
    let listed = [
        json!({"prompt": "p", "completions": ["a", "b"], "scores": [1.0, 0.0]}),
        json!({"prompt": "q", "completions": ["c", "d", "e"], "scores": [1, 2, 3]}),
    ];
    let labelled = [
        json!({"prompt": "p", "completion": "a", "label": true}),
        json!({"prompt": "q", "completion": "b", "label": false}),
    ];
    for (keys, data) in [
        ("", &stepped),
        ("classes = 5\nbalance = \"labels\"", &stepped),
        ("head = \"regression\"\nlast_step_only = true", &stepped),
        ("head = \"vocabulary\"", &stepped),
        ("train = \"head\"", &stepped),
        ("learns = \"pairs\"\ncentring = 0.01", &paired),
        ("learns = \"lists\"", &listed),
        ("learns = \"outcome\"", &labelled),
        ("learns = \"outcome\"\nhead = \"vocabulary\"", &labelled),
    ] {
        // Each update is over all rows, so what is learned shows in the loss of the same rows.
        let program = on_rows(keys, data);
        program.train_set(&["run.steps=30", "optim.lr=1e-2"]).success();
        let found = program.steps("prm");
        assert_eq!(found.len(), 30);
        let [first, last] = [&found[0], &found[29]].map(|step| number(step, "loss"));
        assert!(last < first - 0.01, "{keys}: {first} then {last}");
    }
}

/// Rows that are learned until nothing is left to learn: all that is measured on them is right.
#[test]
fn what_was_learned_is_judged_right() {
    let row = |n: usize| {
        let right = n % 4 < 2;
        json!({"prompt": "p", "completions": ["a", if right { "a" } else { "b" }], "labels": [true, right]})
    };
    let data: Vec<Value> = (0..8).map(row).collect();
    let program = on_rows("[eval]", &data);
    program.train_set(&["run.steps=80", "optim.lr=1e-2", "data.eval=rows.jsonl"]).success();
    let process = &program.evaluations().pop().unwrap()["report"]["process"];
    assert_eq!((number(process, "accuracy"), number(&process["first_error"], "f1")), (1.0, 1.0), "{process}");
}

#[test]
fn bad_rows_are_named_with_the_remedy() {
    let said = |keys: &str, data: &[Value]| on_rows(keys, data).train(&["--quiet"]).code(2);
    let row = |labels: Value| json!({"id": "x7", "prompt": "p", "completions": ["a", "b"], "labels": labels});
    let counts = said("", &[row(json!([true]))]);
    assert!(counts.contains("rows.jsonl:1: it has 1 labels for 2 steps"), "{counts}");
    let other = json!({"id": "x8", "prompt": "p", "completions": ["a", "c"], "labels": [true, true]});
    let one = said("", &[row(json!([true, true])), other]);
    assert!(one.contains("examples x7, x8, which are all: every label is right"), "{one}");
    let lost = said("max_tokens = 4", &[row(json!([true, false]))]);
    assert!(
        lost.contains("rows.jsonl:1: its 5 tokens are more than 4, and 1 of its labels would be lost")
            && lost.contains("too_long = \"cut\""),
        "{lost}"
    );
    let separator = said("", &[json!({"id": "x7", "prompt": "p", "completion": "a. b.", "labels": [1, 0]})]);
    assert!(separator.contains("rows.jsonl:1: its `completion` has no separator"), "{separator}");
    let first = said("", &[json!({"id": "x7", "prompt": "p", "completion": "a. b.", "first_error": 1})]);
    assert!(
        first.contains("rows.jsonl:1: `first_error` = 1 and it has 1 steps")
            && first.contains("\"\\n\" stands between steps (loop.prm.separator)"),
        "{first}"
    );
    let token = said("head = \"vocabulary\"\npositive = \"yes\"", &[row(json!([true, false]))]);
    assert!(token.contains("loop.prm.positive = \"yes\" is 3 tokens"), "{token}");
}

/// Twelve rows of two steps, the even ones with one label too few and the odd ones in one step.
#[test]
fn all_bad_rows_are_named_at_once() {
    let row = |n: usize| match n % 2 {
        0 => {
            json!({"id": format!("x{n}"), "prompt": "p", "completions": ["a", n.to_string()], "labels": [true]})
        }
        _ => json!({"id": format!("x{n}"), "prompt": "p", "completion": "a. b.", "labels": [true, false]}),
    };
    let bad: Vec<Value> = (0..12).map(row).collect();
    let good = json!({"id": "good", "prompt": "p", "completions": ["a", "b"], "labels": [true, false]});
    let named = |said: &str| {
        assert!(said.contains("12 problems in the data; nothing was started"), "{said}");
        assert!(said.contains("jsonl:1: it has 1 labels for 2 steps; give each step one"), "{said}");
        assert!(said.contains("jsonl:2: its `completion` has no separator"), "{said}");
        assert!(said.contains("jsonl:11") && said.contains("jsonl:12"), "{said}");
    };
    named(&on_rows("", &bad).train(&["--quiet"]).code(2));
    let recipe = ON_ROWS.replace("[data]\n", "[data]\neval = \"held.jsonl\"\n");
    let program = Program::new(&Tiny::BYTES.recipe(&format!("{recipe}[eval]\n[loop.prm]\n")));
    program.write("rows.jsonl", &rows(&[good]));
    program.write("held.jsonl", &rows(&bad));
    named(&program.train(&["--quiet"]).code(2));
}

#[test]
fn rows_that_truncation_cuts_or_drops_are_all_named() {
    let row = |id: String, steps: Value| json!({"id": id, "prompt": "p", "completions": steps, "labels": [true, false]});
    let data: Vec<Value> = std::iter::once(row("short".into(), json!(["a", "b"])))
        .chain((0..12).map(|n| row(format!("long{n}"), json!(["a", format!("bcdefgh{n}")]))))
        .collect();
    let ids: Vec<String> = (0..12).map(|n| format!("long{n}")).collect();
    for (too_long, what, list) in [
        ("cut", "were cut, and their last labels lost", "rows/cut"),
        ("drop", "were left out", "rows/left_out"),
    ] {
        let program = on_rows(&format!("max_tokens = 6\ntoo_long = \"{too_long}\""), &data);
        let said = program.train(&[]).success();
        assert!(said.contains(&format!("12 rows are longer than loop.prm.max_tokens and {what}")), "{said}");
        assert!(
            said.contains("examples long0, long1") && said.contains("long9 and 2 more; raise it"),
            "{said}"
        );
        let first = &program.metrics()[0];
        assert_eq!(first[list], json!(ids));
        // One right and one wrong; cutting keeps the right first labels of the twelve.
        let right = if too_long == "cut" { 13.0 / 14.0 } else { 0.5 };
        assert!((number(first, "labels/right") - right).abs() < 1e-12);
    }
}

#[test]
fn scores_that_are_no_numbers_name_the_examples() {
    let recipe = ON_ROWS.replace("steps = 2", "steps = 9");
    let program = Program::new(&Tiny::BYTES.recipe(&format!("{recipe}[loop.prm]\n[optim]\nlr = 1e38\n")));
    let row = |id: &str| json!({"id": id, "prompt": "p", "completions": ["a", id], "labels": [true, false]});
    program.write("rows.jsonl", &rows(&[row("x"), row("y")]));
    let said = program.train(&["--quiet"]).code(2);
    assert!(said.contains("the reward model's score is not a finite number"), "{said}");
    assert!(said.contains("examples x, y: ") || said.contains("examples y, x: "), "{said}");
    assert!(said.contains("lower optim.lr"), "{said}");
}
