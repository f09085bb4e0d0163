//! Grouped-query attention (Ainslie et al. 2023) with rotary positions: the projections, and what is done to queries and keys.

use super::attention::AttentionSpec;
use super::block::{Parts, Rows, Weight};
use super::form::LayerForm;
use super::norm::Norm;
use super::{Config, Linear};
use crate::Result;
use tch::Tensor;

/// Which norms queries and keys have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueryNorms {
    /// None.
    None,
    /// One of each head by itself.
    Head,
    /// One over all heads together.
    Whole,
}

/// The attention of a layer.
#[derive(Debug)]
pub(super) struct SelfAttention {
    heads: i64,
    kv_heads: i64,
    head_dim: i64,
    spec: AttentionSpec,
    rope: Option<usize>,
    projections: Projections,
    output: Linear,
    /// Whether the query's projection has a gate behind each head, as wide as that.
    gated: bool,
    /// `[heads]`, where the family has them.
    sinks: Option<Weight>,
    /// Of the query and of the key.
    norms: Option<(QueryNorms, [Norm; 2])>,
}

/// What makes queries, keys and values.
#[derive(Debug)]
enum Projections {
    Apart([Linear; 3]),
    /// Rows of one matrix, in this order.
    Fused(Linear),
}

impl SelfAttention {
    pub fn new(config: &Config, layer: &LayerForm, parts: &mut Parts<'_>) -> Result<Self> {
        let (hidden, head_dim) = (config.hidden_size, config.head_dim);
        let [heads, kv] = [config.num_attention_heads, config.num_key_value_heads].map(|n| n * head_dim);
        let bias = config.qkv_bias;
        let gated = config.family.attention_gate;
        let queries = if gated { 2 * heads } else { heads };
        let projections = match parts.names("self_attn.qkv_proj") {
            true => Projections::Fused(parts.linear("self_attn.qkv_proj", heads + 2 * kv, hidden, bias)?),
            false => Projections::Apart([
                parts.linear("self_attn.q_proj", queries, hidden, bias)?,
                parts.linear("self_attn.k_proj", kv, hidden, bias)?,
                parts.linear("self_attn.v_proj", kv, hidden, bias)?,
            ]),
        };
        let output = parts.linear("self_attn.o_proj", hidden, heads, config.output_bias)?;
        let sinks = match config.family.sinks {
            true => Some(parts.weight("self_attn.sinks", &[config.num_attention_heads])?),
            false => None,
        };
        let mut norms = |kind, widths: [usize; 2]| -> Result<_> {
            let query = Norm::new(config, parts, "self_attn.q_norm", widths[0])?;
            let key = Norm::new(config, parts, "self_attn.k_norm", widths[1])?;
            Ok(Some((kind, [query, key])))
        };
        let norms = match config.family.query_norms {
            QueryNorms::None => None,
            kind @ QueryNorms::Head => norms(kind, [head_dim; 2])?,
            kind @ QueryNorms::Whole => norms(kind, [heads, kv])?,
        };
        Ok(Self {
            heads: config.num_attention_heads as i64,
            kv_heads: config.num_key_value_heads as i64,
            head_dim: head_dim as i64,
            spec: layer.attention,
            rope: layer.rope,
            projections,
            output,
            gated,
            sinks,
            norms,
        })
    }

    /// `h [tokens, hidden]` to `[tokens, hidden]`.
    pub fn forward(&self, h: &Tensor, rows: &mut Rows<'_>) -> Tensor {
        let [query, key, value] = match &self.projections {
            Projections::Apart(linears) => linears.each_ref().map(|linear| rows.linear(linear, h)),
            Projections::Fused(linear) => {
                let all = rows.linear(linear, h);
                let mut start = 0;
                [self.heads, self.kv_heads, self.kv_heads].map(|heads| {
                    let width = heads * self.head_dim;
                    start += width;
                    all.narrow(1, start - width, width)
                })
            }
        };
        let split = |t: Tensor, heads: i64| t.reshape([-1, heads, self.head_dim]);
        let (query, gate) = match self.gated {
            false => (query, None),
            true => {
                let [query, gate] = [0, self.head_dim].map(|start| {
                    let both = query.reshape([-1, self.heads, 2 * self.head_dim]);
                    both.narrow(2, start, self.head_dim).reshape([-1, self.heads * self.head_dim])
                });
                (query, Some(gate))
            }
        };
        let [query, key] = [(query, self.heads, 0), (key, self.kv_heads, 1)].map(|(t, heads, which)| {
            let t = match &self.norms {
                None => split(t, heads),
                Some((QueryNorms::Whole, norms)) => split(norms[which].of(&t), heads),
                Some((_, norms)) => norms[which].of(&split(t, heads)),
            };
            self.rope.map_or_else(|| t.shallow_clone(), |rope| rows.rotated(rope, &t))
        });
        let attended = rows.attend(
            &self.spec,
            &query,
            &key,
            &split(value, self.kv_heads),
            self.sinks.as_ref().map(|sinks| &sinks.tensor),
        );
        let attended = match gate {
            None => attended,
            Some(gate) => attended * gate.sigmoid(),
        };
        rows.linear(&self.output, &attended)
    }

    pub fn linears(&self) -> Vec<&Linear> {
        let projections = match &self.projections {
            Projections::Apart(linears) => linears.as_slice(),
            Projections::Fused(linear) => std::slice::from_ref(linear),
        };
        projections.iter().chain([&self.output]).collect()
    }

    pub fn linears_mut(&mut self) -> Vec<&mut Linear> {
        let projections = match &mut self.projections {
            Projections::Apart(linears) => linears.as_mut_slice(),
            Projections::Fused(linear) => std::slice::from_mut(linear),
        };
        projections.iter_mut().chain([&mut self.output]).collect()
    }

    pub fn sinks(&self) -> Option<&Weight> {
        self.sinks.as_ref()
    }

    pub fn norms(&self) -> impl Iterator<Item = &Norm> {
        self.norms.iter().flat_map(|(_, norms)| norms)
    }
}
