//! E3: accuracy and brevity against a base as one figure (arXiv 2511.10201, section 3.5).

/// The weighted power mean of two ratios to the base, (w a^ρ + (1 − w) t^ρ)^(1/ρ) with weight w on accuracy, at ρ = −1: the
/// harmonic one.
///
/// a is the ratio of odds (A / (1 − A)) / (A₀ / (1 − A₀)), t = T₀ / T the ratio of tokens, w = A₀. Above 1 is better than the base.
/// A loss of accuracy can be bought by brevity, so both ratios belong beside it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Efficiency {
    /// The odds of being right, as a multiple of the base's.
    pub odds: f64,
    /// The base's tokens as a multiple of these.
    pub brevity: f64,
    /// E3.
    pub score: f64,
}

/// Right completions of so many, and their mean tokens.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outcome {
    /// Share that is right.
    pub accuracy: f64,
    /// Completions that it is a share of; 0 takes the share as it is.
    pub of: usize,
    /// Mean tokens of a completion.
    pub tokens: f64,
}

impl Outcome {
    /// (c + ½) / (n + 1), so that neither none nor all right has odds of 0 or infinity.
    fn share(&self) -> f64 {
        if self.of == 0 {
            return self.accuracy;
        }
        let count = self.of as f64;
        (self.accuracy * count + 0.5) / (count + 1.0)
    }
}

/// E3 of `found` against `base`.
///
/// ```
/// use rationale::statistics::efficiency::{Outcome, efficiency};
/// let base = Outcome { accuracy: 0.5, of: 0, tokens: 100.0 };
/// let found = Outcome { accuracy: 0.9 / 1.9, of: 0, tokens: 10.0 };
/// // Odds 0.9 of 1, a tenth of the tokens: 1 / (0.5 / 0.9 + 0.5 / 10) = 180/109.
/// assert!((efficiency(found, base).score - 180.0 / 109.0).abs() < 1e-12);
/// ```
pub fn efficiency(found: Outcome, base: Outcome) -> Efficiency {
    let odds = |share: f64| share / (1.0 - share);
    let weight = base.share();
    let (odds, brevity) = (odds(found.share()) / odds(weight), base.tokens / found.tokens);
    Efficiency { odds, brevity, score: 1.0 / (weight / odds + (1.0 - weight) / brevity) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_paper_s_number_and_the_smoothing() {
        // The worked number of the paper: A₀ 0.5, A 0.473684, tokens a tenth: 1.651376.
        let base = Outcome { accuracy: 0.5, of: 0, tokens: 1000.0 };
        let found = efficiency(Outcome { accuracy: 0.9 / 1.9, of: 0, tokens: 100.0 }, base);
        assert!((found.score - 1.651376).abs() < 5e-7, "{found:?}");
        assert!((found.odds - 0.9).abs() < 1e-12 && (found.brevity - 10.0).abs() < 1e-12);
        // All of 9 right is 9.5 of 10: odds 19; half of 9 is half of 10: odds 1.
        let all = Outcome { accuracy: 1.0, of: 9, tokens: 100.0 };
        let half = Outcome { accuracy: 0.5, of: 9, tokens: 100.0 };
        assert!((efficiency(all, half).odds - 19.0).abs() < 1e-9);
        // The base against itself is 1.
        assert!((efficiency(half, half).score - 1.0).abs() < 1e-12);
    }
}
