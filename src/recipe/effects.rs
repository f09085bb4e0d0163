//! Keys that a recipe writes and that nothing of its stages reads. Which of its own keys others of it leave without effect, each method, source and
//! reward says itself (`idle`); the rules here are those of the sections that every stage has.

use super::explain::take;
use super::refusal::Refusal;
use super::waiting::never_under_way;
use super::{Recipe, Registry, Stage};
use crate::loops::{ReferenceKind, Selects, Steps};
use crate::optim::Schedule;
use crate::reward::Rewards;
use crate::rollout::Traits;
use crate::section::{covers, join};
use crate::select::pairs::PairKind;
use std::collections::BTreeMap;
use toml::{Table, Value};

/// Keys that are without effect where `idle` says why.
struct Rule {
    /// Sections or keys, by their dotted paths; `*` stands for any one name.
    keys: &'static [&'static str],
    /// What of them is read all the same.
    but: &'static [&'static str],
    /// Why a stage does not read them, in words that follow `… has no effect`; none where it does.
    idle: fn(&Stage) -> Option<String>,
}

/// Who reads what. A key that no rule names is read by every stage.
const RULES: &[Rule] = &[
    Rule {
        keys: &["optim", "checkpoint.save_optimizer", "policy.gradient_checkpointing", "policy.dropout"],
        // Reward models and the rows' own completions are read in micro-batches too.
        but: &["optim.tokens_per_microbatch"],
        idle: |stage| unless(stage.needs().trains, with_method(stage)),
    },
    Rule {
        keys: &["optim.min_lr_ratio"],
        but: &[],
        idle: |stage| unless(stage.optim.schedule != Schedule::Constant, "with a constant schedule".into()),
    },
    Rule {
        keys: &["rollout"],
        but: &[],
        idle: |stage| {
            let gives = asks(stage) && stage.rollout.traits().gives;
            unless(stage.needs().rollouts || searches(stage) || gives, with_method(stage))
        },
    },
    Rule {
        keys: &["reward"],
        but: &[],
        idle: |stage| unless(stage.needs().rollouts || searches(stage), with_method(stage)),
    },
    Rule {
        keys: &["select"],
        but: &[],
        idle: |stage| unless(stage.needs().selects != Selects::Nothing, with_method(stage)),
    },
    Rule {
        keys: &["select.pairs"],
        but: &[],
        idle: |stage| unless(stage.needs().selects == Selects::Pairs, with_method(stage)),
    },
    Rule {
        keys: &["select.pairs.min_prefix"],
        but: &[],
        idle: |stage| {
            let shared = stage.select.pairs.kind == PairKind::SharedPrefix;
            unless(shared, "unless kind = \"shared_prefix\"".into())
        },
    },
    Rule {
        keys: &["policy.sampling"],
        but: &["policy.sampling.temperature", "policy.sampling.max_new_tokens"],
        idle: |stage| unless(samples(stage) || asks(stage), without_samples(stage)),
    },
    Rule {
        keys: &["policy.steer"],
        but: &[],
        idle: |stage| unless(samples(stage) || reads_rows(stage) || asks(stage), without_samples(stage)),
    },
    Rule {
        keys: &["policy.sampling.temperature"],
        but: &[],
        idle: |stage| unless(samples(stage) || reads_rows(stage), without_samples(stage)),
    },
    Rule {
        keys: &["policy.sampling.max_new_tokens"],
        but: &[],
        idle: |stage| {
            let own = stage.eval.as_ref().is_some_and(|eval| eval.max_new_tokens.is_some());
            unless(samples(stage) || (asks(stage) && !own), without_samples(stage))
        },
    },
    Rule {
        keys: &["run.steps", "run.epochs", "data.prompts_per_step", "data.shuffle", "data.train_limit"],
        but: &[],
        idle: |stage| unless(stage.needs().rows, with_method(stage)),
    },
    Rule {
        // It reads all rows once.
        keys: &["run.steps", "run.epochs", "data.prompts_per_step", "data.shuffle", "checkpoint.every"],
        but: &[],
        idle: |stage| unless(!stage.needs().direction, with_method(stage)),
    },
    Rule {
        keys: &["data.train", "data.task.*.train"],
        but: &[],
        idle: |stage| {
            let shots = stage.data.template.few_shot > 0 && stage.data.template.few_shot_from.is_none();
            unless(stage.needs().rows || shots, with_method(stage))
        },
    },
    Rule {
        keys: &["run.epochs"],
        but: &[],
        idle: |stage| unless(stage.run.steps.is_none(), "beside run.steps".into()),
    },
    Rule {
        keys: &["data.eval", "data.eval_limit", "data.task.*.eval"],
        but: &[],
        idle: |stage| unless(stage.eval.is_some(), "without [eval]".into()),
    },
    Rule {
        keys: &["data.format"],
        but: &[],
        idle: |stage| {
            let needs = stage.needs();
            let by_stage = stage.data.train.0.iter().any(|source| source.starts_with('@'));
            let traces = if needs.selects == Selects::Nothing { "" } else { ", unless its rows are traces" };
            let why = format!("{} and no [eval]{traces}", with_method(stage));
            unless(!needs.formless || stage.eval.is_some() || (by_stage && !traces.is_empty()), why)
        },
    },
    Rule {
        keys: &["data.template.few_shot_from", "data.template.few_shot_pick", "data.template.few_shot_show"],
        but: &[],
        idle: |stage| unless(stage.data.template.few_shot > 0, "without data.template.few_shot".into()),
    },
    Rule {
        keys: &["checkpoint.every"],
        but: &[],
        idle: |stage| unless(stage.needs().rows, with_method(stage)),
    },
    Rule {
        // It is evaluated after each of its rounds.
        keys: &["eval.every", "eval.at_end"],
        but: &[],
        idle: |stage| unless(stage.needs().steps == Steps::OfRun, with_method(stage)),
    },
    Rule {
        keys: &["eval.every", "eval.at_start", "eval.at_end"],
        but: &[],
        idle: |stage| unless(stage.needs().trains, with_method(stage)),
    },
    Rule {
        keys: &["eval.samples", "eval.seeds", "eval.temperature", "eval.max_new_tokens", "eval.at"],
        but: &[],
        idle: |stage| unless(asks(stage) || stage.eval.is_none(), with_method(stage)),
    },
    Rule {
        keys: &[
            "eval.show",
            "eval.keep_text",
            "eval.labels",
            "eval.calibration",
            "eval.choices",
            "eval.measures",
        ],
        but: &[],
        idle: |stage| unless(asks(stage) || stage.eval.is_none(), with_method(stage)),
    },
    Rule {
        keys: &["eval.greedy"],
        but: &[],
        idle: |stage| unless(asks(stage) || stage.eval.is_none(), with_method(stage)),
    },
    Rule {
        keys: &["eval.by"],
        but: &[],
        idle: |stage| {
            let why = format!("{}, which counts no classes of what it learns from", with_method(stage));
            unless(!stage.needs().classless || stage.eval.is_none(), why)
        },
    },
    Rule {
        keys: &["eval.measures.*.weight"],
        but: &[],
        idle: |_| Some("on what is reported by itself and never summed".into()),
    },
    Rule {
        keys: &["devices.reference"],
        but: &[],
        idle: |stage| match stage.needs().reference {
            None => Some("without a reference policy".into()),
            Some(ReferenceKind::Fixed) if stage.policy.lora.is_some() => {
                Some("with [policy.lora], whose base is the reference and lies where the policy does".into())
            }
            Some(_) => None,
        },
    },
    Rule {
        keys: &["devices.reward"],
        but: &[],
        idle: |stage| unless(names_models(stage), "without a reward that names a model".into()),
    },
    Rule {
        keys: &["checkpoint.best_mode"],
        but: &[],
        idle: |stage| unless(stage.checkpoint.best.is_some(), "without checkpoint.best".into()),
    },
    Rule {
        keys: &["log.samples_every", "log.samples", "log.traces"],
        but: &[],
        idle: |stage| {
            unless(stage.needs().rollouts, format!("{}, which rolls nothing out", with_method(stage)))
        },
    },
    Rule {
        keys: &["log.traces"],
        but: &[],
        idle: |stage| {
            let why = format!("{}, whose rollouts are kept in any case", with_method(stage));
            unless(!stage.needs().traces, why)
        },
    },
    Rule {
        keys: &["log.samples"],
        but: &[],
        idle: |stage| unless(stage.log.samples_every > 0, "with log.samples_every = 0".into()),
    },
];

/// Line, file with line, and key.
type Place = (Option<usize>, String, String);

/// Why a key is not read.
#[derive(Debug, Clone, PartialEq)]
struct Why {
    words: String,
    /// Whether the key is told with its whole path, since others of its table are read.
    own: bool,
}

/// What the recipe writes for nothing, a sentence for the stages that share it: `stage `x`: optim.lr has no effect with
/// loop.collect`. What several stages inherit is told only where none of them reads it. A key that is
/// written as it is by default says nothing anyway. `stages` are the recipe's, in order.
pub fn without_effect(recipe: &Recipe, stages: &[Stage], registry: &Registry) -> Vec<String> {
    // By the key and the place where it is written: the stages that have it from there, and why each does not read it.
    let mut written: BTreeMap<Place, Vec<(usize, Option<Why>)>> = BTreeMap::new();
    for (table, stage) in recipe.stages().iter().zip(stages) {
        let own = own(stage, registry);
        for key in leaves(&table.table) {
            let Refusal { line, text, .. } = recipe.refusal(table, &key, "");
            let why = idle(stage, &own, &key);
            let usual = |why: &Why| {
                stage.reads_alike_without(table, &key, registry)
                    || (why.own && is_usual(&stage.reward, &key, registry))
            };
            if !why.as_ref().is_some_and(usual) {
                written.entry((line, text, key.clone())).or_default().push((table.index, why));
            }
        }
    }
    let mut told: BTreeMap<(Vec<usize>, Vec<String>), Vec<String>> = BTreeMap::new();
    for ((.., key), of) in written {
        let reasons = of.iter().map(|(_, why)| why.clone()).collect::<Option<Vec<_>>>();
        let Some(reasons) = reasons else { continue };
        let shown = if reasons.iter().any(|why| why.own) { key } else { of_table(&key) };
        let mut words: Vec<String> = reasons.into_iter().map(|why| why.words).collect();
        words.dedup();
        let keys = told.entry((of.iter().map(|(stage, _)| *stage).collect(), words)).or_default();
        if !keys.contains(&shown) {
            keys.push(shown);
        }
    }
    let told = told.iter().map(|((stages, reasons), keys)| sentence(recipe, stages, reasons, keys));
    told.chain(never_under_way(recipe, stages)).collect()
}

fn sentence(recipe: &Recipe, stages: &[usize], reasons: &[String], keys: &[String]) -> String {
    let names: Vec<String> = stages.iter().map(|&at| format!("`{}`", recipe.stages()[at].name)).collect();
    let stages = if names.len() == 1 { "stage" } else { "stages" };
    let have = if keys.len() == 1 { "has" } else { "have" };
    format!("{stages} {}: {} {have} no effect {}", names.join(", "), keys.join(", "), reasons.join(" and "))
}

/// The key as it is told: of a reward or a rollout, its table.
fn of_table(key: &str) -> String {
    let whole = key.starts_with("reward.") || key.starts_with("rollout.");
    let depth = if whole { 2 } else { usize::MAX };
    key.split('.').take(depth).collect::<Vec<_>>().join(".")
}

fn idle(stage: &Stage, own: &[(String, &str)], key: &str) -> Option<Why> {
    let of = |rule: &&Rule| {
        let names = |keys: &[&str]| keys.iter().any(|listed| covers(listed, key));
        names(rule.keys) && !names(rule.but)
    };
    let of_stage = RULES.iter().filter(of).find_map(|rule| (rule.idle)(stage));
    let of_own = || own.iter().find(|(path, _)| covers(path, key));
    of_stage
        .map(|words| Why { words, own: false })
        .or_else(|| of_own().map(|(_, why)| Why { words: (*why).to_owned(), own: true }))
}

/// What the stage's method, source and rewards say of their own keys, by their full paths.
fn own(stage: &Stage, registry: &Registry) -> Vec<(String, &'static str)> {
    let method = stage.method.idle().into_iter().map(|(key, why)| (join(stage.method.name(), key), why));
    let source = stage.rollout.idle().into_iter().map(|(key, why)| (join(stage.rollout.name(), key), why));
    let rewards = Rewards::try_build(&stage.reward, registry, &stage.data.format);
    let rewards = rewards.map_or_else(|_| vec![], |rewards| rewards.idle());
    let under = |section: &'static str| move |(key, why): (String, &'static str)| (join(section, &key), why);
    let all = method.map(under("loop")).chain(source.map(under("rollout")));
    all.chain(rewards.into_iter().map(under("reward"))).collect()
}

/// Whether a key of a reward is as it is by default, which their tables, read by themselves, do not tell.
fn is_usual(rewards: &Table, key: &str, registry: &Registry) -> bool {
    let Some(key) = key.strip_prefix("reward.") else { return false };
    let (mut written, mut without) = (rewards.clone(), rewards.clone());
    drop(take(&mut without, key));
    registry.fill_rewards(&mut written);
    registry.fill_rewards(&mut without);
    written == without
}

/// The dotted paths of all values, and of tables that have none.
fn leaves(table: &Table) -> Vec<String> {
    let of = |(key, value): (&String, &Value)| match value {
        Value::Table(inside) if !inside.is_empty() => {
            leaves(inside).into_iter().map(|below| format!("{key}.{below}")).collect()
        }
        _ => vec![key.clone()],
    };
    table.iter().flat_map(of).collect()
}

fn unless(read: bool, why: String) -> Option<String> {
    (!read).then_some(why)
}

fn with_method(stage: &Stage) -> String {
    format!("with loop.{}", stage.method.name())
}

fn without_samples(stage: &Stage) -> String {
    let Traits { name, endpoint, reads_rows, .. } = stage.rollout.traits();
    match endpoint {
        _ if !stage.needs().rollouts => with_method(stage),
        None if !reads_rows => with_method(stage),
        // Where the endpoint is not all that the source is, it is named by itself.
        Some(section) if section != format!("rollout.{name}.endpoint") => format!("with {section}"),
        _ => format!("with rollout.{name}"),
    }
}

/// Whether a reward, or what measures held-out answers, asks a model of its own.
fn names_models(stage: &Stage) -> bool {
    let names = |table: &Table| {
        let sections = table.values().filter_map(Value::as_table);
        sections.flat_map(Table::keys).any(|key| key.contains("model"))
    };
    names(&stage.reward) || stage.eval.as_ref().is_some_and(|eval| names(&eval.measures))
}

/// Whether the policy is asked the held-out questions.
fn asks(stage: &Stage) -> bool {
    stage.eval.is_some() && !stage.needs().head
}

/// Whether it is asked them in a search, which rewards guide.
fn searches(stage: &Stage) -> bool {
    asks(stage) && stage.rollout.traits().picks.is_some()
}

/// Whether the policy writes completions of the training questions.
fn samples(stage: &Stage) -> bool {
    let Traits { endpoint, reads_rows, .. } = stage.rollout.traits();
    stage.needs().rollouts && !reads_rows && endpoint.is_none()
}

/// Whether the rows' own completions are scored under the policy.
fn reads_rows(stage: &Stage) -> bool {
    stage.needs().rollouts && stage.rollout.traits().reads_rows
}

#[cfg(test)]
mod tests;
