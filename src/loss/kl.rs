//! Estimators of KL(policy ‖ reference) from sampled tokens (J. Schulman, "Approximating KL divergence", 2020).

use serde::{Deserialize, Serialize};
use tch::Tensor;

/// A per-token estimate of KL(policy ‖ reference), with d = log π_ref − log π.
///
/// As a **number** each estimates the divergence for tokens sampled from the policy. As a **loss term** only its
/// gradient counts, and the three differ:
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Estimator {
    /// −d. Unbiased, of high variance, may be negative. Its gradient is ∇log π, whose expectation under the policy
    /// is zero: use it in the reward, as RLOO and PPO do; in the loss it only adds noise.
    K1,
    /// d²/2. Biased, never negative. Its gradient is −d·∇log π, whose expectation under the policy is the
    /// gradient of KL(policy ‖ reference): the right one for the loss.
    K2,
    /// exp(d) − d − 1, TRL's and DeepSeek's. Unbiased, never negative, of low variance. Its gradient is
    /// (1 − exp(d))·∇log π, in expectation that of KL(reference ‖ policy); equal to K2's to first order in d.
    K3,
}

impl Estimator {
    /// The estimate of each token, `[tokens]`; gradients flow into `logprobs`.
    pub fn tokens(self, logprobs: &Tensor, ref_logprobs: &Tensor) -> Tensor {
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
        logprobs.iter().zip(ref_logprobs).map(token).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value_and_gradient(estimator: Estimator, logprobs: &[f64], reference: &[f64]) -> (Vec<f64>, Vec<f64>) {
        let logprobs = Tensor::from_slice(logprobs).set_requires_grad(true);
        let tokens = estimator.tokens(&logprobs, &Tensor::from_slice(reference));
        tokens.sum(tch::Kind::Double).backward();
        (Vec::try_from(tokens).unwrap(), Vec::try_from(logprobs.grad()).unwrap())
    }

    fn assert_near(found: &[f64], expected: &[f64]) {
        for (found, expected) in found.iter().zip(expected) {
            assert!((found - expected).abs() < 1e-4, "{found} {expected}");
        }
    }

    #[test]
    fn values_are_those_of_nemo_rls_tests() {
        // tests/unit/algorithms/test_loss_functions.py: log π = −1, reference 0, −15, −30, so d = 1, −14, −29.
        let (logprobs, reference) = ([-1.0; 3], [0.0, -15.0, -30.0]);
        assert_near(&value_and_gradient(Estimator::K1, &logprobs, &reference).0, &[-1.0, 14.0, 29.0]);
        assert_near(&value_and_gradient(Estimator::K2, &logprobs, &reference).0, &[0.5, 98.0, 420.5]);
        assert_near(&value_and_gradient(Estimator::K3, &logprobs, &reference).0, &[0.71828, 13.0, 28.0]);
        // Their sums: 42, 519, 41.71828.
        let sum = |estimator: Estimator| estimator.sum(&[-1.0; 3], &[0.0, -15.0, -30.0]);
        assert_near(&[sum(Estimator::K1), sum(Estimator::K2), sum(Estimator::K3)], &[42.0, 519.0, 41.71828]);
    }

    #[test]
    fn gradients_are_those_documented() {
        // d = 0.5: ∂K1 = 1, ∂K2 = −d = −0.5, ∂K3 = 1 − e^0.5 = −0.648721.
        let gradient = |estimator| value_and_gradient(estimator, &[-2.0], &[-1.5]).1;
        assert_near(&gradient(Estimator::K1), &[1.0]);
        assert_near(&gradient(Estimator::K2), &[-0.5]);
        assert_near(&gradient(Estimator::K3), &[-0.648721]);
    }
}
