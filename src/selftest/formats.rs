//! The number formats on the device against f64 on the CPU: a matrix product, and the tiny model's log-probabilities and gradients.

use super::tiny::{self, Scored, error, worst};
use super::{Bench, Figure};
use crate::Result;
use crate::devices::torch::allow_tf32;
use crate::seed;
use tch::{Device, Kind, Tensor};

/// A format, and what rounding to it may cost: of a product of two matrices, of log-probabilities, of gradients.
struct Format {
    name: &'static str,
    kind: Kind,
    tf32: bool,
    limits: [f64; 3],
    why: &'static str,
}

const FORMATS: [Format; 3] = [
    Format {
        name: "f32",
        kind: Kind::Float,
        tf32: false,
        limits: [1e-6, 1e-6, 1e-5],
        why: "24 bits: 6e-8 a rounding, of which those of a sum even out; the model has some dozens in a row",
    },
    Format {
        name: "tf32",
        kind: Kind::Float,
        tf32: true,
        limits: [1e-3, 5e-3, 2e-2],
        why: "11 bits in the factors: 5e-4 a rounding, f32 sums",
    },
    Format {
        name: "bf16",
        kind: Kind::BFloat16,
        tf32: false,
        limits: [8e-3, 5e-2, 1e-1],
        why: "8 bits: 4e-3 a rounding, of all that lies between the kernels too",
    },
];

/// As the first line says.
pub fn check(bench: &Bench) -> Result<Vec<Figure>> {
    let expected = Computed::of(Kind::Double, Device::Cpu)?;
    let mut figures = Vec::new();
    for format in FORMATS.iter().filter(|format| bench.device.is_cuda() || !format.tf32) {
        allow_tf32(format.tf32)?;
        let found = Computed::of(format.kind, bench.device);
        allow_tf32(false)?;
        figures.extend(judged(format, &found?, &expected));
    }
    Ok(figures)
}

struct Computed {
    product: Tensor,
    scored: Scored,
}

impl Computed {
    fn of(kind: Kind, device: Device) -> Result<Self> {
        let factor = |salt| {
            let values: Vec<f64> = (0..256 * 256).map(|place| even(salt, place)).collect();
            Tensor::from_slice(&values).view([256, 256]).to_device(device).to_kind(kind)
        };
        let model = tiny::model(kind, device)?;
        Ok(Self { product: factor(1).matmul(&factor(2)), scored: tiny::score(&model, &tiny::sequences())? })
    }
}

/// Numbers between −1 and 1 of 24 bits, which f32 holds and bf16 has to round.
fn even(salt: u64, place: u64) -> f64 {
    (seed::derive(&[salt, place]) >> 40) as f64 / f64::from(1 << 23) - 1.0
}

fn judged(format: &Format, found: &Computed, expected: &Computed) -> Vec<Figure> {
    let errors = [
        ("product", error(&found.product, &expected.product)),
        ("log-probabilities", error(&found.scored.logprobs, &expected.scored.logprobs)),
        ("gradients", worst(&found.scored, &expected.scored, error)),
    ];
    let with = |((what, error), limit): ((&str, f64), f64)| {
        Figure::at_most(format!("{} {what}", format.name), error, limit, format.why)
    };
    errors.into_iter().zip(format.limits).map(with).collect()
}

#[cfg(test)]
mod tests {
    use super::super::planted::failing;
    use super::*;

    /// What is rounded to bf16 is no f32, and passes as bf16; a factor of 1.2 passes as neither.
    #[test]
    fn a_format_that_rounds_more_than_it_says_fails() {
        let [f32, _, bf16] = &FORMATS;
        let expected = Computed::of(Kind::Double, Device::Cpu).unwrap();
        let mut rounded = Computed::of(Kind::BFloat16, Device::Cpu).unwrap();
        assert_eq!(failing(&judged(bf16, &rounded, &expected)), [""; 0]);
        assert_eq!(
            failing(&judged(f32, &rounded, &expected)),
            ["f32 product", "f32 log-probabilities", "f32 gradients"]
        );
        rounded.product = &rounded.product * 1.2;
        rounded.scored.logprobs = &rounded.scored.logprobs * 1.2;
        rounded.scored.gradients[0].1 = &rounded.scored.gradients[0].1 * 1.2;
        assert_eq!(failing(&judged(bf16, &rounded, &expected)).len(), 3);
    }
}
