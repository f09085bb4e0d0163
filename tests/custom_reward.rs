//! The library's promise: a reward of one's own in a program of a few lines.

mod program;

use program::{lines, number};
use std::process::Command;

const RECIPE: &str = r#"
[run]
steps = 2
[data]
prompts_per_step = 2
template.chat = false
[data.task.addition]
digits = [1]
train = 20
[policy.init]
tokenizer = "characters"
hidden_size = 16
layers = 1
heads = 2
kv_heads = 2
[policy.sampling]
max_new_tokens = 6
[devices]
policy = "cpu"
[rollout.group]
size = 2
[reward.brevity]
weight = 2.0
[loop.grpo]
"#;

#[test]
fn the_example_is_short_and_its_reward_is_used() {
    let source = include_str!("../examples/custom_reward.rs");
    assert!(source.lines().count() < 20, "the example has {} lines", source.lines().count());

    // Cargo builds examples beside the tests' own folder.
    let folder = std::env::current_exe().unwrap();
    let example = folder.parent().unwrap().parent().unwrap().join("examples/custom_reward");
    let out = tempfile::tempdir().unwrap();
    std::fs::write(out.path().join("recipe.toml"), RECIPE).unwrap();
    let status = Command::new(example)
        .current_dir(out.path())
        .args(["--recipe", "recipe.toml", "--out", "run", "-q"])
        .status();
    assert!(status.unwrap().success());
    let last = lines(&out.path().join("run/metrics.jsonl")).pop().unwrap();
    // An untrained model writes no parsable rationale: no steps, so the example's −1, times the weight 2.
    assert_eq!((number(&last, "rewards/brevity/mean"), number(&last, "reward")), (-1.0, -2.0));
}
