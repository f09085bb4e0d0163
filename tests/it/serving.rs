//! Ranks that are set apart hold the reward models of those that train, which come to what they come to where each holds its own.

use crate::launch::ranks_of;
use crate::program::{Program, apart, lines};
use crate::recipes::Tiny;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// A reward model is learned, then asked: by a reward, and by what measures held-out answers.
const STAGES: &str = r#"
[run]
steps = 2
[data]
prompts_per_step = 4
template.chat = false
template.user = "{{ question }}\n"
[data.task.addition]
digits = [2]
train = 40
eval = 4
faults.share = 0.7
[policy.sampling]
max_new_tokens = 12
[optim]
tokens_per_microbatch = 64
[[stage]]
name = "prm"
[stage.loop.prm]
[[stage]]
name = "rl"
[stage.rollout.group]
size = 3
[stage.reward.process]
model = "@prm"
aggregate = "mean"
[stage.loop.grpo]
[stage.eval]
measures.process.model = "@prm"
[[stage]]
name = "collect"
[stage.rollout.group]
size = 2
[stage.reward.process]
model = "@prm"
[stage.loop.collect]
"#;

fn program(stages: &str) -> Program {
    let model = Tiny { hidden_size: 16, layers: 1, context: Some(120), ..Tiny::SUMS };
    Program::new(&model.recipe(stages))
}

/// Runs it on so many ranks of one thread, of which the last ones are set apart; where its folder is.
fn ran(program: &Program, count: usize, set_apart: usize) -> PathBuf {
    let out = program.out().with_file_name(format!("ranks-{count}-{set_apart}"));
    let sets = [
        format!("devices.ranks={count}"),
        format!("devices.threads={count}"),
        format!("devices.reward_ranks={set_apart}"),
    ];
    let sets = sets.iter().flat_map(|set| ["--set", set.as_str()]);
    program
        .train_into("recipe.toml", &out, &[&["--quiet"][..], &sets.collect::<Vec<_>>()].concat())
        .success();
    out
}

/// What was sampled and scored, and every figure that is none of times.
fn found(folder: &Path) -> (Vec<String>, Vec<Vec<(String, Value)>>) {
    let traces =
        lines(&folder.join("traces/collect.jsonl")).into_iter().chain(lines(&folder.join("traces/rl.jsonl")));
    let told = |line: &Value| format!("{} {} {}", line["id"], line["completion_ids"], line["scores"]);
    let figures = |line: Value| {
        let is_time =
            |name: &str| ["time", "seconds", "per_second", "memory"].iter().any(|part| name.contains(part));
        let all = line.as_object().unwrap().clone();
        all.into_iter().filter(|(name, _)| !is_time(name)).collect::<Vec<_>>()
    };
    let traces: Vec<String> = traces.map(|line| told(&line)).collect();
    (traces, lines(&folder.join("metrics.jsonl")).into_iter().map(figures).collect())
}

/// As many ranks train, and score by the same weights in the same micro-batches: nothing is another, bit for bit. One that serves one, one that serves
/// two, two that serve two.
#[test]
fn who_holds_the_reward_model_changes_nothing() {
    let program = program(STAGES);
    let own = [ran(&program, 1, 0), ran(&program, 2, 0)];
    for (own, count, set_apart) in [(&own[0], 2, 1), (&own[1], 3, 1), (&own[1], 4, 2)] {
        let served = ran(&program, count, set_apart);
        let ((traces, figures), expected) = (found(&served), found(own));
        assert!(traces.len() > 20 && traces.iter().all(|line| line.contains("process")), "{traces:?}");
        assert!(traces == expected.0, "{count} ranks, {set_apart} of them set apart");
        assert_eq!(figures, expected.1, "{count} ranks, {set_apart} of them set apart");
        assert_eq!(apart(&own.join("rl-step-000002"), &served.join("rl-step-000002")), 0.0);
    }
}

#[test]
fn what_dies_of_them_ends_all() {
    let program = program(&STAGES.replace("[run]\nsteps = 2", "[run]\nsteps = 400"));
    let sets = ["devices.ranks=3", "devices.threads=3", "devices.reward_ranks=1"];
    let sets: Vec<&str> = ["--quiet"].into_iter().chain(sets.iter().flat_map(|set| ["--set", set])).collect();
    let began = |program: &Program| {
        std::fs::read_to_string(program.out().join("metrics.jsonl")).is_ok_and(|text| !text.is_empty())
    };
    let child = program.start(&sets, began);
    let (_, serves) = ranks_of(child.id()).into_iter().find(|(rank, _)| *rank == 2).expect("it runs");
    // SAFETY: kill(2) touches no memory.
    assert_eq!(unsafe { libc::kill(serves, libc::SIGKILL) }, 0);
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.code() != Some(0) && said.contains("rank 2 failed: it was ended by SIGKILL"),
        "{said}"
    );
}

#[test]
fn ranks_that_would_have_nothing_to_hold_are_refused() {
    let said = |stages: &str, sets: &[&str]| {
        program(stages).train_set(&[&["devices.reward_ranks=1"], sets].concat()).code(2)
    };
    let three = "devices.ranks=3";
    let alone = said(STAGES, &[]);
    assert!(alone.contains("devices.reward_ranks = 1: of 1 rank(s) here none can be set apart"), "{alone}");
    let none_left = said(STAGES, &["devices.ranks=1"]);
    assert!(
        none_left.contains("devices.reward_ranks = 1: of 1 rank(s) in all none is left that trains"),
        "{none_left}"
    );
    let placed = STAGES.replace("model = \"@prm\"", "model = \"@prm\"\ndevice = \"cpu\"");
    let placed = placed.replace(
        "measures.process.model = \"@prm\"\ndevice",
        "measures.process.model = \"@prm\"\nmeasures.process.device",
    );
    let idle = said(&placed, &[three]);
    assert!(
        idle.contains("devices.reward_ranks = 1: no stage asks a reward model that they could hold"),
        "{idle}"
    );
}

/// The plan counts the reward model where it lies: with the policy, or on the ranks that are set apart.
#[test]
fn a_plan_counts_reward_models_where_they_lie() {
    let planned = |sets: &[&str]| {
        let sets = sets.iter().flat_map(|set| ["--set", set]);
        program(STAGES).train(&std::iter::once("--dry-run").chain(sets).collect::<Vec<_>>()).success()
    };
    let together = planned(&["devices.ranks=2"]);
    assert!(together.contains("models of rewards ") && !together.contains("set apart"), "{together}");
    let apart = planned(&["devices.ranks=3", "devices.reward_ranks=1"]);
    let on_each =
        apart.lines().find(|line| line.contains("on each of 1 rank(s) set apart ")).unwrap_or_default();
    assert!(on_each.contains("[reward.process] ") && on_each.contains("[eval.measures.process] "), "{apart}");
    assert!(!apart.contains("models of rewards ") && apart.contains("# 2 ranks, which share"), "{apart}");
}
