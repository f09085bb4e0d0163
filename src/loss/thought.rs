//! What a thought is worth to the text behind it, and the loss of a text with thoughts (Quiet-STaR, Zelikman et al. 2024, arXiv
//! 2403.09629, as its released code computes it).

use tch::{Kind, Tensor};

/// What is said of the thoughts of some places, several of each.
#[derive(Debug)]
pub struct ThoughtTokens {
    /// −log p of the text's next tokens without a thought, `[places, ahead]`.
    pub base: Tensor,
    /// The same with each thought, `[places, passes, ahead]`.
    pub mixed: Tensor,
    /// log p of each thought's tokens, `[places, passes, tokens]`.
    pub logprobs: Tensor,
}

/// How the parts of the loss weigh.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ThoughtWeights {
    /// Of the text with thoughts.
    pub mixed: f64,
    /// Of the likelihood of good thoughts.
    pub policy: f64,
    /// Only thoughts that are better than the place's mean are learned.
    pub positive: bool,
}

impl ThoughtTokens {
    /// r = Σ_k (NLL⁰ − NLL^τ) of each thought, `[places, passes]`, apart from any graph.
    pub fn rewards(&self) -> Tensor {
        let gained = self.base.unsqueeze(1) - &self.mixed;
        gained.detach().sum_dim_intlist(-1, false, Kind::Float)
    }

    /// r less its mean over the thoughts of the same place; where only the `positive` count, 0 for those below it.
    pub fn advantages(rewards: &Tensor, positive: bool) -> Tensor {
        let above = rewards - rewards.mean_dim(-1, true, Kind::Float);
        if positive { above.relu() } else { above }
    }

    /// Σ over thoughts of w_τ · mean_k NLL^τ − w_π · A · mean over its tokens of log p.
    pub fn loss(&self, weights: &ThoughtWeights) -> Tensor {
        let advantages = Self::advantages(&self.rewards(), weights.positive);
        let mixed = self.mixed.mean_dim(-1, false, Kind::Float).sum(Kind::Float);
        let likely = self.logprobs.mean_dim(-1, false, Kind::Float);
        mixed * weights.mixed - (advantages * likely).sum(Kind::Float) * weights.policy
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tensor(values: &[f32], size: &[i64]) -> Tensor {
        Tensor::from_slice(values).view(size)
    }

    /// One place, two thoughts, two tokens ahead: without a thought 1 + 2 nats, with the first 0.5 + 1, with the second 1.5 + 2.5. So
    /// r = 1.5 and −1, their mean 0.25, A = ±1.25.
    #[test]
    fn literal_numbers() {
        let logprobs = tensor(&[-1.0, -3.0, -2.0, -2.0], &[1, 2, 2]).set_requires_grad(true);
        let mixed = tensor(&[0.5, 1.0, 1.5, 2.5], &[1, 2, 2]).set_requires_grad(true);
        let all = ThoughtTokens { base: tensor(&[1.0, 2.0], &[1, 2]), mixed, logprobs };
        let numbers = |t: &Tensor| Vec::<f32>::try_from(t.view([-1])).unwrap();
        assert_eq!(numbers(&all.rewards()), [1.5, -1.0]);
        for (positive, advantages) in [(true, [1.25, 0.0]), (false, [1.25, -1.25])] {
            let weights = ThoughtWeights { mixed: 0.5, policy: 2.0, positive };
            assert_eq!(numbers(&ThoughtTokens::advantages(&all.rewards(), positive)), advantages);
            // 0.5 · (0.75 + 2) − 2 · (A₁ + A₂) · −2.
            let loss = all.loss(&weights);
            let expected = 1.375 + 4.0 * (advantages[0] + advantages[1]);
            assert!((loss.double_value(&[]) - f64::from(expected)).abs() < 1e-6);
            let mut grads = [&all.mixed, &all.logprobs].map(Tensor::grad);
            if grads[0].defined() {
                grads.iter_mut().for_each(|grad| drop(grad.zero_()));
            }
            loss.backward();
            assert_eq!(numbers(&all.mixed.grad()), [0.25; 4]);
            let by = |a: f32| -a;
            let [first, second] = advantages.map(by);
            assert_eq!(numbers(&all.logprobs.grad()), [first, first, second, second]);
        }
    }
}
