//! Tests of the names: that each leads to a key, and is known with what it stands in.

use super::*;
use crate::recipe::Registry;
use std::collections::HashSet;

#[test]
fn every_alias_names_keys_that_there_are_and_stands_once() {
    let known: HashSet<String> = Registry::default().keys().into_iter().map(|key| key.path).collect();
    let mut names = HashSet::new();
    for (name, keys) in ALIASES {
        assert!(names.insert(name), "{name} stands twice");
        assert!(!keys.is_empty());
        for key in *keys {
            // Variables of a template are whatever it asks for.
            let open = key.strip_prefix("data.template.").is_some_and(|key| key.starts_with("variables."));
            assert!(open || known.contains(*key), "{name}: there is no {key}");
        }
    }
}

#[test]
fn the_page_for_those_who_come_from_elsewhere_names_nothing_that_is_not_known() {
    let page = include_str!("../../../docs/from-others.md");
    let tables = page.split("\n## Names").nth(1).unwrap().split("\n## ").next().unwrap();
    // What starts processes, a trainer and a value are no keys.
    let others = ["accelerate launch", "torchrun", "RLOOTrainer", "sft"];
    let keys: HashSet<String> = Registry::default().keys().into_iter().map(|key| key.path).collect();
    let mut seen = 0;
    for row in tables.lines().filter(|line| line.starts_with("| `") || line.starts_with("| [")) {
        for name in row.split('|').skip(2).flat_map(|cell| cell.split('`').skip(1).step_by(2)) {
            let known = called(name).is_some() || keys.contains(name) || others.contains(&name);
            assert!(known, "`train keys {name}` knows nothing: {row}");
            seen += 1;
        }
    }
    assert!(seen > 100, "{seen}");
}

#[test]
fn names_are_known_with_what_they_stand_in() {
    let first = |typed: &str| called(typed).map(|keys| keys[0]);
    for (typed, key) in [
        ("algorithm.adv_estimator", "loop.grpo.advantage.baseline"),
        ("actor_rollout_ref.rollout.n", "rollout.group.size"),
        ("data.train_batch_size", "data.prompts_per_step"),
        ("trainer.total_epochs", "run.epochs"),
        ("actor_rollout_ref.model.path", "policy.model"),
        ("--num-generations".trim_start_matches('-'), "rollout.group.size"),
        ("train.batch_size", "loop.grpo.minibatches"),
        ("rollout.batch_size", "data.prompts_per_step"),
        ("actor_rollout_ref.actor.optim.weight_decay", "optim.weight_decay"),
        ("actor_rollout_ref.rollout.multi_turn.enable", "rollout.environment"),
        ("devices.world_size", "devices.ranks"),
        ("peft_config", "policy.lora.rank"),
    ] {
        assert_eq!(first(typed), Some(key), "{typed}");
    }
    assert!(called("no_such_thing").is_none());
}
