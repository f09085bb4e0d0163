//! The model families that can be loaded, one row each: what `config.json` calls a family, what its keys mean where they are
//! absent, and which block its layers are.

mod hybrid;
mod kin;
mod sliding;

use super::Config;
use super::block::Blueprint;
use super::form::{Form, Sliding};
use super::rope::RopeScaling;
use super::self_attention::QueryNorms;
use super::transformer::{FUSED_TRANSFORMER, GELU_TRANSFORMER, Norms, TRANSFORMER};
use crate::nearest::{did_you_mean, nearest};
use kin::kin;
use serde_json::{Map, Value};
use sliding::{all_but_each_sixth, from_max_window_layers, where_nothing_turns};

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
    /// Whether what attention gives is multiplied by a gate that stands behind each head's queries.
    pub attention_gate: bool,
    /// Which RMS norms queries and keys have.
    pub query_norms: QueryNorms,
    /// Where the RMS norms of a layer stand.
    pub norms: Norms,
    /// What is added to the weights of RMS norms: 1 where checkpoints keep how far they are from 1.
    pub norm_offset: f64,
    /// Whether each query head has an attention sink.
    pub sinks: bool,
    /// How far a query looks back in the layers that slide.
    pub window: Window,
    /// Which layers slide where there is a window.
    pub sliding: fn(&Config, usize) -> Sliding,
    /// Whether `partial_rotary_factor` is heeded; in other families anything but 1 is refused.
    pub partial_rotary: bool,
    /// What its models compute beside the plain pass.
    pub form: fn(&Config) -> Result<Form, String>,
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
    /// How rotary frequencies are stretched where nothing is said of them.
    pub rope_scaling: fn() -> Option<RopeScaling>,
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
    /// Where this key says so; absent, so.
    KeyOr(&'static str, bool),
}

/// How a family's `sliding_window` is meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Window {
    /// There is none, whatever the file says.
    None,
    /// It holds as it is given, `null` lifts it; this is its length where the key is absent.
    Given(Option<usize>),
    /// It holds where `use_sliding_window` is true; this is its length where the key is absent.
    Switched(Option<usize>),
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
        window: Window::Given(Some(4096)),
        num_key_value_heads: Some(8),
        max_position_embeddings: 4096 * 32,
        ..Family::PLAIN
    },
    // Qwen2 and Qwen2.5.
    Family {
        model_type: "qwen2",
        class: "Qwen2",
        qkv_bias: Bias::Always,
        window: Window::Switched(Some(4096)),
        sliding: from_max_window_layers,
        max_position_embeddings: 32_768,
        ..Family::PLAIN
    },
    Family {
        model_type: "qwen3",
        class: "Qwen3",
        qkv_bias: Bias::Key("attention_bias"),
        output_bias: Bias::Key("attention_bias"),
        query_norms: QueryNorms::Head,
        window: Window::Switched(Some(4096)),
        sliding: from_max_window_layers,
        head_dim: Some(128),
        max_position_embeddings: 32_768,
        ..Family::PLAIN
    },
    Family {
        model_type: "qwen3_moe",
        class: "Qwen3Moe",
        qkv_bias: Bias::Key("attention_bias"),
        output_bias: Bias::Key("attention_bias"),
        query_norms: QueryNorms::Head,
        window: Window::Switched(Some(4096)),
        num_key_value_heads: Some(4),
        max_position_embeddings: 32_768,
        form: Form::qwen3_moe,
        ..Family::PLAIN
    },
    Family {
        model_type: "mixtral",
        class: "Mixtral",
        window: Window::Given(None),
        num_key_value_heads: Some(8),
        max_position_embeddings: 4096 * 32,
        rms_norm_eps: 1e-5,
        rope_theta: 1e6,
        form: Form::mixtral,
        names: &[
            ("mlp.gate", "block_sparse_moe.gate"),
            ("mlp.experts.*.gate_proj", "block_sparse_moe.experts.*.w1"),
            ("mlp.experts.*.up_proj", "block_sparse_moe.experts.*.w3"),
            ("mlp.experts.*.down_proj", "block_sparse_moe.experts.*.w2"),
        ],
        ..Family::PLAIN
    },
    Family {
        model_type: "gpt_oss",
        class: "GptOss",
        qkv_bias: Bias::KeyOr("attention_bias", true),
        output_bias: Bias::KeyOr("attention_bias", true),
        sinks: true,
        window: Window::Given(Some(128)),
        sliding: |_, index| Sliding::ByType(index % 2 == 0),
        num_key_value_heads: Some(8),
        head_dim: Some(64),
        max_position_embeddings: 131_072,
        rms_norm_eps: 1e-5,
        rope_theta: 150_000.0,
        rope_scaling: gpt_oss_scaling,
        form: Form::gpt_oss,
        names: &[("mlp.gate", "mlp.router")],
        ..Family::PLAIN
    },
    Family {
        model_type: "smollm3",
        class: "SmolLM3",
        qkv_bias: Bias::Key("attention_bias"),
        output_bias: Bias::Key("attention_bias"),
        mlp_bias: Bias::Key("mlp_bias"),
        window: Window::Switched(None),
        sliding: where_nothing_turns,
        num_key_value_heads: Some(4),
        max_position_embeddings: 32_768,
        rope_theta: 2e6,
        tie_word_embeddings: true,
        form: Form::smollm3,
        ..Family::PLAIN
    },
    Family {
        model_type: "gemma2",
        class: "Gemma2",
        sliding: |_, index| Sliding::ByType(index % 2 == 0),
        max_position_embeddings: 8192,
        form: Form::gemma,
        ..Family::GEMMA
    },
    // Gemma 3 without images: 270M and 1B, and others saved so.
    Family {
        model_type: "gemma3_text",
        class: "Gemma3",
        query_norms: QueryNorms::Head,
        sliding: all_but_each_sixth,
        max_position_embeddings: 131_072,
        rope_theta: 1e6,
        form: Form::gemma3,
        ..Family::GEMMA
    },
    // Phi-3, Phi-3.5, Phi-4 and Phi-4-mini.
    Family {
        model_type: "phi3",
        class: "Phi3",
        block: &FUSED_TRANSFORMER,
        window: Window::Given(None),
        max_position_embeddings: 4096,
        rms_norm_eps: 1e-5,
        partial_rotary: true,
        form: Form::phi3,
        ..Family::PLAIN
    },
    Family { model_type: "olmo2", class: "Olmo2", ..Family::OLMO },
    Family {
        model_type: "olmo3",
        class: "Olmo3",
        window: Window::Given(Some(4096)),
        sliding: |_, index| Sliding::ByType((index + 1) % 4 != 0),
        rope_theta: 5e5,
        form: Form::olmo3,
        ..Family::OLMO
    },
    // Granite 3 and 4 without experts or Mamba.
    Family {
        model_type: "granite",
        class: "Granite",
        qkv_bias: Bias::Key("attention_bias"),
        output_bias: Bias::Key("attention_bias"),
        mlp_bias: Bias::Key("mlp_bias"),
        form: Form::granite,
        ..Family::PLAIN
    },
    hybrid::QWEN3_NEXT,
    hybrid::QWEN3_5,
    hybrid::QWEN3_5_MOE,
];

fn gpt_oss_scaling() -> Option<RopeScaling> {
    Some(RopeScaling::Yarn {
        factor: 32.0,
        original_max_position_embeddings: 4096,
        beta_fast: 32.0,
        beta_slow: 1.0,
        truncate: false,
        attention_factor: 0.1 * 32f64.ln() + 1.0,
    })
}

impl Family {
    /// What a row leaves out: the plain transformer without biases, with transformers' usual defaults. It is no family itself.
    pub const PLAIN: Family = Family {
        model_type: "",
        class: "",
        block: &TRANSFORMER,
        qkv_bias: Bias::Never,
        output_bias: Bias::Never,
        mlp_bias: Bias::Never,
        attention_gate: false,
        query_norms: QueryNorms::None,
        norms: Norms::Before,
        norm_offset: 0.0,
        sinks: false,
        window: Window::None,
        sliding: |_, _| Sliding::Always,
        partial_rotary: false,
        form: Form::plain,
        num_key_value_heads: None,
        head_dim: None,
        max_position_embeddings: 2048,
        rms_norm_eps: 1e-6,
        rope_theta: 10_000.0,
        rope_scaling: || None,
        tie_word_embeddings: false,
        names: &[],
    };

    /// What the rows of Gemma share.
    const GEMMA: Family = Family {
        block: &GELU_TRANSFORMER,
        qkv_bias: Bias::Key("attention_bias"),
        output_bias: Bias::Key("attention_bias"),
        norms: Norms::Around,
        norm_offset: 1.0,
        window: Window::Given(Some(4096)),
        num_key_value_heads: Some(4),
        head_dim: Some(256),
        tie_word_embeddings: true,
        ..Family::PLAIN
    };

    /// What the rows of OLMo share.
    const OLMO: Family = Family {
        qkv_bias: Bias::Key("attention_bias"),
        output_bias: Bias::Key("attention_bias"),
        query_norms: QueryNorms::Whole,
        norms: Norms::Behind,
        rms_norm_eps: 1e-5,
        ..Family::PLAIN
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
        found.ok_or_else(|| match kin(name).filter(|kin| all.contains(&kin.0)) {
            Some((near, how)) => {
                format!("model_type: `{name}` is not supported; the nearest that is: {near} ({how}); {known}")
            }
            None => {
                let near = did_you_mean(nearest(name, all.iter().copied()));
                format!("model_type: `{name}` is not supported{near}; {known}").replace("?;", "?")
            }
        })
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
            Bias::Key(key) => Bias::KeyOr(key, false).read(map),
            Bias::KeyOr(key, default) => {
                let value = map.get(key).cloned().unwrap_or(Value::Null);
                let set: Option<bool> = serde_json::from_value(value).map_err(|e| format!("{key}: {e}"))?;
                Ok(set.unwrap_or(default))
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
