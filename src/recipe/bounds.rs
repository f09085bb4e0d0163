//! How large the numbers of a recipe may be: beyond this a value is a slip, and would overflow, never end or take all memory.

use crate::section::{MOST_WEIGHT, Misfit, join};
use toml::{Table, Value};

/// The most that a key takes, by its name wherever it stands; the first that ends its path counts.
const MOST: &[(&str, f64)] = &[
    ("devices.threads", 1024.0),
    ("devices.ranks", 1024.0),
    ("devices.reward_ranks", 1024.0),
    ("devices.replicas", 1024.0),
    ("prompts_per_step", 1e6),
    ("decode_slots", 65_536.0),
    ("optim.lr", 1e38),
    ("weight", MOST_WEIGHT),
    ("weights", MOST_WEIGHT),
    ("endpoint.max_tokens", 1e7),
    ("timeout_s", 1e7),
    ("backoff_s", 1e7),
    ("limit_s", 1e7),
    ("data.task.*.train", 1e7),
    ("data.task.*.eval", 1e7),
    ("data.task.*.digits", 1000.0),
    ("size", 10_000.0),
    ("samples", 10_000.0),
    ("eval.at", 10_000.0),
    ("seeds", 10_000.0),
    ("n", 10_000.0),
    ("branching", 1000.0),
    ("depth", 1000.0),
    ("width", 1000.0),
    ("chunks", 1000.0),
    ("continuations", 10_000.0),
    ("votes", 10_000.0),
    ("best_of", 10_000.0),
    ("attempts", 10_000.0),
    ("few_shot", 1000.0),
    ("concurrency", 1024.0),
    ("answers_per_request", 1000.0),
    ("retries", 100.0),
    ("passes", 1000.0),
    ("programs", 1024.0),
    ("calls", 10_000.0),
    ("turns", 10_000.0),
    ("others", 1000.0),
    ("bins", 1e5),
    ("minibatches", 1e6),
    ("epochs_per_batch", 1e6),
    ("run.epochs", 1e6),
    ("layers", 10_000.0),
    ("heads", 4096.0),
    ("kv_heads", 4096.0),
    ("hidden_size", 131_072.0),
    ("intermediate_size", 1_048_576.0),
    ("lora.rank", 65_536.0),
    ("context", 1e8),
    ("chunk_tokens", 1e7),
    ("max_new_tokens", 1e7),
];

/// The least of a key that its type would let be less, by its name: what its section refuses below.
const LEAST: &[(&str, u64)] = &[
    ("run.rounds", 1),
    ("data.prompts_per_step", 1),
    ("policy.decode_slots", 1),
    ("policy.sampling.max_new_tokens", 1),
    ("policy.lora.rank", 1),
    ("policy.init.hidden_size", 1),
    ("policy.init.layers", 1),
    ("policy.init.heads", 1),
    ("policy.init.kv_heads", 1),
    ("policy.init.context", 1),
    ("rollout.group.size", 1),
    ("rollout.hint.size", 1),
    ("rollout.tools.size", 1),
    ("rollout.tools.calls", 1),
    ("rollout.environment.size", 1),
    ("rollout.environment.turns", 1),
    ("rollout.environment.program.programs", 1),
    ("rollout.prefix.size", 1),
    ("rollout.prefix.continuations", 1),
    ("rollout.tree.depth", 1),
    ("rollout.tree.branching", 1),
    ("rollout.tree.step_tokens", 1),
    ("rollout.tree.schema.votes", 1),
    ("rollout.tree.schema.min_votes", 1),
    ("rollout.tree.schema.paths", 1),
    ("rollout.tree.schema.vote_tokens", 1),
    ("rollout.tree.schema.rationale_tokens", 1),
    ("loop.sft.max_tokens", 2),
    ("loop.dpo.max_tokens", 2),
    ("loop.dpo.flow.chunks", 2),
    ("loop.dpo.flow.chunk_tokens", 1),
    ("loop.grpo.minibatches", 1),
    ("loop.grpo.epochs_per_batch", 1),
    ("loop.grpo.curriculum.window", 1),
    ("loop.prm.max_tokens", 2),
    ("loop.prm.classes", 2),
    ("loop.contrast.max_tokens", 2),
    ("data.residual.folds", 1),
    ("loop.star.rounds", 1),
    ("loop.star.questions", 1),
    ("loop.star.chunk", 1),
    ("loop.star.max_steps", 1),
    ("loop.mario.quantiles", 1),
    ("loop.mario.sample_every", 1),
    ("loop.think.ahead", 1),
    ("loop.think.passes", 1),
    ("loop.collect.follow_up.max_new_tokens", 1),
    ("loop.collect.follow_up.per_question", 1),
    ("loop.extract.contrast.others", 1),
    ("loop.extract.every", 1),
    ("optim.tokens_per_microbatch", 1),
    ("devices.threads", 1),
    ("devices.ranks", 1),
    ("devices.replicas", 1),
];

/// The most that any other number comes to.
const ANY: f64 = 1e9;

/// Keys whose numbers stand for themselves: a seed, what a server or a template is given.
const FREE: &[&str] = &["seed", "extra", "variables", "labels", "options"];

/// The numbers of a stage that are too large, or no numbers at all, by their full paths.
pub(super) fn beyond(stage: &Table) -> Vec<Misfit> {
    let mut found = Vec::new();
    for (key, value) in stage {
        look(key, value, &mut found);
    }
    found
}

/// The most that a number at the dotted path may be; none where it stands for itself.
pub(super) fn most(path: &str) -> Option<f64> {
    let free = path.split('.').any(|name| FREE.contains(&name));
    let name = path.rsplit('.').next().unwrap_or(path);
    let own = |(key, _): &&(&str, f64)| key.ends_with(name) && ends(path, key);
    (!free).then(|| MOST.iter().find(own).map_or(ANY, |(_, most)| *most))
}

/// The least that the number of a key may be, where that is not its type's.
pub(super) fn least(path: &str) -> Option<u64> {
    LEAST.iter().find(|(key, _)| *key == path).map(|(_, least)| *least)
}

fn look(path: &str, value: &Value, found: &mut Vec<Misfit>) {
    let number = match value {
        Value::Table(table) => {
            return table.iter().for_each(|(key, value)| look(&join(path, key), value, found));
        }
        Value::Array(list) => return list.iter().for_each(|value| look(path, value, found)),
        Value::Integer(whole) => *whole as f64,
        Value::Float(number) => *number,
        _ => return,
    };
    let most = most(path).unwrap_or(f64::MAX);
    if number.is_nan() || (most == f64::MAX && number.is_infinite()) {
        found.push(Misfit::new(path, "it must be a number", ""));
    } else if number.abs() > most {
        let most = if number < 0.0 { -most } else { most };
        let side = if number < 0.0 { "least" } else { "most" };
        found.push(Misfit::new(path, format!("it must be at {side} {}", shown(most)), ""));
    }
}

/// Whether the dotted `path` ends in `key`, of which `*` stands for any one name.
fn ends(path: &str, key: &str) -> bool {
    let mut names = path.rsplit('.');
    key.rsplit('.').all(|part| names.next().is_some_and(|name| part == "*" || part == name))
}

/// As a recipe would write it.
fn shown(number: f64) -> String {
    if number.abs() < 1e6 { format!("{number}") } else { format!("{number:e}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_are_a_slip_are_named_and_seeds_are_free() {
        let table: Table = toml::from_str(
            "[run]\nseed = 9000000000000000000\nsteps = 9000000000000000000\n[optim]\nlr = 1e300\nbetas = [nan, 0.9]\n\
             [reward.length]\nweight = -1e300\n[data.task.addition]\ntrain = 100000000\n[policy.sampling]\ntop_k = 50",
        )
        .unwrap();
        let said: Vec<String> = beyond(&table).iter().map(|m| format!("{}: {}", m.key, m.message)).collect();
        assert_eq!(
            said,
            [
                "run.steps: it must be at most 1e9",
                "optim.lr: it must be at most 1e38",
                "optim.betas: it must be a number",
                "reward.length.weight: it must be at least -1e6",
                "data.task.addition.train: it must be at most 1e7",
            ]
        );
    }

    #[test]
    fn every_key_that_has_a_least_is_one_and_says_it() {
        let keys = crate::recipe::Registry::default().keys();
        for (path, least) in LEAST {
            let key = keys.iter().find(|key| key.path == *path);
            let key = key.unwrap_or_else(|| panic!("there is no {path}"));
            assert_eq!(key.range.0, Some(*least as f64), "{path}");
        }
    }
}
