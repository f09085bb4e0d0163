//! What a model's prediction owes to each token that it has read: gradient times input (Shrikumar et al. 2016, arXiv 1605.01713), or the gradient's norm.

use super::Model;
use super::attention::Packed;
use crate::Result;
use tch::{Device, Kind, Tensor};

impl Model {
    /// For each token of `prompt`, Σ over the numbers of its embedding e of e · ∂ log p(`answer` | `prompt`) / ∂e: the derivative at k = 1 where k · e stands
    /// in the place of e. Nothing of it reaches the weights.
    ///
    /// # Errors
    /// More tokens than the context has room for, or one that the vocabulary lacks.
    pub fn input_gradients(&self, prompt: &[u32], answer: &[u32]) -> Result<Vec<f64>> {
        let product = |gradient: &Tensor, embedded: &Tensor| sums(&(gradient * embedded));
        self.of_gradients(prompt, answer, product)
    }

    /// For each token of `prompt`, ‖∂ log p(`answer` | `prompt`) / ∂e‖ (Li et al. 2016, arXiv 1506.01066): how much hangs on it, whatever way.
    ///
    /// # Errors
    /// As [`input_gradients`](Self::input_gradients).
    pub fn input_gradient_norms(&self, prompt: &[u32], answer: &[u32]) -> Result<Vec<f64>> {
        self.of_gradients(prompt, answer, |gradient, _| sums(&gradient.square()).sqrt())
    }

    /// What `of` makes of the gradients by the embeddings of `prompt` and of these, `[tokens, hidden]` in f32: `[tokens]`.
    fn of_gradients(
        &self,
        prompt: &[u32],
        answer: &[u32],
        of: impl Fn(&Tensor, &Tensor) -> Tensor,
    ) -> Result<Vec<f64>> {
        assert!(!prompt.is_empty() && !answer.is_empty(), "something is read, and something predicted");
        let tokens = [prompt, answer].concat();
        self.check_places(&[&tokens], &[&[]])?;
        let device = self.device();
        let upload = |tokens: &[u32]| {
            let ids: Vec<i64> = tokens.iter().map(|&token| i64::from(token)).collect();
            Tensor::from_slice(&ids).to_device(device)
        };
        let (begin, count) = (prompt.len() as i64, answer.len() as i64);
        let mut packed = Packed::branching(&[tokens.len()], vec![], device);
        let rotation = self.rope.at(&packed.positions(), self.kind());
        let of_tokens = tch::with_grad(|| {
            let embedded = self.embed(&upload(&tokens)).detach().set_requires_grad(true);
            let mut x = embedded.shallow_clone();
            for index in 0..self.layers.len() {
                x = self.layer(index, &x, &rotation, &mut packed);
            }
            let states = self.normalised(&x.narrow(0, begin - 1, count));
            let read = self.read_tokens(&states, &upload(answer), 1.0);
            let surrogate = read.surrogate(&read.logprobs.detach().ones_like());
            let gradient = Tensor::run_backward(&[surrogate], &[&embedded], false, false).swap_remove(0);
            of(&gradient.to_kind(Kind::Float), &embedded.detach().to_kind(Kind::Float))
        });
        Ok(Vec::try_from(of_tokens.narrow(0, 0, begin).to_device(Device::Cpu))?)
    }
}

/// Of `[tokens, hidden]` the sum over each token's numbers.
fn sums(of: &Tensor) -> Tensor {
    of.sum_dim_intlist([1i64].as_slice(), false, Kind::Double)
}

/// Against a second computation in plain Python (tests/fixtures/states/make.py).
#[cfg(test)]
mod tests {
    use super::super::{Grad, Sequence};
    use super::*;
    use crate::near::near;
    use serde::Deserialize;
    use std::path::Path;

    #[derive(Deserialize)]
    struct Expected {
        prompt: Vec<u32>,
        answer: Vec<u32>,
        logprobs: Vec<f64>,
        gradient: Vec<f64>,
        norms: Vec<f64>,
        occlusion: Vec<f64>,
        direction: Vec<Vec<f32>>,
        steered_by_half: Vec<f64>,
        steered_behind_the_last: Vec<f64>,
    }

    fn expected() -> Expected {
        serde_json::from_str(include_str!("../../tests/fixtures/states/states.json")).unwrap()
    }

    fn llama() -> Model {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/models/llama");
        Model::load(&folder, Kind::Float, Device::Cpu).unwrap()
    }

    fn logprobs(model: &Model, prompt: &[u32], answer: &[u32]) -> Vec<f64> {
        let scored = model.score(&[Sequence::new(prompt, answer)], 1.0, Grad::No).unwrap();
        Vec::try_from(scored.logprobs.to_kind(Kind::Double)).unwrap()
    }

    #[test]
    fn gradients_times_inputs_are_derivatives_by_their_scale() {
        let (model, expected) = (llama(), expected());
        near(model.input_gradients(&expected.prompt, &expected.answer).unwrap(), &expected.gradient, 1e-4);
        near(model.input_gradient_norms(&expected.prompt, &expected.answer).unwrap(), &expected.norms, 1e-4);
        // They are there whether the weights train or not, and leave no gradient behind.
        model.train_all();
        near(model.input_gradients(&expected.prompt, &expected.answer).unwrap(), &expected.gradient, 1e-4);
        assert!(!model.norm.grad().defined());
        assert!(model.input_gradients(&[64], &[1]).is_err());
    }

    #[test]
    fn tokens_that_are_left_out_are_missed() {
        let (model, expected) = (llama(), expected());
        let whole: f64 = logprobs(&model, &expected.prompt, &expected.answer).iter().sum();
        let without = |at: usize| {
            let rest = [&expected.prompt[..at], &expected.prompt[at + 1..]].concat();
            whole - logprobs(&model, &rest, &expected.answer).iter().sum::<f64>()
        };
        let found: Vec<f64> = (0..expected.prompt.len()).map(without).collect();
        near(&found, &expected.occlusion, 1e-4);
    }

    #[test]
    fn a_direction_moves_what_is_predicted() {
        let (mut model, expected) = (llama(), expected());
        near(logprobs(&model, &expected.prompt, &expected.answer), &expected.logprobs, 1e-4);
        let rows: Vec<Tensor> = expected.direction.iter().map(|row| Tensor::from_slice(row)).collect();
        let direction = Tensor::stack(&rows, 0);
        model.steer(&direction, 0.5, &[]).unwrap();
        near(logprobs(&model, &expected.prompt, &expected.answer), &expected.steered_by_half, 1e-4);
        model.steer(&direction, 1.0, &[2]).unwrap();
        near(logprobs(&model, &expected.prompt, &expected.answer), &expected.steered_behind_the_last, 1e-4);
    }
}
