//! Policy gradient on groups of rollouts: GRPO (Shao et al. 2024) and its relatives, which differ in how credit is
//! shared ([`Advantage`]) and in the surrogate that is minimised ([`PolicyLoss`]).
//!
//! [`Advantage`]: crate::advantage::Advantage
//! [`PolicyLoss`]: crate::loss::policy::PolicyLoss

mod asked;
mod section;
mod steps;

pub use section::{Grpo, Kl, KlPlace, Truncated, ZeroVariance};

use super::selection::selected;
use super::{Batch, Lesson, Pass, Update, Worker, figures};
use crate::advantage::{Outcome, zero_variance};
use crate::data::order;
use crate::error::{Error, Result};
use crate::log::Metrics;
use crate::loss::policy::PolicyTokens;
use crate::model::{Scored, Sequence};
use crate::reward::column;
use crate::rollout::{Group, Rollout};
use crate::seed;
use serde_json::{Value, json};
use tch::Tensor;

impl Grpo {
    /// Samples the step's groups, without those that teach nothing where the recipe says so.
    fn groups(&mut self, worker: &mut Worker, step: usize, metrics: &mut Metrics) -> Result<Vec<Group>> {
        let prompts = self.asked(worker, step, 0, metrics)?;
        let mut groups = worker.roll_out(&prompts, step, 0, metrics)?;
        self.note(&groups)?;
        figures::describe(&groups, metrics);
        worker.alarms.watch(&groups, worker.rewards.weights(), step, metrics);
        if let Some(by) = &worker.by {
            figures::by_class(&groups, by, metrics);
        }
        if self.zero_variance == ZeroVariance::Keep {
            return Ok(groups);
        }
        let weights: Vec<(String, f64)> = weights(worker);
        groups.retain(|group| self.teaches(group, &weights));
        let mut attempts = 0;
        while self.zero_variance == ZeroVariance::Resample
            && groups.len() < prompts.len()
            && attempts < self.resample_limit
        {
            attempts += 1;
            let taken: std::collections::HashSet<usize> = groups.iter().map(|g| g.example.index).collect();
            let mut spare = self.asked(worker, step, attempts, metrics)?;
            spare.retain(|prompted| !taken.contains(&prompted.example.index));
            let sampled = worker.roll_out(&spare, step, attempts, metrics)?;
            self.note(&sampled)?;
            groups.extend(sampled.into_iter().filter(|group| self.teaches(group, &weights)));
        }
        groups.truncate(prompts.len());
        metrics.set("groups_kept", groups.len() as f64);
        metrics.set("resamplings", attempts as f64);
        if groups.len() < prompts.len() && self.zero_variance == ZeroVariance::Resample {
            tracing::warn!(
                "step {step}: {} of {} groups have different rewards after {attempts} resamplings; going on with these",
                groups.len(),
                prompts.len()
            );
        }
        Ok(groups)
    }

    fn teaches(&self, group: &Group, weights: &[(String, f64)]) -> bool {
        let differs = match self.advantage.per_reward {
            true => self.outcome(group, weights, None).differs(),
            false => !zero_variance(&group.rewards()),
        };
        differs || self.steps_teach(group)
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
        Outcome { parts, lengths: rollouts.iter().map(|r| r.tokens.len()).collect() }
    }

    /// The advantages of the step's groups; with `compare_by`, across groups.
    fn advantages(&self, groups: &[Group], outcomes: &[Outcome]) -> Result<Vec<Vec<f64>>> {
        let Some(by) = &self.advantage.compare_by else { return Ok(self.advantage.credit(outcomes)) };
        let key = |group: &Group| {
            column::text(&group.example, by).map_err(|problem| {
                Error::Data(format!(
                    "example {}: loop.grpo.advantage.compare_by: {problem}",
                    group.example.id
                ))
            })
        };
        Ok(self.advantage.credit_by(outcomes, &groups.iter().map(key).collect::<Result<Vec<_>>>()?))
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
            let of = |rollout: &Rollout| Sequence::new(&group.prompt, &rollout.tokens);
            group.rollouts.iter().map(of).collect::<Vec<_>>()
        };
        let sequences: Vec<Sequence> = groups.iter().flat_map(sequences).collect();
        Ok(worker.reference_logprobs(&sequences, temperature)?.into_iter().map(Some).collect())
    }

    /// What each group's rollouts came to, their divergence from the reference taken off where it is part of the reward.
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
            let in_reward = self.kl.place == KlPlace::Reward;
            let kls: Option<Vec<f64>> =
                if in_reward { group.rollouts.iter().zip(own).map(kl).collect() } else { None };
            self.outcome(group, weights, kls.as_deref())
        };
        groups.iter().map(outcome).collect()
    }

    /// Deals the items out to the updates of a step: `epochs_per_batch` passes of `minibatches` updates.
    fn updates(&self, items: &[Item], max_new_tokens: usize, shuffle_seed: u64) -> Vec<Update> {
        let groups = items.iter().map(|item| item.group).max().map_or(0, |last| last + 1);
        let mut updates = Vec::new();
        for epoch in 0..self.epochs_per_batch {
            let order = order::of_epoch(groups, epoch, (self.minibatches > 1).then_some(shuffle_seed));
            for part in order.chunks(groups.div_ceil(self.minibatches).max(1)) {
                let chosen: Vec<usize> =
                    (0..items.len()).filter(|&i| part.contains(&items[i].group)).collect();
                let total = |of: &[usize]| {
                    self.loss.total(of.len(), of.iter().map(|&i| items[i].tokens()).sum(), max_new_tokens)
                };
                let weight = if self.loss.spans_generation() {
                    total(&(0..items.len()).collect::<Vec<_>>()) / self.minibatches as f64
                } else {
                    total(&chosen)
                };
                let teaching: Vec<usize> = chosen.into_iter().filter(|&i| !items[i].masked).collect();
                if !teaching.is_empty() {
                    updates.push(Update { items: teaching, weight });
                }
            }
        }
        updates
    }
}

/// The rewards' names and weights.
fn weights(worker: &Worker) -> Vec<(String, f64)> {
    worker.rewards.weights().map(|(name, weight)| (name.to_owned(), weight)).collect()
}

/// One rollout with its credit.
#[derive(Debug, Clone)]
pub struct Item {
    sequence: Sequence,
    /// Number of its group within the step.
    group: usize,
    advantage: f64,
    /// The advantage of each token, where steps are credited.
    by_token: Option<Vec<f32>>,
    old_logprobs: Vec<f32>,
    ref_logprobs: Option<Vec<f32>>,
    /// Counts in the batch and has no loss.
    masked: bool,
}

impl Item {
    fn length(&self) -> usize {
        self.sequence.learned()
    }

    /// The advantage of each token.
    fn advantages(&self) -> Vec<f32> {
        self.by_token.clone().unwrap_or_else(|| vec![self.advantage as f32; self.length()])
    }

    /// Tokens that have a loss.
    fn tokens(&self) -> usize {
        if self.masked { 0 } else { self.length() }
    }
}

impl Lesson for Grpo {
    type Item = Item;

    fn begin(&mut self, _worker: &mut Worker, _kept: Option<Tensor>) -> Result<Option<Tensor>> {
        self.warn();
        Ok(None)
    }

    fn batch(&mut self, worker: &mut Worker, step: usize, metrics: &mut Metrics) -> Result<Batch<Item>> {
        let groups = self.groups(worker, step, metrics)?;
        let temperature = worker.sampling.scoring_temperature();
        let references = self.references(worker, &groups, temperature)?;
        let outcomes = self.outcomes(&groups, &references, &weights(worker));
        let advantages = self.advantages(&groups, &outcomes)?;
        let mut references = references.into_iter();
        let mut items = Vec::new();
        let mut credited = Vec::with_capacity(groups.len());
        for (number, (group, advantages)) in groups.into_iter().zip(advantages).enumerate() {
            let by_token = self.by_token(&group, &advantages, metrics)?;
            let kept = selected(&worker.select, &group, metrics);
            for (i, (rollout, ref_logprobs)) in group.rollouts.iter().zip(references.by_ref()).enumerate() {
                let cut_off = self.truncated == Truncated::Mask && rollout.truncated();
                items.push(Item {
                    sequence: Sequence::new(&group.prompt, &rollout.tokens),
                    group: number,
                    advantage: advantages[i],
                    by_token: by_token.as_ref().map(|all| all[i].clone()),
                    old_logprobs: rollout.logprobs.clone(),
                    ref_logprobs,
                    masked: cut_off || !kept.contains(&i),
                });
            }
            let credit =
                (0..group.rollouts.len()).map(|i| kept.contains(&i).then_some(advantages[i])).collect();
            credited.push((group, credit));
        }
        let sampled_tokens = items.iter().map(Item::length).sum();
        let updates =
            self.updates(&items, worker.sampling.max_new_tokens, seed::derive(&[worker.seed, step as u64]));
        Ok(Batch { items, updates, groups: credited, sampled_tokens, temperature })
    }

    fn sequences<'a>(&self, item: &'a Item) -> &'a [Sequence] {
        std::slice::from_ref(&item.sequence)
    }

    fn learn(&self, pass: Pass<Item>) -> Result<f64> {
        pass.by_scores(self, &[], Self::loss)
    }

    fn position(&self) -> Option<Value> {
        self.curriculum.as_ref().map(|_| json!({ "recent": self.recent }))
    }

    fn go_on(&mut self, position: &Value) -> Result<()> {
        self.restore(position)
    }

    fn finish(&mut self, worker: &mut Worker, step: usize, _: &Metrics) -> Result<()> {
        worker.refresh_reference(&self.reference, step);
        Ok(())
    }
}

impl Grpo {
    fn loss(&self, items: &[&Item], scored: &Scored, metrics: &mut Metrics) -> Result<Tensor> {
        let Scored { logprobs, entropy, .. } = scored;
        let device = logprobs.device();
        let lengths: Vec<usize> = items.iter().map(|item| item.length()).collect();
        let flat = |values: Vec<f32>| Tensor::from_slice(&values).to_device(device);
        let spread = |per_item: Vec<f64>| {
            let values = per_item.iter().zip(&lengths).flat_map(|(&v, &n)| std::iter::repeat_n(v as f32, n));
            flat(values.collect())
        };
        let old_logprobs = flat(items.iter().flat_map(|item| item.old_logprobs.iter().copied()).collect());
        let advantages = flat(items.iter().flat_map(|item| item.advantages()).collect());
        let weights = spread(self.loss.weights(&lengths));
        let tokens = PolicyTokens {
            logprobs,
            old_logprobs: &old_logprobs,
            advantages: &advantages,
            weights: &weights,
            lengths: &lengths,
        };
        let terms = self.loss.sum(&tokens);
        let count = lengths.iter().sum::<usize>() as f64;
        terms.report(|name, mean, count| metrics.add(name, mean, count));
        if terms.clips.count > 0.0 {
            metrics.min("clip_ratio/low_min", terms.clips.low_min);
            metrics.max("clip_ratio/high_max", terms.clips.high_max);
            metrics.max("ratio/max", terms.clips.ratio_max);
        }
        metrics.add("entropy", entropy.mean(tch::Kind::Float).double_value(&[]), count);
        let difference = (logprobs.detach() - &old_logprobs).abs();
        metrics.add(
            "sampling/sampling_logp_difference/mean",
            difference.mean(tch::Kind::Float).double_value(&[]),
            count,
        );
        metrics.max("sampling/sampling_logp_difference/max", difference.max().double_value(&[]));

        let mut loss = terms.loss;
        if items.iter().all(|item| item.ref_logprobs.is_some()) {
            let reference = items.iter().flat_map(|item| item.ref_logprobs.iter().flatten().copied());
            let kl = self.kl.estimator.tokens(logprobs, &flat(reference.collect()));
            metrics.add("kl", kl.mean(tch::Kind::Float).double_value(&[]), count);
            if self.kl.place == KlPlace::Loss {
                loss += (kl * &weights).sum(tch::Kind::Float) * self.kl.coefficient;
            }
        }
        if self.entropy_coefficient != 0.0 {
            loss -= (entropy * &weights).sum(tch::Kind::Float) * self.entropy_coefficient;
        }
        Ok(loss)
    }
}
