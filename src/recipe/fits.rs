//! What of a stage's sections does not fit together: a rule a loop, and some for all.

use super::stage::Stage;
use crate::advantage::Baseline;
use crate::data::Split;
use crate::loops::Loop;
use crate::loops::grpo::{Grpo, ZeroVariance};
use crate::rollout::Traits;
use crate::select::pairs;

/// A key whose value does not fit the rest.
pub(super) struct Misfit {
    /// The key.
    pub key: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub remedy: &'static str,
}

impl Misfit {
    fn new(key: impl Into<String>, message: impl Into<String>, remedy: &'static str) -> Option<Self> {
        Some(Self { key: key.into(), message: message.into(), remedy })
    }
}

/// The first misfit of `stage`.
pub(super) fn misfit(stage: &Stage) -> Option<Misfit> {
    let rules = [duration, rewards, dpo, mario, samples, questions, search, star, grpo, prefix];
    rules.iter().find_map(|rule| rule(stage))
}

fn duration(stage: &Stage) -> Option<Misfit> {
    let at_start = stage.eval.as_ref().is_some_and(|eval| eval.at_start);
    if stage.run.steps == Some(0) && !(matches!(stage.lesson, Loop::Prm(_)) && at_start) {
        return Misfit::new(
            "run.steps",
            "there is nothing to do in 0 steps",
            "give at least 1, or use run.epochs; only loop.prm with eval.at_start = true measures what is there",
        );
    }
    if !(stage.run.epochs > 0.0 && stage.run.epochs.is_finite()) {
        return Misfit::new("run.epochs", "passes over the data must be a positive number", "1 is one pass");
    }
    None
}

fn rewards(stage: &Stage) -> Option<Misfit> {
    if stage.reward.is_empty() && matches!(stage.lesson, Loop::Grpo(_) | Loop::Mario(_)) {
        return Misfit::new(
            format!("loop.{}", stage.lesson.name()),
            "there is no reward to learn from",
            "add [reward.answer] or another reward",
        );
    }
    None
}

fn dpo(stage: &Stage) -> Option<Misfit> {
    let Loop::Dpo(dpo) = &stage.lesson else { return None };
    if !dpo.online {
        return None;
    }
    if stage.rollout.section().traits().size == Some(1) && !dpo.loss.unpaired() {
        return Misfit::new(
            "rollout.group.size",
            "a single completion of a question makes no pair",
            "use at least 2",
        );
    }
    if stage.policy.sampling.temperature == 0.0 {
        return Misfit::new(
            "policy.sampling.temperature",
            "greedy samples of one prompt are all the same and make no pair",
            "use a positive temperature, such as 1.0",
        );
    }
    if stage.select.pairs.kind == pairs::Kind::ScoreMargin && stage.reward.is_empty() {
        return Misfit::new(
            "select.pairs.kind",
            "there is no reward to tell the better from the worse",
            "add [reward.answer] or another reward, or use kind = \"correct_wrong\"",
        );
    }
    None
}

fn mario(stage: &Stage) -> Option<Misfit> {
    let Loop::Mario(mario) = &stage.lesson else { return None };
    if let Some(name) = mario.borders.keys().find(|name| !stage.reward.contains_key(*name)) {
        return Misfit::new(
            format!("loop.mario.borders.{name}"),
            "there is no such reward",
            "name one of the [reward] tables",
        );
    }
    if stage.rollout.section().traits().size.is_none() {
        return Misfit::new(
            "loop.mario",
            "it samples the policy, and [rollout.dataset] reads others' completions",
            "use [rollout.group]; loop.mario.rows takes the rows' own completions into the pool",
        );
    }
    None
}

/// Loops that learn from log-probabilities need the policy's own samples.
fn samples(stage: &Stage) -> Option<Misfit> {
    let own = matches!(stage.lesson, Loop::Grpo(_) | Loop::Mario(_) | Loop::Star(_));
    if own && !stage.rollout.section().traits().sampled && stage.rollout.section().traits().size.is_some() {
        return Misfit::new(
            format!("loop.{}", stage.lesson.name()),
            "it learns from the policy's own samples and their log-probabilities, and the completions of this \
             rollout have none",
            "use [rollout.group]; or collect here and learn in a later stage by loop.sft or loop.dpo",
        );
    }
    None
}

fn questions(stage: &Stage) -> Option<Misfit> {
    if matches!(stage.lesson, Loop::Evaluate(_)) && stage.eval.is_none() {
        return Misfit::new(
            "loop.evaluate",
            "there is no [eval] section",
            "add [eval]; empty takes its defaults",
        );
    }
    if stage.eval.is_some() && !stage.data.has(Split::Eval) {
        return Misfit::new(
            "eval",
            "there are no held-out questions",
            "set data.eval, or a data.task that has some",
        );
    }
    None
}

fn grpo(stage: &Stage) -> Option<Misfit> {
    let Loop::Grpo(grpo) = &stage.lesson else { return None };
    if let Some(steps) = grpo.steps.as_ref().filter(|steps| !stage.reward.contains_key(&steps.reward)) {
        return Misfit::new(
            "loop.grpo.steps",
            format!("there is no [reward.{}] that scores steps", steps.reward),
            "add [reward.process] with its model, and weight = 0 to keep its value out of the outcome",
        );
    }
    if let Some(misfit) = group(stage, grpo) {
        return Some(misfit);
    }
    if grpo.step_rewards.is_some() && !stage.rollout.section().traits().values_steps {
        return Misfit::new(
            "loop.grpo.step_rewards",
            "nothing says what the steps are worth",
            "use [rollout.prefix], which continues completions from cuts between their steps",
        );
    }
    if grpo.zero_variance == ZeroVariance::Resample && grpo.resample_limit == 0 {
        return Misfit::new(
            "loop.grpo.resample_limit",
            "resampling zero-variance groups at most 0 times does nothing",
            "give at least 1, or zero_variance = \"drop\"",
        );
    }
    if stage.policy.sampling.temperature == 0.0 {
        return Misfit::new(
            "policy.sampling.temperature",
            "greedy samples of one prompt are all the same, so a group teaches nothing",
            "use a positive temperature, such as 1.0",
        );
    }
    None
}

/// A group has to be sampled, and to have something to be compared with.
fn group(stage: &Stage, grpo: &Grpo) -> Option<Misfit> {
    let compares = grpo.advantage.baseline != Baseline::None && grpo.advantage.compare_by.is_none();
    match stage.rollout.section().traits().size {
        None => Misfit::new(
            "loop.grpo",
            "it learns from the policy's own samples, and [rollout.dataset] reads others'",
            "use [rollout.group]",
        ),
        Some(1) if compares => Misfit::new(
            "rollout.group.size",
            "a group of one has no baseline to be compared with",
            "use at least 2, or loop.grpo.advantage.baseline = \"none\"",
        ),
        Some(_) => None,
    }
}

fn prefix(stage: &Stage) -> Option<Misfit> {
    if stage.rollout.section().traits().adds_continuations && stage.lesson.trains() {
        return Misfit::new(
            "rollout.prefix.cuts",
            "a tree adds continuations to a group, which are no independent samples",
            "use loop.collect here, or cuts = \"search\"",
        );
    }
    None
}

/// What does not fit a search for answers.
fn search(stage: &Stage) -> Option<Misfit> {
    let Traits { name, picks, .. } = stage.rollout.section().traits();
    let picks = picks?;
    if stage.lesson.rolls_out() && !matches!(stage.lesson, Loop::Collect(_)) {
        let message =
            format!("loop.{} learns from the policy's own samples, and a search picks", stage.lesson.name());
        return Misfit::new(
            "rollout",
            message,
            "use [rollout.group]; a search serves loop.collect, loop.evaluate and [eval]",
        );
    }
    if stage.reward.is_empty() {
        let message = format!("nothing judges what rollout.{name} is to choose among");
        return Misfit::new("rollout", message, "add [reward.process] with its model, or another reward");
    }
    if let Some(by) = picks.by.filter(|by| !stage.reward.contains_key(*by)) {
        let message = format!("rollout.{name}.by = \"{by}\" names no reward");
        return Misfit::new("rollout", message, "name one of the [reward] tables");
    }
    let greedy = |key: &'static str, temperature: f64| {
        let message = format!("greedy samples are all the same, and leave rollout.{name} no choice");
        if temperature > 0.0 || picks.n <= 1 {
            return None;
        }
        Misfit::new(key, message, "use a positive temperature, such as 1.0")
    };
    let collects = matches!(stage.lesson, Loop::Collect(_));
    if collects
        && let Some(problem) = greedy("policy.sampling.temperature", stage.policy.sampling.temperature)
    {
        return Some(problem);
    }
    let eval = stage.eval.as_ref()?;
    if eval.samples > 1 {
        let message = format!("rollout.{name} gives one answer to a question; its n says among how many");
        return Misfit::new("eval.samples", message, "leave it at 1; the figures by n come with the search");
    }
    greedy("eval.temperature", eval.temperature)
}

/// What does not fit `loop.star`.
fn star(stage: &Stage) -> Option<Misfit> {
    let hinting = stage.rollout.section().traits().hint.is_some();
    let Loop::Star(star) = &stage.lesson else {
        if !hinting {
            return None;
        }
        return Misfit::new(
            "rollout.hint",
            "only loop.star strips the hint of [rollout.hint] from what it trains on",
            "use [rollout.group] here",
        );
    };
    let filters = stage.select.correct || stage.select.min_reward.is_some();
    let sampling = &stage.policy.sampling;
    match stage.rollout.section().traits().size {
        None => Misfit::new(
            "loop.star",
            "it learns from the policy's own samples, and [rollout.dataset] reads others'",
            "use [rollout.group], or [rollout.hint] to rationalize",
        ),
        Some(size) if size > 1 && sampling.temperature == 0.0 => Misfit::new(
            "policy.sampling.temperature",
            "greedy samples of one prompt are all the same",
            "use a positive temperature, or a rollout of size 1",
        ),
        _ if !filters => Misfit::new(
            "loop.star",
            "nothing tells loop.star which rationales to learn",
            "set select.correct = true, STaR's filter, or select.min_reward with a [reward]",
        ),
        _ if stage.select.min_reward.is_some() && stage.reward.is_empty() => Misfit::new(
            "select.min_reward",
            "there is no reward to compare select.min_reward with",
            "add [reward.answer] or another reward",
        ),
        _ if star.watches_accuracy() && stage.eval.is_none() => Misfit::new(
            "loop.star.plateau.measure",
            "loop.star.plateau.measure = \"accuracy\" needs held-out questions, and there is no [eval] section",
            "add [eval], or use measure = \"coverage\"",
        ),
        _ => None,
    }
}
