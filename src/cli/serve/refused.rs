//! Why a request is refused, as OpenAI says it.

use serde_json::{Value, json};

/// A request that is not answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refused {
    /// HTTP's status.
    pub status: u16,
    /// What is wrong, and the remedy.
    pub message: String,
    /// The key of the request that it is about.
    pub param: Option<String>,
    /// What kind of thing is wrong, where OpenAI has a name for it.
    pub code: Option<&'static str>,
}

impl Refused {
    pub fn new(status: u16, message: impl Into<String>) -> Self {
        Self { status, message: message.into(), param: None, code: None }
    }

    /// The value of `key` cannot be used.
    pub fn key(key: &str, message: impl Into<String>) -> Self {
        Self { param: Some(key.to_owned()), ..Self::new(400, message) }
    }

    /// What stands under `error`.
    pub fn to_json(&self) -> Value {
        let kind = if self.status < 500 { "invalid_request_error" } else { "server_error" };
        json!({ "message": self.message, "type": kind, "param": self.param, "code": self.code })
    }
}
