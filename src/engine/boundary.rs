//! Where a step ends while it is sampled: at a text, or after a number of tokens.

use super::{Completion, Sampling, StopReason};

/// What ends a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Boundary {
    /// Any of these texts.
    Texts(&'static [&'static str]),
    /// A number of tokens.
    Tokens(usize),
}

impl Boundary {
    /// How a single step is sampled.
    pub fn step(self, sampling: &Sampling) -> Sampling {
        let mut step = sampling.clone();
        match self {
            Self::Texts(texts) => step.stop.extend(texts.iter().map(|text| text.to_string())),
            Self::Tokens(tokens) => step.max_new_tokens = tokens.min(sampling.max_new_tokens),
        }
        step
    }

    /// Whether a piece that was sampled by [`step`](Self::step) has ended a step, and not the completion.
    pub fn ends(self, piece: &Completion, sampling: &Sampling) -> bool {
        match (&piece.stop, self) {
            (StopReason::StopString(text), Self::Texts(texts)) => {
                texts.contains(&text.as_str()) && !sampling.stop.contains(text)
            }
            (StopReason::Length, Self::Tokens(tokens)) => piece.tokens.len() == tokens,
            _ => false,
        }
    }
}

impl Completion {
    /// Cuts a piece that a path goes on with to the `room` that the path has left; whether the path goes on behind it, where
    /// the piece `ends_step`.
    pub fn fit(&mut self, room: usize, ends_step: bool) -> bool {
        if self.tokens.len() > room || (ends_step && self.tokens.len() == room) {
            self.tokens.truncate(room);
            self.logprobs.truncate(room);
            self.stop = StopReason::Length;
            return false;
        }
        ends_step
    }
}
