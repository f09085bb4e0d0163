//! Transformers of the Llama family (Llama, Mistral, Qwen2, Qwen3) on libtorch tensors.
//!
//! One forward pass serves training and decoding. It works on *tokens*, not on a padded batch: the rows of its
//! input are the tokens of one or many sequences, each with its position, and how a token sees others is the
//! caller's [`Attend`] (packed causal attention for training, a KV cache for decoding).

pub mod attention;
pub mod config;
mod copy;
pub mod heads;
mod init;
pub mod layout;
pub mod logprobs;
pub mod lora;
pub mod names;
mod raw;
pub mod resting;
pub mod rope;
mod stored;
mod trunk;
mod weights;

pub use config::Config;
pub use heads::Head;
pub use logprobs::{Grad, Scored, Sequence};
pub use lora::Lora;
pub use rope::Rope;

use tch::{Device, Kind, Tensor};

/// How a token's query meets the keys and values of the tokens it may see.
pub trait Attend {
    /// `query [tokens, heads, head_dim]`, `key` and `value [tokens, kv_heads, head_dim]`, rotated already;
    /// returns `[tokens, heads · head_dim]`.
    fn attend(&mut self, layer: usize, query: &Tensor, key: &Tensor, value: &Tensor) -> Tensor;
}

/// A linear map as the checkpoint names it, with its low-rank adapter where there is one.
#[derive(Debug)]
pub struct Linear {
    /// `[out, in]`.
    pub weight: Tensor,
    /// `[out]`.
    pub bias: Option<Tensor>,
    /// The adapter added to it.
    pub adapter: Option<Adapter>,
}

/// A low-rank adapter: `y += scale · x Aᵀ Bᵀ`.
#[derive(Debug)]
pub struct Adapter {
    /// `[rank, in]`.
    pub a: Tensor,
    /// `[out, rank]`, zero at the start.
    pub b: Tensor,
    /// alpha / rank.
    pub scale: f64,
}

impl Linear {
    fn forward(&self, x: &Tensor, adapted: bool) -> Tensor {
        let y = product(x, &self.weight, self.bias.as_ref());
        match &self.adapter {
            Some(adapter) if adapted => {
                let low = x.linear(&adapter.a, None::<&Tensor>).linear(&adapter.b, None::<&Tensor>);
                y + low * adapter.scale
            }
            _ => y,
        }
    }
}

/// One decoder layer.
#[derive(Debug)]
pub struct Layer {
    /// RMS weight before attention, `[hidden]`.
    pub input_norm: Tensor,
    /// Query, key, value and output projections.
    pub query: Linear,
    /// See `query`.
    pub key: Linear,
    /// See `query`.
    pub value: Linear,
    /// See `query`.
    pub output: Linear,
    /// Qwen3's RMS weights over each head of the query and the key, `[head_dim]` each.
    pub head_norms: Option<(Tensor, Tensor)>,
    /// RMS weight before the MLP, `[hidden]`.
    pub mlp_norm: Tensor,
    /// SwiGLU: `down(silu(gate(x)) · up(x))`.
    pub gate: Linear,
    /// See `gate`.
    pub up: Linear,
    /// See `gate`.
    pub down: Linear,
}

/// A causal language model.
#[derive(Debug)]
pub struct Model {
    /// Its shape.
    pub config: Config,
    /// Token embedding, `[vocab, hidden]`.
    pub embedding: Tensor,
    /// The layers, first to last.
    pub layers: Vec<Layer>,
    /// The last RMS weight, `[hidden]`.
    pub norm: Tensor,
    /// Output projection `[vocab, hidden]`; `None` where it is the embedding.
    pub head: Option<Tensor>,
    /// What reads a score off the states, where the model is a reward or value model.
    pub score: Option<heads::Projection>,
    /// Rotary frequencies on the model's device.
    pub rope: Rope,
    /// What the adapters are, where there are any.
    pub lora: Option<Lora>,
    /// Further adapters of the same base, which take no part until [`Model::turn_to`] names them.
    pub resting: Vec<resting::Resting>,
    /// Whether adapters take part; off, the model is its own base (the reference policy under LoRA).
    pub adapted: bool,
    /// Whether [`Model::score`] keeps only each layer's input and computes the layer again in its backward pass.
    pub checkpointing: bool,
    /// How many logits [`Model::score`] holds at once (their number, over positions and vocabulary).
    pub chunk: usize,
}

impl Model {
    /// Where the weights live.
    pub fn device(&self) -> Device {
        self.embedding.device()
    }

    /// The weights' number format.
    pub fn kind(&self) -> Kind {
        self.embedding.kind()
    }

    /// Makes every base weight trainable.
    pub fn train_all(&self) {
        for (_, tensor) in self.tensors() {
            let _ = tensor.set_requires_grad(true);
        }
    }

    /// What trains, by name: the base weights after [`Model::train_all`], the adapters alone under LoRA, those that rest
    /// behind the others. The tensors
    /// are shared with the model: an optimiser that writes into them changes the model.
    pub fn parameters(&self) -> Vec<(String, Tensor)> {
        let all = self.tensors().into_iter().chain(self.adapters()).chain(self.resting_adapters());
        all.filter(|(_, tensor)| tensor.requires_grad()).collect()
    }

    /// The last layer's normalised states `[tokens, hidden]` of `tokens [n]` (int64) at `positions [n]` (int64).
    pub fn hidden(&self, tokens: &Tensor, positions: &Tensor, attend: &mut dyn Attend) -> Tensor {
        let rotation = self.rope.at(positions, self.kind());
        let mut x = self.embed(tokens);
        for index in 0..self.layers.len() {
            x = self.layer(index, &x, &rotation, attend);
        }
        self.normalised(&x)
    }

    /// The first layer's input `[tokens, hidden]`.
    pub fn embed(&self, tokens: &Tensor) -> Tensor {
        Tensor::embedding(&self.embedding, tokens, -1, false, false)
    }

    /// One layer over `x [tokens, hidden]`, with the rotation of each token's position.
    pub fn layer(
        &self,
        index: usize,
        x: &Tensor,
        rotation: &rope::Rotation,
        attend: &mut dyn Attend,
    ) -> Tensor {
        let (layer, config) = (&self.layers[index], &self.config);
        let (tokens, eps) = (x.size()[0], config.rms_norm_eps);
        let heads = |t: Tensor, n: usize| t.view([tokens, n as i64, config.head_dim as i64]);

        let h = rms_norm(x, &layer.input_norm, eps);
        let mut query = heads(layer.query.forward(&h, self.adapted), config.num_attention_heads);
        let mut key = heads(layer.key.forward(&h, self.adapted), config.num_key_value_heads);
        let value = heads(layer.value.forward(&h, self.adapted), config.num_key_value_heads);
        if let Some((query_norm, key_norm)) = &layer.head_norms {
            query = rms_norm(&query, query_norm, eps);
            key = rms_norm(&key, key_norm, eps);
        }
        let attended = attend.attend(index, &rotation.apply(&query), &rotation.apply(&key), &value);
        let x = x + layer.output.forward(&attended, self.adapted);

        let h = rms_norm(&x, &layer.mlp_norm, eps);
        let gated = layer.gate.forward(&h, self.adapted).silu() * layer.up.forward(&h, self.adapted);
        &x + layer.down.forward(&gated, self.adapted)
    }

    /// The last norm over the last layer's output.
    pub fn normalised(&self, x: &Tensor) -> Tensor {
        rms_norm(x, &self.norm, self.config.rms_norm_eps)
    }

    /// Unnormalised log-probabilities `[tokens, vocab]` of `hidden [tokens, hidden]`.
    pub fn logits(&self, hidden: &Tensor) -> Tensor {
        product(hidden, self.output(), None)
    }

    /// The output projection `[vocab, hidden]`: the head, or the embedding where the two are tied.
    pub fn output(&self) -> &Tensor {
        self.head.as_ref().unwrap_or(&self.embedding)
    }
}

/// Rows up to which a CPU is faster with the weight as the left factor: a step of decoding.
const FEW_ROWS: i64 = 64;

/// x Wᵀ + bias. For few rows on a CPU as (W xᵀ)ᵀ: the long side then is the rows of the product, which libtorch's
/// matrix kernels split over threads and registers much better.
pub(crate) fn product(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Tensor {
    let few = x.device() == Device::Cpu && x.dim() == 2 && (2..=FEW_ROWS).contains(&x.size()[0]);
    if !few || x.kind() != Kind::Float {
        return x.linear(weight, bias);
    }
    let y = weight.matmul(&x.tr()).tr().contiguous();
    match bias {
        Some(bias) => y + bias,
        None => y,
    }
}

/// x / sqrt(mean(x²) + eps) · weight over the last dimension.
pub fn rms_norm(x: &Tensor, weight: &Tensor, eps: f64) -> Tensor {
    Tensor::internal_fused_rms_norm(x, weight.size(), Some(weight), Some(eps)).0
}
