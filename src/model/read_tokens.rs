//! log p of tokens behind states that a loss reads, however large the vocabulary: no logits are kept.

use super::Model;
use super::logprobs::{OutputGrad, OutputHead};
use super::trunk::surrogate;
use tch::{Kind, Tensor};

/// log p of tokens behind states. A loss looks at `logprobs`, which is a leaf; what its gradient there is, [`surrogate`](Self::surrogate)
/// hands on to the states and weights, chunk by chunk.
#[derive(Debug)]
pub struct ReadTokens<'m> {
    head: OutputHead<'m>,
    /// `[tokens, hidden]`, with their graph.
    states: Tensor,
    /// f32, of the shape of the targets.
    pub logprobs: Tensor,
}

impl Model {
    /// log p of `targets`, of any shape, under softmax(logits / `temperature`) of as many `states [tokens, hidden]`.
    pub fn read_tokens(&self, states: &Tensor, targets: &Tensor, temperature: f64) -> ReadTokens<'_> {
        let head = OutputHead { model: self, targets: targets.reshape([-1]), temperature };
        let of = |(start, length): (i64, i64)| {
            let all = head.log_softmax(&states.narrow(0, start, length));
            all.gather(1, &head.targets.narrow(0, start, length).unsqueeze(1), false).squeeze_dim(1)
        };
        let chunks: Vec<Tensor> = tch::no_grad(|| head.chunks().into_iter().map(of).collect());
        let all = match chunks.is_empty() {
            true => Tensor::zeros([0], (Kind::Float, self.device())),
            false => Tensor::cat(&chunks, 0),
        };
        let logprobs = all.view(targets.size().as_slice()).set_requires_grad(states.requires_grad());
        ReadTokens { head, states: states.shallow_clone(), logprobs }
    }
}

impl ReadTokens<'_> {
    /// A scalar whose gradient is that of a loss with the gradient `by` of `logprobs`; its value means nothing.
    pub fn surrogate(&self, by: &Tensor) -> Tensor {
        let by = OutputGrad { logprobs: by.reshape([-1]), entropy: None };
        let (states, weights) = tch::no_grad(|| self.head.backward(&self.states.detach(), None, &by));
        let of_states = surrogate(&self.states, &states).to_kind(Kind::Float);
        match weights {
            None => of_states,
            Some(grad) => of_states + surrogate(self.head.model.output(), &grad).to_kind(Kind::Float),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::near::far;

    /// Against the log-softmax of all logits at once: values, and the gradients of states and projection, in one chunk and in several.
    #[test]
    fn chunks_come_to_the_whole() {
        let mut model = Model::tiny(1);
        model.train_all();
        let size = model.config.hidden_size as i64;
        let states = Tensor::arange(6 * size, (Kind::Float, tch::Device::Cpu))
            .sin()
            .view([6, size])
            .set_requires_grad(true);
        let targets = Tensor::from_slice(&[1i64, 4, 0, 2, 2, 3]).view([2, 3]);
        let by = Tensor::from_slice(&[1.0f32, -0.5, 0.25, 2.0, 0.0, -1.0]).view([2, 3]);
        let leaves = [&states, &model.output().shallow_clone()].map(Tensor::shallow_clone);
        let all = (model.logits(&states) / 0.7).log_softmax(-1, Kind::Float);
        let expected = all.gather(-1, &targets.view([-1, 1]), false).view([2, 3]);
        let gradients = Tensor::run_backward(&[(&expected * &by).sum(Kind::Float)], &leaves, false, false);
        for chunk in [1 << 20, 2 * model.config.vocab_size] {
            model.chunk = chunk;
            let read = model.read_tokens(&states, &targets, 0.7);
            assert!(far(&read.logprobs, &expected) < 1e-6);
            let own = Tensor::run_backward(&[read.surrogate(&by)], &leaves, false, false);
            for (own, expected) in own.iter().zip(&gradients) {
                assert!(far(own, expected) < 1e-5, "{chunk}");
            }
        }
    }
}
