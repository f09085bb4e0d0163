//! Files that others made or may have changed: plain ones, since a pipe waits for who writes into it and a device never ends, and read whole up to a
//! limit of their kind, so that none of them takes the machine's memory.

use crate::error::{Error, Result};
use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::Path;

/// Bytes of a file that describes a model, such as `config.json`, at most; those that models bring have up to a few hundred thousand.
pub const DESCRIPTION: u64 = 1 << 22;
/// Bytes of a file that lists special tokens, such as `tokenizer_config.json`, at most; those of models of speech have some ten million.
pub const SPECIAL_TOKENS: u64 = 1 << 25;
/// Bytes of the list of which tensor lies in which file, at most; the largest models' have some ten million.
pub const INDEX: u64 = 1 << 26;
/// Bytes of a vocabulary, such as `tokenizer.json`, at most; the largest have some thirty million.
pub const VOCABULARY: u64 = 1 << 27;

/// Bytes of what a run notes at most: recipes, stages, trials, states of checkpoints.
const NOTES: u64 = 1 << 28;

/// The bytes of a model's file that has at most so many.
///
/// # Errors
/// One that has more, or is no file; one that cannot be read.
pub fn bytes(path: &Path, most: u64) -> Result<Vec<u8>> {
    read(path, most, OF_MODEL).map_err(of_model(path))
}

/// The same as text.
///
/// # Errors
/// As [`bytes`]; bytes that are no text.
pub fn text(path: &Path, most: u64) -> Result<String> {
    read(path, most, OF_MODEL).and_then(as_text).map_err(of_model(path))
}

/// The number of bytes of a model's file.
///
/// # Errors
/// What is no file, or not there.
pub fn size(path: &Path) -> Result<u64> {
    plain(path).map_err(of_model(path))
}

/// The bytes of what a run has noted.
///
/// # Errors
/// More than 256 MB, or no file; one that cannot be read.
pub fn notes(path: &Path) -> io::Result<Vec<u8>> {
    read(path, NOTES, "no run writes a longer one")
}

/// The same as text.
///
/// # Errors
/// As [`notes`]; bytes that are no text.
pub fn notes_text(path: &Path) -> io::Result<String> {
    notes(path).and_then(as_text)
}

/// Opens a file to read it.
///
/// # Errors
/// What is no file, not there, or cannot be opened.
pub fn open(path: &Path) -> io::Result<File> {
    plain(path)?;
    File::open(path)
}

/// What there is to do about a model's file that is too long.
const OF_MODEL: &str = "take the one that the model came with";

fn of_model(path: &Path) -> impl FnOnce(io::Error) -> Error {
    move |error| match error.kind() {
        ErrorKind::InvalidInput | ErrorKind::InvalidData => {
            Error::Model(format!("{}: {error}", path.display()))
        }
        _ => Error::io(path)(error),
    }
}

fn read(path: &Path, most: u64, remedy: &str) -> io::Result<Vec<u8>> {
    let refuse = |size: u64| {
        Err(refused(format!("it has {size} bytes, and a file of its kind has at most {most}; {remedy}")))
    };
    let size = plain(path)?;
    if size > most {
        return refuse(size);
    }
    let mut bytes = Vec::with_capacity(size as usize);
    let read = File::open(path)?.take(most + 1).read_to_end(&mut bytes)? as u64;
    // It may grow meanwhile.
    if read > most { refuse(read) } else { Ok(bytes) }
}

fn as_text(bytes: Vec<u8>) -> io::Result<String> {
    String::from_utf8(bytes)
        .map_err(|error| io::Error::new(ErrorKind::InvalidData, format!("it is no text: {error}")))
}

/// The number of bytes of what has to be a file: to open a pipe is to wait.
fn plain(path: &Path) -> io::Result<u64> {
    let metadata = std::fs::metadata(path)?;
    if metadata.is_file() {
        return Ok(metadata.len());
    }
    Err(refused("no file, but a pipe, a device or a folder; take it away, a file should be there".into()))
}

fn refused(what: String) -> io::Error {
    io::Error::new(ErrorKind::InvalidInput, what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::CString;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_file_is_read_up_to_its_limit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        std::fs::write(&path, "12345678").unwrap();
        assert_eq!(bytes(&path, 8).unwrap(), b"12345678");
        assert_eq!(text(&path, 9).unwrap(), "12345678");
        let said = text(&path, 7).unwrap_err();
        assert_eq!(said.exit_code(), 2);
        assert!(
            said.to_string().contains("config.json: it has 8 bytes, and a file of its kind has at most 7"),
            "{said}"
        );
        std::fs::write(&path, b"\xff").unwrap();
        assert!(text(&path, 8).unwrap_err().to_string().contains("it is no text"));
        assert!(bytes(folder.path(), 8).unwrap_err().to_string().contains("no file, but a pipe"));
        assert_eq!(bytes(&folder.path().join("none"), 8).unwrap_err().exit_code(), 2);
    }

    /// A file without content that says to be large takes no memory and no time.
    #[test]
    fn what_is_too_large_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("tokenizer.json");
        File::create(&path).unwrap().set_len(1 << 33).unwrap();
        let said = bytes(&path, VOCABULARY).unwrap_err().to_string();
        assert!(said.contains("8589934592 bytes") && said.contains("at most 134217728"), "{said}");
    }

    #[test]
    fn what_is_no_plain_file_is_not_opened() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let pipe = CString::new(path("pipe").as_os_str().as_bytes()).unwrap();
        // SAFETY: mkfifo(3) reads the path alone.
        assert_eq!(unsafe { libc::mkfifo(pipe.as_ptr(), 0o600) }, 0);
        symlink("/dev/zero", path("zeros")).unwrap();
        for name in ["pipe", "zeros", "."] {
            for refused in [notes(&path(name)).map(drop), open(&path(name)).map(drop)] {
                let refused = refused.unwrap_err().to_string();
                assert!(
                    refused.starts_with("no file, but a pipe, a device or a folder"),
                    "{name}: {refused}"
                );
            }
            assert_eq!(size(&path(name)).unwrap_err().exit_code(), 2);
        }
        std::fs::write(path("plain"), "text").unwrap();
        symlink("plain", path("link")).unwrap();
        assert_eq!(notes_text(&path("link")).unwrap(), "text");
        assert_eq!(notes(&path("none")).unwrap_err().kind(), ErrorKind::NotFound);
        // A file of holes takes no place on the disk.
        File::create(path("long")).and_then(|file| file.set_len(NOTES + 1)).unwrap();
        let long = notes(&path("long")).unwrap_err().to_string();
        assert!(long.ends_with("at most 268435456; no run writes a longer one"), "{long}");
    }
}
