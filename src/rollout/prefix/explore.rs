//! Completions cut between their steps and continued, so that every step has a value.

use super::cost::Cost;
use super::{Cut, CutValue, Keep, Place, PrefixRollout, continuations, places};
use crate::data::Tokenizer;
use crate::engine::Statistics;
use crate::error::Result;
use crate::rationale::Format;
use crate::rollout::closing::{self, Reasoning};
use crate::rollout::{Group, Rollout, SamplingContext};
use std::collections::BTreeMap;

/// A place in a rollout that is to be gone on from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Origin {
    /// Which group.
    pub group: usize,
    /// Which of its rollouts.
    pub rollout: usize,
    /// Where in it.
    pub place: Place,
}

/// What decides where a completion is cut.
#[derive(Clone, Copy)]
pub(super) struct Cutting<'a> {
    pub section: &'a PrefixRollout,
    pub format: &'a Format,
    pub tokenizer: &'a Tokenizer,
}

/// A search for the steps' values under way.
pub(super) trait Exploration {
    /// The places whose prefixes are to be continued next; none when it is done.
    fn next(&mut self, cutting: &Cutting, groups: &mut [Group], cost: &mut Cost) -> Vec<Origin>;

    /// Notes what the scored continuations `from` a place are worth, of which `good` says whether each is good.
    fn learn(&mut self, groups: &[Group], from: Origin, rollouts: Vec<Rollout>, good: &[bool]) -> CutValue;
}

/// Continues what the explorations ask for, all of them together, until they are done.
pub(super) fn explore(
    section: &PrefixRollout,
    explorations: &mut [impl Exploration],
    groups: &mut [Group],
    context: &mut SamplingContext,
) -> Result<Cost> {
    let cutting = Cutting { section, format: context.format, tokenizer: &context.policy.tokenizer };
    let mut cost = Cost::default();
    loop {
        let mut open: Vec<(usize, Origin)> = Vec::new();
        for (index, exploration) in explorations.iter_mut().enumerate() {
            let next = exploration.next(&cutting, groups, &mut cost);
            open.extend(next.into_iter().map(|from| (index, from)));
        }
        if open.is_empty() {
            return Ok(cost);
        }
        let from: Vec<Origin> = open.iter().map(|(_, from)| *from).collect();
        let (continued, statistics) = scored_continuations(groups, &from, section, context)?;
        cost.spent(&statistics);
        for ((index, from), rollouts) in open.into_iter().zip(continued) {
            let good: Vec<bool> =
                rollouts.iter().map(|rollout| context.good(&groups[from.group], rollout)).collect();
            let value = explorations[index].learn(groups, from, rollouts, &good);
            context.figures.add("prefix/value", value.value, 1.0);
            context.figures.add("prefix/good", value.soft(), value.continuations as f64);
        }
    }
}

/// The continuations of each place, or the answers forced there, scored as a group of its own; and what
/// that took.
fn scored_continuations(
    groups: &[Group],
    from: &[Origin],
    section: &PrefixRollout,
    context: &mut SamplingContext,
) -> Result<(Vec<Vec<Rollout>>, Statistics)> {
    let seeds = |from: &Origin| -> Vec<u64> {
        let seed = |sample: usize| {
            context.seeds.draw(from.group, &[from.rollout, from.place.step, sample].map(|part| part as u64))
        };
        (0..section.continuations).map(seed).collect()
    };
    let cuts: Vec<Cut> = from
        .iter()
        .map(|at| Cut {
            prompt: &groups[at.group].prompt,
            rollout: &groups[at.group].rollouts[at.rollout],
            tokens: at.place.tokens,
            seeds: seeds(at),
        })
        .collect();
    let (continued, statistics) = match section.close {
        false => continuations(context.policy, &cuts, context.sampling, context.format, context.progress)?,
        true => forced(&cuts, section.answer_tokens, context)?,
    };
    context.tokens += statistics.decoded_tokens;
    context.figures.add("prefix/prefill_tokens", statistics.prefill_tokens as f64, 1.0);
    context.figures.add("prefix/decoded_tokens", statistics.decoded_tokens as f64, 1.0);
    let group = |(at, rollouts): (&Origin, Vec<Rollout>)| {
        let of = &groups[at.group];
        Group { example: of.example.clone(), prompt: of.prompt.clone(), rollouts, place: of.place }
    };
    let mut continued: Vec<Group> = from.iter().zip(continued).map(group).collect();
    match section.keep {
        Keep::Best => context.scorer.score_counting(&mut continued)?,
        // They are completions like any other, with what each reward says of them.
        Keep::All => context.scorer.score(&mut continued)?,
    }
    Ok((continued.into_iter().map(|group| group.rollouts).collect(), statistics))
}

/// Answers forced at each cut.
fn forced(
    cuts: &[Cut],
    most: usize,
    context: &mut SamplingContext,
) -> Result<(Vec<Vec<Rollout>>, Statistics)> {
    let ended = cuts.iter().map(|cut| Reasoning {
        prompt: cut.prompt,
        tokens: &cut.rollout.tokens[..cut.tokens],
        seeds: cut.seeds.clone(),
    });
    let ended: Vec<Reasoning> = ended.collect();
    let SamplingContext { policy, sampling, format, progress, .. } = context;
    let cue = closing::cue(format, "rollout.prefix.close")?;
    closing::forced(policy, &ended, &cue, sampling, most, format, progress)
}

/// A rollout whose steps are looked at: its places and what is known of them.
struct Steps {
    group: usize,
    rollout: usize,
    seed: u64,
    places: Vec<Place>,
    known: BTreeMap<usize, CutValue>,
    /// Whether answers are forced.
    closed: bool,
    /// The continuations, where they are to be rollouts; none otherwise.
    branches: Option<Vec<Rollout>>,
}

impl PrefixRollout {
    /// Which rollouts of a group are cut.
    fn chosen(&self, group: &Group, context: &SamplingContext) -> Vec<usize> {
        let all = 0..group.rollouts.len();
        let good = |number: &usize| context.good(group, &group.rollouts[*number]);
        match (self.only_right, self.only_wrong) {
            (true, _) => all.clone().find(good).into_iter().collect(),
            (_, true) => all.filter(|number| !good(number)).collect(),
            _ => all.collect(),
        }
    }

    /// The cuts of a rollout, where asked for or where answers are forced one before its first step.
    fn places(&self, rollout: &Rollout, context: &SamplingContext) -> Vec<Place> {
        let start = (self.close || self.at_start).then_some(Place::START);
        let others = places(rollout, context.format, &context.policy.tokenizer);
        start.into_iter().chain(others).collect()
    }
}

/// Cuts each of the rollouts of `groups` as the section says, and notes in it what its continuations are worth.
pub(super) fn each(
    section: &PrefixRollout,
    groups: &mut [Group],
    context: &mut SamplingContext,
) -> Result<()> {
    let mut all = Vec::new();
    for (at, group) in groups.iter().enumerate() {
        all.extend(section.chosen(group, context).into_iter().map(|number| Steps {
            group: at,
            rollout: number,
            // Which share of the steps is looked at is the same whenever the question is asked.
            seed: context.seeds.of_stage(at, &[number as u64]),
            places: section.places(&group.rollouts[number], context),
            known: BTreeMap::new(),
            closed: section.close,
            branches: (section.keep == Keep::All).then(Vec::new),
        }));
    }
    let mut cost = explore(section, &mut all, groups, context)?;
    for steps in all {
        context.figures.add("prefix/cuts", steps.known.len() as f64, 1.0);
        let failed = steps.known.values().find(|value| value.step > 0 && !value.hard());
        context.figures.add("prefix/with_failure", f64::from(u8::from(failed.is_some())), 1.0);
        if let Some(first) = failed {
            context.figures.add("prefix/first_failure", first.step as f64, 1.0);
        }
        let group = &mut groups[steps.group];
        let tokens = group.rollouts[steps.rollout].tokens.len();
        let known = |number: usize| steps.known.get(&steps.places[number - 1].step).map(CutValue::hard);
        cost.labelled(&steps.places, known, 0, [section.continuations, group.prompt.len(), tokens]);
        group.rollouts[steps.rollout].cuts = steps.known.into_values().collect();
        group.rollouts.extend(steps.branches.into_iter().flatten());
    }
    cost.report(context.figures);
    Ok(())
}

impl Exploration for Steps {
    fn next(&mut self, cutting: &Cutting, _groups: &mut [Group], _cost: &mut Cost) -> Vec<Origin> {
        // A step whose end is no place (a token holds it and more) is passed over: the places are counted instead.
        let known = self.known.iter().filter_map(|(step, value)| {
            let number = self.places.iter().position(|place| place.step == *step)?;
            Some((number + 1, value.hard()))
        });
        let next = cutting.section.next(self.places.len(), &known.collect(), self.seed);
        let from = |number: usize| Origin {
            group: self.group,
            rollout: self.rollout,
            place: self.places[number - 1],
        };
        next.into_iter().map(from).collect()
    }

    fn learn(&mut self, _groups: &[Group], from: Origin, rollouts: Vec<Rollout>, good: &[bool]) -> CutValue {
        let mut value = CutValue::of(from.place, &rollouts, good);
        if self.closed {
            // A forced answer is no way on, and no loop is to learn it.
            (value.shortest, value.best) = (None, None);
        }
        self.known.insert(from.place.step, value.clone());
        if let Some(branches) = &mut self.branches {
            let branched_at = Some(from.place);
            branches.extend(rollouts.into_iter().map(|rollout| Rollout { branched_at, ..rollout }));
        }
        value
    }
}
