//! The library's promise: a reward of one's own in a program of a few lines.

mod program;

use program::{lines, number};
use rationale::Registry;
use rationale::data::{Example, Prompt};
use rationale::engine::StopReason;
use rationale::rationale::Format;
use rationale::reward::{Models, Rewards};
use rationale::rollout::{Group, Rollout};
use std::process::Command;
use std::sync::Arc;

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

/// The block of the how-to in `language`.
fn block(language: &str) -> String {
    let text = include_str!("../docs/custom-rewards.md");
    let (_, rest) = text.split_once(&format!("```{language}\n")).unwrap();
    rest.split_once("```").unwrap().0.to_owned()
}

#[test]
fn the_python_program_of_the_how_to_scores() {
    if Command::new("python3").arg("--version").output().is_err() {
        eprintln!("skipped: there is no python3 here");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("hedging.py");
    std::fs::write(&program, block("python")).unwrap();
    let recipe =
        block("toml").replace("hedging.py", program.to_str().unwrap()).replace("reward.hedging", "hedging");
    let mut rewards =
        Rewards::build(&toml::from_str(&recipe).unwrap(), &Registry::default(), &Format::default()).unwrap();
    let example = Example {
        id: "x".into(),
        index: 0,
        prompt: Prompt::Text("?".into()),
        completion: None,
        completions: vec![],
        feedback: None,
        answer: None,
        choices: vec![],
        fields: serde_json::Map::new(),
    };
    let rollout = |text: &str| {
        Rollout::new(vec![1], text.to_owned(), vec![0.0], StopReason::Eos(0), &Format::default())
    };
    let rollouts = vec![rollout("Perhaps so, maybe."), rollout("It is so.")];
    let mut group = Group { example: Arc::new(example), prompt: vec![], rollouts };
    rewards.score(std::slice::from_mut(&mut group), &Models::none()).unwrap();
    // Two of three words hedge: −2/3, times the weight 0.2.
    let found = group.rewards();
    assert!((found[0] + 2.0 / 3.0 * 0.2).abs() < 1e-12 && found[1] == 0.0, "{found:?}");
}
