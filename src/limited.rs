//! Files that others made, read whole up to a limit of their kind, so that none of them takes the machine's memory.

use crate::error::{Error, Result};
use std::fs::File;
use std::io::Read;
use std::path::Path;

/// Bytes of a file that describes a model, such as `config.json`, at most; those that models bring have up to a few hundred thousand.
pub const DESCRIPTION: u64 = 1 << 22;
/// Bytes of a file that lists special tokens, such as `tokenizer_config.json`, at most; those of models of speech have some ten million.
pub const SPECIAL_TOKENS: u64 = 1 << 25;
/// Bytes of the list of which tensor lies in which file, at most; the largest models' have some ten million.
pub const INDEX: u64 = 1 << 26;
/// Bytes of a vocabulary, such as `tokenizer.json`, at most; the largest have some thirty million.
pub const VOCABULARY: u64 = 1 << 27;

/// The bytes of a file that has at most so many.
///
/// # Errors
/// One that has more, or is no file; one that cannot be read.
pub fn bytes(path: &Path, most: u64) -> Result<Vec<u8>> {
    let refuse = |size: u64| {
        Err(Error::Model(format!(
            "{}: it has {size} bytes, and a file of its kind has at most {most}; take the one that the model came with",
            path.display()
        )))
    };
    let size = size(path)?;
    if size > most {
        return refuse(size);
    }
    let mut bytes = Vec::with_capacity(size as usize);
    let file = File::open(path).map_err(Error::io(path))?;
    let read = file.take(most + 1).read_to_end(&mut bytes).map_err(Error::io(path))? as u64;
    // It may grow meanwhile.
    if read > most { refuse(read) } else { Ok(bytes) }
}

/// The same as text.
///
/// # Errors
/// As [`bytes`]; bytes that are no text.
pub fn text(path: &Path, most: u64) -> Result<String> {
    String::from_utf8(bytes(path, most)?)
        .map_err(|error| Error::Model(format!("{}: it is no text: {error}", path.display())))
}

/// The number of bytes of what has to be a file: to open a pipe waits for who writes into it.
///
/// # Errors
/// What is something else, or not there.
pub fn size(path: &Path) -> Result<u64> {
    let metadata = std::fs::metadata(path).map_err(Error::io(path))?;
    if metadata.is_file() {
        return Ok(metadata.len());
    }
    Err(Error::Model(format!("{}: no file, but a pipe, a device or a folder", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
