//! A stage's sections in their types, and the checks that need more than one of them.

use super::fits::misfits;
use super::{Recipe, Refusal, StageTable};
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
use crate::section::{Misfit, under};
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
        Self::attempt(recipe, table, &|_| vec![]).map_err(|refusals| recipe.error(refusals))
    }

    /// Reads and checks all stages of a recipe; `more` finds what else is wrong with one, by full paths.
    ///
    /// # Errors
    /// [`Error::Recipe`] with all that is wrong with all of them.
    pub fn read_all(recipe: &Recipe, more: &dyn Fn(&Self) -> Vec<Misfit>) -> Result<Vec<Self>> {
        let (mut stages, mut refusals) = (vec![], vec![]);
        for table in recipe.stages() {
            match Self::attempt(recipe, table, more) {
                Ok(stage) => stages.push(stage),
                Err(found) => refusals.extend(found),
            }
        }
        if refusals.is_empty() { Ok(stages) } else { Err(recipe.error(refusals)) }
    }

    fn attempt(
        recipe: &Recipe,
        table: &StageTable,
        more: &dyn Fn(&Self) -> Vec<Misfit>,
    ) -> std::result::Result<Self, Vec<Refusal>> {
        let stage: Self = recipe.read_at(table, "", table.table.clone())?;
        let misfits =
            [stage.check(), stage.check_unused(&table.table), misfits(&stage), more(&stage)].concat();
        if misfits.is_empty() { Ok(stage) } else { Err(recipe.located(table, misfits)) }
    }

    fn check_unused(&self, table: &Table) -> Vec<Misfit> {
        let named = |path: &&&str| {
            table.get(**path).and_then(toml::Value::as_table).is_some_and(|section| !section.is_empty())
        };
        let misfit = |path: &&str| {
            Misfit::new(
                *path,
                format!("loop.dpo.flow writes, judges and pairs completions itself and reads no [{path}]"),
                "take it out; where other stages need it, put it in those",
            )
        };
        self.unused().iter().filter(named).map(misfit).collect()
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

    /// What its sections find of themselves.
    fn check(&self) -> Vec<Misfit> {
        let unlocated = |section: &str, result: Result<()>| {
            let text = result.err().map(|error| error.to_string());
            let text = text.map(|text| text.trim_start_matches("recipe: ").to_owned());
            text.map(|text| Misfit::new(section, text, "")).into_iter().collect::<Vec<_>>()
        };
        [
            under("data", self.data.check()),
            under("policy", self.policy.check()),
            unlocated("rollout", self.rollout.validate()),
            under("select", self.select.check()),
            unlocated("loop", self.lesson.validate()),
            under("optim", self.optim.check()),
            under("devices", self.devices.check()),
            under("eval", self.eval.iter().flat_map(Eval::check)),
        ]
        .concat()
    }
}
