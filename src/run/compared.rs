//! What the trials of a run come to: the comparison, said and kept beside them.

use super::stop;
use crate::checkpoint::{RunDir, Trials, write_atomic};
use crate::compare::{self, RESAMPLES};
use crate::error::{Error, Result};
use crate::log::table;
use crate::log::terminal::{tell, typed};
use crate::report::{self, REPORT};
use std::path::{Path, PathBuf};

/// What the files of the comparison are called.
const COMPARISON: &str = "comparison";

/// Compares the trials, and keeps the comparison beside them.
pub(super) fn finish(folder: &Path, quiet: bool) -> Result<()> {
    let given = folder.to_string_lossy().into_owned();
    let compared = compare::arms(&[], std::slice::from_ref(&given))
        .and_then(|arms| compare::compare(&arms, None, RESAMPLES as usize));
    let text = match compared {
        Ok(found) => {
            let json = serde_json::to_string_pretty(&found).map_err(|error| {
                Error::Checkpoint(format!("the comparison cannot be written as JSON: {error}"))
            })?;
            let text = compare::text(&found);
            let (markdown, csv) = (compare::markdown(&found), compare::csv(&found));
            let files = [("txt", text.clone()), ("md", markdown), ("csv", csv), ("json", json + "\n")];
            for (ending, text) in files {
                write_atomic(folder.join(format!("{COMPARISON}.{ending}")), text.as_bytes())?;
            }
            if let Ok(svg) = compare::picture(&found, None) {
                write_atomic(folder.join(format!("{COMPARISON}.svg")), svg.as_bytes())?;
            }
            text
        }
        // Where nothing was evaluated, there are the figures of training alone.
        Err(error) => format!("{}\nThe trials cannot be compared: {error}\n", last_figures(folder)?),
    };
    if let Err(error) = report::write_tables(folder) {
        tracing::warn!("the table of evaluations cannot be written: {error}");
    }
    let mut text = format!("{text}\n{}\n", folder.display());
    let page = folder.join(REPORT);
    if !quiet && page.is_file() {
        text += &format!("report: {}\n", page.display());
    }
    if !quiet {
        text += &format!("  {} compare {}\n", stop::program(), typed(&given));
    }
    if let Err(error) = tell(&text) {
        tracing::warn!("the figures of {} cannot be shown: {error}", folder.display());
    }
    Ok(())
}

/// A row a trial, with the figures of its last step.
fn last_figures(folder: &Path) -> Result<String> {
    let names = ["loss", "reward", "completions/mean_length"];
    let mut rows = Vec::new();
    let begun: Vec<PathBuf> = Trials::read(folder)?.unwrap_or_default().begun(folder);
    for path in begun {
        let ledger = RunDir::join(&path).ledger()?;
        let done = ledger.stages.last().and_then(|record| record.done.as_ref());
        let figure = |name: &&str| {
            done.and_then(|done| done.metrics.get(*name)).map_or("–".into(), |value| format!("{value:.4}"))
        };
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        rows.push(std::iter::once(name).chain(names.iter().map(figure)).collect::<Vec<_>>());
    }
    let header: Vec<String> = std::iter::once("trial").chain(names).map(String::from).collect();
    Ok(table(&header, &rows))
}
