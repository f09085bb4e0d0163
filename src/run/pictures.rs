//! The pictures that a run draws beside its figures.

use crate::checkpoint::write_atomic;
use crate::error::{Error, Result};
use crate::eval::{Evaluation, Report};
use crate::log::reliability::{Bin, diagram};
use crate::log::terminal::shown;
use crate::log::{plot, tree};
use crate::report::{self, summary};
use crate::rollout::Trace;
use std::path::Path;

/// Draws the first tree of a step's rollouts, where they are leaves of some: `trees/<name>.svg`; the same as lines of text.
pub fn tree(folder: &Path, name: &str, traces: &[Trace]) -> Result<Option<String>> {
    let Some(first) = traces.iter().find(|trace| !trace.forks.is_empty()) else { return Ok(None) };
    let leaves: Vec<&Trace> = traces.iter().filter(|trace| trace.example == first.example).collect();
    let folder = folder.join("trees");
    std::fs::create_dir_all(&folder).map_err(Error::io(&folder))?;
    write(&folder.join(format!("{name}.svg")), tree::picture(&leaves).transpose())?;
    Ok(tree::lines(&leaves))
}

/// Draws the accuracy by round of a stage (its name and round) whose loop has rounds, by the classes of a column:
/// `<name>-accuracy.svg`.
pub fn rounds(
    folder: &Path,
    name: &str,
    evaluations: &[Evaluation],
    of: (&str, usize),
    by: &str,
) -> Result<()> {
    let ours = |stage: &&Vec<&Evaluation>| stage.iter().all(|e| (e.stage.as_str(), e.round) == of);
    let stages = summary::by_round(evaluations);
    let svg = stages.iter().find(ours).map(|stage| plot::accuracy(&[summary::panel(stage, by)], "round"));
    write(&folder.join(format!("{name}-accuracy.svg")), svg)
}

/// Draws the figures of a stage (its name and round) over its steps, where it has some: `<name>-curves.svg`.
pub fn curves(folder: &Path, name: &str, (stage, round): (&str, usize)) -> Result<()> {
    write(&folder.join(format!("{name}-curves.svg")), report::curves(folder, stage, round)?)
}

/// Draws the accuracy against the number of completions, where an evaluation searched among several: `<name>-by-n.svg`; where it ended
/// reasoning early, over tokens: `<name>-by-tokens.svg`.
pub fn by_number(folder: &Path, name: &str, report: &Report) -> Result<()> {
    if let Some(search) = report.search.as_ref().filter(|search| !search.stopping.is_empty()) {
        let svg = plot::accuracy(&[summary::by_tokens(name, search)], "tokens");
        return write(&folder.join(format!("{name}-by-tokens.svg")), Some(svg));
    }
    let panel = report.search.as_ref().map(|search| summary::by_number(name, search));
    let svg = panel.map(|panel| plot::accuracy(&[panel], "completions"));
    write(&folder.join(format!("{name}-by-n.svg")), svg)
}

/// Draws confidence against accuracy, where the evaluation of the stage `name` measured it: `<name>-reliability.svg`.
pub fn reliability(folder: &Path, name: &str, report: &Report) -> Result<()> {
    let process = report.process.as_ref().and_then(|process| process.calibration.as_ref());
    let Some(found) = process.or(report.calibration.as_ref()) else { return Ok(()) };
    let bins = found.bins.iter().map(|bin| Bin {
        points: bin.points,
        confidence: bin.confidence,
        accuracy: bin.accuracy,
    });
    let title = format!("{name}: calibration error {:.3}", found.error);
    let svg = diagram(&title, &bins.collect::<Vec<_>>());
    write(&folder.join(format!("{name}-reliability.svg")), Some(svg))
}

/// Writes a picture, in which a row's own words may stand: no reader of XML takes control characters.
fn write(path: &Path, svg: Option<std::result::Result<String, String>>) -> Result<()> {
    let failed = |error| Error::Checkpoint(format!("{}: {error}", path.display()));
    svg.map_or(Ok(()), |svg| write_atomic(path, shown(&svg.map_err(failed)?).as_bytes()))
}

/// What was drawn; one that could not be is a warning, for no picture is worth a run.
pub fn or_warn<T>(drawn: Result<T>) -> Option<T> {
    drawn.map_err(|error| tracing::warn!("a picture is missing: {error}")).ok()
}
