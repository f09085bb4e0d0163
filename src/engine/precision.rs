//! Which number format decoding computes in: the weights' own, unless the CPU has no instructions for it.

use crate::devices::cpu_multiplies_bf16;
use crate::model::Model;
use tch::{Device, Kind};

/// The format for `model`: f32 for a 16-bit model where this CPU multiplies f32 matrices much faster than 16-bit ones:
/// without bf16 instructions libtorch's bf16 product ran at 17 GFLOP/s against 60 to 80 in f32. Rounding aside the
/// distribution is the same. The choice hangs on the CPU's features, never on a timing, so that it is
/// the same in every run on a machine.
fn kind(model: &Model) -> Kind {
    let sixteen_bits = matches!(model.kind(), Kind::BFloat16 | Kind::Half);
    // In full beside itself, what is kept in four bits would take what that saves.
    let copied =
        model.device() == Device::Cpu && sixteen_bits && !cpu_multiplies_bf16() && !model.is_quantised();
    match copied {
        true => Kind::Float,
        false => model.kind(),
    }
}

/// A copy of the model in the format that is faster than its own, where one is.
pub fn faster(model: &Model) -> Option<Model> {
    (kind(model) != model.kind()).then(|| model.copy(Kind::Float, Device::Cpu))
}
