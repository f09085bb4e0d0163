//! A stage's sections in their types, and the checks that need more than one of them.

use super::fits::misfit;
use super::{Recipe, StageTable};
use crate::checkpoint::Checkpoint;
use crate::data::Data;
use crate::devices::Devices;
use crate::error::{Error, Result};
use crate::eval::Eval;
use crate::log::Log;
use crate::loops::Loop;
use crate::optim::Optim;
use crate::policy::PolicyConfig;
use crate::rollout::Kind;
use crate::select::Select;
use serde::{Deserialize, Serialize};
use toml::Table;

/// What is to be done: `[run]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Run {
    /// The run's directory is `checkpoints/<name>`; the recipe file's name by default.
    pub name: Option<String>,
    /// Everything random derives from it.
    pub seed: u64,
    /// Steps of a stage; of `loop.star`, of its first round. With `loop.prm`, 0 measures a reward model that is there, as
    /// `[eval]` says, and trains nothing.
    pub steps: Option<usize>,
    /// Passes over the questions, where `steps` is not given.
    pub epochs: f64,
    /// How often the list of stages is run.
    pub rounds: usize,
}

impl Default for Run {
    fn default() -> Self {
        Self { name: None, seed: 0, steps: None, epochs: 1.0, rounds: 1 }
    }
}

/// A stage, resolved: one field a section of the recipe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stage {
    /// What is to be done.
    #[serde(default)]
    pub run: Run,
    /// The questions.
    #[serde(default)]
    pub data: Data,
    /// What is trained.
    #[serde(default)]
    pub policy: PolicyConfig,
    /// Where completions come from.
    #[serde(default)]
    pub rollout: Kind,
    /// What they are worth; each with its `weight`.
    #[serde(default)]
    pub reward: Table,
    /// Which of them teach.
    #[serde(default)]
    pub select: Select,
    /// What is learned.
    #[serde(rename = "loop")]
    pub lesson: Loop,
    /// How the weights move.
    #[serde(default)]
    pub optim: Optim,
    /// Which device holds what.
    #[serde(default)]
    pub devices: Devices,
    /// Held-out questions; none without this section.
    pub eval: Option<Eval>,
    /// What is kept.
    #[serde(default)]
    pub checkpoint: Checkpoint,
    /// What is shown.
    #[serde(default)]
    pub log: Log,
}

impl Stage {
    /// Reads and checks a stage.
    pub fn read(recipe: &Recipe, table: &StageTable) -> Result<Self> {
        let stage: Self = recipe.deserialize(table)?;
        stage.check(recipe, table)?;
        Ok(stage)
    }

    fn check(&self, recipe: &Recipe, table: &StageTable) -> Result<()> {
        let located = |result: Result<()>| {
            result.map_err(|error| match error {
                Error::Recipe(text) => {
                    Error::Recipe(format!("{}: stage `{}`: {text}", recipe.file(), table.name))
                }
                other => other,
            })
        };
        located(self.check_sections())?;
        let named = |path: &&&str| {
            table.table.get(**path).and_then(toml::Value::as_table).is_some_and(|section| !section.is_empty())
        };
        if let Some(path) = self.unused().iter().find(named) {
            let message =
                format!("loop.dpo.flow writes, judges and pairs completions itself and reads no [{path}]");
            let remedy = "take it out; where other stages need it, put it in those";
            return Err(recipe.problem(table, path, &message, remedy));
        }
        match misfit(self) {
            Some(found) => Err(recipe.problem(table, &found.key, &found.message, found.remedy)),
            None => Ok(()),
        }
    }

    /// Sections that mean nothing to the stage.
    fn unused(&self) -> &'static [&'static str] {
        match &self.lesson {
            Loop::Dpo(dpo) if dpo.flow.is_some() => &["rollout", "reward", "select"],
            _ => &[],
        }
    }

    /// Its sections with every default, but for those that mean nothing to it.
    pub fn resolved(&self) -> Result<Table> {
        let written = Table::try_from(self);
        let mut table =
            written.map_err(|error| Error::Recipe(format!("cannot be written as TOML: {error}")))?;
        self.unused().iter().for_each(|section| drop(table.remove(*section)));
        Ok(table)
    }

    fn check_sections(&self) -> Result<()> {
        self.data.format.validate().map_err(Error::Recipe)?;
        self.policy.validate()?;
        self.rollout.section().validate()?;
        self.lesson.validate()?;
        self.optim.check()?;
        self.devices.validate()?;
        self.select.validate()?;
        self.eval.as_ref().map_or(Ok(()), Eval::validate)
    }
}
