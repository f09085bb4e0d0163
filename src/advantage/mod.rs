//! How credit is shared out among the rollouts of a group (GRPO, arXiv 2402.03300; Dr. GRPO, 2503.20783; RLOO, 2402.14740).

mod differences;
mod outcome;
pub mod steps;
mod whiten;

pub use differences::StepRewards;
pub use outcome::Outcome;
pub use steps::StepCredit;
pub use whiten::Whiten;

use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// Rewards → advantages: `[loop.grpo.advantage]`.
///
/// A_i = (r_i − baseline_i) / (deviation + epsilon), without the division for `scale = "none"`; with `per_reward` the
/// weighted sum of these over the rewards; and then, with `whiten`, (A_i − mean) / deviation over the whole step.
///
/// | as in | `baseline` | `scale` | `epsilon` |
/// | --- | --- | --- | --- |
/// | GRPO, TRL's `scale_rewards = "group"` | `mean` | `group` | 1e-4 |
/// | verl's GRPO | `mean` | `group` | 1e-6 |
/// | TRL's `scale_rewards = "batch"` | `mean` | `batch` | 1e-4 |
/// | Dr. GRPO, verl's `norm_adv_by_std_in_grpo = False`, TRL's `"none"` | `mean` | `none` | |
/// | RLOO | `leave_one_out` | `none` | |
/// | NeMo-RL's default | `leave_one_out` | `group` | 1e-6 |
/// | REINFORCE | `none` | `none` | |
/// | REINFORCE++, with `whiten = "tokens"` (arXiv 2501.03262; the KL, where `kl.place = "reward"`, summed) | `none` | `none` | |
/// | REINFORCE++-baseline, with `whiten = "tokens"` | `mean` | `none` | |
/// | GDPO, TRL's `normalize_then_sum`: with `per_reward = true`, `whiten = "sequences"` | `mean` | `group` | 1e-4 |
/// | OPO (arXiv 2505.23585) | `length_weighted` | `none` | |
/// | verl's pass@k | `second_best` | `group` | 1e-6 |
/// | prime-rl's hierarchical GRPO, with `compare_by` | `mean` | `none` | |
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
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
    /// all `tokens` of the step.
    pub whiten: Whiten,
    /// A column of the data, such as a role: rollouts of all the step's examples that have the same value there are
    /// compared with each other, in place of those of one prompt.
    pub compare_by: Option<String>,
}

/// What is taken from each reward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
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
        self.credit(&groups.iter().cloned().map(Outcome::from).collect::<Vec<_>>())
    }

    /// The advantages of all rollouts of a step, group by group.
    pub fn credit(&self, groups: &[Outcome]) -> Vec<Vec<f64>> {
        let mut advantages = if self.per_reward {
            self.sum_of_parts(groups)
        } else {
            self.compared(groups, &|group| group.rewards())
        };
        let lengths: Vec<&[usize]> = groups.iter().map(|group| &group.lengths[..]).collect();
        self.whiten.apply(&mut advantages, &lengths, self.epsilon);
        advantages
    }

    /// [`credit`](Self::credit) with the groups of equal keys compared as one.
    pub fn credit_by(&self, groups: &[Outcome], keys: &[String]) -> Vec<Vec<f64>> {
        let (merged, places) = outcome::merged(groups, keys);
        let advantages = self.credit(&merged);
        let own = |(group, &(at, start)): (&Outcome, &(usize, usize))| {
            advantages[at][start..start + group.lengths.len()].to_vec()
        };
        groups.iter().zip(&places).map(own).collect()
    }

    /// What is wrong with this section, in the words of the recipe.
    pub fn validate(&self) -> Result<()> {
        let refuse = |text: &str| Err(Error::Recipe(format!("loop.grpo.advantage.{text}")));
        if !(self.epsilon.is_finite() && self.epsilon >= 0.0) {
            return refuse(&format!(
                "epsilon = {}: must be finite and not negative, such as 1e-4",
                self.epsilon
            ));
        }
        if self.baseline == Baseline::None && self.scale != Scale::None {
            return refuse(
                "scale: dividing by a standard deviation needs a baseline; \
                 set scale = \"none\", or baseline = \"mean\" or \"leave_one_out\"",
            );
        }
        Ok(())
    }

    /// Σ weight · advantage, each reward by itself.
    fn sum_of_parts(&self, groups: &[Outcome]) -> Vec<Vec<f64>> {
        let mut sums: Vec<Vec<f64>> = groups.iter().map(|group| vec![0.0; group.lengths.len()]).collect();
        let parts = groups.iter().map(|group| group.parts.len()).max().unwrap_or(0);
        for part in 0..parts {
            let advantages = self.compared(groups, &|group| group.parts[part].1.clone());
            for ((group, sum), advantage) in groups.iter().zip(&mut sums).zip(advantages) {
                let weight = group.parts[part].0;
                sum.iter_mut().zip(advantage).for_each(|(sum, advantage)| *sum += weight * advantage);
            }
        }
        sums
    }

    fn compared(&self, groups: &[Outcome], rewards: &dyn Fn(&Outcome) -> Vec<f64>) -> Vec<Vec<f64>> {
        let rewards: Vec<Vec<f64>> = groups.iter().map(rewards).collect();
        let all: Vec<f64> = rewards.iter().flatten().copied().collect();
        let batch_deviation = deviation(&all);
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
        let (mean, size) = (mean(rewards), rewards.len() as f64);
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

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// The sample standard deviation (n − 1); 0 of fewer than two values.
fn deviation(values: &[f64]) -> f64 {
    if values.len() < 2 {
        return 0.0;
    }
    let mean = mean(values);
    (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / (values.len() - 1) as f64).sqrt()
}

#[cfg(test)]
mod tests;
