//! What of a stage's sections does not fit together, whatever its method is.

use super::stage::Stage;
use crate::data::Split;
use crate::devices::Shard;
use crate::loops::Steps;
use crate::optim::{CUT_BLOCKS, Moments};
use crate::rollout::Traits;
use crate::section::{Misfit, under};

/// The misfits of `stage`, by their full paths: its method's, and those of what every method asks.
pub(super) fn misfits(stage: &Stage) -> Vec<Misfit> {
    let rules = [
        duration,
        needs,
        steered,
        blocks,
        quantised,
        questions,
        explained,
        written,
        paired,
        search,
        hint,
        continuations,
    ];
    let mut found: Vec<Misfit> = rules.iter().flat_map(|rule| rule(stage)).collect();
    found.extend(stage.method.fits(&stage.view()));
    found
}

fn loop_key(stage: &Stage) -> String {
    format!("loop.{}", stage.method.name())
}

fn duration(stage: &Stage) -> Vec<Misfit> {
    let at_start = stage.eval.as_ref().is_some_and(|eval| eval.at_start);
    let needs = stage.needs();
    let mut found = Vec::new();
    if stage.run.steps == Some(0) && !(needs.head && at_start) {
        found.push(Misfit::new(
            "run.steps",
            "there is nothing to do in 0 steps",
            "give at least 1, or use run.epochs; only loop.prm with eval.at_start = true measures what is there",
        ));
    }
    if !needs.rows && needs.steps == Steps::OfRun && stage.run.steps.is_none() {
        let message = format!("{} reads no rows, of which passes could be made", loop_key(stage));
        found.push(Misfit::new("run.steps", message, "say how many steps"));
    }
    if !(stage.run.epochs > 0.0 && stage.run.epochs.is_finite()) {
        found.push(Misfit::new(
            "run.epochs",
            "passes over the data must be a positive number",
            "1 is one pass",
        ));
    }
    found
}

/// What the method says that it needs.
fn needs(stage: &Stage) -> Vec<Misfit> {
    let (needs, traits) = (stage.needs(), stage.rollout.traits());
    let mut found = Vec::new();
    if needs.rewards && stage.reward.is_empty() {
        found.push(Misfit::new(
            loop_key(stage),
            "there is no reward to learn from",
            "add [reward.answer] or another reward",
        ));
    }
    // Methods that learn from log-probabilities need the policy's own samples.
    if needs.own_samples && !traits.sampled && traits.size.is_some() {
        found.push(Misfit::new(
            loop_key(stage),
            "it learns from the policy's own samples and their log-probabilities, and the completions of this \
             rollout have none",
            "use [rollout.group]; or collect here and learn in a later stage by loop.sft or loop.dpo",
        ));
    }
    if needs.trains && needs.rollouts && traits.gives && !needs.leaves_given {
        found.push(Misfit::new(
            loop_key(stage),
            format!(
                "it learns whole completions, and parts of those of [rollout.{}] are given, not sampled",
                traits.name
            ),
            "use [rollout.group]; loop.grpo, loop.dpo, loop.star and loop.mario leave out what was given",
        ));
    }
    if needs.trains && !needs.drops && stage.policy.dropout > 0.0 {
        found.push(Misfit::new(
            "policy.dropout",
            format!(
                "{} holds its passes against others, or makes its own, and drops nothing",
                loop_key(stage)
            ),
            "only loop.sft reads it; set 0 for this stage",
        ));
    }
    if needs.undivided && stage.devices.shard == Shard::Parameters {
        found.push(Misfit::new(
            "devices.shard",
            format!("{} needs all weights on every rank", loop_key(stage)),
            "\"optimizer\" divides the rest",
        ));
    }
    found
}

/// What is learned under a direction would be saved without it, and a direction is found in states as they are.
fn steered(stage: &Stage) -> Vec<Misfit> {
    let needs = stage.needs();
    let why = match (needs.trains, needs.direction) {
        (true, _) => "trains, and what it learns under a direction would be saved without it",
        (_, true) => "finds a direction in states as they are",
        _ => return vec![],
    };
    let misfit = |_| {
        let remedy = "take it out of this stage; loop.collect and loop.evaluate sample under a direction";
        Misfit::new("policy.steer", format!("{} {why}", loop_key(stage)), remedy)
    };
    stage.policy.steer.iter().map(misfit).collect()
}

/// What is kept in blocks is not cut anywhere.
fn blocks(stage: &Stage) -> Vec<Misfit> {
    let cut = stage.needs().trains
        && stage.optim.moments == Moments::EightBit
        && stage.devices.shard == Shard::Parameters;
    let (message, remedy) = CUT_BLOCKS.split_once("; ").unwrap_or((CUT_BLOCKS, ""));
    cut.then(|| Misfit::new("optim.moments", message, remedy)).into_iter().collect()
}

/// What is kept in four bits neither learns nor is divided.
fn quantised(stage: &Stage) -> Vec<Misfit> {
    if stage.policy.quantize.is_none() || !stage.needs().trains {
        return vec![];
    }
    let mut found = Vec::new();
    if stage.policy.lora.is_none() {
        found.push(Misfit::new(
            "policy.quantize",
            "weights of four bits are frozen, and all of them are to be trained",
            "add [policy.lora], whose adapters learn beside them, or take it out",
        ));
    }
    if stage.devices.shard == Shard::Parameters {
        found.push(Misfit::new(
            "policy.quantize",
            "devices.shard = \"parameters\" divides weights in full",
            "devices.shard = \"optimizer\" or \"none\", where each rank has all in four bits",
        ));
    }
    found
}

fn questions(stage: &Stage) -> Vec<Misfit> {
    if stage.eval.is_none() || stage.data.has(Split::Eval) {
        return vec![];
    }
    vec![Misfit::new(
        "eval",
        "there are no held-out questions",
        "set data.eval, or a data.task that has some",
    )]
}

/// What explains an answer has to know where that begins.
fn explained(stage: &Stage) -> Vec<Misfit> {
    let greedy = stage.eval.as_ref().and_then(|eval| eval.greedy.as_ref());
    if greedy.is_none_or(|greedy| greedy.cue.is_some()) || stage.data.format.cue().is_some() {
        return vec![];
    }
    vec![Misfit::new(
        "eval.greedy",
        "data.format has no answer form that begins with a text, behind which the answer would stand",
        "name that text as eval.greedy.cue; \"\" is none",
    )]
}

/// Who reads completions while they are sampled has to know how they are written.
fn written(stage: &Stage) -> Vec<Misfit> {
    let needs = stage.needs();
    let searches = stage.eval.is_some() && !needs.head && stage.rollout.search().is_some();
    let unread = needs.unused.is_some_and(|(sections, _)| sections.contains(&"rollout"));
    if unread || !(needs.rollouts || searches) {
        return vec![];
    }
    under(&format!("rollout.{}", stage.rollout.name()), stage.rollout.fits_format(&stage.data.format))
}

/// Pairs that are made of what completions of the stage's own source never have.
fn paired(stage: &Stage) -> Vec<Misfit> {
    let (needs, source) = (stage.needs(), stage.rollout.traits());
    let Some((key, of)) = needs.of_traces.filter(|(_, of)| needs.rollouts && !of.is_of(&source)) else {
        return vec![];
    };
    let (what, gives) = of.named();
    let message = format!("it needs {what}, which completions of [rollout.{}] do not have", source.name);
    vec![Misfit::new(key, message, format!("use {gives}, or another kind"))]
}

/// What does not fit a search for answers.
fn search(stage: &Stage) -> Vec<Misfit> {
    let Traits { name, picks, .. } = stage.rollout.traits();
    let Some(search) = picks else { return vec![] };
    let needs = stage.needs();
    let collects = needs.rollouts && !needs.trains;
    let mut found = Vec::new();
    if needs.rollouts && needs.trains {
        found.push(Misfit::new(
            "rollout",
            format!("{} learns from the policy's own samples, and a search picks", loop_key(stage)),
            "use [rollout.group]; a search serves loop.collect, loop.evaluate and [eval]",
        ));
    }
    if stage.reward.is_empty() && search.judged {
        found.push(Misfit::new(
            "rollout",
            format!("nothing judges what rollout.{name} is to choose among"),
            "add [reward.process] with its model, or another reward",
        ));
    }
    if let Some(by) = search.by.filter(|by| !stage.reward.contains_key(*by)) {
        found.push(Misfit::new(
            "rollout",
            format!("rollout.{name}.by = \"{by}\" names no reward"),
            "name one of the [reward] tables",
        ));
    }
    let greedy = |key: &str, temperature: f64| {
        (temperature <= 0.0 && search.n > 1 && search.judged).then(|| {
            Misfit::new(
                key,
                format!("greedy samples are all the same, and leave rollout.{name} no choice"),
                "use a positive temperature, such as 1.0",
            )
        })
    };
    if collects {
        found.extend(greedy("policy.sampling.temperature", stage.policy.sampling.temperature));
    }
    let Some(eval) = &stage.eval else { return found };
    if eval.samples > 1 {
        found.push(Misfit::new(
            "eval.samples",
            format!("rollout.{name} gives one answer to a question; its n says among how many"),
            "leave it at 1; the figures by n come with the search",
        ));
    } else {
        found.extend(greedy("eval.temperature", eval.temperature));
    }
    found
}

/// Whoever learns from hinted samples has to take the hint out of their prompts.
fn hint(stage: &Stage) -> Vec<Misfit> {
    if stage.needs().strips_hints || stage.rollout.traits().hint.is_none() {
        return vec![];
    }
    vec![Misfit::new(
        "rollout.hint",
        "only loop.star strips the hint of [rollout.hint] from what it trains on",
        "use [rollout.group] here",
    )]
}

/// Whoever learns in groups of independent samples has no use for continuations among them.
fn continuations(stage: &Stage) -> Vec<Misfit> {
    let traits = stage.rollout.traits();
    let added = traits.adds_continuations.filter(|_| stage.needs().trains);
    let misfit = |(key, remedy): (&str, &str)| {
        let message = "it adds continuations to a group, which are no independent samples";
        Misfit::new(format!("rollout.{}.{key}", traits.name), message, remedy)
    };
    added.map(misfit).into_iter().collect()
}
