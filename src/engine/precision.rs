//! Which number format decoding computes in: the weights' own, unless the CPU has no instructions for it.

use crate::model::{Layer, Linear, Model, Rope};
use tch::{Device, Kind, Tensor};

/// An f32 copy of a 16-bit model, where this CPU multiplies f32 matrices much faster than 16-bit ones: without
/// bf16 instructions libtorch's bf16 product ran at 17 GFLOP/s against 60 to 80 in f32. Rounding aside the
/// distribution is the same. The choice hangs on the CPU's features, never on a timing, so that it is
/// the same in every run on a machine.
pub fn faster(model: &Model) -> Option<Model> {
    let sixteen_bits = matches!(model.kind(), Kind::BFloat16 | Kind::Half);
    (model.device() == Device::Cpu && sixteen_bits && !native_bf16()).then(|| single(model))
}

#[cfg(target_arch = "x86_64")]
fn native_bf16() -> bool {
    // libtorch takes oneDNN's bf16 kernels from AVX-512 on.
    std::arch::is_x86_feature_detected!("avx512bw") && std::arch::is_x86_feature_detected!("avx512vl")
}

#[cfg(target_arch = "aarch64")]
fn native_bf16() -> bool {
    std::arch::is_aarch64_feature_detected!("bf16")
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
fn native_bf16() -> bool {
    false
}

fn single(model: &Model) -> Model {
    Model {
        config: model.config.clone(),
        embedding: float(&model.embedding),
        layers: model.layers.iter().map(|layer| single_layer(layer, model.adapted)).collect(),
        norm: float(&model.norm),
        head: model.head.as_ref().map(float),
        rope: Rope::new(&model.config, model.device()),
        adapted: model.adapted,
    }
}

fn single_layer(layer: &Layer, adapted: bool) -> Layer {
    let linear = |l: &Linear| merged(l, adapted);
    Layer {
        input_norm: float(&layer.input_norm),
        query: linear(&layer.query),
        key: linear(&layer.key),
        value: linear(&layer.value),
        output: linear(&layer.output),
        head_norms: layer.head_norms.as_ref().map(|(query, key)| (float(query), float(key))),
        mlp_norm: float(&layer.mlp_norm),
        gate: linear(&layer.gate),
        up: linear(&layer.up),
        down: linear(&layer.down),
    }
}

/// W + scale · B A: the copy is written anyway, so the adapter goes into it.
fn merged(linear: &Linear, adapted: bool) -> Linear {
    let mut weight = float(&linear.weight);
    if let Some(adapter) = linear.adapter.as_ref().filter(|_| adapted) {
        weight += float(&adapter.b).matmul(&float(&adapter.a)) * adapter.scale;
    }
    Linear { weight, bias: linear.bias.as_ref().map(float), adapter: None }
}

fn float(t: &Tensor) -> Tensor {
    t.to_kind(Kind::Float)
}
