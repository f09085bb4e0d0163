//! `[loop.grpo.critic]` from the command line: what it measures, keeps and is refused with.

use crate::program::{Program, list, number};
use crate::recipes::warmed_up;
use crate::resume::MODEL;
use std::fs;

const CRITIC: &str = r#"[stage.reward.length]
max_tokens = 12
buffer = 11
[stage.loop.grpo]
minibatches = 2
kl = { coefficient = 0.05, place = "reward" }
[stage.loop.grpo.critic]
warmup_steps = 2
lr_scale = 20.0
[stage.optim]
lr = 1e-3
"#;

fn program(more: &str) -> Program {
    Program::new(&MODEL.recipe(&warmed_up("[checkpoint]\nevery = 2\n", [3, 6], &format!("{CRITIC}{more}"))))
}

#[test]
fn a_critic_learns_beside_the_policy_and_is_resumed() {
    for lora in ["", "[stage.policy.lora]\nrank = 2\n"] {
        let program = program(lora);
        program.train(&["--quiet"]).success();
        let found = program.steps("rl");
        assert_eq!(found.len(), 6);
        for line in &found {
            for name in
                ["critic/loss", "critic/clip_ratio", "critic/return", "critic/explained_variance", "kl"]
            {
                assert!(line[name].is_number(), "{name}: {line}");
            }
        }
        // It begins by expecting nothing; then it does not.
        assert_eq!(number(&found[0], "critic/value"), 0.0);
        assert!(number(&found[5], "critic/value").abs() > 1e-3, "{}", found[5]);
        let file = |step: &str, name: &str| fs::read(program.checkpoint(step).join(name)).unwrap();
        let [value, model] = ["value.safetensors", "model.safetensors"];
        assert!(file("rl-step-000004", value) != file("rl-step-000006", value));
        assert!(file("rl-step-000004", model) != file("rl-step-000006", model));
        // Each token has its own credit.
        let traces = program.traces("rl");
        let credited = traces.iter().filter(|trace| trace["advantages"].is_array());
        let own = credited.filter(|trace| {
            let (credits, tokens) = (list(trace, "advantages"), list(trace, "completion_ids"));
            assert_eq!(credits.len(), tokens.len());
            credits.len() > 1
        });
        assert!(own.count() > 0);

        let saved = [file("rl-step-000006", value), file("rl-step-000006", model)];
        program.forget("rl-step-000006");
        program.train(&["--quiet", "--resume"]).success();
        assert_eq!(program.steps("rl")[5]["loss"], found[5]["loss"], "{lora}");
        assert!([file("rl-step-000006", value), file("rl-step-000006", model)] == saved, "{lora}");
    }
}

/// Nothing moves but the head, whatever gradients there are.
#[test]
fn a_policy_stays_while_its_critic_warms_up() {
    let program = program("");
    program.train_set(&["stage.rl.run.steps=2"]).success();
    let model = |step: &str| fs::read(program.checkpoint(step).join("model.safetensors")).unwrap();
    assert!(model("warmup-step-000003") == model("rl-step-000002"));
    let head = program.checkpoint("rl-step-000002").join("value.safetensors");
    let head = tch::Tensor::read_safetensors(head).unwrap();
    let (_, weight) = head.iter().find(|(name, _)| name == "value.weight").unwrap();
    assert!(weight.abs().max().double_value(&[]) > 1e-3, "{weight:?}");
}

/// What one completion of a question is worth is told by the critic, and not by others.
#[test]
fn a_group_of_one_is_enough() {
    let one = ["stage.rl.rollout.group.size=1", "stage.rl.run.steps=1"];
    let program = program("");
    program.train_set(&one).success();
    assert_eq!(program.steps("rl").len(), 1);
    let without = CRITIC.split("[stage.loop.grpo.critic]").next().unwrap();
    let said = Program::new(&MODEL.recipe(&warmed_up("", [1, 1], without))).train_set(&one).code(2);
    assert!(said.contains("a group of one has no baseline") && said.contains("[loop.grpo.critic]"), "{said}");
}

#[test]
fn what_does_not_go_with_it_is_said() {
    let said =
        program("").train(&["--dry-run", "--set", "stage.rl.loop.grpo.advantage.whiten=tokens"]).success();
    assert!(said.contains("loop.grpo.advantage.whiten has no effect with loop.grpo.critic"), "{said}");
    let said = program("").train(&["--dry-run", "--set", "devices.shard=parameters"]).code(2);
    assert!(said.contains("needs all weights on every rank"), "{said}");
    let said = program("").train(&["--dry-run", "--set", "stage.rl.loop.grpo.critic.lambda=2"]).code(2);
    assert!(said.contains("loop.grpo.critic.lambda") && said.contains("between 0 and 1"), "{said}");
}
