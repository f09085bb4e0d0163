//! The files of a folder that is sent to the hub.

use super::cache::files_in;
use super::listing::Remote;
use crate::digest::{hexadecimal, of_file};
use crate::error::{Error, Result};
use sha1::{Digest, Sha1};
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Bytes of the largest file that lies in a commit itself; the hub has larger ones in its store.
const LARGEST: u64 = 1 << 26;
/// Bytes by which the hub tells texts from others.
const SAMPLE: u64 = 512;

/// A file.
pub(super) struct Local {
    /// Its path from the folder, and in the repository.
    pub name: String,
    pub path: PathBuf,
    pub size: u64,
    pub sha256: String,
}

impl Local {
    /// All of a folder, sorted by name.
    pub fn all(folder: &Path) -> Result<Vec<Self>> {
        let read = |name: String| {
            let path = folder.join(&name);
            of_file(&path).map(|(size, sha256)| Self { name, path, size, sha256 })
        };
        files_in(folder).into_iter().map(read).collect()
    }

    /// Whether a repository's file has the same bytes.
    pub fn is(&self, remote: &Remote) -> Result<bool> {
        if !remote.is_whole(self.size) {
            return Ok(false);
        }
        match (&remote.sha256, &remote.blob) {
            (Some(sha256), _) => Ok(sha256.eq_ignore_ascii_case(&self.sha256)),
            (None, Some(blob)) if self.size <= LARGEST => Ok(*blob == git_name(&self.content()?)),
            _ => Ok(false),
        }
    }

    /// What it begins with.
    pub fn sample(&self) -> Result<Vec<u8>> {
        self.read(SAMPLE)
    }

    /// All of it, where it is not too large for a commit.
    pub fn content(&self) -> Result<Vec<u8>> {
        if self.size > LARGEST {
            return Err(Error::Model(format!(
                "{}: the hub wants its {} bytes in the commit itself, which is for small files; let git-lfs have it \
                 by a line of the repository's .gitattributes",
                self.name, self.size
            )));
        }
        self.read(self.size)
    }

    fn read(&self, most: u64) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let file = File::open(&self.path).map_err(Error::io(&self.path))?;
        file.take(most).read_to_end(&mut bytes).map_err(Error::io(&self.path))?;
        Ok(bytes)
    }
}

/// What git calls a file's bytes.
fn git_name(content: &[u8]) -> String {
    let mut digest = Sha1::new();
    digest.update(format!("blob {}\0", content.len()));
    digest.update(content);
    hexadecimal(&digest.finalize())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_bytes_are_known_by_either_name() {
        // By `git hash-object` and `sha256sum`.
        assert_eq!(git_name(b"hello\n"), "ce013625030ba8dba906f756967f9e9ca394464a");
        let sha256 = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("a")).unwrap();
        std::fs::write(folder.path().join("a/x"), "hello\n").unwrap();
        let all = Local::all(folder.path()).unwrap();
        let [file] = &all[..] else { panic!("one file") };
        assert_eq!((file.name.as_str(), file.size, file.sha256.as_str()), ("a/x", 6, sha256));
        let remote = |size, sha256: Option<&str>, blob: &str| Remote {
            name: "a/x".into(),
            size,
            sha256: sha256.map(str::to_owned),
            blob: Some(blob.to_owned()),
        };
        let git = "ce013625030ba8dba906f756967f9e9ca394464a";
        for (other, same) in [
            (remote(Some(6), Some(sha256), "of the pointer"), true),
            (remote(None, Some(&sha256.to_uppercase()), ""), true),
            (remote(Some(6), None, git), true),
            (remote(Some(7), Some(sha256), git), false),
            (remote(Some(6), Some("00"), git), false),
            (remote(Some(6), None, "00"), false),
        ] {
            assert_eq!(file.is(&other).unwrap(), same);
        }
    }
}
