//! What `config.json` says, in either of transformers' spellings, with the family's defaults for what it leaves out.

use super::family::{Family, Window};
use super::rope::RopeScaling;
use crate::limited;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::path::Path;

/// The keys that are read. Absent ones have transformers' defaults.
#[derive(Deserialize)]
pub(super) struct Raw {
    pub(super) vocab_size: usize,
    pub(super) hidden_size: usize,
    intermediate_size: Option<usize>,
    moe_intermediate_size: Option<usize>,
    pub(super) num_hidden_layers: usize,
    pub(super) num_attention_heads: usize,
    num_key_value_heads: Option<usize>,
    head_dim: Option<usize>,
    pub(super) max_position_embeddings: Option<usize>,
    pub(super) rms_norm_eps: Option<f64>,
    hidden_act: Option<String>,
    /// Gemma's name for it, which counts where both are there.
    hidden_activation: Option<String>,
    pub(super) tie_word_embeddings: Option<bool>,
    use_sliding_window: Option<bool>,
    sliding_window: Option<usize>,
    pub(super) initializer_range: Option<f64>,
    rope_theta: Option<f64>,
    rope_scaling: Option<Map<String, Value>>,
    rope_parameters: Option<Map<String, Value>>,
    quantization_config: Option<Value>,
}

impl Raw {
    pub(super) fn supported(&self, family: &Family) -> std::result::Result<(), String> {
        if let Some(quantization) = &self.quantization_config {
            let method = quantization["quant_method"].as_str().unwrap_or("unnamed");
            return Err(format!(
                "quantization_config: quantised weights ({method}) are not supported; \
                 use the model's unquantised checkpoint (bf16 or f32)"
            ));
        }
        let known = family.block.activations;
        let (key, said) = match &self.hidden_activation {
            Some(said) => ("hidden_activation", Some(said)),
            None => ("hidden_act", self.hidden_act.as_ref()),
        };
        // Gemma's first files said `gelu` and meant its approximation.
        let meant =
            |name: &str| known.contains(&name) || (name == "gelu" && known.contains(&"gelu_pytorch_tanh"));
        match said.filter(|name| !meant(name)) {
            None => Ok(()),
            Some(other) => Err(format!("{key}: `{other}` is not supported; known: {}", known[0])),
        }
    }

    /// Base and stretch, from transformers 5's `rope_parameters` or the older two keys; of the layers that do not slide, where they differ.
    /// `model` is the whole file.
    pub(super) fn rope(
        &self,
        family: &Family,
        model: &Map<String, Value>,
    ) -> std::result::Result<(f64, Option<RopeScaling>), String> {
        let (key, table) = match (&self.rope_parameters, &self.rope_scaling) {
            (Some(table), _) => match table.get("full_attention").and_then(Value::as_object) {
                Some(inner) => ("rope_parameters.full_attention", Some(inner)),
                None => ("rope_parameters", Some(table)),
            },
            (None, table) => ("rope_scaling", table.as_ref()),
        };
        let inside = table.and_then(|t| t.get("rope_theta")).and_then(Value::as_f64);
        let theta = inside.or(self.rope_theta).unwrap_or(family.rope_theta);
        if !(theta > 1.0 && theta.is_finite()) {
            return Err(format!("rope_theta = {theta}: the base of the rotary frequencies is above 1"));
        }
        let part = table.and_then(|t| t.get("partial_rotary_factor")).and_then(Value::as_f64);
        if !family.partial_rotary && part.is_some_and(|factor| factor != 1.0) {
            return Err(format!("{key}.partial_rotary_factor: only 1.0 is supported in this family"));
        }
        let context = self.max_position_embeddings.unwrap_or(family.max_position_embeddings);
        let scaling = match table {
            Some(table) => RopeScaling::parse(key, table, model, context)?,
            None => (family.rope_scaling)(),
        };
        Ok((theta, scaling))
    }

    /// Width of the MLP; that of an expert in a file of a model that has nothing but experts.
    pub(super) fn intermediate_size(&self) -> std::result::Result<usize, String> {
        let width = self.intermediate_size.or(self.moe_intermediate_size);
        width.ok_or_else(|| "missing field `intermediate_size`".into())
    }

    pub(super) fn kv_heads(&self, family: &Family) -> usize {
        self.num_key_value_heads.or(family.num_key_value_heads).unwrap_or(self.num_attention_heads)
    }

    pub(super) fn head_dim(&self, family: &Family) -> usize {
        let shared_out = self.hidden_size / self.num_attention_heads.max(1);
        self.head_dim.or(family.head_dim).unwrap_or(shared_out)
    }

    /// `given`: whether the file has the key, which may be `null`.
    pub(super) fn window(&self, family: &Family, given: bool) -> Option<usize> {
        let (default, holds) = match family.window {
            Window::None => (None, false),
            Window::Given(default) => (default, true),
            Window::Switched(default) => (default, self.use_sliding_window.unwrap_or(false)),
        };
        let window = if given { self.sliding_window } else { default };
        window.filter(|_| holds)
    }
}

/// What a folder without a `config.json` is.
pub(super) fn no_model(dir: &Path) -> String {
    let adapter = limited::text(&dir.join("adapter_config.json"), limited::DESCRIPTION);
    let Ok(adapter) = adapter else {
        return format!(
            "{}: no config.json here; a model's folder has one, as transformers' save_pretrained writes it",
            dir.display()
        );
    };
    let base = serde_json::from_str::<Value>(&adapter).unwrap_or_default();
    let base = base["base_model_name_or_path"].as_str().map_or(String::new(), |base| format!(" of {base}"));
    format!(
        "{}: the folder holds an adapter{base}, not a model; merge them once with peft: \
         AutoPeftModelForCausalLM.from_pretrained(…).merge_and_unload().save_pretrained(\"merged\"), and the tokenizer beside it",
        dir.display()
    )
}
