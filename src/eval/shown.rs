//! A held-out question that is printed with what the policy wrote.

use serde::{Deserialize, Serialize};

/// A question with what the policy wrote.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Shown {
    /// The prompt as the model saw it.
    pub prompt: String,
    /// The first completion.
    pub completion: String,
    /// The gold answer.
    pub answer: String,
    /// Whether it is right.
    pub correct: bool,
    /// The first step that is not that of the row's own rationale, where `eval.own_steps` looks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wrong_step: Option<usize>,
}
