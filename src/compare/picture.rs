//! A comparison as a picture: a row an arm, with its interval and its runs.

use super::Comparison;
use crate::log::intervals::{Row, intervals};
use crate::log::terminal::shown;

/// The shares of right answers as the text of an SVG file, called so; "accuracy" where nothing is said.
///
/// # Errors
/// What the drawing library says.
pub fn picture(found: &Comparison, called: Option<&str>) -> Result<String, String> {
    let rows: Vec<Row> = found
        .arms
        .iter()
        .filter(|arm| arm.questions > 0)
        .map(|arm| Row {
            name: arm.name.clone(),
            value: arm.accuracy,
            interval: arm.interval,
            points: arm.runs.iter().map(|run| run.accuracy).collect(),
        })
        .collect();
    if rows.is_empty() {
        return Err("nothing was asked, so that there are no accuracies".to_string());
    }
    let called = called.unwrap_or("accuracy");
    let svg = intervals(&format!("{called}: mean, 95 % over questions, each run"), &rows)?;
    Ok(shown(&svg).into_owned())
}
