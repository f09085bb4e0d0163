//! The figures of a step, by name, with the examples that it has to name.

use crate::rollout::Figures;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Figures by name (TRL's, where TRL has the figure). Each kind says how the figures of several ranks become one.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Metrics {
    values: BTreeMap<String, Figure>,
    named: BTreeMap<String, Vec<String>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
enum Figure {
    /// Σ w x over Σ w.
    Mean {
        #[serde(deserialize_with = "number_or_nan")]
        sum: f64,
        weight: f64,
    },
    /// The same on all ranks, or of the first.
    Value(#[serde(deserialize_with = "number_or_nan")] f64),
    /// A count, of which each rank has a part.
    Total(#[serde(deserialize_with = "number_or_nan")] f64),
    Least(#[serde(deserialize_with = "number_or_nan")] f64),
    Greatest(#[serde(deserialize_with = "number_or_nan")] f64),
    /// The deviation (n − 1) of `count` values about their mean, of which `squares` is the sum of squares.
    Deviation {
        count: f64,
        #[serde(deserialize_with = "number_or_nan")]
        mean: f64,
        #[serde(deserialize_with = "number_or_nan")]
        squares: f64,
    },
}

/// Reads a number as JSON has it, which writes null for one that is not finite, such as the mean of nothing.
pub fn number_or_nan<'a, D: Deserializer<'a>>(from: D) -> Result<f64, D::Error> {
    Ok(Option::deserialize(from)?.unwrap_or(f64::NAN))
}

impl Metrics {
    /// Takes `value` into the mean of `name`, with this weight.
    pub fn add(&mut self, name: &str, value: f64, weight: f64) {
        match self.values.entry(name.to_string()).or_insert(Figure::Mean { sum: 0.0, weight: 0.0 }) {
            Figure::Mean { sum, weight: total } => {
                *sum += value * weight;
                *total += weight;
            }
            figure => *figure = Figure::Value(value),
        }
    }

    /// Sets `name` to what is the same on all ranks.
    pub fn set(&mut self, name: &str, value: f64) {
        self.values.insert(name.to_string(), Figure::Value(value));
    }

    /// Adds to a count, which is that of all ranks together.
    pub fn count(&mut self, name: &str, value: f64) {
        self.merge_one(name, Figure::Total(value));
    }

    /// Names examples, by their ids, under `name`.
    pub fn name(&mut self, name: &str, ids: Vec<String>) {
        self.named.insert(name.to_string(), ids);
    }

    /// Keeps the greatest of the values given for `name`.
    pub fn max(&mut self, name: &str, value: f64) {
        self.merge_one(name, Figure::Greatest(value));
    }

    /// Keeps the least of the values given for `name`.
    pub fn min(&mut self, name: &str, value: f64) {
        self.merge_one(name, Figure::Least(value));
    }

    /// Takes values into the sample deviation (n − 1) of `name`; 0 of fewer than two.
    pub fn deviation(&mut self, name: &str, values: &[f64]) {
        let count = values.len() as f64;
        let mean = values.iter().sum::<f64>() / count;
        let squares = values.iter().map(|value| (value - mean).powi(2)).sum();
        if !values.is_empty() {
            self.merge_one(name, Figure::Deviation { count, mean, squares });
        }
    }

    /// Takes in the figures of another rank: means are weighted, counts added, extremes kept; of values, this one's stay.
    pub fn merge(&mut self, other: Metrics) {
        for (name, figure) in other.values {
            self.merge_one(&name, figure);
        }
        for (name, ids) in other.named {
            self.named.entry(name).or_default().extend(ids);
        }
    }

    fn merge_one(&mut self, name: &str, figure: Figure) {
        match self.values.get_mut(name) {
            Some(known) => *known = known.with(figure),
            None => drop(self.values.insert(name.to_string(), figure)),
        }
    }

    /// Takes in the figures of another, which stand in the place of those of the same name.
    pub fn extend(&mut self, other: Metrics) {
        self.values.extend(other.values);
        self.named.extend(other.named);
    }

    /// The figure as it stands.
    pub fn get(&self, name: &str) -> Option<f64> {
        self.values.get(name).map(Figure::value)
    }

    /// All figures in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, f64)> {
        self.values.iter().map(|(name, figure)| (name.as_str(), figure.value()))
    }

    /// As a JSON object: figures, and lists of ids. JSON has no NaN and no infinity: they become `null`, with a warning.
    pub fn json(&self) -> Map<String, Value> {
        let number = |(name, value): (&str, f64)| {
            if !value.is_finite() {
                tracing::warn!("{name} is {value}, written as null");
            }
            (name.to_string(), serde_json::Number::from_f64(value).map_or(Value::Null, Value::Number))
        };
        let ids = |(name, ids): (&String, &Vec<String>)| (name.clone(), ids.clone().into());
        self.iter().map(number).chain(self.named.iter().map(ids)).collect()
    }
}

impl Figures for Metrics {
    fn add(&mut self, name: &str, value: f64, weight: f64) {
        Metrics::add(self, name, value, weight);
    }

    fn set(&mut self, name: &str, value: f64) {
        Metrics::set(self, name, value);
    }

    fn count(&mut self, name: &str, value: f64) {
        Metrics::count(self, name, value);
    }
}

impl Figure {
    fn value(&self) -> f64 {
        match self {
            Figure::Mean { sum, weight } => sum / weight,
            Figure::Value(value) | Figure::Total(value) | Figure::Least(value) | Figure::Greatest(value) => {
                *value
            }
            Figure::Deviation { count, .. } if *count < 2.0 => 0.0,
            Figure::Deviation { count, squares, .. } => (squares / (count - 1.0)).sqrt(),
        }
    }

    /// Both as one; of two that are of different kinds the first.
    fn with(self, other: Figure) -> Self {
        match (self, other) {
            (Figure::Mean { sum, weight }, Figure::Mean { sum: more, weight: other }) => {
                Figure::Mean { sum: sum + more, weight: weight + other }
            }
            (Figure::Total(a), Figure::Total(b)) => Figure::Total(a + b),
            (Figure::Least(a), Figure::Least(b)) => Figure::Least(a.min(b)),
            (Figure::Greatest(a), Figure::Greatest(b)) => Figure::Greatest(a.max(b)),
            (
                Figure::Deviation { count: n, mean: a, squares: s },
                Figure::Deviation { count: m, mean: b, squares: t },
            ) => {
                // Chan, Golub and LeVeque (1979).
                let count = n + m;
                let squares = s + t + (b - a).powi(2) * n * m / count;
                Figure::Deviation { count, mean: (a * n + b * m) / count, squares }
            }
            (known, _) => known,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn means_are_weighted() {
        let mut metrics = Metrics::default();
        metrics.add("loss", 1.0, 3.0);
        metrics.add("loss", 5.0, 1.0);
        // (1·3 + 5·1) / 4 = 2.
        assert_eq!(metrics.get("loss"), Some(2.0));
        assert_eq!(metrics.get("reward"), None);
    }

    /// What two ranks saw is what one would have seen of all of it.
    #[test]
    fn figures_of_ranks_become_those_of_all() {
        let values = [2.0, 4.0, 9.0, -1.0, 3.5];
        let of = |values: &[f64]| {
            let mut metrics = Metrics::default();
            metrics.deviation("deviation", values);
            for value in values {
                metrics.add("mean", *value, 2.0);
                metrics.max("greatest", *value);
                metrics.min("least", *value);
                metrics.count("count", 1.0);
            }
            metrics.set("rate", 0.1);
            metrics.name("cut", vec![values.len().to_string()]);
            metrics
        };
        let whole = of(&values);
        let mut parts = of(&values[..2]);
        parts.merge(of(&values[2..]));
        for (name, value) in whole.iter() {
            assert!((parts.get(name).unwrap() - value).abs() < 1e-12, "{name}");
        }
        // Mean 3.5; squares 2.25 + 0.25 + 30.25 + 20.25 + 0 = 53 over 4.
        assert_eq!((whole.get("mean"), whole.get("deviation")), (Some(3.5), Some(13.25f64.sqrt())));
        assert_eq!(
            (whole.get("count"), whole.get("rate"), parts.get("rate")),
            (Some(5.0), Some(0.1), Some(0.1))
        );
        assert_eq!(parts.json()["cut"], serde_json::json!(["2", "3"]));
        // A figure of nothing is told on.
        parts.set("nothing", f64::NAN);
        let told: Metrics = serde_json::from_str(&serde_json::to_string(&parts).unwrap()).unwrap();
        assert!(told.get("nothing").unwrap().is_nan());
        assert_eq!((told.get("mean"), told.get("count")), (parts.get("mean"), parts.get("count")));
    }

    #[test]
    fn extremes_are_kept() {
        let mut metrics = Metrics::default();
        for value in [2.0, -1.0, 3.0] {
            metrics.max("most", value);
            metrics.min("least", value);
        }
        assert_eq!((metrics.get("most"), metrics.get("least")), (Some(3.0), Some(-1.0)));
    }

    #[test]
    fn named_examples_are_written_and_are_no_figures() {
        let mut metrics = Metrics::default();
        metrics.name("rows/cut", vec!["x".into(), "y".into()]);
        assert_eq!(serde_json::to_string(&metrics.json()).unwrap(), r#"{"rows/cut":["x","y"]}"#);
        assert_eq!(metrics.iter().count(), 0);
    }

    #[test]
    fn what_json_cannot_say_is_null() {
        let mut metrics = Metrics::default();
        metrics.set("kl", f64::NAN);
        metrics.set("lr", 0.5);
        assert_eq!(serde_json::to_string(&metrics.json()).unwrap(), r#"{"kl":null,"lr":0.5}"#);
    }
}
