//! Means and deviations of numbers that may lie on several ranks.
//!
//! What spans the ranks is computed from sums: each rank puts its own sums into a slice, `sum` replaces them by those of all
//! ranks, and every rank goes on from the same numbers. All ranks call `sum` equally often, those without values too.

pub mod alignment;
pub mod difference;
pub mod distribution;
pub mod efficiency;
pub mod linear;
pub mod matching;
pub mod spans;
pub mod trajectory;

/// Replaces each number by its sum over the ranks; [`alone`] where there is one.
pub type Sum<'a> = dyn FnMut(&mut [f64]) + 'a;

/// The sum over the ranks where there is one: what is there already.
pub fn alone(_: &mut [f64]) {}

/// The mean; NaN of nothing.
pub fn mean(values: impl IntoIterator<Item = f64>) -> f64 {
    mean_of_all(values, &mut alone)
}

/// The sample standard deviation (n − 1); 0 of fewer than two values.
pub fn deviation(values: &[f64]) -> f64 {
    let weighted: Vec<(f64, f64)> = values.iter().map(|&value| (value, 1.0)).collect();
    Moments::of(&weighted, &mut alone).variance.sqrt()
}

/// The mean of the values of all ranks; NaN where none has any.
pub fn mean_of_all(values: impl IntoIterator<Item = f64>, sum: &mut Sum) -> f64 {
    let (total, count) =
        values.into_iter().fold((0.0, 0_usize), |(total, count), value| (total + value, count + 1));
    let mut sums = [total, count as f64];
    sum(&mut sums);
    sums[0] / sums[1]
}

/// What the values of all ranks are like, each counting as often as its weight says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Moments {
    /// Σ w.
    pub count: f64,
    /// Σ w x / Σ w; NaN of nothing.
    pub mean: f64,
    /// Σ w (x − mean)² / (Σ w − 1); 0 where Σ w is below 2.
    pub variance: f64,
}

impl Moments {
    /// Of (value, weight) pairs. The squares are summed about the mean of all ranks, in a second call of `sum`: one pass of
    /// Σ x² − n · mean² would lose the digits of values that lie close together.
    pub fn of(weighted: &[(f64, f64)], sum: &mut Sum) -> Self {
        let mut sums = [0.0; 2];
        for (value, weight) in weighted {
            sums[0] += weight;
            sums[1] += value * weight;
        }
        sum(&mut sums);
        let [count, mean] = [sums[0], sums[1] / sums[0]];
        let mut squares = [weighted.iter().map(|(value, weight)| weight * (value - mean).powi(2)).sum()];
        sum(&mut squares);
        Self { count, mean, variance: if count < 2.0 { 0.0 } else { squares[0] / (count - 1.0) } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::near::near;

    #[test]
    fn mean_and_deviation() {
        // 2, 4, 9: mean 5, squares 9 + 1 + 16 = 26 over 2.
        near(mean([2.0, 4.0, 9.0]), 5.0, 1e-9);
        near(deviation(&[2.0, 4.0, 9.0]), 13.0_f64.sqrt(), 1e-9);
        assert_eq!((deviation(&[3.0]), deviation(&[])), (0.0, 0.0));
        assert!(mean([]).is_nan());
        // Weights are multiplicities: 2 and 5 twice are 2, 5, 5; mean 4, squares 4 + 1 + 1 over 2.
        let moments = Moments::of(&[(2.0, 1.0), (5.0, 2.0)], &mut alone);
        assert_eq!(moments, Moments { count: 3.0, mean: 4.0, variance: 3.0 });
    }

    #[test]
    fn values_that_lie_close_together_keep_their_digits() {
        // 10⁹ + {0, 1, 2}: variance 1, which Σ x² − n · mean² in doubles, about 10¹⁸, cannot hold.
        assert_eq!(deviation(&[1e9, 1e9 + 1.0, 1e9 + 2.0]), 1.0);
    }

    #[test]
    fn a_rank_goes_on_from_the_sums_of_all() {
        // This rank has 1 and 2, the other 6: count 3, mean 3, squares 4 + 1 here and 9 there, over 2.
        let others = [vec![1.0, 6.0], vec![9.0]];
        let mut calls = others.iter();
        let mut sum = |own: &mut [f64]| {
            let theirs = calls.next().unwrap();
            assert_eq!(own.len(), theirs.len());
            own.iter_mut().zip(theirs).for_each(|(own, theirs)| *own += theirs);
        };
        let moments = Moments::of(&[(1.0, 1.0), (2.0, 1.0)], &mut sum);
        assert_eq!(moments, Moments { count: 3.0, mean: 3.0, variance: 7.0 });
        assert!(calls.next().is_none());
    }
}
