//! What requests ask, read on the threads of their connections: they are parsed and tokenised beside each other, and what is decoded waits for
//! none of it. What a decoder is not needed for is answered at once.

use super::asked::Asked;
use super::http::{Received, Reply};
use super::refused::Refused;
use crate::data::Tokenizer;
use crate::engine::Sampling;
use crate::policy::Policy;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Bytes from which on bodies are read one after the other: a tokenizer takes some 150 bytes of memory for each.
const LARGE: usize = 16 << 10;
/// Bytes that the tokens of a text stand for on average, at most: some of a vocabulary are longer, and no text is all of these.
const LONG: usize = 16;

/// What is known of the model that is asked.
pub(super) struct Reader {
    /// What it is called; the first is what it is told as.
    pub names: Vec<String>,
    pub tokenizer: Tokenizer,
    /// Tokens of its vocabulary.
    pub vocabulary: usize,
    /// Tokens of a prompt and its completion together, at most.
    pub context: usize,
    /// Bytes of a text that may be one of so many tokens; of a longer one nothing is tokenised.
    pub longest: usize,
    /// How it is asked where a request does not say.
    pub usual: Sampling,
    /// Requests that were received.
    count: AtomicU64,
    large: Mutex<()>,
}

/// A request that is to be answered with completions.
pub(super) struct Ready {
    /// Its place among all that were received, from 1.
    pub number: u64,
    pub asked: Asked,
    /// When it was there.
    pub at: Instant,
    /// Where the answer goes.
    pub to: Reply,
}

impl Reader {
    /// Of requests to the model of these names, at least one, which have `usual` settings.
    pub fn new(names: Vec<String>, policy: &Policy, usual: Sampling) -> Self {
        let (vocabulary, context) = (policy.model.config.vocab_size, policy.context());
        let (tokenizer, count) = (policy.tokenizer.clone(), AtomicU64::new(0));
        let longest = context.saturating_mul(LONG);
        Self { names, tokenizer, vocabulary, context, longest, usual, count, large: Mutex::new(()) }
    }

    /// A request for completions; what else is asked is answered here, and what cannot be is refused.
    pub fn read(&self, received: Received) -> Option<Ready> {
        let number = self.count.fetch_add(1, Ordering::Relaxed) + 1;
        let Received { method, path, body, at, to } = received;
        let path = path.trim_end_matches('/');
        match (method.as_str(), path) {
            ("POST", "/v1/completions" | "/v1/chat/completions") => {
                let large = body.len() > LARGE;
                let _alone = large.then(|| self.large.lock().unwrap_or_else(PoisonError::into_inner));
                match Asked::read(&body, path == "/v1/chat/completions", self, number) {
                    Ok(asked) => return Some(Ready { number, asked, at, to }),
                    Err(refused) => to.refuse(&refused),
                }
            }
            ("GET", "/v1/models") => to.send(200, &json!({ "object": "list", "data": [self.model()] })),
            ("GET", path) if path.strip_prefix("/v1/models/") == Some(&self.names[0]) => {
                to.send(200, &self.model());
            }
            ("GET", "/health") => to.send(200, &json!({ "status": "ok" })),
            (method, path) => {
                let path = if path.is_empty() { "/" } else { path };
                let known = "POST /v1/completions, POST /v1/chat/completions, GET /v1/models, GET /health";
                to.refuse(&Refused::new(404, format!("there is no {method} {path} here; there is {known}")));
            }
        }
        None
    }

    fn model(&self) -> Value {
        json!({ "id": self.names[0], "object": "model", "created": now(), "owned_by": "rationale",
            "max_model_len": self.context })
    }
}

/// Seconds since 1970.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
