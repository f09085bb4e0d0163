//! Estimators of KL(policy ‖ reference) from sampled tokens (J. Schulman, "Approximating KL divergence", 2020).

use crate::section::Misfit;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::Tensor;

/// What is said of a coefficient that would be a reward for leaving the reference.
pub const NO_PENALTY: &str =
    "it must be a number of at least 0; below, it would push away from the reference";

/// Where a penalty for leaving the reference acts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Place {
    /// + β · KL, token by token, with the loss's own weights.
    Loss,
    /// reward − β · Σ KL over the completion's tokens.
    Reward,
}

/// A per-token estimate of KL(policy ‖ reference), with d = log π_ref − log π.
///
/// As a **number** each estimates the divergence for tokens sampled from the policy. As a **loss term** only its
/// gradient counts, and the three differ. In the **reward** an estimate k weighs the gradient of log π, and E[k · ∇ log π] is
/// ∇KL(policy ‖ reference) for K1 alone: the other two charge a token for being rare under the policy and common under the
/// reference, and make it rarer still.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Estimator {
    /// −d. Unbiased, of high variance, may be negative. Its gradient is ∇log π, whose expectation under the policy
    /// is zero: use it in the reward, as RLOO, REINFORCE++ and PPO do; in the loss it only adds noise.
    K1,
    /// d²/2. Biased, never negative. Its gradient is −d·∇log π, whose expectation under the policy is the
    /// gradient of KL(policy ‖ reference): the right one for the loss.
    K2,
    /// exp(d) − d − 1, TRL's and DeepSeek's. Unbiased, never negative, of low variance. Its gradient is
    /// (1 − exp(d))·∇log π, in expectation that of KL(reference ‖ policy); equal to K2's to first order in d.
    K3,
}

impl Estimator {
    /// The estimator for a penalty in that place where the recipe names none.
    pub fn default_for(place: Place) -> Self {
        match place {
            Place::Loss => Estimator::K3,
            Place::Reward => Estimator::K1,
        }
    }

    /// Why it has no business in that place, and what to do; nothing where it has.
    pub fn misfit(self, place: Place) -> Option<Misfit> {
        let away = match (place, self) {
            (Place::Loss, _) | (_, Estimator::K1) => return None,
            (_, Estimator::K2) => "k2 gives −0.10",
            (_, Estimator::K3) => "k3 gives −0.20",
        };
        let message = format!(
            "in the reward it pushes away from the reference: for a policy of (0.9, 0.1) and a reference of (0.5, 0.5) the \
             divergence's gradient is 0.20, and {away}"
        );
        Some(Misfit::new("estimator", message, "take it out, or set \"k1\", whose gradient it is"))
    }

    /// The estimate of each token, `[tokens]`; gradients flow into `logprobs`.
    pub fn tokens(self, logprobs: &Tensor, ref_logprobs: &Tensor) -> Tensor {
        assert_eq!(logprobs.size(), ref_logprobs.size(), "one reference log-probability a token");
        let difference = ref_logprobs - logprobs;
        match self {
            Estimator::K1 => -difference,
            Estimator::K2 => difference.square() / 2.0,
            Estimator::K3 => difference.exp() - &difference - 1.0,
        }
    }

    /// Σ over the tokens of a completion, as a number: for the reward and for reports.
    pub fn sum(self, logprobs: &[f32], ref_logprobs: &[f32]) -> f64 {
        let token = |(logprob, reference): (&f32, &f32)| {
            let difference = f64::from(*reference) - f64::from(*logprob);
            match self {
                Estimator::K1 => -difference,
                Estimator::K2 => difference * difference / 2.0,
                Estimator::K3 => difference.exp_m1() - difference,
            }
        };
        assert_eq!(logprobs.len(), ref_logprobs.len(), "one reference log-probability a token");
        logprobs.iter().zip(ref_logprobs).map(token).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::near::near;

    fn value_and_gradient(estimator: Estimator, logprobs: &[f64], reference: &[f64]) -> (Vec<f64>, Vec<f64>) {
        let logprobs = Tensor::from_slice(logprobs).set_requires_grad(true);
        let tokens = estimator.tokens(&logprobs, &Tensor::from_slice(reference));
        tokens.sum(tch::Kind::Double).backward();
        (Vec::try_from(tokens).unwrap(), Vec::try_from(logprobs.grad()).unwrap())
    }

    #[test]
    fn values_are_those_of_nemo_rls_tests() {
        // tests/unit/algorithms/test_loss_functions.py: log π = −1, reference 0, −15, −30, so d = 1, −14, −29.
        let (logprobs, reference) = ([-1.0; 3], [0.0, -15.0, -30.0]);
        near(&value_and_gradient(Estimator::K1, &logprobs, &reference).0, [-1.0, 14.0, 29.0], 1e-4);
        near(&value_and_gradient(Estimator::K2, &logprobs, &reference).0, [0.5, 98.0, 420.5], 1e-4);
        near(&value_and_gradient(Estimator::K3, &logprobs, &reference).0, [0.71828, 13.0, 28.0], 1e-4);
        // Their sums: 42, 519, 41.71828.
        let sum = |estimator: Estimator| estimator.sum(&[-1.0; 3], &[0.0, -15.0, -30.0]);
        near([sum(Estimator::K1), sum(Estimator::K2), sum(Estimator::K3)], [42.0, 519.0, 41.71828], 1e-4);
    }

    #[test]
    fn gradients_are_those_documented() {
        // d = 0.5: ∂K1 = 1, ∂K2 = −d = −0.5, ∂K3 = 1 − e^0.5 = −0.648721.
        let gradient = |estimator| value_and_gradient(estimator, &[-2.0], &[-1.5]).1;
        near(gradient(Estimator::K1), [1.0], 1e-4);
        near(gradient(Estimator::K2), [-0.5], 1e-4);
        near(gradient(Estimator::K3), [-0.648721], 1e-4);
    }

    #[test]
    fn in_the_reward_only_k1_has_the_divergences_gradient() {
        // One logit z, π = (σ(z), 1 − σ(z)) = (0.9, 0.1), reference (½, ½): KL = log 2 − H, and ∂KL/∂z = π₁π₂ · ln(π₁/π₂)
        // = 0.09 · ln 9 = 0.197750. ∂ log π/∂z is 0.1 for the first token and −0.9 for the second.
        let expectation = |estimator: Estimator| {
            let penalty = |p: f64| estimator.sum(&[p.ln() as f32], &[0.5_f32.ln()]);
            0.9 * penalty(0.9) * 0.1 + 0.1 * penalty(0.1) * -0.9
        };
        let z = Tensor::from(9_f64.ln()).set_requires_grad(true);
        let (first, second) = (z.sigmoid(), z.neg().sigmoid());
        let divergence = &first * (&first * 2.0).log() + &second * (&second * 2.0).log();
        divergence.backward();
        let gradient = z.grad().double_value(&[]);
        near([gradient, expectation(Estimator::K1)], [0.197750, 0.197750], 1e-4);
        // k2: ½ (ln 1.8)² = 0.172747 and ½ (ln 0.2)² = 1.295145, times ±0.09. k3: ln 1.8 − 0.8/1.8 = 0.143342 and
        // ln 0.2 + 4 = 2.390562.
        near([expectation(Estimator::K2), expectation(Estimator::K3)], [-0.101016, -0.202250], 1e-4);
        for (estimator, number) in [(Estimator::K2, "k2 gives −0.10"), (Estimator::K3, "k3 gives −0.20")]
        {
            assert!(estimator.misfit(Place::Reward).unwrap().message.contains(number));
            assert_eq!(estimator.misfit(Place::Loss), None);
        }
        assert_eq!(Estimator::default_for(Place::Reward).misfit(Place::Reward), None);
    }
}
