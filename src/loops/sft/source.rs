//! Which of several sources is learned: of answers to the same questions by several strategies or teachers, those that the model takes to best (response-strategy
//! selection by self-aligned perplexity, Ren et al. 2025, arXiv 2502.11779).

use crate::data::row::Problems;
use crate::data::{Dataset, Example};
use crate::error::{Error, Result};
use crate::section::{Misfit, broken};
use crate::statistics::mean;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// `[loop.sft.source]`: of the files that `data.train` names, learn the one whose traces have the best mean score; what all came to is said. To choose row by row instead, let
/// the reward be the score and set `select.per_example = 1`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct BestSource {
    /// The reward whose scores the traces are compared by, such as `"perplexity"`.
    pub by: String,
    /// Whether the least mean is best, as of a perplexity; the greatest otherwise.
    #[serde(default)]
    pub least: bool,
}

impl BestSource {
    /// What cannot be used as it is.
    pub fn check(&self) -> Vec<Misfit> {
        broken(&[(!self.by.is_empty(), "by", "it names no reward")])
    }

    /// The rows of the best source.
    ///
    /// # Errors
    /// [`Error::Data`] of rows without that score, and of one source alone.
    pub fn of(&self, rows: Dataset) -> Result<Dataset> {
        let mut problems = Problems::default();
        let mut scores: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
        for row in &rows.examples {
            match row.fields.get("scores").and_then(|scores| scores.get(&self.by)?.as_f64()) {
                Some(score) => scores.entry(source(row)).or_default().push(score),
                None => problems.example(
                    row,
                    format!(
                        "it has no score `{}`, by which loop.sft.source compares; collect the rows with [reward.{}]",
                        self.by, self.by
                    ),
                ),
            }
        }
        problems.into_result()?;
        let means: Vec<(&str, f64)> =
            scores.into_iter().map(|(source, scores)| (source, mean(scores))).collect();
        if means.len() < 2 {
            return Err(Error::Data(format!(
                "{}: loop.sft.source chooses among several files, and there is one; name more in data.train, or take it out",
                rows.name
            )));
        }
        let sign = if self.least { -1.0 } else { 1.0 };
        // Of equals the first.
        let best = means.iter().rev().max_by(|a, b| (sign * a.1).total_cmp(&(sign * b.1)));
        let best = best.map_or("", |best| best.0).to_string();
        let told: Vec<String> = means.iter().map(|(source, mean)| format!("{source} {mean:.4}")).collect();
        tracing::info!("loop.sft.source: {} by {} is learned of {}", best, self.by, told.join(", "));
        let kept = rows.examples.iter().filter(|row| source(row) == best);
        let renumbered =
            |(index, row): (usize, &Arc<Example>)| Arc::new(Example { index, ..(**row).clone() });
        Ok(Dataset { examples: kept.enumerate().map(renumbered).collect(), name: rows.name.clone() })
    }
}

/// The file that a row is from.
fn source(row: &Example) -> &str {
    row.origin.as_ref().map_or("", |origin| &*origin.file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Origin;
    use serde_json::json;

    fn rows(scores: &[(&str, Option<f64>)]) -> Dataset {
        let row = |(index, (file, score)): (usize, &(&str, Option<f64>))| {
            let mut row = Example { index, ..Example::text(format!("row:{index}"), "?") };
            row.origin = Some(Origin { file: (*file).into(), line: index + 1 });
            row.fields
                .insert("scores".into(), score.map_or(json!({}), |score| json!({ "perplexity": score })));
            Arc::new(row)
        };
        Dataset { name: "two".into(), examples: scores.iter().enumerate().map(row).collect() }
    }

    fn best(least: bool, scores: &[(&str, Option<f64>)]) -> Result<Vec<usize>> {
        let found = BestSource { by: "perplexity".into(), least }.of(rows(scores))?;
        assert!(found.examples.iter().enumerate().all(|(index, row)| row.index == index));
        let line = |row: &Arc<Example>| row.origin.as_ref().unwrap().line;
        Ok(found.examples.iter().map(line).collect())
    }

    /// Means 3 of a, 2.5 of b: the least is b's, though one of a's is the least of all.
    #[test]
    fn the_source_of_the_best_mean_is_learned() {
        let scores = [("a", Some(1.0)), ("b", Some(2.0)), ("a", Some(5.0)), ("b", Some(3.0))];
        assert_eq!(best(true, &scores).unwrap(), [2, 4]);
        assert_eq!(best(false, &scores).unwrap(), [1, 3]);
        // Of equals the first.
        assert_eq!(best(true, &[("a", Some(1.0)), ("b", Some(1.0))]).unwrap(), [1]);
    }

    #[test]
    fn what_cannot_be_compared_is_told() {
        let told = |scores: &[(&str, Option<f64>)]| best(true, scores).unwrap_err().to_string();
        assert!(told(&[("a", Some(1.0)), ("b", None)]).contains("it has no score `perplexity`"));
        assert!(told(&[("a", Some(1.0)), ("a", Some(2.0))]).contains("there is one"));
        assert_eq!(BestSource { by: String::new(), least: true }.check()[0].key, "by");
    }
}
