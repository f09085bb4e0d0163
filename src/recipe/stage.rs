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
use crate::rollout::prefix::Cuts;
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
        let problem =
            |path: &str, message: &str, remedy: &str| Err(recipe.problem(table, path, message, remedy));

        let measures =
            matches!(self.lesson, Loop::Prm(_)) && self.eval.as_ref().is_some_and(|eval| eval.at_start);
        if self.run.steps == Some(0) && !measures {
            return problem(
                "run.steps",
                "there is nothing to do in 0 steps",
                "give at least 1, or use run.epochs; only loop.prm with eval.at_start = true measures what is there",
            );
        }
        if !(self.run.epochs > 0.0 && self.run.epochs.is_finite()) {
            return problem("run.epochs", "passes over the data must be a positive number", "1 is one pass");
        }
        if self.lesson.rolls_out()
            && self.reward.is_empty()
            && matches!(self.lesson, Loop::Grpo(_) | Loop::Mario(_))
        {
            return problem(
                &format!("loop.{}", self.lesson.name()),
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
        if let Loop::Mario(mario) = &self.lesson {
            if let Some(name) = mario.borders.keys().find(|name| !self.reward.contains_key(*name)) {
                return problem(
                    &format!("loop.mario.borders.{name}"),
                    "there is no such reward",
                    "name one of the [reward] tables",
                );
            }
            if self.rollout.group_size().is_none() {
                return problem(
                    "loop.mario",
                    "it samples the policy, and [rollout.dataset] reads others' completions",
                    "use [rollout.group]; loop.mario.rows takes the rows' own completions into the pool",
                );
            }
        }
        let own = matches!(self.lesson, Loop::Grpo(_) | Loop::Mario(_) | Loop::Star(_));
        if own && !self.rollout.sampled() && self.rollout.group_size().is_some() {
            return problem(
                &format!("loop.{}", self.lesson.name()),
                "it learns from the policy's own samples and their log-probabilities, and the completions of this \
                 rollout have none",
                "use [rollout.group]; or collect here and learn in a later stage by loop.sft or loop.dpo",
            );
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
        if let Some((path, message, remedy)) = self.check_search() {
            return problem(path, &message, remedy);
        }
        if let Some((path, message, remedy)) = self.check_star() {
            return problem(path, message, remedy);
        }
        if let Loop::Grpo(grpo) = &self.lesson
            && let Some(steps) = &grpo.steps
            && !self.reward.contains_key(&steps.reward)
        {
            return problem(
                "loop.grpo.steps",
                &format!("there is no [reward.{}] that scores steps", steps.reward),
                "add [reward.process] with its model, and weight = 0 to keep its value out of the outcome",
            );
        }
        if let Kind::Prefix(prefix) = &self.rollout
            && prefix.cuts == Cuts::Tree
            && self.lesson.trains()
        {
            return problem(
                "rollout.prefix.cuts",
                "a tree adds continuations to a group, which are no independent samples",
                "use loop.collect here, or cuts = \"search\"",
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
                Some(1)
                    if grpo.advantage.baseline != Baseline::None && grpo.advantage.compare_by.is_none() =>
                {
                    return problem(
                        "rollout.group.size",
                        "a group of one has no baseline to be compared with",
                        "use at least 2, or loop.grpo.advantage.baseline = \"none\"",
                    );
                }
                Some(_) => {}
            }
            if grpo.step_rewards.is_some() && !matches!(self.rollout, Kind::Prefix(_)) {
                return problem(
                    "loop.grpo.step_rewards",
                    "nothing says what the steps are worth",
                    "use [rollout.prefix], which continues completions from cuts between their steps",
                );
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

    /// What does not fit a search for answers: the key, what is wrong, the remedy.
    fn check_search(&self) -> Option<(&'static str, String, &'static str)> {
        let search = self.rollout.search()?;
        let name = search.name();
        if self.lesson.rolls_out() && !matches!(self.lesson, Loop::Collect(_)) {
            let message = format!(
                "loop.{} learns from the policy's own samples, and a search picks",
                self.lesson.name()
            );
            return Some((
                "rollout",
                message,
                "use [rollout.group]; a search serves loop.collect, loop.evaluate and [eval]",
            ));
        }
        if self.reward.is_empty() {
            let message = format!("nothing judges what rollout.{name} is to choose among");
            return Some(("rollout", message, "add [reward.process] with its model, or another reward"));
        }
        if let Some(by) = search.by().filter(|by| !self.reward.contains_key(*by)) {
            let message = format!("rollout.{name}.by = \"{by}\" names no reward");
            return Some(("rollout", message, "name one of the [reward] tables"));
        }
        let greedy = |key: &'static str, temperature: f64| {
            let message = format!("greedy samples are all the same, and leave rollout.{name} no choice");
            (temperature == 0.0 && search.n() > 1).then_some((
                key,
                message,
                "use a positive temperature, such as 1.0",
            ))
        };
        let collects = matches!(self.lesson, Loop::Collect(_));
        if collects
            && let Some(problem) = greedy("policy.sampling.temperature", self.policy.sampling.temperature)
        {
            return Some(problem);
        }
        let eval = self.eval.as_ref()?;
        if eval.samples > 1 {
            let message = format!("rollout.{name} gives one answer to a question; its n says among how many");
            return Some(("eval.samples", message, "leave it at 1; the figures by n come with the search"));
        }
        greedy("eval.temperature", eval.temperature)
    }

    /// What of the other sections does not fit `loop.star`: the key, what is wrong, the remedy.
    fn check_star(&self) -> Option<(&'static str, &'static str, &'static str)> {
        let hinting = matches!(self.rollout, Kind::Hint(_));
        let Loop::Star(star) = &self.lesson else {
            return hinting.then_some((
                "rollout.hint",
                "only loop.star strips the hint of [rollout.hint] from what it trains on",
                "use [rollout.group] here",
            ));
        };
        let filters = self.select.correct || self.select.min_reward.is_some();
        let sampling = &self.policy.sampling;
        match self.rollout.group_size() {
            None => Some((
                "loop.star",
                "it learns from the policy's own samples, and [rollout.dataset] reads others'",
                "use [rollout.group], or [rollout.hint] to rationalize",
            )),
            Some(size) if size > 1 && sampling.temperature == 0.0 => Some((
                "policy.sampling.temperature",
                "greedy samples of one prompt are all the same",
                "use a positive temperature, or a rollout of size 1",
            )),
            _ if !filters => Some((
                "loop.star",
                "nothing tells loop.star which rationales to learn",
                "set select.correct = true, STaR's filter, or select.min_reward with a [reward]",
            )),
            _ if self.select.min_reward.is_some() && self.reward.is_empty() => Some((
                "select.min_reward",
                "there is no reward to compare select.min_reward with",
                "add [reward.answer] or another reward",
            )),
            _ if star.watches_accuracy() && self.eval.is_none() => Some((
                "loop.star.plateau.measure",
                "loop.star.plateau.measure = \"accuracy\" needs held-out questions, and there is no [eval] section",
                "add [eval], or use measure = \"coverage\"",
            )),
            _ => None,
        }
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
