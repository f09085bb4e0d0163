//! Answers kept on disk, one file each, under a hash of all that was asked.

use super::Answer;
use crate::checkpoint::write_atomic;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

/// A file of the cache: the request (it holds no key), so that people can read what was asked, and the answer.
#[derive(Serialize, Deserialize)]
struct Kept {
    request: Value,
    answer: Answer,
}

/// The name of an answer: SHA-256 of the url, the body (which names the model) and the number of the asking.
pub(super) fn key(url: &str, body: &Value, attempt: usize) -> String {
    let mut hash = Sha256::new();
    for part in [url, &body.to_string(), &attempt.to_string()] {
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    hash.finalize().iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

/// The kept answer. A file that cannot be read, or is of another request, counts as none.
pub(super) fn read(folder: &Path, key: &str, body: &Value) -> Option<Answer> {
    let kept: Kept = serde_json::from_slice(&fs::read(path(folder, key)).ok()?).ok()?;
    (kept.request == *body).then_some(kept.answer)
}

/// Keeps an answer.
pub(super) fn write(folder: &Path, key: &str, body: &Value, answer: &Answer) -> Result<()> {
    let path = path(folder, key);
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(Error::io(parent))?;
    }
    let kept = Kept { request: body.clone(), answer: answer.clone() };
    write_atomic(&path, serde_json::to_string(&kept).expect("texts and numbers").as_bytes())
}

/// Folders by the first two digits, so that none grows too large.
fn path(folder: &Path, key: &str) -> PathBuf {
    folder.join(&key[..2]).join(format!("{key}.json"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn another_request_has_another_name() {
        let body = json!({"model": "m", "temperature": 0.5});
        let names = [
            key("http://a", &body, 0),
            key("http://b", &body, 0),
            key("http://a", &json!({"model": "m", "temperature": 0.6}), 0),
            key("http://a", &body, 1),
        ];
        let different: std::collections::HashSet<_> = names.iter().collect();
        assert_eq!((different.len(), names[0].len()), (4, 64));
        assert_eq!(names[0], key("http://a", &body, 0));
    }

    #[test]
    fn a_broken_file_counts_as_none() {
        let folder = tempfile::tempdir().unwrap();
        let (body, answer) =
            (json!({"x": 1}), Answer { choices: vec![], prompt_tokens: 1, completion_tokens: 2 });
        let name = key("http://a", &body, 0);
        assert_eq!(read(folder.path(), &name, &body), None);
        write(folder.path(), &name, &body, &answer).unwrap();
        assert_eq!(read(folder.path(), &name, &body), Some(answer));
        assert_eq!(read(folder.path(), &name, &json!({"x": 2})), None);
        fs::write(path(folder.path(), &name), "{\"request\"").unwrap();
        assert_eq!(read(folder.path(), &name, &body), None);
    }
}
