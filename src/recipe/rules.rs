//! What the recipe machinery has to know about sections: choices, references, run-wide keys, other tools' words.

use super::Registry;
use super::aliases::{ALIASES, Alias};
use super::references::named_by;
use std::sync::OnceLock;

/// The facts about a recipe's sections that its types alone do not say.
#[derive(Debug)]
pub struct Rules {
    /// Sections of which a stage has exactly one alternative.
    pub choices: &'static [Choice],
    /// Keys whose strings may say `"@stage"`; `*` stands for any one name.
    pub references: &'static [&'static str],
    /// Tables that `name = false` takes away where they are inherited; `*` stands for any one name.
    pub removable: &'static [&'static str],
    /// Keys that hold for the whole run and that a stage cannot set.
    pub run_wide: &'static [&'static str],
    /// What a run calls so, of a stage's name that ends like a name of the run's own.
    pub taken_ending: fn(&str) -> Option<&'static str>,
    /// Other programs' names for our keys: what is typed, what it may be here.
    pub aliases: &'static [Alias],
    /// The paths of all keys, for who has no registry at hand.
    pub keys: fn() -> &'static [String],
}

/// Alternatives that exclude each other: a stage that names one replaces what it inherits.
#[derive(Debug)]
pub struct Choice {
    /// The section that holds the alternatives, such as `loop`.
    pub section: &'static str,
    /// Its keys that exclude each other; none listed means every key does.
    pub alternatives: &'static [&'static str],
    /// What one alternative is called in messages.
    pub word: &'static str,
}

impl Rules {
    /// Whether `false` takes the table at `path` away.
    pub fn takes_away(&self, path: &str) -> bool {
        self.removable.iter().any(|listed| named_by(listed, path) == Some(path))
    }
}

impl Choice {
    /// Whether `key` is one of the alternatives.
    pub fn has(&self, key: &str) -> bool {
        self.alternatives.is_empty() || self.alternatives.contains(&key)
    }

    /// The alternatives that `section` names, in the order written.
    pub fn named<'a>(&self, section: &'a toml::Table) -> Vec<&'a str> {
        section.keys().map(String::as_str).filter(|key| self.has(key)).collect()
    }
}

/// The rules of this crate's recipes.
pub const RULES: Rules = Rules {
    choices: &[
        Choice { section: "loop", alternatives: &[], word: "loop" },
        Choice { section: "rollout", alternatives: &[], word: "rollout" },
        Choice { section: "policy", alternatives: &["model", "init"], word: "policy" },
        Choice { section: "data", alternatives: &["train", "task"], word: "source of training data" },
        Choice { section: "data.task", alternatives: &[], word: "task" },
    ],
    references: &[
        "policy.model",
        "policy.steer.from",
        "data.train",
        "data.eval",
        "data.template.few_shot_from",
        "rollout.variants.from",
        "reward.*.model",
        "reward.*.model_without",
        "eval.measures.*.model",
        "eval.measures.*.model_without",
    ],
    removable: &["reward.*", "eval.measures.*", "eval", "policy.lora", "policy.steer", "optim.muon"],
    run_wide: &[
        "run.name",
        "run.seed",
        "run.seeds",
        "run.rounds",
        "devices.ranks",
        "devices.reward_ranks",
        "devices.shard",
        "devices.replicas",
        "devices.trace",
        "devices.timeout_s",
    ],
    taken_ending,
    aliases: ALIASES,
    keys: own_keys,
};

/// The keys of recipes that name nothing of a program's own.
fn own_keys() -> &'static [String] {
    static KEYS: OnceLock<Vec<String>> = OnceLock::new();
    KEYS.get_or_init(|| Registry::default().known().to_vec())
}

/// A run adds these to a stage's name in the names of its files and folders.
fn taken_ending(name: &str) -> Option<&'static str> {
    let numbered = |before: &str| {
        let number = name.rsplit_once(before).map(|(_, number)| number);
        number.is_some_and(|number| !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit()))
    };
    let endings = [
        (name.ends_with("-pairs"), "the pairs of a stage"),
        (numbered("-r"), "a stage's later rounds"),
        (numbered("-round-"), "what a round of a method sampled"),
        (numbered("-step-") || numbered("step-") && name.starts_with("step-"), "a stage's checkpoints"),
    ];
    endings.into_iter().find(|(ends, _)| *ends).map(|(_, what)| what)
}
