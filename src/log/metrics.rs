//! The figures of a step, by name, with the examples that it has to name.

use crate::rollout::Figures;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Figures by name (TRL's, where TRL has the figure), each a weighted mean, a sum of one value, a least or a greatest.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Metrics {
    values: BTreeMap<String, Figure>,
    named: BTreeMap<String, Vec<String>>,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Figure {
    Mean { sum: f64, weight: f64 },
    Value(f64),
}

impl Metrics {
    /// Takes `value` into the mean of `name`, with this weight.
    pub fn add(&mut self, name: &str, value: f64, weight: f64) {
        match self.values.entry(name.to_string()).or_insert(Figure::Mean { sum: 0.0, weight: 0.0 }) {
            Figure::Mean { sum, weight: total } => {
                *sum += value * weight;
                *total += weight;
            }
            figure @ Figure::Value(_) => *figure = Figure::Value(value),
        }
    }

    /// Sets `name`.
    pub fn set(&mut self, name: &str, value: f64) {
        self.values.insert(name.to_string(), Figure::Value(value));
    }

    /// Names examples, by their ids, under `name`.
    pub fn name(&mut self, name: &str, ids: Vec<String>) {
        self.named.insert(name.to_string(), ids);
    }

    /// Keeps the greatest of the values given for `name`.
    pub fn max(&mut self, name: &str, value: f64) {
        let known = self.get(name).unwrap_or(f64::NEG_INFINITY);
        self.set(name, known.max(value));
    }

    /// Keeps the least of the values given for `name`.
    pub fn min(&mut self, name: &str, value: f64) {
        let known = self.get(name).unwrap_or(f64::INFINITY);
        self.set(name, known.min(value));
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
}

impl Figure {
    fn value(&self) -> f64 {
        match self {
            Figure::Mean { sum, weight } => sum / weight,
            Figure::Value(value) => *value,
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
