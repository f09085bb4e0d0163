//! How far marks or classes agree with the gold ones: macro-averaged F1, and quadratic weighted kappa (Cohen 1968).

use crate::log::number_or_nan;
use serde::{Deserialize, Serialize};

/// Agreement over all completions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Agreement {
    /// The mean over labels of 2·TP / (2·TP + FP + FN); labels that occur neither as gold nor as answer are left out.
    #[serde(deserialize_with = "number_or_nan")]
    pub macro_f1: f64,
    /// Quadratic weighted kappa; none where chance alone agrees wholly.
    pub kappa: Option<f64>,
}

impl Agreement {
    /// `macro-F1 0.650, QWK 0.750, `.
    pub fn words(&self) -> String {
        let kappa = self.kappa.map_or_else(|| "undefined".to_string(), |kappa| format!("{kappa:.3}"));
        format!("macro-F1 {:.3}, QWK {kappa}, ", self.macro_f1)
    }
}

/// Agreement of `(gold, answer)` pairs, by their places among `labels` labels in order. An answer that is none of the labels is
/// no label's for F1, and for kappa the label farthest from the gold one: to say nothing is never better than to err.
///
/// κ = 1 − Σ w·O / Σ w·E over gold i and answer j, with w = (i − j)², O the counts and E = (count of i)·(count of j) / n.
///
/// ```
/// use rationale::eval::marks::agreement;
/// let right = [(0, Some(0)), (2, Some(2))];
/// assert_eq!(agreement(&right, 3).unwrap().kappa, Some(1.0));
/// assert_eq!(agreement(&[], 3), None);
/// ```
pub fn agreement(pairs: &[(usize, Option<usize>)], labels: usize) -> Option<Agreement> {
    let f1: Vec<f64> = (0..labels).filter_map(|label| f1(pairs, label)).collect();
    (!f1.is_empty()).then(|| Agreement {
        macro_f1: f1.iter().sum::<f64>() / f1.len() as f64,
        kappa: kappa(pairs, labels),
    })
}

fn f1(pairs: &[(usize, Option<usize>)], label: usize) -> Option<f64> {
    let gold = pairs.iter().filter(|(gold, _)| *gold == label).count();
    let said = pairs.iter().filter(|(_, said)| *said == Some(label)).count();
    let both = pairs.iter().filter(|pair| **pair == (label, Some(label))).count();
    // 2·TP + FP + FN is the count of gold ones and of answers.
    (gold + said > 0).then(|| 2.0 * both as f64 / (gold + said) as f64)
}

fn kappa(pairs: &[(usize, Option<usize>)], labels: usize) -> Option<f64> {
    let farthest = |gold: usize| if 2 * gold >= labels - 1 { 0 } else { labels - 1 };
    let weight = |i: usize, j: usize| (i as f64 - j as f64).powi(2);
    let (mut gold, mut said) = (vec![0.0; labels], vec![0.0; labels]);
    let mut observed = 0.0;
    for &(i, answer) in pairs {
        let j = answer.unwrap_or_else(|| farthest(i));
        gold[i] += 1.0;
        said[j] += 1.0;
        observed += weight(i, j);
    }
    let cells = (0..labels).flat_map(|i| (0..labels).map(move |j| (i, j)));
    let expected = cells.map(|(i, j)| weight(i, j) * gold[i] * said[j]).sum::<f64>() / pairs.len() as f64;
    (expected > 0.0).then(|| 1.0 - observed / expected)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::near::near;

    fn of(gold: [usize; 6], said: [Option<usize>; 6]) -> Agreement {
        agreement(&gold.into_iter().zip(said).collect::<Vec<_>>(), 3).unwrap()
    }

    #[test]
    fn kappa_and_f1_are_those_of_the_books() {
        let found = of([0, 0, 1, 1, 2, 2], [Some(0), Some(1), Some(1), Some(2), Some(2), Some(2)]);
        // F1: 2·1/(2+1), 2·1/(2+2), 2·2/(2+3).
        near(found.macro_f1, (2.0 / 3.0 + 0.5 + 0.8) / 3.0, 1e-12);
        // Two answers are off by one: Σ w·O = 2. Gold counts 2, 2, 2 and answers 1, 2, 3: Σ w·E = 2/6 · (1·(0+1+4) + 2·(1+0+1) +
        // 3·(4+1+0)) = 8, so κ = 1 − 2/8.
        near(found.kappa.unwrap(), 0.75, 1e-12);
    }

    #[test]
    fn disagreement_beyond_chance_is_negative() {
        let found = of([0, 0, 0, 2, 2, 2], [Some(2), Some(2), Some(2), Some(0), Some(0), Some(0)]);
        // Σ w·O = 6 · 4 and Σ w·E = (3·3·4 + 3·3·4) / 6 = 12.
        near(found.kappa.unwrap(), -1.0, 1e-12);
        // The label 1 occurs nowhere and is left out of the mean.
        near(found.macro_f1, 0.0, 1e-12);
    }

    #[test]
    fn to_say_nothing_is_no_better_than_to_err() {
        let found = of([0, 0, 1, 1, 2, 2], [None, Some(0), Some(1), Some(1), Some(2), Some(2)]);
        // F1 of label 0 is 2·1/(2+1), the others are whole.
        near(found.macro_f1, (2.0 / 3.0 + 1.0 + 1.0) / 3.0, 1e-12);
        let erring = of([0, 0, 1, 1, 2, 2], [Some(2), Some(0), Some(1), Some(1), Some(2), Some(2)]);
        // Σ w·O = 4; gold 2, 2, 2 and answers 1, 2, 3 as above: κ = 1 − 4/8.
        assert_eq!(found.kappa, erring.kappa);
        near(found.kappa.unwrap(), 0.5, 1e-12);
        // Where all is one label, kappa is not defined.
        assert_eq!(of([1; 6], [Some(1); 6]), Agreement { macro_f1: 1.0, kappa: None });
    }
}
