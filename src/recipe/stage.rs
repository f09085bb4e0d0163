//! A stage's sections in their types, and the checks that need more than one of them.

use super::fits::misfits;
use super::{Recipe, Registry, StageTable};
use crate::checkpoint::Checkpoint;
use crate::data::Data;
use crate::devices::Devices;
use crate::error::{Error, Result};
use crate::eval::Eval;
use crate::log::Log;
use crate::loops::{Needs, Section, StageView};
use crate::optim::Optim;
use crate::policy::PolicyConfig;
use crate::rollout::Kind;
use crate::section::{Chosen, keys};
use crate::select::Select;
use serde::{Deserialize, Serialize};
use std::ops::{Deref, DerefMut};
use toml::{Table, Value};

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

/// A stage's sections: one field a section of the recipe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sections {
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
    /// Which of them are learned.
    #[serde(default)]
    pub select: Select,
    /// What is learned, as it is written: [`Stage::method`] is it read.
    #[serde(rename = "loop")]
    written: Value,
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

/// A stage, resolved.
#[derive(Debug, Clone, PartialEq)]
pub struct Stage {
    sections: Sections,
    /// `[loop.NAME]`.
    pub method: Chosen<dyn Section>,
}

impl Deref for Stage {
    type Target = Sections;

    fn deref(&self) -> &Sections {
        &self.sections
    }
}

impl DerefMut for Stage {
    fn deref_mut(&mut self) -> &mut Sections {
        &mut self.sections
    }
}

impl Stage {
    /// Reads and checks a stage.
    pub fn read(recipe: &Recipe, table: &StageTable, registry: &Registry) -> Result<Self> {
        let mut known = keys::<Sections>();
        known.extend(registry.methods.keys().iter().map(|key| format!("loop.{key}")));
        let sections: Sections = crate::section::read(table.table.clone())
            .map_err(|unread| recipe.explain(table, "", unread, &known))?;
        let method = recipe.choose(table, "loop", &registry.methods, &known)?;
        let stage = Self { sections, method };
        stage.check(recipe, table)?;
        Ok(stage)
    }

    /// The sections as the method looks at them.
    pub fn view(&self) -> StageView<'_> {
        StageView {
            steps: self.run.steps,
            epochs: self.run.epochs,
            data: &self.data,
            policy: &self.policy,
            rollout: &self.rollout,
            rewards: self.reward.keys().map(String::as_str).collect(),
            select: &self.select,
            eval: self.eval.as_ref(),
        }
    }

    /// What the stage has to have for its method.
    pub fn needs(&self) -> Needs {
        self.method.needs(&self.view())
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
            table.table.get(**path).and_then(Value::as_table).is_some_and(|section| !section.is_empty())
        };
        if let Some((sections, why)) = self.needs().unused
            && let Some(path) = sections.iter().find(named)
        {
            let message = format!("{why} and reads no [{path}]");
            let remedy = "take it out; where other stages need it, put it in those";
            return Err(recipe.problem(table, path, &message, remedy));
        }
        match misfits(self).first() {
            Some(found) => Err(recipe.problem(table, &found.key, &found.message, &found.remedy)),
            None => Ok(()),
        }
    }

    /// Its sections with every default, but for those that mean nothing to it.
    pub fn resolved(&self) -> Result<Table> {
        let unwritable = |error: String| Error::Recipe(format!("cannot be written as TOML: {error}"));
        let mut sections = self.sections.clone();
        sections.written = self.method.written().map_err(unwritable)?;
        let mut table = Table::try_from(&sections).map_err(|error| unwritable(error.to_string()))?;
        let unused = self.needs().unused.map_or(&[][..], |(sections, _)| sections);
        unused.iter().for_each(|section| drop(table.remove(*section)));
        Ok(table)
    }

    fn check_sections(&self) -> Result<()> {
        self.data.format.validate().map_err(Error::Recipe)?;
        self.policy.validate()?;
        self.rollout.validate()?;
        if let Some(misfit) = self.method.check().into_iter().next() {
            return Err(Error::Recipe(misfit.message));
        }
        self.optim.check()?;
        self.devices.validate()?;
        self.select.validate()?;
        self.eval.as_ref().map_or(Ok(()), Eval::validate)
    }
}
