//! `[loop.grpo]`: its keys, their defaults and which values they may have.

use crate::advantage::steps::{Form, StepBaseline};
use crate::advantage::{Advantage, StepCredit, StepRewards};
use crate::error::{Error, Result};
use crate::loss::kl::Estimator;
use crate::loss::policy::PolicyLoss;
use crate::policy::Refresh;
use crate::select::curriculum::Curriculum;
use serde::{Deserialize, Serialize};

/// `[loop.grpo]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Grpo {
    /// How rewards become advantages.
    pub advantage: Advantage,
    /// Credit for single steps, from a reward that scores them; none without this table.
    pub steps: Option<StepCredit>,
    /// The surrogate.
    pub loss: PolicyLoss,
    /// The penalty for leaving the reference policy.
    pub kl: Kl,
    /// How often the reference policy follows the policy.
    pub reference: Refresh,
    /// Times that each batch of rollouts is learned from (TRL's `num_iterations`).
    pub epochs_per_batch: usize,
    /// Updates that each of these passes is split into; groups are dealt out whole.
    pub minibatches: usize,
    /// What becomes of completions that the token limit cut off.
    pub truncated: Truncated,
    /// Added to the reward of a truncated completion.
    pub truncated_reward: f64,
    /// What becomes of groups whose rewards are all equal, and so teach nothing.
    pub zero_variance: ZeroVariance,
    /// With `zero_variance = "resample"`: samplings of further questions, at most, to fill a step; what is there
    /// then is used.
    pub resample_limit: usize,
    /// Added to the loss: −coefficient · mean entropy.
    pub entropy_coefficient: f64,
    /// Which questions a step asks, by how often they were answered right of late and by pools; in the order of the data
    /// without this.
    pub curriculum: Option<Curriculum>,
    /// What the steps of a rationale add to the advantages of their tokens, by the continuations of `[rollout.prefix]`.
    pub step_rewards: Option<StepRewards>,
}

/// The penalty for leaving the reference policy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Kl {
    /// β; 0 needs no reference policy.
    pub coefficient: f64,
    /// Schulman's k1, k2 or k3.
    pub estimator: Estimator,
    /// Whether the penalty is a term of the loss, or is taken from the reward (summed over the completion).
    pub place: KlPlace,
}

/// Where the KL penalty acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KlPlace {
    /// + β · KL, token by token, with the loss's own weights.
    Loss,
    /// reward − β · Σ KL over the completion's tokens.
    Reward,
}

/// What becomes of truncated completions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Truncated {
    /// They teach like any other.
    Keep,
    /// They count in their group's baseline and have no loss (DAPO's overlong filtering).
    Mask,
}

/// What becomes of groups without differences.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ZeroVariance {
    /// They stay, with advantage 0: their tokens count in the loss's divisor.
    Keep,
    /// They are left out.
    Drop,
    /// They are left out and further questions are sampled in their place (DAPO's dynamic sampling).
    Resample,
}

impl Default for Grpo {
    fn default() -> Self {
        Self {
            advantage: Advantage::default(),
            steps: None,
            loss: PolicyLoss::default(),
            kl: Kl::default(),
            reference: Refresh::default(),
            epochs_per_batch: 1,
            minibatches: 1,
            truncated: Truncated::Keep,
            truncated_reward: 0.0,
            zero_variance: ZeroVariance::Keep,
            resample_limit: 4,
            entropy_coefficient: 0.0,
            curriculum: None,
            step_rewards: None,
        }
    }
}

impl Default for Kl {
    fn default() -> Self {
        Self { coefficient: 0.0, estimator: Estimator::K3, place: KlPlace::Loss }
    }
}

impl Grpo {
    /// Checks the values.
    pub fn validate(&self) -> Result<()> {
        let counts = [("epochs_per_batch", self.epochs_per_batch), ("minibatches", self.minibatches)];
        if let Some((key, _)) = counts.iter().find(|(_, count)| *count == 0) {
            return Err(Error::Recipe(format!("loop.grpo.{key} = 0: it must be at least 1")));
        }
        self.reference.validate("loop.grpo.reference")?;
        let finite = [
            ("kl.coefficient", self.kl.coefficient),
            ("truncated_reward", self.truncated_reward),
            ("entropy_coefficient", self.entropy_coefficient),
        ];
        if let Some((key, value)) = finite.iter().find(|(_, value)| !value.is_finite()) {
            return Err(Error::Recipe(format!("loop.grpo.{key} = {value}: it must be a finite number")));
        }
        if let Some(curriculum) = &self.curriculum {
            curriculum.validate("loop.grpo.curriculum")?;
        }
        if let Some(rewards) = &self.step_rewards {
            rewards.validate()?;
        }
        if self.step_rewards.is_some() && self.steps.is_some() {
            return Err(Error::Recipe(
                "loop.grpo.steps and loop.grpo.step_rewards both say what a step is worth; keep one of them"
                    .into(),
            ));
        }
        self.advantage.validate()?;
        if let Some(steps) = &self.steps {
            steps.validate()?;
        }
        self.loss.validate()
    }

    /// Warns of step credit that a policy learns to hack.
    pub fn warn(&self) {
        let Some(steps) = &self.steps else { return };
        if steps.form == Form::Sum && steps.baseline != StepBaseline::Tokens {
            tracing::warn!(
                "loop.grpo.steps.form = \"sum\" pays for every further step, right or not needed: a policy learns to \
                 write more of them; \"min\" or \"clip_delta\" do not"
            );
        } else if steps.form == Form::Sum {
            tracing::warn!(
                "loop.grpo.steps.form = \"sum\" pays for steps that say little, since nothing is gained by the next \
                 right one; \"min\" or \"clip_delta\" resist"
            );
        }
    }

    /// Whether a reference policy is needed.
    pub fn needs_reference(&self) -> bool {
        self.kl.coefficient != 0.0
    }
}
