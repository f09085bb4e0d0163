//! What of a JSON file is a row each: its lines, or the elements of the one array that it is.

use std::io::{BufRead, Read, Result};

/// The pieces of a text, in order.
pub(super) struct Pieces<R> {
    text: R,
    /// Bytes that a piece may have.
    longest: u64,
    array: bool,
    ended: bool,
    /// Whether an array has no end.
    pub cut: bool,
}

impl<R: BufRead> Pieces<R> {
    /// Of a text that has not been read from; a byte-order mark is passed over.
    pub fn of(mut text: R, longest: u64) -> Result<Self> {
        if text.fill_buf()?.starts_with(b"\xEF\xBB\xBF") {
            text.consume(3);
        }
        let array = skip_space(&mut text)? == Some(b'[');
        if array {
            text.consume(1);
        }
        Ok(Self { text, longest, array, ended: false, cut: false })
    }

    /// What a piece is called, and what is to be done about one that is too long.
    pub fn word(&self) -> &'static str {
        if self.array { "element" } else { "line" }
    }

    /// Reads the next piece, of at most a byte more than a piece may have; how many bytes it took of the text, 0 at the end.
    pub fn next(&mut self, piece: &mut Vec<u8>) -> Result<usize> {
        if !self.array {
            return (&mut self.text).take(self.longest + 1).read_until(b'\n', piece);
        }
        if self.ended {
            return Ok(0);
        }
        let (mut depth, mut quoted, mut escaped, mut taken) = (0usize, false, false, 0);
        loop {
            let read = self.text.fill_buf()?;
            if read.is_empty() {
                (self.ended, self.cut) = (true, true);
                return Ok(taken);
            }
            let mut ends = false;
            let mut used = 0;
            for &byte in read {
                used += 1;
                match byte {
                    _ if escaped => escaped = false,
                    b'\\' if quoted => escaped = true,
                    b'"' => quoted = !quoted,
                    _ if quoted => {}
                    b'{' | b'[' => depth += 1,
                    b']' if depth == 0 => (ends, self.ended) = (true, true),
                    b'}' | b']' => depth = depth.saturating_sub(1),
                    b',' if depth == 0 => ends = true,
                    _ => {}
                }
                if ends || piece.len() as u64 > self.longest {
                    break;
                }
                piece.push(byte);
            }
            self.text.consume(used);
            taken += used;
            if ends || piece.len() as u64 > self.longest {
                return Ok(taken);
            }
        }
    }

    /// The first byte that stands behind an array; what follows it is read by nobody.
    pub fn behind(&mut self) -> Result<Option<u8>> {
        if self.array { skip_space(&mut self.text) } else { Ok(None) }
    }
}

/// Passes over white space; the byte that is no such.
fn skip_space(text: &mut impl BufRead) -> Result<Option<u8>> {
    loop {
        let read = text.fill_buf()?;
        let space = read.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
        let (next, all) = (read.get(space).copied(), read.len());
        text.consume(space);
        if next.is_some() || all == 0 {
            return Ok(next);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::BufReader;

    /// However little is read at once.
    fn pieces(text: &str, longest: u64) -> (Vec<String>, bool, Option<u8>) {
        let of = |room: usize| {
            let mut pieces = Pieces::of(BufReader::with_capacity(room, text.as_bytes()), longest).unwrap();
            let (mut found, mut piece) = (Vec::new(), Vec::new());
            while pieces.next(&mut piece).unwrap() > 0 {
                found.push(String::from_utf8(std::mem::take(&mut piece)).unwrap().trim().to_string());
            }
            (found, pieces.cut, pieces.behind().unwrap())
        };
        assert_eq!(of(4), of(64));
        of(4)
    }

    #[test]
    fn lines_and_elements() {
        assert_eq!(pieces("{\"a\": 1}\n\n{\"b\": [2]}", 64).0, ["{\"a\": 1}", "", "{\"b\": [2]}"]);
        let array = "\u{feff} [\n {\"a\": \"],}\\\"\"},\n{\"b\": [2, {\"c\": 3}]} ]\n";
        assert_eq!(
            pieces(array, 64),
            (vec!["{\"a\": \"],}\\\"\"}".into(), "{\"b\": [2, {\"c\": 3}]}".into()], false, None)
        );
        assert_eq!(pieces("[]", 64), (vec!["".into()], false, None));
        assert_eq!(pieces("[{\"a\": 1}", 64), (vec!["{\"a\": 1}".into()], true, None));
        assert_eq!(pieces("[1] x", 64), (vec!["1".into()], false, Some(b'x')));
        assert_eq!(pieces("[\"0123456789\"]", 4).0[0].len(), 5);
    }
}
