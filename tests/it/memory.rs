//! What `--dry-run` says of memory, phase by phase, against what the timelines of real ranks measured; and what timelines have of a step.

use crate::program::Program;
use serde_json::Value;
use std::collections::BTreeMap;

/// 17 million weights in six layers, of which a micro-batch of 256 tokens takes little; two updates' micro-batches a rank.
const RECIPE: &str = r#"
[run]
steps = 2
[policy]
dtype = "f32"
[policy.init]
tokenizer = "characters"
alphabet = "0123456789+=:# \n"
hidden_size = 512
layers = 6
heads = 8
kv_heads = 8
context = 128
[policy.sampling]
max_new_tokens = 16
[optim]
lr = 1e-5
tokens_per_microbatch = 256
[data]
prompts_per_step = 4
template.chat = false
max_prompt_tokens = 16
[data.task.addition]
digits = [4]
train = 100
[devices]
policy = "cpu"
ranks = 2
threads = 2
trace = true
[log]
tensorboard = false
[rollout.group]
size = 4
[reward.length]
max_tokens = 16
buffer = 15
[loop.grpo]
"#;

/// Bytes by phase, as a plan's lines begin: `learning 722 MB: weights …`.
fn planned(plan: &str) -> BTreeMap<String, f64> {
    let line = |line: &str| {
        let (head, _) = line.strip_prefix("#    ")?.split_once(": ")?;
        let [phase, number, unit] = head.split(' ').collect::<Vec<_>>().try_into().ok()?;
        let unit = [("kB", 1e3), ("MB", 1e6), ("GB", 1e9)].into_iter().find(|(name, _)| *name == unit)?.1;
        Some((phase.to_owned(), number.parse::<f64>().ok()? * unit))
    };
    plan.lines().filter_map(line).collect()
}

fn events(program: &Program, rank: usize) -> Vec<Value> {
    let text = std::fs::read_to_string(program.out().join(format!("timeline/rank-{rank}.json"))).unwrap();
    serde_json::from_str(&text).unwrap()
}

/// The most of any rank in each phase.
fn measured(program: &Program) -> BTreeMap<String, f64> {
    let mut found = BTreeMap::<String, f64>::new();
    for event in (0..2).flat_map(|rank| events(program, rank)) {
        if let Some(bytes) = event["args"]["peak_bytes"].as_f64() {
            let most = found.entry(event["name"].as_str().unwrap().into()).or_default();
            *most = most.max(bytes);
        }
    }
    found
}

/// A run of each division, of which the plan is right to 15 %; what is divided takes less.
#[test]
fn a_plan_is_what_ranks_take() {
    let mut learning = Vec::new();
    for shard in ["none", "optimizer", "parameters"] {
        let program = Program::new(RECIPE);
        let set = ["--quiet", "--set", &format!("devices.shard={shard}")];
        let plan = program.train(&[&set[..], &["--dry-run"]].concat()).success();
        program.train(&set).success();
        let (planned, measured) = (planned(&plan), measured(&program));
        for phase in ["opening", "sampling", "learning", "update", "saving"] {
            let (planned, measured) = (planned[phase], measured[phase]);
            let off = planned / measured - 1.0;
            assert!(off.abs() < 0.15, "{shard}, {phase}: planned {planned}, measured {measured}");
        }
        learning.push(measured["learning"]);
        if shard == "parameters" {
            timeline(&program);
        }
    }
    assert!(learning[0] > learning[1] && learning[1] > learning[2], "{learning:?}");
}

/// Each rank's phases, apart from each other, and layers that come while the one before computes.
fn timeline(program: &Program) {
    for rank in 0..2 {
        let all = events(program, rank);
        assert!(all.iter().all(|event| event["pid"] == rank));
        assert!(all.iter().any(|event| event["args"]["name"] == format!("rank {rank}")));
        let of = |row: u64| {
            let spans = all.iter().filter(|event| event["ph"] == "X" && event["tid"] == row);
            let mut spans: Vec<(String, u64, u64)> = spans
                .map(|event| {
                    let (from, took) = (event["ts"].as_u64().unwrap(), event["dur"].as_u64().unwrap());
                    (event["name"].as_str().unwrap().into(), from, from + took)
                })
                .collect();
            spans.sort_by_key(|(_, from, to)| (*from, std::cmp::Reverse(*to)));
            spans
        };
        let (computing, weights, gradients) = (of(0), of(1), of(2));
        let phases = ["opening", "restoring", "sampling", "learning", "update", "saving"];
        let phases: Vec<_> = computing.iter().filter(|(name, ..)| phases.contains(&name.as_str())).collect();
        let names: Vec<&str> = phases.iter().map(|(name, ..)| name.as_str()).collect();
        let step = ["sampling", "learning", "update"];
        assert_eq!(names, [&["opening", "restoring"][..], &step, &step, &["saving"]].concat());
        assert!(phases.windows(2).all(|two| two[0].2 <= two[1].1), "{phases:?}");
        // Rows whose spans cut each other are shown wrongly: they lie in each other, or apart.
        for row in [&computing, &weights, &gradients] {
            let mut open: Vec<u64> = Vec::new();
            for (name, from, to) in row {
                open.retain(|end| end > from);
                assert!(
                    open.iter().all(|end| to <= end),
                    "{name} of rank {rank} ends behind what it lies in"
                );
                open.push(*to);
            }
        }
        // While a layer computes forward the next one is on its way, and its gradients while the one below computes.
        let whole = |name: &str, row: &[(String, u64, u64)], from: u64, to: u64| {
            row.iter().any(|span| span.0 == name && span.1 <= from && span.2 >= to)
        };
        let learning = phases.iter().filter(|phase| phase.0 == "learning");
        let learnt = |at: u64| learning.clone().any(|phase| (phase.1..phase.2).contains(&at));
        for (name, from, to) in &computing {
            let Some(layer) = name.strip_prefix("forward ").and_then(|layer| layer.parse::<usize>().ok())
            else {
                continue;
            };
            assert!(learnt(*from), "{name} outside of learning");
            assert!(layer == 6 || whole(&format!("gather {}", layer + 1), &weights, *from, *to), "{name}");
        }
        let backward = computing.iter().filter(|(name, ..)| name == "backward 3");
        assert!(backward.clone().count() >= 2);
        for (_, from, to) in backward {
            assert!(whole("scatter 4", &gradients, *from, *to) && whole("gather 2", &weights, *from, *to));
        }
    }
}

/// What no machine holds, however it is divided; `run::footprint` has tests of what does.
#[test]
fn what_does_not_fit_is_said() {
    let program =
        Program::new(&RECIPE.replace("tokens_per_microbatch = 256", "tokens_per_microbatch = 100000000"));
    let plan = program.train(&["--dry-run"]).success();
    let said = "which each rank has here; most of it is activations, which policy.gradient_checkpointing = true or a lower \
                optim.tokens_per_microbatch would lower; no layout of up to 1024 ranks fits";
    assert!(plan.contains("that does not fit the") && plan.contains(said), "{plan}");
}
