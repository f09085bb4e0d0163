//! RMS norms (Zhang & Sennrich 2019) as families keep their weights.

use super::block::{Part, Parts, Weight};
use super::{Config, rms_norm};
use crate::Result;
use tch::{Kind, Tensor};

/// An RMS norm of a layer.
#[derive(Debug)]
pub struct Norm {
    weight: Weight,
    eps: f64,
    offset: f64,
}

impl Norm {
    /// The norm `name` over `width` numbers.
    pub fn new(config: &Config, parts: &mut Parts<'_>, name: &str, width: usize) -> Result<Self> {
        let weight = parts.weight(&format!("{name}.weight"), &[width])?;
        Ok(Self { weight, eps: config.rms_norm_eps, offset: config.family.norm_offset })
    }

    /// The norm of `x` over its last dimension.
    pub fn of(&self, x: &Tensor) -> Tensor {
        offset_norm(x, &self.weight.tensor, self.eps, self.offset)
    }

    /// Its weight.
    pub fn part(&self) -> Part<'_> {
        Part::Weight(&self.weight)
    }
}

/// x / sqrt(mean(x²) + eps) · (offset + weight) over the last dimension. With an offset the sum and the product are f32's, whatever the
/// kind of `x`: a weight near 0 would lose its digits in a sum of 16 bits.
pub(super) fn offset_norm(x: &Tensor, weight: &Tensor, eps: f64, offset: f64) -> Tensor {
    if offset == 0.0 {
        return rms_norm(x, weight, eps);
    }
    let weight = weight.to_kind(Kind::Float) + offset;
    rms_norm(&x.to_kind(Kind::Float), &weight, eps).to_kind(x.kind())
}
