//! Policy gradient on groups of rollouts: GRPO (Shao et al. 2024) and its relatives, which differ in how credit is
//! shared ([`Advantage`], or a [`Critic`]) and in the surrogate that is minimised ([`PolicyLoss`]).
//!
//! [`Advantage`]: crate::advantage::Advantage
//! [`PolicyLoss`]: crate::loss::policy::PolicyLoss

mod asked;
mod critic;
mod method;
mod rows;
mod section;
mod steps;
#[cfg(test)]
mod tests;

pub use critic::Critic;
pub use section::{Grpo, Kl, KlPlace, Truncated, ZeroVariance};

use critic::Credited;

use super::alarms::Seen;
use super::item::{ADVANTAGES, OLD_LOGPROBS, REF_LOGPROBS, lengths, stacked};
use super::selection::selected;
use super::{
    Batch, DroppedGroup, Item, Method, Needs, Output, ReferenceKind, Section, Selects, Setup, StageView,
    Update, Worker, figures,
};
use crate::advantage::{Advantage, Baseline, Outcome, Whiten};
use crate::data::order;
use crate::error::{Error, Result};
use crate::log::Metrics;
use crate::loss::policy::{PolicyLoss, PolicyTokens};
use crate::model::Sequence;
use crate::ranks::{Ranks, agreed, gathered};
use crate::reward::column;
use crate::rollout::{Group, Rollout, Trace};
use crate::section::Misfit;
use crate::seed;
use crate::select::curriculum::Recent;
use crate::statistics::alone;
use serde_json::{Value, json};
use tch::Tensor;

/// How often examples were right, by their index.
type Notes = Vec<(usize, f64)>;

/// Groups to train on, those that are dropped, what is noted of all, and what alarms look at.
type Sampled = (Vec<Group>, Vec<DroppedGroup>, Notes, Vec<Seen>);

/// The method at work.
struct GrpoMethod {
    grpo: Grpo,
    /// What the curriculum knows of the questions.
    recent: Recent,
    /// The step is one of the critic's warm-up.
    warms_up: bool,
}

impl GrpoMethod {
    /// Samples the step's groups, and says which of them are not trained on where the recipe says so; with what alarms look at.
    fn groups(&mut self, worker: &mut Worker, step: usize, metrics: &mut Metrics) -> Result<Sampled> {
        let prompts = self.asked(worker, step, 0, metrics)?;
        let groups = worker.roll_out(&prompts, step, 0, metrics)?;
        let mut noted = self.note(&groups)?;
        figures::describe(&groups, metrics);
        let seen =
            groups.iter().map(|group| Seen::of(group).unless(self.grpo.equal_teaches(group))).collect();
        if let Some(by) = &worker.by {
            figures::by_class(&groups, by, metrics);
        }
        if self.grpo.zero_variance == ZeroVariance::Keep {
            return Ok((groups, vec![], noted, seen));
        }
        let weights: Vec<(String, f64)> = weights(worker);
        let mut dropped = Vec::new();
        let mut attempts = 0;
        let mut groups = self.trained_on(groups, &weights, attempts, &mut dropped);
        while self.grpo.zero_variance == ZeroVariance::Resample
            && groups.len() < prompts.len()
            && attempts < self.grpo.resample_limit
        {
            attempts += 1;
            let taken: std::collections::HashSet<usize> = groups.iter().map(|g| g.example.index).collect();
            let mut spare = self.asked(worker, step, attempts, metrics)?;
            spare.retain(|prompted| !taken.contains(&prompted.example.index));
            let mut sampled = worker.roll_out(&spare, step, attempts, metrics)?;
            noted.extend(self.note(&sampled)?);
            sampled.iter_mut().for_each(|group| group.place += attempts * worker.questions.per_step());
            groups.extend(self.trained_on(sampled, &weights, attempts, &mut dropped));
        }
        let surplus = groups.split_off(prompts.len().min(groups.len())).into_iter();
        dropped.extend(surplus.map(|group| DroppedGroup { group, why: "surplus", attempt: attempts }));
        metrics.count("groups_kept", groups.len() as f64);
        metrics.set("resamplings", attempts as f64);
        if groups.len() < prompts.len() && self.grpo.zero_variance == ZeroVariance::Resample {
            tracing::warn!(
                "step {step}: {} of {} groups have different rewards after {attempts} resamplings; going on with these",
                groups.len(),
                prompts.len()
            );
        }
        Ok((groups, dropped, noted, seen))
    }

    /// Those of an attempt's groups that are trained on; the others go to `dropped`.
    fn trained_on(
        &self,
        sampled: Vec<Group>,
        weights: &[(String, f64)],
        attempt: usize,
        dropped: &mut Vec<DroppedGroup>,
    ) -> Vec<Group> {
        let (kept, others): (Vec<_>, Vec<_>) =
            sampled.into_iter().partition(|group| self.grpo.trains_on(group, weights));
        dropped.extend(others.into_iter().map(|group| DroppedGroup { group, why: "zero_variance", attempt }));
        kept
    }
}

impl Grpo {
    /// Whether a group has an advantage to learn from, by the outcomes and the baseline that advantages are computed from.
    fn trains_on(&self, group: &Group, weights: &[(String, f64)]) -> bool {
        // What is expected of a completion is not what its group came to.
        let critic = self.critic.is_some();
        let divergence = self.kl.place == KlPlace::Reward && self.needs_reference();
        let alone = || {
            let plain = Advantage { whiten: Whiten::None, ..self.advantage.clone() };
            let advantages = plain.credit(&[self.outcome(group, weights, None)], &mut alone).concat();
            // Rewards that cancel each other may leave a rounding error.
            advantages.iter().any(|advantage| advantage.abs() > 1e-9)
        };
        critic || divergence || self.compares_groups() || alone() || self.steps_teach(group)
    }

    /// Whether a group whose rewards are all equal teaches by what it is held against.
    fn equal_teaches(&self, group: &Group) -> bool {
        self.critic.is_some() || self.compares_groups() || self.steps_teach(group)
    }

    /// Whether completions are held against those of other questions.
    fn compares_groups(&self) -> bool {
        let whitens = self.advantage.whiten != Whiten::None;
        self.advantage.compare_by.is_some() || (whitens && self.advantage.baseline == Baseline::None)
    }

    /// What advantages are computed from: the scores with their weights, and the penalties of this loop.
    fn outcome(&self, group: &Group, weights: &[(String, f64)], kl: Option<&[f64]>) -> Outcome {
        let rollouts = &group.rollouts;
        let scores =
            |name: &str| rollouts.iter().map(|r| r.scores.get(name).map_or(0.0, |s| s.value)).collect();
        let mut parts: Vec<(f64, Vec<f64>)> =
            weights.iter().map(|(name, weight)| (*weight, scores(name))).collect();
        if self.truncated_reward != 0.0 {
            let truncated = |r: &Rollout| f64::from(u8::from(r.truncated()));
            parts.push((self.truncated_reward, rollouts.iter().map(truncated).collect()));
        }
        if let Some(kl) = kl {
            parts.push((-self.kl.coefficient, kl.to_vec()));
        }
        Outcome { parts, lengths: rollouts.iter().map(Rollout::sampled).collect() }
    }

    /// The advantages of the step's groups; with `compare_by`, across the groups of all ranks.
    fn advantages(&self, worker: &Worker, groups: &[Group], outcomes: &[Outcome]) -> Result<Vec<Vec<f64>>> {
        let Some(by) = &self.advantage.compare_by else {
            return worker.over_ranks(|sum| self.of_completions().credit(outcomes, sum));
        };
        let key = |group: &Group| {
            column::text(&group.example, by).map_err(|problem| {
                Error::Data(format!("{}: loop.grpo.advantage.compare_by: {problem}", group.example))
            })
        };
        let keyed = groups.iter().map(key).collect::<Result<Vec<String>>>()?;
        let own: Vec<(String, Outcome)> = keyed.into_iter().zip(outcomes.iter().cloned()).collect();
        let all = gathered(&*worker.ranks, own)?;
        let before: usize = all.iter().take(worker.ranks.rank()).map(Vec::len).sum();
        let (keys, outcomes): (Vec<String>, Vec<Outcome>) = all.into_iter().flatten().unzip();
        let mine = before..before + groups.len();
        Ok(self.of_completions().credit_by(&outcomes, &keys)[mine].to_vec())
    }

    /// How completions are credited: not whitened where `step_rewards` come to them, since that is done last.
    fn of_completions(&self) -> Advantage {
        let whiten = if self.step_rewards.is_some() { Whiten::None } else { self.advantage.whiten };
        Advantage { whiten, ..self.advantage.clone() }
    }

    /// The reference's log-probabilities of each rollout, those of all groups in order; none where nothing asks for them.
    fn references(
        &self,
        worker: &mut Worker,
        groups: &[Group],
        temperature: f64,
    ) -> Result<Vec<Option<Vec<f32>>>> {
        let rollouts = groups.iter().map(|group| group.rollouts.len()).sum();
        if !self.needs_reference() {
            return Ok(vec![None; rollouts]);
        }
        let sequences = |group: &Group| {
            let of = |rollout: &Rollout| rollout.sequence(&group.prompt);
            group.rollouts.iter().map(of).collect::<Vec<_>>()
        };
        let sequences: Vec<Sequence> = groups.iter().flat_map(sequences).collect();
        Ok(worker.reference_logprobs(&sequences, temperature)?.into_iter().map(Some).collect())
    }

    /// What each group's rollouts came to, their divergence from the reference taken off where it is part of the reward; under a critic it is
    /// taken off token by token.
    fn outcomes(
        &self,
        groups: &[Group],
        references: &[Option<Vec<f32>>],
        weights: &[(String, f64)],
    ) -> Vec<Outcome> {
        let mut rest = references;
        let outcome = |group: &Group| {
            let (own, others) = rest.split_at(group.rollouts.len());
            rest = others;
            let kl = |(rollout, reference): (&Rollout, &Option<Vec<f32>>)| {
                reference.as_ref().map(|reference| self.kl.estimator.sum(&rollout.logprobs, reference))
            };
            let in_reward = self.kl.place == KlPlace::Reward && self.critic.is_none();
            let kls: Option<Vec<f64>> =
                if in_reward { group.rollouts.iter().zip(own).map(kl).collect() } else { None };
            self.outcome(group, weights, kls.as_deref())
        };
        groups.iter().map(outcome).collect()
    }

    /// Deals the items, of which each is one rollout, out to the updates of a step: `epochs_per_batch` passes of `minibatches`
    /// updates, or of fewer where there are fewer groups.
    fn updates(
        &self,
        items: &[Item],
        rollouts: &[Dealt],
        max_new_tokens: usize,
        shuffle_seed: u64,
        ranks: &dyn Ranks,
    ) -> Result<Vec<Update>> {
        let mut last = [rollouts.iter().map(|dealt| dealt.group + 1).max().unwrap_or(0) as f64];
        ranks.max(&mut last)?;
        let groups = last[0] as usize;
        let tokens =
            |of: &[usize]| of.iter().map(|&i| if rollouts[i].masked { 0 } else { items[i].learned() }).sum();
        let total = |of: &[usize]| self.loss.part(of.len(), tokens(of), max_new_tokens);
        let whole = total(&(0..items.len()).collect::<Vec<_>>());
        let mut updates = Vec::new();
        for epoch in 0..self.epochs_per_batch {
            let order = order::of_epoch(groups, epoch, (self.minibatches > 1).then_some(shuffle_seed));
            let parts = order.chunks(groups.div_ceil(self.minibatches).max(1));
            let dealt = parts.map(|part| {
                let of_part = (0..items.len()).filter(|&i| part.contains(&rollouts[i].group));
                let all: Vec<usize> = of_part.collect();
                let learned: Vec<usize> = all.iter().copied().filter(|&i| !rollouts[i].masked).collect();
                (all, learned)
            });
            let dealt: Vec<(Vec<usize>, Vec<usize>)> = dealt.collect();
            // An update is made where any rank learns something in it, and counts for all of them.
            let mut learned: Vec<f64> = dealt.iter().map(|(_, learned)| learned.len() as f64).collect();
            ranks.max(&mut learned)?;
            let made = learned.iter().filter(|learned| **learned > 0.0).count() as f64;
            for ((all, items), _) in dealt.into_iter().zip(learned).filter(|(_, learned)| *learned > 0.0) {
                let weight = if self.loss.spans_generation() { whole / made } else { total(&all) };
                updates.push(Update { items, weight });
            }
        }
        Ok(updates)
    }
}

/// The numbers of `groups` among those of all ranks, in the order in which their questions were asked.
fn numbers(groups: &[Group], ranks: &dyn Ranks) -> Result<Vec<usize>> {
    let own: Vec<usize> = groups.iter().map(|group| group.place).collect();
    let mut all = gathered(ranks, own.clone())?.concat();
    all.sort_unstable();
    Ok(own.iter().map(|place| all.partition_point(|other| other < place)).collect())
}

/// The rewards' names and weights.
fn weights(worker: &Worker) -> Vec<(String, f64)> {
    worker.rewards.weights().map(|(name, weight)| (name.to_owned(), weight)).collect()
}

/// A rollout among the items of a step.
#[derive(Debug, Clone, Copy)]
struct Dealt {
    /// Number of its group within the step.
    group: usize,
    /// It counts in the batch and has no loss.
    masked: bool,
}

/// A tree's leaves as often as they were drawn, with the place of each in the group: children that came out equal are one
/// node, and a path that ended early stands for all draws that its siblings branched into. A tree has `draws` in all, as many
/// as it may have leaves, so that groups weigh alike and no share ([`Group::shares`]) is a fraction of a draw.
fn drawn(group: &Group, draws: usize) -> (Group, Vec<usize>) {
    let count = |(rollout, share): (&Rollout, f64)| match rollout.forks.is_empty() {
        true => 1,
        false => (share * draws as f64).round() as usize,
    };
    let counts = group.rollouts.iter().zip(group.shares()).map(count);
    let places: Vec<usize> = counts.enumerate().flat_map(|(at, n)| std::iter::repeat_n(at, n)).collect();
    let rollouts = places.iter().map(|&at| group.rollouts[at].clone()).collect();
    (Group { rollouts, ..group.clone() }, places)
}
