//! The decoder layer of Llama and its kin: grouped-query attention with rotary positions, then a gated MLP or experts (Touvron et al. 2023;
//! Jiang et al. 2024). Families differ in where its norms stand and in what [`Form`] says; in some the gated delta rule stands in the place of
//! most layers' attention.

use super::block::{Block, Blueprint, Part, Parts, Rows};
use super::delta_net::DeltaNet;
use super::experts::Experts;
use super::form::{Form, recurs};
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
    recurs: |_, _| false,
    build: |config, form, index, parts| Ok(Box::new(Transformer::new(config, form, index, parts)?)),
};

/// The same with a GELU in the MLP.
pub static GELU_TRANSFORMER: Blueprint = Blueprint { activations: &["gelu_pytorch_tanh"], ..TRANSFORMER };

/// The same with one matrix for query, key and value, and one for the MLP's first two.
pub static FUSED_TRANSFORMER: Blueprint = Blueprint {
    linears: &["self_attn.qkv_proj", "self_attn.o_proj", "mlp.gate_up_proj", "mlp.down_proj"],
    ..TRANSFORMER
};

/// The same with the gated delta rule in some layers, and an expert that all tokens pass through beside the others.
pub static HYBRID: Blueprint = Blueprint {
    linears: &[
        "self_attn.q_proj",
        "self_attn.k_proj",
        "self_attn.v_proj",
        "self_attn.o_proj",
        "linear_attn.in_proj_qkv",
        "linear_attn.in_proj_z",
        "linear_attn.in_proj_b",
        "linear_attn.in_proj_a",
        "linear_attn.out_proj",
        "mlp.gate_proj",
        "mlp.up_proj",
        "mlp.down_proj",
    ],
    residual: &[
        "self_attn.o_proj",
        "linear_attn.out_proj",
        "mlp.down_proj",
        "mlp.experts.*.down_proj",
        "mlp.shared_expert.down_proj",
    ],
    attends: |config, index| !recurs(config, index),
    recurs,
    ..TRANSFORMER
};

/// The same with what the gated delta rule takes of two matrices.
pub static FUSED_HYBRID: Blueprint = Blueprint {
    linears: &[
        "self_attn.q_proj",
        "self_attn.k_proj",
        "self_attn.v_proj",
        "self_attn.o_proj",
        "linear_attn.in_proj_qkvz",
        "linear_attn.in_proj_ba",
        "linear_attn.out_proj",
        "mlp.gate_proj",
        "mlp.up_proj",
        "mlp.down_proj",
    ],
    ..HYBRID
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
    mixer: Mixer,
    feed_forward: FeedForward,
    residual_scale: f64,
}

/// What tokens learn of each other by.
#[derive(Debug)]
enum Mixer {
    Attention(SelfAttention),
    Delta(DeltaNet),
}

#[derive(Debug)]
enum FeedForward {
    Dense(Mlp),
    Sparse(Experts),
}

impl Transformer {
    fn new(config: &Config, form: &Form, index: usize, parts: &mut Parts<'_>) -> Result<Self> {
        let layer = &form.layers[index];
        let mut norms = [const { None }; 4];
        for (norm, name) in norms.iter_mut().zip(config.family.norms.names()) {
            *norm = name.map(|name| Norm::new(config, parts, name, config.hidden_size)).transpose()?;
        }
        let mixer = match form.delta.filter(|_| layer.recurs) {
            Some(spec) => Mixer::Delta(DeltaNet::new(config, spec, parts)?),
            None => Mixer::Attention(SelfAttention::new(config, layer, parts)?),
        };
        let feed_forward = match form.experts.as_ref().filter(|_| layer.sparse) {
            Some(experts) => FeedForward::Sparse(Experts::new(config, experts, parts)?),
            None => FeedForward::Dense(Mlp::new(config, parts)?),
        };
        Ok(Self { norms, mixer, feed_forward, residual_scale: form.residual_scale })
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
        let x = self.added(x, 0, rows, |h, rows| match &self.mixer {
            Mixer::Attention(attention) => attention.forward(h, rows),
            Mixer::Delta(delta) => delta.forward(h, rows),
        });
        self.added(&x, 1, rows, |h, rows| match &self.feed_forward {
            FeedForward::Dense(mlp) => mlp.forward(h, rows),
            FeedForward::Sparse(experts) => experts.forward(h, rows),
        })
    }

    fn parts(&self) -> Vec<Part<'_>> {
        let mut all: Vec<Part<'_>> = self.norms.iter().flatten().map(Norm::part).collect();
        match &self.mixer {
            Mixer::Attention(attention) => all.extend(attention.linears().into_iter().map(Part::Linear)),
            Mixer::Delta(delta) => all.extend(delta.parts()),
        }
        match &self.feed_forward {
            FeedForward::Dense(mlp) => all.extend(mlp.linears().into_iter().map(Part::Linear)),
            FeedForward::Sparse(experts) => all.extend(experts.parts()),
        }
        if let Mixer::Attention(attention) = &self.mixer {
            all.extend(attention.norms().map(Norm::part));
            all.extend(attention.sinks().map(Part::Weight));
        }
        all
    }

    fn linears_mut(&mut self) -> Vec<&mut Linear> {
        let mut all = match &mut self.mixer {
            Mixer::Attention(attention) => attention.linears_mut(),
            Mixer::Delta(delta) => delta.linears_mut(),
        };
        all.extend(match &mut self.feed_forward {
            FeedForward::Dense(mlp) => mlp.linears_mut(),
            FeedForward::Sparse(experts) => experts.linears_mut(),
        });
        all
    }

    fn expert_load(&self) -> Option<Tensor> {
        match &self.feed_forward {
            FeedForward::Sparse(experts) => Some(experts.take_load()),
            FeedForward::Dense(_) => None,
        }
    }
}
