//! A language model behind an OpenAI-compatible chat endpoint: the one place where the program talks to one.

mod cache;
mod call;
mod client;
mod figures;
mod lane;
mod reachable;
mod reply;
mod secrets;
mod section;

use crate::data::Message;
use serde::{Deserialize, Serialize};

pub use client::Client;
pub use lane::shared_by;
pub use reachable::reachable;
pub use section::Endpoint;

/// What is asked.
#[derive(Debug, Clone, PartialEq)]
pub struct ChatRequest {
    /// The conversation.
    pub messages: Vec<Message>,
    /// Independent answers to it.
    pub n: usize,
    /// A seed, for servers that take one.
    pub seed: Option<u64>,
    /// Longest answer in tokens, where it is not the endpoint's `max_tokens`.
    pub max_tokens: Option<usize>,
    /// Tells apart several askings of the same conversation: each has a place of its own in the cache.
    pub attempt: usize,
}

impl ChatRequest {
    /// One answer to a user's turn.
    pub fn user(text: String) -> Self {
        let messages = vec![Message::new("user", text)];
        Self { messages, n: 1, seed: None, max_tokens: None, attempt: 0 }
    }
}

/// What came back.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Answer {
    /// As many answers as were asked for.
    pub choices: Vec<Choice>,
    /// Tokens of the prompt, by the server's count.
    pub prompt_tokens: u64,
    /// Tokens of all answers, by the server's count.
    pub completion_tokens: u64,
}

/// One answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choice {
    /// Its text.
    pub text: String,
    /// Whether the token limit cut it off.
    pub truncated: bool,
    /// What the model thought before, where the server says it apart from the text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<String>,
}

impl Choice {
    /// A text without reasoning.
    pub fn new(text: impl Into<String>, truncated: bool) -> Self {
        Self { text: text.into(), truncated, reasoning: None }
    }
}

impl Answer {
    /// The answers to the parts of a request, as one.
    fn joined(parts: impl Iterator<Item = Answer>) -> Self {
        let mut whole = Self::default();
        for part in parts {
            whole.choices.extend(part.choices);
            whole.prompt_tokens += part.prompt_tokens;
            whole.completion_tokens += part.completion_tokens;
        }
        whole
    }
}
