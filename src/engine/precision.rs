//! Which number format decoding computes in: the weights' own, unless the CPU has no instructions for it.

use crate::devices::cpu_multiplies_bf16;
use crate::model::Model;
use tch::{Device, Kind};

/// An f32 copy of a 16-bit model, where this CPU multiplies f32 matrices much faster than 16-bit ones: without
/// bf16 instructions libtorch's bf16 product ran at 17 GFLOP/s against 60 to 80 in f32. Rounding aside the
/// distribution is the same. The choice hangs on the CPU's features, never on a timing, so that it is
/// the same in every run on a machine.
pub fn faster(model: &Model) -> Option<Model> {
    let sixteen_bits = matches!(model.kind(), Kind::BFloat16 | Kind::Half);
    (model.device() == Device::Cpu && sixteen_bits && !cpu_multiplies_bf16())
        .then(|| model.copy(Kind::Float, Device::Cpu))
}
