//! The text of a completion as its tokens come: a character that lies across tokens is told when it is whole, and what may be the
//! beginning of a text that ends the completion is held back.

use crate::data::Tokenizer;

/// Tokens that may wait for the rest of a character, after which they are no text at all.
const PATIENCE: usize = 8;

/// The text of tokens, as far as it is sure. Each token decodes a few tokens, however long the text.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    ids: Vec<u32>,
    /// The tokens from here on are decoded: those before `settled` for what stands before, those behind it for their text.
    from: usize,
    settled: usize,
    text: String,
    characters: usize,
}

impl Pieces {
    /// Takes the next token.
    pub fn push(&mut self, id: u32, tokenizer: &Tokenizer) {
        self.ids.push(id);
        let before = tokenizer.decode(&self.ids[self.from..self.settled]);
        let now = tokenizer.decode(&self.ids[self.from..]);
        let unfinished = now.ends_with(char::REPLACEMENT_CHARACTER);
        if unfinished && self.ids.len() - self.settled <= PATIENCE {
            return;
        }
        // A decoder that rewrites what it said before (clean-up of spaces) does not extend it byte for byte.
        let new = now.strip_prefix(before.as_str()).or_else(|| now.get(before.len()..)).unwrap_or_default();
        self.text.push_str(new);
        self.characters += new.chars().count();
        (self.from, self.settled) = (self.settled, self.ids.len());
    }

    /// Its tokens.
    pub fn ids(&self) -> &[u32] {
        &self.ids
    }

    /// Characters that are sure.
    pub fn characters(&self) -> usize {
        self.characters
    }

    /// What can be told while it goes on: the text up to the first of `stops`, and without what may be the beginning of one.
    pub fn sure(&self, stops: &[String]) -> &str {
        if let Some((end, _)) = first_of(stops, &self.text) {
            return &self.text[..end];
        }
        let begins = |length: &usize| {
            let Some(end) = self.text.get(self.text.len() - length..) else { return false };
            stops.iter().any(|stop| stop.len() > *length && stop.starts_with(end))
        };
        let longest = stops.iter().map(String::len).max().unwrap_or(0).min(self.text.len());
        let held = (1..=longest).rev().find(begins).unwrap_or(0);
        &self.text[..self.text.len() - held]
    }
}

/// Where the first of `stops` begins in `text`, and which it is.
pub(super) fn first_of<'s>(stops: &'s [String], text: &str) -> Option<(usize, &'s String)> {
    stops.iter().filter_map(|stop| Some((text.find(stop.as_str())?, stop))).min_by_key(|(at, _)| *at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str, stops: &[&str]) -> Vec<String> {
        let tokenizer = Tokenizer::bytes();
        let stops: Vec<String> = stops.iter().map(|stop| stop.to_string()).collect();
        let mut pieces = Pieces::default();
        let ids = tokenizer.encode(text).unwrap();
        ids.into_iter()
            .map(|id| {
                pieces.push(id, &tokenizer);
                pieces.sure(&stops).to_owned()
            })
            .collect()
    }

    /// "é" is two bytes, a token each: it is told with the second. What may become "end" waits until it cannot.
    #[test]
    fn a_text_is_told_as_far_as_it_is_sure() {
        assert_eq!(told("aéb", &[]), ["a", "a", "aé", "aéb"]);
        assert_eq!(told("xenex", &["end"]), ["x", "x", "x", "xen", "xenex"]);
        assert_eq!(told("aé", &["éb"]), ["a", "a", "a"]);
        assert_eq!(told("xend", &["end"]), ["x", "x", "x", "x"]);
    }

    /// Of several texts in one token the one that begins first ends it, whichever is asked for first.
    #[test]
    fn the_text_that_begins_first_ends_a_completion() {
        let stops = ["b", "a"].map(String::from);
        assert_eq!(first_of(&stops, "xab"), Some((1, &stops[1])));
        assert_eq!(first_of(&stops, "xy"), None);
    }

    /// Bytes that are no text are told as such after a while, and the text behind them in order.
    #[test]
    fn bytes_that_are_no_text_keep_nothing_back_for_ever() {
        let tokenizer = Tokenizer::bytes();
        let byte = tokenizer.encode("é").unwrap()[0];
        let ids = [vec![byte; 20], tokenizer.encode("ab").unwrap()].concat();
        let mut pieces = Pieces::default();
        ids.iter().for_each(|&id| pieces.push(id, &tokenizer));
        assert_eq!(pieces.sure(&[]), tokenizer.decode(&ids));
        assert_eq!(pieces.characters(), 22);
    }
}
