//! A run's evaluations as files for a paper: `table.md` and `table.csv`.

use super::{name, summary};
use crate::checkpoint::{Trials, write_atomic};
use crate::error::Result;
use crate::eval::Evaluation;
use crate::log::table::{csv_cell, markdown};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

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
    [tables.join("\n"), values(&[(None, evaluations)])]
}

/// Writes them into the run's folder where it has evaluations; of a run of trials the values of all of them, a column telling which.
///
/// # Errors
/// Evaluations that cannot be read, a disk that fails.
pub fn write_tables(folder: &Path) -> Result<()> {
    let trials = Trials::read(folder)?.unwrap_or_default().begun(folder);
    if !trials.is_empty() {
        let of = |path: &PathBuf| Evaluation::all(path).map(|all| (Some(name(path)), all));
        let all = trials.iter().map(of).collect::<Result<Vec<_>>>()?;
        return match all.iter().all(|(_, evaluations)| evaluations.is_empty()) {
            true => Ok(()),
            false => write_atomic(folder.join(FILES[1]), values(&all).as_bytes()),
        };
    }
    let evaluations = Evaluation::all(folder)?;
    if evaluations.is_empty() {
        return Ok(());
    }
    for (name, text) in FILES.into_iter().zip(tables(&evaluations)) {
        write_atomic(folder.join(name), text.as_bytes())?;
    }
    Ok(())
}

/// The evaluations of runs, each with what its trial is called where it is one.
fn values<E: AsRef<[Evaluation]>>(runs: &[(Option<String>, E)]) -> String {
    let figures = |one: &Evaluation| -> BTreeMap<String, f64> { one.report.metrics().into_iter().collect() };
    let all = runs.iter().flat_map(|(trial, evaluations)| {
        evaluations.as_ref().iter().map(move |one| (trial.as_deref(), one, figures(one)))
    });
    let all: Vec<(Option<&str>, &Evaluation, BTreeMap<String, f64>)> = all.collect();
    let mut names: Vec<&String> = all.iter().flat_map(|(.., figures)| figures.keys()).collect();
    names.sort();
    names.dedup();
    let trial = runs.iter().any(|(trial, _)| trial.is_some()).then_some("trial");
    let head = trial.into_iter().chain(["stage", "round", "loop_round", "step", "questions"]);
    let head: Vec<String> = head.map(str::to_string).chain(names.iter().map(|name| csv_cell(name))).collect();
    let mut text = head.join(",") + "\n";
    for (trial, one, figures) in &all {
        let own = one.loop_round.map_or(String::new(), |round| round.to_string());
        let place = [csv_cell(&one.stage), one.round.to_string(), own, one.step.to_string()];
        let value = |name: &&String| {
            figures.get(*name).filter(|v| v.is_finite()).map_or(String::new(), f64::to_string)
        };
        let place = trial.map(csv_cell).into_iter().chain(place);
        let cells = place.chain([one.report.questions.to_string()]).chain(names.iter().map(value));
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
        // Of two trials.
        let of_trial = |name: &str, accuracy| (Some(name.to_string()), vec![of(5, accuracy)]);
        let both = super::values(&[of_trial("lr=1_seed=0", 0.5), of_trial("lr=2_seed=0", 1.0)]);
        let lines: Vec<&str> = both.lines().collect();
        assert!(lines[0].starts_with("trial,stage,round,loop_round,step,questions,eval/accuracy,"), "{both}");
        assert!(lines[2].starts_with("lr=2_seed=0,\"rl,1\",1,,5,2,1,") && lines.len() == 3, "{both}");
    }
}
