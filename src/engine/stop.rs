//! Where a completion's text first contains a stop string, found token by token.

/// Tokens that may wait for the rest of a character: a UTF-8 character has at most 4 bytes, hence at most 4 byte tokens;
/// a longer wait means that the bytes are no text at all.
const PATIENCE: usize = 8;

/// Follows one completion. Each token decodes a few tokens and searches a few characters, however long the text.
#[derive(Debug, Default)]
pub struct Watch {
    /// The latest tokens: those decoded before (context for the decoder), then those still waiting.
    tokens: Vec<u32>,
    /// How many of `tokens` were decoded before.
    settled: usize,
    /// The end of the text, long enough that a stop string that begins in it is seen.
    tail: String,
}

impl Watch {
    /// Takes the next token; returns the stop string of `strings` that it completed, if any (the leftmost one).
    pub fn push<'s>(
        &mut self,
        token: u32,
        strings: &'s [String],
        decode: &dyn Fn(&[u32]) -> String,
    ) -> Option<&'s String> {
        let longest = strings.iter().map(String::len).max()?;
        self.tokens.push(token);
        let before = decode(&self.tokens[..self.settled]);
        let now = decode(&self.tokens);
        // A decoder that rewrites what it said before (clean-up of spaces) does not extend it byte for byte.
        let new = now.strip_prefix(before.as_str()).or_else(|| now.get(before.len()..)).unwrap_or("");
        let text = format!("{}{new}", self.tail);
        let found =
            strings.iter().filter_map(|s| text.find(s.as_str()).map(|at| (at, s))).min_by_key(|(at, _)| *at);
        let unfinished = now.ends_with(char::REPLACEMENT_CHARACTER);
        if !unfinished || self.tokens.len() - self.settled > PATIENCE {
            self.settle(text, longest);
        }
        found.map(|(_, s)| s)
    }

    fn settle(&mut self, text: String, longest: usize) {
        self.tokens.drain(..self.settled);
        self.settled = self.tokens.len();
        let mut cut = text.len().saturating_sub(longest - 1);
        while !text.is_char_boundary(cut) {
            cut -= 1;
        }
        self.tail = text[cut..].to_string();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A byte-level tokenizer: token = byte, invalid UTF-8 shown as U+FFFD.
    fn bytes(ids: &[u32]) -> String {
        String::from_utf8_lossy(&ids.iter().map(|&id| id as u8).collect::<Vec<_>>()).into_owned()
    }

    fn ends(text: &[u8], strings: &[&str]) -> Option<(usize, String)> {
        let strings: Vec<String> = strings.iter().map(|s| s.to_string()).collect();
        let mut watch = Watch::default();
        text.iter().enumerate().find_map(|(index, &byte)| {
            watch.push(u32::from(byte), &strings, &bytes).map(|s| (index, s.clone()))
        })
    }

    /// "\n\nQ:" spans four tokens and is complete at byte 6; the lone "\n" at byte 1 does not end it.
    #[test]
    fn a_string_split_over_tokens_ends_with_its_last_one() {
        assert_eq!(ends(b"a\nb\n\nQ: x", &["\n\nQ:"]), Some((6, "\n\nQ:".into())));
        assert_eq!(ends(b"a\nb\nQ: x", &["\n\nQ:"]), None);
    }

    /// "é" is C3 A9. The stop "é!" is complete at byte 3 though the character came in two tokens.
    #[test]
    fn a_character_split_over_tokens_is_waited_for() {
        assert_eq!(ends("xé!y".as_bytes(), &["é!"]), Some((3, "é!".into())));
    }

    /// Twenty bytes that are no text do not hide the stop after them, nor does the window keep growing.
    #[test]
    fn invalid_bytes_do_not_block() {
        let mut text = vec![0xFFu8; 20];
        text.extend(b"ab STOP");
        assert_eq!(ends(&text, &["STOP"]), Some((26, "STOP".into())));
        let mut watch = Watch::default();
        for _ in 0..1000 {
            watch.push(0xFF, &["x".into()], &bytes);
            assert!(watch.tokens.len() <= 2 * (PATIENCE + 1));
        }
    }

    /// Of two strings completed by one token the leftmost in the text is named.
    #[test]
    fn the_leftmost_string_is_named() {
        let words =
            |ids: &[u32]| ids.iter().map(|&id| ["one ", "two three"][id as usize]).collect::<String>();
        let strings = ["three".to_string(), "two".to_string()];
        let mut watch = Watch::default();
        assert_eq!(watch.push(0, &strings, &words), None);
        assert_eq!(watch.push(1, &strings, &words), Some(&strings[1]));
    }
}
