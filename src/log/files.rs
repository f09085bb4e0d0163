//! Files that grow line by line, and TensorBoard's.

use crate::checkpoint::write_atomic;
use crate::data::tree;
use crate::error::{Error, Result};
use serde::Serialize;
use serde_json::Value;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use tensorboard_rs::summary_writer::SummaryWriter;

/// A file of JSON values, one a line, appended to.
#[derive(Debug)]
pub struct JsonLines {
    path: PathBuf,
    file: File,
}

impl JsonLines {
    /// Opens `path` for appending, after dropping the lines that `keep` refuses and an unfinished last one: a run
    /// that resumes takes back what it did after its last checkpoint.
    pub fn open(path: &Path, keep: impl Fn(&Value) -> bool) -> Result<Self> {
        if path.is_file() {
            let text = fs::read_to_string(path).map_err(Error::io(path))?;
            let kept: String =
                text.split_inclusive('\n').filter(|line| whole(line).is_some_and(|v| keep(&v))).collect();
            if kept.len() != text.len() {
                write_atomic(path, kept.as_bytes())?;
            }
        } else if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(Error::io(folder))?;
        }
        let file = OpenOptions::new().create(true).append(true).open(path).map_err(Error::io(path))?;
        Ok(Self { path: path.to_path_buf(), file })
    }

    /// Appends values in one write.
    pub fn append<T: Serialize>(&mut self, values: &[T]) -> Result<()> {
        let mut text = Vec::new();
        for value in values {
            serde_json::to_writer(&mut text, value)
                .map_err(|error| Error::Checkpoint(format!("{}: {error}", self.path.display())))?;
            text.push(b'\n');
        }
        self.file.write_all(&text).and_then(|()| self.file.flush()).map_err(Error::io(&self.path))
    }

    /// The values of a file, those of a tree's leaves one by one; none if it is not there.
    pub fn read(path: &Path) -> Result<Vec<Value>> {
        if !path.is_file() {
            return Ok(Vec::new());
        }
        let text = fs::read_to_string(path).map_err(Error::io(path))?;
        let mut values = Vec::new();
        for line in text.split_inclusive('\n').filter_map(whole) {
            match line {
                Value::Object(line) => {
                    let rows = tree::rows(line)
                        .map_err(|what| Error::Checkpoint(format!("{}: {what}", path.display())))?;
                    values.extend(rows.into_iter().map(Value::Object));
                }
                other => values.push(other),
            }
        }
        Ok(values)
    }

    /// The same as what its lines are.
    pub fn read_as<T: serde::de::DeserializeOwned>(path: &Path) -> Result<Vec<T>> {
        let line = |line| {
            serde_json::from_value(line)
                .map_err(|error| Error::Checkpoint(format!("{}: {error}", path.display())))
        };
        Self::read(path)?.into_iter().map(line).collect()
    }
}

fn whole(line: &str) -> Option<Value> {
    line.ends_with('\n').then(|| serde_json::from_str(line).ok()).flatten()
}

/// TensorBoard event files of one stage.
pub struct Board {
    writer: SummaryWriter,
}

impl Board {
    /// Writes into `folder`.
    pub fn open(folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder).map_err(Error::io(folder))?;
        Ok(Self { writer: SummaryWriter::new(folder) })
    }

    /// The figures of a step.
    pub fn add<'a>(&mut self, figures: impl IntoIterator<Item = (&'a str, f64)>, step: usize) {
        for (name, value) in figures {
            self.writer.add_scalar(name, value as f32, step);
        }
        self.writer.flush();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn resuming_takes_back_what_came_after_and_what_is_unfinished() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        fs::write(&path, "{\"step\":1}\n{\"step\":2}\n{\"step\":3}\n{\"st").unwrap();
        let mut file = JsonLines::open(&path, |line| line["step"].as_u64() <= Some(2)).unwrap();
        file.append(&[json!({"step": 3, "again": true})]).unwrap();
        assert_eq!(
            fs::read_to_string(&path).unwrap(),
            "{\"step\":1}\n{\"step\":2}\n{\"step\":3,\"again\":true}\n"
        );
    }

    #[test]
    fn events_are_written() {
        let folder = tempfile::tempdir().unwrap();
        let mut board = Board::open(&folder.path().join("rl")).unwrap();
        board.add([("loss", 0.5)], 1);
        // They are written from a thread that the board waits for when it is dropped.
        drop(board);
        let events = fs::read_dir(folder.path().join("rl")).unwrap().next().unwrap().unwrap();
        assert!(events.metadata().unwrap().len() > 0);
    }
}
