//! Whether stored numbers are numbers, told by their bytes as fast as memory gives them; of very many, by blocks.

use tch::Kind;

/// Bytes of weights that are looked at whole, and about as many as are looked at of more.
const WHOLE: usize = 2 << 30;

/// Bytes that are looked at together.
const BLOCK: usize = 1 << 20;

/// Of weights of so many bytes in all, one of how many blocks is looked at.
pub(super) fn one_of(bytes: usize) -> usize {
    bytes.div_ceil(WHOLE).max(1)
}

/// Whether the numbers of a tensor of this kind are finite, as far as one of so many blocks says: the first, and those evenly behind it.
pub(super) fn are_finite(bytes: &[u8], kind: Kind, one_of: usize) -> bool {
    let [exponent, sign] = match kind {
        Kind::Float => [0x7f80_0000_7f80_0000, 0x8000_0000_8000_0000],
        Kind::BFloat16 => [0x7f80_7f80_7f80_7f80, 0x8000_8000_8000_8000],
        Kind::Half => [0x7c00_7c00_7c00_7c00, 0x8000_8000_8000_8000],
        _ => return true,
    };
    bytes.chunks(BLOCK).step_by(one_of).all(|block| has_exponents_below(block, exponent, sign))
}

/// Whether no number of a block has all bits of its exponent, as infinity and NaN have; the numbers stand side by side in words.
fn has_exponents_below(block: &[u8], exponent: u64, sign: u64) -> bool {
    // What an exponent lacks is at least 1 and less than a sign, so that all bits below a sign and it come to a sign and no more.
    let lacks = |word: u64| (!word & exponent) + !sign;
    let (words, rest) = block.as_chunks::<8>();
    let mut last = [0; 8];
    last[..rest.len()].copy_from_slice(rest);
    let words = words.iter().map(|word| u64::from_le_bytes(*word));
    words.fold(lacks(u64::from_le_bytes(last)), |all, word| all & lacks(word)) & sign == sign
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::Tensor;

    /// The bytes of a tensor of these numbers.
    fn bytes(numbers: &[f32], kind: Kind) -> Vec<u8> {
        let tensor = Tensor::from_slice(numbers).to_kind(kind);
        let mut bytes = vec![0; numbers.len() * kind.elt_size_in_bytes()];
        tensor.copy_data_u8(&mut bytes, numbers.len());
        bytes
    }

    #[test]
    fn what_is_not_finite_is_seen_wherever_it_stands() {
        for kind in [Kind::Float, Kind::BFloat16, Kind::Half] {
            // The largest numbers, the smallest, zeros of both signs.
            let largest = if kind == Kind::Half { 65504.0 } else { 3.38e38 };
            let fine = [largest, -largest, 1e-7, -1e-7, 0.0, -0.0, 1.0, -1.0, 0.1];
            for length in 1..=fine.len() {
                assert!(are_finite(&bytes(&fine[..length], kind), kind, 1), "{kind:?} {length}");
                for at in 0..length {
                    for none in [f32::NAN, -f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                        let mut numbers = fine[..length].to_vec();
                        numbers[at] = none;
                        assert!(
                            !are_finite(&bytes(&numbers, kind), kind, 1),
                            "{kind:?} {length} {at} {none}"
                        );
                    }
                }
            }
        }
        assert!(are_finite(&[0xff; 16], Kind::Uint8, 1), "bytes are no such numbers");
    }

    #[test]
    fn of_very_many_blocks_some_are_looked_at() {
        assert_eq!([0, WHOLE, WHOLE + 1, 10 * WHOLE].map(one_of), [1, 1, 2, 10]);
        let mut numbers = vec![0; 5 * BLOCK];
        let seen = |numbers: &[u8]| !are_finite(numbers, Kind::Float, 2);
        assert!(!seen(&numbers));
        for (block, is_seen) in [(0, true), (1, false), (2, true), (3, false), (4, true)] {
            numbers[block * BLOCK..][..4].copy_from_slice(&f32::NAN.to_le_bytes());
            assert_eq!((seen(&numbers), are_finite(&numbers, Kind::Float, 1)), (is_seen, false), "{block}");
            numbers[block * BLOCK..][..4].fill(0);
        }
    }
}
