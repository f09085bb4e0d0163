//! What scores completions: the [`Reward`] trait, the registry of rewards by name, and the recipe's weighted set.
//!
//! [tools]: mod@crate::rollout::tools
//!
#![doc = include_str!("../../docs/custom-rewards.md")]

use crate::data::Example;
use crate::rationale::Format;
use crate::rollout::{Group, Rollout, Score};
use crate::section::Idle;
use anyhow::Context;

pub mod answer;
pub mod belief;
pub mod calc;
pub mod certainty;
pub mod coherence;
pub mod column;
pub mod command;
pub mod copying;
pub mod critic;
pub mod environment;
pub mod eraser;
pub mod execute;
pub mod format;
pub mod guide;
pub mod hierarchical;
pub mod instruction;
pub mod internal_consistency;
pub mod judge;
pub mod leak;
pub mod length;
pub mod likelihood;
mod models;
mod part;
pub mod perplexity;
pub mod planted;
pub mod process;
pub mod readability;
pub mod reader;
mod registry;
pub mod repetition;
mod right;
pub mod roscoe;
pub mod rouge;
mod scoring;
pub mod similarity;
mod table;
pub mod trajectory;
mod wants;
pub mod wikiwhy;

pub use crate::rationale::equality::choice;
pub(crate) use crate::rationale::equality::plain;
pub use answer::{agrees, correct};
pub use models::Models;
use models::{Embedded, Place};
pub use part::Part;
use part::chains;
pub use process::Aggregate;
pub use registry::Registry;
pub use right::Right;
pub use scoring::Scoring;
pub use table::{NamedModel, OwnModel, Rewards};
pub use wants::{Holds, MachineWant, OfRow, RowWant, TemplateWant, Wants};

/// Scores the rollouts of a group.
pub trait Reward: Send {
    /// One finite score a rollout, in order. `models` has what may be asked. An error, a panic, a NaN or a missing score stops the
    /// run: a failure is never turned into a number.
    fn score(&mut self, group: &Group, models: &Models) -> anyhow::Result<Vec<Score>>;

    /// What it needs of every row, of other rewards and of the machine: looked at when a run opens, so that what lacks is
    /// said before anything trains.
    fn wants(&self) -> Wants {
        Wants::default()
    }

    /// Those of its section's keys that are without effect beside the others.
    fn idle(&self) -> Vec<Idle> {
        vec![]
    }

    /// Whether it reads other rewards' scores: it is then asked after all that do not, and finds their scores in each
    /// rollout's `scores` and their weighted sum in its `reward`.
    fn depends_on_others(&self) -> bool {
        false
    }

    /// Whether it may be asked in a thread of its own while other rewards score: it neither reads what others gave nor
    /// asks the policy (of `models` it has the tokenizer), and the order of groups is all that its scores may depend on.
    /// Programs, endpoints and functions are.
    fn independent(&self) -> bool {
        false
    }

    /// Itself, where it is independent and several threads may ask it at once: groups then need not wait for each other.
    fn shared(&self) -> Option<&dyn SharedReward> {
        None
    }

    /// Its statistics besides scores, by name, since this was last asked for: shares of gates, times, costs.
    fn figures(&mut self) -> Vec<(String, f64)> {
        vec![]
    }
}

/// A reward whose scores of a group depend on nothing but the group, and which spends its time waiting: for a server, for example.
pub trait SharedReward: Sync {
    /// As [`Reward::score`].
    fn score(&self, group: &Group, models: &Models) -> anyhow::Result<Vec<Score>>;

    /// Groups that it is asked about together, at most.
    fn at_once(&self) -> usize;
}

/// A function of a group is a reward.
impl<F: FnMut(&Group) -> anyhow::Result<Vec<Score>> + Send> Reward for F {
    fn score(&mut self, group: &Group, _models: &Models) -> anyhow::Result<Vec<Score>> {
        self(group)
    }

    fn independent(&self) -> bool {
        true
    }
}

impl Default for Registry {
    fn default() -> Self {
        Self::empty()
            .reward("answer", answer::Answer::checked)
            .reward("calc", calc::Calc::checked)
            .reward("coherence", coherence::Coherence::checked)
            .reward("command", command::Command::checked)
            .reward("copying", copying::Copying::checked)
            .reward("entropy", certainty::Certainty::entropy)
            .reward("environment", environment::Environment::checked)
            .reward("execute", execute::Execute::checked)
            .reward("hierarchical", hierarchical::Hierarchical::checked)
            .reward("instruction", instruction::Instruction::checked)
            .reward("leak", leak::Leak::checked)
            .reward("length", length::Length::checked)
            .reward("likelihood", likelihood::Likelihood::checked)
            .reward("perplexity", perplexity::Perplexity::checked)
            .reward("planted", planted::Planted::checked)
            .reward("readability", readability::Readability::checked)
            .reward("repetition", repetition::Repetition::checked)
            .reward("rouge", rouge::Rouge::checked)
            .reward("similarity", similarity::Similarity::checked)
            .reward("trajectory", trajectory::Trajectory::checked)
            .reward("self_certainty", certainty::Certainty::certainty)
            .with_format("belief", belief::Belief::checked)
            .with_format("critic", critic::Critic::checked)
            .with_format("eraser", eraser::Eraser::checked)
            .with_format("format", format::Config::build)
            .with_format("guide", guide::Guide::checked)
            .with_format("internal_consistency", internal_consistency::InternalConsistency::checked)
            .with_format("judge", judge::Judge::checked)
            .with_format("process", process::Process::build)
            .with_format("reader", reader::Reader::checked)
            .with_format("roscoe", roscoe::Roscoe::checked)
            .with_format("wikiwhy", wikiwhy::Wikiwhy::checked)
            .following("belief", belief::Belief::follow)
            .following("hierarchical", hierarchical::Hierarchical::follow)
            .following("readability", readability::Readability::follow)
    }
}

/// What stands between a rationale and an answer: what the section says, or what [data.format] begins an answer with.
fn cue(own: Option<&str>, format: &Format) -> anyhow::Result<String> {
    own.map(str::to_owned).or_else(|| format.cue()).context(
        "cue is missing: [data.format] has no answer form that begins with a text; name what stands before an answer",
    )
}

/// A reward from a function of one rollout that wants something.
fn wanting<F: Fn(&Example, &Rollout) -> anyhow::Result<f64> + Send>(
    wants: Wants,
    function: F,
) -> impl Reward {
    Wanting { wants, idle: vec![], reward: of_rollouts(function) }
}

struct Wanting<R> {
    wants: Wants,
    idle: Vec<Idle>,
    reward: R,
}

impl<R: Reward> Reward for Wanting<R> {
    fn score(&mut self, group: &Group, models: &Models) -> anyhow::Result<Vec<Score>> {
        self.reward.score(group, models)
    }

    fn wants(&self) -> Wants {
        self.wants.clone()
    }

    fn idle(&self) -> Vec<Idle> {
        self.idle.clone()
    }

    fn independent(&self) -> bool {
        self.reward.independent()
    }
}

/// A reward from a function of one rollout.
fn of_rollouts<F: Fn(&Example, &Rollout) -> anyhow::Result<f64> + Send>(function: F) -> impl Reward {
    move |group: &Group| {
        let score = |rollout| function(&group.example, rollout).map(Score::from);
        group.rollouts.iter().map(score).collect::<anyhow::Result<Vec<_>>>()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use crate::Result;
    use crate::engine::StopReason;
    use std::collections::BTreeMap;
    use std::sync::Arc;

    /// A group of completions of as many tokens as they have characters.
    pub(crate) fn group(answer: Option<&str>, choices: &[&str], texts: &[&str]) -> Group {
        let example = Example {
            answer: answer.map(str::to_owned),
            choices: choices.iter().map(|choice| (*choice).to_owned()).collect(),
            ..Example::text("row:7", "?")
        };
        let rollout = |text: &&str| Rollout {
            tokens: vec![1; text.chars().count()],
            text: (*text).to_owned(),
            logprobs: vec![],
            given: vec![],
            episode: None,
            stop: StopReason::Length,
            rationale: Format::default().parse(text),
            scores: BTreeMap::new(),
            reward: f64::NAN,
            cuts: vec![],
            branched_at: None,
            forks: vec![],
        };
        Group {
            example: Arc::new(example),
            prompt: vec![],
            rollouts: texts.iter().map(rollout).collect(),
            place: 0,
        }
    }

    pub(crate) fn rewards(registry: &Registry, recipe: &str) -> Result<Rewards> {
        Rewards::build(&toml::from_str(recipe).unwrap(), registry, &Format::default())
    }

    /// Scores a group by rewards that read texts alone.
    pub(crate) fn score(rewards: &mut Rewards, group: &mut Group) -> Result<()> {
        rewards.score(std::slice::from_mut(group), &Models::none())
    }

    /// The scores of one built-in reward, or what it says is wrong.
    pub(crate) fn scores(recipe: &str, mut group: Group) -> std::result::Result<Vec<f64>, String> {
        rewards(&Registry::default(), recipe)
            .and_then(|mut rewards| score(&mut rewards, &mut group))
            .map_err(|error| error.to_string())?;
        Ok(group.rollouts.iter().map(|rollout| rollout.reward).collect())
    }
}
