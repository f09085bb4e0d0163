//! What a row says about completions: which of two is better, or whether one is good.

use super::{Message, Prompt};
use crate::rationale::Given;
use std::sync::Arc;

/// A judgement of completions of one prompt.
#[derive(Debug, Clone, PartialEq)]
pub enum Feedback {
    /// `chosen` is better than `rejected`.
    Pair {
        /// The better completion.
        chosen: FeedbackCompletion,
        /// The worse completion.
        rejected: FeedbackCompletion,
        /// Factor of the pair's loss.
        weight: f64,
        /// How much better it is, for losses with a margin.
        margin: f64,
        /// Why it is better: a question and its answer.
        why: Option<(Prompt, String)>,
    },
    /// A single completion is good, or bad.
    Label {
        /// The completion.
        completion: FeedbackCompletion,
        /// Whether it is good.
        good: bool,
        /// Factor of its loss.
        weight: f64,
    },
}

impl Feedback {
    /// The completions that it is about.
    pub fn completions_mut(&mut self) -> Vec<&mut FeedbackCompletion> {
        match self {
            Self::Pair { chosen, rejected, .. } => vec![chosen, rejected],
            Self::Label { completion, .. } => vec![completion],
        }
    }

    /// The texts that it is about and that are to be tokenised yet.
    pub fn texts(&self) -> Vec<&String> {
        let all = match self {
            Self::Pair { chosen, rejected, .. } => vec![chosen, rejected],
            Self::Label { completion, .. } => vec![completion],
        };
        all.into_iter().filter(|one| one.tokens.is_none()).map(|one| &one.text).collect()
    }

    /// The same, to be written anew.
    pub fn texts_mut(&mut self) -> Vec<&mut String> {
        let texts = self.completions_mut().into_iter().filter(|one| one.tokens.is_none());
        texts.map(|one| &mut one.text).collect()
    }
}

/// A completion to learn from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedbackCompletion {
    /// The text.
    pub text: String,
    /// The ids that were sampled, its end of sequence among them where it had ended; `None` for a text to be tokenised.
    pub tokens: Option<Vec<u32>>,
    /// What of it was given and not sampled.
    pub given: Vec<Given>,
    /// The turn that the text is that of, where the row gives one: the chat template says how it is written.
    pub turn: Option<Arc<Message>>,
}

impl From<&str> for FeedbackCompletion {
    fn from(text: &str) -> Self {
        Self { text: text.to_string(), tokens: None, given: vec![], turn: None }
    }
}
