//! How credit is shared out among the rollouts of a group (GRPO, arXiv 2402.03300; Dr. GRPO, 2503.20783; RLOO, 2402.14740).

mod differences;
mod gae;
mod outcome;
pub mod steps;
mod whiten;

pub use differences::{StepReach, StepRewards};
pub use gae::{explained_variance, gae, whiten_tokens};
pub use outcome::Outcome;
pub use steps::StepCredit;
pub use whiten::Whiten;

use crate::Result;
use crate::section::{Misfit, all_fit};
use crate::statistics::{self, Moments, Sum, deviation, mean};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Rewards → advantages: `[loop.grpo.advantage]`.
///
/// A_i = (r_i − baseline_i) / (deviation + epsilon), without the division for `scale = "none"`; with `per_reward` the
/// weighted sum of these over the rewards; and then, with `whiten`, (A_i − mean) / deviation over the whole step.
///
/// A step may be spread over ranks, each with some of its groups: what spans the step is then computed from sums over all of
/// them (`sum`, [`statistics::alone`] where there is one), and what `compare_by` compares is gathered first.
///
/// | as in | `baseline` | `scale` | `epsilon` |
/// | --- | --- | --- | --- |
/// | GRPO, TRL's `scale_rewards = "group"` | `mean` | `group` | 1e-4 |
/// | verl's GRPO | `mean` | `group` | 1e-6 |
/// | TRL's `scale_rewards = "batch"` | `mean` | `batch` | 1e-4 |
/// | Dr. GRPO, verl's `norm_adv_by_std_in_grpo = False`, TRL's `"none"` | `mean` | `none` | |
/// | RLOO | `leave_one_out` | `none` | |
/// | NeMo-RL's default, whose deviation is of the other rewards alone too | `leave_one_out` | `group` | 1e-6 |
/// | REINFORCE | `none` | `none` | |
/// | REINFORCE++, with `whiten = "tokens"` (arXiv 2501.03262; its KL is k1 in the reward, as with `kl.place = "reward"`, summed) | `none` | `none` | |
/// | REINFORCE++-baseline, with `whiten = "tokens"` | `mean` | `none` | |
/// | GDPO, TRL's `normalize_then_sum`: with `per_reward = true`, `whiten = "sequences"` | `mean` | `group` | 1e-4 |
/// | OPO (arXiv 2505.23585) | `length_weighted` | `none` | |
/// | verl's pass@k | `second_best` | `group` | 1e-6 |
/// | prime-rl's hierarchical GRPO, with `compare_by` | `mean` | `none` | |
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Advantage {
    /// What is taken from each reward: the group's `mean`, the mean of the others (`leave_one_out`), or `none`.
    pub baseline: Baseline,
    /// What the difference is divided by: the standard deviation of the `group` or of the whole `batch`, or `none`.
    pub scale: Scale,
    /// Added to the standard deviation before dividing.
    pub epsilon: f64,
    /// Whether baseline and scale are applied to each reward by itself, before the weighted sum (GDPO): rewards of small
    /// variance then keep their say.
    pub per_reward: bool,
    /// What becomes of the advantages in the end: nothing (`none`), or mean 0 and deviation 1 over all `sequences` or
    /// all `tokens` of the step; with `loop.grpo.step_rewards` once these are in.
    pub whiten: Whiten,
    /// A column of the data, such as a role: rollouts of all the step's examples that have the same value there are
    /// compared with each other, in place of those of one prompt.
    pub compare_by: Option<String>,
}

/// What is taken from each reward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Baseline {
    /// The mean of the group.
    Mean,
    /// The mean of the group's other rewards: (r_i − mean) · G / (G − 1).
    LeaveOneOut,
    /// The mean of the group weighted by length, Σ len · r / Σ len: the baseline of least variance where a gradient's
    /// size grows with length.
    LengthWeighted,
    /// The second best reward of the group, of the best alone: all others get 0, and where two are best, all do.
    SecondBest,
    /// Nothing.
    None,
}

/// What the difference from the baseline is divided by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Scale {
    /// The sample standard deviation (n − 1) of the group's rewards.
    Group,
    /// The sample standard deviation (n − 1) of all rewards of the step.
    Batch,
    /// One.
    None,
}

impl Default for Advantage {
    fn default() -> Self {
        Self {
            baseline: Baseline::Mean,
            scale: Scale::Group,
            epsilon: 1e-4,
            per_reward: false,
            whiten: Whiten::None,
            compare_by: None,
        }
    }
}

impl Advantage {
    /// The advantages of all rewards of a step, group by group, where all completions are equally long.
    ///
    /// With a baseline, a group of one and a group of equal rewards say nothing about which rollout is better:
    /// their advantages are exactly 0 before whitening.
    ///
    /// ```
    /// use rationale::advantage::{Advantage, Baseline, Scale};
    /// let centred = Advantage { baseline: Baseline::Mean, scale: Scale::None, ..Advantage::default() };
    /// assert_eq!(centred.of(&[vec![1.0, 0.0]]), [[0.5, -0.5]]);
    /// ```
    pub fn of(&self, groups: &[Vec<f64>]) -> Vec<Vec<f64>> {
        self.credit(&groups.iter().cloned().map(Outcome::from).collect::<Vec<_>>(), &mut statistics::alone)
    }

    /// The advantages of the rollouts of this rank's groups, group by group; `sum` adds up over the ranks of the step.
    pub fn credit(&self, groups: &[Outcome], sum: &mut Sum) -> Vec<Vec<f64>> {
        groups.iter().for_each(Outcome::assert_shape);
        let mut advantages = if self.per_reward {
            self.sum_of_parts(groups, sum)
        } else {
            self.compared(groups, &|group| group.rewards(), sum)
        };
        let lengths: Vec<&[usize]> = groups.iter().map(|group| &group.lengths[..]).collect();
        self.whiten.apply(&mut advantages, &lengths, self.epsilon, sum);
        advantages
    }

    /// [`credit`](Self::credit) with the groups of equal keys compared as one, one key a group. `groups` are those of the
    /// whole step: equal keys may lie on any rank, and which reward is the best of its key's is no sum.
    pub fn credit_by(&self, groups: &[Outcome], keys: &[String]) -> Vec<Vec<f64>> {
        assert_eq!(groups.len(), keys.len(), "compare_by: one key a group");
        let (merged, places) = outcome::merged(groups, keys);
        let advantages = self.credit(&merged, &mut statistics::alone);
        let own = |(group, &(at, start)): (&Outcome, &(usize, usize))| {
            advantages[at][start..start + group.lengths.len()].to_vec()
        };
        groups.iter().zip(&places).map(own).collect()
    }

    /// What cannot be used as it is.
    pub fn check(&self) -> Vec<Misfit> {
        let mut found = Vec::new();
        if !(self.epsilon.is_finite() && self.epsilon >= 0.0) {
            found.push(Misfit::new("epsilon", "it must be finite and not negative, such as 1e-4", ""));
        }
        if self.baseline == Baseline::None && self.scale != Scale::None {
            found.push(Misfit::new(
                "scale",
                "dividing by a standard deviation needs a baseline",
                "set scale = \"none\", or baseline = \"mean\" or \"leave_one_out\"",
            ));
        }
        found
    }

    /// The same as an error, for who uses the section without a recipe around it.
    pub fn validate(&self) -> Result<()> {
        all_fit("loop.grpo.advantage", self, self.check())
    }

    /// Σ weight · advantage, each reward by itself.
    fn sum_of_parts(&self, groups: &[Outcome], sum: &mut Sum) -> Vec<Vec<f64>> {
        let mut sums: Vec<Vec<f64>> = groups.iter().map(|group| vec![0.0; group.lengths.len()]).collect();
        for part in 0..parts(groups, sum) {
            // A rank without groups adds nothing to the sums over this reward, and is there.
            let advantages = self.compared(groups, &|group| group.parts[part].1.clone(), sum);
            for ((group, sum), advantage) in groups.iter().zip(&mut sums).zip(advantages) {
                let weight = group.parts[part].0;
                sum.iter_mut().zip(advantage).for_each(|(sum, advantage)| *sum += weight * advantage);
            }
        }
        sums
    }

    fn compared(
        &self,
        groups: &[Outcome],
        rewards: &dyn Fn(&Outcome) -> Vec<f64>,
        sum: &mut Sum,
    ) -> Vec<Vec<f64>> {
        let rewards: Vec<Vec<f64>> = groups.iter().map(rewards).collect();
        let batch_deviation = if self.scale == Scale::Batch {
            let all: Vec<(f64, f64)> = rewards.iter().flatten().map(|&reward| (reward, 1.0)).collect();
            Moments::of(&all, sum).variance.sqrt()
        } else {
            0.0
        };
        let of_group =
            |(rewards, group): (&Vec<f64>, &Outcome)| self.of_group(rewards, &group.lengths, batch_deviation);
        rewards.iter().zip(groups).map(of_group).collect()
    }

    fn of_group(&self, rewards: &[f64], lengths: &[usize], batch_deviation: f64) -> Vec<f64> {
        if self.baseline != Baseline::None && zero_variance(rewards) {
            return vec![0.0; rewards.len()];
        }
        let divisor = match self.scale {
            Scale::Group => deviation(rewards) + self.epsilon,
            Scale::Batch => batch_deviation + self.epsilon,
            Scale::None => 1.0,
        };
        self.centred(rewards, lengths).into_iter().map(|centred| centred / divisor).collect()
    }

    fn centred(&self, rewards: &[f64], lengths: &[usize]) -> Vec<f64> {
        let (mean, size) = (mean(rewards.iter().copied()), rewards.len() as f64);
        let less = |baseline: f64| rewards.iter().map(|reward| reward - baseline).collect::<Vec<_>>();
        match self.baseline {
            Baseline::Mean => less(mean),
            Baseline::LeaveOneOut => less(mean).into_iter().map(|c| c * size / (size - 1.0)).collect(),
            Baseline::LengthWeighted => {
                let total: usize = lengths.iter().sum();
                let weighted = rewards.iter().zip(lengths).map(|(reward, &n)| reward * n as f64).sum::<f64>();
                less(if total == 0 { mean } else { weighted / total as f64 })
            }
            Baseline::SecondBest => best_over_second(rewards),
            Baseline::None => rewards.to_vec(),
        }
    }
}

/// The best reward less the second best, at its place; 0 elsewhere.
fn best_over_second(rewards: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..rewards.len()).collect();
    order.sort_by(|&a, &b| rewards[b].total_cmp(&rewards[a]));
    let mut advantages = vec![0.0; rewards.len()];
    advantages[order[0]] = rewards[order[0]] - rewards[order[1]];
    advantages
}

/// Whether all rewards are equal, up to 1e-8 (TRL's `isclose`). True of a group of one.
pub fn zero_variance(rewards: &[f64]) -> bool {
    let lowest = rewards.iter().copied().fold(f64::INFINITY, f64::min);
    let highest = rewards.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    rewards.len() < 2 || highest - lowest <= 1e-8
}

/// How many rewards each group has: those of any rank that has groups.
fn parts(groups: &[Outcome], sum: &mut Sum) -> usize {
    let mut sums = [groups.iter().map(|group| group.parts.len()).sum::<usize>() as f64, groups.len() as f64];
    sum(&mut sums);
    let [parts, groups_of_all] = sums;
    let parts = (parts / groups_of_all.max(1.0)) as usize;
    assert!(groups.iter().all(|group| group.parts.len() == parts), "all groups have the same rewards");
    parts
}

#[cfg(test)]
mod tests;
