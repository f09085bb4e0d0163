//! A recipe's `[reward]` table, built: every reward with its weight, checked and asked together.

mod asked;
mod machine;
mod placed;
mod wanted;
mod weighted;

use super::{Embedded, Models, Registry};
use crate::data::Example;
use crate::nearest::{list, nearest};
use crate::rationale::Format;
use crate::rollout::Group;
use crate::section::{Misfit, join};
use crate::{Error, Result};
pub use placed::OwnModel;
pub use wanted::NamedModel;
use weighted::Weighted;

/// The rewards of a recipe with their weights: its `[reward]` table, built; or what it measures by, `[eval.measures]`.
pub struct Rewards {
    weighted: Vec<Weighted>,
    /// The section that they are written in.
    section: &'static str,
}

/// Where what is learned from stands.
const LEARNED: &str = "reward";
/// Where what is only measured stands.
const MEASURED: &str = "eval.measures";

impl Rewards {
    /// Builds every `[reward.NAME]` of `table`, in the recipe's order. Of its keys `weight` (default 1.0), `kind`
    /// (default NAME: under which name the reward is registered, so that one reward can be used twice), `limit_s` (seconds
    /// that scoring a group should take; longer ones are counted) and `device` (where its own models lie) are taken out, the rest is the reward's own.
    ///
    /// ```
    /// use rationale::{Registry, rationale::Format, reward::Rewards};
    /// let table = toml::from_str("[answer]\nweight = 2.0\n[lenght]\nmax_tokens = 100").unwrap();
    /// let error = Rewards::build(&table, &Registry::default(), &Format::default()).err().unwrap().to_string();
    /// assert!(error.contains("[reward.lenght]: no such reward") && error.ends_with("did you mean `length`?"));
    /// ```
    pub fn build(table: &toml::Table, registry: &Registry, format: &Format) -> Result<Self> {
        Self::or_error(LEARNED, table, Self::try_build(table, registry, format))
    }

    /// The same of `[eval.measures]`: the tables are those of `[reward]`, and nothing is learned from their scores.
    pub fn measures(table: &toml::Table, registry: &Registry, format: &Format) -> Result<Self> {
        Self::or_error(MEASURED, table, Self::try_measures(table, registry, format))
    }

    fn or_error(
        section: &str,
        table: &toml::Table,
        built: std::result::Result<Self, Vec<Misfit>>,
    ) -> Result<Self> {
        built.map_err(|misfits| {
            let lines: Vec<String> = misfits.iter().map(|misfit| sentence(section, table, misfit)).collect();
            Error::Recipe(lines.join("\n  "))
        })
    }

    /// [`build`](Self::build) that says all that is wrong, with keys relative to `[reward]`.
    pub fn try_build(
        table: &toml::Table,
        registry: &Registry,
        format: &Format,
    ) -> std::result::Result<Self, Vec<Misfit>> {
        Self::try_build_in(LEARNED, table, registry, format)
    }

    /// [`measures`](Self::measures) that says all that is wrong, with keys relative to `[eval.measures]`.
    pub fn try_measures(
        table: &toml::Table,
        registry: &Registry,
        format: &Format,
    ) -> std::result::Result<Self, Vec<Misfit>> {
        Self::try_build_in(MEASURED, table, registry, format)
    }

    fn try_build_in(
        section: &'static str,
        table: &toml::Table,
        registry: &Registry,
        format: &Format,
    ) -> std::result::Result<Self, Vec<Misfit>> {
        let (mut weighted, mut misfits) = (Vec::with_capacity(table.len()), Vec::new());
        for (name, written) in table {
            match Weighted::build((section, name), written, registry, format) {
                Ok(built) => weighted.push(built),
                Err(found) => misfits.extend(found.into_iter().map(|misfit| misfit.under(name))),
            }
        }
        let rewards = Self { weighted, section };
        misfits.extend(rewards.check_order(table));
        if misfits.is_empty() { Ok(rewards) } else { Err(misfits) }
    }

    /// A reward whose score another one reads has to be there, and scored before.
    fn check_order(&self, table: &toml::Table) -> Vec<Misfit> {
        let (mut misfits, section) = (Vec::new(), self.section);
        for (at, reader) in self.weighted.iter().enumerate() {
            for (key, name) in reader.reward.wants().rewards {
                let later = |(place, read): (usize, &Weighted)| {
                    read.name == name && read.reward.depends_on_others() && place >= at
                };
                let (message, remedy) = if !table.contains_key(&name) {
                    let others = || table.keys().map(String::as_str).filter(|other| *other != reader.name);
                    let known = list(others());
                    let meant = nearest(&name, others());
                    (
                        format!("there is no [{section}.{name}]; known: {known}"),
                        meant.map_or(String::new(), |meant| format!("did you mean `{meant}`?")),
                    )
                } else if self.weighted.iter().enumerate().any(later) {
                    let remedy =
                        format!("put [{section}.{name}] first, or name a reward that waits for no other");
                    (format!("[{section}.{name}] is scored after it"), remedy)
                } else {
                    continue;
                };
                misfits.push(Misfit::new(key, message, remedy).under(&reader.name));
            }
        }
        misfits
    }

    /// Keys that are without effect beside others of their reward, by their paths from [`section`](Self::section), each with why.
    pub fn idle(&self) -> Vec<(String, &'static str)> {
        let of = |weighted: &Weighted| {
            let idle = weighted.reward.idle().into_iter();
            idle.map(|(key, why)| (join(&weighted.name, key), why)).collect::<Vec<_>>()
        };
        self.weighted.iter().flat_map(of).collect()
    }

    /// What the rewards need of rows and these lack, a misfit for each need: how many rows, and the first three by their ids. Keys
    /// are relative to [`section`](Self::section).
    pub fn check_rows<'a>(&self, rows: impl Iterator<Item = &'a Example> + Clone) -> Vec<Misfit> {
        let mut misfits: Vec<Misfit> = Vec::new();
        for weighted in &self.weighted {
            let lacking = weighted.reward.wants().check_rows(rows.clone());
            let named = lacking.into_iter().map(|misfit| Misfit {
                message: format!("[{}.{}] {}", self.section, weighted.name, misfit.message),
                ..misfit.under(&weighted.name)
            });
            for misfit in named {
                // Several levels may compare with one column.
                if !misfits.contains(&misfit) {
                    misfits.push(misfit);
                }
            }
        }
        misfits
    }

    /// The rewards that read what an environment said of episodes, by name.
    pub fn of_episodes(&self) -> impl Iterator<Item = &str> {
        let reads = |weighted: &&Weighted| weighted.reward.wants().episodes;
        self.weighted.iter().filter(reads).map(|weighted| weighted.name.as_str())
    }

    /// Scores every rollout by every reward: fills its `scores`, and its `reward` with Σ weight · score. Rewards that depend on
    /// others come last; independent ones score in threads of their own, while those that ask a model take their turns here. What
    /// comes out is the same. `models` is what they may ask, [`Models::none`] where all of them read texts alone.
    pub fn score(&mut self, groups: &mut [Group], models: &Models) -> Result<()> {
        self.score_all(groups, models, true)
    }

    /// [`score`](Self::score) for rollouts of which only the `reward` is of interest: what has no weight is not asked, unless some
    /// reward depends on others.
    pub fn score_weighted(&mut self, groups: &mut [Group], models: &Models) -> Result<()> {
        let depended_on = self.weighted.iter().any(|weighted| weighted.reward.depends_on_others());
        self.score_all(groups, models, depended_on)
    }

    /// [`score`](Self::score) for groups that are still to be sampled: `sample` gives each away as soon as it is whole, in order,
    /// and independent rewards score it while the next ones are sampled.
    pub fn score_sampling(
        &mut self,
        models: &Models,
        sample: impl FnOnce(&mut dyn FnMut(&Group)) -> Result<Vec<Group>>,
    ) -> Result<Vec<Group>> {
        self.score_while(models, true, sample)
    }

    /// `weightless`: those without weight too.
    fn score_all(&mut self, groups: &mut [Group], models: &Models, weightless: bool) -> Result<()> {
        for rollout in groups.iter_mut().flat_map(|group| &mut group.rollouts) {
            rollout.scores.clear();
            rollout.reward = 0.0;
        }
        let all_at_once = |give: &mut dyn FnMut(&Group)| {
            groups.iter().for_each(give);
            Ok(groups)
        };
        self.score_while(models, weightless, all_at_once).map(drop)
    }

    fn score_while<G: AsMut<[Group]>>(
        &mut self,
        models: &Models,
        weightless: bool,
        gather: impl FnOnce(&mut dyn FnMut(&Group)) -> Result<G>,
    ) -> Result<G> {
        let embedded = Embedded::default();
        let models = &models.remembering(&embedded);
        let asked = self.weighted.iter_mut().filter(|weighted| weightless || weighted.weight != 0.0);
        let (mut last, first): (Vec<_>, Vec<_>) =
            asked.partition(|weighted| weighted.reward.depends_on_others());
        let mut gathered = weighted::score_while(first, models, gather)?;
        for group in gathered.as_mut() {
            for weighted in &mut last {
                let scores = weighted.score(group, models)?;
                weighted.credit(group, scores);
            }
        }
        Ok(gathered)
    }

    /// The rewards' statistics besides scores since this was last asked for, as `NAME/FIGURE`.
    pub fn figures(&mut self) -> Vec<(String, f64)> {
        let named = |weighted: &mut Weighted| {
            let figures = weighted.figures().into_iter();
            figures.map(|(figure, value)| (format!("{}/{figure}", weighted.name), value)).collect::<Vec<_>>()
        };
        self.weighted.iter_mut().flat_map(named).collect()
    }

    /// No rewards.
    pub fn none() -> Self {
        Self { weighted: vec![], section: LEARNED }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.weighted.is_empty()
    }

    /// The section that they are written in: `reward` or `eval.measures`.
    pub fn section(&self) -> &'static str {
        self.section
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

/// A misfit of `[reward]` or another section, which is `table`, as a sentence: `[reward.NAME]: key = value: message; remedy`. What the
/// message says itself is left out.
fn sentence(section: &str, table: &toml::Table, misfit: &Misfit) -> String {
    let (name, key) = misfit.key.split_once('.').unwrap_or((&misfit.key, ""));
    let message = &misfit.message;
    let value = key.split('.').try_fold(table.get(name), |value, key| Some(value?.as_table()?.get(key)));
    let last = key.rsplit('.').next().unwrap_or(key);
    let key = match value.flatten() {
        _ if key.is_empty() || message.starts_with(key) || message.contains(&format!("`{last}`")) => {
            String::new()
        }
        Some(value) if !value.is_table() && !message.starts_with("invalid ") => format!("{key} = {value}: "),
        _ => format!("{key}: "),
    };
    format!("[{section}.{name}]: {key}{}", misfit.sentence())
}

#[cfg(test)]
mod tests {
    use super::super::tests::{group, rewards, score, scores};
    use super::*;
    use crate::reward::registry::NoKeys;
    use crate::rollout::Score;

    #[test]
    fn the_reward_is_the_weighted_sum_of_scores() {
        let registry = Registry::default()
            .reward_fn("short", |_example, rollout| -(rollout.tokens.len() as f64))
            .group_fn("place", |group| (0..group.rollouts.len()).map(|i| i as f64).collect());
        let mut rewards =
            rewards(&registry, "[short]\nweight = 0.5\n[place]\n[answer]\nweight = 10").unwrap();
        let mut group = group(Some("7"), &[], &["#### 7", "####  8"]);
        score(&mut rewards, &mut group).unwrap();
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
        rewards.score_weighted(std::slice::from_mut(&mut group), &Models::none()).unwrap();
        assert_eq!((group.rollouts[0].reward, group.rollouts[0].scores.len()), (1.0, 1));
        assert!(score(&mut rewards, &mut group).unwrap_err().to_string().contains("asked"));
    }

    #[test]
    fn a_failure_is_an_error_that_names_reward_example_and_cause() {
        let registry = Registry::default()
            .reward_fn("nan", |_, _| f64::NAN)
            .group_fn("huge", |_| vec![1.0, -1e200])
            .reward_fn("panics", |_, _| panic!("no {}", "luck"))
            .group_fn("few", |_| vec![1.0])
            .reward("fails", |_: NoKeys| {
                Ok(|_: &Group| -> anyhow::Result<Vec<Score>> {
                    Err(anyhow::anyhow!("connection refused").context("asking the judge"))
                })
            });
        for (name, cause) in [
            ("nan", "its score of rollout 0 is NaN"),
            ("huge", "its score of rollout 1 is -1e200; beyond 1e15"),
            ("panics", "it panicked: no luck"),
            ("few", "1 scores for 2 rollouts"),
            ("fails", "asking the judge: connection refused"),
        ] {
            let mut rewards = rewards(&registry, &format!("[{name}]")).unwrap();
            let error = score(&mut rewards, &mut group(None, &[], &["a", "b"])).unwrap_err();
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
        let known = "recipe: [reward.lenght]: no such reward; known: answer, belief, calc, coherence, command, copying, ";
        assert!(unknown.starts_with(known) && unknown.ends_with("; did you mean `length`?"), "{unknown}");
        let own = message("[zzzzzzzz]");
        assert!(!own.contains("did you mean") && own.ends_with("run the recipe with that one"), "{own}");
        assert!(message("[answer]\nweight = nan").contains("[reward.answer]: weight = nan"));
        assert!(message("[answer]\nweight = \"1\"").contains("weight = \"1\": must be a finite number"));
        let key = message("[answer]\ncorect = 1.0");
        assert!(
            key.contains("[reward.answer]: unknown key `corect`; did you mean `correct`? known: "),
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
