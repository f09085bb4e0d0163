//! Qwen3-Next and Qwen3.5: the gated delta rule in most layers, attention in the others.

use super::{ExpertsForm, Form, Keys, turned};
use crate::model::Config;
use crate::model::delta::DeltaSpec;
use serde_json::Value;

/// Whether the layer of this number has the gated delta rule: as `layer_types` says, and without it all but each fourth, or what `full_attention_interval` says.
pub(in crate::model) fn recurs(config: &Config, index: usize) -> bool {
    let key = |name: &str| config.original.get(name);
    let said = key("layer_types").and_then(|list| list.get(index)).and_then(Value::as_str);
    let each = key("full_attention_interval").and_then(Value::as_u64).unwrap_or(4).max(1);
    said.map_or(!(index as u64 + 1).is_multiple_of(each), |kind| kind == "linear_attention")
}

impl Form {
    /// Qwen3.5 without experts.
    pub(in crate::model) fn qwen3_5(config: &Config) -> Result<Self, String> {
        let keys = Keys(&config.original);
        let listed: Option<Vec<String>> = keys.read("layer_types")?;
        if listed.is_some_and(|listed| listed.len() < config.num_hidden_layers) {
            return Err("layer_types: it is shorter than the layers".into());
        }
        if keys.read::<bool>("attn_output_gate")? == Some(false) {
            return Err("attn_output_gate: attention without a gate is not supported in this family".into());
        }
        let mut form = Self::of_layers(config, &["full_attention", "linear_attention"])?;
        form.ropes[0].dims = turned(config, 0.25)?;
        for (index, layer) in form.layers.iter_mut().enumerate() {
            layer.recurs = recurs(config, index);
        }
        form.delta = Some(delta(&keys)?);
        Ok(form)
    }

    /// Qwen3.5 with experts in every layer.
    pub(in crate::model) fn qwen3_5_moe(config: &Config) -> Result<Self, String> {
        let experts = ExpertsForm { normalised: true, ..experts(config, [256, 8])? };
        Self::qwen3_5(config)?.sparse(experts, |_| true)
    }

    /// Qwen3-Next: experts in every layer but those that are told to have none.
    pub(in crate::model) fn qwen3_next(config: &Config) -> Result<Self, String> {
        let keys = Keys(&config.original);
        let step = keys.whole("decoder_sparse_step")?.unwrap_or(1).max(1);
        let dense: Vec<usize> = keys.read("mlp_only_layers")?.unwrap_or_default();
        let experts = experts(config, [512, 10])?;
        Self::qwen3_5(config)?.sparse(experts, |index| (index + 1) % step == 0 && !dense.contains(&index))
    }
}

/// The experts, where absent keys mean `defaults`: how many a layer has, and how many a token passes through.
fn experts(config: &Config, defaults: [usize; 2]) -> Result<ExpertsForm, String> {
    let keys = Keys(&config.original);
    let of = |key: &str, default| Ok::<usize, String>(keys.whole(key)?.unwrap_or(default));
    let shared = of("shared_expert_intermediate_size", 512)?;
    if shared == 0 || shared > 1 << 31 {
        return Err(format!("shared_expert_intermediate_size = {shared}: at least 1 is needed"));
    }
    Ok(ExpertsForm {
        // transformers 5 writes the count under the other key, and reads both.
        count: keys.whole("num_experts")?.or(keys.whole("num_local_experts")?).unwrap_or(defaults[0]),
        per_token: of("num_experts_per_tok", defaults[1])?,
        width: of("moe_intermediate_size", 512)?,
        normalised: keys.read("norm_topk_prob")?.unwrap_or(true),
        clamped: None,
        shared: Some(shared),
    })
}

/// The sizes of the gated delta rule.
fn delta(keys: &Keys<'_>) -> Result<DeltaSpec, String> {
    let of = |key: &str, default: usize| match keys.whole(key)?.unwrap_or(default) {
        size @ 1..=65_536 => Ok(size),
        size => Err(format!("{key} = {size}: a number from 1 to 65536 is needed")),
    };
    let spec = DeltaSpec {
        key_heads: of("linear_num_key_heads", 16)?,
        value_heads: of("linear_num_value_heads", 32)?,
        key_dim: of("linear_key_head_dim", 128)?,
        value_dim: of("linear_value_head_dim", 128)?,
        kernel: of("linear_conv_kernel_dim", 4)?,
    };
    if !spec.value_heads.is_multiple_of(spec.key_heads) {
        return Err(format!(
            "linear_num_value_heads = {} is not a multiple of linear_num_key_heads = {}",
            spec.value_heads, spec.key_heads
        ));
    }
    Ok(spec)
}
