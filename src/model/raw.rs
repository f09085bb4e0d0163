//! What `config.json` says, in either of transformers' spellings, with the families' defaults for what it leaves out.

use super::config::Architecture;
use super::rope::RopeScaling;
use serde::Deserialize;
use serde_json::{Map, Value, json};

/// The keys that are read. Absent ones have transformers' defaults.
#[derive(Deserialize)]
pub(super) struct Raw {
    pub(super) vocab_size: usize,
    pub(super) hidden_size: usize,
    pub(super) intermediate_size: usize,
    pub(super) num_hidden_layers: usize,
    pub(super) num_attention_heads: usize,
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    max_position_embeddings: Option<usize>,
    pub(super) rms_norm_eps: Option<f64>,
    hidden_act: Option<String>,
    pub(super) tie_word_embeddings: Option<bool>,
    pub(super) attention_bias: Option<bool>,
    pub(super) mlp_bias: Option<bool>,
    use_sliding_window: Option<bool>,
    sliding_window: Option<usize>,
    pub(super) initializer_range: Option<f64>,
    rope_theta: Option<f64>,
    rope_scaling: Option<Map<String, Value>>,
    rope_parameters: Option<Map<String, Value>>,
    quantization_config: Option<Value>,
}

impl Raw {
    pub(super) fn supported(&self) -> std::result::Result<(), String> {
        if let Some(quantization) = &self.quantization_config {
            let method = quantization["quant_method"].as_str().unwrap_or("unnamed");
            return Err(format!(
                "quantization_config: quantised weights ({method}) are not supported; \
                 use the model's unquantised checkpoint (bf16 or f32)"
            ));
        }
        match self.hidden_act.as_deref() {
            None | Some("silu" | "swish") => Ok(()),
            Some(other) => Err(format!("hidden_act: `{other}` is not supported; known: silu")),
        }
    }

    /// Base and stretch, from transformers 5's `rope_parameters` or the older two keys.
    pub(super) fn rope(&self) -> std::result::Result<(f64, Option<RopeScaling>), String> {
        let (key, table) = match (&self.rope_parameters, &self.rope_scaling) {
            (Some(table), _) => ("rope_parameters", Some(table)),
            (None, table) => ("rope_scaling", table.as_ref()),
        };
        let inside = table.and_then(|t| t.get("rope_theta")).and_then(Value::as_f64);
        let theta = inside.or(self.rope_theta).unwrap_or(10_000.0);
        let scaling = table.map(|t| RopeScaling::parse(key, t)).transpose()?.flatten();
        Ok((theta, scaling))
    }

    pub(super) fn kv_heads(&self, architecture: Architecture) -> usize {
        self.num_key_value_heads.unwrap_or(match architecture {
            Architecture::Mistral => 8,
            _ => self.num_attention_heads,
        })
    }

    pub(super) fn head_dim(&self, architecture: Architecture) -> usize {
        self.head_dim.unwrap_or(match architecture {
            Architecture::Qwen3 => 128,
            _ => self.hidden_size / self.num_attention_heads.max(1),
        })
    }

    pub(super) fn positions(&self, architecture: Architecture) -> usize {
        self.max_position_embeddings.unwrap_or(match architecture {
            Architecture::Llama => 2048,
            Architecture::Mistral => 4096 * 32,
            Architecture::Qwen2 | Architecture::Qwen3 => 32_768,
        })
    }
}

/// Which family, told before the other keys: in another family's file they may mean something else.
pub(super) fn architecture(map: &Map<String, Value>) -> std::result::Result<Architecture, String> {
    let known = "known: llama, mistral, qwen2, qwen3";
    let name = map.get("model_type").and_then(Value::as_str);
    let name = name.ok_or_else(|| format!("model_type is missing; {known}"))?;
    serde_json::from_value(json!(name)).map_err(|_| format!("model_type: `{name}` is not supported; {known}"))
}

/// Mistral's window holds where it is given (its default is 4096, `null` lifts it); Qwen's only when switched on.
pub(super) fn window(architecture: Architecture, map: &Map<String, Value>, raw: &Raw) -> Option<usize> {
    match architecture {
        Architecture::Llama => None,
        Architecture::Mistral if !map.contains_key("sliding_window") => Some(4096),
        Architecture::Mistral => raw.sliding_window,
        Architecture::Qwen2 | Architecture::Qwen3 => {
            raw.use_sliding_window.unwrap_or(false).then(|| raw.sliding_window.unwrap_or(4096))
        }
    }
}
