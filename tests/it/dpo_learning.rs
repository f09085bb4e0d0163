//! Preferences between the policy's own rollouts repair what it was taught wrongly: place value, with most of the
//! demonstrations wrong.

use crate::program::{Program, number};
use crate::recipes::Tiny;
use std::fmt::Write;

const MODEL: Tiny = Tiny {
    alphabet: Some("0123456789="),
    hidden_size: 64,
    heads: 4,
    kv_heads: 4,
    context: Some(16),
    ..Tiny::SUMS
};

/// Warm-up on demonstrations of which three in five name the hundreds and not the ones, rollouts of the result, DPO on
/// pairs of right and wrong rollouts; and, to compare, as many more updates on the demonstrations. The evaluation's numbers are in no training row.
const RECIPE: &str = r#"
[data]
train = "rows.jsonl"
eval = "held-out.jsonl"
prompts_per_step = 32
template.chat = false
template.user = "{{ question }}="
format.answer = ["whole"]
[policy.sampling]
max_new_tokens = 4
[eval]
at_start = false
[[stage]]
name = "warmup"
run.steps = 150
[stage.loop.sft]
[stage.optim]
lr = 2e-3
schedule = "cosine"
warmup_steps = 10
[[stage]]
name = "collect"
policy.model = "@warmup"
[stage.rollout.group]
size = 8
[stage.reward.answer]
[stage.loop.collect]
[[stage]]
name = "dpo"
run.steps = 60
policy.model = "@warmup"
data.train = "@collect"
[stage.select.pairs]
per_example = 2
per_rollout = 1
[stage.loop.dpo]
[stage.optim]
lr = 5e-4
warmup_steps = 3
[[stage]]
name = "control"
run.steps = 60
policy.model = "@warmup"
[stage.loop.sft]
[stage.optim]
lr = 5e-4
warmup_steps = 3
"#;

/// The ones of three-digit numbers whose first and last digits differ: 640 training rows, 170 held out.
fn rows() -> (String, String) {
    let (mut train, mut held_out) = (String::new(), String::new());
    let numbers = (0..900).map(|i| (i, 100 + i * 37 % 900)).filter(|(_, n)| n / 100 != n % 10);
    for (count, (i, n)) in numbers.enumerate() {
        let (ones, hundreds) = (n % 10, n / 100);
        let shown = if i % 20 < 12 { hundreds } else { ones };
        let to = if count < 640 { &mut train } else { &mut held_out };
        let _ = writeln!(to, r#"{{"question":"{n}","completion":"{shown}","answer":"{ones}"}}"#);
    }
    (train, held_out)
}

/// Held-out accuracy after the warm-up, after DPO and after more of the warm-up.
fn accuracies(seed: u64) -> [f64; 3] {
    let program = Program::new(&MODEL.recipe(RECIPE));
    let (train, held_out) = rows();
    program.write("rows.jsonl", &train);
    program.write("held-out.jsonl", &held_out);
    program.train(&["--quiet", "--set", &format!("run.seed={seed}")]).success();
    let evaluations = program.evaluations();
    ["warmup", "dpo", "control"].map(|stage| {
        let last = evaluations.iter().rfind(|line| line["stage"] == stage).unwrap();
        number(&last["report"], "accuracy")
    })
}

#[test]
#[ignore = "slow: three seeds; make slow-test"]
fn dpo_on_own_pairs_raises_held_out_accuracy_with_every_seed() {
    for seed in 0..3 {
        let [before, after, control] = accuracies(seed);
        println!("seed {seed}: {before:.3}, DPO {after:.3}, control {control:.3}");
        assert!(after > before + 0.25, "seed {seed}: {before} then {after}");
        assert!(control < before + 0.1, "seed {seed}: {before}, and {control} without preferences");
    }
}
