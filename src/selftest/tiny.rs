//! The model and the sequences that the checks compute with: three layers of random weights, as all devices can hold them.

use crate::Result;
use crate::model::{Config, Grad, Model, Sequence};
use crate::seed;
use tch::{Device, Kind, Tensor};

/// Rows of the tiny model's embedding.
pub const VOCABULARY: u64 = 512;

/// The tiny model. Its weights are the same on every device and, but for rounding, in every number format. They are large enough
/// for predictions that differ from each other.
pub fn model(kind: Kind, device: Device) -> Result<Model> {
    let config = Config {
        vocab_size: VOCABULARY as usize,
        hidden_size: 128,
        intermediate_size: 256,
        num_hidden_layers: 3,
        num_attention_heads: 4,
        num_key_value_heads: 2,
        head_dim: 32,
        max_position_embeddings: 512,
        initializer_range: 0.1,
        ..Config::default()
    };
    Model::init(config, kind, device, 5)
}

/// Four prompts with completions of unlike lengths.
pub fn sequences() -> Vec<Sequence> {
    let lengths = [(8, 32), (5, 28), (20, 44), (1, 11)];
    let each = lengths.iter().zip(0..);
    each.map(|(&(prompt, completion), at)| Sequence::new(&tokens(at, prompt), &tokens(at + 100, completion)))
        .collect()
}

/// `count` tokens that differ with `salt`.
pub fn tokens(salt: u64, count: u64) -> Vec<u32> {
    (0..count).map(|at| (seed::derive(&[salt, at]) % VOCABULARY) as u32).collect()
}

/// Log-probabilities of the learned tokens and the gradients of Σ slope · log p, the slopes being unlike.
#[derive(Debug)]
pub struct Scored {
    /// `[learned tokens]`.
    pub logprobs: Tensor,
    /// By parameter, in the model's order.
    pub gradients: Vec<(String, Tensor)>,
}

/// Scores and differentiates.
pub fn score(model: &Model, sequences: &[Sequence]) -> Result<Scored> {
    score_from(model, sequences, 0)
}

/// The same of sequences before which `first` learned tokens stand elsewhere: the slopes count on from there.
pub fn score_from(model: &Model, sequences: &[Sequence], first: usize) -> Result<Scored> {
    model.train_all();
    for (_, parameter) in model.parameters() {
        let mut gradient = parameter.grad();
        if gradient.defined() {
            let _ = gradient.zero_();
        }
    }
    let scored = model.score(sequences, 0.8, Grad::Yes)?;
    let logprobs = scored.logprobs.detach().copy();
    let places = Tensor::arange(logprobs.size()[0], (Kind::Float, model.device())) + first as f64;
    let slopes = (places * 0.7).sin();
    let loss = (&scored.logprobs * slopes).sum(Kind::Float);
    scored.backward(&loss)?;
    let gradients =
        model.parameters().into_iter().map(|(name, tensor)| (name, tensor.grad().copy())).collect();
    Ok(Scored { logprobs, gradients })
}

/// max |a − b| / max |b|; no number where the two do not have the same places.
pub fn distance(a: &Tensor, b: &Tensor) -> f64 {
    if a.size() != b.size() {
        return f64::NAN;
    }
    let [a, b] = [a, b].map(|t| t.to_device(Device::Cpu).to_kind(Kind::Double));
    ((&a - &b).abs().max() / b.abs().max()).double_value(&[])
}

/// √(Σ (a − b)² / Σ b²): the relative error where single places are noisy.
pub fn error(a: &Tensor, b: &Tensor) -> f64 {
    if a.size() != b.size() {
        return f64::NAN;
    }
    let [a, b] = [a, b].map(|t| t.to_device(Device::Cpu).to_kind(Kind::Double));
    ((&a - &b).norm() / b.norm()).double_value(&[])
}

/// The worst of all gradients by `measure`; no number where they are not of the same parameters.
pub fn worst(found: &Scored, expected: &Scored, measure: fn(&Tensor, &Tensor) -> f64) -> f64 {
    let names = |scored: &Scored| scored.gradients.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    if names(found) != names(expected) {
        return f64::NAN;
    }
    let pairs = found.gradients.iter().zip(&expected.gradients);
    greatest(pairs.map(|((_, a), (_, b))| measure(a, b)))
}

/// The greatest, and no number where one is none.
pub fn greatest(values: impl IntoIterator<Item = f64>) -> f64 {
    values.into_iter().fold(0.0, |most: f64, value| if value.is_nan() || value > most { value } else { most })
}
