//! Completions cut between their steps and continued, so that every step has a value.

mod cost;
mod grow;

use super::Context;
use crate::engine::Statistics;
use crate::error::Result;
use crate::log::Metrics;
use crate::reward::{Models, answer};
use crate::rollout::prefix::{self, Cut, CutValue, Cuts, Place, PrefixRollout};
use crate::rollout::{Group, Rollout};
use crate::seed;
use cost::Cost;
use std::collections::BTreeMap;

/// A place in a rollout that is to be gone on from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct From {
    /// Which group.
    pub group: usize,
    /// Which of its rollouts.
    pub rollout: usize,
    /// Where in it.
    pub place: Place,
}

/// A rollout under way: its places and what is known of them.
struct Search {
    group: usize,
    rollout: usize,
    seed: u64,
    places: Vec<Place>,
    known: BTreeMap<usize, CutValue>,
}

impl Context {
    /// `count` continuations of each place, scored by the recipe's rewards of any weight as a group of its own. `salt` tells apart
    /// several calls for one place. Also what that took.
    pub fn continuations(
        &mut self,
        groups: &[Group],
        from: &[From],
        count: usize,
        salt: [u64; 2],
        metrics: &mut Metrics,
    ) -> Result<(Vec<Vec<Rollout>>, Statistics)> {
        let base = self.seed;
        let seeds = |from: &From| -> Vec<u64> {
            let at =
                [groups[from.group].example.index, from.rollout, from.place.step].map(|part| part as u64);
            let seed = |sample: usize| [base, salt[0], salt[1], at[0], at[1], at[2], sample as u64];
            (0..count).map(|sample| seed::derive(&seed(sample))).collect()
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
        let (continued, statistics) =
            prefix::continuations(&self.policy, &cuts, &self.sampling, &self.format, &mut self.progress)?;
        metrics.add("prefix/prefill_tokens", statistics.prefill_tokens as f64, 1.0);
        metrics.add("prefix/decoded_tokens", statistics.decoded_tokens as f64, 1.0);
        let group = |(at, rollouts): (&From, Vec<Rollout>)| {
            let of = &groups[at.group];
            Group { example: of.example.clone(), prompt: of.prompt.clone(), rollouts }
        };
        let mut continued: Vec<Group> = from.iter().zip(continued).map(group).collect();
        let models = Models::of(&self.policy, self.tokens_per_microbatch);
        self.rewards.score_weighted(&mut continued, &models)?;
        Ok((continued.into_iter().map(|group| group.rollouts).collect(), statistics))
    }

    /// Cuts the rollouts of `groups` as the section says, and notes in each what its continuations are worth.
    pub(super) fn explore(
        &mut self,
        section: &PrefixRollout,
        groups: &mut [Group],
        salt: [u64; 2],
        metrics: &mut Metrics,
    ) -> Result<()> {
        if section.cuts == Cuts::Tree {
            return self.grow(section, groups, salt, metrics);
        }
        let (mut searches, mut cost) = (self.searches(section, groups), Cost::default());
        loop {
            let asked: Vec<(usize, From)> = searches
                .iter()
                .enumerate()
                .flat_map(|(index, search)| search.next(section).into_iter().map(move |from| (index, from)))
                .collect();
            if asked.is_empty() {
                break;
            }
            let from: Vec<From> = asked.iter().map(|(_, from)| *from).collect();
            let (continued, statistics) =
                self.continuations(groups, &from, section.continuations, salt, metrics)?;
            cost.spent(&statistics);
            for ((index, from), rollouts) in asked.into_iter().zip(continued) {
                let good: Vec<bool> = rollouts.iter().map(|r| good(&groups[from.group], r)).collect();
                let value = CutValue::of(from.place, &rollouts, &good);
                metrics.add("prefix/value", value.value, 1.0);
                metrics.add("prefix/good", value.soft(), value.continuations as f64);
                searches[index].known.insert(from.place.step, value);
            }
        }
        for search in searches {
            metrics.add("prefix/cuts", search.known.len() as f64, 1.0);
            let failed = search.known.values().find(|value| !value.hard());
            metrics.add("prefix/with_failure", f64::from(u8::from(failed.is_some())), 1.0);
            if let Some(first) = failed {
                metrics.add("prefix/first_failure", first.step as f64, 1.0);
            }
            let group = &mut groups[search.group];
            let tokens = group.rollouts[search.rollout].tokens.len();
            let known = |number: usize| search.known.get(&search.places[number - 1].step).map(CutValue::hard);
            cost.labelled(&search.places, known, 0, [section.continuations, group.prompt.len(), tokens]);
            group.rollouts[search.rollout].cuts = search.known.into_values().collect();
        }
        cost.report(metrics);
        Ok(())
    }

    fn searches(&self, section: &PrefixRollout, groups: &[Group]) -> Vec<Search> {
        let mut searches = Vec::new();
        for (at, group) in groups.iter().enumerate() {
            for (number, rollout) in group.rollouts.iter().enumerate() {
                if section.only_wrong && good(group, rollout) {
                    continue;
                }
                searches.push(Search {
                    group: at,
                    rollout: number,
                    seed: seed::derive(&[self.seed, group.example.index as u64, number as u64]),
                    places: prefix::places(rollout, &self.format, &self.policy.tokenizer),
                    known: BTreeMap::new(),
                });
            }
        }
        searches
    }
}

impl Search {
    fn next(&self, section: &PrefixRollout) -> Vec<From> {
        // A step whose end is no place (a token holds it and more) is passed over: the places are counted instead.
        let known = self.known.iter().filter_map(|(step, value)| {
            let number = self.places.iter().position(|place| place.step == *step)?;
            Some((number + 1, value.hard()))
        });
        let next = section.next(self.places.len(), &known.collect(), self.seed);
        let from =
            |number: usize| From { group: self.group, rollout: self.rollout, place: self.places[number - 1] };
        next.into_iter().map(from).collect()
    }
}

/// Whether a continuation counts as good: the right answer, or where there is no gold one, a positive reward.
pub(super) fn good(group: &Group, rollout: &Rollout) -> bool {
    answer::correct(&group.example, rollout).unwrap_or(rollout.reward > 0.0)
}
