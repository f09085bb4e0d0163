//! Shapes that no model has, refused before memory is asked for.

use super::Config;
use serde_json::{Map, Value};

/// Keys whose lists have an entry a layer, or name layers.
const BY_LAYER: [&str; 3] = ["layer_types", "no_rope_layers", "mlp_only_layers"];

/// Refuses lists of `config.json` that are longer than there are layers: each layer reads them.
pub(super) fn lists(original: &Map<String, Value>, layers: usize) -> Result<(), String> {
    let length = |key: &str| original.get(key).and_then(Value::as_array).map_or(0, Vec::len);
    match BY_LAYER.into_iter().find(|key| length(key) > layers) {
        None => Ok(()),
        Some(key) => Err(format!(
            "{key}: {} entries for num_hidden_layers = {layers}; cut the list to the layers that there are",
            length(key)
        )),
    }
}

impl Config {
    /// What the forward pass takes for granted.
    pub(crate) fn consistent(&self) -> std::result::Result<(), String> {
        let (heads, kv) = (self.num_attention_heads, self.num_key_value_heads);
        let sizes = [
            ("vocab_size", self.vocab_size),
            ("hidden_size", self.hidden_size),
            ("intermediate_size", self.intermediate_size),
            ("head_dim", self.head_dim),
            ("num_attention_heads", heads),
            ("num_key_value_heads", kv),
        ];
        if let Some((key, _)) = sizes.iter().find(|(_, size)| *size == 0) {
            return Err(format!("{key} = 0: at least 1 is needed"));
        }
        if !(0.0..1.0).contains(&self.rms_norm_eps) {
            return Err(format!(
                "rms_norm_eps = {}: a number from 0 to below 1 is needed",
                self.rms_norm_eps
            ));
        }
        if !(self.initializer_range >= 0.0 && self.initializer_range.is_finite()) {
            return Err(format!(
                "initializer_range = {}: a number of at least 0 is needed",
                self.initializer_range
            ));
        }
        if self.sliding_window == Some(0) {
            return Err("sliding_window = 0: no token sees any; null lifts the window".into());
        }
        if self.max_position_embeddings == 0 {
            return Err("max_position_embeddings = 0: no token has a place".into());
        }
        if self.num_hidden_layers > 10_000 || sizes.iter().any(|(_, size)| *size > 1 << 31) {
            return Err(
                "a size is beyond all models (vocab, hidden, intermediate, head_dim, heads or layers)".into(),
            );
        }
        let wide = [self.vocab_size, self.intermediate_size, heads.saturating_mul(self.head_dim)];
        let most =
            wide.iter().map(|&width| width.checked_mul(self.hidden_size)).collect::<Option<Vec<usize>>>();
        if most.is_none_or(|sizes| sizes.iter().any(|&numbers| numbers > 1 << 40)) {
            return Err(
                "a projection of more than 2^40 weights; check hidden_size, vocab_size and intermediate_size"
                    .into(),
            );
        }
        if !heads.is_multiple_of(kv) {
            return Err(format!(
                "num_attention_heads = {heads} is not a multiple of num_key_value_heads = {kv}"
            ));
        }
        if !self.head_dim.is_multiple_of(2) {
            return Err(format!("head_dim = {} is odd; rotary positions need it even", self.head_dim));
        }
        Ok(())
    }
}
