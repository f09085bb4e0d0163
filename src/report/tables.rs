//! A run's evaluations as files for a paper: `table.md` and `table.csv`.

use super::summary;
use crate::checkpoint::write_atomic;
use crate::error::Result;
use crate::eval::Evaluation;
use crate::log::table::{csv_cell, markdown};
use std::collections::BTreeMap;
use std::path::Path;

/// The tables in a run's folder.
const FILES: [&str; 2] = ["table.md", "table.csv"];

/// The evaluations as Markdown, as they stand at the end of a run, and as comma-separated values: a line an evaluation, with all its
/// figures as they are. Empty where there are none.
pub fn tables(evaluations: &[Evaluation]) -> [String; 2] {
    let points = summary::points(evaluations);
    if points.is_empty() {
        return [String::new(), String::new()];
    }
    let rounds = summary::by_round(evaluations);
    let rounds = rounds.iter().map(|stage| summary::rounds(stage));
    let tables: Vec<String> =
        rounds.chain([summary::table(&points)]).map(|(header, rows)| markdown(&header, &rows)).collect();
    [tables.join("\n"), values(evaluations)]
}

/// Writes them into the run's folder where it has evaluations.
///
/// # Errors
/// Evaluations that cannot be read, a disk that fails.
pub fn write_tables(folder: &Path) -> Result<()> {
    let evaluations = Evaluation::all(folder)?;
    if evaluations.is_empty() {
        return Ok(());
    }
    for (name, text) in FILES.into_iter().zip(tables(&evaluations)) {
        write_atomic(folder.join(name), text.as_bytes())?;
    }
    Ok(())
}

fn values(evaluations: &[Evaluation]) -> String {
    let figures: Vec<BTreeMap<String, f64>> =
        evaluations.iter().map(|one| one.report.metrics().into_iter().collect()).collect();
    let mut names: Vec<&String> = figures.iter().flat_map(BTreeMap::keys).collect();
    names.sort();
    names.dedup();
    let head = ["stage", "round", "loop_round", "step", "questions"].into_iter().map(str::to_string);
    let head: Vec<String> = head.chain(names.iter().map(|name| csv_cell(name))).collect();
    let mut text = head.join(",") + "\n";
    for (one, figures) in evaluations.iter().zip(&figures) {
        let own = one.loop_round.map_or(String::new(), |round| round.to_string());
        let place = [csv_cell(&one.stage), one.round.to_string(), own, one.step.to_string()];
        let value = |name: &&String| {
            figures.get(*name).filter(|v| v.is_finite()).map_or(String::new(), f64::to_string)
        };
        let cells =
            place.into_iter().chain([one.report.questions.to_string()]).chain(names.iter().map(value));
        text += &(cells.collect::<Vec<_>>().join(",") + "\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::Report;

    #[test]
    fn a_table_has_every_evaluation_and_markup_in_it_is_text() {
        let of = |step, accuracy| {
            let classes = [("<b>|".to_string(), (accuracy, 2))].into();
            let interval = (accuracy, f64::NAN);
            let report = Report { questions: 2, accuracy, interval, classes, ..Report::default() };
            Evaluation { stage: "rl,1".into(), round: 1, loop_round: None, step, report }
        };
        let [markdown, values] = tables(&[of(0, 0.25), of(5, 0.5), of(9, 0.75)]);
        // The first and the last of the stage.
        assert!(
            markdown.starts_with("|  | rl,1, step 0 | rl,1, step 9 |\n| --- | --- | --- |\n"),
            "{markdown}"
        );
        assert!(markdown.contains("| &lt;b>\\| | 25.0 % of 2 | 75.0 % of 2 |"), "{markdown}");
        let lines: Vec<&str> = values.lines().collect();
        assert_eq!(lines.len(), 4);
        assert!(lines[0].starts_with("stage,round,loop_round,step,questions,eval/accuracy,"), "{}", lines[0]);
        assert!(lines[2].starts_with("\"rl,1\",1,,5,2,0.5,"), "{}", lines[2]);
        assert!(!values.contains("NaN"));
        assert_eq!(tables(&[]), [String::new(), String::new()]);
    }
}
