//! What a completion is worth: the [`Reward`] trait, the registry of rewards by name, and the recipe's weighted set.
//!
#![doc = include_str!("../../docs/custom-rewards.md")]

use crate::data::{Example, Hub, Tokenizer};
use crate::policy::Policy;
use crate::rationale::Format;
use crate::rollout::{Group, Rollout, Score};
use crate::{Error, Result};

pub mod answer;
pub mod certainty;
pub mod column;
pub mod command;
pub mod copying;
pub mod critic;
pub mod format;
pub mod guide;
pub mod hierarchical;
pub mod judge;
pub mod leak;
pub mod length;
pub mod likelihood;
mod part;
pub mod planted;
pub mod process;
pub mod readability;
pub mod reader;
mod registry;
pub mod repetition;
mod right;
pub mod rouge;
mod scoring;
mod weighted;

pub(crate) use answer::plain;
pub use answer::{agrees, correct, gold};
pub use part::Part;
pub use process::Aggregate;
pub use registry::Registry;
pub use right::Right;
pub use scoring::Scoring;
use weighted::{Beside, Weighted};

/// Scores the rollouts of a group.
pub trait Reward: Send {
    /// One finite score a rollout, in order. An error, a panic, a NaN or a missing score stops the run: a failure
    /// is never turned into a number.
    fn score(&mut self, group: &Group) -> anyhow::Result<Vec<Score>>;

    /// As [`score`](Self::score), for a reward that asks a model.
    fn score_with(&mut self, group: &Group, models: &Models) -> anyhow::Result<Vec<Score>> {
        self.score_apart(group, &models.policy.tokenizer)
    }

    /// As [`score`](Self::score), for a reward that stands [apart](Self::apart) and says something of the policy's tokens.
    fn score_apart(&mut self, group: &Group, _tokenizer: &Tokenizer) -> anyhow::Result<Vec<Score>> {
        self.score(group)
    }

    /// Whether it reads what others gave: it is then asked after all that do not, and finds their scores in each
    /// rollout's `scores` and their weighted sum in its `reward`.
    fn looks_at_others(&self) -> bool {
        false
    }

    /// Whether it may be asked in a thread of its own while other rewards score: it neither looks at what others gave nor
    /// asks the policy, and the order of groups is all that its scores may depend on. Programs, endpoints and functions are.
    fn apart(&self) -> bool {
        false
    }

    /// What it has to tell besides scores, by name, since it was last asked: shares of gates, times, costs.
    fn figures(&mut self) -> Vec<(String, f64)> {
        vec![]
    }
}

/// What a reward may ask.
#[derive(Debug, Clone, Copy)]
pub struct Models<'a> {
    /// The policy as it is now.
    pub policy: &'a Policy,
    /// Tokens that go through a model together.
    pub budget: usize,
}

impl Models<'_> {
    /// Loads a model that generates beside the policy, of its number type and on its device: a folder or a hub id, for `slots`
    /// sequences at once.
    fn open(&self, model: &str, slots: usize) -> Result<Policy> {
        let policy = &self.policy.model;
        Policy::load(&Hub::from_env().model(model)?, policy.kind(), policy.device(), slots)
    }
}

/// A function of a group is a reward.
impl<F: FnMut(&Group) -> anyhow::Result<Vec<Score>> + Send> Reward for F {
    fn score(&mut self, group: &Group) -> anyhow::Result<Vec<Score>> {
        self(group)
    }

    fn apart(&self) -> bool {
        true
    }
}

/// The rewards of a recipe with their weights: its `[reward]` table, built.
pub struct Rewards {
    weighted: Vec<Weighted>,
}

impl Default for Registry {
    fn default() -> Self {
        Self::empty()
            .reward("answer", answer::Answer::checked)
            .reward("command", command::Command::checked)
            .reward("copying", copying::Copying::checked)
            .reward("entropy", certainty::Certainty::entropy)
            .reward("hierarchical", hierarchical::Hierarchical::checked)
            .reward("leak", leak::Leak::checked)
            .reward("length", length::Length::checked)
            .reward("likelihood", likelihood::Likelihood::checked)
            .reward("planted", planted::Planted::checked)
            .reward("readability", readability::Readability::checked)
            .reward("repetition", repetition::Repetition::checked)
            .reward("rouge", rouge::Rouge::checked)
            .reward("self_certainty", certainty::Certainty::certainty)
            .with_format("critic", critic::Critic::checked)
            .with_format("format", format::Config::build)
            .with_format("guide", guide::Guide::checked)
            .with_format("judge", judge::Judge::checked)
            .with_format("process", process::Process::build)
            .with_format("reader", reader::Reader::checked)
    }
}

impl Rewards {
    /// Builds every `[reward.NAME]` of `table`, in the recipe's order. Of its keys `weight` (default 1.0), `kind`
    /// (default NAME: under which name the reward is registered, so that one reward can be used twice) and `limit_s` (seconds
    /// that scoring a group should take; longer ones are counted) are taken out, the rest is the reward's own.
    ///
    /// ```
    /// use rationale::{Registry, rationale::Format, reward::Rewards};
    /// let table = toml::from_str("[answer]\nweight = 2.0\n[lenght]\nmax_tokens = 100").unwrap();
    /// let error = Rewards::build(&table, &Registry::default(), &Format::default()).err().unwrap().to_string();
    /// assert!(error.contains("[reward.lenght]: no such reward") && error.ends_with("did you mean `length`?"));
    /// ```
    pub fn build(table: &toml::Table, registry: &Registry, format: &Format) -> Result<Self> {
        let build = |(name, section): (&String, &toml::Value)| {
            Weighted::build(name, section, registry, format)
                .map_err(|problem| Error::Recipe(format!("[reward.{name}]: {problem}")))
        };
        Ok(Self { weighted: table.iter().map(build).collect::<Result<_>>()? })
    }

    /// Scores every rollout by every reward: fills its `scores`, and its `reward` with Σ weight · score. Rewards that
    /// look at others come last.
    pub fn score(&mut self, group: &mut Group) -> Result<()> {
        self.score_by(std::slice::from_mut(group), None, true)
    }

    /// [`score`](Self::score) with the models that rewards may ask.
    pub fn score_with(&mut self, group: &mut Group, models: &Models) -> Result<()> {
        self.score_by(std::slice::from_mut(group), Some(models), true)
    }

    /// [`score_with`](Self::score_with) for the groups of a step. Rewards that stand apart score them in threads of their own,
    /// while those that ask a model take their turns here; what comes out is the same.
    pub fn score_all(&mut self, groups: &mut [Group], models: &Models) -> Result<()> {
        self.score_by(groups, Some(models), true)
    }

    /// [`score_all`](Self::score_all) for rollouts of which only the `reward` is of interest: what has no weight is not asked,
    /// unless some reward looks at others.
    pub fn score_counting(&mut self, groups: &mut [Group], models: &Models) -> Result<()> {
        let looked_at = self.weighted.iter().any(|weighted| weighted.reward.looks_at_others());
        self.score_by(groups, Some(models), looked_at)
    }

    /// [`score_all`](Self::score_all) for groups that are still to be sampled: `sample` gives each away as soon as it is
    /// whole, in order, and rewards that stand apart score it while the next ones are sampled.
    pub fn score_sampling(
        &mut self,
        models: &Models,
        sample: impl FnOnce(&mut dyn FnMut(&Group)) -> Result<Vec<Group>>,
    ) -> Result<Vec<Group>> {
        self.score_while(Some(models), true, sample)
    }

    /// `idle`: those without weight too.
    fn score_by(&mut self, groups: &mut [Group], models: Option<&Models>, idle: bool) -> Result<()> {
        for rollout in groups.iter_mut().flat_map(|group| &mut group.rollouts) {
            rollout.scores.clear();
            rollout.reward = 0.0;
        }
        let all_at_once = |give: &mut dyn FnMut(&Group)| {
            groups.iter().for_each(give);
            Ok(groups)
        };
        self.score_while(models, idle, all_at_once).map(drop)
    }

    fn score_while<G: AsMut<[Group]>>(
        &mut self,
        models: Option<&Models>,
        idle: bool,
        gather: impl FnOnce(&mut dyn FnMut(&Group)) -> Result<G>,
    ) -> Result<G> {
        let asked = self.weighted.iter_mut().filter(|weighted| idle || weighted.weight != 0.0);
        let (mut last, first): (Vec<_>, Vec<_>) =
            asked.partition(|weighted| weighted.reward.looks_at_others());
        let mut gathered = weighted::score_while(first, models, gather)?;
        for group in gathered.as_mut() {
            for weighted in &mut last {
                let scores = weighted.score(group, Beside::of(models))?;
                weighted.credit(group, scores);
            }
        }
        Ok(gathered)
    }

    /// What the rewards have to tell besides scores since this was last asked, as `NAME/FIGURE`.
    pub fn figures(&mut self) -> Vec<(String, f64)> {
        let named = |weighted: &mut Weighted| {
            let figures = weighted.figures().into_iter();
            figures.map(|(figure, value)| (format!("{}/{figure}", weighted.name), value)).collect::<Vec<_>>()
        };
        self.weighted.iter_mut().flat_map(named).collect()
    }

    /// Names and weights, in the recipe's order.
    pub fn weights(&self) -> impl Iterator<Item = (&str, f64)> {
        self.weighted.iter().map(|weighted| (weighted.name.as_str(), weighted.weight))
    }
}

impl std::fmt::Debug for Rewards {
    fn fmt(&self, formatter: &mut std::fmt::Formatter) -> std::fmt::Result {
        formatter.debug_map().entries(self.weights()).finish()
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
            stop: StopReason::Length,
            rationale: Format::default().parse(text),
            scores: BTreeMap::new(),
            reward: f64::NAN,
            cuts: vec![],
            forks: vec![],
        };
        Group { example: Arc::new(example), prompt: vec![], rollouts: texts.iter().map(rollout).collect() }
    }

    pub(crate) fn rewards(registry: &Registry, recipe: &str) -> Result<Rewards> {
        Rewards::build(&toml::from_str(recipe).unwrap(), registry, &Format::default())
    }

    /// The scores of one built-in reward, or what it says is wrong.
    pub(crate) fn scores(recipe: &str, mut group: Group) -> std::result::Result<Vec<f64>, String> {
        rewards(&Registry::default(), recipe)
            .and_then(|mut rewards| rewards.score(&mut group))
            .map_err(|error| error.to_string())?;
        Ok(group.rollouts.iter().map(|rollout| rollout.reward).collect())
    }

    #[test]
    fn the_reward_is_the_weighted_sum_of_scores() {
        let registry = Registry::default()
            .reward_fn("short", |_example, rollout| -(rollout.tokens.len() as f64))
            .group_fn("place", |group| (0..group.rollouts.len()).map(|i| i as f64).collect());
        let mut rewards =
            rewards(&registry, "[short]\nweight = 0.5\n[place]\n[answer]\nweight = 10").unwrap();
        let mut group = group(Some("7"), &[], &["#### 7", "####  8"]);
        rewards.score(&mut group).unwrap();
        // −6/2 + 0 + 10 and −7/2 + 1 + 0.
        assert_eq!([group.rollouts[0].reward, group.rollouts[1].reward], [7.0, -2.5]);
        assert_eq!(group.rollouts[1].scores["short"].value, -7.0);
        assert_eq!(rewards.weights().collect::<Vec<_>>(), [("short", 0.5), ("place", 1.0), ("answer", 10.0)]);
    }

    #[test]
    fn what_has_no_weight_need_not_be_asked() {
        let registry = Registry::default().reward_fn("panics", |_, _| panic!("asked"));
        let mut rewards = rewards(&registry, "[panics]\nweight = 0.0\n[answer]").unwrap();
        let mut group = group(Some("7"), &[], &["#### 7"]);
        rewards.score_by(std::slice::from_mut(&mut group), None, false).unwrap();
        assert_eq!((group.rollouts[0].reward, group.rollouts[0].scores.len()), (1.0, 1));
        assert!(rewards.score(&mut group).unwrap_err().to_string().contains("asked"));
    }

    #[test]
    fn a_failure_is_an_error_that_names_reward_example_and_cause() {
        let registry = Registry::default()
            .reward_fn("nan", |_, _| f64::NAN)
            .reward_fn("panics", |_, _| panic!("no {}", "luck"))
            .group_fn("few", |_| vec![1.0])
            .reward("fails", |_: toml::Table| {
                Ok(|_: &Group| -> anyhow::Result<Vec<Score>> {
                    Err(anyhow::anyhow!("connection refused").context("asking the judge"))
                })
            });
        for (name, cause) in [
            ("nan", "its score of rollout 0 is NaN"),
            ("panics", "it panicked: no luck"),
            ("few", "1 scores for 2 rollouts"),
            ("fails", "asking the judge: connection refused"),
        ] {
            let error =
                rewards(&registry, &format!("[{name}]")).unwrap().score(&mut group(None, &[], &["a", "b"]));
            let error = error.unwrap_err();
            assert!(matches!(error, Error::Reward(_)));
            let text = error.to_string();
            assert!(
                text.contains(&format!("[reward.{name}] failed on example row:7: ")) && text.contains(cause),
                "{text}"
            );
        }
    }

    #[test]
    fn the_table_is_checked() {
        let message = |recipe: &str| rewards(&Registry::default(), recipe).unwrap_err().to_string();
        let unknown = message("[lenght]");
        let known = "recipe: [reward.lenght]: no such reward; known: answer, command, copying, ";
        assert!(unknown.starts_with(known) && unknown.ends_with("; did you mean `length`?"), "{unknown}");
        assert!(!message("[zzzzzzzz]").contains("did you mean"));
        assert!(message("[answer]\nweight = nan").contains("[reward.answer]: weight = nan"));
        assert!(message("[answer]\nweight = \"1\"").contains("weight = \"1\": must be a finite number"));
        let key = message("[answer]\ncorect = 1.0");
        assert!(
            key.contains("[reward.answer]: unknown field `corect`")
                && key.contains("did you mean `correct`?"),
            "{key}"
        );
        let value = message("[answer]\ncorrect = \"yes\"");
        assert!(
            value.contains("[reward.answer]: correct: invalid type: string \"yes\", expected f64"),
            "{value}"
        );
        assert!(
            rewards(&Registry::default().reward_fn("x", |_, _| 0.0), "[x]\ny = 1")
                .unwrap_err()
                .to_string()
                .contains("y")
        );
        assert!(
            Rewards::build(&toml::from_str("answer = 1").unwrap(), &Registry::default(), &Format::default())
                .is_err()
        );
    }

    #[test]
    fn one_kind_may_be_used_under_several_names() {
        let recipe =
            "[right]\nkind = \"answer\"\n[numeric]\nkind = \"answer\"\nmatch = \"exact\"\nweight = 3";
        // "7.0" is 7 as a number and is not as text.
        assert_eq!(scores(recipe, group(Some("7"), &[], &["#### 7.0", "#### 7"])), Ok(vec![1.0, 4.0]));
        assert!(
            scores("[x]\nkind = \"y\"", group(None, &[], &[]))
                .unwrap_err()
                .contains("[reward.x]: kind = \"y\": no such reward; known: ")
        );
    }
}
