//! How well a reward model tells right steps from wrong: ProcessBench's F1 (Zheng et al. 2024, arXiv 2412.06559), step
//! accuracy, the area under the ROC curve, calibration, and PRMBench's score by class of error (arXiv 2501.03124).

use super::calibration::{Reliability, reliability};
use super::lengths::Lengths;
use super::statistics::mean;
use crate::log::number_or_nan;
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::BTreeMap;

/// A completion whose steps were scored.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Judged {
    /// The score of each step.
    pub scores: Vec<f64>,
    /// The length of each step in bytes.
    pub lengths: Vec<usize>,
    /// Whether each step is right, where that is known.
    pub labels: Vec<Option<bool>>,
    /// The first wrong step, or that there is none; `None` where neither is known.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "known")]
    pub first_error: Option<Option<usize>>,
    /// What it is counted under besides.
    pub class: Option<String>,
}

/// That there is no wrong step is written too, and is something else than nothing.
fn known<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Option<usize>>, D::Error> {
    Option::deserialize(from).map(Some)
}

/// ProcessBench's figures at a threshold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct FirstError {
    /// The harmonic mean of the two accuracies.
    #[serde(deserialize_with = "number_or_nan")]
    pub f1: f64,
    /// The share of erroneous completions whose first wrong step was found; NaN where none is erroneous.
    #[serde(deserialize_with = "number_or_nan")]
    pub erroneous: f64,
    /// The share of right completions in which none was found; NaN where none is right.
    #[serde(deserialize_with = "number_or_nan")]
    pub correct: f64,
    /// A step below it counts as wrong.
    pub threshold: f64,
    /// Completions.
    pub rows: usize,
}

/// What was found of a reward model.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Process {
    /// Labelled steps.
    pub steps: usize,
    /// The share of labelled steps on the right side of 1/2; of comparisons, the share in which the better one won. NaN of
    /// nothing.
    #[serde(deserialize_with = "number_or_nan")]
    pub accuracy: f64,
    /// The chance that a right step scores above a wrong one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub auroc: Option<f64>,
    /// Scores against shares of right steps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibration: Option<Reliability>,
    /// ProcessBench's figures, at a threshold chosen on other rows or given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_error: Option<FirstError>,
    /// The same of a judge that guesses: it calls a completion right with probability 1/2, and else every step the first
    /// wrong one with equal probability.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub chance: Option<FirstError>,
    /// The same of a judge that sees the number, the places and the lengths of the steps alone (see [`Lengths`]), fitted to
    /// the rows on which thresholds are chosen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub length_only: Option<FirstError>,
    /// PRMBench's score, by class and of all (`""`).
    #[serde(deserialize_with = "super::statistics::figures")]
    pub prm_score: BTreeMap<String, f64>,
}

impl Process {
    /// The figures of `rows`. Without a `threshold` it is the best of every other row's, from the first on, and
    /// first errors are looked for in the rest.
    pub fn of(rows: &[Judged], threshold: Option<f64>) -> Self {
        let points = points(rows);
        let located: Vec<&Judged> = rows.iter().filter(|row| row.first_error.is_some()).collect();
        let half = |first: usize| located.iter().skip(first).step_by(2).copied().collect::<Vec<_>>();
        let (threshold, tested, chosen) = match threshold {
            Some(threshold) => (threshold, located.clone(), None),
            None => (best_threshold(&half(0)), half(1), Some(half(0))),
        };
        let right = points.iter().map(|(score, right)| f64::from(u8::from((*score >= 0.5) == *right)));
        let mut classes: BTreeMap<String, Vec<(f64, bool)>> = BTreeMap::new();
        for row in rows {
            for name in row.class.iter().map(String::as_str).chain([""]) {
                classes.entry(name.to_string()).or_default().extend(row.points());
            }
        }
        Self {
            steps: points.len(),
            accuracy: mean(right),
            auroc: auroc(&points),
            calibration: reliability(&points, 10),
            first_error: (!tested.is_empty()).then(|| first_error(&tested, threshold)),
            chance: (!tested.is_empty()).then(|| chance(&tested)),
            length_only: chosen.and_then(|chosen| length_only(&chosen, &tested)),
            prm_score: classes.into_iter().map(|(name, points)| (name, prm_score(&points, 0.5))).collect(),
        }
    }

    /// The most important figures in words.
    pub fn sentence(&self) -> String {
        let mut out = format!("{:.1} % of {} judgements right", 100.0 * self.accuracy, self.steps);
        if let Some(auroc) = self.auroc {
            out += &format!(", AUROC {auroc:.3}");
        }
        if let (Some(found), Some(chance)) = (self.first_error, self.chance) {
            out += &format!(
                ", first-error F1 {:.1} (by chance {:.1}) at threshold {:.3}",
                100.0 * found.f1,
                100.0 * chance.f1,
                found.threshold
            );
        }
        if let Some(lengths) = self.length_only {
            out += &format!("; {:.1} by lengths alone", 100.0 * lengths.f1);
        }
        out
    }

    /// The figures under their names in `metrics.jsonl`.
    pub fn metrics(&self) -> Vec<(String, f64)> {
        let mut out = vec![("eval/step_accuracy".to_string(), self.accuracy)];
        let mut add = |name: &str, value: Option<f64>| out.extend(value.map(|v| (format!("eval/{name}"), v)));
        add("auroc", self.auroc);
        add("ece", self.calibration.as_ref().map(|c| c.error));
        add("first_error_f1", self.first_error.map(|f| f.f1));
        add("first_error_erroneous", self.first_error.map(|f| f.erroneous));
        add("first_error_correct", self.first_error.map(|f| f.correct));
        add("first_error_threshold", self.first_error.map(|f| f.threshold));
        add("first_error_chance", self.chance.map(|f| f.f1));
        add("first_error_length_only", self.length_only.map(|f| f.f1));
        for (class, score) in &self.prm_score {
            let name = if class.is_empty() { "prm_score".to_string() } else { format!("prm_score/{class}") };
            add(&name, Some(*score));
        }
        out
    }
}

impl Judged {
    /// Each labelled step's score and label.
    fn points(&self) -> impl Iterator<Item = (f64, bool)> {
        self.scores.iter().zip(&self.labels).filter_map(|(score, label)| Some((*score, (*label)?)))
    }
}

/// Every labelled step's score and label.
pub fn points(rows: &[Judged]) -> Vec<(f64, bool)> {
    rows.iter().flat_map(Judged::points).collect()
}

/// The first step whose score is below `threshold`.
pub fn first_below(scores: &[f64], threshold: f64) -> Option<usize> {
    scores.iter().position(|&score| score < threshold)
}

/// ProcessBench's figures of rows whose first error is known.
pub fn first_error(rows: &[&Judged], threshold: f64) -> FirstError {
    let found = |row: &&&Judged| first_below(&row.scores, threshold) == row.first_error.flatten();
    let share = |erroneous: bool| {
        let of_kind: Vec<&&Judged> =
            rows.iter().filter(|row| row.first_error.flatten().is_some() == erroneous).collect();
        mean(of_kind.iter().map(|row| f64::from(u8::from(found(row)))))
    };
    figures(share(true), share(false), threshold, rows.len())
}

/// What guessing gives: see [`Process::chance`].
pub fn chance(rows: &[&Judged]) -> FirstError {
    let erroneous = rows.iter().filter(|row| row.first_error.flatten().is_some());
    figures(0.5 * mean(erroneous.map(|row| 1.0 / row.scores.len().max(1) as f64)), 0.5, 0.5, rows.len())
}

/// ProcessBench's figures of a judge that sees lengths alone, fitted and with its threshold chosen on other rows.
fn length_only(chosen: &[&Judged], tested: &[&Judged]) -> Option<FirstError> {
    let fitted = Lengths::fit(chosen.iter().map(|row| (row.lengths.as_slice(), row.labels.as_slice())))?;
    let judged = |rows: &[&Judged]| -> Vec<Judged> {
        rows.iter().map(|row| Judged { scores: fitted.scores(&row.lengths), ..(*row).clone() }).collect()
    };
    let (chosen, tested) = (judged(chosen), judged(tested));
    let threshold = best_threshold(&chosen.iter().collect::<Vec<_>>());
    Some(first_error(&tested.iter().collect::<Vec<_>>(), threshold))
}

fn figures(erroneous: f64, correct: f64, threshold: f64, rows: usize) -> FirstError {
    let sum = erroneous + correct;
    let f1 = if sum > 0.0 { 2.0 * erroneous * correct / sum } else { 0.0 };
    FirstError { f1, erroneous, correct, threshold, rows }
}

/// The threshold of the best F1 among the midpoints of neighbouring scores (at most 200 of them, evenly picked).
pub fn best_threshold(rows: &[&Judged]) -> f64 {
    let mut scores: Vec<f64> = rows.iter().flat_map(|row| row.scores.iter().copied()).collect();
    scores.sort_by(f64::total_cmp);
    scores.dedup();
    let middles: Vec<f64> = scores.windows(2).map(|pair| (pair[0] + pair[1]) / 2.0).collect();
    let every = middles.len().div_ceil(200).max(1);
    let mut best = (f64::NEG_INFINITY, 0.5);
    for &threshold in middles.iter().step_by(every) {
        let f1 = first_error(rows, threshold).f1;
        if f1 > best.0 {
            best = (f1, threshold);
        }
    }
    best.1
}

/// The chance that a right point scores above a wrong one, ties counting half; none where a class is missing.
pub fn auroc(points: &[(f64, bool)]) -> Option<f64> {
    let mut sorted = points.to_vec();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
    let right = points.iter().filter(|(_, right)| *right).count() as f64;
    let wrong = points.len() as f64 - right;
    let (mut wrong_below, mut won, mut rest) = (0.0, 0.0, sorted.as_slice());
    while let Some(first) = rest.first() {
        let ties = rest.iter().take_while(|point| point.0 == first.0).count();
        let ties_right = rest[..ties].iter().filter(|(_, right)| *right).count() as f64;
        let ties_wrong = ties as f64 - ties_right;
        won += ties_right * (wrong_below + ties_wrong / 2.0);
        wrong_below += ties_wrong;
        rest = &rest[ties..];
    }
    (right * wrong > 0.0).then(|| won / (right * wrong))
}

/// PRMBench's score: the mean of the F1 of right steps and the F1 of wrong ones.
pub fn prm_score(points: &[(f64, bool)], threshold: f64) -> f64 {
    let f1 = |kind: bool| {
        let count = |said: bool, is: bool| {
            points.iter().filter(|(s, right)| (*s >= threshold) == said && *right == is).count() as f64
        };
        let hits = 2.0 * count(kind, kind);
        let all = hits + count(kind, !kind) + count(!kind, kind);
        if all > 0.0 { hits / all } else { 0.0 }
    };
    0.5 * f1(true) + 0.5 * f1(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(scores: &[f64], first_error: Option<usize>) -> Judged {
        let label = |step: usize| match first_error {
            Some(error) if step > error => None,
            Some(error) => Some(step < error),
            None => Some(true),
        };
        Judged {
            scores: scores.to_vec(),
            lengths: vec![1; scores.len()],
            labels: (0..scores.len()).map(label).collect(),
            first_error: Some(first_error),
            class: None,
        }
    }

    #[test]
    fn what_was_judged_comes_back_from_json() {
        for first_error in [None, Some(None), Some(Some(2))] {
            let judged = Judged {
                scores: vec![0.5],
                labels: vec![None, Some(true)],
                first_error,
                ..Judged::default()
            };
            let told = serde_json::to_string(&judged).unwrap();
            assert_eq!(serde_json::from_str::<Judged>(&told).unwrap(), judged);
        }
    }

    #[test]
    fn the_first_step_below_the_threshold_is_the_error_found() {
        // Erroneous: found at 1; missed (said at 0, is at 1); missed (none said): 1/3. Right: none said; one said: 1/2.
        // F1 = 2 · 1/3 · 1/2 / (5/6) = 0.4.
        let rows = [
            row(&[0.9, 0.2, 0.1], Some(1)),
            row(&[0.3, 0.2], Some(1)),
            row(&[0.9, 0.9], Some(1)),
            row(&[0.8, 0.6], None),
            row(&[0.8, 0.4], None),
        ];
        let rows: Vec<&Judged> = rows.iter().collect();
        let found = first_error(&rows, 0.5);
        assert_eq!((found.erroneous, found.correct, found.rows), (1.0 / 3.0, 0.5, 5));
        assert!((found.f1 - 0.4).abs() < 1e-12);
        // Below every score nothing is found: F1 is 0, not NaN.
        assert_eq!(first_error(&rows, 0.0).f1, 0.0);
        // Guessing: 1/2 · (1/3 + 1/2 + 1/2)/3 = 2/9 and 1/2: F1 = 2 · 1/9 / (13/18) = 4/13.
        assert!((chance(&rows).f1 - 4.0 / 13.0).abs() < 1e-12);
    }

    #[test]
    fn the_threshold_is_chosen_on_the_rows_that_are_not_tested() {
        // Chosen on rows 0 and 2, whose scores are apart between 0.3 and 0.6: 0.45. Tested on 1 and 3, where 0.4 is right
        // and is taken for wrong.
        let rows =
            [row(&[0.6, 0.3], Some(1)), row(&[0.9, 0.1], Some(1)), row(&[0.7, 0.8], None), row(&[0.4], None)];
        let found = Process::of(&rows, None).first_error.unwrap();
        assert!((found.threshold - 0.45).abs() < 1e-12);
        assert_eq!((found.erroneous, found.correct, found.f1, found.rows), (1.0, 0.0, 0.0, 2));
        assert_eq!(Process::of(&rows, Some(0.35)).first_error.unwrap().f1, 1.0);
    }

    #[test]
    fn figures_of_nothing_are_read_back_as_they_were_written() {
        // No row is erroneous, so there is no share of them; and no step is labelled in the second.
        for rows in [vec![row(&[0.9], None)], vec![Judged { labels: vec![None], ..row(&[0.9], None) }]] {
            let found = Process::of(&rows, Some(0.5));
            let written = serde_json::to_string(&found).unwrap();
            assert!(written.contains("\"erroneous\":null"), "{written}");
            let read: Process = serde_json::from_str(&written).unwrap();
            let first_error = read.first_error.unwrap();
            assert!(first_error.erroneous.is_nan() && read.chance.unwrap().erroneous.is_nan());
            assert_eq!((first_error.correct, first_error.f1), (1.0, 0.0));
            assert_eq!(read.accuracy.is_nan(), found.steps == 0);
            assert_eq!(serde_json::to_string(&read).unwrap(), written);
        }
    }

    /// Wrong steps are long ones, in the rows for the choice (0 and 2) and in those tested (1 and 3); scores say nothing.
    #[test]
    fn lengths_alone_may_find_the_error() {
        let with = |lengths: &[usize], error| Judged {
            lengths: lengths.to_vec(),
            ..row(&vec![0.5; lengths.len()], error)
        };
        let rows =
            [with(&[9, 8, 90], Some(2)), with(&[8, 80], Some(1)), with(&[9, 9], None), with(&[9], None)];
        let found = Process::of(&rows, None);
        assert_eq!(found.length_only.unwrap().f1, 1.0);
        assert_eq!(found.first_error.unwrap().f1, 0.0);
        assert!(Process::of(&rows, Some(0.5)).length_only.is_none(), "nothing was chosen");
    }

    #[test]
    fn the_area_counts_pairs_and_ties() {
        // Right 0.9, 0.5; wrong 0.5, 0.1: pairs won 1, 1, ½, 1 of 4.
        let points = [(0.9, true), (0.5, true), (0.5, false), (0.1, false)];
        assert_eq!(auroc(&points), Some(3.5 / 4.0));
        assert_eq!(auroc(&points[..2]), None);
    }

    #[test]
    fn prm_score_is_the_mean_of_both_f1() {
        // Said right: two right, one wrong. Said wrong: one wrong, none right. F1 of right 2·2/(4 + 1) = 4/5, of wrong
        // 2/(2 + 1) = 2/3.
        let points = [(0.9, true), (0.8, true), (0.7, false), (0.2, false)];
        assert!((prm_score(&points, 0.5) - (0.4 + 1.0 / 3.0)).abs() < 1e-12);
    }

    #[test]
    fn steps_without_a_label_count_nowhere() {
        let rows = [Judged { class: Some("redundancy".into()), ..row(&[0.9, 0.2, 0.9], Some(1)) }];
        let found = Process::of(&rows, Some(0.5));
        assert_eq!((found.steps, found.accuracy, found.auroc), (2, 1.0, Some(1.0)));
        assert_eq!(found.prm_score, [("".to_string(), 1.0), ("redundancy".to_string(), 1.0)].into());
    }
}
