//! The rewards that a recipe can name.

use super::{Reward, of_rollouts};
use crate::data::Example;
use crate::rationale::Format;
use crate::rollout::{Group, Rollout, Score};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::sync::Arc;

type Factory = Box<dyn Fn(toml::Table, &Format) -> Result<Box<dyn Reward>, String> + Send + Sync>;

/// The rewards that a recipe can name: the built-in ones (the default) and the user's own.
///
/// ```no_run
/// use rationale::Registry;
/// let registry = Registry::default().reward_fn("short", |_example, rollout| -(rollout.tokens.len() as f64));
/// std::process::exit(rationale::cli(registry));
/// ```
pub struct Registry {
    factories: BTreeMap<String, Factory>,
}

/// The section of a reward that has no keys of its own.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct NoKeys {}

impl Registry {
    /// No rewards at all; [`Registry::default`] has the built-in ones.
    pub fn empty() -> Self {
        Self { factories: BTreeMap::new() }
    }

    /// Adds `[reward.NAME]`. `factory` gets the section, `weight` and `kind` taken out, as its own type; give that
    /// `#[serde(deny_unknown_fields)]` so that a misspelt key is an error. A name that is registered already is
    /// replaced.
    pub fn reward<Config, R, F>(self, name: &str, factory: F) -> Self
    where
        Config: DeserializeOwned,
        R: Reward + 'static,
        F: Fn(Config) -> anyhow::Result<R> + Send + Sync + 'static,
    {
        self.with_format(name, move |config, _| factory(config))
    }

    /// Adds `[reward.NAME]`, a function of an example and one of its rollouts.
    pub fn reward_fn<F>(self, name: &str, function: F) -> Self
    where
        F: Fn(&Example, &Rollout) -> f64 + Send + Sync + 'static,
    {
        let function = Arc::new(function);
        self.reward(name, move |_: NoKeys| {
            let function = function.clone();
            Ok(of_rollouts(move |example, rollout| Ok(function(example, rollout))))
        })
    }

    /// Adds `[reward.NAME]`, a function of a whole group that gives one score a rollout.
    pub fn group_fn<F>(self, name: &str, function: F) -> Self
    where
        F: Fn(&Group) -> Vec<f64> + Send + Sync + 'static,
    {
        let function = Arc::new(function);
        self.reward(name, move |_: NoKeys| {
            let function = function.clone();
            Ok(move |group: &Group| Ok(function(group).into_iter().map(Score::from).collect()))
        })
    }

    /// The names known, in alphabetical order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.factories.keys().map(String::as_str)
    }

    /// The reward registered as `kind`, from its section.
    pub(super) fn build(
        &self,
        kind: &str,
        table: toml::Table,
        format: &Format,
    ) -> Result<Box<dyn Reward>, String> {
        let Some(factory) = self.factories.get(kind) else {
            let known = self.names().collect::<Vec<_>>().join(", ");
            return Err(format!("no such reward; known: {known}{}", meant(kind, self.names())));
        };
        factory(table, format)
    }

    /// [`reward`](Self::reward) for one that also asks how rationales are written.
    pub(super) fn with_format<Config, R, F>(mut self, name: &str, factory: F) -> Self
    where
        Config: DeserializeOwned,
        R: Reward + 'static,
        F: Fn(Config, &Format) -> anyhow::Result<R> + Send + Sync + 'static,
    {
        let build = move |table: toml::Table, format: &Format| -> Result<Box<dyn Reward>, String> {
            let reward = factory(read(table)?, format).map_err(|error| format!("{error:#}"))?;
            Ok(Box::new(reward))
        };
        self.factories.insert(name.to_owned(), Box::new(build));
        self
    }
}

impl std::fmt::Debug for Registry {
    fn fmt(&self, formatter: &mut std::fmt::Formatter) -> std::fmt::Result {
        formatter.debug_set().entries(self.names()).finish()
    }
}

/// Reads a section as its own type; the error names the key and, for one that is unknown, the nearest that is known.
pub(super) fn read<Config: DeserializeOwned>(table: toml::Table) -> Result<Config, String> {
    serde_path_to_error::deserialize(toml::Value::Table(table)).map_err(|error| {
        let path = error.path().to_string();
        let error = error.into_inner();
        let text = error.message().trim();
        // serde writes: unknown field `x`, expected one of `a`, `b`
        let mut quoted = text.split('`').skip(1).step_by(2);
        match quoted.next().filter(|_| text.starts_with("unknown field")) {
            Some(unknown) => format!("{text}{}", meant(unknown, quoted)),
            None if path == "." => text.to_owned(),
            None => format!("{path}: {text}"),
        }
    })
}

/// "; did you mean `x`?" where a known name is spelt much alike.
fn meant<'a>(written: &str, known: impl Iterator<Item = &'a str>) -> String {
    let alike = known.map(|name| (strsim::damerau_levenshtein(written, name), name)).min();
    match alike {
        Some((distance, name)) if distance <= 1 + written.len() / 4 => format!("; did you mean `{name}`?"),
        _ => String::new(),
    }
}
