//! A stage's sections in their types, and the checks that need more than one of them.

use super::{Recipe, StageTable};
use crate::advantage::Baseline;
use crate::checkpoint::Checkpoint;
use crate::data::{Data, Split};
use crate::devices::Devices;
use crate::error::{Error, Result};
use crate::eval::Eval;
use crate::log::Log;
use crate::loops::Loop;
use crate::loops::grpo::ZeroVariance;
use crate::optim::Optim;
use crate::policy::PolicyConfig;
use crate::rollout::Kind;
use crate::select::{Select, pairs};
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
    /// Steps of a stage.
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
        let problem =
            |path: &str, message: &str, remedy: &str| Err(recipe.problem(table, path, message, remedy));

        if self.run.steps == Some(0) {
            return problem(
                "run.steps",
                "there is nothing to do in 0 steps",
                "give at least 1, or use run.epochs",
            );
        }
        if !(self.run.epochs > 0.0 && self.run.epochs.is_finite()) {
            return problem("run.epochs", "passes over the data must be a positive number", "1 is one pass");
        }
        if self.lesson.rolls_out() && self.reward.is_empty() && matches!(self.lesson, Loop::Grpo(_)) {
            return problem(
                "loop.grpo",
                "there is no reward to learn from",
                "add [reward.answer] or another reward",
            );
        }
        if let Loop::Dpo(dpo) = &self.lesson
            && dpo.online
        {
            if self.rollout.group_size() == Some(1) && !dpo.loss.unpaired() {
                return problem(
                    "rollout.group.size",
                    "a single completion of a question makes no pair",
                    "use at least 2",
                );
            }
            if self.policy.sampling.temperature == 0.0 {
                return problem(
                    "policy.sampling.temperature",
                    "greedy samples of one prompt are all the same and make no pair",
                    "use a positive temperature, such as 1.0",
                );
            }
            if self.select.pairs.kind == pairs::Kind::ScoreMargin && self.reward.is_empty() {
                return problem(
                    "select.pairs.kind",
                    "there is no reward to tell the better from the worse",
                    "add [reward.answer] or another reward, or use kind = \"correct_wrong\"",
                );
            }
        }
        if matches!(self.lesson, Loop::Evaluate(_)) && self.eval.is_none() {
            return problem(
                "loop.evaluate",
                "there is no [eval] section",
                "add [eval]; empty takes its defaults",
            );
        }
        if self.eval.is_some() && !self.data.has(Split::Eval) {
            return problem(
                "eval",
                "there are no held-out questions",
                "set data.eval, or a data.task that has some",
            );
        }
        if let (Loop::Grpo(grpo), size) = (&self.lesson, self.rollout.group_size()) {
            match size {
                None => {
                    return problem(
                        "loop.grpo",
                        "it learns from the policy's own samples, and [rollout.dataset] reads others'",
                        "use [rollout.group]",
                    );
                }
                Some(1) if grpo.advantage.baseline != Baseline::None => {
                    return problem(
                        "rollout.group.size",
                        "a group of one has no baseline to be compared with",
                        "use at least 2, or loop.grpo.advantage.baseline = \"none\"",
                    );
                }
                Some(_) => {}
            }
            if grpo.zero_variance == ZeroVariance::Resample && grpo.resample_limit == 0 {
                return problem(
                    "loop.grpo.resample_limit",
                    "resampling zero-variance groups at most 0 times does nothing",
                    "give at least 1, or zero_variance = \"drop\"",
                );
            }
            if self.policy.sampling.temperature == 0.0 {
                return problem(
                    "policy.sampling.temperature",
                    "greedy samples of one prompt are all the same, so a group teaches nothing",
                    "use a positive temperature, such as 1.0",
                );
            }
        }
        Ok(())
    }

    fn check_sections(&self) -> Result<()> {
        self.data.format.validate().map_err(Error::Recipe)?;
        self.policy.validate()?;
        self.rollout.validate()?;
        self.lesson.validate()?;
        self.optim.check()?;
        self.devices.validate()?;
        self.select.validate()?;
        self.eval.as_ref().map_or(Ok(()), Eval::validate)
    }
}
