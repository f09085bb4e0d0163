//! What a recipe can name: methods, sources, rewards, tasks and metrics, the built-in ones and a program's own.

use crate::data::Example;
use crate::data::tasks::OwnTask;
use crate::eval::{Metric, Verdict};
use crate::loops::{self, Section};
use crate::reward::{self, Reward};
use crate::rollout::{self, Group, Rollout, SourceSection};
use crate::section::{Chosen, Kinds};
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

/// The methods, sources, rewards, tasks and metrics that a recipe can name: the built-in ones (the default) and the user's own.
///
/// ```no_run
/// use rationale::Registry;
/// let registry = Registry::default().reward_fn("short", |_example, rollout| -(rollout.tokens.len() as f64));
/// std::process::exit(rationale::cli(registry));
/// ```
///
/// [`extending`](mod@crate::extending) explains a method, a source, a reward and a task of a file each; `examples/extending` is the program.
#[derive(Debug)]
pub struct Registry {
    /// `[loop.NAME]`.
    pub methods: Kinds<dyn Section>,
    /// `[rollout.NAME]`.
    pub sources: Kinds<dyn SourceSection>,
    /// `[reward.NAME]`.
    pub rewards: reward::Registry,
    /// `[data.task.NAME]` beside the built-in ones.
    pub tasks: Kinds<dyn OwnTask>,
    /// Figures of evaluations beside the built-in ones.
    pub metrics: Vec<Metric>,
    /// What they come to, once it was asked for.
    pub(super) described: OnceLock<Described>,
}

/// What a stage may have.
#[derive(Debug)]
pub(super) struct Described {
    /// The schema of its sections.
    pub schema: Value,
    /// The paths of its keys.
    pub paths: Vec<String>,
    /// The schemas of rewards by their kinds, with the keys that all have.
    pub rewards: BTreeMap<String, Value>,
}

impl Default for Registry {
    fn default() -> Self {
        let (methods, sources) = (loops::methods(), rollout::sources());
        let (rewards, tasks, metrics) = (reward::Registry::default(), Kinds::empty(), Vec::new());
        Self { methods, sources, rewards, tasks, metrics, described: OnceLock::new() }
    }
}

/// The rewards alone, for who builds a recipe's rewards without a run.
impl std::ops::Deref for Registry {
    type Target = reward::Registry;

    fn deref(&self) -> &reward::Registry {
        &self.rewards
    }
}

impl Registry {
    /// Adds `[loop.NAME]`, whose keys are `T`'s, each with the default that `T` gives it; give that `#[serde(deny_unknown_fields)]` so that a misspelt key is an error.
    /// A name that is there already is replaced.
    pub fn method<T: Section + Serialize + DeserializeOwned + JsonSchema>(mut self, name: &str) -> Self {
        self.methods = self.methods.with::<T>(name, |section| Arc::new(section));
        self.changed()
    }

    /// Adds `[rollout.NAME]`, as [`method`](Self::method) adds a method.
    pub fn source<T: SourceSection + Serialize + DeserializeOwned + JsonSchema>(
        mut self,
        name: &str,
    ) -> Self {
        self.sources = self.sources.with::<T>(name, |section| Arc::new(section));
        self.changed()
    }

    /// The same, of which nothing is known yet.
    fn changed(mut self) -> Self {
        self.described = OnceLock::new();
        self
    }

    /// Adds `[data.task.NAME]`, rows that the program makes, as [`method`](Self::method) adds a method. Built-in names stay what they are.
    pub fn task<T: OwnTask + Serialize + DeserializeOwned + JsonSchema>(mut self, name: &str) -> Self {
        self.tasks = self.tasks.with::<T>(name, |task| Arc::new(task));
        self
    }

    /// Adds a figure of every evaluation that asks questions, `eval/NAME`: a function of the verdicts, one a completion. What judges each
    /// completion by itself is a reward, which `[eval.measures.NAME]` reports with its interval.
    ///
    /// ```
    /// use rationale::Registry;
    /// use rationale::eval::Verdict;
    ///
    /// /// The share of completions that have an answer.
    /// fn answered(verdicts: &[Verdict]) -> f64 {
    ///     let with = verdicts.iter().filter(|verdict| verdict.answer.is_some()).count();
    ///     with as f64 / verdicts.len().max(1) as f64
    /// }
    /// let registry = Registry::default().metric("answered", answered);
    /// ```
    pub fn metric(mut self, name: &str, of: impl Fn(&[Verdict]) -> f64 + Send + Sync + 'static) -> Self {
        self.metrics.push(Metric::new(name, of));
        self
    }

    /// What a stage without `[rollout]` samples by.
    pub(super) fn default_source(&self) -> Chosen<dyn SourceSection> {
        let source = self.sources.read(rollout::DEFAULT_SOURCE, toml::Table::new());
        source.and_then(Result::ok).expect("it is there, and has defaults")
    }

    /// Adds `[reward.NAME]`: see [`reward::Registry::reward`].
    pub fn reward<Config, R, F>(self, name: &str, factory: F) -> Self
    where
        Config: DeserializeOwned + JsonSchema,
        R: Reward + 'static,
        F: Fn(Config) -> anyhow::Result<R> + Send + Sync + 'static,
    {
        Self { rewards: self.rewards.reward(name, factory), ..self }.changed()
    }

    /// Adds `[reward.NAME]`, a function of an example and one of its rollouts.
    pub fn reward_fn<F>(self, name: &str, function: F) -> Self
    where
        F: Fn(&Example, &Rollout) -> f64 + Send + Sync + 'static,
    {
        Self { rewards: self.rewards.reward_fn(name, function), ..self }.changed()
    }

    /// Adds `[reward.NAME]`, a function of a whole group that gives one score a rollout.
    pub fn group_fn<F>(self, name: &str, function: F) -> Self
    where
        F: Fn(&Group) -> Vec<f64> + Send + Sync + 'static,
    {
        Self { rewards: self.rewards.group_fn(name, function), ..self }.changed()
    }
}
