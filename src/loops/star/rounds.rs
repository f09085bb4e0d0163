//! How long a round of STaR trains, and when there are enough rounds.

use crate::data::order;
use crate::section::{Misfit, broken};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The steps of `round` (counted from 1): `first` · `growth`^(round − 1), rounded down, at most `most`.
///
/// ```
/// use rationale::loops::star::rounds::steps;
/// // 40, 40 · 1.2 = 48, 40 · 1.44 = 57.6, 40 · 1.728 = 69.12.
/// assert_eq!([1, 2, 3, 4].map(|round| steps(40, 1.2, None, round)), [40, 48, 57, 69]);
/// assert_eq!(steps(40, 1.2, Some(50), 3), 50);
/// ```
pub fn steps(first: usize, growth: f64, most: Option<usize>, round: usize) -> usize {
    // 1e-9: 50 · 1.2 · 1.2 is 72, whatever the powers of 1.2 round to.
    let grown = (first as f64 * growth.powi(round as i32 - 1) + 1e-9).floor() as usize;
    grown.min(most.unwrap_or(usize::MAX)).max(1)
}

/// The steps of a round that goes over `rationales` `epochs` times, `per_step` at a time.
///
/// ```
/// use rationale::loops::star::rounds::passes;
/// // A pass over 100 has 3 steps of 32 and one of 4.
/// assert_eq!(passes(100, 32, 2.0), 8);
/// ```
pub fn passes(rationales: usize, per_step: usize, epochs: f64) -> usize {
    ((order::steps_per_epoch(rationales, per_step) as f64 * epochs).ceil() as usize).max(1)
}

/// When rounds no longer help.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Plateau {
    /// What has to rise.
    pub measure: Measure,
    /// Stop once so many rounds in a row have not raised its best value by `min_gain`; 0 never stops early.
    pub patience: usize,
    /// The least rise of the measure that counts, as a share.
    pub min_gain: f64,
}

/// What tells whether rounds help.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// The share of the training questions that are solved without a hint.
    Coverage,
    /// Held-out accuracy after the round, which needs `[eval]`.
    Accuracy,
}

impl Default for Plateau {
    fn default() -> Self {
        Self { measure: Measure::Coverage, patience: 0, min_gain: 0.0 }
    }
}

impl Plateau {
    /// Whether the measures of the rounds so far, in order, have stopped rising.
    ///
    /// ```
    /// use rationale::loops::star::rounds::Plateau;
    /// let plateau = Plateau { patience: 2, min_gain: 0.01, ..Plateau::default() };
    /// assert!(!plateau.reached(&[0.20, 0.30, 0.305])); // one round without a gain of 0.01
    /// assert!(plateau.reached(&[0.20, 0.30, 0.305, 0.309])); // two
    /// ```
    pub fn reached(&self, measures: &[f64]) -> bool {
        let (mut best, mut waited) = (f64::NEG_INFINITY, 0);
        for &measure in measures {
            if best == f64::NEG_INFINITY || measure > best && measure - best >= self.min_gain - 1e-12 {
                (best, waited) = (measure, 0);
            } else {
                waited += 1;
            }
        }
        self.patience > 0 && waited >= self.patience
    }

    /// What cannot be used as it is.
    pub fn check(&self) -> Vec<Misfit> {
        broken(&[((0.0..1.0).contains(&self.min_gain), "min_gain", "it must be a share, such as 0.01")])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_grow_as_in_the_paper_and_are_at_least_one() {
        // 40 · 1.2^15 = 40 · 15.407 = 616.28.
        assert_eq!(steps(40, 1.2, None, 16), 616);
        assert_eq!(steps(50, 1.2, None, 3), 72);
        assert_eq!([1, 2, 9].map(|round| steps(7, 1.0, None, round)), [7, 7, 7]);
        assert_eq!(steps(1, 0.5, None, 4), 1);
        assert_eq!(passes(0, 32, 1.0), 1);
    }

    #[test]
    fn a_plateau_is_patience_rounds_without_a_gain() {
        let plateau = |patience, min_gain| Plateau { patience, min_gain, ..Plateau::default() };
        assert!(!plateau(0, 0.0).reached(&[0.5, 0.5, 0.5]), "0 never stops");
        assert!(plateau(1, 0.0).reached(&[0.5, 0.5]), "an equal value is no gain");
        assert!(!plateau(1, 0.0).reached(&[0.5]));
        assert!(!plateau(1, 0.05).reached(&[0.5, 0.55]), "exactly min_gain is one");
        // 0.52 and 0.54 do not count; 0.56 is 0.06 above the best that counted.
        assert!(!plateau(3, 0.05).reached(&[0.5, 0.52, 0.54, 0.56]));
        assert!(plateau(2, 0.05).reached(&[0.5, 0.4, 0.3]));
        assert_eq!((plateau(1, 0.0).check().len(), plateau(1, f64::NAN).check().len()), (0, 1));
    }
}
