//! What is left of a measured outcome once what confounds it is taken off: labels for reward models that are learned of logs
//! (DeconfoundLM).

use super::Split;
use super::row::{Problems, Row};
use crate::section::{Misfit, broken};
use crate::seed;
use crate::statistics::linear::{Regressors, coefficients, residuals};
use crate::statistics::{deviation, mean};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// `[data.residual]`: gives rows with a measured outcome what a linear model of their confounders leaves of it, in the column `score`; and in
/// `labels` the same as a list of one number from 0, of the least, to 1, which loop.prm reads. The model is fitted on the rows
/// that are read; held-out rows without the outcome stay as they are.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Residual {
    /// The column of the outcome, a number.
    pub of: String,
    /// Columns of which each value has an effect of its own, such as a season or a page.
    pub fixed: Vec<String>,
    /// Columns of numbers with a linear effect, such as a price.
    pub linear: Vec<String>,
    /// Columns of numbers with a linear effect that have causes in common with the outcome, each with the column of what moves the outcome
    /// through it alone: `{ popularity = "slot" }` (two-stage least squares). What moves it may be numbers or texts.
    pub instruments: BTreeMap<String, String>,
    /// Rows are dealt out into so many parts, and each is explained by the others, so that no outcome explains itself; 1 fits all at once.
    pub folds: usize,
    /// Added to the mean square of each regressor, so that those which say the same share their effect.
    pub ridge: f64,
}

/// The columns that are written.
const WRITTEN: [&str; 2] = ["score", "labels"];
/// Coefficients that are told.
const TOLD: usize = 20;

impl Default for Residual {
    fn default() -> Self {
        Self {
            of: "outcome".into(),
            fixed: vec![],
            linear: vec![],
            instruments: BTreeMap::new(),
            folds: 5,
            ridge: 1e-6,
        }
    }
}

/// Regressors with their names, for what is told.
#[derive(Default)]
struct Named {
    regressors: Regressors,
    given: Vec<String>,
    endogenous: Vec<String>,
}

impl Residual {
    /// What cannot be used as it is.
    pub fn check(&self) -> Vec<Misfit> {
        let all = self.fixed.iter().chain(&self.linear).chain(self.instruments.keys());
        let all: Vec<&String> = all.collect();
        let once = all.iter().collect::<BTreeSet<_>>().len() == all.len() && !all.contains(&&self.of);
        broken(&[
            (!self.of.is_empty(), "of", "it must name the column of the outcome"),
            (once, "of", "the outcome and what explains it must be different columns, each named once"),
            (self.folds >= 1, "folds", "it must be at least 1"),
            (
                self.ridge >= 0.0 && self.ridge.is_finite(),
                "ridge",
                "it must be a number of at least 0, such as 1e-6",
            ),
        ])
    }

    /// The rows with what is left of their outcomes; `name` is what they are called.
    pub(super) fn applied(
        &self,
        mut rows: Vec<Row>,
        split: Split,
        name: &str,
        problems: &mut Problems,
    ) -> Vec<Row> {
        if split == Split::Eval && rows.iter().all(|row| !row.fields.contains_key(&self.of)) {
            return rows;
        }
        for row in &rows {
            for column in WRITTEN.iter().filter(|column| row.fields.contains_key(**column)) {
                problems.at(
                    row,
                    format!(
                        "it has a column `{column}`, which data.residual writes; rename it in [data.columns]"
                    ),
                );
            }
        }
        let outcomes = numbers(&rows, &self.of, "of", problems);
        let named = self.regressors(&rows, problems);
        if !problems.is_empty() || rows.is_empty() {
            return rows;
        }
        let folds: Vec<usize> =
            (0..rows.len()).map(|row| seed::derive(&[row as u64]) as usize % self.folds).collect();
        let all: Vec<usize> = (0..rows.len()).collect();
        let left = residuals(&outcomes, &named.regressors, &folds, self.ridge);
        let whole = coefficients(&outcomes, &named.regressors, &all, self.ridge);
        let (Some(left), Some(whole)) = (left, whole) else {
            problems.everywhere(format!(
                "data.residual: some of what is to explain `{}` says the same as the rest; take a column out, or set a ridge such as 1e-6",
                self.of
            ));
            return rows;
        };
        self.tell(name, &named, &whole, 1.0 - (deviation(&left) / deviation(&outcomes)).powi(2));
        let least = left.iter().copied().fold(f64::INFINITY, f64::min);
        let range = left.iter().copied().fold(f64::NEG_INFINITY, f64::max) - least;
        for (row, score) in rows.iter_mut().zip(left) {
            let label = if range > 0.0 { (score - least) / range } else { 0.5 };
            row.fields.insert("score".into(), json!(score));
            row.fields.insert("labels".into(), json!([label]));
        }
        rows
    }

    /// Each value of a fixed column as 0 or 1, the other columns with mean 0 and deviation 1.
    fn regressors(&self, rows: &[Row], problems: &mut Problems) -> Named {
        let mut named = Named::default();
        for column in &self.fixed {
            for (value, of) in classes(rows, column, "fixed", problems) {
                named.given.push(format!("{column}={value}"));
                named.regressors.given.push(of);
            }
        }
        for column in &self.linear {
            named.given.push(column.clone());
            named.regressors.given.push(standardised(numbers(rows, column, "linear", problems)));
        }
        for (column, instrument) in &self.instruments {
            named.endogenous.push(column.clone());
            named.regressors.endogenous.push(standardised(numbers(rows, column, "instruments", problems)));
            let values = rows.iter().filter_map(|row| row.fields.get(instrument));
            if values.clone().all(|value| number(value).is_some()) {
                let values = numbers(rows, instrument, "instruments", problems);
                named.regressors.instruments.push(standardised(values));
            } else {
                let all = classes(rows, instrument, "instruments", problems);
                named.regressors.instruments.extend(all.into_values());
            }
        }
        named
    }

    /// Says what the outcome is explained by.
    fn tell(&self, name: &str, named: &Named, coefficients: &[f64], explained: f64) {
        let names = named.given.iter().chain(&named.endogenous);
        let effects: Vec<String> = names
            .zip(&coefficients[1..])
            .take(TOLD)
            .map(|(name, effect)| format!("{name} {effect:.3}"))
            .collect();
        tracing::info!(
            "{name}: of the variance of `{}` {:.1} % is explained; effects, of numbers a deviation's: {}",
            self.of,
            100.0 * explained,
            if effects.is_empty() { "none".to_string() } else { effects.join(", ") }
        );
    }
}

/// A number, written as one or as text; true is 1.
fn number(value: &Value) -> Option<f64> {
    let number = match value {
        Value::Bool(is) => Some(f64::from(u8::from(*is))),
        Value::String(text) => text.trim().parse().ok(),
        other => other.as_f64(),
    };
    number.filter(|number: &f64| number.is_finite())
}

/// What a row has in a column that `data.residual` names under `key`.
fn value<'a>(row: &'a Row, column: &str, key: &str, problems: &mut Problems) -> Option<&'a Value> {
    let found = row.fields.get(column);
    if found.is_none() {
        problems.at(row, format!("it has no column `{column}`, which data.residual.{key} names"));
    }
    found
}

/// The numbers of a column, 0 where a row has none.
fn numbers(rows: &[Row], column: &str, key: &str, problems: &mut Problems) -> Vec<f64> {
    let read = |row: &Row| {
        let found = value(row, column, key, problems)?;
        let number = number(found);
        if number.is_none() {
            problems.at(row, format!("`{column}` must be a number for data.residual.{key}"));
        }
        number
    };
    rows.iter().map(read).map(Option::unwrap_or_default).collect()
}

/// For each value of a column, which rows have it: 1, and 0 for the others.
fn classes(rows: &[Row], column: &str, key: &str, problems: &mut Problems) -> BTreeMap<String, Vec<f64>> {
    let mut all: BTreeMap<String, Vec<f64>> = BTreeMap::new();
    for (at, row) in rows.iter().enumerate() {
        if let Some(found) = value(row, column, key, problems) {
            let class = found.as_str().map_or_else(|| found.to_string(), str::to_string);
            all.entry(class).or_insert_with(|| vec![0.0; rows.len()])[at] = 1.0;
        }
    }
    all
}

/// The numbers with mean 0 and deviation 1; 0 where all are the same.
fn standardised(values: Vec<f64>) -> Vec<f64> {
    let (mean, deviation) = (mean(values.iter().copied()), deviation(&values));
    let of = |x: f64| if deviation > 0.0 { (x - mean) / deviation } else { 0.0 };
    values.into_iter().map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::{Data, Hub};

    fn rows(all: &[Value]) -> Vec<Row> {
        let row = |(line, fields): (usize, &Value)| {
            Row::made("logs", line + 1, fields.as_object().expect("an object").clone())
        };
        all.iter().enumerate().map(row).collect()
    }

    fn section(text: &str) -> Residual {
        let section: Residual = toml::from_str(text).unwrap();
        assert_eq!(section.check(), []);
        section
    }

    /// What is written into each row, to four digits; or what is said to be wrong.
    fn written(text: &str, all: &[Value]) -> Result<Vec<(f64, f64)>, String> {
        let mut problems = Problems::default();
        let found = section(text).applied(rows(all), Split::Train, "logs", &mut problems);
        problems.into_result().map_err(|error| error.to_string())?;
        let rounded = |value: &Value| (value.as_f64().unwrap() * 1e4).round() / 1e4 + 0.0;
        let of = |row: &Row| (rounded(&row.fields["score"]), rounded(&row.fields["labels"][0]));
        Ok(found.iter().map(of).collect())
    }

    #[test]
    fn a_season_and_a_price_are_taken_off() {
        let row = |season: &str, price: f64, outcome: f64| json!({"season": season, "price": price, "outcome": outcome});
        // 10 in high season and −2 a unit of price, and of the rest 1, −1, −1, 1.
        let all = [
            row("high", 1.0, 10.0 - 2.0 + 1.0),
            row("high", 3.0, 10.0 - 6.0 - 1.0),
            row("low", 1.0, -2.0 - 1.0),
            row("low", 3.0, -6.0 + 1.0),
        ];
        let text = "fixed = ['season']\nlinear = ['price']\nfolds = 1";
        assert_eq!(written(text, &all).unwrap(), [(1.0, 1.0), (-1.0, 0.0), (-1.0, 0.0), (1.0, 1.0)]);
        // Without anything to explain it, what is left is the outcome less its mean of 1: 8, 2, −4, −6.
        let bare = written("folds = 1", &all).unwrap();
        assert_eq!(bare.iter().map(|(score, _)| *score).collect::<Vec<_>>(), [8.0, 2.0, -4.0, -6.0]);
        assert_eq!((bare[0].1, bare[3].1), (1.0, 0.0));
    }

    #[test]
    fn what_is_popular_for_its_worth_keeps_it() {
        // Popularity is the slot's and the worth's (−1, 1), and the outcome twice the popularity and the worth: what is left is the worth,
        // whether slots are numbers or names.
        let row = |slot: Value, popularity: f64, worth: f64| json!({"slot": slot, "popularity": popularity, "outcome": 2.0 * popularity + worth});
        for slots in [[json!(-1), json!(1)], [json!("foot"), json!("top")]] {
            let all = [
                row(slots[0].clone(), -2.0, -1.0),
                row(slots[0].clone(), 0.0, 1.0),
                row(slots[1].clone(), 0.0, -1.0),
                row(slots[1].clone(), 2.0, 1.0),
            ];
            let left = |text: &str| -> Vec<f64> {
                written(text, &all).unwrap().into_iter().map(|(score, _)| score).collect()
            };
            assert_eq!(left("instruments = { popularity = 'slot' }\nfolds = 1"), [-1.0, 1.0, -1.0, 1.0]);
            // By least squares popularity takes half of the worth along: 2.5 times it is taken off.
            assert_eq!(left("linear = ['popularity']\nfolds = 1"), [0.0, 1.0, -1.0, 0.0]);
        }
    }

    /// In high season outcomes are 1.5 higher, whatever the note says: the means of both seasons' labels, without and with the season taken off.
    #[test]
    fn notes_are_worth_as_much_in_either_season() {
        let apart = |residual: &str| {
            let text = format!(
                "task.report = {{ train = 400, eval = 4, confounding = 0.9 }}\nresidual = {{ {residual} }}"
            );
            let data: Data = toml::from_str(&text).unwrap();
            assert_eq!(data.check(), []);
            let notes = data.load(Split::Train, &Hub::from_env(), 3).unwrap();
            let of = |season: &str| {
                let own = notes.examples.iter().filter(|note| note.fields["season"] == season);
                mean(own.map(|note| note.fields["score"].as_f64().unwrap()))
            };
            of("high") - of("low")
        };
        let (naive, without) = (apart("folds = 1"), apart("fixed = ['season']"));
        assert!((naive - 1.5).abs() < 0.2 && without.abs() < 0.05, "{naive} {without}");
    }

    #[test]
    fn what_cannot_be_explained_is_said_by_row() {
        let good = json!({"outcome": "1.5", "season": "low", "price": 1});
        let said = |text: &str, bad: Value| written(text, &[good.clone(), bad]).unwrap_err();
        let text = "fixed = ['season']\nlinear = ['price']";
        let lacks = said(text, json!({"outcome": 1, "price": 2}));
        assert!(
            lacks.contains("logs:2: it has no column `season`, which data.residual.fixed names"),
            "{lacks}"
        );
        let word = said(text, json!({"outcome": "much", "season": "low", "price": 2}));
        assert!(word.contains("logs:2: `outcome` must be a number for data.residual.of"), "{word}");
        let has = said(text, json!({"outcome": 1, "season": "low", "price": 2, "score": 3}));
        assert!(has.contains("it has a column `score`, which data.residual writes"), "{has}");
        let same = json!({"outcome": 1, "season": "high", "price": 2});
        let same = said("fixed = ['season']\nridge = 0.0\nfolds = 1", same);
        assert!(same.contains("says the same as the rest"), "{same}");
        let keys = |text: &str| -> Vec<String> {
            let section: Residual = toml::from_str(text).unwrap();
            section.check().into_iter().map(|misfit| misfit.key).collect()
        };
        assert_eq!(keys("of = 'y'\nlinear = ['y']\nfolds = 0\nridge = -1.0"), ["of", "folds", "ridge"]);
        // Held-out rows without an outcome are asked all the same.
        let mut problems = Problems::default();
        let plain = rows(&[json!({"question": "q"})]);
        let kept = section("").applied(plain.clone(), Split::Eval, "logs", &mut problems);
        assert!(kept == plain && problems.is_empty());
    }
}
