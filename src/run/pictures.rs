//! The pictures that a run draws of its evaluations.

use super::places::label;
use super::session::Session;
use super::stage::Opened;
use super::summary::{self, Evaluation};
use crate::checkpoint::write_atomic;
use crate::error::{Error, Result};
use crate::eval::Report;
use crate::log::{plot, reliability};

impl Session {
    /// Draws the accuracy by round of a stage whose loop has rounds: `<stage>-accuracy.svg`.
    pub(super) fn picture(&self, opened: &Opened) -> Result<()> {
        let evaluations = self.evaluations()?;
        let ours = |stage: &&Vec<&Evaluation>| {
            stage.iter().all(|e| e.stage == opened.name && e.round == opened.round)
        };
        let stages = summary::by_round(&evaluations);
        let Some(stage) = stages.iter().find(ours) else { return Ok(()) };
        let by = opened.stage.eval.as_ref().and_then(|eval| eval.by.as_deref()).unwrap_or("class");
        self.draw(opened, "accuracy", plot::accuracy(&[summary::panel(stage, by)]))
    }

    /// Draws confidence against accuracy, where the evaluation measured it: `<stage>-reliability.svg`, of the newest one.
    pub(super) fn reliability(&self, opened: &Opened, report: &Report) -> Result<()> {
        let process = report.process.as_ref().and_then(|process| process.calibration.as_ref());
        let Some(found) = process.or(report.calibration.as_ref()) else { return Ok(()) };
        let bins = found.bins.iter().map(|bin| reliability::Bin {
            points: bin.points,
            confidence: bin.confidence,
            accuracy: bin.accuracy,
        });
        let title = format!("{}: calibration error {:.3}", opened.name, found.error);
        self.draw(opened, "reliability", reliability::diagram(&title, &bins.collect::<Vec<_>>()))
    }

    fn draw(&self, opened: &Opened, what: &str, svg: std::result::Result<String, String>) -> Result<()> {
        let path = self.dir.path().join(format!("{}-{what}.svg", label(&opened.name, opened.round)));
        let svg = svg.map_err(|error| Error::Checkpoint(format!("{}: {error}", path.display())))?;
        write_atomic(&path, svg.as_bytes())
    }
}
