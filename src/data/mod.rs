//! Examples: the rows of a dataset as the rest of the engine sees them.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// `system`, `user` or `assistant`.
    pub role: String,
    /// What is said.
    pub content: String,
}

/// What the policy is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Prompt {
    /// Plain text, tokenised as it stands.
    Text(String),
    /// A conversation, rendered by the model's chat template with the generation prompt.
    Chat(Vec<Message>),
}

/// A dataset row.
#[derive(Debug, Clone, PartialEq)]
pub struct Example {
    /// The row's `id` column, or `file:line`. Unique within its dataset; groups are keyed by it.
    pub id: String,
    /// Position in its dataset, counted from 0. Seeds derive from it.
    pub index: usize,
    /// What the policy is asked.
    pub prompt: Prompt,
    /// The completion that supervised training learns, where the row or the template gives one.
    pub completion: Option<String>,
    /// The row's own completions (`completions`, or the one `completion`), for `rollout.dataset`.
    pub completions: Vec<String>,
    /// The gold answer.
    pub answer: Option<String>,
    /// The options of a multiple-choice question, in order.
    pub choices: Vec<String>,
    /// Every column of the row, for rewards and templates.
    pub fields: Map<String, Value>,
}
