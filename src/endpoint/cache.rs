//! Answers kept on disk, one file each, under a hash of all that was asked.

use super::Answer;
use super::reply::says_something;
use crate::digest::hexadecimal;
use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

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
    hexadecimal(&hash.finalize())
}

/// The kept answer. A file that cannot be read, is of another request, or has an answer that says nothing, counts as none.
pub(super) fn read(folder: &Path, key: &str, body: &Value) -> Option<Answer> {
    let kept: Kept = serde_json::from_slice(&fs::read(path(folder, key)).ok()?).ok()?;
    let all_say = kept.answer.choices.iter().all(|choice| says_something(&choice.text));
    (kept.request == *body && all_say).then_some(kept.answer)
}

/// Keeps an answer, for its owner's eyes. Two processes may keep the same one at once.
pub(super) fn write(folder: &Path, key: &str, body: &Value, answer: &Answer) -> Result<()> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let path = path(folder, key);
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent).map_err(Error::io(parent))?;
    }
    let kept = Kept { request: body.clone(), answer: answer.clone() };
    let text = serde_json::to_string(&kept).expect("texts and numbers");
    let (process, number) = (std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let unfinished = path.with_extension(format!("{process}-{number}.unfinished"));
    let mut options = OpenOptions::new();
    let written = options
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&unfinished)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .and_then(|()| fs::rename(&unfinished, &path));
    written.map_err(|error| {
        let _ = fs::remove_file(&unfinished);
        Error::io(&path)(error)
    })
}

/// Folders by the first two digits, so that none grows too large.
fn path(folder: &Path, key: &str) -> PathBuf {
    folder.join(&key[..2]).join(format!("{key}.json"))
}

#[cfg(test)]
mod tests {
    use super::super::Choice;
    use super::*;
    use serde_json::json;
    use std::os::unix::fs::PermissionsExt;

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
        assert_eq!(read(folder.path(), &name, &body).as_ref(), Some(&answer));
        let mode = fs::metadata(path(folder.path(), &name)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "for its owner's eyes");
        assert_eq!(read(folder.path(), &name, &json!({"x": 2})), None);
        for text in [" ", "\u{200B}", "<think>hm</think>"] {
            let silent = Answer { choices: vec![Choice::new(text, false)], ..answer.clone() };
            write(folder.path(), &name, &body, &silent).unwrap();
            assert_eq!(read(folder.path(), &name, &body), None, "{text:?}");
        }
        fs::write(path(folder.path(), &name), "{\"request\"").unwrap();
        assert_eq!(read(folder.path(), &name, &body), None);
    }
}
