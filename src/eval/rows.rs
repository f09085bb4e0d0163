//! What a method's own loss comes to on held-out rows, which are read and not answered.

use super::statistics::{weighted_interval, weighted_mean};
use crate::log::number_or_nan;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A figure of a row: its value, and how much it weighs in the mean.
pub type Weighed = (f64, f64);

/// One held-out row: a line of `evaluations/<stage>-<step>-rows.jsonl`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RowFigures {
    /// Its example's id.
    pub row: String,
    /// Its figures by name: `loss`, `rewards/margins`. The loss of fine-tuning is a mean over the row's tokens, of which it weighs as many.
    pub figures: BTreeMap<String, Weighed>,
    /// The parts of its text that its label is told by, where the method selects some.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extracted: Option<Extracted>,
}

/// A text's label and rationale as a model tells them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Extracted {
    /// The labels that it tells.
    pub predicted: Vec<String>,
    /// Those that the row has.
    pub gold: Vec<String>,
    /// The text, unit by unit.
    pub units: Vec<ExtractedUnit>,
}

/// A unit of a text: a word, a sentence, a paragraph.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ExtractedUnit {
    /// What it says.
    pub text: String,
    /// How much the label rests on it; the greater, the more.
    #[serde(deserialize_with = "number_or_nan")]
    pub score: f64,
    /// Whether it is of the rationale.
    pub selected: bool,
    /// Whether people marked it, where the row says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub marked: Option<bool>,
}

/// A figure over all rows.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct RowMean {
    /// Σ w x / Σ w.
    #[serde(deserialize_with = "number_or_nan")]
    pub mean: f64,
    /// Bootstrap interval of it (95 %, over rows).
    #[serde(deserialize_with = "super::statistics::interval")]
    pub interval: (f64, f64),
}

impl RowMean {
    /// `0.3294 [0.3104, 0.3493]`: the mean and its interval, large ones with fewer decimals.
    pub fn words(&self) -> String {
        let shown = |value: f64| match value.abs() {
            size if size < 10.0 => format!("{value:.4}"),
            size if size < 1000.0 => format!("{value:.1}"),
            _ => format!("{value:.0}"),
        };
        format!("{} [{}, {}]", shown(self.mean), shown(self.interval.0), shown(self.interval.1))
    }

    /// `62.5 % [50.0 %, 75.0 %]`, of a share.
    fn in_percent(&self) -> String {
        let [mean, low, high] =
            [self.mean, self.interval.0, self.interval.1].map(|share| format!("{:.1} %", 100.0 * share));
        format!("{mean} [{low}, {high}]")
    }
}

/// The figures of all rows.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct HeldOut {
    /// Rows that could be measured.
    pub rows: usize,
    /// Rows with what is learned that are too long.
    pub too_long: usize,
    /// Means, by name.
    pub figures: BTreeMap<String, RowMean>,
}

/// Whether the chosen answer of a pair is above the rejected one, and by how much.
const PREFERRED: &str = "rewards/accuracies";
const MARGINS: &str = "rewards/margins";
/// Figures that are shares of the rows.
const SHARES: [&str; 3] = [PREFERRED, "accuracy", "rationale/accuracy"];

/// Of the loss of fine-tuning, e to it.
pub const PERPLEXITY: &str = "perplexity";
/// The loss.
pub const LOSS: &str = "loss";

/// The figures of held-out rows by their places, with further ones of some of them.
pub fn with_further(
    mut rows: Vec<(usize, RowFigures)>,
    further: Vec<(usize, RowFigures)>,
) -> Vec<(usize, RowFigures)> {
    for (place, found) in further {
        match rows.iter_mut().find(|(other, _)| *other == place) {
            Some((_, row)) => {
                row.figures.extend(found.figures);
                row.extracted = row.extracted.take().or(found.extracted);
            }
            None => rows.push((place, found)),
        }
    }
    rows
}

impl HeldOut {
    /// Those of `rows`; with the perplexity where the loss is one of tokens. Bootstrap by `seed`.
    pub fn of(rows: &[RowFigures], too_long: usize, of_tokens: bool, seed: u64) -> Self {
        let mut all: BTreeMap<&str, Vec<Weighed>> = BTreeMap::new();
        for (name, figure) in rows.iter().flat_map(|row| &row.figures) {
            all.entry(name).or_default().push(*figure);
        }
        let mean = |weighed: &Vec<Weighed>| RowMean {
            mean: weighted_mean(weighed),
            interval: weighted_interval(weighed, 0.95, 2000, seed),
        };
        let mut figures: BTreeMap<String, RowMean> =
            all.iter().map(|(name, weighed)| (name.to_string(), mean(weighed))).collect();
        if let Some(loss) = figures.get(LOSS).copied().filter(|_| of_tokens) {
            let (low, high) = loss.interval;
            figures.insert(
                PERPLEXITY.into(),
                RowMean { mean: loss.mean.exp(), interval: (low.exp(), high.exp()) },
            );
        }
        Self { rows: rows.len(), too_long, figures }
    }

    /// A figure as it is told: a share in percent, and none of pairs where policy and reference are the same, so that each is a tie.
    pub fn words(&self, name: &str) -> Option<String> {
        let figure = self.figures.get(name)?;
        let is_tied = |margin: &RowMean| margin.mean == 0.0 && margin.interval == (0.0, 0.0);
        let tied = name == PREFERRED && self.figures.get(MARGINS).is_some_and(is_tied);
        Some(match SHARES.contains(&name) {
            _ if tied => "– (all tied)".to_owned(),
            true => figure.in_percent(),
            false => figure.words(),
        })
    }

    /// In words.
    pub fn sentence(&self) -> String {
        let names = [
            (LOSS, "loss"),
            (PERPLEXITY, "perplexity"),
            (PREFERRED, "preference accuracy"),
            (MARGINS, "margin"),
            ("accuracy", "accuracy"),
            ("rationale/accuracy", "accuracy from rationales"),
            ("rationale/token_f1", "token F1"),
            ("thoughts/loss", "loss with thoughts"),
            ("greedy/size", "tokens that are enough"),
            ("greedy/iou", "their overlap with marked spans"),
        ];
        let of = |(name, word): (&str, &str)| Some(format!("{word} {}", self.words(name)?));
        format!(
            "held-out {} of {} rows",
            names.into_iter().filter_map(of).collect::<Vec<_>>().join(", "),
            self.rows
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(loss: f64, tokens: f64) -> RowFigures {
        let figures = [(LOSS.to_string(), (loss, tokens))].into();
        RowFigures { figures, ..RowFigures::default() }
    }

    /// 3 nats over one token and 1 over each of three: 6 nats of 4 tokens, whatever the rows' own means are.
    #[test]
    fn a_loss_is_over_tokens_and_a_perplexity_is_its_power() {
        let found = HeldOut::of(&[row(3.0, 1.0), row(1.0, 3.0)], 1, true, 0);
        assert_eq!((found.figures[LOSS].mean, found.rows, found.too_long), (1.5, 2, 1));
        assert!((found.figures[PERPLEXITY].mean - 1.5_f64.exp()).abs() < 1e-12);
        assert_eq!(found.figures[LOSS].interval, (1.0, 3.0));
        assert!(!HeldOut::of(&[row(3.0, 1.0)], 0, false, 0).figures.contains_key(PERPLEXITY));
        assert!(HeldOut::of(&[], 0, true, 0).figures.is_empty());
        // A further figure of the first alone, and a row of its own, whose loss counts as the others'.
        let size = RowFigures { figures: [("size".to_string(), (4.0, 1.0))].into(), ..RowFigures::default() };
        let all =
            with_further(vec![(7, row(3.0, 1.0)), (2, row(1.0, 3.0))], vec![(7, size), (4, row(2.0, 4.0))]);
        let rows: Vec<RowFigures> = all.into_iter().map(|(_, row)| row).collect();
        let found = HeldOut::of(&rows, 0, false, 0);
        assert_eq!((found.rows, found.figures["size"].mean, found.figures[LOSS].mean), (3, 4.0, 1.75));
    }

    /// Before the first step of preference learning policy and reference are the same, which is no accuracy of nothing.
    #[test]
    fn shares_are_told_in_percent_and_ties_as_such() {
        let row = |right: f64, margin: f64| RowFigures {
            figures: [(PREFERRED.to_string(), (right, 1.0)), (MARGINS.to_string(), (margin, 1.0))].into(),
            ..RowFigures::default()
        };
        let tied = HeldOut::of(&[row(0.0, 0.0), row(0.0, 0.0)], 0, false, 0);
        assert_eq!(tied.words(PREFERRED).unwrap(), "– (all tied)");
        assert_eq!(tied.words(MARGINS).unwrap(), "0.0000 [0.0000, 0.0000]");
        let wrong = HeldOut::of(&[row(0.0, -0.5), row(0.0, -0.5)], 0, false, 0);
        assert_eq!(wrong.words(PREFERRED).unwrap(), "0.0 % [0.0 %, 0.0 %]");
        assert!(wrong.sentence().contains("preference accuracy 0.0 % [0.0 %, 0.0 %], margin -0.5000 ["));
        assert_eq!(wrong.words("loss"), None);
    }

    #[test]
    fn large_figures_have_fewer_decimals() {
        let words = |mean, interval| RowMean { mean, interval }.words();
        assert_eq!(words(0.32941, (0.31043, 9.99)), "0.3294 [0.3104, 9.9900]");
        assert_eq!(words(195.8061, (191.9641, 1199.467)), "195.8 [192.0, 1199]");
        assert_eq!(words(-0.5, (-10.0, f64::NAN)), "-0.5000 [-10.0, NaN]");
    }
}
