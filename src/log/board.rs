//! TensorBoard's event files: a record a figure, written by ourselves, so that a write that fails is an error with a name and
//! no panic in a thread of somebody else's.

use super::growing::Growing;
use crate::checkpoint::{Extent, Extents};
use crate::error::{Error, Result};
use protobuf::Message;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};
use tensorboard_proto::event::Event;
use tensorboard_rs::record_writer::RecordWriter;
use tensorboard_rs::summary::scalar;

/// What the names of event files begin with.
const EVENTS: &str = "events.out.tfevents.";

/// The event file of one stage. One that cannot be written to is said once and is off from then on: training goes on.
#[derive(Debug)]
pub struct Board {
    /// Its path in the run.
    name: String,
    path: PathBuf,
    file: Option<Growing>,
}

impl Board {
    /// Of `stage` in the directory of a run: goes on behind what `kept` says its file held, or begins another, without the old ones where the
    /// stage begins `anew`.
    pub fn open(run: &Path, stage: &str, kept: &Extents, anew: bool) -> Self {
        let folder = format!("tensorboard/{stage}");
        let known =
            kept.iter().find(|(name, _)| name.strip_prefix(&folder).is_some_and(|n| n.starts_with('/')));
        let new = || format!("{folder}/{EVENTS}{:010}.rationale", seconds() as u64);
        let name = known.map_or_else(new, |(name, _)| name.clone());
        let mut board = Self { path: run.join(&name), name, file: None };
        let opened = match known {
            Some((_, extent)) => board.resume(*extent),
            None => board.begin(&run.join(&folder), anew),
        };
        board.off(opened);
        board
    }

    fn resume(&mut self, kept: Extent) -> Result<()> {
        self.file = Some(Growing::resume(&self.path, kept)?);
        Ok(())
    }

    fn begin(&mut self, folder: &Path, anew: bool) -> Result<()> {
        fs::create_dir_all(folder).map_err(Error::io(folder))?;
        // Of a start that came to no checkpoint: its steps are taken anew.
        for entry in fs::read_dir(folder).map_err(Error::io(folder))? {
            let entry = entry.map_err(Error::io(folder))?;
            if anew && entry.file_name().to_string_lossy().starts_with(EVENTS) {
                fs::remove_file(entry.path()).map_err(Error::io(entry.path()))?;
            }
        }
        self.file = Some(Growing::open(&self.path, Extent::default())?);
        let mut event = Event::new();
        event.set_file_version("brain.Event:2".to_string());
        self.write(vec![event])
    }

    /// The figures of a step.
    pub fn add<'a>(&mut self, figures: impl IntoIterator<Item = (&'a str, f64)>, step: usize) {
        let event = |(name, value): (&str, f64)| {
            let mut event = Event::new();
            event.set_step(step as i64);
            event.set_summary(scalar(name, value as f32));
            event
        };
        let written = self.write(figures.into_iter().map(event).collect());
        self.off(written);
    }

    /// Has what was written reach the disk; its path in the run, and how far it has come. None once it is off.
    pub fn sync(&mut self) -> Option<(String, Extent)> {
        match self.file.as_ref()?.sync() {
            Ok(extent) => Some((self.name.clone(), extent)),
            Err(error) => {
                self.off(Err(error));
                None
            }
        }
    }

    fn write(&mut self, events: Vec<Event>) -> Result<()> {
        let Some(file) = &mut self.file else { return Ok(()) };
        let mut bytes = Vec::new();
        for mut event in events {
            event.set_wall_time(seconds());
            let record = event.write_to_bytes();
            let record = record.map_err(|e| Error::Checkpoint(format!("{}: {e}", self.path.display())))?;
            RecordWriter::new(&mut bytes).write(&record).map_err(Error::io(&self.path))?;
        }
        file.append(&bytes)
    }

    fn off(&mut self, outcome: Result<()>) {
        if let Err(error) = outcome {
            tracing::warn!("{error}; TensorBoard gets no further figures of this stage, metrics.jsonl does");
            self.file = None;
        }
    }
}

fn seconds() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The steps and tags of an event file; its records' lengths and checksums are right.
    fn points(path: &Path) -> Vec<(i64, String, f32)> {
        let bytes = fs::read(path).unwrap();
        let (mut at, mut points) = (0, Vec::new());
        while at < bytes.len() {
            let length = u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap()) as usize;
            let mut again = Vec::new();
            RecordWriter::new(&mut again).write(&bytes[at + 12..at + 12 + length]).unwrap();
            assert_eq!(again, bytes[at..at + 16 + length]);
            let event = Event::parse_from_bytes(&bytes[at + 12..at + 12 + length]).unwrap();
            for value in event.get_summary().get_value() {
                points.push((event.get_step(), value.get_tag().to_string(), value.get_simple_value()));
            }
            at += 16 + length;
        }
        points
    }

    #[test]
    fn what_a_resumed_run_takes_back_is_taken_back() {
        let run = tempfile::tempdir().unwrap();
        let mut board = Board::open(run.path(), "rl", &Extents::new(), true);
        board.add([("loss", 0.5), ("kl", 0.25)], 1);
        let kept: Extents = board.sync().into_iter().collect();
        board.add([("loss", 9.0)], 2);
        let path = board.path.clone();
        drop(board);
        let mut board = Board::open(run.path(), "rl", &kept, false);
        board.add([("loss", 0.125)], 2);
        let of = |step, name: &str, value| (step, name.to_string(), value);
        assert_eq!(points(&path), [of(1, "loss", 0.5), of(1, "kl", 0.25), of(2, "loss", 0.125)]);
        drop(board);
        // A stage that begins anew takes all of it back.
        let board = Board::open(run.path(), "rl", &Extents::new(), true);
        let files = fs::read_dir(run.path().join("tensorboard/rl")).unwrap().count();
        assert_eq!((points(&board.path).len(), files), (0, 1));
    }

    #[test]
    fn a_board_that_fails_is_off() {
        let run = tempfile::tempdir().unwrap();
        fs::write(run.path().join("tensorboard"), "no folder").unwrap();
        let mut board = Board::open(run.path(), "rl", &Extents::new(), true);
        board.add([("loss", 0.5)], 1);
        assert_eq!(board.sync(), None);
    }
}
