//! How credit is shared out among the rollouts of a group (GRPO, arXiv 2402.03300; Dr. GRPO, 2503.20783; RLOO, 2402.14740).

use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// Rewards → advantages: `[loop.grpo.advantage]`.
///
/// A_i = (r_i − baseline_i) / (deviation + epsilon), without the division for `scale = "none"`.
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Advantage {
    /// What is taken from each reward: the group's `mean`, the mean of the others (`leave_one_out`), or `none`.
    pub baseline: Baseline,
    /// What the difference is divided by: the standard deviation of the `group` or of the whole `batch`, or `none`.
    pub scale: Scale,
    /// Added to the standard deviation before dividing.
    pub epsilon: f64,
}

/// What is taken from each reward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Baseline {
    /// The mean of the group.
    Mean,
    /// The mean of the group's other rewards: (r_i − mean) · G / (G − 1).
    LeaveOneOut,
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
        Self { baseline: Baseline::Mean, scale: Scale::Group, epsilon: 1e-4 }
    }
}

impl Advantage {
    /// The advantages of all rewards of a step, group by group.
    ///
    /// With a baseline, a group of one and a group of equal rewards say nothing about which rollout is better:
    /// their advantages are exactly 0.
    ///
    /// ```
    /// use rationale::advantage::{Advantage, Baseline, Scale};
    /// let centred = Advantage { baseline: Baseline::Mean, scale: Scale::None, ..Advantage::default() };
    /// assert_eq!(centred.of(&[vec![1.0, 0.0]]), [[0.5, -0.5]]);
    /// ```
    pub fn of(&self, groups: &[Vec<f64>]) -> Vec<Vec<f64>> {
        let all: Vec<f64> = groups.iter().flatten().copied().collect();
        let batch_deviation = deviation(&all);
        groups.iter().map(|rewards| self.of_group(rewards, batch_deviation)).collect()
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

    fn of_group(&self, rewards: &[f64], batch_deviation: f64) -> Vec<f64> {
        if self.baseline != Baseline::None && zero_variance(rewards) {
            return vec![0.0; rewards.len()];
        }
        let divisor = match self.scale {
            Scale::Group => deviation(rewards) + self.epsilon,
            Scale::Batch => batch_deviation + self.epsilon,
            Scale::None => 1.0,
        };
        let (mean, size) = (mean(rewards), rewards.len() as f64);
        let centred = |reward: &f64| match self.baseline {
            Baseline::Mean => reward - mean,
            Baseline::LeaveOneOut => (reward - mean) * size / (size - 1.0),
            Baseline::None => *reward,
        };
        rewards.iter().map(|reward| centred(reward) / divisor).collect()
    }
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
mod tests {
    use super::*;

    fn assert_near(found: &[Vec<f64>], expected: &[&[f64]]) {
        assert_eq!(found.len(), expected.len());
        for (found, expected) in found.iter().flatten().zip(expected.iter().copied().flatten()) {
            assert!((found - expected).abs() < 1e-9, "{found} {expected}");
        }
    }

    fn advantage(baseline: Baseline, scale: Scale, epsilon: f64) -> Advantage {
        Advantage { baseline, scale, epsilon }
    }

    #[test]
    fn group_scale_divides_by_the_sample_deviation_plus_epsilon() {
        // [1, 0, 0, 1]: mean 0.5, Σ(r − mean)² = 1, over n − 1 = 3: deviation √(1/3).
        let a = 0.5 / ((1.0_f64 / 3.0).sqrt() + 1e-4);
        assert_near(&Advantage::default().of(&[vec![1.0, 0.0, 0.0, 1.0]]), &[&[a, -a, -a, a]]);
    }

    #[test]
    fn batch_scale_divides_by_the_deviation_of_all_rewards_not_of_the_centred_ones() {
        // TRL: nanstd(rewards) over [1, 0, 3, 2]: mean 1.5, Σ = 5, deviation √(5/3). Centred rewards would give √(1/3).
        let a = 0.5 / (5.0_f64 / 3.0).sqrt();
        let found = advantage(Baseline::Mean, Scale::Batch, 0.0).of(&[vec![1.0, 0.0], vec![3.0, 2.0]]);
        assert_near(&found, &[&[a, -a], &[a, -a]]);
    }

    #[test]
    fn leave_one_out_compares_with_the_others_mean() {
        // Rewards 4, 1, 1: the others' means are 1, 2.5, 2.5.
        let found = advantage(Baseline::LeaveOneOut, Scale::None, 0.0).of(&[vec![4.0, 1.0, 1.0]]);
        assert_near(&found, &[&[3.0, -1.5, -1.5]]);
    }

    #[test]
    fn centred_and_bare_rewards_are_not_divided() {
        // prime-rl's docs: [1, 1, 0] → [1/3, 1/3, −2/3].
        let centred = advantage(Baseline::Mean, Scale::None, 1e-4);
        assert_near(&centred.of(&[vec![1.0, 1.0, 0.0]]), &[&[1.0 / 3.0, 1.0 / 3.0, -2.0 / 3.0]]);
        let bare = advantage(Baseline::None, Scale::None, 1e-4);
        assert_near(&bare.of(&[vec![2.0], vec![1.0, 1.0]]), &[&[2.0], &[1.0, 1.0]]);
    }

    #[test]
    fn groups_that_say_nothing_get_exactly_zero() {
        // The mean of three 0.1s is not 0.1 in doubles; divided by epsilon alone the difference would count.
        let groups = [vec![5.0], vec![0.1, 0.1, 0.1], vec![]];
        for baseline in [Baseline::Mean, Baseline::LeaveOneOut] {
            for scale in [Scale::Group, Scale::Batch, Scale::None] {
                let found = advantage(baseline, scale, 0.0).of(&groups);
                assert_eq!(found, [vec![0.0], vec![0.0; 3], vec![]]);
            }
        }
        assert!(zero_variance(&[0.1, 0.1 + 1e-10]) && zero_variance(&[7.0]) && !zero_variance(&[0.0, 1e-6]));
    }

    #[test]
    fn the_section_is_checked() {
        let read = |text: &str| toml::from_str::<Advantage>(text);
        assert_eq!(read("").unwrap(), Advantage::default());
        assert_eq!(read("baseline = \"leave_one_out\"").unwrap().baseline, Baseline::LeaveOneOut);
        assert!(read("epsilom = 1").unwrap_err().to_string().contains("epsilon"));
        let message = |text: &str| read(text).unwrap().validate().unwrap_err().to_string();
        assert!(message("epsilon = -1.0").contains("loop.grpo.advantage.epsilon = -1"));
        assert!(message("baseline = \"none\"").contains("set scale = \"none\""));
    }
}
