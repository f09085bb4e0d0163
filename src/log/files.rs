//! Files that grow line by line.

use super::growing::Growing;
use crate::checkpoint::{Extent, write_atomic};
use crate::data::tree;
use crate::error::{Error, Result};
use serde::Serialize;
use serde_json::Value;
use std::fs;
use std::path::Path;

/// A file of JSON values, one a line, appended to.
#[derive(Debug)]
pub struct JsonLines {
    file: Growing,
}

impl JsonLines {
    /// Opens `path` for appending behind what it held when `kept` was noted: a run that resumes takes back what it did after its
    /// last checkpoint.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] where it does not hold that any more.
    pub fn resume(path: &Path, kept: Extent) -> Result<Self> {
        Growing::resume(path, kept).map(|file| Self { file })
    }

    /// Opens `path` for appending, after dropping the lines that `keep` refuses and an unfinished last one.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] with the line that is no JSON.
    pub fn open(path: &Path, keep: impl Fn(&Value) -> bool) -> Result<Self> {
        let mut kept = Vec::new();
        for (line, value) in lines(path)? {
            if keep(&value) {
                kept.extend(line.into_bytes());
            }
        }
        let mut extent = Extent::default();
        extent.grow(&kept);
        if Extent::of(path, u64::MAX)? != extent {
            write_atomic(path, &kept)?;
        }
        Growing::open(path, extent).map(|file| Self { file })
    }

    /// Appends values in one write.
    pub fn append<T: Serialize>(&mut self, values: &[T]) -> Result<()> {
        let mut text = Vec::new();
        for value in values {
            serde_json::to_writer(&mut text, value)
                .map_err(|error| Error::Checkpoint(format!("{}: {error}", self.file.path().display())))?;
            text.push(b'\n');
        }
        self.file.append(&text)
    }

    /// Has what was appended reach the disk; how far the file has come.
    pub fn sync(&mut self) -> Result<Extent> {
        self.file.sync()
    }

    /// The values of a file, those of a tree's leaves one by one; none if it is not there. An unfinished last line is none.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] with the line that is no JSON.
    pub fn read(path: &Path) -> Result<Vec<Value>> {
        let mut values = Vec::new();
        for (_, value) in lines(path)? {
            match value {
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

/// The lines of a file that is there or not, each with what it says. What a process was writing as it died is no line.
fn lines(path: &Path) -> Result<Vec<(String, Value)>> {
    if !path.is_file() {
        return Ok(Vec::new());
    }
    let bytes = fs::read(path).map_err(Error::io(path))?;
    let mut lines = Vec::new();
    for (at, line) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
        if !line.ends_with(b"\n") {
            break;
        }
        let value = serde_json::from_slice(line).map_err(|error| {
            Error::Checkpoint(format!(
                "{}:{}: this line is no JSON, and was when the run wrote it: {error}; put the file back as it was",
                path.display(),
                at + 1
            ))
        })?;
        lines.push((String::from_utf8_lossy(line).into_owned(), value));
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn resuming_takes_back_what_came_after_and_what_is_unfinished() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        let mut file = JsonLines::resume(&path, Extent::default()).unwrap();
        file.append(&[json!({"step": 1}), json!({"step": 2})]).unwrap();
        let kept = file.sync().unwrap();
        file.append(&[json!({"step": 3})]).unwrap();
        file.file.append(b"{\"st").unwrap();
        drop(file);
        let mut file = JsonLines::resume(&path, kept).unwrap();
        file.append(&[json!({"step": 3, "again": true})]).unwrap();
        let expected = "{\"step\":1}\n{\"step\":2}\n{\"step\":3,\"again\":true}\n";
        assert_eq!(fs::read_to_string(&path).unwrap(), expected);
        assert_eq!(file.sync().unwrap(), Extent::of(&path, u64::MAX).unwrap());
        let mut file = JsonLines::open(&path, |line| line["step"].as_u64() <= Some(1)).unwrap();
        assert_eq!(file.sync().unwrap(), Extent::of(&path, 11).unwrap());
    }

    #[test]
    fn only_an_unfinished_last_line_is_dropped_without_a_word() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.jsonl");
        fs::write(&path, "{\"step\":1}\n{\"st").unwrap();
        assert_eq!(JsonLines::read(&path).unwrap().len(), 1);
        for broken in [&b"{\"step\":1}\n\0\0\0\0\n{}\n"[..], b"{}\n{\"a\":\n{}\n", b"{}\n\"\xff\"\n"] {
            fs::write(&path, broken).unwrap();
            let refused = JsonLines::read(&path).unwrap_err();
            assert!(refused.to_string().contains("metrics.jsonl:2:"), "{refused}");
            assert!(JsonLines::open(&path, |_| true).is_err());
            assert_eq!(fs::read(&path).unwrap(), broken, "nothing is repaired");
        }
    }
}
