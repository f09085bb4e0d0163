//! One reward of a recipe with its weight: how it is built, asked, timed, and asked together with others.

use super::{Models, Registry, Reward};
use crate::data::Tokenizer;
use crate::rationale::Format;
use crate::rollout::{Group, Score};
use crate::{Error, Result};
use crossbeam::channel::unbounded;
use crossbeam::thread;
use std::borrow::Borrow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Instant;

/// The scores of groups up to the first failure, and that failure.
type Scored = (Vec<Vec<Score>>, Option<Error>);

/// What a reward is asked with.
#[derive(Clone, Copy)]
pub(super) enum Beside<'a> {
    Nothing,
    /// In a thread of its own: the policy's tokenizer.
    Tokenizer(&'a Tokenizer),
    Models(&'a Models<'a>),
}

impl<'a> Beside<'a> {
    pub fn of(models: Option<&'a Models<'a>>) -> Self {
        models.map_or(Self::Nothing, Self::Models)
    }
}

/// A reward under its name in the recipe.
pub(super) struct Weighted {
    pub name: String,
    pub weight: f64,
    pub reward: Box<dyn Reward>,
    /// Seconds that scoring a group should take.
    limit: Option<f64>,
    figures: Vec<(String, f64)>,
}

impl Weighted {
    /// Builds `[reward.NAME]`.
    pub fn build(
        name: &str,
        section: &toml::Value,
        registry: &Registry,
        format: &Format,
    ) -> std::result::Result<Self, String> {
        let toml::Value::Table(section) = section else {
            return Err(format!("must be a section with keys of its own, not `{name} = {section}`"));
        };
        let mut own = section.clone();
        let weight = match own.remove("weight") {
            None => 1.0,
            Some(toml::Value::Float(weight)) if weight.is_finite() => weight,
            Some(toml::Value::Integer(weight)) => weight as f64,
            Some(other) => return Err(format!("weight = {other}: must be a finite number")),
        };
        let kind = match own.remove("kind") {
            None => name.to_owned(),
            Some(toml::Value::String(kind)) => kind,
            Some(other) => return Err(format!("kind = {other}: must be the name of a reward")),
        };
        let limit = match own.remove("limit_s") {
            None => None,
            Some(value) => match value.as_float().or(value.as_integer().map(|whole| whole as f64)) {
                Some(limit) if limit > 0.0 => Some(limit),
                _ => return Err(format!("limit_s = {value}: must be a number of seconds above 0")),
            },
        };
        let named = |problem| if kind == name { problem } else { format!("kind = \"{kind}\": {problem}") };
        let reward = registry.build(&kind, own, format).map_err(named)?;
        Ok(Self { name: name.to_owned(), weight, reward, limit, figures: vec![] })
    }

    /// The scores of a group, one a rollout and all finite; how long they took is noted.
    pub fn score(&mut self, group: &Group, beside: Beside) -> Result<Vec<Score>> {
        let start = Instant::now();
        let scores = checked(self.reward.as_mut(), group, beside).map_err(|error| {
            let (name, id) = (&self.name, &group.example.id);
            Error::Reward(format!("[reward.{name}] failed on example {id}: {error:#}"))
        })?;
        self.took(start.elapsed().as_secs_f64(), &group.example.id);
        Ok(scores)
    }

    fn took(&mut self, seconds: f64, example: &str) {
        if self.reward.apart() || self.limit.is_some() {
            self.figures.push(("seconds".into(), seconds));
        }
        let Some(limit) = self.limit else { return };
        self.figures.push(("over_limit".into(), f64::from(u8::from(seconds > limit))));
        if seconds > limit {
            tracing::warn!(
                "[reward.{}] took {seconds:.1} s for example {example}, over limit_s = {limit}",
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

    /// What it has to tell since this was last asked.
    pub fn figures(&mut self) -> Vec<(String, f64)> {
        let mut figures = self.reward.figures();
        figures.append(&mut self.figures);
        figures
    }

    /// The scores of all groups, up to the first failure.
    fn score_each<G: Borrow<Group>>(
        &mut self,
        groups: impl IntoIterator<Item = G>,
        beside: Beside,
    ) -> Scored {
        let mut all = Vec::new();
        for group in groups {
            match self.score(group.borrow(), beside) {
                Ok(scores) => all.push(scores),
                Err(error) => return (all, Some(error)),
            }
        }
        (all, None)
    }
}

/// Scores the groups that `gather` returns by rewards that do not look at each other, and credits them in the order of the
/// rewards. Those that stand apart have a thread each, which scores what `gather` gives away before it returns: every
/// group, in order. Of several failures the one is told that comes first, by group and then by reward.
pub(super) fn score_while<G: AsMut<[Group]>>(
    mut weighted: Vec<&mut Weighted>,
    models: Option<&Models>,
    gather: impl FnOnce(&mut dyn FnMut(&Group)) -> Result<G>,
) -> Result<G> {
    let tokenizer = models.map(|models| &models.policy.tokenizer);
    let mut results: Vec<Option<Scored>> = weighted.iter().map(|_| None).collect();
    let mut gathered = thread::scope(|scope| {
        let (mut threads, mut senders, mut here) = (Vec::new(), Vec::new(), Vec::new());
        for (at, weighted) in weighted.iter_mut().enumerate() {
            if weighted.reward.apart() {
                let (sender, groups) = unbounded::<Arc<Group>>();
                let apart = move |_: &thread::Scope| {
                    weighted.score_each(groups, tokenizer.map_or(Beside::Nothing, Beside::Tokenizer))
                };
                threads.push((at, scope.spawn(apart)));
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
            results[at] = Some(weighted.score_each(&*gathered.as_mut(), Beside::of(models)));
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

/// The scores, one a rollout and all finite, or why not.
fn checked(reward: &mut dyn Reward, group: &Group, beside: Beside) -> anyhow::Result<Vec<Score>> {
    let ask = || match beside {
        Beside::Models(models) => reward.score_with(group, models),
        Beside::Tokenizer(tokenizer) => reward.score_apart(group, tokenizer),
        Beside::Nothing => reward.score(group),
    };
    let scores = catch_unwind(AssertUnwindSafe(ask))
        .unwrap_or_else(|panic| Err(anyhow::anyhow!("it panicked: {}", said(panic.as_ref()))))?;
    anyhow::ensure!(
        scores.len() == group.rollouts.len(),
        "it gave {} scores for {} rollouts",
        scores.len(),
        group.rollouts.len()
    );
    if let Some(at) = scores.iter().position(|score| !score.value.is_finite()) {
        anyhow::bail!("its score of rollout {at} is {}; a score must be a finite number", scores[at].value);
    }
    let broken = |score: &Score| score.steps.iter().flatten().position(|step| !step.value.is_finite());
    if let Some((at, step)) = scores.iter().enumerate().find_map(|(at, score)| Some((at, broken(score)?))) {
        anyhow::bail!(
            "its score of step {step} of rollout {at} is not a finite number; where a model gave it, its weights have \
             broken in training: take an earlier checkpoint"
        );
    }
    Ok(scores)
}

/// The message of a panic.
fn said(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or(panic.downcast_ref::<&str>().copied()).unwrap_or("no message")
}

#[cfg(test)]
mod tests {
    use super::super::tests::{group, rewards};
    use super::*;
    use std::sync::{Condvar, Mutex};
    use std::time::Duration;

    /// A reward that takes its time; `apart` or not.
    struct Slow(bool, f64);

    impl Reward for Slow {
        fn score(&mut self, group: &Group) -> anyhow::Result<Vec<Score>> {
            std::thread::sleep(Duration::from_millis(20));
            anyhow::ensure!(group.example.answer.is_some(), "no answer");
            Ok(group.rollouts.iter().map(|r| Score::from(self.1 * r.tokens.len() as f64 / 3.0)).collect())
        }

        fn apart(&self) -> bool {
            self.0
        }
    }

    fn registry(apart: bool) -> Registry {
        let slow = |factor: f64| move |_: toml::Table| Ok(Slow(apart, factor));
        Registry::default().reward("a", slow(0.1)).reward("b", slow(-0.7)).reward("c", slow(1.3))
    }

    const RECIPE: &str = "[a]\nlimit_s = 0.01\n[answer]\nweight = 0.3\n[b]\nlimit_s = 60\n[c]\nweight = 0.1\n\
        [length]\nrelative = {}\n";

    #[test]
    fn what_threads_score_is_what_turns_score() {
        let score = |apart: bool| {
            let mut groups = [group(Some("7"), &[], &["#### 7", "8"]), group(Some("8"), &[], &["a", "bcd"])];
            let mut rewards = rewards(&registry(apart), RECIPE).unwrap();
            rewards.score_by(&mut groups, None, true).unwrap();
            let scores: Vec<_> = groups
                .iter()
                .flat_map(|g| &g.rollouts)
                .map(|r| (r.reward.to_bits(), r.scores.clone()))
                .collect();
            (scores, rewards.figures())
        };
        let ((together, figures), (by_turns, _)) = (score(true), score(false));
        assert_eq!(together, by_turns);
        let over = |name: &str| figures.iter().filter(|(n, _)| n == name).map(|(_, v)| *v).sum::<f64>();
        assert_eq!([over("a/over_limit"), over("b/over_limit")], [2.0, 0.0]);
        // Two groups, of which each takes at least 20 ms.
        assert!(over("c/seconds") >= 0.04);
    }

    /// Scores once `2` such rewards are asked at the same time, and fails where the other does not come in time.
    struct Meets {
        apart: bool,
        wait: Duration,
        here: Arc<(Mutex<usize>, Condvar)>,
    }

    impl Reward for Meets {
        fn score(&mut self, group: &Group) -> anyhow::Result<Vec<Score>> {
            let (here, came) = &*self.here;
            let mut count = here.lock().unwrap();
            *count += 1;
            came.notify_all();
            let (count, _) = came.wait_timeout_while(count, self.wait, |count| *count < 2).unwrap();
            anyhow::ensure!(*count >= 2, "nobody else was asked");
            Ok(vec![Score::from(1.0); group.rollouts.len()])
        }

        fn apart(&self) -> bool {
            self.apart
        }
    }

    #[test]
    fn rewards_that_stand_apart_are_asked_at_the_same_time() {
        let score = |apart: bool, wait: Duration| {
            let here = Arc::new((Mutex::new(0), Condvar::new()));
            let meets = move |here: Arc<(Mutex<usize>, Condvar)>| {
                move |_: toml::Table| Ok(Meets { apart, wait, here: here.clone() })
            };
            let registry = Registry::default().reward("a", meets(here.clone())).reward("b", meets(here));
            rewards(&registry, "[a]\n[b]").unwrap().score_by(&mut [group(None, &[], &["x"])], None, true)
        };
        score(true, Duration::from_secs(60)).unwrap();
        let by_turns = score(false, Duration::from_millis(10)).unwrap_err().to_string();
        assert!(by_turns.contains("[reward.a] failed") && by_turns.contains("nobody else"), "{by_turns}");
    }

    #[test]
    fn of_several_failures_the_first_group_is_named() {
        let mut groups = [group(Some("7"), &[], &["x"]), group(None, &[], &["x"])];
        std::sync::Arc::get_mut(&mut groups[1].example).unwrap().id = "row:8".into();
        let error =
            rewards(&registry(true), "[b]\n[a]").unwrap().score_by(&mut groups, None, true).unwrap_err();
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
            .reward("told", move |_: toml::Table| Ok(reward.clone()))
            .reward("here", |_: toml::Table| Ok(Slow(false, 3.0)));
        let mut rewards = rewards(&registry, "[told]\n[here]").unwrap();
        let mut sampled = [group(Some("7"), &[], &["abc"]), group(Some("8"), &[], &["d"])];
        sampled.iter_mut().for_each(|group| group.rollouts[0].reward = 0.0);
        let gather = |give: &mut dyn FnMut(&Group)| {
            for group in &sampled {
                give(group);
                // Nothing more is sampled before this one is scored.
                hears.recv_timeout(Duration::from_secs(20)).expect("it is scored before sampling ends");
            }
            Ok(sampled.to_vec())
        };
        let groups = rewards.score_while(None, true, gather).unwrap();
        // 2 + 3 · 3 / 3 and 2 + 3 · 1 / 3.
        assert_eq!(groups.iter().map(|g| g.rollouts[0].reward).collect::<Vec<_>>(), [5.0, 3.0]);
        let failed = rewards.score_while::<Vec<Group>>(None, true, |_| Err(Error::Data("no prompt".into())));
        assert_eq!(failed.unwrap_err().to_string(), "data: no prompt");
    }

    #[test]
    fn a_limit_must_be_above_nothing() {
        let error = rewards(&registry(true), "[a]\nlimit_s = 0").unwrap_err().to_string();
        assert!(error.contains("[reward.a]: limit_s = 0"), "{error}");
    }
}
