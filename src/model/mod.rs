//! Causal language models on libtorch tensors: rows of [`family`], made of [`block`]s.
//!
//! One forward pass serves training and decoding. It works on *tokens*, not on a padded batch: the rows of its
//! input are the tokens of one or many sequences, each with its position, and how a token sees others is the
//! caller's [`Attend`] (packed causal attention for training, a cache for decoding).

pub mod attention;
pub mod block;
mod bounds;
mod composite;
pub mod config;
mod copy;
pub mod delta;
mod delta_net;
pub mod dropout;
mod experts;
pub mod extractor;
pub mod family;
mod finite;
pub mod form;
pub mod heads;
mod inactive;
mod init;
mod inputs;
pub mod layout;
mod linear;
pub mod logprobs;
pub mod lora;
pub mod memory;
mod mlp;
mod mxfp4;
mod names;
mod nf4;
mod norm;
mod raw;
mod read_tokens;
pub mod rope;
pub mod self_attention;
pub mod sequence;
pub mod shards;
mod size;
pub mod states;
pub mod steering;
mod storage;
mod stored;
mod stowed;
pub mod thoughts;
mod together;
pub mod transformer;
mod trunk;
pub mod value;
mod weights;

pub use attention::AttentionSpec;
pub use block::Block;
pub use config::Config;
pub use delta::{DeltaInputs, DeltaSpec, DeltaState};
pub use dropout::Dropout;
pub use extractor::Extractor;
pub use family::{FAMILIES, Family};
pub use form::Form;
pub use heads::Head;
pub use inactive::InactiveAdapters;
pub use linear::{Adapter, Linear};
pub use logprobs::{Grad, ScoredTokens};
pub use lora::Lora;
pub use nf4::{Nf4, Quantize};
pub use read_tokens::ReadTokens;
pub use rope::Rope;
pub use sequence::Sequence;
pub use shards::{Shards, Slice};
pub use steering::Steering;
pub(crate) use storage::drop_grad;
pub use thoughts::Thoughts;
pub use value::ValueHead;

use tch::{Device, Kind, Tensor};

/// How a token meets the tokens before it: its query the keys and values of those it may see, and in a recurrent layer what is remembered of its sequence.
pub trait Attend {
    /// `layer` counts those that attend, from 0 on, and `spec` says how; `query [tokens, heads, head_dim]`, `key` and `value [tokens, kv_heads,
    /// head_dim]`, rotated already; `sinks [heads]` are scores that take their share of each softmax and give nothing; returns `[tokens, heads · head_dim]`.
    fn attend(
        &mut self,
        layer: usize,
        spec: &AttentionSpec,
        query: &Tensor,
        key: &Tensor,
        value: &Tensor,
        sinks: Option<&Tensor>,
    ) -> Tensor;

    /// `layer` counts those that recur, from 0 on; `inputs` are those of tokens, `[tokens, …]`; returns what each finds, `[tokens, value_heads · value_dim]`.
    fn recur(&mut self, layer: usize, spec: &DeltaSpec, inputs: &DeltaInputs<'_>) -> Tensor;
}

/// A causal language model.
#[derive(Debug)]
pub struct Model {
    /// Its shape.
    pub config: Config,
    /// What its family reads of the shape's own keys.
    pub form: Form,
    /// Token embedding, `[vocab, hidden]`.
    pub embedding: Tensor,
    /// The layers, first to last.
    pub layers: Vec<Box<dyn Block>>,
    /// The last RMS weight, `[hidden]`.
    pub norm: Tensor,
    /// Output projection `[vocab, hidden]`; `None` where it is the embedding.
    pub head: Option<Tensor>,
    /// What reads a score off the states, where the model is a reward or value model.
    pub score: Option<heads::Projection>,
    /// What selects rationales, where the model is a classifier that does.
    pub extractor: Option<Extractor>,
    /// What thinks before tokens, where the model does.
    pub thoughts: Option<Thoughts>,
    /// What is added behind its layers, where something is.
    pub steering: Option<Steering>,
    /// What reads off the states what is expected of a completion, where the policy has a critic.
    pub value: Option<ValueHead>,
    /// Rotary frequencies on the model's device.
    pub rope: Rope,
    /// What the adapters are, where there are any.
    pub lora: Option<Lora>,
    /// Further adapters of the same base, which take no part until [`Model::set_active_adapter`] names them.
    pub inactive: Vec<InactiveAdapters>,
    /// How it is divided among ranks, where it is.
    pub shards: Option<Shards>,
    /// Whether adapters take part; off, the model is its own base (the reference policy under LoRA).
    pub adapted: bool,
    /// Whether [`Model::score`] keeps only each layer's input and computes the layer again in its backward pass.
    pub checkpointing: bool,
    /// The share of each residual branch that is dropped of [sequences under dropout](Sequence::dropping).
    pub dropout: f64,
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

    /// What trains, by name: the base weights after [`Model::train_all`], under LoRA the adapters alone, the active ones
    /// before the inactive. The tensors are shared with the model: an optimiser that writes into them changes the model.
    pub fn parameters(&self) -> Vec<(String, Tensor)> {
        let all = self.all_tensors().into_iter();
        all.filter(|(_, tensor)| tensor.requires_grad()).collect()
    }

    /// All tensors by name: those of a checkpoint, the adapters', the thoughts', the extractor's and the value head's.
    pub fn all_tensors(&self) -> Vec<(String, Tensor)> {
        let beside = self.thoughts.iter().flat_map(Thoughts::tensors);
        let beside = beside.chain(self.extractor.iter().flat_map(Extractor::tensors));
        let beside = beside.chain(self.value.iter().flat_map(ValueHead::tensors));
        self.tensors()
            .into_iter()
            .chain(self.adapters())
            .chain(self.inactive_adapters())
            .chain(beside)
            .collect()
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
        let x = match &self.thoughts {
            None => Tensor::embedding(&self.embedding, tokens, -1, false, false),
            Some(thoughts) => thoughts.embed(&self.embedding, tokens),
        };
        match self.form.embedding_scale {
            1.0 => x,
            scale => x * Tensor::from(scale).to_kind(self.kind()).double_value(&[]),
        }
    }

    /// The last norm over the last layer's output.
    pub fn normalised(&self, x: &Tensor) -> Tensor {
        norm::offset_norm(x, &self.norm, self.config.rms_norm_eps, self.config.family.norm_offset)
    }

    /// Unnormalised log-probabilities `[tokens, vocab]` of `hidden [tokens, hidden]`.
    pub fn logits(&self, hidden: &Tensor) -> Tensor {
        self.logits_of(linear::product(hidden, self.output(), None))
    }

    /// Logits of what the output projection gives: scaled and capped.
    pub(crate) fn logits_of(&self, products: Tensor) -> Tensor {
        let scaled = match self.form.logit_scale {
            1.0 => products,
            scale => products * scale,
        };
        match self.form.logit_softcap {
            None => scaled,
            Some(cap) => (scaled / cap).tanh() * cap,
        }
    }

    /// From the gradient of `logits` to that of the output projection's products, in place: times scale · (1 − (logits / cap)²).
    pub(super) fn grad_of_products(&self, by_logits: Tensor, logits: impl FnOnce() -> Tensor) -> Tensor {
        let by_logits = match self.form.logit_softcap {
            None => by_logits,
            Some(cap) => by_logits * ((logits() / cap).square().neg() + 1.0),
        };
        if self.form.logit_scale == 1.0 { by_logits } else { by_logits * self.form.logit_scale }
    }

    /// Whether the attention of some layer slides.
    pub fn has_windows(&self) -> bool {
        self.form.layers.iter().any(|layer| layer.attention.window.is_some())
    }

    /// Whether some layer remembers tokens in a state.
    pub fn is_recurrent(&self) -> bool {
        self.form.delta.is_some()
    }

    /// How many tokens each layer's experts have had since this was last asked, `[experts]` each; nothing for a model without experts.
    pub fn expert_loads(&self) -> Vec<Tensor> {
        self.layers.iter().filter_map(|layer| layer.expert_load()).collect()
    }

    /// The output projection `[vocab, hidden]`: the head, or the embedding where the two are tied.
    pub fn output(&self) -> &Tensor {
        self.head.as_ref().unwrap_or(&self.embedding)
    }
}

/// x / sqrt(mean(x²) + eps) · weight over the last dimension.
pub fn rms_norm(x: &Tensor, weight: &Tensor, eps: f64) -> Tensor {
    Tensor::internal_fused_rms_norm(x, weight.size(), Some(weight), Some(eps)).0
}
