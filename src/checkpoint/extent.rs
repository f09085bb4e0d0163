//! How far a file that grows had come, and whether what it held then is what it holds now.

use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::path::Path;

/// The first so many bytes of a file, and their checksum (CRC-32).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Extent {
    /// Bytes.
    pub bytes: u64,
    /// Their CRC-32.
    pub crc: u32,
}

/// The files of a run by their paths in it, with `/`.
pub type Extents = BTreeMap<String, Extent>;

impl Extent {
    /// Goes on over what is appended.
    pub fn grow(&mut self, appended: &[u8]) {
        let mut hasher = crc32fast::Hasher::new_with_initial(self.crc);
        hasher.update(appended);
        *self = Self { bytes: self.bytes + appended.len() as u64, crc: hasher.finalize() };
    }

    /// All that is in the file `path`, up to `limit` bytes; nothing, where there is none.
    pub fn of(path: &Path, limit: u64) -> Result<Extent> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Extent::default()),
            Err(error) => return Err(Error::io(path)(error)),
        };
        let (mut file, mut extent, mut buffer) = (file.take(limit), Extent::default(), vec![0; 1 << 16]);
        loop {
            match file.read(&mut buffer).map_err(Error::io(path))? {
                0 => return Ok(extent),
                read => extent.grow(&buffer[..read]),
            }
        }
    }

    /// Refuses a file that does not hold any more what it held.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] that names the file, and says whether it is gone, shorter or changed.
    pub fn check(&self, path: &Path) -> Result<()> {
        let found = Extent::of(path, self.bytes)?;
        if found == *self {
            return Ok(());
        }
        let what = match found.bytes {
            0 if !path.exists() => "is gone".to_string(),
            bytes if bytes < self.bytes => {
                format!("has lost its end: it holds {bytes} bytes of {}", self.bytes)
            }
            _ => format!("was changed in its first {} bytes", self.bytes),
        };
        Err(Error::Checkpoint(format!(
            "{} {what} since this run noted how far it had come; put it back as it was, or start another run \
             with policy.model set to one of this run's checkpoints",
            path.display()
        )))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_grows_is_what_is_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lines");
        std::fs::write(&path, "one\ntwo\nthree\n").unwrap();
        let mut grown = Extent::default();
        grown.grow(b"one\n");
        grown.grow(b"two\n");
        assert_eq!(Extent::of(&path, 8).unwrap(), grown);
        // CRC-32/ISO-HDLC of "123456789", from the catalogue of parametrised CRC algorithms.
        let mut known = Extent::default();
        known.grow(b"12345");
        known.grow(b"6789");
        assert_eq!(known, Extent { bytes: 9, crc: 0xCBF4_3926 });
        grown.check(&path).unwrap();
    }

    #[test]
    fn what_is_lost_or_changed_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lines");
        let mut noted = Extent::default();
        noted.grow(b"one\ntwo\n");
        for (now, word) in [("one\n", "lost its end"), ("one\nowt\n", "changed"), ("", "lost its end")] {
            std::fs::write(&path, now).unwrap();
            let refused = noted.check(&path).unwrap_err().to_string();
            assert!(refused.contains(word) && refused.contains("lines"), "{refused}");
        }
        std::fs::remove_file(&path).unwrap();
        assert!(noted.check(&path).unwrap_err().to_string().contains("is gone"));
    }
}
