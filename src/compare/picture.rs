//! A comparison as a picture: a row an arm, with its interval and its runs.

use super::Comparison;
use crate::log::intervals::{Row, intervals};

/// The accuracies as the text of an SVG file.
///
/// # Errors
/// What the drawing library says.
pub fn picture(found: &Comparison) -> Result<String, String> {
    let rows: Vec<Row> = found
        .arms
        .iter()
        .map(|arm| Row {
            name: arm.name.clone(),
            value: arm.accuracy,
            interval: arm.interval,
            points: arm.runs.iter().map(|run| run.accuracy).collect(),
        })
        .collect();
    intervals("accuracy: mean, 95 % over questions, each run", &rows)
}
