//! A row's text as units, as tokens, and as words: what a mask over units means for each.

use super::section::{Extract, Units};
use crate::data::spans::spans;
use crate::data::{Example, Tokenizer};
use crate::error::Result;
use serde_json::Value;
use std::ops::Range;

/// A text, parted.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// The text.
    pub text: String,
    /// Its units, in bytes.
    pub units: Vec<Range<usize>>,
    /// Its tokens.
    pub tokens: Vec<u32>,
    /// The unit of each token; blanks belong to the unit behind them.
    pub unit_of: Vec<usize>,
    /// Which units overlap what people marked; none where the row does not say.
    pub marked: Option<Vec<bool>>,
    /// What is marked, in bytes.
    spans: Vec<Range<usize>>,
}

impl Document {
    /// The text of a row; what is wrong with it otherwise.
    pub fn of(
        example: &Example,
        extract: &Extract,
        tokenizer: &Tokenizer,
    ) -> Result<std::result::Result<Self, String>> {
        let text = match example.fields.get("question") {
            Some(Value::String(text)) => text.clone(),
            _ => example.prompt.text(),
        };
        let units = parted(&text, extract.units);
        if units.is_empty() {
            return Ok(Err("its text has no words".into()));
        }
        let spans = match spans(example, "spans", &text) {
            Ok(spans) => spans,
            Err(what) => return Ok(Err(what)),
        };
        let (tokens, unit_of) = tokenised(&text, &units, tokenizer)?;
        let marked = spans.as_ref().map(|spans| overlapping(&units, spans));
        Ok(Ok(Self { text, units, tokens, unit_of, marked, spans: spans.unwrap_or_default() }))
    }

    /// The last token of each unit; a unit without a token of its own (several in one token) has that of the one before.
    pub fn ends(&self) -> Vec<usize> {
        let end = |unit: usize| self.unit_of.partition_point(|&of| of <= unit).saturating_sub(1);
        (0..self.units.len()).map(end).collect()
    }

    /// What is selected, word by word.
    pub fn of_words<T: Copy>(&self, of_units: &[T]) -> Vec<T> {
        parted(&self.text, Units::Word)
            .iter()
            .map(|word| of_units[unit_at(&self.units, word.start)])
            .collect()
    }

    /// Which words people marked, where the row says.
    pub fn marked_words(&self) -> Option<Vec<bool>> {
        self.marked.as_ref().map(|_| overlapping(&parted(&self.text, Units::Word), &self.spans))
    }

    /// The same units with other words.
    pub fn with_words(&self, words: &[String], tokenizer: &Tokenizer) -> Result<Self> {
        let (mut text, mut units, mut end) = (String::new(), Vec::new(), 0);
        for (unit, word) in self.units.iter().zip(words) {
            text += &self.text[end..unit.start];
            units.push(text.len()..text.len() + word.len());
            text += word;
            end = unit.end;
        }
        text += &self.text[end..];
        let (tokens, unit_of) = tokenised(&text, &units, tokenizer)?;
        Ok(Self { text, units, tokens, unit_of, marked: self.marked.clone(), spans: vec![] })
    }

    /// The words of its units, where these are words.
    pub fn words(&self) -> Vec<&str> {
        self.units.iter().map(|unit| &self.text[unit.clone()]).collect()
    }
}

/// The units of a text, in bytes, none empty.
fn parted(text: &str, units: Units) -> Vec<Range<usize>> {
    let mut found: Vec<Range<usize>> = Vec::new();
    let mut start = None;
    let mut before = ' ';
    for (at, c) in text.char_indices() {
        let ends = match units {
            Units::Word => c.is_whitespace(),
            Units::Sentence => c == '\n' || (c.is_whitespace() && ".!?".contains(before)),
            Units::Paragraph => c == '\n',
        };
        if ends {
            found.extend(start.take().map(|start| start..at));
        } else if start.is_none() && !c.is_whitespace() {
            start = Some(at);
        }
        before = c;
    }
    found.extend(start.map(|start| start..text.len()));
    found.iter_mut().for_each(|unit| unit.end = unit.start + text[unit.clone()].trim_end().len());
    found
}

/// The tokens of a text, and the unit of each.
fn tokenised(text: &str, units: &[Range<usize>], tokenizer: &Tokenizer) -> Result<(Vec<u32>, Vec<usize>)> {
    let tokens = tokenizer.encode_with_places(text)?;
    Ok(tokens.into_iter().map(|(token, place)| (token, unit_at(units, place.start))).unzip())
}

/// The first unit that ends behind `at`, or the last.
fn unit_at(units: &[Range<usize>], at: usize) -> usize {
    units.partition_point(|unit| unit.end <= at).min(units.len() - 1)
}

fn overlapping(units: &[Range<usize>], spans: &[Range<usize>]) -> Vec<bool> {
    units.iter().map(|unit| spans.iter().any(|span| span.start < unit.end && unit.start < span.end)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn document(text: &str, units: Units, spans: Value) -> std::result::Result<Document, String> {
        let mut example = Example::text("row:1", text);
        example.fields.insert("question".into(), json!(text));
        if !spans.is_null() {
            example.fields.insert("spans".into(), spans);
        }
        Document::of(&example, &Extract { units, ..Extract::default() }, &Tokenizer::bytes()).unwrap()
    }

    #[test]
    fn texts_are_parted_into_words_sentences_and_lines() {
        let text = "hip low. age 7.5!  ok?\n\nsite q3.";
        let of = |units| document(text, units, Value::Null).unwrap();
        let said = |units| of(units).units.into_iter().map(|unit| text[unit].to_string()).collect::<Vec<_>>();
        assert_eq!(said(Units::Word), ["hip", "low.", "age", "7.5!", "ok?", "site", "q3."]);
        assert_eq!(said(Units::Sentence), ["hip low.", "age 7.5!", "ok?", "site q3."]);
        assert_eq!(said(Units::Paragraph), ["hip low. age 7.5!  ok?", "site q3."]);
        assert!(document(" \n ", Units::Word, Value::Null).unwrap_err().contains("no words"));
    }

    /// Bytes are tokens: "a bc" is a | ␣ b c, of which the blank belongs to the second word.
    #[test]
    fn tokens_belong_to_units_and_units_end_with_tokens() {
        let document = document("a bc d\n", Units::Word, json!([[2, 3], [5, 6]])).unwrap();
        assert_eq!(document.unit_of, [0, 1, 1, 1, 2, 2, 2]);
        assert_eq!(document.ends(), [0, 3, 6]);
        assert_eq!(document.marked, Some(vec![false, true, true]));
        assert_eq!(document.words(), ["a", "bc", "d"]);
    }

    #[test]
    fn masks_over_sentences_are_masks_over_words() {
        let document = document("a b. c d.", Units::Sentence, json!([[7, 9]])).unwrap();
        assert_eq!(document.of_words(&[false, true]), [false, false, true, true]);
        // Of the sentence that is marked in part the one word.
        assert_eq!(document.marked, Some(vec![false, true]));
        assert_eq!(document.marked_words(), Some(vec![false, false, false, true]));
    }

    #[test]
    fn spans_outside_of_the_text_are_refused() {
        for (spans, said) in [
            (json!([[3, 9]]), "leaves its text of 4 bytes"),
            (json!([[2, 2]]), "is empty"),
            (json!([1]), "no list of"),
        ] {
            assert!(document("a bc", Units::Word, spans).unwrap_err().contains(said));
        }
        // The second character, as others count: in bytes it is the middle of the first.
        let said = document("é bc", Units::Word, json!([[1, 2]])).unwrap_err();
        assert!(said.contains("cuts a character"), "{said}");
    }
}
