//! A model's shape, as Hugging Face's `config.json` says it.

use super::raw::{Raw, architecture, window};
use super::rope::RopeScaling;
use crate::{Error, Result};
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::path::Path;
use tch::Kind;

/// The file's name in a model folder.
pub const FILE: &str = "config.json";

/// The shape of a model.
///
/// `Config { hidden_size: 256, ..Config::default() }` describes a new one: a small Llama.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Which family the checkpoint belongs to.
    pub architecture: Architecture,
    /// Rows of the embedding.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width of the MLP.
    pub intermediate_size: usize,
    /// Layers.
    pub num_hidden_layers: usize,
    /// Query heads.
    pub num_attention_heads: usize,
    /// Key and value heads.
    pub num_key_value_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// Longest sequence.
    pub max_position_embeddings: usize,
    /// Added to the mean square in RMS norms.
    pub rms_norm_eps: f64,
    /// Base of the rotary frequencies.
    pub rope_theta: f64,
    /// How the rotary frequencies are stretched beyond the trained context.
    pub rope_scaling: Option<RopeScaling>,
    /// Whether the output projection is the embedding.
    pub tie_word_embeddings: bool,
    /// Whether query, key and value projections have a bias (always in Qwen2; elsewhere `attention_bias`).
    pub qkv_bias: bool,
    /// Whether the attention's output projection has one (never in Qwen2; elsewhere `attention_bias`).
    pub output_bias: bool,
    /// Whether the MLP's projections have one (Llama's `mlp_bias`).
    pub mlp_bias: bool,
    /// Tokens a query may look back, where the checkpoint limits it.
    pub sliding_window: Option<usize>,
    /// Standard deviation of a new model's weights.
    pub initializer_range: f64,
    /// Every key of the file this was read from, so that saving loses none; empty for a new model.
    pub original: Map<String, Value>,
}

/// The families that share this forward pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Architecture {
    /// Llama 2 and 3, SmolLM2.
    Llama,
    /// Mistral.
    Mistral,
    /// Qwen2 and Qwen2.5: biases on query, key and value.
    Qwen2,
    /// Qwen3: RMS norms on each head of query and key.
    Qwen3,
}

impl Config {
    /// The `config.json` in `dir`. A model that this forward pass would compute wrongly is refused by name.
    pub fn read(dir: &Path) -> Result<Self> {
        let path = dir.join(FILE);
        let text = std::fs::read_to_string(&path).map_err(Error::io(&path))?;
        Self::parse(&text).map_err(|why| Error::Model(format!("{}: {why}", path.display())))
    }

    /// The file's contents for weights stored as `kind`: what was read, with the shape's own keys on top.
    pub fn to_json(&self, kind: Kind) -> Value {
        let mut map = self.original.clone();
        let mut keys = self.shape_keys();
        match Self::from_map(map.clone()) {
            // Keys that were absent stay so unless their value was changed since.
            Ok(read) => keys.retain(|key, value| read.shape_keys().get(key) != Some(value)),
            Err(_) => map.extend(self.new_keys()),
        }
        map.extend(keys);
        // transformers 5 writes `dtype` and reads both; older releases know only `torch_dtype`.
        let key = if map.contains_key("dtype") { "dtype" } else { "torch_dtype" };
        map.insert(key.into(), json!(dtype_name(kind)));
        Value::Object(map)
    }

    /// Names the padding token where the file names none: without one, transformers' classifiers refuse batches.
    pub fn name_padding(&mut self, id: u32) {
        let named = self.original.entry("pad_token_id").or_insert(Value::Null);
        if named.is_null() {
            *named = json!(id);
        }
    }

    /// The number of weights.
    pub fn size(&self) -> usize {
        let linears: usize =
            self.linears().iter().map(|(_, out, input, bias)| out * (input + usize::from(*bias))).sum();
        let head_norms = if self.architecture == Architecture::Qwen3 { 2 * self.head_dim } else { 0 };
        let layer = linears + head_norms + 2 * self.hidden_size;
        let heads = if self.tie_word_embeddings { 1 } else { 2 };
        heads * self.vocab_size * self.hidden_size + self.num_hidden_layers * layer + self.hidden_size
    }

    /// The linear maps of a layer: name, outputs, inputs, whether it has a bias.
    pub(super) fn linears(&self) -> [(&'static str, usize, usize, bool); 7] {
        let (hidden, middle) = (self.hidden_size, self.intermediate_size);
        let heads = self.num_attention_heads * self.head_dim;
        let kv = self.num_key_value_heads * self.head_dim;
        [
            ("q_proj", heads, hidden, self.qkv_bias),
            ("k_proj", kv, hidden, self.qkv_bias),
            ("v_proj", kv, hidden, self.qkv_bias),
            ("o_proj", hidden, heads, self.output_bias),
            ("gate_proj", middle, hidden, self.mlp_bias),
            ("up_proj", middle, hidden, self.mlp_bias),
            ("down_proj", hidden, middle, self.mlp_bias),
        ]
    }

    /// Refuses a sequence of `tokens` tokens where the model was not made for that many.
    pub fn check_length(&self, tokens: usize) -> Result<()> {
        let (limit, key) = match self.sliding_window {
            Some(window) if window < self.max_position_embeddings => (window, "sliding_window"),
            _ => (self.max_position_embeddings, "max_position_embeddings"),
        };
        if tokens <= limit {
            return Ok(());
        }
        Err(Error::Model(format!(
            "a sequence of {tokens} tokens is longer than the model's {key} = {limit}; \
             shorten the prompts or max_new_tokens"
        )))
    }

    fn parse(text: &str) -> std::result::Result<Self, String> {
        Self::from_map(serde_json::from_str(text).map_err(|e| e.to_string())?)
    }

    fn from_map(original: Map<String, Value>) -> std::result::Result<Self, String> {
        let architecture = architecture(&original)?;
        let raw: Raw = serde_path_to_error::deserialize(Value::Object(original.clone()))
            .map_err(|e| format!("{}: {}", e.path(), e.inner()))?;
        raw.supported()?;
        let (rope_theta, rope_scaling) = raw.rope()?;
        let bias = raw.attention_bias.unwrap_or(false);
        let config = Self {
            architecture,
            num_key_value_heads: raw.kv_heads(architecture),
            head_dim: raw.head_dim(architecture),
            max_position_embeddings: raw.positions(architecture),
            rope_theta,
            rope_scaling,
            qkv_bias: architecture == Architecture::Qwen2 || (bias && architecture != Architecture::Mistral),
            output_bias: bias && matches!(architecture, Architecture::Llama | Architecture::Qwen3),
            mlp_bias: architecture == Architecture::Llama && raw.mlp_bias.unwrap_or(false),
            sliding_window: window(architecture, &original, &raw),
            vocab_size: raw.vocab_size,
            hidden_size: raw.hidden_size,
            intermediate_size: raw.intermediate_size,
            num_hidden_layers: raw.num_hidden_layers,
            num_attention_heads: raw.num_attention_heads,
            rms_norm_eps: raw.rms_norm_eps.unwrap_or(1e-6),
            tie_word_embeddings: raw.tie_word_embeddings.unwrap_or(false),
            initializer_range: raw.initializer_range.unwrap_or(0.02),
            original,
        };
        config.consistent()?;
        Ok(config)
    }

    /// What the forward pass takes for granted.
    pub(super) fn consistent(&self) -> std::result::Result<(), String> {
        let (heads, kv) = (self.num_attention_heads, self.num_key_value_heads);
        let sizes = [self.vocab_size, self.hidden_size, self.intermediate_size, self.head_dim, heads, kv];
        if sizes.contains(&0) {
            return Err(
                "a size is 0 (vocab, hidden, intermediate, head_dim, heads or key-value heads)".into()
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

    /// Keys that hold this struct's own sizes, under the names all four families share.
    fn shape_keys(&self) -> Map<String, Value> {
        let keys = json!({
            "vocab_size": self.vocab_size,
            "hidden_size": self.hidden_size,
            "intermediate_size": self.intermediate_size,
            "num_hidden_layers": self.num_hidden_layers,
            "num_attention_heads": self.num_attention_heads,
            "num_key_value_heads": self.num_key_value_heads,
            "head_dim": self.head_dim,
            "max_position_embeddings": self.max_position_embeddings,
            "rms_norm_eps": self.rms_norm_eps,
            "tie_word_embeddings": self.tie_word_embeddings,
        });
        into_map(keys)
    }

    /// The rest of a new model's file. Old spellings of the rotary keys: every transformers release reads them.
    fn new_keys(&self) -> Map<String, Value> {
        let (class, name) = match self.architecture {
            Architecture::Llama => ("LlamaForCausalLM", "llama"),
            Architecture::Mistral => ("MistralForCausalLM", "mistral"),
            Architecture::Qwen2 => ("Qwen2ForCausalLM", "qwen2"),
            Architecture::Qwen3 => ("Qwen3ForCausalLM", "qwen3"),
        };
        let mut keys = into_map(json!({
            "architectures": [class],
            "model_type": name,
            "hidden_act": "silu",
            "initializer_range": self.initializer_range,
            "rope_theta": self.rope_theta,
            "rope_scaling": self.rope_scaling.as_ref().map(RopeScaling::to_json),
            "use_cache": true,
        }));
        match self.architecture {
            Architecture::Llama => {
                keys.insert("attention_bias".into(), json!(self.qkv_bias));
                keys.insert("mlp_bias".into(), json!(self.mlp_bias));
            }
            Architecture::Mistral => drop(keys.insert("sliding_window".into(), json!(self.sliding_window))),
            Architecture::Qwen2 => {}
            Architecture::Qwen3 => drop(keys.insert("attention_bias".into(), json!(self.qkv_bias))),
        }
        keys
    }
}

impl Default for Config {
    /// A Llama of about a million parameters.
    fn default() -> Self {
        Self {
            architecture: Architecture::Llama,
            vocab_size: 256,
            hidden_size: 128,
            intermediate_size: 384,
            num_hidden_layers: 4,
            num_attention_heads: 4,
            num_key_value_heads: 4,
            head_dim: 32,
            max_position_embeddings: 2048,
            rms_norm_eps: 1e-6,
            rope_theta: 10_000.0,
            rope_scaling: None,
            tie_word_embeddings: true,
            qkv_bias: false,
            output_bias: false,
            mlp_bias: false,
            sliding_window: None,
            initializer_range: 0.02,
            original: Map::new(),
        }
    }
}

fn dtype_name(kind: Kind) -> &'static str {
    match kind {
        Kind::BFloat16 => "bfloat16",
        Kind::Half => "float16",
        _ => "float32",
    }
}

fn into_map(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Llama 3.2 1B's shape with some keys replaced.
    fn with(changes: Value) -> std::result::Result<Config, String> {
        let mut map = into_map(json!({
            "model_type": "llama", "vocab_size": 128256, "hidden_size": 2048, "intermediate_size": 8192,
            "num_hidden_layers": 16, "num_attention_heads": 32, "num_key_value_heads": 8,
        }));
        map.extend(into_map(changes));
        Config::from_map(map)
    }

    #[test]
    fn both_spellings_of_the_rotary_keys_mean_the_same() {
        let llama3 = json!({
            "rope_type": "llama3", "factor": 32.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
            "original_max_position_embeddings": 8192,
        });
        let old = with(json!({"rope_theta": 500000.0, "rope_scaling": llama3})).unwrap();
        let mut table = into_map(llama3);
        table.insert("rope_theta".into(), json!(500000.0));
        let new = with(json!({"rope_parameters": table})).unwrap();
        assert_eq!((old.rope_theta, old.rope_scaling), (500000.0, new.rope_scaling));
        let linear = with(json!({"rope_scaling": {"type": "linear", "factor": 2.0}})).unwrap();
        assert_eq!(linear.rope_scaling, Some(RopeScaling::Linear { factor: 2.0 }));
    }

    #[test]
    fn what_would_be_computed_wrongly_is_refused_by_name() {
        let cases = [
            (json!({"model_type": "gemma3"}), "model_type: `gemma3` is not supported; known: llama, mistral"),
            (json!({"rope_scaling": {"type": "yarn", "factor": 2.0}}), "rope_type `yarn` is not supported"),
            (json!({"rope_scaling": {"type": "linear"}}), "rope_scaling.factor: a positive number"),
            (json!({"quantization_config": {"quant_method": "awq"}}), "(awq) are not supported"),
            (json!({"hidden_act": "gelu"}), "hidden_act: `gelu`"),
            (json!({"vocab_size": "many"}), "vocab_size: invalid type"),
            (json!({"num_key_value_heads": 5}), "32 is not a multiple of num_key_value_heads = 5"),
        ];
        for (changes, words) in cases {
            let why = with(changes).unwrap_err();
            assert!(why.contains(words), "{why}");
        }
    }

    #[test]
    fn windows_hold_where_the_family_says_so() {
        let window = |family: &str, rest: Value| {
            let mut map = into_map(rest);
            map.insert("model_type".into(), json!(family));
            with(Value::Object(map)).unwrap().sliding_window
        };
        assert_eq!(window("mistral", json!({})), Some(4096));
        assert_eq!(window("mistral", json!({"sliding_window": null})), None);
        assert_eq!(window("qwen2", json!({"sliding_window": 4096})), None);
        assert_eq!(window("qwen2", json!({"sliding_window": 64, "use_sliding_window": true})), Some(64));
        let config = Config { sliding_window: Some(64), ..Config::default() };
        assert!(config.check_length(64).is_ok());
        assert!(config.check_length(65).unwrap_err().to_string().contains("sliding_window = 64"));
    }

    #[test]
    fn a_padding_token_is_named_where_there_is_none() {
        let named = |changes: Value| {
            let mut config = with(changes).unwrap();
            config.name_padding(7);
            config.to_json(Kind::Float)["pad_token_id"].clone()
        };
        assert_eq!(named(json!({})), json!(7));
        assert_eq!(named(json!({"pad_token_id": null})), json!(7));
        assert_eq!(named(json!({"pad_token_id": 3})), json!(3));
    }

    #[test]
    fn saving_keeps_unknown_keys_and_adds_none() {
        let config = with(json!({"dtype": "float32", "something": [1]})).unwrap();
        let mut expected = config.original.clone();
        expected.insert("dtype".into(), json!("bfloat16"));
        assert_eq!(config.to_json(Kind::BFloat16), Value::Object(expected));
        let tied = Config { tie_word_embeddings: true, ..config };
        assert_eq!(tied.to_json(Kind::Float)["tie_word_embeddings"], json!(true), "a change is written");
    }

    #[test]
    fn a_new_models_file_reads_back() {
        for architecture in
            [Architecture::Llama, Architecture::Mistral, Architecture::Qwen2, Architecture::Qwen3]
        {
            let qkv_bias = architecture == Architecture::Qwen2;
            let config = Config { architecture, qkv_bias, ..Config::default() };
            let mut again = Config::from_map(into_map(config.to_json(Kind::Float))).unwrap();
            again.original.clear();
            assert_eq!(again, config);
        }
    }
}
