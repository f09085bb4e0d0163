//! SHA-256, of files and as text.

use crate::error::{Error, Result};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::path::Path;

/// Bytes as two hexadecimal digits each.
pub fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The number of bytes of a file, and the SHA-256 of them all in hexadecimal.
///
/// # Errors
/// It cannot be read.
pub fn of_file(path: &Path) -> Result<(u64, String)> {
    let mut digest = Sha256::new();
    let mut file = File::open(path).map_err(Error::io(path))?;
    let bytes = std::io::copy(&mut file, &mut digest).map_err(Error::io(path))?;
    Ok((bytes, hexadecimal(&digest.finalize())))
}
