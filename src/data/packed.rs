//! The text of files that may be packed (`.gz`, `.zst`): no more of it than a limit, and what is wrong with it in words that say what to do.

use crate::error::{Error, Result};
use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Read, Seek};
use std::path::Path;

/// What a packed file may come to, as a multiple of its size, and what any may.
const UNPACKED: (u64, u64) = (200, 1 << 29);

/// The text of a file, unpacked where it is packed.
pub(super) fn open(path: &Path) -> Result<Box<dyn BufRead>> {
    let mut text = unpacked(path)?;
    let begun = text.fill_buf().map_err(|error| unreadable(path, &error))?;
    // No text of UTF-8 has a zero so early; UTF-16 has one in every character of English.
    if matches!(begun, [0xff, 0xfe, ..] | [0xfe, 0xff, ..] | [_, 0, ..] | [0, ..]) {
        return Err(Error::Data(format!(
            "{}: it is UTF-16, or no text at all; save it as UTF-8",
            path.display()
        )));
    }
    Ok(text)
}

fn unpacked(path: &Path) -> Result<Box<dyn BufRead>> {
    let broken = |error: std::io::Error| unreadable(path, &error);
    let mut file = File::open(path).map_err(broken)?;
    let size = file.metadata().map_err(broken)?.len();
    let Some(ending) = packed(path) else { return Ok(Box::new(BufReader::new(file))) };
    let mut first = Vec::new();
    (&mut file).take(4).read_to_end(&mut first).map_err(broken)?;
    file.rewind().map_err(broken)?;
    let is_packed = match ending {
        _ if first.is_empty() => true,
        "gz" => first.starts_with(&[0x1f, 0x8b]),
        // Or a frame that is passed over.
        _ => matches!(first[..], [0x28, 0xb5, 0x2f, 0xfd] | [0x50..=0x5f, 0x2a, 0x4d, 0x18]),
    };
    if !is_packed {
        return Err(Error::Data(format!(
            "{}: it is not packed as .{ending} files are; take .{ending} off its name if it is plain, or download it again",
            path.display()
        )));
    }
    let unpacked: Box<dyn Read> = match ending {
        "gz" => Box::new(flate2::read::MultiGzDecoder::new(file)),
        _ => Box::new(zstd::stream::read::Decoder::new(file).map_err(broken)?),
    };
    let most = size.saturating_mul(UNPACKED.0).max(UNPACKED.1);
    Ok(Box::new(BufReader::new(Unpacked { text: unpacked, left: most, most })))
}

/// The ending of a packed file's name.
fn packed(path: &Path) -> Option<&'static str> {
    let ending = path.extension()?.to_str()?;
    ["gz", "zst"].into_iter().find(|known| ending.eq_ignore_ascii_case(known))
}

/// What is unpacked, up to a limit, whatever reads it and however little of it is kept.
struct Unpacked<R> {
    text: R,
    left: u64,
    most: u64,
}

impl<R: Read> Read for Unpacked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        if self.left == 0 {
            let more = self.text.read(&mut [0])? > 0;
            let what = format!("{TOO_LARGE} {} MB, {} times its size, or more", self.most >> 20, UNPACKED.0);
            return if more { Err(std::io::Error::other(what)) } else { Ok(0) };
        }
        let room = usize::try_from(self.left).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.text.read(&mut buffer[..room])?;
        self.left -= read as u64;
        Ok(read)
    }
}

const TOO_LARGE: &str = "unpacked it has more than";

/// What keeps the rows of a file from being read.
pub(super) fn unreadable(path: &Path, error: &std::io::Error) -> Error {
    let file = path.display();
    let said = error.to_string();
    match (error.raw_os_error(), error.kind()) {
        (None, _) if said.starts_with(TOO_LARGE) => {
            Error::Data(format!("{file}: {said}; unpack it yourself to read it"))
        }
        // What unpacks has something against it, and not the system.
        (None, _) if packed(path).is_some() => Error::Data(format!(
            "{file}: cut off or damaged, or something else stands behind what is packed ({said}); pack or download it again"
        )),
        (None, _) | (_, ErrorKind::NotFound | ErrorKind::PermissionDenied) => {
            Error::Data(format!("{file}: {said}"))
        }
        (Some(number), _) => Error::io(path)(std::io::Error::from_raw_os_error(number)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_two_bytes_a_character_is_said_to_be_that() {
        let folder = tempfile::tempdir().unwrap();
        let opened = |bytes: &[u8]| {
            let path = folder.path().join("rows.csv");
            std::fs::write(&path, bytes).unwrap();
            open(&path).map(drop)
        };
        let wide = |text: &str, of: fn(u16) -> [u8; 2]| text.encode_utf16().flat_map(of).collect::<Vec<u8>>();
        for bytes in [
            wide("\u{feff}question", u16::to_le_bytes),
            wide("\u{feff}question", u16::to_be_bytes),
            wide("question", u16::to_le_bytes),
            wide("question", u16::to_be_bytes),
        ] {
            let said = opened(&bytes).unwrap_err();
            assert!(matches!(&said, Error::Data(what) if what.contains("save it as UTF-8")), "{said}");
        }
        for text in ["", "q", "question", "\u{feff}question", "ß"] {
            assert!(opened(text.as_bytes()).is_ok(), "{text}");
        }
    }

    /// White space counts, too, that a file begins with.
    #[test]
    fn what_is_unpacked_ends_at_its_limit() {
        let mut spaces = Unpacked { text: std::io::repeat(b' '), left: 1 << 16, most: 1 << 30 };
        let said = std::io::copy(&mut spaces, &mut std::io::sink()).unwrap_err().to_string();
        assert!(said.starts_with("unpacked it has more than 1024 MB"), "{said}");
        let mut whole = Unpacked { text: &b"12345678"[..], left: 8, most: 8 };
        assert_eq!(std::io::copy(&mut whole, &mut std::io::sink()).unwrap(), 8);
    }
}
