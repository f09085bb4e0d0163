//! The model families that can be loaded, one row each: what `config.json` calls a family, what its keys mean where they are
//! absent, and which block its layers are.

use super::block::Blueprint;
use super::transformer::TRANSFORMER;
use serde_json::{Map, Value};

/// What sets the models of one family apart.
pub struct Family {
    /// `model_type` in `config.json`.
    pub model_type: &'static str,
    /// What transformers' classes of the family begin with: `Llama` of `LlamaForCausalLM`.
    pub class: &'static str,
    /// What its layers are.
    pub block: &'static Blueprint,
    /// Whether query, key and value projections have a bias.
    pub qkv_bias: Bias,
    /// Whether the attention's output projection has one.
    pub output_bias: Bias,
    /// Whether the MLP's projections have one.
    pub mlp_bias: Bias,
    /// Whether each head of the query and of the key has an RMS norm of its own.
    pub head_norms: bool,
    /// How far a query looks back.
    pub window: Window,
    /// `num_key_value_heads` where it is absent; `None` is as many as query heads.
    pub num_key_value_heads: Option<usize>,
    /// `head_dim` where it is absent; `None` is the hidden size shared out among the heads.
    pub head_dim: Option<usize>,
    /// `max_position_embeddings` where it is absent.
    pub max_position_embeddings: usize,
    /// `rms_norm_eps` where it is absent.
    pub rms_norm_eps: f64,
    /// `rope_theta` where it is absent.
    pub rope_theta: f64,
    /// `tie_word_embeddings` where it is absent.
    pub tie_word_embeddings: bool,
    /// Where the checkpoint has another name than the block (within the layer, such as `mlp.gate_proj`) or the model
    /// (`model.embed_tokens`, `model.layers`, `model.norm`, `lm_head`): this name, then the checkpoint's.
    pub names: &'static [(&'static str, &'static str)],
}

/// Whether some linear maps of a family have a bias.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bias {
    /// In every model.
    Always,
    /// In none.
    Never,
    /// Where this key of `config.json` says so; absent, they have none.
    Key(&'static str),
}

/// How a family's `sliding_window` is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Window {
    /// There is none, whatever the file says.
    None,
    /// It holds as it is given, `null` lifts it; this is its length where the key is absent.
    Given(usize),
    /// It holds where `use_sliding_window` is true; this is its length where the key is absent.
    Switched(usize),
}

/// The families that [`Model::load`](super::Model::load) knows.
pub static FAMILIES: &[Family] = &[
    // Llama 2 and 3, SmolLM2.
    Family {
        model_type: "llama",
        class: "Llama",
        qkv_bias: Bias::Key("attention_bias"),
        output_bias: Bias::Key("attention_bias"),
        mlp_bias: Bias::Key("mlp_bias"),
        ..Family::PLAIN
    },
    Family {
        model_type: "mistral",
        class: "Mistral",
        window: Window::Given(4096),
        num_key_value_heads: Some(8),
        max_position_embeddings: 4096 * 32,
        ..Family::PLAIN
    },
    // Qwen2 and Qwen2.5.
    Family {
        model_type: "qwen2",
        class: "Qwen2",
        qkv_bias: Bias::Always,
        window: Window::Switched(4096),
        max_position_embeddings: 32_768,
        ..Family::PLAIN
    },
    Family {
        model_type: "qwen3",
        class: "Qwen3",
        qkv_bias: Bias::Key("attention_bias"),
        output_bias: Bias::Key("attention_bias"),
        head_norms: true,
        window: Window::Switched(4096),
        head_dim: Some(128),
        max_position_embeddings: 32_768,
        ..Family::PLAIN
    },
];

impl Family {
    /// What a row leaves out: the plain transformer without biases, with transformers' usual defaults. It is no family itself.
    pub const PLAIN: Family = Family {
        model_type: "",
        class: "",
        block: &TRANSFORMER,
        qkv_bias: Bias::Never,
        output_bias: Bias::Never,
        mlp_bias: Bias::Never,
        head_norms: false,
        window: Window::None,
        num_key_value_heads: None,
        head_dim: None,
        max_position_embeddings: 2048,
        rms_norm_eps: 1e-6,
        rope_theta: 10_000.0,
        tie_word_embeddings: false,
        names: &[],
    };

    /// The family called `model_type` among those that [`Model::load`](super::Model::load) knows.
    pub fn named(model_type: &str) -> Option<&'static Family> {
        FAMILIES.iter().find(|family| family.model_type == model_type)
    }

    /// The one of `families` that a `config.json` is of: told before the other keys are read, since in another family's file
    /// they may mean something else.
    pub(super) fn of(
        map: &Map<String, Value>,
        families: &'static [Family],
    ) -> Result<&'static Family, String> {
        let all: Vec<&str> = families.iter().map(|family| family.model_type).collect();
        let known = format!("known: {}", all.join(", "));
        let name = map.get("model_type").and_then(Value::as_str);
        let name = name.ok_or_else(|| format!("model_type is missing; {known}"))?;
        let found = families.iter().find(|family| family.model_type == name);
        found.ok_or_else(|| format!("model_type: `{name}` is not supported; {known}"))
    }

    /// The checkpoint's name of what the block or the model calls `name`, with or without `.weight` or `.bias` behind it.
    pub(super) fn name(&self, name: &str) -> String {
        let (stem, end) = match name.rsplit_once('.') {
            Some((stem, "weight" | "bias")) => (stem, &name[stem.len()..]),
            _ => (name, ""),
        };
        let theirs = self.names.iter().find(|(ours, _)| *ours == stem).map_or(stem, |(_, theirs)| theirs);
        format!("{theirs}{end}")
    }

    /// What an adapter can target in models of this family: the last part of each linear map's name.
    pub(super) fn targets(&self) -> impl Iterator<Item = String> {
        let last = |name: String| name.rsplit('.').next().unwrap_or_default().to_owned();
        self.block.linears.iter().map(move |name| last(self.name(name)))
    }
}

/// What an adapter can target in models of some family.
pub fn targets() -> Vec<String> {
    let mut all: Vec<String> = Vec::new();
    for target in FAMILIES.iter().flat_map(Family::targets) {
        if !all.contains(&target) {
            all.push(target);
        }
    }
    all
}

impl Bias {
    /// Whether the maps of the model that `map` describes have a bias.
    pub(super) fn read(self, map: &Map<String, Value>) -> Result<bool, String> {
        match self {
            Bias::Always => Ok(true),
            Bias::Never => Ok(false),
            Bias::Key(key) => {
                let value = map.get(key).cloned().unwrap_or(Value::Null);
                let set: Option<bool> = serde_json::from_value(value).map_err(|e| format!("{key}: {e}"))?;
                Ok(set.unwrap_or(false))
            }
        }
    }
}

impl PartialEq for Family {
    fn eq(&self, other: &Self) -> bool {
        self.model_type == other.model_type
    }
}

impl std::fmt::Debug for Family {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.model_type)
    }
}
