//! One reward of a recipe with its weight: how it is built, asked, timed, and asked together with others.

use super::asked::{LARGEST, checked, together};
use super::placed::models;
use crate::data::Example;
use crate::devices::unknown;
use crate::rationale::Format;
use crate::reward::{Models, Place, Registry, Reward};
use crate::rollout::{Group, Score};
use crate::section::Misfit;
use crate::{Error, Result};
use crossbeam::channel::unbounded;
use crossbeam::thread;
use std::borrow::Borrow;
use std::sync::Arc;
use std::time::Instant;

/// The scores of groups up to the first failure, and that failure.
type PartialScores = (Vec<Vec<Score>>, Option<Error>);

/// A reward under its name in the recipe.
pub(super) struct Weighted {
    pub name: String,
    /// The section that it is written in.
    pub(super) section: &'static str,
    pub weight: f64,
    pub reward: Box<dyn Reward>,
    /// Seconds that scoring a group should take.
    limit: Option<f64>,
    /// Where its own models live, as the recipe has it for this reward alone.
    pub(super) device: Option<String>,
    /// The same on this machine.
    pub(super) place: Place,
    figures: Vec<(String, f64)>,
}

impl Weighted {
    /// Builds `[reward.NAME]`, or NAME of another section, or says all that is wrong there, with keys relative to that table.
    pub fn build(
        (section, name): (&'static str, &str),
        written: &toml::Value,
        registry: &Registry,
        format: &Format,
    ) -> std::result::Result<Self, Vec<Misfit>> {
        let toml::Value::Table(table) = written else {
            let message = format!("must be a section with keys of its own, not `{name} = {written}`");
            return Err(vec![Misfit::new("", message, "")]);
        };
        let (mut own, mut misfits) = (table.clone(), Vec::new());
        let mut refuse =
            |key: &str, wanted: &str| misfits.push(Misfit::new(key, format!("must be {wanted}"), ""));
        let number = |value: &toml::Value| value.as_float().or(value.as_integer().map(|whole| whole as f64));
        let (weight, limit, kind) = (own.remove("weight"), own.remove("limit_s"), own.remove("kind"));
        let device = own.remove("device");
        let usable = |weight: f64| weight.is_finite() && weight.abs() <= LARGEST;
        if weight.as_ref().is_some_and(|value| !number(value).is_some_and(usable)) {
            refuse("weight", &format!("a finite number, of {LARGEST:e} at most"));
        }
        if limit.as_ref().is_some_and(|value| !number(value).is_some_and(|limit| limit > 0.0)) {
            refuse("limit_s", "a number of seconds above 0");
        }
        let device = match &device {
            None => None,
            Some(toml::Value::String(device)) => Some(device.clone()),
            Some(_) => {
                refuse("device", "the name of a device, such as \"cpu\" or \"cuda:1\"");
                None
            }
        };
        let kind = match &kind {
            None => Some(name),
            Some(toml::Value::String(kind)) => Some(kind.as_str()),
            Some(_) => {
                refuse("kind", "the name of a reward");
                None
            }
        };
        misfits.extend(device.as_deref().and_then(|device| unknown("device", device)));
        let named = |kind: &str, misfit: Misfit| match &misfit.key {
            key if !key.is_empty() || kind == name => misfit,
            _ if !registry.names().any(|known| known == kind) => Misfit { key: "kind".into(), ..misfit },
            _ => Misfit { message: format!("kind = \"{kind}\": {}", misfit.message), ..misfit },
        };
        match kind.map(|kind| (kind, registry.build(kind, own, format))) {
            Some((_, Ok(reward))) if device.is_some() && models(&*reward).is_empty() => {
                let remedy = "take device out, or name the model that is to lie there";
                misfits.push(Misfit::new("device", "it loads no model of its own", remedy));
                Err(misfits)
            }
            Some((_, Ok(reward))) if misfits.is_empty() => {
                let (weight, limit) =
                    (weight.as_ref().and_then(number).unwrap_or(1.0), limit.as_ref().and_then(number));
                let (name, place, figures) = (name.to_owned(), Place::default(), vec![]);
                Ok(Self { name, section, weight, reward, limit, device, place, figures })
            }
            Some((kind, Err(found))) => {
                misfits.extend(found.into_iter().map(|misfit| named(kind, misfit)));
                Err(misfits)
            }
            _ => Err(misfits),
        }
    }

    /// The scores of a group, one a rollout and all finite; how long they took is noted.
    pub fn score(&mut self, group: &Group, models: &Models) -> Result<Vec<Score>> {
        let start = Instant::now();
        let models = models.placed(&self.place);
        let scores = checked(group, || self.reward.score(group, &models));
        self.noted(scores, start.elapsed().as_secs_f64(), &group.example)
    }

    /// The scores of an example's group with how long they took, or the failure with whose it is.
    fn noted(
        &mut self,
        scores: anyhow::Result<Vec<Score>>,
        seconds: f64,
        example: &Example,
    ) -> Result<Vec<Score>> {
        let scores = scores.map_err(|error| match error.downcast_ref() {
            // Another rank's failure is no reward's.
            Some(Error::Elsewhere { rank, code, words }) => {
                Error::Elsewhere { rank: *rank, code: *code, words: words.clone() }
            }
            _ => Error::Reward(format!("[{}.{}] failed on {example}: {error:#}", self.section, self.name)),
        })?;
        self.took(seconds, example);
        Ok(scores)
    }

    fn took(&mut self, seconds: f64, example: &Example) {
        if self.reward.independent() || self.limit.is_some() {
            self.figures.push(("seconds".into(), seconds));
        }
        let Some(limit) = self.limit else { return };
        self.figures.push(("over_limit".into(), f64::from(u8::from(seconds > limit))));
        if seconds > limit {
            tracing::warn!(
                "[{}.{}] took {seconds:.1} s for {example}, over limit_s = {limit}",
                self.section,
                self.name
            );
        }
    }

    /// Adds scores to a group.
    pub fn credit(&self, group: &mut Group, scores: Vec<Score>) {
        for (rollout, score) in group.rollouts.iter_mut().zip(scores) {
            rollout.reward += self.weight * score.value;
            rollout.scores.insert(self.name.clone(), score);
        }
    }

    /// Its statistics since this was last asked for.
    pub fn figures(&mut self) -> Vec<(String, f64)> {
        let mut figures = self.reward.figures();
        figures.append(&mut self.figures);
        figures
    }

    /// The scores of all groups, up to the first failure.
    fn score_each<G: Borrow<Group> + Send>(
        &mut self,
        groups: impl IntoIterator<Item = G>,
        models: &Models,
    ) -> PartialScores {
        let mut all = Vec::new();
        if let Some(reward) = self.reward.shared() {
            for (example, seconds, scores) in together(reward, groups, models) {
                match self.noted(scores, seconds, &example) {
                    Ok(scores) => all.push(scores),
                    Err(error) => return (all, Some(error)),
                }
            }
            return (all, None);
        }
        for group in groups {
            match self.score(group.borrow(), models) {
                Ok(scores) => all.push(scores),
                Err(error) => return (all, Some(error)),
            }
        }
        (all, None)
    }
}

/// Scores the groups that `gather` returns by rewards that do not depend on each other, and credits them in the order of the
/// rewards. Independent ones have a thread each, which scores what `gather` gives away before it returns: every
/// group, in order. Of several failures the one is told that comes first, by group and then by reward.
pub(super) fn score_while<G: AsMut<[Group]>>(
    mut weighted: Vec<&mut Weighted>,
    models: &Models,
    gather: impl FnOnce(&mut dyn FnMut(&Group)) -> Result<G>,
) -> Result<G> {
    let tokenizer = models.tokenizer().ok();
    let mut results: Vec<Option<PartialScores>> = weighted.iter().map(|_| None).collect();
    let mut gathered = thread::scope(|scope| {
        let (mut threads, mut senders, mut here) = (Vec::new(), Vec::new(), Vec::new());
        for (at, weighted) in weighted.iter_mut().enumerate() {
            if weighted.reward.independent() {
                let (sender, groups) = unbounded::<Arc<Group>>();
                let own =
                    move |_: &thread::Scope| weighted.score_each(groups, &Models::tokenizing(tokenizer));
                threads.push((at, scope.spawn(own)));
                senders.push(sender);
            } else {
                here.push((at, weighted));
            }
        }
        // Whoever has failed takes no more.
        let mut give = |group: &Group| {
            let shared = (!senders.is_empty()).then(|| Arc::new(group.clone()));
            senders.iter().zip(shared.iter().cycle()).for_each(|(to, group)| drop(to.send(group.clone())));
        };
        let mut gathered = gather(&mut give)?;
        drop(senders);
        for (at, weighted) in here {
            results[at] = Some(weighted.score_each(&*gathered.as_mut(), models));
        }
        for (at, thread) in threads {
            results[at] = thread.join().ok();
        }
        Ok::<G, Error>(gathered)
    })
    .map_err(|_| Error::Reward("a reward's thread panicked".into()))??;
    let mut scored = Vec::with_capacity(results.len());
    let mut failed: Option<(usize, Error)> = None;
    for (scores, error) in results.into_iter().flatten() {
        if let Some(error) = error.filter(|_| failed.as_ref().is_none_or(|(group, _)| scores.len() < *group))
        {
            failed = Some((scores.len(), error));
        }
        scored.push(scores);
    }
    if let Some((_, error)) = failed {
        return Err(error);
    }
    for (weighted, scores) in weighted.iter().zip(scored) {
        let groups = gathered.as_mut().iter_mut();
        groups.zip(scores).for_each(|(group, scores)| weighted.credit(group, scores));
    }
    Ok(gathered)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reward::registry::NoKeys;
    use crate::reward::tests::{group, rewards};
    use std::sync::Mutex;
    use std::time::Duration;

    /// Long past what a rendezvous takes.
    const PATIENCE: Duration = Duration::from_secs(20);

    /// A reward by the number of tokens; independent or not.
    struct Tokens(bool, f64);

    impl Reward for Tokens {
        fn score(&mut self, group: &Group, _models: &Models) -> anyhow::Result<Vec<Score>> {
            anyhow::ensure!(group.example.answer.is_some(), "no answer");
            Ok(group.rollouts.iter().map(|r| Score::from(self.1 * r.tokens.len() as f64 / 3.0)).collect())
        }

        fn independent(&self) -> bool {
            self.0
        }
    }

    fn registry(independent: bool) -> Registry {
        let tokens = |factor: f64| move |_: NoKeys| Ok(Tokens(independent, factor));
        Registry::default().reward("a", tokens(0.1)).reward("b", tokens(-0.7)).reward("c", tokens(1.3))
    }

    const RECIPE: &str = "[a]\nlimit_s = 1e-12\n[answer]\nweight = 0.3\n[b]\nlimit_s = 60\n[c]\nweight = 0.1\n\
        [length]\nrelative = {}\n";

    #[test]
    fn what_threads_score_is_what_turns_score() {
        let score = |independent: bool| {
            let mut groups = [group(Some("7"), &[], &["#### 7", "8"]), group(Some("8"), &[], &["a", "bcd"])];
            let mut rewards = rewards(&registry(independent), RECIPE).unwrap();
            rewards.score(&mut groups, &Models::none()).unwrap();
            let scores: Vec<_> = groups
                .iter()
                .flat_map(|g| &g.rollouts)
                .map(|r| (r.reward.to_bits(), r.scores.clone()))
                .collect();
            (scores, rewards.figures())
        };
        let (together, figures) = score(true);
        let (by_turns, _) = score(false);
        assert_eq!(together, by_turns);
        let of = |name: &str| figures.iter().filter(|(n, _)| n == name).map(|(_, v)| *v).collect::<Vec<_>>();
        // Nothing takes less than a picosecond, nor these a minute.
        assert_eq!((of("a/over_limit"), of("b/over_limit")), (vec![1.0, 1.0], vec![0.0, 0.0]));
        assert!(of("c/seconds").len() == 2 && of("c/seconds").iter().all(|seconds| *seconds >= 0.0));
    }

    /// A reward that goes on when its partner is scoring too.
    struct Meeting {
        here: crossbeam::channel::Sender<()>,
        partner: crossbeam::channel::Receiver<()>,
    }

    impl Reward for Meeting {
        fn score(&mut self, group: &Group, _models: &Models) -> anyhow::Result<Vec<Score>> {
            self.here.send(())?;
            self.partner.recv_timeout(PATIENCE).map_err(|_| anyhow::anyhow!("it is alone"))?;
            Ok(group.rollouts.iter().map(|_| Score::from(1.0)).collect())
        }

        fn independent(&self) -> bool {
            true
        }
    }

    /// By turns neither of the two could ever go on.
    #[test]
    fn independent_rewards_score_at_the_same_time() {
        let ((to_a, of_a), (to_b, of_b)) = (unbounded(), unbounded());
        let once = |meeting: Meeting| {
            let meeting = Mutex::new(Some(meeting));
            move |_: NoKeys| Ok(meeting.lock().unwrap().take().expect("built once"))
        };
        let registry = Registry::empty()
            .reward("a", once(Meeting { here: to_b, partner: of_a }))
            .reward("b", once(Meeting { here: to_a, partner: of_b }));
        let mut groups = [group(None, &[], &["x"]), group(None, &[], &["y"])];
        rewards(&registry, "[a]\n[b]").unwrap().score(&mut groups, &Models::none()).unwrap();
        assert_eq!(groups.map(|group| group.rewards()), [[2.0], [2.0]]);
    }

    #[test]
    fn of_several_failures_the_first_group_is_named() {
        let mut groups = [group(Some("7"), &[], &["x"]), group(None, &[], &["x"])];
        std::sync::Arc::get_mut(&mut groups[1].example).unwrap().id = "row:8".into();
        let error =
            rewards(&registry(true), "[b]\n[a]").unwrap().score(&mut groups, &Models::none()).unwrap_err();
        assert_eq!(error.to_string(), "reward: [reward.b] failed on example row:8: no answer");
    }

    #[test]
    fn groups_are_scored_while_later_ones_are_sampled() {
        let (scored, hears) = unbounded();
        let reward = move |group: &Group| -> anyhow::Result<Vec<Score>> {
            scored.send(group.example.id.clone())?;
            Ok(group.rollouts.iter().map(|_| Score::from(2.0)).collect())
        };
        let registry = Registry::default()
            .reward("sends", move |_: NoKeys| Ok(reward.clone()))
            .reward("here", |_: NoKeys| Ok(Tokens(false, 3.0)));
        let mut rewards = rewards(&registry, "[sends]\n[here]").unwrap();
        let mut sampled = [group(Some("7"), &[], &["abc"]), group(Some("8"), &[], &["d"])];
        sampled.iter_mut().for_each(|group| group.rollouts[0].reward = 0.0);
        let gather = |give: &mut dyn FnMut(&Group)| {
            for group in &sampled {
                give(group);
                // Nothing more is sampled before this one is scored.
                hears.recv_timeout(PATIENCE).expect("it is scored before sampling ends");
            }
            Ok(sampled.to_vec())
        };
        let groups = rewards.score_sampling(&Models::none(), gather).unwrap();
        // 2 + 3 · 3 / 3 and 2 + 3 · 1 / 3.
        assert_eq!(groups.iter().map(|g| g.rollouts[0].reward).collect::<Vec<_>>(), [5.0, 3.0]);
        let failed = rewards.score_sampling(&Models::none(), |_| Err(Error::Data("no prompt".into())));
        assert_eq!(failed.unwrap_err().to_string(), "data: no prompt");
    }

    #[test]
    fn a_limit_must_be_above_nothing() {
        let error = rewards(&registry(true), "[a]\nlimit_s = 0").unwrap_err().to_string();
        assert!(error.contains("[reward.a]: limit_s = 0"), "{error}");
    }
}
