//! Where the tokens of a completion stand in its text, by the tokenizer of one of the run's checkpoints.

use crate::checkpoint::Saved;
use crate::data::Tokenizer;
use std::cell::RefCell;
use std::collections::HashMap;
use std::path::Path;

/// How many tokens are decoded together where they cannot be decoded one by one.
const WINDOW: usize = 16;

/// What splits completions into tokens.
pub(super) struct Pieces {
    tokenizer: Option<Tokenizer>,
    known: RefCell<HashMap<u32, String>>,
}

impl Pieces {
    /// With the tokenizer of the newest model in the run; without one where the run has no model.
    pub fn of(folder: &Path) -> Self {
        let saved = Saved::newest_model(folder).ok().flatten();
        let tokenizer = saved.and_then(|saved| Tokenizer::load(&saved.path).ok());
        Self { tokenizer, known: RefCell::default() }
    }

    /// The length of each token in `text`, in UTF-16 units as scripts count them; none where the tokens are not this text's.
    pub fn lengths(&self, ids: &[u32], text: &str) -> Option<Vec<usize>> {
        let tokenizer = self.tokenizer.as_ref()?;
        let bytes = self.one_by_one(tokenizer, ids, text).or_else(|| windows(tokenizer, ids, text))?;
        let mut at = 0;
        let length = |bytes: usize| {
            let piece = text.get(at..at + bytes)?;
            at += bytes;
            Some(utf16(piece))
        };
        bytes.into_iter().map(length).collect()
    }

    fn one_by_one(&self, tokenizer: &Tokenizer, ids: &[u32], text: &str) -> Option<Vec<usize>> {
        let mut known = self.known.borrow_mut();
        let (mut lengths, mut rest) = (Vec::with_capacity(ids.len()), text);
        for id in ids {
            let piece = known.entry(*id).or_insert_with(|| tokenizer.decode(&[*id]));
            rest = rest.strip_prefix(piece.as_str())?;
            lengths.push(piece.len());
        }
        rest.is_empty().then_some(lengths)
    }
}

/// The bytes of each token where a token by itself is another text than among others: a part of a character, a word's beginning.
fn windows(tokenizer: &Tokenizer, ids: &[u32], text: &str) -> Option<Vec<usize>> {
    let (mut from, mut before) = (0, 0);
    let mut lengths = Vec::with_capacity(ids.len());
    for at in 0..ids.len() {
        if at - from == WINDOW {
            from = at - WINDOW / 2;
            before = tokenizer.length(&ids[from..at]);
        }
        let now = tokenizer.length(&ids[from..=at]);
        lengths.push(now.checked_sub(before)?);
        before = now;
    }
    (lengths.iter().sum::<usize>() == text.len()).then_some(lengths)
}

/// How many units scripts count in a text.
pub(super) fn utf16(text: &str) -> usize {
    text.chars().map(char::len_utf16).sum()
}

/// Numbers below 0 as one letter each, from 0 (`A`) to −8 and less (`_`): what a page shades tokens by.
pub(super) fn shades(logprobs: &[f32]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let letter = |logprob: &f32| {
        let place = (-logprob).clamp(0.0, 8.0) / 8.0 * 63.0;
        char::from(LETTERS[if place.is_nan() { 63 } else { place.round() as usize }])
    };
    logprobs.iter().map(letter).collect()
}

/// Equal numbers that follow each other as one with their count.
pub(super) fn runs(values: &[f32]) -> Vec<(usize, f64)> {
    let one = |equal: &[f32]| (equal.len(), super::figures::short(f64::from(equal[0])));
    values.chunk_by(|a, b| a == b).map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pieces(tokenizer: Tokenizer) -> Pieces {
        Pieces { tokenizer: Some(tokenizer), known: RefCell::default() }
    }

    #[test]
    fn tokens_of_a_text_stand_where_they_are() {
        let tokenizer = Tokenizer::bytes();
        let ids = tokenizer.encode("aé𝄞b").unwrap();
        // One byte a token: a character's last byte brings its text, 1 unit of é and 2 of 𝄞.
        let found = pieces(tokenizer.clone()).lengths(&ids, "aé𝄞b").unwrap();
        assert_eq!(found, [1, 0, 1, 0, 0, 0, 2, 1]);
        let long = "é".repeat(40);
        let ids = tokenizer.encode(&long).unwrap();
        let found = pieces(tokenizer.clone()).lengths(&ids, &long).unwrap();
        assert_eq!((found.len(), found.iter().sum::<usize>()), (80, 40));
        assert_eq!(pieces(tokenizer).lengths(&ids, "other"), None);
    }

    #[test]
    fn shades_and_runs_say_what_numbers_say() {
        assert_eq!(shades(&[0.0, -8.0, -99.0, f32::NEG_INFINITY, -4.0]), "A___g");
        assert_eq!(runs(&[0.5, 0.5, -1.0]), [(2, 0.5), (1, -1.0)]);
    }
}
