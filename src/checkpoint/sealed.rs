//! JSON that says of itself, by a checksum, whether a bit of it has changed since it was written.

use super::atomic::write_atomic;
use crate::{Error, Result};
use serde::Serialize;
use serde_json::{Map, Value};
use std::path::Path;

/// The key of the CRC-32 of the text without it, with no spaces.
const CHECKSUM: &str = "checksum";

/// Writes an object with its checksum: complete, or not at all.
///
/// # Errors
/// [`Error::Checkpoint`] of what is not JSON, and of a disk that fails.
pub(super) fn write_sealed(path: &Path, object: &impl Serialize) -> Result<()> {
    let no_json = |error| Error::Checkpoint(format!("{}: {error}", path.display()));
    let text = match serde_json::to_value(object).map_err(no_json)? {
        Value::Object(object) => sealed(object),
        other => format!("{other:#}\n"),
    };
    write_atomic(path, text.as_bytes())
}

/// The text of an object with its checksum.
pub fn sealed(mut object: Map<String, Value>) -> String {
    object.shift_remove(CHECKSUM);
    let sum = checksum(&object);
    object.insert(CHECKSUM.into(), sum);
    format!("{:#}\n", Value::Object(object))
}

/// The object of a sealed text, without its checksum; what is wrong otherwise.
pub(super) fn unsealed(text: &[u8]) -> std::result::Result<Value, String> {
    let value: Value = serde_json::from_slice(text).map_err(|error| format!("is not JSON: {error}"))?;
    let Value::Object(mut object) = value else { return Err("is no object".into()) };
    match object.shift_remove(CHECKSUM) {
        None => Err("has no checksum".into()),
        Some(written) if written != checksum(&object) => {
            Err("is not any more what was written: its checksum is another".into())
        }
        Some(_) => Ok(Value::Object(object)),
    }
}

fn checksum(object: &Map<String, Value>) -> Value {
    let text = serde_json::to_string(object).expect("an object of JSON");
    crc32fast::hash(text.as_bytes()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bit_counts_but_those_of_spaces() {
        let object = serde_json::json!({"step": 5, "figures": {"loss": -0.0, "seed": u64::MAX, "x": 0.1}, "name": "ä"});
        let text = sealed(object.as_object().unwrap().clone());
        assert_eq!(unsealed(text.as_bytes()).unwrap(), object);
        for place in 0..text.len() {
            for bit in 0..8 {
                let mut bytes = text.clone().into_bytes();
                bytes[place] ^= 1 << bit;
                if let Ok(read) = unsealed(&bytes) {
                    assert_eq!(read, object, "byte {place}, bit {bit}");
                }
            }
        }
    }
}
