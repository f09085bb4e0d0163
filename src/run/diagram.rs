//! The reliability diagram that a run draws of its newest evaluation.

use crate::checkpoint::write_atomic;
use crate::error::{Error, Result};
use crate::eval::Report;
use crate::log::reliability::{Bin, diagram};
use std::path::Path;

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
    let path = folder.join(format!("{name}-reliability.svg"));
    let svg = diagram(&title, &bins.collect::<Vec<_>>())
        .map_err(|error| Error::Checkpoint(format!("{}: {error}", path.display())))?;
    write_atomic(&path, svg.as_bytes())
}
