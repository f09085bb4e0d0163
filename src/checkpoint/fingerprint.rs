//! Whether a file that a run reads is still the one that it began with, or others.

use super::takeover::entries;
use crate::digest::{hexadecimal, of_file};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

/// Bytes of a block that is read, and how many blocks are read of large weights, evenly spread over them.
const BLOCK: u64 = 1 << 16;
const BLOCKS: u64 = 64;

/// A file's size, and the SHA-256 of its content; of weights of more than 4 MiB, of 64 blocks of it: what was trained on differs
/// everywhere. The time of its last change is no part of it: who copies a folder changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    /// Bytes.
    pub bytes: u64,
    /// The digest, in hexadecimal.
    pub sha256: String,
}

impl Fingerprint {
    /// Of the file `path`.
    pub fn of(path: &Path) -> Result<Fingerprint> {
        let mut file = File::open(path).map_err(Error::io(path))?;
        let bytes = file.metadata().map_err(Error::io(path))?.len();
        let mut digest = Sha256::new();
        let weights = path.extension().is_some_and(|end| end == "safetensors");
        if weights && bytes > BLOCK * BLOCKS {
            let apart = |block: u64| u128::from(bytes - BLOCK) * u128::from(block) / u128::from(BLOCKS - 1);
            let mut read = |from: u64| -> std::io::Result<()> {
                file.seek(SeekFrom::Start(from))?;
                std::io::copy(&mut file.by_ref().take(BLOCK), &mut digest).map(drop)
            };
            (0..BLOCKS).try_for_each(|block| read(apart(block) as u64)).map_err(Error::io(path))?;
        } else {
            let (bytes, sha256) = of_file(path)?;
            return Ok(Fingerprint { bytes, sha256 });
        }
        Ok(Fingerprint { bytes, sha256: hexadecimal(&digest.finalize()) })
    }

    /// Of each of these files, and of the files that lie in each of these folders, by what they are called.
    pub fn of_all(named: &[(String, PathBuf)]) -> Result<BTreeMap<String, Fingerprint>> {
        let mut all = BTreeMap::new();
        for (name, path) in named {
            if !path.is_dir() {
                all.insert(name.clone(), Fingerprint::of(path)?);
                continue;
            }
            for (file, path) in entries(path)?.into_iter().filter(|(_, path)| path.is_file()) {
                all.insert(format!("{name}/{file}"), Fingerprint::of(&path)?);
            }
        }
        Ok(all)
    }
}

/// How what is read now differs from what was read before, a file a line.
pub fn differences(
    before: &BTreeMap<String, Fingerprint>,
    now: &BTreeMap<String, Fingerprint>,
) -> Vec<String> {
    let gone = before.keys().filter(|path| !now.contains_key(*path)).map(|path| format!("{path} is gone"));
    let other = now.iter().filter_map(|(path, found)| match before.get(path) {
        None => Some(format!("{path} is new")),
        Some(known) if known.bytes != found.bytes => {
            Some(format!("{path} had {} bytes and has {}", known.bytes, found.bytes))
        }
        Some(known) => (known != found).then(|| format!("{path} has other content")),
    });
    gone.chain(other).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_byte_or_another_length_is_another_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.jsonl");
        let of = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            Fingerprint::of_all(&[("data".into(), folder.path().to_path_buf())]).unwrap()
        };
        let small = of(b"abc");
        // NIST's example.
        assert!(small.values().all(|one| one.sha256.starts_with("ba7816bf8f01cfea414140de5dae2223")));
        assert_eq!(small, of(b"abc"));
        assert_eq!(differences(&small, &of(b"abd")), ["data/rows.jsonl has other content"]);
        assert!(differences(&small, &of(b"abcd"))[0].ends_with("had 3 bytes and has 4"));
        let mut large = vec![7; 5 << 20];
        for at in [1 << 20, (5 << 20) - 1, 3_333_333] {
            let before = of(&large);
            large[at] = 8;
            assert_eq!(differences(&before, &of(&large)).len(), 1, "byte {at}");
        }
        let weights = folder.path().join("model.safetensors");
        let of = |bytes: &[u8]| {
            std::fs::write(&weights, bytes).unwrap();
            Fingerprint::of(&weights).unwrap()
        };
        let before = of(&large);
        *large.last_mut().unwrap() = 9;
        assert_ne!(before, of(&large), "the last block is among those read");
    }
}
