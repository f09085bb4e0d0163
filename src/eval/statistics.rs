//! Figures over many samples of many questions, and how sure they are.

use crate::select::vote::vote;
pub use crate::statistics::mean;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;

/// Reads figures by name or number as they were written: JSON has no NaN, the mean of nothing, which stands there as null.
pub fn figures<'de, K, D>(written: D) -> Result<BTreeMap<K, f64>, D::Error>
where
    K: Deserialize<'de> + Ord,
    D: Deserializer<'de>,
{
    let written: BTreeMap<K, Option<f64>> = BTreeMap::deserialize(written)?;
    Ok(written.into_iter().map(|(key, figure)| (key, figure.unwrap_or(f64::NAN))).collect())
}

/// The same of an interval.
pub fn interval<'de, D: Deserializer<'de>>(written: D) -> Result<(f64, f64), D::Error> {
    let (low, high): (Option<f64>, Option<f64>) = Deserialize::deserialize(written)?;
    Ok((low.unwrap_or(f64::NAN), high.unwrap_or(f64::NAN)))
}

/// The same of figures with a count, by name.
pub fn counted<'de, D: Deserializer<'de>>(written: D) -> Result<BTreeMap<String, (f64, usize)>, D::Error> {
    let written: BTreeMap<String, (Option<f64>, usize)> = BTreeMap::deserialize(written)?;
    Ok(written.into_iter().map(|(key, (figure, n))| (key, (figure.unwrap_or(f64::NAN), n))).collect())
}

/// The probability that at least one of `k` samples is correct, estimated without bias from `samples` of which
/// `correct` are: 1 − C(n − c, k) / C(n, k) (Chen et al. 2021, arXiv 2107.03374). The quotient of binomials is
/// computed as the product of 1 − k/i over i = n − c + 1 … n, which neither overflows nor cancels.
/// NaN where `k` is 0 or more than `samples`.
pub fn pass_at_k(samples: usize, correct: usize, k: usize) -> f64 {
    if k == 0 || k > samples || correct > samples {
        return f64::NAN;
    }
    if samples - correct < k {
        return 1.0;
    }
    1.0 - (samples - correct + 1..=samples).map(|i| 1.0 - k as f64 / i as f64).product::<f64>()
}

/// Whether the most frequent answer is correct: maj@k over the first k samples, when given those. Answers come
/// as classes; of equally frequent ones the one seen first wins; samples without an answer do not vote. False where none has one.
pub fn majority_correct<A: PartialEq>(answers: &[Option<A>], correct: &[bool]) -> bool {
    majority(answers).is_some_and(|(first, _)| correct[first])
}

/// The index of the first sample that gives the most frequent answer, and how many give it.
pub fn majority<A: PartialEq>(answers: &[Option<A>]) -> Option<(usize, usize)> {
    vote(answers, &vec![1.0; answers.len()]).map(|(first, votes)| (first, votes as usize))
}

/// The percentile bootstrap interval of the mean of `values` (Efron 1979): `resamples` means of as many values drawn
/// with replacement, and the quantiles that leave (1 − `level`)/2 on either side. `values` are one a question, so that
/// questions are resampled and not single samples, whose errors hang together. NaN without values.
pub fn bootstrap_interval(values: &[f64], level: f64, resamples: usize, seed: u64) -> (f64, f64) {
    central(&resampled(&alike(values), resamples, seed), level)
}

/// The same of a weighted mean, Σ w x / Σ w, whose pairs (x, w) are drawn together.
pub fn weighted_interval(weighted: &[(f64, f64)], level: f64, resamples: usize, seed: u64) -> (f64, f64) {
    central(&resampled(weighted, resamples, seed), level)
}

/// What resampling says of a mean that would be 0 by chance.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Bootstrap {
    /// The interval that holds 95 %.
    pub interval: (f64, f64),
    /// Two-sided: the level of the widest such interval that leaves 0 out, taken from 1. Of R resamples it is never below 2/(R + 1).
    pub p: f64,
}

/// The bootstrap of a mean of differences, one a question: a paired test where both sides answered the same questions.
pub fn bootstrap_of_differences(differences: &[f64], resamples: usize, seed: u64) -> Bootstrap {
    weighted_bootstrap(&alike(differences), resamples, seed)
}

/// The same of a weighted mean of differences, each with its weight. NaN of none: nothing is said of nothing.
pub fn weighted_bootstrap(differences: &[(f64, f64)], resamples: usize, seed: u64) -> Bootstrap {
    let means = resampled(differences, resamples, seed);
    if means.is_empty() {
        return Bootstrap { interval: (f64::NAN, f64::NAN), p: f64::NAN };
    }
    let share = |fits: &dyn Fn(f64) -> bool| {
        (means.iter().filter(|mean| fits(**mean)).count() + 1) as f64 / (means.len() + 1) as f64
    };
    let p = (2.0 * share(&|mean| mean <= 0.0).min(share(&|mean| mean >= 0.0))).min(1.0);
    Bootstrap { interval: central(&means, 0.95), p }
}

/// Σ w x / Σ w; NaN of nothing.
pub fn weighted_mean(weighted: &[(f64, f64)]) -> f64 {
    let (sum, weight) =
        weighted.iter().fold((0.0, 0.0), |(sum, all), (value, weight)| (sum + value * weight, all + weight));
    sum / weight
}

fn alike(values: &[f64]) -> Vec<(f64, f64)> {
    values.iter().map(|value| (*value, 1.0)).collect()
}

/// The weighted means of as many values drawn with replacement, sorted; none without values.
fn resampled(weighted: &[(f64, f64)], resamples: usize, seed: u64) -> Vec<f64> {
    if weighted.is_empty() {
        return Vec::new();
    }
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let mut draw = || {
        let drawn: Vec<(f64, f64)> =
            (0..weighted.len()).map(|_| weighted[random.random_range(0..weighted.len())]).collect();
        weighted_mean(&drawn)
    };
    let mut means: Vec<f64> = (0..resamples).map(|_| draw()).collect();
    means.sort_by(f64::total_cmp);
    means
}

/// The quantiles of sorted values that hold the share `level` between them; NaN without values.
fn central(sorted: &[f64], level: f64) -> (f64, f64) {
    if sorted.is_empty() {
        return (f64::NAN, f64::NAN);
    }
    let tail = (1.0 - level.clamp(0.0, 1.0)) / 2.0;
    (quantile(sorted, tail), quantile(sorted, 1.0 - tail))
}

/// The Wilson score interval of a share of `correct` in `trials` at 95 % (Wilson 1927): never outside 0 … 1, and of
/// some width even where all or none is correct, where the bootstrap's has none. (0, 1) without trials.
pub fn wilson_interval(correct: usize, trials: usize) -> (f64, f64) {
    const Z: f64 = 1.959_963_984_540_054;
    if trials == 0 {
        return (0.0, 1.0);
    }
    let (trials, share) = (trials as f64, correct as f64 / trials as f64);
    let centre = share + Z * Z / (2.0 * trials);
    let half = Z * (share * (1.0 - share) / trials + Z * Z / (4.0 * trials * trials)).sqrt();
    let scale = 1.0 + Z * Z / trials;
    (((centre - half) / scale).max(0.0), ((centre + half) / scale).min(1.0))
}

/// The mean of each class, and how many values it is of.
pub fn by_class<'a>(values: impl IntoIterator<Item = (&'a str, f64)>) -> BTreeMap<String, (f64, usize)> {
    let mut sums: BTreeMap<String, (f64, usize)> = BTreeMap::new();
    for (class, value) in values {
        let entry = sums.entry(class.to_owned()).or_default();
        entry.0 += value;
        entry.1 += 1;
    }
    sums.into_iter().map(|(class, (sum, n))| (class, (sum / n as f64, n))).collect()
}

/// The quantile of sorted values, linear between neighbours (NumPy's default).
fn quantile(sorted: &[f64], share: f64) -> f64 {
    let place = share * (sorted.len() - 1) as f64;
    let (below, above) = (place.floor() as usize, place.ceil() as usize);
    sorted[below] + (sorted[above] - sorted[below]) * (place - place.floor())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::near::near;
    use crate::rationale::equality::Equality;

    #[test]
    fn pass_at_k_is_one_minus_the_quotient_of_binomials() {
        // n = 5, c = 2, k = 2: C(3, 2)/C(5, 2) = 3/10.
        near(pass_at_k(5, 2, 2), 0.7, 1e-9);
        // k = 1 is the share; no sample of three can miss when only two are wrong.
        near(pass_at_k(10, 3, 1), 0.3, 1e-9);
        assert_eq!((pass_at_k(5, 3, 3), pass_at_k(5, 0, 3), pass_at_k(4, 1, 4)), (1.0, 0.0, 1.0));
        // C(1000, 500) overflows a double; with one right of 1000, pass@500 is 1/2.
        near(pass_at_k(1000, 1, 500), 0.5, 1e-9);
        assert!(pass_at_k(3, 1, 4).is_nan() && pass_at_k(3, 1, 0).is_nan());
    }

    #[test]
    fn pass_at_k_is_the_mean_over_all_choices_of_k() {
        // Every subset of 3 of 6 samples of which the first 2 are right, counted.
        let subsets: Vec<u32> = (0_u32..64).filter(|set| set.count_ones() == 3).collect();
        let right = subsets.iter().filter(|set| **set & 0b11 != 0).count();
        near(pass_at_k(6, 2, 3), right as f64 / subsets.len() as f64, 1e-9);
    }

    /// All nⁿ resamples, which NumPy counted, against some thousands drawn.
    #[test]
    fn a_bootstrap_of_differences_is_near_that_over_all_resamples() {
        let fixture = include_str!("../../tests/fixtures/statistics/differences.json");
        let cases: serde_json::Value = serde_json::from_str(fixture).unwrap();
        for case in cases["bootstraps"].as_array().unwrap() {
            let values: Vec<f64> =
                case["values"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap()).collect();
            let found = bootstrap_of_differences(&values, 20_000, 1);
            let of = |key: &str| case[key].as_f64().unwrap();
            // A share of 20 000 has a deviation of 0.0035 at most; a quantile may step to the next mean of seven.
            assert!((found.p - of("p")).abs() < 0.015, "{found:?} {case}");
            let near = |found: f64, expected: f64| (found - expected).abs() < 0.05;
            assert!(near(found.interval.0, of("low")) && near(found.interval.1, of("high")), "{found:?}");
        }
        assert_eq!(bootstrap_of_differences(&[0.0, 0.0], 100, 1).p, 1.0);
        // Nothing but gains: 2/(R + 1).
        assert_eq!(bootstrap_of_differences(&[1.0, 1.0], 99, 1).p, 0.02);
    }

    #[test]
    fn the_majority_is_of_equal_answers() {
        let answers = |texts: &[&str]| {
            let texts: Vec<Option<&str>> =
                texts.iter().map(|text| Some(*text).filter(|text| !text.is_empty())).collect();
            Equality::of(None, &[]).classes(&texts)
        };
        // 7 twice in two spellings against 8 once; empty ones do not vote.
        assert_eq!(majority(&answers(&["8", "", "7", "", "7.0", ""])), Some((2, 2)));
        // A tie goes to the answer seen first.
        assert_eq!(majority(&answers(&["b", "a", "A ", " B"])), Some((0, 2)));
        assert_eq!(majority(&answers(&["", ""])), None);
        assert!(majority_correct(&answers(&["8", "7", "7"]), &[false, true, true]));
        assert!(!majority_correct(&answers(&["8", "8", "7"]), &[false, false, true]));
        assert!(!majority_correct::<usize>(&[], &[]));
    }

    #[test]
    fn the_bootstrap_interval_is_that_of_the_normal_approximation_for_many_values() {
        // 400 values, half of them 1: the mean's standard error is 0.5/√400 = 0.025, so 95 % is 0.5 ± 0.049.
        let values: Vec<f64> = (0..400).map(|i| f64::from(i % 2)).collect();
        let (low, high) = bootstrap_interval(&values, 0.95, 4000, 7);
        assert!((low - 0.451).abs() < 0.006 && (high - 0.549).abs() < 0.006, "{low} {high}");
        assert_eq!(bootstrap_interval(&values, 0.95, 4000, 7), (low, high));
        assert_ne!(bootstrap_interval(&values, 0.95, 4000, 8), (low, high));
        // Values that are all equal have no spread.
        assert_eq!(bootstrap_interval(&[1.0; 9], 0.95, 100, 0), (1.0, 1.0));
        assert!(bootstrap_interval(&[], 0.95, 100, 0).0.is_nan());
    }

    /// Weights are multiplicities: (1, 2) counts as 1 twice. Of equal weights it is the plain bootstrap.
    #[test]
    fn a_weighted_mean_is_that_of_what_it_weighs() {
        near(weighted_mean(&[(1.0, 2.0), (4.0, 1.0)]), 2.0, 1e-9);
        assert!(weighted_mean(&[]).is_nan());
        let values = [0.5, -1.0, 2.0, 0.25];
        let plain = bootstrap_of_differences(&values, 500, 3);
        assert_eq!(weighted_bootstrap(&values.map(|value| (value, 7.0)), 500, 3), plain);
        // All the weight on one value, but for where it is not drawn at all.
        let (low, high) = weighted_interval(&[(3.0, 1e12), (9.0, 1e-12)], 0.4, 2000, 1);
        assert!((low - 3.0).abs() < 1e-9 && (high - 3.0).abs() < 1e-9, "{low} {high}");
    }

    #[test]
    fn wilson_is_the_textbook_interval() {
        // 8 of 10: (0.8 + z²/20 ± z·√(0.016 + z²/400)) / (1 + z²/10), z = 1.959964: 0.490162 and 0.943318.
        let (low, high) = wilson_interval(8, 10);
        assert!((low - 0.490162).abs() < 1e-5 && (high - 0.943318).abs() < 1e-5, "{low} {high}");
        let (low, high) = wilson_interval(10, 10);
        assert!(low < 0.75 && (1.0 - high).abs() < 1e-12, "{low} {high}");
        assert_eq!(wilson_interval(0, 0), (0.0, 1.0));
    }

    #[test]
    fn a_quantile_lies_between_its_neighbours() {
        near(quantile(&[1.0, 2.0, 4.0], 0.75), 3.0, 1e-9);
    }
}
