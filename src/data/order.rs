//! Which examples a step uses: a pure function of the seed, so that resuming needs no state.

use crate::seed;
use rand::RngCore;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// The examples' indices of one step, counted from 0, out of `len` examples. An epoch takes each example exactly once, its last step
/// those that are left, as data loaders do that drop none. `seed` shuffles each epoch anew; without one they come in order.
///
/// ```
/// use rationale::data::order::of_step;
/// let steps: Vec<_> = (0..4).map(|step| of_step(5, 2, step, None)).collect();
/// assert_eq!(steps, [vec![0, 1], vec![2, 3], vec![4], vec![0, 1]]);
/// ```
pub fn of_step(len: usize, per_step: usize, step: usize, seed: Option<u64>) -> Vec<usize> {
    assert!(len > 0, "a dataset has at least one example");
    let steps = steps_per_epoch(len, per_step);
    let from = step % steps * per_step;
    of_epoch(len, step / steps, seed)[from..len.min(from + per_step)].to_vec()
}

/// Steps in one pass over `len` examples.
pub fn steps_per_epoch(len: usize, per_step: usize) -> usize {
    len.div_ceil(per_step.max(1)).max(1)
}

/// The indices of the `step`-th `per_step` of an endless row of epochs: as many each time, where the rest of an epoch that does not fill
/// a step is filled up from the next.
///
/// ```
/// use rationale::data::order::endless;
/// assert_eq!(endless(5, 2, 2, None), [4, 0]);
/// ```
pub fn endless(len: usize, per_step: usize, step: usize, seed: Option<u64>) -> Vec<usize> {
    assert!(len > 0, "a dataset has at least one example");
    let (mut at, end) = (step * per_step, (step + 1) * per_step);
    let mut indices = Vec::with_capacity(per_step);
    while at < end {
        let epoch = at / len;
        let stop = end.min((epoch + 1) * len);
        let order = of_epoch(len, epoch, seed);
        indices.extend_from_slice(&order[at - epoch * len..stop - epoch * len]);
        at = stop;
    }
    indices
}

/// All indices below `len`, in the order of one epoch.
pub fn of_epoch(len: usize, epoch: usize, seed: Option<u64>) -> Vec<usize> {
    let mut order: Vec<usize> = (0..len).collect();
    if let Some(seed) = seed {
        shuffle(&mut order, seed::derive(&[seed, epoch as u64]));
    }
    order
}

/// Fisher–Yates with ChaCha8.
pub fn shuffle<T>(items: &mut [T], seed: u64) {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    for last in (1..items.len()).rev() {
        items.swap(last, below(&mut rng, last as u64 + 1) as usize);
    }
}

/// A number below `bound`. Multiply and shift, not `rand`'s own range sampling, which may change with its version.
pub fn below(rng: &mut ChaCha8Rng, bound: u64) -> u64 {
    ((u128::from(rng.next_u64()) * u128::from(bound)) >> 64) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_epoch_has_every_example_once() {
        // 10 examples in steps of 4: an epoch is steps of 4, 4 and 2; endless, half of step 2 opens epoch 1.
        let steps: Vec<usize> = (0..6).flat_map(|step| of_step(10, 4, step, Some(7))).collect();
        assert_eq!(steps, (0..5).flat_map(|step| endless(10, 4, step, Some(7))).collect::<Vec<_>>());
        assert_eq!([0, 1, 2, 3, 4, 5].map(|step| of_step(10, 4, step, Some(7)).len()), [4, 4, 2, 4, 4, 2]);
        for epoch in steps.chunks(10) {
            let mut sorted = epoch.to_vec();
            sorted.sort_unstable();
            assert_eq!(sorted, (0..10).collect::<Vec<_>>());
        }
        assert_ne!(steps[..10], steps[10..], "each epoch has its own order");
        assert_ne!(of_epoch(10, 0, Some(7)), of_epoch(10, 0, Some(8)));
    }

    #[test]
    fn a_step_may_be_larger_than_the_dataset() {
        assert_eq!(of_step(2, 5, 1, None), [0, 1]);
        assert_eq!(endless(2, 5, 1, None), [1, 0, 1, 0, 1]);
    }

    #[test]
    fn every_permutation_is_about_equally_likely() {
        // 6 permutations of 3 items in 6000 epochs: 1000 each, standard deviation √(6000 · 1/6 · 5/6) ≈ 29.
        let mut counts = std::collections::BTreeMap::new();
        for epoch in 0..6000 {
            *counts.entry(of_epoch(3, epoch, Some(1))).or_insert(0) += 1;
        }
        assert_eq!(counts.len(), 6);
        assert!(counts.values().all(|n| (850..1150).contains(n)), "{counts:?}");
    }
}
