//! Whether a policy that is sure is right: the expected calibration error (Guo et al. 2017, arXiv 1706.04599).

use super::statistics::mean;
use crate::section::Misfit;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How calibration is measured: `[eval.calibration]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Calibration {
    /// Bins of equal width between 0 and 1.
    pub bins: usize,
    /// What the policy's confidence in an answer is.
    pub confidence: Confidence,
}

/// The policy's confidence in an answer that it gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Confidence {
    /// The probability of the answer's tokens after what it wrote before them: exp Σ log p, at the evaluation's
    /// temperature (1 for greedy decoding). One point a completion.
    Answer,
    /// The share of the chosen option among all options of the question, in the answer's place: the softmax over the
    /// options of their mean log p a token, at temperature 1. One point a completion.
    Choice,
    /// The share of a question's completions that give its most frequent answer, which is the answer that counts, as
    /// "Rationales Are Not Silver Bullets" has it (arXiv 2505.24147). One point a question and seed.
    Vote,
}

impl Default for Calibration {
    fn default() -> Self {
        Self { bins: 10, confidence: Confidence::Answer }
    }
}

impl Calibration {
    /// What cannot be used as it is; `samples` is the number of completions of each question.
    pub fn check(&self, samples: usize) -> Vec<Misfit> {
        let mut found = Vec::new();
        if self.bins == 0 {
            found.push(Misfit::new("bins", "at least one is needed", "10 is usual"));
        }
        if self.confidence == Confidence::Vote && samples < 2 {
            found.push(Misfit::new(
                "confidence",
                "it needs several completions of a question",
                "set eval.samples (and eval.temperature), or confidence = \"answer\"",
            ));
        }
        found
    }
}

/// Confidence against accuracy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reliability {
    /// Σ over bins of (points in it / all points) · |accuracy − mean confidence|.
    pub error: f64,
    /// Mean confidence of all points.
    pub confidence: f64,
    /// Share of right points.
    pub accuracy: f64,
    /// Points: answers with a confidence. Completions without an answer have none and are left out.
    pub points: usize,
    /// The bins in order.
    pub bins: Vec<Bin>,
}

/// One bin of a reliability diagram; both means are 0 where it is empty.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Bin {
    /// Points in it.
    pub points: usize,
    /// Their mean confidence.
    pub confidence: f64,
    /// The share of them that is right.
    pub accuracy: f64,
}

/// Sorts `(confidence, right)` into `bins` of equal width. Bin m of M holds the confidences in ((m − 1)/M, m/M], the
/// first one also 0. `None` without points.
///
/// ```
/// use rationale::eval::calibration::reliability;
/// // Two bins: sure and half of the time right, unsure and never: |0.5 − 0.9|·2/3 + |0 − 0.2|·1/3 = 1/3.
/// let found = reliability(&[(0.9, true), (0.9, false), (0.2, false)], 2).unwrap();
/// assert!((found.error - 1.0 / 3.0).abs() < 1e-12);
/// ```
pub fn reliability(points: &[(f64, bool)], bins: usize) -> Option<Reliability> {
    if points.is_empty() || bins == 0 {
        return None;
    }
    let right = |right: bool| f64::from(u8::from(right));
    let place = |confidence: f64| ((confidence * bins as f64).ceil() as usize).clamp(1, bins) - 1;
    let of_bin = |bin: usize| {
        let inside: Vec<_> = points.iter().filter(|(confidence, _)| place(*confidence) == bin).collect();
        match inside.len() {
            0 => Bin::default(),
            points => Bin {
                points,
                confidence: mean(inside.iter().map(|(confidence, _)| *confidence)),
                accuracy: mean(inside.iter().map(|(_, is)| right(*is))),
            },
        }
    };
    let found: Vec<Bin> = (0..bins).map(of_bin).collect();
    let gap = |bin: &Bin| bin.points as f64 * (bin.accuracy - bin.confidence).abs();
    Some(Reliability {
        error: found.iter().map(gap).sum::<f64>() / points.len() as f64,
        confidence: mean(points.iter().map(|(confidence, _)| *confidence)),
        accuracy: mean(points.iter().map(|(_, is)| right(*is))),
        points: points.len(),
        bins: found,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::near::near;

    #[test]
    fn the_error_is_the_weighted_gap_of_each_bin() {
        // Five bins of width 0.2. (0, 0.2]: 0.1 wrong, gap 0.1. (0.4, 0.6]: 0.5 right and 0.6 wrong, means 0.55 and 0.5,
        // gap 0.05. (0.8, 1]: 0.9, 1.0 right and 0.95 wrong, means 0.95 and 2/3, gap 17/60.
        // ECE = (1·0.1 + 2·0.05 + 3·17/60)/6 = 1.05/6 = 0.175.
        let points = [(0.1, false), (0.5, true), (0.6, false), (0.9, true), (1.0, true), (0.95, false)];
        let found = reliability(&points, 5).unwrap();
        near(found.error, 0.175, 1e-12);
        near(found.confidence, 4.05 / 6.0, 1e-12);
        near(found.accuracy, 0.5, 1e-12);
        assert_eq!(found.bins.iter().map(|bin| bin.points).collect::<Vec<_>>(), [1, 0, 2, 0, 3]);
        assert_eq!(found.bins[1], Bin::default());
    }

    /// An independent computation: the three means of ten bins, by the definition with explicit borders, on points from
    /// a small linear congruential generator.
    #[test]
    fn it_agrees_with_the_definition_summed_border_by_border() {
        let mut state = 12_345_u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as f64 / (1_u64 << 24) as f64
        };
        let points: Vec<(f64, bool)> = (0..500).map(|_| (next(), next() < 0.6)).collect();
        let mut expected = 0.0;
        for m in 0..10 {
            let (low, high) = (f64::from(m) / 10.0, f64::from(m + 1) / 10.0);
            let (mut signed, mut count) = (0.0, 0);
            for (confidence, right) in &points {
                if *confidence > low && *confidence <= high {
                    signed += f64::from(u8::from(*right)) - confidence;
                    count += 1;
                }
            }
            assert!(count > 20);
            // n/N · |mean difference| is |sum of differences| / N.
            expected += f64::abs(signed) / 500.0;
        }
        near(reliability(&points, 10).unwrap().error, expected, 1e-12);
    }

    #[test]
    fn borders_belong_below_and_zero_to_the_first() {
        let places = |points: &[f64]| {
            let points: Vec<_> = points.iter().map(|p| (*p, true)).collect();
            reliability(&points, 4).unwrap().bins.iter().map(|bin| bin.points).collect::<Vec<_>>()
        };
        assert_eq!(places(&[0.0, 0.25, 0.26, 0.5, 1.0]), [2, 2, 0, 1]);
        assert_eq!(reliability(&[], 4), None);
    }

    #[test]
    fn the_perfectly_calibrated_have_no_error() {
        // Three of four right at 0.75, all right at 1.
        let points = [(0.75, true), (0.75, true), (0.75, true), (0.75, false), (1.0, true)];
        near(reliability(&points, 10).unwrap().error, 0.0, 1e-12);
        // One bin: |accuracy − mean confidence| whatever the points.
        near(reliability(&[(0.2, true), (0.4, false)], 1).unwrap().error, 0.2, 1e-12);
    }

    #[test]
    fn the_section_is_checked() {
        let vote = Calibration { confidence: Confidence::Vote, ..Calibration::default() };
        assert!(
            matches!(&vote.check(1)[..], [one] if one.key == "confidence" && one.remedy.contains("eval.samples"))
        );
        assert_eq!(vote.check(2), []);
        let none = Calibration { bins: 0, ..Calibration::default() };
        assert_eq!(none.check(1), [Misfit::new("bins", "at least one is needed", "10 is usual")]);
    }
}
