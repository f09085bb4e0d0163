//! A new kind of layer and its family: attention and an ungated MLP side by side as in GPT-J, a squared ReLU as in Primer, a
//! learned scale for each channel, and attention in every n-th layer only, as `attention_every` in config.json says.

use rationale::Result;
use rationale::model::block::{Block, Blueprint, Part, Parts, Rows, Weight};
use rationale::model::family::Bias;
use rationale::model::{AttentionSpec, Config, Family, Linear, rms_norm};
use serde_json::Value;
use tch::Tensor;

#[derive(Debug)]
pub struct Parallel {
    shape: [i64; 3],
    eps: f64,
    norm: Weight,
    attention: Option<[Linear; 4]>,
    rise: Linear,
    fall: Linear,
    scale: Weight,
}

pub static PARALLEL: Blueprint = Blueprint {
    linears: &["attn.q_proj", "attn.k_proj", "attn.v_proj", "attn.out_proj", "mlp.rise", "mlp.fall"],
    residual: &["attn.out_proj", "mlp.fall"],
    activations: &["relu2"],
    attends,
    recurs: |_, _| false,
    build: |config, _, layer, parts| Ok(Box::new(Parallel::new(config, layer, parts)?)),
};

pub fn attends(config: &Config, layer: usize) -> bool {
    let every = config.original.get("attention_every").and_then(Value::as_u64).unwrap_or(1);
    (layer as u64).is_multiple_of(every)
}

impl Parallel {
    pub fn new(config: &Config, layer: usize, parts: &mut Parts<'_>) -> Result<Self> {
        let (hidden, middle, head) = (config.hidden_size, config.intermediate_size, config.head_dim);
        let (heads, kv) = (config.num_attention_heads, config.num_key_value_heads);
        let mut attention = || -> Result<[Linear; 4]> {
            Ok([
                parts.linear("attn.q_proj", heads * head, hidden, false)?,
                parts.linear("attn.k_proj", kv * head, hidden, false)?,
                parts.linear("attn.v_proj", kv * head, hidden, true)?,
                parts.linear("attn.out_proj", hidden, heads * head, false)?,
            ])
        };
        let attention = if attends(config, layer) { Some(attention()?) } else { None };
        Ok(Self {
            shape: [heads as i64, kv as i64, head as i64],
            eps: config.rms_norm_eps,
            norm: parts.weight("norm.weight", &[hidden])?,
            attention,
            rise: parts.linear("mlp.rise", middle, hidden, false)?,
            fall: parts.linear("mlp.fall", hidden, middle, true)?,
            scale: parts.weight("mlp.scale", &[hidden])?,
        })
    }
}

impl Block for Parallel {
    fn forward(&self, x: &Tensor, rows: &mut Rows<'_>) -> Tensor {
        let h = rms_norm(x, &self.norm.tensor, self.eps);
        let rise = rows.linear(&self.rise, &h).relu().square();
        let x = x + rows.linear(&self.fall, &rise) * &self.scale.tensor;
        let Some([query, key, value, out]) = &self.attention else { return x };
        let [heads, kv, head] = self.shape;
        let of = |linear: &Linear, n: i64| rows.linear(linear, &h).view([-1, n, head]);
        let (query, key, value) = (of(query, heads), of(key, kv), of(value, kv));
        let found = rows.attend(
            &AttentionSpec::default(),
            &rows.rotated(0, &query),
            &rows.rotated(0, &key),
            &value,
            None,
        );
        x + rows.linear(out, &found)
    }

    fn parts(&self) -> Vec<Part<'_>> {
        let mut all = vec![Part::Weight(&self.norm)];
        all.extend(self.attention.iter().flatten().map(Part::Linear));
        all.extend([Part::Linear(&self.rise), Part::Linear(&self.fall), Part::Weight(&self.scale)]);
        all
    }

    fn linears_mut(&mut self) -> Vec<&mut Linear> {
        let attention = self.attention.iter_mut().flatten();
        attention.chain([&mut self.rise, &mut self.fall]).collect()
    }
}

/// The row of a family of such layers, whose checkpoints call some of its weights by other names, and of one whose layers are
/// those that are there.
pub static NEW: &[Family] = &[
    Family {
        model_type: "parallel",
        class: "Parallel",
        block: &PARALLEL,
        tie_word_embeddings: true,
        names: &[("mlp.rise", "ff.w1"), ("mlp.scale", "ff.scale"), ("model.embed_tokens", "model.embedding")],
        ..Family::PLAIN
    },
    Family {
        model_type: "seed_oss",
        class: "SeedOss",
        qkv_bias: Bias::Key("attention_bias"),
        output_bias: Bias::Key("attention_out_bias"),
        head_dim: Some(128),
        names: &[("lm_head", "output"), ("mlp.gate_proj", "mlp.w1")],
        ..Family::PLAIN
    },
];
