//! Whether a difference is more than noise: tests of paired and of independent values.
//!
//! Checked against SciPy (`tests/fixtures/statistics`).

use super::{deviation, mean};
use statrs::distribution::{ContinuousCDF, StudentsT};
use statrs::function::beta::beta_reg;

/// A difference of means with what Student's distribution says of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Difference {
    /// The second mean less the first.
    pub mean: f64,
    /// Its standard error.
    pub error: f64,
    /// Degrees of freedom.
    pub freedom: f64,
    /// The interval that holds 95 %.
    pub interval: (f64, f64),
    /// Two-sided probability of so large a difference, or a larger one, where there is none.
    pub p: f64,
}

/// Of independent values, whose deviations may differ (Welch 1947); `None` with fewer than two on a side.
///
/// e² = s₁²/n₁ + s₂²/n₂, degrees of freedom e⁴ / Σ (sᵢ²/nᵢ)²/(nᵢ − 1).
pub fn welch(first: &[f64], second: &[f64]) -> Option<Difference> {
    if first.len() < 2 || second.len() < 2 {
        return None;
    }
    let of = |values: &[f64]| deviation(values).powi(2) / values.len() as f64;
    let [a, b] = [first, second].map(of);
    let squared = a + b;
    let below = |part: f64, values: &[f64]| part * part / (values.len() - 1) as f64;
    let freedom = squared * squared / (below(a, first) + below(b, second));
    Some(difference(mean(second.iter().copied()) - mean(first.iter().copied()), squared.sqrt(), freedom))
}

/// Of values that belong together, from their differences (second less first): Student's test; `None` of fewer than two.
pub fn paired(differences: &[f64]) -> Option<Difference> {
    if differences.len() < 2 {
        return None;
    }
    let count = differences.len() as f64;
    Some(difference(mean(differences.iter().copied()), deviation(differences) / count.sqrt(), count - 1.0))
}

/// Where nothing varies, any difference is beyond noise and none is not.
fn difference(mean: f64, error: f64, freedom: f64) -> Difference {
    let known = StudentsT::new(0.0, 1.0, freedom).ok().filter(|_| error > 0.0);
    let Some(student) = known else {
        let p = if mean == 0.0 { 1.0 } else { 0.0 };
        return Difference { mean, error, freedom, interval: (mean, mean), p };
    };
    let half = student.inverse_cdf(0.975) * error;
    let t = mean / error;
    // P(|T| > t) = I(ν/(ν + t²); ν/2, 1/2), which keeps its digits where the distribution's function is near 1.
    let p = beta_reg(freedom / 2.0, 0.5, freedom / (freedom + t * t));
    Difference { mean, error, freedom, interval: (mean - half, mean + half), p }
}

/// The exact two-sided sign test: of so many that differ, how likely a split as uneven as this, or more so, is where both ways are
/// alike. Over questions that two models answered once it is McNemar's exact test.
///
/// ```
/// use rationale::statistics::difference::sign_test;
/// // 1 against 5 of 6: 2 · (C(6, 0) + C(6, 1)) / 2⁶ = 14/64.
/// assert!((sign_test(5, 1) - 14.0 / 64.0).abs() < 1e-12);
/// assert_eq!(sign_test(0, 0), 1.0);
/// ```
pub fn sign_test(better: usize, worse: usize) -> f64 {
    let (few, many) = (better.min(worse), better.max(worse));
    if few == many {
        return 1.0;
    }
    // P(X ≤ k) of n fair coins is I(1/2; n − k, k + 1).
    (2.0 * beta_reg(many as f64, few as f64 + 1.0, 0.5)).min(1.0)
}

/// Probabilities of several tests that are looked at together, each as it counts then (Holm 1979): the k-th smallest of n times
/// n − k + 1, none below one before it, and at most 1. In the order given. NaN, a test of nothing, is none of the n and stays so.
///
/// ```
/// use rationale::statistics::difference::holm;
/// // 3 · 0.01, 2 · 0.02, and 1 · 0.03 that is not less than 0.04.
/// assert_eq!(holm(&[0.02, 0.01, 0.03]), [0.04, 0.03, 0.04]);
/// assert!(holm(&[f64::NAN])[0].is_nan() && holm(&[0.02, f64::NAN])[0] == 0.02);
/// ```
pub fn holm(probabilities: &[f64]) -> Vec<f64> {
    let known = |at: &usize| !probabilities[*at].is_nan();
    let mut order: Vec<usize> = (0..probabilities.len()).filter(known).collect();
    order.sort_by(|&a, &b| probabilities[a].total_cmp(&probabilities[b]));
    let (mut adjusted, mut least) = (vec![f64::NAN; probabilities.len()], 0.0_f64);
    let count = order.len();
    for (rank, at) in order.into_iter().enumerate() {
        least = least.max((count - rank) as f64 * probabilities[at]).min(1.0);
        adjusted[at] = least;
    }
    adjusted
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    const FIXTURE: &str = include_str!("../../tests/fixtures/statistics/differences.json");

    fn values(of: &Value) -> Vec<f64> {
        of.as_array().unwrap().iter().map(|value| value.as_f64().unwrap()).collect()
    }

    fn assert_is(found: Difference, expected: &Value) {
        let of = |key: &str| expected[key].as_f64().unwrap();
        let pairs = [
            (found.mean, of("mean")),
            (found.error, of("error")),
            (found.freedom, of("freedom")),
            (found.interval.0, of("low")),
            (found.interval.1, of("high")),
            (found.p, of("p")),
        ];
        for (found, expected) in pairs {
            // Both sides iterate to about 1e-10.
            assert!((found - expected).abs() < 1e-8 * expected.abs().max(1.0), "{found} {expected}");
        }
    }

    #[test]
    fn differences_are_scipys() {
        let cases: Value = serde_json::from_str(FIXTURE).unwrap();
        let cases = cases["differences"].as_array().unwrap();
        assert!(cases.len() >= 4);
        for case in cases {
            let (first, second) = (values(&case["first"]), values(&case["second"]));
            assert_is(welch(&first, &second).unwrap(), &case["welch"]);
            if case["paired"].is_object() {
                let pairs: Vec<f64> = first.iter().zip(&second).map(|(a, b)| b - a).collect();
                assert_is(paired(&pairs).unwrap(), &case["paired"]);
            }
        }
    }

    #[test]
    fn signs_are_scipys_binomial_test() {
        let cases: Value = serde_json::from_str(FIXTURE).unwrap();
        for case in cases["signs"].as_array().unwrap() {
            let of = |key: &str| case[key].as_u64().unwrap() as usize;
            let (found, expected) = (sign_test(of("better"), of("worse")), case["p"].as_f64().unwrap());
            assert!((found - expected).abs() < 1e-9 * expected.max(1e-3), "{case}: {found}");
        }
    }

    #[test]
    fn what_does_not_vary_is_beyond_noise_or_no_difference() {
        let same = welch(&[0.5, 0.5], &[0.5, 0.5]).unwrap();
        assert_eq!((same.mean, same.p, same.interval), (0.0, 1.0, (0.0, 0.0)));
        assert_eq!(paired(&[0.25, 0.25]).unwrap().p, 0.0);
        assert_eq!((welch(&[0.5], &[0.5, 0.6]), paired(&[0.5])), (None, None));
    }
}
