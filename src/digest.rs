//! SHA-256 of files, and bytes as text.

use crate::error::{Error, Result};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::path::Path;

/// Bytes as two hexadecimal digits each.
pub fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Bytes in base64 as RFC 4648 has it, with padding.
///
/// ```
/// use rationale::digest::base64;
/// assert_eq!(["", "f", "fo", "foo", "foobar"].map(|text| base64(text.as_bytes())), ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYmFy"]);
/// ```
pub fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let bits =
            chunk.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for place in 0..4 {
            let letter = char::from(LETTERS[(bits >> (18 - 6 * place) & 63) as usize]);
            text.push(if place <= chunk.len() { letter } else { '=' });
        }
    }
    text
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
