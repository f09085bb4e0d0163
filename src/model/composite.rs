//! Checkpoints that hold a language model beside other parts, such as one that reads images: the language model alone is loaded, and what is
//! saved is that.

use serde_json::{Map, Value, json};

/// A kind of such a checkpoint.
pub(super) struct Composite {
    /// `model_type` in `config.json`.
    pub model_type: &'static str,
    /// That of the language model where `text_config` names none, and what transformers calls its class.
    text: (&'static str, &'static str),
    /// Keys that its `text_config` leaves out, with transformers' values.
    defaults: &'static [(&'static str, usize)],
    /// `tie_word_embeddings` where it is absent.
    tied: bool,
}

/// Those that can be loaded.
pub(super) static COMPOSITES: &[Composite] = &[
    // Gemma 3 4B, 12B and 27B.
    Composite {
        model_type: "gemma3",
        text: ("gemma3_text", "Gemma3ForCausalLM"),
        defaults: &[
            ("vocab_size", 262_208),
            ("num_attention_heads", 8),
            ("num_key_value_heads", 4),
            ("head_dim", 256),
        ],
        tied: true,
    },
    // Mistral Small 3.1 and 3.2.
    Composite { model_type: "mistral3", text: ("mistral", "MistralForCausalLM"), defaults: &[], tied: true },
    // Qwen3.5 without experts, and with them.
    Composite {
        model_type: "qwen3_5",
        text: ("qwen3_5_text", "Qwen3_5ForCausalLM"),
        defaults: &[
            ("vocab_size", 248_320),
            ("hidden_size", 4096),
            ("intermediate_size", 12_288),
            ("num_hidden_layers", 32),
            ("num_attention_heads", 16),
        ],
        tied: false,
    },
    Composite {
        model_type: "qwen3_5_moe",
        text: ("qwen3_5_moe_text", "Qwen3_5MoeForCausalLM"),
        defaults: &[
            ("vocab_size", 248_320),
            ("hidden_size", 2048),
            ("moe_intermediate_size", 512),
            ("num_hidden_layers", 40),
            ("num_attention_heads", 16),
        ],
        tied: false,
    },
];

/// What a language model's weights may have before their names, and what they have in its place when it stands alone.
const BEFORE: [(&str, &str); 3] = [
    ("language_model.model.", "model."),
    ("language_model.lm_head.", "lm_head."),
    ("model.language_model.", "model."),
];

/// The keys of the language model by itself; the map as it is where it is no composite's.
pub(super) fn language_model(map: Map<String, Value>) -> Result<Map<String, Value>, String> {
    let name = map.get("model_type").and_then(Value::as_str);
    let Some(composite) = COMPOSITES.iter().find(|composite| Some(composite.model_type) == name) else {
        return Ok(map);
    };
    let Some(Value::Object(text)) = map.get("text_config") else {
        return Err(format!(
            "text_config is missing, which says what the language model of a {} is",
            composite.model_type
        ));
    };
    let mut text = text.clone();
    let (model_type, class) = composite.text;
    let named = text.entry("model_type").or_insert(json!(model_type));
    if *named != json!(model_type) {
        return Err(format!(
            "text_config.model_type: {named} is not supported within {}",
            composite.model_type
        ));
    }
    text.insert("architectures".into(), json!([class]));
    for &(key, value) in composite.defaults {
        text.entry(key).or_insert(json!(value));
    }
    // The whole's word counts; weights that have a head of their own untie it.
    let tied = map.get("tie_word_embeddings").or(text.get("tie_word_embeddings")).cloned();
    text.insert("tie_word_embeddings".into(), tied.unwrap_or(json!(composite.tied)));
    for key in ["eos_token_id", "bos_token_id", "pad_token_id", "dtype", "torch_dtype"] {
        if let Some(value) = map.get(key).filter(|_| !text.contains_key(key)) {
            text.insert(key.into(), value.clone());
        }
    }
    text.extend(
        map.get("quantization_config").map(|value| ("quantization_config".to_string(), value.clone())),
    );
    Ok(text)
}

/// Whether a tensor of this name is a language model's that stands beside other parts.
pub(super) fn beside(name: &str) -> bool {
    BEFORE.iter().any(|(before, _)| name.starts_with(before))
}

/// What the language model that stands alone calls the tensor `name` of a checkpoint with other parts; none for theirs.
pub(super) fn alone(name: &str) -> Option<String> {
    let own = |(before, instead): &(&str, &str)| Some(format!("{instead}{}", name.strip_prefix(before)?));
    // Some have the output projection outside.
    BEFORE.iter().find_map(own).or_else(|| name.starts_with("lm_head.").then(|| name.to_string()))
}
