//! Decoding: batched sampling with a KV cache, over the same weights that are trained.

use serde::{Deserialize, Serialize};

/// One prompt and the samples wanted of it. The prompt is computed once for all of them.
#[derive(Debug, Clone)]
pub struct Request {
    /// Prompt token ids; at least one.
    pub prompt: Vec<u32>,
    /// One seed a sample; a sample's tokens depend on its seed and prompt alone, not on the batch it was decoded in.
    pub seeds: Vec<u64>,
}

/// Why a completion ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// One of the model's end-of-sequence ids, which is the completion's last token.
    Eos(u32),
    /// A stop string of the recipe, which the completion's text ends with.
    StopString(String),
    /// `max_new_tokens`, or the model's context, was used up: the completion is truncated.
    Length,
}

/// What was sampled for one seed.
#[derive(Debug, Clone, PartialEq)]
pub struct Completion {
    /// Token ids, the end-of-sequence id included when it ended so.
    pub tokens: Vec<u32>,
    /// log p(token) at the sampling temperature over the whole vocabulary, in nats, one a token.
    pub logprobs: Vec<f32>,
    /// Why it ended.
    pub stop: StopReason,
}
