//! The keys of a request's body.

use super::refused::Refused;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

/// Keys that change nothing of what is written.
const IGNORED: [&str; 8] = [
    "user",
    "metadata",
    "store",
    "service_tier",
    "safety_identifier",
    "prompt_cache_key",
    "prompt_cache_retention",
    "parallel_tool_calls",
];

/// What is not served, with the value that asks for nothing.
fn asks_for_nothing(key: &str, value: &Value) -> bool {
    match key {
        "presence_penalty" | "frequency_penalty" => value.as_f64() == Some(0.0),
        "tools" | "functions" => value.as_array().is_some_and(Vec::is_empty),
        "logit_bias" => value.as_object().is_some_and(Map::is_empty),
        "tool_choice" | "function_call" => value == "none",
        "response_format" => value["type"] == "text",
        "suffix" => value == "",
        _ => false,
    }
}

/// What has not been read of a body.
pub(super) struct Body(Map<String, Value>);

impl Body {
    /// # Errors
    /// What is no JSON object.
    pub fn read(bytes: &[u8]) -> Result<Self, Refused> {
        let read = serde_json::from_slice(bytes);
        read.map(Self).map_err(|error| Refused::new(400, format!("the body is not a JSON object: {error}")))
    }

    /// Takes the value of `key`, where there is one; `what` says what it has to be.
    ///
    /// # Errors
    /// A value that is something else.
    pub fn take<T: DeserializeOwned>(&mut self, key: &str, what: &str) -> Result<Option<T>, Refused> {
        match self.0.remove(key) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => serde_json::from_value(value)
                .map(Some)
                .map_err(|_| Refused::key(key, format!("`{key}` has to be {what}"))),
        }
    }

    /// Takes whether something is asked for.
    pub fn flag(&mut self, key: &str) -> Result<bool, Refused> {
        Ok(self.take(key, "true or false")?.unwrap_or(false))
    }

    /// # Errors
    /// A key that is left and asks for something.
    pub fn is_empty(&self) -> Result<(), Refused> {
        let nothing = |key: &str, value: &Value| {
            value.is_null() || IGNORED.contains(&key) || asks_for_nothing(key, value)
        };
        match self.0.iter().find(|(key, value)| !nothing(key, value)) {
            Some((key, _)) => Err(Refused::key(key, format!("`{key}` is not served here; leave it out"))),
            None => Ok(()),
        }
    }
}
