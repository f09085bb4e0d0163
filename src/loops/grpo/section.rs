//! `[loop.grpo]`: its keys, their defaults and which values they may have.

use super::critic::Critic;
use crate::advantage::steps::{Form, StepBaseline};
use crate::advantage::{Advantage, StepCredit, StepRewards, Whiten};
pub use crate::loss::kl::Place as KlPlace;
use crate::loss::kl::{Estimator, NO_PENALTY};
use crate::loss::policy::PolicyLoss;
use crate::policy::Refresh;
use crate::section::{Misfit, broken, under};
use crate::select::curriculum::Curriculum;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[loop.grpo]`: policy gradients over groups of completions (GRPO and its relatives).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Grpo {
    /// How rewards become advantages.
    pub advantage: Advantage,
    /// A critic, against whose values advantages are estimated in place of `advantage`: PPO; none without this table.
    pub critic: Option<Critic>,
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
    /// Added to the reward of a truncated completion; with `advantage.per_reward` the weight of a reward of its own, which is 1
    /// for completions that are truncated.
    pub truncated_reward: f64,
    /// What becomes of groups whose rewards are all equal, and so teach nothing.
    pub zero_variance: ZeroVariance,
    /// With `zero_variance = "resample"`: samplings of further questions, at most, to fill a step; what is there
    /// then is used.
    pub resample_limit: usize,
    /// Added to the loss: −coefficient · mean entropy over the tokens of the update, whatever the loss averages over.
    pub entropy_coefficient: f64,
    /// Which questions a step asks, by how often they were answered right of late and by pools; in the order of the data
    /// without this.
    pub curriculum: Option<Curriculum>,
    /// What the steps of a rationale earn beside the outcome, by the continuations of `[rollout.prefix]`; nothing without this table.
    pub step_rewards: Option<StepRewards>,
}

/// The penalty for leaving the reference policy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(from = "KlKeys")]
pub struct Kl {
    /// β.
    pub coefficient: f64,
    /// Schulman's k1, k2 or k3: the recipe's, or what follows from the place.
    pub estimator: Estimator,
    /// In the loss or in the reward.
    pub place: KlPlace,
}

/// [`Kl`] as a recipe has it.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct KlKeys {
    /// β; 0 needs no reference policy.
    coefficient: f64,
    /// Schulman's k1, k2 or k3. Default: `k3` in the loss, `k1` in the reward, where the others push away from the reference.
    estimator: Option<Estimator>,
    /// Whether the penalty is a term of the loss, or is taken from the reward (summed over the completion; with `critic` each token's from
    /// its own).
    place: KlPlace,
}

impl Default for KlKeys {
    fn default() -> Self {
        Self { coefficient: 0.0, estimator: None, place: KlPlace::Loss }
    }
}

impl From<KlKeys> for Kl {
    fn from(KlKeys { coefficient, estimator, place }: KlKeys) -> Self {
        Self { coefficient, estimator: estimator.unwrap_or(Estimator::default_for(place)), place }
    }
}

/// What becomes of truncated completions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Truncated {
    /// They teach like any other.
    Keep,
    /// They count in their group's baseline and have no loss (DAPO's overlong filtering).
    Mask,
}

/// What becomes of groups without differences.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
            critic: None,
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
        KlKeys::default().into()
    }
}

impl Grpo {
    /// What cannot be used as it is.
    pub fn check(&self) -> Vec<Misfit> {
        let finite = |value: f64| value.is_finite();
        let mut found = broken(&[
            (self.epochs_per_batch > 0, "epochs_per_batch", "it must be at least 1"),
            (self.minibatches > 0, "minibatches", "it must be at least 1"),
            (finite(self.kl.coefficient) && self.kl.coefficient >= 0.0, "kl.coefficient", NO_PENALTY),
            (finite(self.truncated_reward), "truncated_reward", "it must be a finite number"),
            (finite(self.entropy_coefficient), "entropy_coefficient", "it must be a finite number"),
        ]);
        let per_reward = self.advantage.per_reward && self.critic.is_none();
        if per_reward && self.kl.place == KlPlace::Reward && self.kl.coefficient != 0.0 {
            let message = "with advantage.per_reward the divergence is divided by its own deviation over the group, as a reward \
                           is, and kl.coefficient is no longer what a nat costs";
            found.push(Misfit::new("kl.place", message, "set \"loss\""));
        }
        if self.step_rewards.is_some() && self.steps.is_some() {
            let message = "loop.grpo.steps and loop.grpo.step_rewards both say what a step is worth";
            found.push(Misfit::new("step_rewards", message, "keep one of them"));
        }
        let by_completion = self.advantage.whiten == Whiten::Sequences && self.critic.is_none();
        if self.step_rewards.is_some() && by_completion {
            let message = "with step_rewards each token has an advantage of its own";
            found.push(Misfit::new("advantage.whiten", message, "set \"tokens\" or \"none\""));
        }
        found.extend(under("reference", self.reference.check()));
        found.extend(under("curriculum", self.curriculum.iter().flat_map(Curriculum::check)));
        found.extend(under("step_rewards", self.step_rewards.iter().flat_map(StepRewards::check)));
        found.extend(under("kl", self.kl.estimator.misfit(self.kl.place)));
        found.extend(under("advantage", self.advantage.check()));
        found.extend(under("critic", self.critic.iter().flat_map(Critic::check)));
        found.extend(under("steps", self.steps.iter().flat_map(StepCredit::check)));
        found.extend(under("loss", self.loss.check()));
        found
    }

    /// Warns of step credit that a policy learns to hack.
    pub fn warn(&self) {
        let Some(steps) = &self.steps else { return };
        if self.critic.is_some() {
            return;
        }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::section::all_fit;

    #[test]
    fn the_estimator_follows_from_the_place() {
        let read = |keys: &str| toml::from_str::<Grpo>(keys).unwrap();
        for (keys, estimator) in [
            ("", "k3"),
            ("kl.coefficient = 0.1", "k3"),
            ("kl.place = \"reward\"", "k1"),
            ("kl.place = \"reward\"\nkl.estimator = \"k1\"", "k1"),
            ("kl.estimator = \"k2\"", "k2"),
        ] {
            let grpo = read(keys);
            assert_eq!(grpo.check(), []);
            // What is resolved says which one holds, and reads as it was.
            let resolved = toml::to_string(&grpo).unwrap();
            assert!(resolved.contains(&format!("estimator = \"{estimator}\"")), "{keys}: {resolved}");
            assert_eq!(read(&resolved), grpo);
        }
        assert!(
            toml::from_str::<Grpo>("kl.estimate = \"k1\"").unwrap_err().to_string().contains("estimator")
        );
        // Each reward is divided by its own deviation there, the divergence too: its coefficient would have no unit.
        let of_each = "advantage.per_reward = true\nkl = { place = \"reward\", coefficient = 0.1 }";
        let keys = |text: &str| read(text).check().into_iter().map(|misfit| misfit.key).collect::<Vec<_>>();
        assert_eq!(keys(of_each), ["kl.place"]);
        assert_eq!(keys(&of_each.replace("reward\"", "loss\"")), [""; 0]);
        // A completion whose tokens differ is not whitened as one number.
        assert_eq!(keys("step_rewards = {}\nadvantage.whiten = \"sequences\""), ["advantage.whiten"]);
        assert_eq!(keys("step_rewards = {}\nadvantage.whiten = \"tokens\""), [""; 0]);
        for estimator in ["k2", "k3"] {
            let grpo = read(&format!("kl.place = \"reward\"\nkl.estimator = \"{estimator}\""));
            let message = all_fit("loop.grpo", &grpo, grpo.check()).unwrap_err().to_string();
            let says = format!(
                "loop.grpo.kl.estimator = \"{estimator}\": in the reward it pushes away from the reference"
            );
            assert!(message.contains(&says) && message.contains("set \"k1\""), "{message}");
        }
    }
}
