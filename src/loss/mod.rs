//! What is minimised. Pure: tensors in, a sum out.
//!
//! Every loss here is a **sum** over tokens of weight · loss, never a mean: the loop divides once, by the optimiser
//! step's global total. How a step is cut into micro-batches or spread over ranks can then not change its gradient.

use tch::Tensor;

pub mod choice;
pub mod clips;
pub mod contrast;
pub mod kl;
pub mod mask;
pub mod policy;
pub mod preference;
pub mod reward_model;
pub mod row;
pub mod thought;
pub mod value;

pub use clips::Clips;
pub use policy::{PolicyLoss, PolicyTerms, PolicyTokens};
pub use preference::PreferenceLoss;

/// Negative log-likelihood: −Σ_t w_t · log p_t, a scalar. `logprobs` and `weights` are `[tokens]`.
pub fn nll(logprobs: &Tensor, weights: &Tensor) -> Tensor {
    assert_eq!(weights.size(), logprobs.size(), "nll: one weight a token");
    -(logprobs * weights).sum(logprobs.kind())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nll_is_the_weighted_sum() {
        // −(1·−0.5 + 0·−9 + 2·−0.25) = 1; the gradient is −w.
        let logprobs = Tensor::from_slice(&[-0.5_f32, -9.0, -0.25]).set_requires_grad(true);
        let loss = nll(&logprobs, &Tensor::from_slice(&[1.0_f32, 0.0, 2.0]));
        loss.backward();
        assert_eq!(loss.double_value(&[]), 1.0);
        assert_eq!(Vec::<f32>::try_from(logprobs.grad()).unwrap(), [-1.0, 0.0, -2.0]);
    }
}
