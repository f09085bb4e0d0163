//! Dropout on the residual branches (Srivastava et al. 2014): x + m ⊙ f(x) / (1 − p), where each number of m is 0 with probability p, else 1.
//!
//! A number is dropped by a hash of its pass's seed, its token's position, the layer, the branch and its column. So masks are the same in whatever
//! batch a sequence stands, on every device, and when a layer is computed again for its backward pass.

use super::sequence::Key;
use crate::seed;
use tch::{Device, Kind, Tensor};

/// What is dropped of packed tokens.
#[derive(Debug)]
pub struct Dropout {
    share: f64,
    /// A number a token, `[tokens, 1]` in i64.
    tokens: Tensor,
    /// Which tokens something is dropped of, `[tokens, 1]`; none where it is all.
    drops: Option<Tensor>,
}

impl Dropout {
    /// Of tokens with these keys; none where nothing is dropped.
    pub(super) fn of(share: f64, keys: &[Key], device: Device) -> Option<Self> {
        if share <= 0.0 || keys.iter().all(|(seed, ..)| seed.is_none()) {
            return None;
        }
        let number = |&(seed, position, _): &Key| {
            seed.map_or(0, |seed| seed::derive(&[seed, u64::from(position)]) as i64)
        };
        let column = |values: &[i64]| Tensor::from_slice(values).to_device(device).unsqueeze(1);
        let drops: Vec<i64> = keys.iter().map(|(seed, ..)| i64::from(seed.is_some())).collect();
        Some(Self {
            share,
            tokens: column(&keys.iter().map(number).collect::<Vec<_>>()),
            drops: drops.contains(&0).then(|| column(&drops).to_kind(Kind::Bool)),
        })
    }

    /// m ⊙ y / (1 − p) for a layer's branch `y [tokens, width]`.
    pub(super) fn apply(&self, layer: usize, branch: usize, y: &Tensor) -> Tensor {
        y * tch::no_grad(|| self.mask(layer, branch, y.size()[1], y.kind()))
    }

    /// m / (1 − p), `[tokens, width]`.
    fn mask(&self, layer: usize, branch: usize, width: i64, kind: Kind) -> Tensor {
        let columns: Vec<i64> =
            (0..width as u64).map(|at| seed::derive(&[layer as u64, branch as u64, at]) as i64).collect();
        let columns = Tensor::from_slice(&columns).to_device(self.tokens.device()).unsqueeze(0);
        // SplitMix64's finaliser, up to what its last shift adds to low bits.
        let mut hash = self.tokens.bitwise_xor_tensor(&columns);
        for factor in [0xBF58_476D_1CE4_E5B9_u64, 0x94D0_49BB_1331_11EB] {
            let shifted = hash.bitwise_right_shift_tensor_scalar(30);
            hash = hash.bitwise_xor_tensor(&shifted);
            let _ = hash.g_mul_scalar_(factor as i64);
        }
        let least = (self.share * 2f64.powi(64) - 2f64.powi(63)) as i64;
        let mut kept = hash.ge(least);
        if let Some(drops) = &self.drops {
            kept = kept.logical_or(&drops.logical_not());
        }
        let scaled = kept.to_kind(kind) * (1.0 / (1.0 - self.share));
        match &self.drops {
            None => scaled,
            Some(drops) => scaled.where_self(drops, &Tensor::ones([1], (kind, self.tokens.device()))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dropped(keys: &[Key], layer: usize, branch: usize, width: i64) -> Tensor {
        let dropout = Dropout::of(0.25, keys, Device::Cpu).unwrap();
        dropout.apply(layer, branch, &Tensor::ones([keys.len() as i64, width], (Kind::Float, Device::Cpu)))
    }

    /// 64 000 numbers of which a quarter is dropped: the share is within five of its standard deviations, √(p (1 − p) / n) = 0.0017, of p.
    #[test]
    fn a_share_is_dropped_and_the_rest_is_scaled() {
        let keys: Vec<Key> = (0..1000).map(|at| (Some(9), at, 1)).collect();
        let mask = dropped(&keys, 0, 0, 64);
        let zeros = mask.eq(0.0).to_kind(Kind::Double).mean(Kind::Double).double_value(&[]);
        assert!((zeros - 0.25).abs() < 5.0 * 0.0017, "{zeros}");
        let others = mask.masked_select(&mask.ne(0.0));
        assert!((others.max().double_value(&[]) - 4.0 / 3.0).abs() < 1e-6);
        assert!((others.min().double_value(&[]) - 4.0 / 3.0).abs() < 1e-6);
        // Rows, columns, layers and branches are drawn each for itself: of two a quarter of a quarter is dropped in both.
        let both = |a: &Tensor, b: &Tensor| {
            a.eq(0.0).logical_and(&b.eq(0.0)).to_kind(Kind::Double).mean(Kind::Double).double_value(&[])
        };
        let other_seed: Vec<Key> = (0..1000).map(|at| (Some(10), at, 1)).collect();
        for (a, b) in [
            (mask.narrow(0, 0, 999), mask.narrow(0, 1, 999)),
            (mask.narrow(1, 0, 63), mask.narrow(1, 1, 63)),
            (mask.copy(), dropped(&keys, 1, 0, 64)),
            (mask.copy(), dropped(&keys, 0, 1, 64)),
            (mask.copy(), dropped(&other_seed, 0, 0, 64)),
        ] {
            assert!((both(&a, &b) - 0.0625).abs() < 0.006, "{}", both(&a, &b));
        }
    }

    #[test]
    fn what_is_dropped_is_the_tokens_own_wherever_it_stands() {
        let keys: [Key; 3] = [(Some(3), 0, 7), (None, 1, 8), (Some(3), 5, 9)];
        let all = dropped(&keys, 2, 1, 32);
        assert!(all.get(2).equal(&dropped(&keys[2..], 2, 1, 32).get(0)));
        assert!(all.get(1).equal(&Tensor::ones([32], (Kind::Float, Device::Cpu))), "not under dropout");
        assert!(Dropout::of(0.0, &keys, Device::Cpu).is_none());
        assert!(Dropout::of(0.5, &keys[1..2], Device::Cpu).is_none());
    }
}
