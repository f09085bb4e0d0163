//! What a model computes beside the plain transformer's pass: scales, caps, windows, rotations and experts, as its family reads
//! them of `config.json`.

mod hybrid;

use super::Config;
use super::attention::AttentionSpec;
use super::delta::DeltaSpec;
use super::rope::{RopeScaling, RopeSpec};
use serde_json::{Map, Value};

pub(super) use hybrid::recurs;

/// What sets the computation of one model apart from the plain pass.
#[derive(Debug, Clone, PartialEq)]
pub struct Form {
    /// Embeddings are multiplied by this, rounded to the weights' format.
    pub embedding_scale: f64,
    /// What attention and MLP give is multiplied by this before it is added to the residual stream.
    pub residual_scale: f64,
    /// The output projection's products are multiplied by this: the logits.
    pub logit_scale: f64,
    /// Logits z are cap · tanh(z / cap), where there is a cap.
    pub logit_softcap: Option<f64>,
    /// Rotations, of which each layer has one or none.
    pub ropes: Vec<RopeSpec>,
    /// Layer by layer.
    pub layers: Vec<LayerForm>,
    /// The experts of the layers that have some.
    pub experts: Option<ExpertsForm>,
    /// The gated delta rule of the layers that have it in the place of attention.
    pub delta: Option<DeltaSpec>,
}

/// What sets one layer apart.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerForm {
    /// How it attends.
    pub attention: AttentionSpec,
    /// Which of [`Form::ropes`] turns its queries and keys; in a layer without one they are not turned.
    pub rope: Option<usize>,
    /// Whether it is one of those that slide where there is a window.
    pub slides: bool,
    /// Whether experts stand in its MLP's place.
    pub sparse: bool,
    /// Whether the gated delta rule stands in its attention's place.
    pub recurs: bool,
}

/// Experts of which each token passes through some (Shazeer et al. 2017; Fedus et al. 2021).
#[derive(Debug, Clone, PartialEq)]
pub struct ExpertsForm {
    /// How many a layer has.
    pub count: usize,
    /// How many a token passes through.
    pub per_token: usize,
    /// Width of each.
    pub width: usize,
    /// Whether a token's weights are divided by their sum.
    pub normalised: bool,
    /// gpt-oss's gate, where the experts are of its kind, with biases throughout.
    pub clamped: Option<ClampedGate>,
    /// Width of a further expert that all tokens pass through, each with a weight of its own, where there is one.
    pub shared: Option<usize>,
}

/// (min(max(u, −limit), limit) + 1) · g σ(α g) with g = min(gate, limit).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ClampedGate {
    /// α.
    pub alpha: f64,
    /// The most that gates, and what they gate, come to.
    pub limit: f64,
}

impl Form {
    /// One rotation, and the family's sliding window in the layers that slide.
    pub(super) fn plain(config: &Config) -> Result<Self, String> {
        Self::of_layers(config, &["full_attention", "sliding_attention"])
    }

    /// The same of layers of the `known` types.
    fn of_layers(config: &Config, known: &[&str]) -> Result<Self, String> {
        let family = config.family;
        let kinds = layer_types(&config.original, known)?;
        let layer = |index: usize| {
            let slides = match (family.sliding)(config, index) {
                Sliding::Always => true,
                Sliding::ByType(default) => {
                    let kind = kinds.as_ref().and_then(|kinds| kinds.get(index));
                    kind.map_or(default, |kind| kind == "sliding_attention")
                }
            };
            let window = config.sliding_window.filter(|_| slides);
            let attention = AttentionSpec { window, ..AttentionSpec::default() };
            LayerForm { attention, rope: Some(0), slides, sparse: false, recurs: false }
        };
        let rope = RopeSpec {
            theta: config.rope_theta,
            scaling: config.rope_scaling.clone(),
            dims: config.head_dim,
        };
        Ok(Self {
            embedding_scale: 1.0,
            residual_scale: 1.0,
            logit_scale: 1.0,
            logit_softcap: None,
            ropes: vec![rope],
            layers: (0..config.num_hidden_layers).map(layer).collect(),
            experts: None,
            delta: None,
        })
    }

    /// SmolLM3: every n-th layer has no rotary positions (NoPE, arXiv 2501.18795), and slides where any does.
    pub(super) fn smollm3(config: &Config) -> Result<Self, String> {
        let keys = Keys(&config.original);
        let every = keys.whole("no_rope_layer_interval")?.unwrap_or(4).max(1);
        let listed: Option<Vec<u8>> = keys.read("no_rope_layers")?;
        let mut form = Self::plain(config)?;
        for (index, layer) in form.layers.iter_mut().enumerate() {
            let turned = match &listed {
                // The key says 1 of the layers that have them.
                Some(listed) => {
                    *listed.get(index).ok_or("no_rope_layers: it is shorter than the layers")? != 0
                }
                None => (index + 1) % every != 0,
            };
            layer.rope = turned.then_some(0);
        }
        Ok(form)
    }

    /// Gemma: embeddings times √hidden, scores over √`query_pre_attn_scalar`, soft caps.
    pub(super) fn gemma(config: &Config) -> Result<Self, String> {
        let keys = Keys(&config.original);
        if keys.read::<bool>("use_bidirectional_attention")?.unwrap_or(false) {
            return Err("use_bidirectional_attention: only causal attention is supported".into());
        }
        let caps = config.family.model_type == "gemma2";
        let cap = |key: &str, default: f64| keys.number_or(key, caps.then_some(default));
        let scalar = keys.number("query_pre_attn_scalar")?.unwrap_or(256.0);
        let (logits, scores) = (cap("final_logit_softcapping", 30.0)?, cap("attn_logit_softcapping", 50.0)?);
        let mut form = Self::plain(config)?;
        form.embedding_scale = (config.hidden_size as f64).sqrt();
        form.logit_softcap = logits;
        for layer in &mut form.layers {
            (layer.attention.scale, layer.attention.softcap) = (Some(scalar.powf(-0.5)), scores);
        }
        Ok(form)
    }

    /// Gemma 3: another, plain rotation in the layers that slide.
    pub(super) fn gemma3(config: &Config) -> Result<Self, String> {
        Self::gemma(config)?.turning_sliding_layers(config, "rope_local_base_freq", 10_000.0)
    }

    /// OLMo 3: the layers that slide are not stretched.
    pub(super) fn olmo3(config: &Config) -> Result<Self, String> {
        Self::plain(config)?.turning_sliding_layers(config, "rope_theta", config.family.rope_theta)
    }

    /// Layers that slide have a plain rotation of a base that `rope_parameters.sliding_attention` or the older `key` says.
    fn turning_sliding_layers(mut self, config: &Config, key: &str, default: f64) -> Result<Self, String> {
        let keys = Keys(&config.original);
        let inside = keys.within("rope_parameters", "sliding_attention");
        if let Some(kind) =
            inside.and_then(|table| table.get("rope_type")?.as_str()).filter(|kind| *kind != "default")
        {
            return Err(format!(
                "rope_parameters.sliding_attention: rope_type `{kind}` is not supported; known: default"
            ));
        }
        let theta = match inside {
            Some(table) => Keys(table).number("rope_theta")?,
            None => keys.number(key)?,
        };
        self.ropes.push(RopeSpec {
            theta: theta.unwrap_or(default),
            scaling: None,
            dims: self.ropes[0].dims,
        });
        self.layers.iter_mut().filter(|layer| layer.slides).for_each(|layer| layer.rope = Some(1));
        Ok(self)
    }

    /// Phi-3 and Phi-4: a part of each head is turned.
    pub(super) fn phi3(config: &Config) -> Result<Self, String> {
        let mut form = Self::plain(config)?;
        form.ropes[0].dims = turned(config, 1.0)?;
        let dims = form.ropes[0].dims;
        if let Some(RopeScaling::LongRope { short, .. }) = &form.ropes[0].scaling
            && short.len() != dims / 2
        {
            return Err(format!("short_factor: {} numbers, and {} are turned", short.len(), dims / 2));
        }
        Ok(form)
    }

    /// Granite: multipliers throughout.
    pub(super) fn granite(config: &Config) -> Result<Self, String> {
        let keys = Keys(&config.original);
        let of = |key: &str| Ok::<f64, String>(keys.number(key)?.unwrap_or(1.0));
        let mut form = Self::plain(config)?;
        form.embedding_scale = of("embedding_multiplier")?;
        form.residual_scale = of("residual_multiplier")?;
        form.logit_scale = 1.0 / of("logits_scaling")?;
        let scale = of("attention_multiplier")?;
        form.layers.iter_mut().for_each(|layer| layer.attention.scale = Some(scale));
        Ok(form)
    }

    /// Mixtral: experts in every layer.
    pub(super) fn mixtral(config: &Config) -> Result<Self, String> {
        let keys = Keys(&config.original);
        let of = |key: &str, default| Ok::<usize, String>(keys.whole(key)?.unwrap_or(default));
        let experts = ExpertsForm {
            count: of("num_local_experts", 8)?,
            per_token: of("num_experts_per_tok", 2)?,
            width: config.intermediate_size,
            normalised: true,
            clamped: None,
            shared: None,
        };
        Self::plain(config)?.sparse(experts, |_| true)
    }

    /// gpt-oss: experts with biases and a clamped gate in every layer.
    pub(super) fn gpt_oss(config: &Config) -> Result<Self, String> {
        let keys = Keys(&config.original);
        let clamped = ClampedGate {
            alpha: keys.number("swiglu_alpha")?.unwrap_or(1.702),
            limit: keys.number("swiglu_limit")?.unwrap_or(7.0),
        };
        let experts = ExpertsForm {
            count: keys.whole("num_local_experts")?.or(keys.whole("num_experts")?).unwrap_or(128),
            per_token: keys.whole("num_experts_per_tok")?.or(keys.whole("experts_per_token")?).unwrap_or(4),
            width: config.intermediate_size,
            normalised: true,
            clamped: Some(clamped),
            shared: None,
        };
        Self::plain(config)?.sparse(experts, |_| true)
    }

    /// Qwen3-MoE: experts in every layer but those that are told to have none.
    pub(super) fn qwen3_moe(config: &Config) -> Result<Self, String> {
        let keys = Keys(&config.original);
        // transformers 5 writes the count under the other key, and reads both.
        let count = keys.whole("num_experts")?.or(keys.whole("num_local_experts")?).unwrap_or(128);
        let step = keys.whole("decoder_sparse_step")?.unwrap_or(1).max(1);
        let dense: Vec<usize> = keys.read("mlp_only_layers")?.unwrap_or_default();
        let experts = ExpertsForm {
            count,
            per_token: keys.whole("num_experts_per_tok")?.unwrap_or(8),
            width: keys.whole("moe_intermediate_size")?.unwrap_or(768),
            normalised: keys.read("norm_topk_prob")?.unwrap_or(false),
            clamped: None,
            shared: None,
        };
        Self::plain(config)?.sparse(experts, |index| (index + 1) % step == 0 && !dense.contains(&index))
    }

    fn sparse(mut self, experts: ExpertsForm, has: impl Fn(usize) -> bool) -> Result<Self, String> {
        let ExpertsForm { count, per_token, width, .. } = experts;
        if !(1..=1 << 16).contains(&count)
            || !(1..=count).contains(&per_token)
            || width == 0
            || width > 1 << 31
        {
            return Err(format!(
                "num_experts_per_tok = {per_token} of {count} experts of width {width}: a token passes through at least one of \
                 those there are"
            ));
        }
        self.layers.iter_mut().enumerate().for_each(|(index, layer)| layer.sparse = has(index));
        self.experts = Some(experts);
        Ok(self)
    }
}

/// Whether a layer's attention slides where the model has a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sliding {
    /// It does.
    Always,
    /// As `layer_types` says; so where the key is absent.
    ByType(bool),
}

/// `layer_types`, where the file has it.
fn layer_types(map: &Map<String, Value>, known: &[&str]) -> Result<Option<Vec<String>>, String> {
    let names: Option<Vec<String>> = Keys(map).read("layer_types")?;
    let unknown = names.iter().flatten().find(|name| !known.contains(&name.as_str())).cloned();
    match unknown {
        None => Ok(names),
        Some(other) => Err(format!("layer_types: `{other}` is not supported; known: {}", known.join(", "))),
    }
}

/// How many numbers of a head are turned: the share of them that `partial_rotary_factor` says, or `default`.
fn turned(config: &Config, default: f64) -> Result<usize, String> {
    let keys = Keys(&config.original);
    let tables = ["rope_parameters", "rope_scaling"].map(|key| keys.table(key));
    let inside = tables.into_iter().flatten().find_map(|table| table.get("partial_rotary_factor")?.as_f64());
    let factor = inside.or(keys.number("partial_rotary_factor")?).unwrap_or(default);
    let dims = (config.head_dim as f64 * factor) as usize;
    if dims == 0 || !dims.is_multiple_of(2) || dims > config.head_dim {
        return Err(format!(
            "partial_rotary_factor: {factor} of a head of {} numbers is no even number of them",
            config.head_dim
        ));
    }
    Ok(dims)
}

/// A family's own keys of `config.json`.
pub(super) struct Keys<'a>(pub &'a Map<String, Value>);

impl<'a> Keys<'a> {
    /// The value of `key`; none where it is absent or `null`.
    pub fn read<T: serde::de::DeserializeOwned>(&self, key: &str) -> Result<Option<T>, String> {
        let value = self.0.get(key).cloned().unwrap_or(Value::Null);
        serde_json::from_value(value).map_err(|error| format!("{key}: {error}"))
    }

    pub fn whole(&self, key: &str) -> Result<Option<usize>, String> {
        self.read(key)
    }

    /// A number that something is multiplied or divided by.
    pub fn number(&self, key: &str) -> Result<Option<f64>, String> {
        let number: Option<f64> = self.read(key)?;
        match number {
            Some(value) if !(value > 0.0 && value.is_finite()) => {
                Err(format!("{key}: a positive number is needed"))
            }
            _ => Ok(number),
        }
    }

    /// The same, where an absent key means `default` and `null` means none.
    fn number_or(&self, key: &str, default: Option<f64>) -> Result<Option<f64>, String> {
        if self.0.contains_key(key) { self.number(key) } else { Ok(default) }
    }

    /// The table under `key`.
    pub fn table(&self, key: &str) -> Option<&'a Map<String, Value>> {
        self.0.get(key)?.as_object()
    }

    /// The table `inner` of the table under `key`.
    pub fn within(&self, key: &str, inner: &str) -> Option<&'a Map<String, Value>> {
        self.table(key)?.get(inner)?.as_object()
    }
}
