//! The curriculum and the step rewards of `loop.grpo`, run as a program: which questions are asked, and that resuming changes
//! nothing.

use crate::program::{Program, list, number};
use crate::recipes::{Tiny, after_sums, sums};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

const RECIPE: &str = r#"
[run]
steps = 6
[data]
train = "rows.jsonl"
prompts_per_step = 2
template.chat = false
[policy.sampling]
max_new_tokens = 6
[checkpoint]
every = 1
keep_last = 9
[rollout.group]
size = 2
[reward.repetition]
"#;

const POOLS: &str = r#"
[loop.grpo.curriculum]
pass_rate = [0.5, 1.0]
outside = 0.0
column = "level"
stages = [{ from = 1, shares = { easy = 1.0 } }, { from = 4, shares = { easy = 1.0, hard = 1.0 } }]
"#;

/// Four easy questions and four hard ones.
fn rows() -> String {
    let row = |n: usize| {
        let level = if n < 4 { "easy" } else { "hard" };
        format!(
            "{{\"id\": \"{level}-{n}\", \"question\": \"{n}?\", \"answer\": \"x\", \"level\": \"{level}\"}}\n"
        )
    };
    (0..8).map(row).collect()
}

fn program(recipe: &str) -> Program {
    let program = Program::new(&Tiny::BYTES.recipe(recipe));
    program.write("rows.jsonl", &rows());
    program
}

/// The questions of each step, in order.
fn asked(program: &Program) -> Vec<Vec<String>> {
    let traces = program.all_traces();
    let of_step = |step: u64| {
        let of_step = traces.iter().filter(|trace| trace["step"] == step);
        let mut examples: Vec<String> =
            of_step.map(|trace| trace["example"].as_str().unwrap().to_owned()).collect();
        examples.dedup();
        examples
    };
    (1..=6).map(of_step).collect()
}

#[test]
fn pools_and_the_window_say_what_is_asked_and_a_resumed_run_asks_the_same() {
    let recipe = format!("{RECIPE}{POOLS}");
    let whole = program(&recipe);
    whole.train(&["--quiet"]).success();
    let steps = asked(&whole);
    let level = |step: &[String]| step.iter().map(|id| id[..4].to_owned()).collect::<Vec<_>>();
    // From step 4 on half of the two are hard.
    assert!(steps[..3].iter().all(|step| level(step) == ["easy", "easy"]), "{steps:?}");
    assert!(steps[3..].iter().all(|step| level(step) == ["easy", "hard"]), "{steps:?}");
    // An untrained model is never right, so a question that was asked lies outside the window until all of its pool were: of the
    // four easy ones each is asked once in the first two steps, and the third step is filled from outside.
    let first: BTreeSet<&String> = steps[..2].iter().flatten().collect();
    assert_eq!(first.len(), 4, "{steps:?}");
    let filled: Vec<f64> = whole.metrics().iter().map(|line| number(line, "curriculum/filled")).collect();
    assert_eq!(filled, [0.0, 0.0, 2.0, 1.0, 1.0, 1.0]);
    assert_eq!(
        steps[3..].iter().map(|step| &step[1]).collect::<BTreeSet<_>>().len(),
        3,
        "hard ones once each"
    );

    // What was remembered comes back with the checkpoint: the second half, gone on with, is the same.
    let resumed = program(&recipe);
    resumed.train(&["--quiet", "--set", "run.steps=6"]).success();
    for late in ["step-000003", "step-000004", "step-000005", "step-000006"] {
        resumed.forget(late);
    }
    resumed.train(&["--quiet", "--resume"]).success();
    assert_eq!(asked(&resumed), steps);
}

/// A model that is right now and then: its continuations after a step are, too.
#[test]
fn steps_are_credited_where_completions_are_continued() {
    let rest = "[stage.rollout.prefix]\nsize = 2\ncontinuations = 2\n[stage.reward.answer]\n\
                [stage.loop.grpo]\nstep_rewards = { weight = 0.5, ahead = 0 }\n";
    let program = Program::new(&sums(&after_sums("rl", 1, rest)));
    program.train(&["--quiet"]).success();
    // A step's reward is what it adds to the share of right continuations, times 0.5; over a rollout that is what the last step
    // has reached less the share of the group that is right.
    let mut groups: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for trace in program.traces("rl") {
        groups.entry(trace["example"].to_string()).or_default().push(trace);
    }
    let (mut steps, mut sum) = (0, 0.0);
    for group in groups.values() {
        let right = group.iter().map(|trace| number(trace, "reward")).sum::<f64>() / group.len() as f64;
        for cuts in group.iter().map(|trace| list(trace, "cuts")).filter(|cuts| !cuts.is_empty()) {
            let last = &cuts[cuts.len() - 1];
            steps += cuts.len();
            sum += 0.5 * (number(last, "good") / number(last, "continuations") - right);
        }
    }
    assert!(steps > 0 && sum != 0.0, "{steps} steps, {sum}: nothing was credited, so this shows nothing");
    let found = number(&program.steps("rl")[0], "steps/reward");
    assert!((found - sum / steps as f64).abs() < 1e-9, "{found}, {sum} over {steps} steps");

    let refused = self::program(&format!("{RECIPE}[loop.grpo]\nstep_rewards.weight = 0.5\n"));
    let said = refused.train(&["--dry-run"]).code(2);
    assert!(said.contains("what the steps are worth; use [rollout.prefix]"), "{said}");
}

/// Answers forced before, between and behind the steps; advantages over all tokens of the step.
#[test]
fn tokens_are_credited_with_what_their_steps_and_the_outcome_come_to() {
    let rest = "[stage.rollout.prefix]\nsize = 2\ncontinuations = 3\nclose = true\nanswer_tokens = 4\n[stage.reward.answer]\n\
                [stage.loop.grpo]\nstep_rewards.ahead = 0\n\
                advantage = { baseline = \"none\", scale = \"none\", whiten = \"tokens\" }\n";
    let program = Program::new(&sums(&after_sums("rl", 1, rest)));
    program.train(&["--quiet"]).success();
    let traces = program.traces("rl");
    // From a token on comes what its last step reaches, less what was known before the token's own step, and the outcome.
    let returns = |trace: &Value| -> Vec<f64> {
        let cuts = list(trace, "cuts");
        let value = |cut: &Value| number(cut, "good") / number(cut, "continuations");
        let known = |token: usize| {
            let mut before = cuts.iter().filter(|cut| number(cut, "tokens") <= token as f64);
            value(before.next_back().expect("an answer is forced before the first token"))
        };
        let reached = value(&cuts[cuts.len() - 1]);
        let of = |token| number(trace, "reward") + reached - known(token);
        (0..list(trace, "completion_ids").len()).map(of).collect()
    };
    let all: Vec<f64> = traces.iter().flat_map(returns).collect();
    let mean = all.iter().sum::<f64>() / all.len() as f64;
    let variance = all.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / (all.len() - 1) as f64;
    let mut seen = 0;
    for trace in traces.iter().filter(|trace| trace["advantages"].is_array()) {
        for (found, of) in list(trace, "advantages").iter().zip(returns(trace)) {
            let expected = (of - mean) / variance.sqrt();
            assert!((found.as_f64().unwrap() - expected).abs() < 1e-4, "{found} {expected}: {trace}");
            seen += 1;
        }
    }
    assert!(seen > 0, "no step changed anything, so this shows nothing");
    assert!(number(&program.steps("rl")[0], "steps/unchanged") > 0.0);
}
