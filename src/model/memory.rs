//! How many bytes a model takes, by what holds them: what a plan is made of before there is a model.

use super::Config;
use super::names::CHUNK;
use tch::Kind;

/// Bytes of one parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PerParameter {
    /// The weight that the model computes with.
    pub weight: usize,
    /// The sum of its gradient over micro-batches, f32.
    pub gradient: usize,
    /// The f32 number that a weight of another kind is rounded from.
    pub master: usize,
    /// AdamW's two running means, f32.
    pub moments: usize,
}

impl PerParameter {
    /// Of weights of `kind`.
    pub fn of(kind: Kind) -> Self {
        let master = if kind == Kind::Float { 0 } else { 4 };
        Self { weight: kind.elt_size_in_bytes(), gradient: 4, master, moments: 8 }
    }

    /// What training adds to the weight.
    pub fn training(self) -> usize {
        self.gradient + self.master + self.moments
    }
}

/// Bytes of a token that a backward pass goes back over: an estimate of 34 · hidden + 6 · intermediate a layer in 16-bit numbers,
/// twice that in f32, where the experts that a token passes through count together, and the f32 results of each; with checkpointing one layer's, and every layer's input.
pub fn activations(shape: &Config, kind: Kind, checkpointing: bool) -> usize {
    let width = kind.elt_size_in_bytes();
    let mlp = (6.0 * shape.mlp_width()) as usize;
    let experts = shape.form().ok().and_then(|form| form.experts).map_or(0, |experts| experts.per_token);
    let layer = (34 * shape.hidden_size + mlp) * width / 2 + experts * 2 * shape.hidden_size * (width + 4);
    let layers = shape.num_hidden_layers;
    if checkpointing { layer + layers * shape.hidden_size * width } else { layer * layers }
}

/// Bytes of the logits of `tokens` learned tokens, as far as they are held at once: two copies in f32, and one of 16 bits where the
/// weights have these.
pub fn logits(shape: &Config, kind: Kind, tokens: usize) -> usize {
    let rounded = if kind == Kind::Float { 0 } else { kind.elt_size_in_bytes() };
    (2 * 4 + rounded) * (tokens * shape.vocab_size).min(CHUNK)
}

/// Bytes of a token's keys and values.
pub fn cached(shape: &Config, kind: Kind) -> usize {
    2 * shape.attention_layers() * shape.num_key_value_heads * shape.head_dim * kind.elt_size_in_bytes()
}
