//! Completion text ↔ steps, spans, answer. Pure: no files, devices, randomness or clocks.

use serde::{Deserialize, Serialize};
use std::ops::Range;

pub mod answer;
pub mod number;

/// How a rationale is written: `[data.format]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Format {
    /// What separates steps.
    pub steps: Steps,
    /// Where the answer stands; the first form that matches wins.
    pub answer: Vec<AnswerForm>,
    /// Tags around the reasoning, such as `["<think>", "</think>"]`; the answer is looked for after the closing one.
    pub tags: Option<[String; 2]>,
}

impl Default for Format {
    fn default() -> Self {
        Self { steps: Steps::Line, answer: vec![AnswerForm::Hashes, AnswerForm::Boxed, AnswerForm::AnswerIs], tags: None }
    }
}

/// What separates one step from the next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Steps {
    /// One step a line; blank lines are not steps.
    Line,
    /// Steps separated by blank lines.
    Paragraph,
    /// One step a sentence.
    Sentence,
}

/// The written forms of an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AnswerForm {
    /// `#### 42`, GSM8K's; to the end of the line.
    Hashes,
    /// `\boxed{42}`, the last one, braces balanced.
    Boxed,
    /// `the answer is 42`, the last one, to the end of the sentence.
    AnswerIs,
    /// Between `<answer>` and `</answer>`.
    AnswerTag,
    /// The last number in the text.
    LastNumber,
    /// The last choice letter standing alone, as in `(B)` or `B.`.
    Letter,
    /// The last line that is not blank.
    LastLine,
    /// The whole text.
    Whole,
    /// The first capture group (or the whole match) of the last match of this regular expression.
    Regex(String),
}

/// A completion read as reasoning that ends in an answer. Spans are byte ranges of the completion's text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rationale {
    /// The reasoning steps in order, the answer's own line left out.
    pub steps: Vec<Range<usize>>,
    /// The answer, without its marker.
    pub answer: Range<usize>,
}
