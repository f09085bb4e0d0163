//! A model's tensors under the names that Hugging Face checkpoints give them.

use super::{Config, Layer, Linear, Model, Rope};
use crate::{Error, Result};
use tch::{Device, Tensor};

/// The linear maps of a layer, by the last part of their name; what an adapter can target.
pub const PROJECTIONS: [&str; 7] =
    ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"];

/// Builds a model from its tensors: `get` is asked once for each, by name and shape.
pub(super) fn assemble(
    config: Config,
    device: Device,
    mut get: impl FnMut(&str, &[i64]) -> Result<Tensor>,
) -> Result<Model> {
    config.consistent().map_err(Error::Model)?;
    let (vocab, hidden) = (config.vocab_size as i64, config.hidden_size as i64);
    let embedding = get("model.embed_tokens.weight", &[vocab, hidden])?;
    let layers = (0..config.num_hidden_layers).map(|i| layer(&config, i, &mut get)).collect::<Result<_>>()?;
    let norm = get("model.norm.weight", &[hidden])?;
    let head = if config.tie_word_embeddings { None } else { Some(get("lm_head.weight", &[vocab, hidden])?) };
    let rope = Rope::new(&config, device);
    Ok(Model {
        config,
        embedding,
        layers,
        norm,
        head,
        score: None,
        rope,
        lora: None,
        resting: Vec::new(),
        adapted: true,
        checkpointing: false,
        chunk: CHUNK,
    })
}

/// Logits held at once: 256 MB in f32.
const CHUNK: usize = 1 << 26;

fn layer(
    config: &Config,
    index: usize,
    get: &mut impl FnMut(&str, &[i64]) -> Result<Tensor>,
) -> Result<Layer> {
    let (hidden, middle, head) =
        (config.hidden_size as i64, config.intermediate_size as i64, config.head_dim as i64);
    let heads = config.num_attention_heads as i64 * head;
    let kv = config.num_key_value_heads as i64 * head;
    let mut get = |name: &str, shape: &[i64]| get(&format!("model.layers.{index}.{name}"), shape);
    let input_norm = get("input_layernorm.weight", &[hidden])?;
    let mut linear = |name: &str, out: i64, input: i64, biased: bool| -> Result<Linear> {
        let weight = get(&format!("{name}.weight"), &[out, input])?;
        let bias = if biased { Some(get(&format!("{name}.bias"), &[out])?) } else { None };
        Ok(Linear { weight, bias, adapter: None })
    };
    let query = linear("self_attn.q_proj", heads, hidden, config.qkv_bias)?;
    let key = linear("self_attn.k_proj", kv, hidden, config.qkv_bias)?;
    let value = linear("self_attn.v_proj", kv, hidden, config.qkv_bias)?;
    let output = linear("self_attn.o_proj", hidden, heads, config.output_bias)?;
    let gate = linear("mlp.gate_proj", middle, hidden, config.mlp_bias)?;
    let up = linear("mlp.up_proj", middle, hidden, config.mlp_bias)?;
    let down = linear("mlp.down_proj", hidden, middle, config.mlp_bias)?;
    let head_norms = if config.architecture == super::config::Architecture::Qwen3 {
        Some((get("self_attn.q_norm.weight", &[head])?, get("self_attn.k_norm.weight", &[head])?))
    } else {
        None
    };
    let mlp_norm = get("post_attention_layernorm.weight", &[hidden])?;
    Ok(Layer { input_norm, query, key, value, output, head_norms, mlp_norm, gate, up, down })
}

impl Model {
    /// The base weights, shared, by their Hugging Face names; a tied head is not among them.
    pub fn tensors(&self) -> Vec<(String, Tensor)> {
        let mut all = vec![("model.embed_tokens.weight".to_string(), self.embedding.shallow_clone())];
        for (index, layer) in self.layers.iter().enumerate() {
            let named = layer.tensors().into_iter();
            all.extend(named.map(|(name, t)| (format!("model.layers.{index}.{name}"), t.shallow_clone())));
        }
        all.push(("model.norm.weight".into(), self.norm.shallow_clone()));
        all.extend(self.head.as_ref().map(|head| ("lm_head.weight".into(), head.shallow_clone())));
        all.extend(self.score.iter().flat_map(super::heads::tensors));
        all
    }

    /// The base weights' number of elements.
    pub fn size(&self) -> usize {
        self.tensors().iter().map(|(_, t)| t.numel()).sum()
    }
}

impl Layer {
    fn tensors(&self) -> Vec<(String, &Tensor)> {
        let mut all = vec![
            ("input_layernorm.weight".to_string(), &self.input_norm),
            ("post_attention_layernorm.weight".to_string(), &self.mlp_norm),
        ];
        for (name, linear) in self.linears() {
            all.push((format!("{name}.weight"), &linear.weight));
            all.extend(linear.bias.as_ref().map(|bias| (format!("{name}.bias"), bias)));
        }
        if let Some((query, key)) = &self.head_norms {
            all.push(("self_attn.q_norm.weight".into(), query));
            all.push(("self_attn.k_norm.weight".into(), key));
        }
        all
    }

    /// The layer's linear maps by name within the layer, in the order of [`PROJECTIONS`].
    pub fn linears(&self) -> [(&'static str, &Linear); 7] {
        [
            ("self_attn.q_proj", &self.query),
            ("self_attn.k_proj", &self.key),
            ("self_attn.v_proj", &self.value),
            ("self_attn.o_proj", &self.output),
            ("mlp.gate_proj", &self.gate),
            ("mlp.up_proj", &self.up),
            ("mlp.down_proj", &self.down),
        ]
    }

    /// The same, to be changed.
    pub fn linears_mut(&mut self) -> [(&'static str, &mut Linear); 7] {
        [
            ("self_attn.q_proj", &mut self.query),
            ("self_attn.k_proj", &mut self.key),
            ("self_attn.v_proj", &mut self.value),
            ("self_attn.o_proj", &mut self.output),
            ("mlp.gate_proj", &mut self.gate),
            ("mlp.up_proj", &mut self.up),
            ("mlp.down_proj", &mut self.down),
        ]
    }
}
