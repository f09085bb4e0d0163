//! Weights in MXFP4 (OCP Microscaling Formats 1.0): blocks of 32 numbers of four bits that share a power of two. gpt-oss's experts are
//! published so; they are read as bf16, and saved as that.

use serde_json::{Map, Value};
use tch::{Kind, Tensor};

/// What four bits mean: a sign, two bits of exponent, one of mantissa.
const VALUES: [f32; 16] =
    [0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, -0.0, -0.5, -1.0, -1.5, -2.0, -3.0, -4.0, -6.0];

/// Numbers of a block.
pub(super) const BLOCK: i64 = 32;

/// What `blocks [.., groups, 16]`, two numbers a byte with the first in its lower half, and `scales [.., groups]`, exponents of two and 127, are in
/// bf16: `[.., groups · 32]`.
pub(super) fn dequantised(blocks: &Tensor, scales: &Tensor) -> Tensor {
    let size = scales.size();
    let (groups, before) = (size[size.len() - 1], &size[..size.len() - 1]);
    let halves = [blocks.bitwise_and(15), blocks.bitwise_right_shift_tensor_scalar(4)];
    let codes = Tensor::stack(&halves, -1).reshape([-1]).to_kind(Kind::Int64);
    let numbers = Tensor::from_slice(&VALUES).index_select(0, &codes).reshape([-1, BLOCK]);
    let powers = (scales.to_kind(Kind::Float) - 127.0).exp2().reshape([-1, 1]);
    (numbers * powers).to_kind(Kind::BFloat16).reshape([before, &[groups * BLOCK]].concat())
}

/// The keys of a model without what says that its weights are in MXFP4, which they are not once they are read.
pub(super) fn unquantised(mut map: Map<String, Value>) -> Map<String, Value> {
    let method = map.get("quantization_config").and_then(|config| config.get("quant_method"));
    if method.and_then(Value::as_str) == Some("mxfp4") {
        map.remove("quantization_config");
    }
    map
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 0x5A: its lower half A = 1 010 is −1, its upper half 5 = 0 101 is 3. A scale of 128 is 2¹, one of 125 is 2⁻².
    #[test]
    fn two_numbers_a_byte_share_a_power_of_two() {
        let mut bytes = [0u8; 32];
        (bytes[0], bytes[16], bytes[31]) = (0x5A, 0x7F, 0x01);
        let blocks = Tensor::from_slice(&bytes).view([1, 2, 16]);
        let found = dequantised(&blocks, &Tensor::from_slice(&[128u8, 125]).view([1, 2]));
        assert_eq!((found.size(), found.kind()), (vec![1, 64], Kind::BFloat16));
        let at = |place: i64| found.double_value(&[0, place]);
        assert_eq!([at(0), at(1), at(2)], [-2.0, 6.0, 0.0]);
        // 0x7F: −6 and 6 over four; 0x01: 0.5 over four and 0.
        assert_eq!([at(32), at(33), at(62), at(63)], [-1.5, 1.5, 0.125, 0.0]);
    }
}
