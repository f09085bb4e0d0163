//! The decoder layer of Llama and its kin: grouped-query attention with rotary positions, then a gated MLP or experts (Touvron et al. 2023;
//! Jiang et al. 2024). Families differ in where its norms stand and in what [`Form`](super::form::Form) says.

use super::block::{Block, Blueprint, Part, Parts, Rows};
use super::experts::Experts;
use super::mlp::Mlp;
use super::norm::Norm;
use super::self_attention::SelfAttention;
use super::{Config, Linear};
use crate::Result;
use tch::Tensor;

/// How such a layer is built.
pub static TRANSFORMER: Blueprint = Blueprint {
    linears: &[
        "self_attn.q_proj",
        "self_attn.k_proj",
        "self_attn.v_proj",
        "self_attn.o_proj",
        "mlp.gate_proj",
        "mlp.up_proj",
        "mlp.down_proj",
    ],
    residual: &["self_attn.o_proj", "mlp.down_proj", "mlp.experts.*.down_proj"],
    activations: &["silu", "swish"],
    attends: |_, _| true,
    build: |config, index, parts| Ok(Box::new(Transformer::new(config, index, parts)?)),
};

/// The same with a GELU in the MLP.
pub static GELU_TRANSFORMER: Blueprint = Blueprint { activations: &["gelu_pytorch_tanh"], ..TRANSFORMER };

/// The same with one matrix for query, key and value, and one for the MLP's first two.
pub static FUSED_TRANSFORMER: Blueprint = Blueprint {
    linears: &["self_attn.qkv_proj", "self_attn.o_proj", "mlp.gate_up_proj", "mlp.down_proj"],
    ..TRANSFORMER
};

/// Where the norms of a layer stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Norms {
    /// Before attention and before the MLP.
    Before,
    /// Behind both, before the residual sum.
    Behind,
    /// Before and behind both.
    Around,
}

impl Norms {
    /// The checkpoint's names of the norms before attention, before the MLP, behind attention and behind the MLP.
    fn names(self) -> [Option<&'static str>; 4] {
        match self {
            Self::Before => [Some("input_layernorm"), Some("post_attention_layernorm"), None, None],
            Self::Behind => {
                [None, None, Some("post_attention_layernorm"), Some("post_feedforward_layernorm")]
            }
            Self::Around => [
                Some("input_layernorm"),
                Some("pre_feedforward_layernorm"),
                Some("post_attention_layernorm"),
                Some("post_feedforward_layernorm"),
            ],
        }
    }
}

#[derive(Debug)]
struct Transformer {
    /// Before attention, before the MLP, behind attention, behind the MLP.
    norms: [Option<Norm>; 4],
    attention: SelfAttention,
    feed_forward: FeedForward,
    residual_scale: f64,
}

#[derive(Debug)]
enum FeedForward {
    Dense(Mlp),
    Sparse(Experts),
}

impl Transformer {
    fn new(config: &Config, index: usize, parts: &mut Parts<'_>) -> Result<Self> {
        let form = config.form()?;
        let layer = &form.layers[index];
        let mut norms = [const { None }; 4];
        for (norm, name) in norms.iter_mut().zip(config.family.norms.names()) {
            *norm = name.map(|name| Norm::new(config, parts, name, config.hidden_size)).transpose()?;
        }
        let attention = SelfAttention::new(config, layer, parts)?;
        let feed_forward = match form.experts.as_ref().filter(|_| layer.sparse) {
            Some(experts) => FeedForward::Sparse(Experts::new(config, experts, parts)?),
            None => FeedForward::Dense(Mlp::new(config, parts)?),
        };
        Ok(Self { norms, attention, feed_forward, residual_scale: form.residual_scale })
    }

    /// x + scale · behind(f(before(x))), under dropout with numbers of what is added dropped.
    fn added(
        &self,
        x: &Tensor,
        at: usize,
        rows: &mut Rows<'_>,
        f: impl FnOnce(&Tensor, &mut Rows<'_>) -> Tensor,
    ) -> Tensor {
        let [before, behind] = [&self.norms[at], &self.norms[at + 2]];
        let y = match before {
            Some(norm) => f(&norm.of(x), rows),
            None => f(x, rows),
        };
        let y = match behind {
            Some(norm) => norm.of(&y),
            None => y,
        };
        let y = rows.dropped(y);
        if self.residual_scale == 1.0 { x + y } else { x + y * self.residual_scale }
    }
}

impl Block for Transformer {
    fn forward(&self, x: &Tensor, rows: &mut Rows<'_>) -> Tensor {
        let x = self.added(x, 0, rows, |h, rows| self.attention.forward(h, rows));
        self.added(&x, 1, rows, |h, rows| match &self.feed_forward {
            FeedForward::Dense(mlp) => mlp.forward(h, rows),
            FeedForward::Sparse(experts) => experts.forward(h),
        })
    }

    fn parts(&self) -> Vec<Part<'_>> {
        let mut all: Vec<Part<'_>> = self.norms.iter().flatten().map(Norm::part).collect();
        all.extend(self.attention.linears().into_iter().map(Part::Linear));
        match &self.feed_forward {
            FeedForward::Dense(mlp) => all.extend(mlp.linears().into_iter().map(Part::Linear)),
            FeedForward::Sparse(experts) => all.extend(experts.weights().into_iter().map(Part::Weight)),
        }
        all.extend(self.attention.norms().map(Norm::part));
        all.extend(self.attention.sinks().map(Part::Weight));
        all
    }

    fn linears_mut(&mut self) -> Vec<&mut Linear> {
        let mut all = self.attention.linears_mut();
        if let FeedForward::Dense(mlp) = &mut self.feed_forward {
            all.extend(mlp.linears_mut());
        }
        all
    }

    fn expert_load(&self) -> Option<Tensor> {
        match &self.feed_forward {
            FeedForward::Sparse(experts) => Some(experts.take_load()),
            FeedForward::Dense(_) => None,
        }
    }
}
