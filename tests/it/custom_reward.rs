//! The library's promise: a reward of one's own in a program of a few lines.

use crate::groups::{group, rewards};
use crate::program::{lines, number};
use crate::recipes::Tiny;
use rationale::data::Example;
use rationale::rationale::Format;
use rationale::reward::Models;
use std::process::Command;

const MODEL: Tiny = Tiny { hidden_size: 16, layers: 1, ..Tiny::SUMS };

const RECIPE: &str = r#"
[run]
steps = 2
[data]
prompts_per_step = 2
template.chat = false
[data.task.addition]
digits = [1]
train = 20
[policy.sampling]
max_new_tokens = 6
[rollout.group]
size = 2
[reward.brevity]
weight = 2.0
[loop.grpo]
"#;

#[test]
fn the_example_is_short_and_its_reward_is_used() {
    let source = include_str!("../../examples/custom_reward.rs");
    assert!(source.lines().count() < 20, "the example has {} lines", source.lines().count());

    // Cargo builds examples beside the tests' own folder.
    let folder = std::env::current_exe().unwrap();
    let example = folder.parent().unwrap().parent().unwrap().join("examples/custom_reward");
    let out = tempfile::tempdir().unwrap();
    std::fs::write(out.path().join("recipe.toml"), MODEL.recipe(RECIPE)).unwrap();
    let status = Command::new(example)
        .current_dir(out.path())
        .args(["--recipe", "recipe.toml", "--out", "run", "-q"])
        .status();
    assert!(status.unwrap().success());
    let last = lines(&out.path().join("run/metrics.jsonl")).pop().unwrap();
    // An untrained model writes no parsable rationale: no steps, so the example's −1, times the weight 2.
    assert_eq!((number(&last, "rewards/brevity/mean"), number(&last, "reward")), (-1.0, -2.0));
}

/// The block of the how-to in `language`.
fn block(language: &str) -> String {
    let text = include_str!("../../docs/custom-rewards.md");
    let (_, rest) = text.split_once(&format!("```{language}\n")).unwrap();
    rest.split_once("```").unwrap().0.to_owned()
}

#[test]
fn the_python_program_of_the_how_to_scores() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("hedging.py");
    std::fs::write(&program, block("python")).unwrap();
    let recipe = block("toml added recipes/quickstart.toml")
        .replace("hedging.py", program.to_str().unwrap())
        .replace("reward.hedging", "hedging");
    let mut rewards = rewards(&recipe).unwrap();
    let texts = ["Perhaps so, maybe.", "It is so."];
    let mut group = group(Example::text("x", "?"), &texts, &Format::default());
    rewards.score(std::slice::from_mut(&mut group), &Models::none()).unwrap();
    // Two of three words hedge: −2/3, times the weight 0.2.
    let found = group.rewards();
    assert!((found[0] + 2.0 / 3.0 * 0.2).abs() < 1e-12 && found[1] == 0.0, "{found:?}");
}
