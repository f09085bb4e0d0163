//! A model's shape, as Hugging Face's `config.json` says it.

use super::bounds;
use super::composite;
use super::family::{Bias, FAMILIES, Family, Window};
use super::mxfp4;
use super::raw::{Raw, no_model};
use super::rope::RopeScaling;
use crate::{Error, Result, limited};
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
    pub family: &'static Family,
    /// Rows of the embedding.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width of the MLP.
    pub intermediate_size: usize,
    /// Number of layers.
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
    /// Whether query, key and value projections have a bias.
    pub qkv_bias: bool,
    /// Whether the attention's output projection has one.
    pub output_bias: bool,
    /// Whether the MLP's projections have one.
    pub mlp_bias: bool,
    /// Tokens that one sees, itself among them, in the layers that slide; none where the checkpoint does not limit it.
    pub sliding_window: Option<usize>,
    /// Standard deviation of a new model's weights.
    pub initializer_range: f64,
    /// Every key of the file this was read from, so that saving loses none; empty for a new model.
    pub original: Map<String, Value>,
}

impl Config {
    /// The `config.json` in `dir`. A model that this forward pass would compute wrongly is refused by name.
    pub fn read(dir: &Path) -> Result<Self> {
        Self::read_among(FAMILIES, dir)
    }

    /// The same, of a model of one of these families.
    pub fn read_among(families: &'static [Family], dir: &Path) -> Result<Self> {
        let path = dir.join(FILE);
        if !path.is_file() {
            return Err(Error::Model(no_model(dir)));
        }
        let text = limited::text(&path, limited::DESCRIPTION)?;
        Self::parse(&text, families).map_err(|why| Error::Model(format!("{}: {why}", path.display())))
    }

    /// The file's contents for weights stored as `kind`: what was read, with the shape's own keys on top.
    pub fn to_json(&self, kind: Kind) -> Value {
        let mut map = self.original.clone();
        let mut keys = self.shape_keys();
        match Self::from_map(map.clone(), std::slice::from_ref(self.family)) {
            // Keys that were absent stay so unless their value was changed since.
            Ok(read) => keys.retain(|key, value| read.shape_keys().get(key) != Some(value)),
            Err(_) => {
                map.extend(self.new_keys());
                // Absent, some families have an id that a small vocabulary has not.
                map.entry("pad_token_id").or_insert(Value::Null);
            }
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

    /// Refuses a sequence of `tokens` tokens where the model was not made for that many.
    pub fn check_length(&self, tokens: usize) -> Result<()> {
        let limit = self.context();
        if tokens <= limit {
            return Ok(());
        }
        let key = match limit < self.max_position_embeddings {
            true => "original_max_position_embeddings",
            false => "max_position_embeddings",
        };
        Err(Error::Model(format!(
            "a sequence of {tokens} tokens is longer than the model's {key} = {limit}; \
             shorten the prompts or max_new_tokens"
        )))
    }

    /// Tokens that a sequence may have.
    pub fn context(&self) -> usize {
        let limit = self.rope_scaling.as_ref().and_then(RopeScaling::limit);
        limit.unwrap_or(usize::MAX).min(self.max_position_embeddings)
    }

    fn parse(text: &str, families: &'static [Family]) -> std::result::Result<Self, String> {
        let map = serde_json::from_str(text).map_err(|e| e.to_string())?;
        Self::from_map(mxfp4::unquantised(composite::language_model(map)?), families)
    }

    fn from_map(
        original: Map<String, Value>,
        families: &'static [Family],
    ) -> std::result::Result<Self, String> {
        let family = Family::of(&original, families)?;
        let raw: Raw = serde_path_to_error::deserialize(Value::Object(original.clone()))
            .map_err(|e| format!("{}: {}", e.path(), e.inner()))?;
        raw.supported(family)?;
        bounds::lists(&original, raw.num_hidden_layers)?;
        let (rope_theta, rope_scaling) = raw.rope(family, &original)?;
        let config = Self {
            family,
            num_key_value_heads: raw.kv_heads(family),
            head_dim: raw.head_dim(family),
            max_position_embeddings: raw.max_position_embeddings.unwrap_or(family.max_position_embeddings),
            rope_theta,
            rope_scaling,
            qkv_bias: family.qkv_bias.read(&original)?,
            output_bias: family.output_bias.read(&original)?,
            mlp_bias: family.mlp_bias.read(&original)?,
            sliding_window: raw.window(family, original.contains_key("sliding_window")),
            vocab_size: raw.vocab_size,
            hidden_size: raw.hidden_size,
            intermediate_size: raw.intermediate_size()?,
            num_hidden_layers: raw.num_hidden_layers,
            num_attention_heads: raw.num_attention_heads,
            rms_norm_eps: raw.rms_norm_eps.unwrap_or(family.rms_norm_eps),
            tie_word_embeddings: raw.tie_word_embeddings.unwrap_or(family.tie_word_embeddings),
            initializer_range: raw.initializer_range.unwrap_or(0.02),
            original,
        };
        if config.num_hidden_layers == 0 {
            return Err("num_hidden_layers = 0: at least 1 is needed".into());
        }
        config.consistent()?;
        config.outline().map_err(|why| why.to_string())?;
        Ok(config)
    }

    /// Keys that hold this struct's own sizes, under the names that all families share.
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
        let family = self.family;
        let mut keys = into_map(json!({
            "architectures": [format!("{}ForCausalLM", family.class)],
            "model_type": family.model_type,
            "hidden_act": family.block.activations.first(),
            "initializer_range": self.initializer_range,
            "rope_theta": self.rope_theta,
            "rope_scaling": self.rope_scaling.as_ref().map(RopeScaling::to_json),
            "use_cache": true,
        }));
        let biases = [
            (family.output_bias, self.output_bias),
            (family.qkv_bias, self.qkv_bias),
            (family.mlp_bias, self.mlp_bias),
        ];
        for (bias, is) in biases {
            if let Bias::Key(key) | Bias::KeyOr(key, _) = bias {
                keys.insert(key.into(), json!(is));
            }
        }
        if let Window::Given(_) = family.window {
            keys.insert("sliding_window".into(), json!(self.sliding_window));
        }
        if let (Window::Switched(_), Some(window)) = (family.window, self.sliding_window) {
            keys.extend(into_map(json!({"use_sliding_window": true, "sliding_window": window})));
        }
        keys
    }
}

impl Default for Config {
    /// A Llama of about a million parameters.
    fn default() -> Self {
        Self {
            family: &FAMILIES[0],
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
        Config::from_map(map, FAMILIES)
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
            (json!({"model_type": "mamba"}), "model_type: `mamba` is not supported; known: llama, mistral"),
            (json!({"rope_scaling": {"type": "mrope"}}), "rope_type `mrope` is not supported"),
            (json!({"rope_scaling": {"type": "yarn", "factor": -2.0}}), "rope_scaling.factor: a positive"),
            (json!({"rope_scaling": {"type": "linear"}}), "rope_scaling.factor: a positive number"),
            (json!({"quantization_config": {"quant_method": "awq"}}), "(awq) are not supported"),
            (json!({"hidden_act": "gelu"}), "hidden_act: `gelu`"),
            (json!({"vocab_size": "many"}), "vocab_size: invalid type"),
            (json!({"max_position_embeddings": 0}), "no token has a place"),
            (json!({"hidden_size": u64::MAX}), "beyond all models"),
            (json!({"num_hidden_layers": u64::MAX}), "beyond all models"),
            (json!({"hidden_size": 1 << 30, "vocab_size": 1 << 30}), "more than 2^40 weights"),
            (json!({"num_key_value_heads": 5}), "32 is not a multiple of num_key_value_heads = 5"),
            (json!({"num_attention_heads": 0}), "num_attention_heads = 0"),
            (json!({"num_hidden_layers": 0}), "num_hidden_layers = 0"),
            (
                json!({"layer_types": vec!["full_attention"; 17]}),
                "layer_types: 17 entries for num_hidden_layers = 16",
            ),
            (json!({"mlp_only_layers": vec![0; 17]}), "mlp_only_layers: 17 entries"),
            (json!({"rope_theta": 0}), "rope_theta = 0"),
            (json!({"rope_theta": -1e4}), "rope_theta = -10000"),
            (json!({"rms_norm_eps": -1e-6}), "rms_norm_eps = -0.000001"),
            (json!({"rms_norm_eps": 1.5}), "rms_norm_eps = 1.5"),
            (json!({"initializer_range": -0.02}), "initializer_range = -0.02"),
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
    }

    /// Beyond the context before stretching transformers turns whole sequences otherwise.
    #[test]
    fn sequences_end_where_their_rotation_would_change() {
        let longrope =
            json!({"type": "longrope", "short_factor": vec![1.0; 32], "long_factor": vec![2.0; 32]});
        let keys = json!({"model_type": "phi3", "max_position_embeddings": 131_072, "rope_scaling": longrope,
            "original_max_position_embeddings": 4096});
        let config = with(keys).unwrap();
        assert_eq!(config.context(), 4096);
        let why = config.check_length(4097).unwrap_err().to_string();
        assert!(why.contains("original_max_position_embeddings = 4096"), "{why}");
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
        for family in FAMILIES {
            let qkv_bias = family.qkv_bias == Bias::Always;
            let rope_scaling = (family.rope_scaling)();
            let config = Config { family, qkv_bias, rope_scaling, ..Config::default() };
            let mut again = Config::from_map(into_map(config.to_json(Kind::Float)), FAMILIES).unwrap();
            again.original.clear();
            assert_eq!(again, config);
        }
    }
}
