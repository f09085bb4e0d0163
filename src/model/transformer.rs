//! The decoder layer of Llama and its kin: grouped-query attention with rotary positions, then a SwiGLU MLP, each behind an
//! RMS norm (Touvron et al. 2023).

use super::block::{Block, Blueprint, Part, Parts, Rows, Weight};
use super::{Config, Linear, rms_norm};
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
    residual: &["self_attn.o_proj", "mlp.down_proj"],
    activations: &["silu", "swish"],
    attends: |_, _| true,
    build: |config, _, parts| Ok(Box::new(Transformer::new(config, parts)?)),
};

#[derive(Debug)]
struct Transformer {
    heads: i64,
    kv_heads: i64,
    head_dim: i64,
    eps: f64,
    /// RMS weight before attention, `[hidden]`.
    input_norm: Weight,
    query: Linear,
    key: Linear,
    value: Linear,
    output: Linear,
    /// RMS weights over each head of the query and the key, `[head_dim]` each, where the family has them.
    head_norms: Option<[Weight; 2]>,
    /// RMS weight before the MLP, `[hidden]`.
    mlp_norm: Weight,
    gate: Linear,
    up: Linear,
    down: Linear,
}

impl Transformer {
    fn new(config: &Config, parts: &mut Parts<'_>) -> Result<Self> {
        let (hidden, middle, head_dim) = (config.hidden_size, config.intermediate_size, config.head_dim);
        let heads = config.num_attention_heads * head_dim;
        let kv = config.num_key_value_heads * head_dim;
        let head_norm = |parts: &mut Parts<'_>, which: &str| {
            parts.weight(&format!("self_attn.{which}_norm.weight"), &[head_dim])
        };
        Ok(Self {
            heads: config.num_attention_heads as i64,
            kv_heads: config.num_key_value_heads as i64,
            head_dim: head_dim as i64,
            eps: config.rms_norm_eps,
            input_norm: parts.weight("input_layernorm.weight", &[hidden])?,
            query: parts.linear("self_attn.q_proj", heads, hidden, config.qkv_bias)?,
            key: parts.linear("self_attn.k_proj", kv, hidden, config.qkv_bias)?,
            value: parts.linear("self_attn.v_proj", kv, hidden, config.qkv_bias)?,
            output: parts.linear("self_attn.o_proj", hidden, heads, config.output_bias)?,
            gate: parts.linear("mlp.gate_proj", middle, hidden, config.mlp_bias)?,
            up: parts.linear("mlp.up_proj", middle, hidden, config.mlp_bias)?,
            down: parts.linear("mlp.down_proj", hidden, middle, config.mlp_bias)?,
            head_norms: match config.family.head_norms {
                true => Some([head_norm(parts, "q")?, head_norm(parts, "k")?]),
                false => None,
            },
            mlp_norm: parts.weight("post_attention_layernorm.weight", &[hidden])?,
        })
    }
}

impl Block for Transformer {
    fn forward(&self, x: &Tensor, rows: &mut Rows<'_>) -> Tensor {
        let heads = |t: Tensor, n: i64| t.view([-1, n, self.head_dim]);
        let h = rms_norm(x, &self.input_norm.tensor, self.eps);
        let mut query = heads(rows.linear(&self.query, &h), self.heads);
        let mut key = heads(rows.linear(&self.key, &h), self.kv_heads);
        let value = heads(rows.linear(&self.value, &h), self.kv_heads);
        if let Some([query_norm, key_norm]) = &self.head_norms {
            query = rms_norm(&query, &query_norm.tensor, self.eps);
            key = rms_norm(&key, &key_norm.tensor, self.eps);
        }
        let attended = rows.attend(&rows.rotated(&query), &rows.rotated(&key), &value);
        let x = x + rows.linear(&self.output, &attended);

        let h = rms_norm(&x, &self.mlp_norm.tensor, self.eps);
        let gated = rows.linear(&self.gate, &h).silu() * rows.linear(&self.up, &h);
        &x + rows.linear(&self.down, &gated)
    }

    fn parts(&self) -> Vec<Part<'_>> {
        let linears = [&self.query, &self.key, &self.value, &self.output, &self.gate, &self.up, &self.down]
            .map(Part::Linear);
        let norms = [&self.input_norm, &self.mlp_norm].map(Part::Weight);
        let head_norms = self.head_norms.iter().flatten().map(Part::Weight);
        norms.into_iter().chain(linears).chain(head_norms).collect()
    }

    fn linears_mut(&mut self) -> Vec<&mut Linear> {
        let Self { query, key, value, output, gate, up, down, .. } = self;
        vec![query, key, value, output, gate, up, down]
    }
}
