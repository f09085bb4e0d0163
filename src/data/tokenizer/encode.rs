//! Texts as token ids and back: special tokens as tokens or as text, at the beginning of a text or within one.

use super::Tokenizer;
use crate::data::Prompt;
use crate::data::marked::Marked;
use crate::error::{Error, Result, quietly};
use std::ops::Range;
use tokenizers::Encoding;

/// Bytes of the longest text that is tokenised: a tokenizer takes some 150 bytes of memory and a microsecond for each.
const LONGEST: usize = 8 << 20;

/// Bytes that a text may have once it is normalised: those of the longest whose spaces become three bytes each, and some.
const LONGEST_NORMALISED: f64 = 32.0 * 1048576.0;

impl Tokenizer {
    /// The ids of a text, without a beginning or end token. A special token written in the text becomes its id.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        self.ids(&self.inner, text)
    }

    /// The ids of what somebody says, in which special tokens are text as any other.
    pub fn encode_content(&self, text: &str) -> Result<Vec<u32>> {
        match &self.special {
            Some(special) if special.is_match(text) => self.ids(self.plain(), text),
            _ => self.encode(text),
        }
    }

    /// The ids of a text that goes on where another one ends: no space is put before it.
    pub fn encode_after(&self, text: &str, content: bool) -> Result<Vec<u32>> {
        let encode = |text: &str| if content { self.encode_content(text) } else { self.encode(text) };
        if !self.begins_with_space || text.is_empty() {
            return encode(text);
        }
        // A line feed is a token of its own, which nothing is joined with.
        let (anchor, ids) = (encode("\n")?, encode(&format!("\n{text}"))?);
        match ids.strip_prefix(anchor.as_slice()) {
            Some(rest) => Ok(rest.to_vec()),
            None => encode(text),
        }
    }

    /// The ids of what is learned or read behind `prompt`, and of what ends it: in a conversation the token that the chat template
    /// writes behind a turn, else the end of sequence.
    pub fn completion(&self, prompt: &Prompt, text: &str) -> Result<Vec<u32>> {
        let (mut ids, end) = match prompt {
            Prompt::Text(before) if before.is_empty() => (self.encode(text)?, None),
            Prompt::Text(_) => (self.encode_after(text, false)?, None),
            Prompt::Chat(turns) => {
                let begun = turns.last().is_some_and(|last| last.role == "assistant");
                (self.encode_after(&self.turn.written(text, begun), true)?, self.turn.end)
            }
        };
        // A text may be written with what ends it.
        if !ids.last().is_some_and(|last| [Some(self.eos), end].contains(&Some(*last))) {
            ids.push(end.unwrap_or(self.eos));
        }
        Ok(ids)
    }

    /// The token that the chat template writes behind an assistant's turn, where it is a special one.
    pub fn turn_end(&self) -> Option<u32> {
        self.turn.end
    }

    fn ids(&self, inner: &tokenizers::Tokenizer, text: &str) -> Result<Vec<u32>> {
        let encoding = self.encoding(text, || inner.encode_fast(text, false))?;
        Ok(encoding.get_ids().to_vec())
    }

    fn encoding(
        &self,
        text: &str,
        encode: impl FnOnce() -> tokenizers::Result<Encoding>,
    ) -> Result<Encoding> {
        if text.len() > LONGEST {
            return Err(Error::Data(format!(
                "a text of {:.1} MB is longer than the {} MB that are tokenised at once; divide it, or leave it out: it begins {:?}",
                text.len() as f64 / f64::from(1 << 20),
                LONGEST >> 20,
                text.chars().take(60).collect::<String>()
            )));
        }
        let stretches = 1 + self.special.as_ref().map_or(0, |special| special.find_iter(text).count());
        let normalised = self.growth.after(text.len(), stretches);
        if normalised > LONGEST_NORMALISED {
            return Err(Error::Data(format!(
                "the tokenizer's normalizer makes up to {:.1} MB of a text of {:.1} MB, and the most is {:.0} MB: {:?}",
                normalised / f64::from(1 << 20),
                text.len() as f64 / f64::from(1 << 20),
                LONGEST_NORMALISED / f64::from(1 << 20),
                text.chars().take(60).collect::<String>()
            )));
        }
        // Oniguruma's limits and faults of the file are panics.
        match quietly(encode) {
            Ok(Ok(encoding)) => Ok(encoding),
            Ok(Err(error)) => Err(self.cannot_encode(text, &error.to_string())),
            Err(panic) => {
                Err(Error::Model(format!("{}/tokenizer.json fails on a text: {panic}", self.place)))
            }
        }
    }

    fn plain(&self) -> &tokenizers::Tokenizer {
        self.plain.get_or_init(|| {
            let mut plain = self.inner.clone();
            plain.set_encode_special_tokens(true);
            // What it is given stands within a text, never at its beginning.
            let within = plain.get_pre_tokenizer().and_then(|pre| serde_json::to_string(pre).ok());
            let within = within.filter(|json| json.contains("\"prepend_scheme\":\"first\""));
            let within = within
                .map(|json| json.replace("\"prepend_scheme\":\"first\"", "\"prepend_scheme\":\"never\""));
            if let Some(pre) =
                within.and_then(|json| serde_json::from_str::<tokenizers::PreTokenizerWrapper>(&json).ok())
            {
                plain.with_pre_tokenizer(Some(pre));
            }
            plain
        })
    }

    /// The ids of a text, each with the bytes of the text that it holds.
    pub fn encode_with_places(&self, text: &str) -> Result<Vec<(u32, Range<usize>)>> {
        self.places(&self.inner, text)
    }

    fn places(&self, inner: &tokenizers::Tokenizer, text: &str) -> Result<Vec<(u32, Range<usize>)>> {
        let encoding = self.encoding(text, || inner.encode(text, false))?;
        let places = encoding.get_offsets().iter().map(|&(start, end)| start..end);
        Ok(encoding.get_ids().iter().copied().zip(places).collect())
    }

    /// The stretches of a conversation, each with the vocabulary that it is encoded by.
    fn stretches(&self, marked: &Marked) -> Vec<(Range<usize>, &tokenizers::Tokenizer)> {
        match &self.special {
            Some(special) if !marked.plain.is_empty() => {
                let by = |plain: bool| if plain { self.plain() } else { &self.inner };
                marked.stretches(special).into_iter().map(|(range, plain)| (range, by(plain))).collect()
            }
            _ => vec![(0..marked.text.len(), &self.inner)],
        }
    }

    /// The same of a conversation.
    pub(in crate::data) fn places_of(&self, marked: &Marked) -> Result<Vec<(u32, Range<usize>)>> {
        let mut all = Vec::new();
        for (range, inner) in self.stretches(marked) {
            let places = self.places(inner, &marked.text[range.clone()])?;
            all.extend(places.into_iter().map(|(id, at)| (id, range.start + at.start..range.start + at.end)));
        }
        Ok(all)
    }

    /// The ids of a part of a conversation that goes on where another one ends.
    pub(super) fn ids_after(&self, marked: &Marked) -> Result<Vec<u32>> {
        let mut ids = Vec::new();
        for (at, (range, inner)) in self.stretches(marked).into_iter().enumerate() {
            let text = &marked.text[range];
            ids.extend(match at {
                0 => self.encode_after(text, !std::ptr::eq(inner, &self.inner))?,
                _ => self.ids(inner, text)?,
            });
        }
        Ok(ids)
    }

    pub(crate) fn ids_of(&self, marked: &Marked) -> Result<Vec<u32>> {
        let mut ids = Vec::new();
        for (range, inner) in self.stretches(marked) {
            ids.extend(self.ids(inner, &marked.text[range])?);
        }
        Ok(ids)
    }

    /// The text of ids, special tokens left out.
    pub fn decode(&self, ids: &[u32]) -> String {
        // Ids that the vocabulary lacks, or a decoder that the file itself got wrong, have no text.
        quietly(|| self.inner.decode(ids, true)).ok().and_then(|text| text.ok()).unwrap_or_default()
    }

    /// Bytes of what `ids` decode to, without a character that they only begin: it decodes to a stand-in, which is no text yet.
    pub fn length(&self, ids: &[u32]) -> usize {
        self.decode(ids).trim_end_matches('\u{FFFD}').len()
    }

    /// The tokens of `ids` that hold the bytes `span` of [`decode`](Self::decode)`(ids)`, any part of them.
    pub fn tokens_of(&self, ids: &[u32], span: Range<usize>) -> Range<usize> {
        let length = |tokens: usize| self.length(&ids[..tokens]);
        let counts: Vec<usize> = (0..ids.len()).collect();
        let start = counts.partition_point(|&token| length(token + 1) <= span.start);
        let end = counts.partition_point(|&token| length(token) < span.end);
        start..end.max(start)
    }

    fn cannot_encode(&self, text: &str, error: &str) -> Error {
        let mut plain = text.to_string();
        for token in self.inner.get_added_tokens_decoder().values() {
            plain = plain.replace(&token.content, "");
        }
        let missing = |c: char| self.inner.token_to_id(c.encode_utf8(&mut [0; 4])).is_none();
        match plain.chars().enumerate().find(|(_, c)| missing(*c)) {
            Some((at, c)) => Error::Data(format!(
                "the tokenizer's alphabet has no {c:?}, which stands in {:?}; add it to the alphabet or use the byte \
                 tokenizer",
                plain.chars().skip(at.saturating_sub(30)).take(60).collect::<String>()
            )),
            None => Error::Data(format!("the tokenizer refuses a text: {error}")),
        }
    }
}
