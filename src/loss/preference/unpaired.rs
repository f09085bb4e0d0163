//! KTO (Ethayarajh et al. 2024, arXiv 2402.01306): single completions, each good or bad.

use super::{PreferenceLoss, sums};
use crate::statistics::{Sum, mean_of_all};
use tch::{Kind, Tensor};

/// The completion tokens of a micro-batch of labelled completions, end to end. Tensors are `[tokens]`.
#[derive(Debug)]
pub struct LabelledTokens<'a> {
    /// log π, with gradient.
    pub logprobs: &'a Tensor,
    /// log π_ref.
    pub ref_logprobs: &'a Tensor,
    /// Tokens of each completion.
    pub lengths: &'a [usize],
    /// Whether each completion is good.
    pub good: &'a [bool],
    /// Factor of each completion's loss.
    pub weights: &'a [f64],
    /// The baseline: [`PreferenceLoss::kl_baseline`].
    pub kl: f64,
}

/// The loss of a micro-batch and what is reported of each completion.
#[derive(Debug)]
pub struct UnpairedTerms {
    /// Σ over the completions, a scalar in f32; to be divided by the number of completions of the whole update.
    pub loss: Tensor,
    /// β · c of each completion.
    pub rewards: Vec<f64>,
    /// log π of each completion.
    pub logps: Vec<f64>,
}

impl PreferenceLoss {
    /// kl of `kto`: the mean of log π − log π_ref over completions under prompts that they do not belong to, at least
    /// 0; over the whole update, so that neither micro-batches nor ranks change it: `sum` adds up over ranks.
    pub fn kl_baseline(&self, mismatched: &[f64], sum: &mut Sum) -> f64 {
        if !self.has_baseline() {
            return 0.0;
        }
        // Of nothing the mean is NaN, and `max` takes the number.
        mean_of_all(mismatched.iter().copied(), sum).max(0.0)
    }

    /// Σ over a micro-batch of labelled completions.
    ///
    /// # Panics
    /// Where the tokens are not those of the completions.
    pub fn sum_unpaired(&self, tokens: &LabelledTokens) -> UnpairedTerms {
        tokens.assert_shape();
        let logps = sums::per_sequence(tokens.logprobs, tokens.lengths);
        let ratios = sums::per_sequence(&(tokens.logprobs - tokens.ref_logprobs), tokens.lengths);
        let of_label = |good: f64, bad: f64| {
            let values: Vec<f64> = tokens.good.iter().map(|is| if *is { good } else { bad }).collect();
            Tensor::from_slice(&values).to_device(ratios.device())
        };
        let signs = of_label(1.0, -1.0);
        let factors = of_label(self.desirable_weight, self.undesirable_weight)
            * Tensor::from_slice(tokens.weights).to_device(ratios.device());
        // 1 − σ(z) = σ(−z).
        let losses = ((&ratios - tokens.kl) * signs * -self.beta).sigmoid() * factors;
        let numbers = |tensor: Tensor| Vec::<f64>::try_from(tensor.detach()).expect("a vector of doubles");
        UnpairedTerms {
            loss: losses.sum(Kind::Float),
            rewards: numbers(ratios * self.beta),
            logps: numbers(logps),
        }
    }
}

impl LabelledTokens<'_> {
    fn assert_shape(&self) {
        let tokens = self.lengths.iter().sum::<usize>() as i64;
        for (name, tensor) in [("logprobs", self.logprobs), ("ref_logprobs", self.ref_logprobs)] {
            assert_eq!(tensor.size(), [tokens], "{name}: one number for each token of the completions");
        }
        let completions = self.lengths.len();
        assert_eq!(self.good.len(), completions, "good: one label a completion");
        assert_eq!(self.weights.len(), completions, "weights: one factor a completion");
    }
}
