//! The families that have the gated delta rule beside attention.

use super::{Bias, Family, QueryNorms};
use crate::model::form::Form;
use crate::model::transformer::{FUSED_HYBRID, HYBRID};

/// Qwen3-Next: 80B-A3B, and Qwen3-Coder-Next.
pub(super) const QWEN3_NEXT: Family = Family {
    model_type: "qwen3_next",
    class: "Qwen3Next",
    block: &FUSED_HYBRID,
    num_key_value_heads: Some(2),
    form: Form::qwen3_next,
    ..QWEN3_5
};

/// Qwen3.5 without experts, and without images.
pub(super) const QWEN3_5: Family = Family {
    model_type: "qwen3_5_text",
    class: "Qwen3_5",
    block: &HYBRID,
    qkv_bias: Bias::Key("attention_bias"),
    output_bias: Bias::Key("attention_bias"),
    attention_gate: true,
    query_norms: QueryNorms::Head,
    norm_offset: 1.0,
    partial_rotary: true,
    num_key_value_heads: Some(4),
    head_dim: Some(256),
    max_position_embeddings: 32_768,
    form: Form::qwen3_5,
    ..Family::PLAIN
};

/// Qwen3.5 with experts, and without images.
pub(super) const QWEN3_5_MOE: Family = Family {
    model_type: "qwen3_5_moe_text",
    class: "Qwen3_5Moe",
    num_key_value_heads: Some(2),
    form: Form::qwen3_5_moe,
    ..QWEN3_5
};
