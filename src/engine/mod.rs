//! Decoding: batched sampling with a KV cache, over the same weights that are trained.
//!
//! A [`Decoder`] keeps `slots` sequences in flight (continuous batching): a sequence that ends frees its place, and
//! the next waiting sample takes it. What prompts begin with is computed once, and held once, for all samples of all requests
//! that begin so (a group, the cuts of a completion, few-shot examples); it can be kept from one call to the next, so that
//! a tree grows on from where it is. Each sequence in flight has only its own new tokens in its slot; attention to the
//! shared segments before them is merged with attention to these.
//!
//! # Reproducibility
//!
//! A sample draws one uniform a token from a ChaCha8 stream of its own seed and inverts the cumulative
//! distribution in vocabulary order, so its tokens depend on its seed and its prompt, not on which samples were
//! decoded beside it. What remains is the arithmetic below: matrix kernels may sum in another order for another number of
//! rows. In f32 that moves a logit by about 1e-6, which changes a token only where the uniform falls that close to a
//! boundary of the distribution. In bf16 (GPUs, and CPUs with bf16 instructions) it can move a logit by 1e-2: there the same
//! tokens are promised for the same requests and the same `slots` only.

mod boundary;
mod cache;
mod decode;
mod precision;
mod sampling;
mod scheduler;
mod stop;
mod store;
mod view;

pub use boundary::Boundary;
pub use sampling::Sampling;

use crate::model::{Config, Model};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use store::Store;

/// One prompt and the samples wanted of it.
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
    /// A stop string of the recipe, which the completion's last token completed.
    StopString(String),
    /// `max_new_tokens`, or the model's context, was used up: the completion is truncated.
    Length,
}

/// What was sampled for one seed.
#[derive(Debug, Clone, PartialEq)]
pub struct Completion {
    /// Token ids, the end-of-sequence id included when it ended so.
    pub tokens: Vec<u32>,
    /// log p(token) at the sampling temperature (1 where it is 0) over the whole vocabulary, before any truncation or
    /// penalty, in nats, one a token: what the trainer recomputes.
    pub logprobs: Vec<f32>,
    /// Why it ended.
    pub stop: StopReason,
}

/// Text of token ids.
pub type Decode<'a> = Box<dyn Fn(&[u32]) -> String + 'a>;

/// What ends a completion besides [`Sampling`]'s own limits.
pub struct Stops<'a> {
    /// Every id that ends a sequence.
    pub eos: &'a [u32],
    /// Token ids to text, for the stop strings.
    pub decode: Decode<'a>,
}

impl<'a> Stops<'a> {
    /// Ids alone, where no stop strings are asked for.
    pub fn at(eos: &'a [u32]) -> Self {
        Self { eos, decode: Box::new(|_| String::new()) }
    }
}

/// How far a call of [`Decoder::generate`] has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Completions that have ended.
    pub finished: usize,
    /// Completions asked for.
    pub total: usize,
    /// Sequences in flight.
    pub live: usize,
    /// Tokens sampled so far.
    pub tokens: usize,
}

/// What a call of [`Decoder::generate`] cost, and how much of the distribution it kept.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Statistics {
    /// Prompt tokens computed: what several requests begin with once, what earlier calls kept not at all. (A common beginning
    /// that is no whole prompt and would save fewer than 32 tokens is computed for each.)
    pub prefill_tokens: usize,
    /// Tokens sampled.
    pub decoded_tokens: usize,
    /// Forward passes over the sequences in flight.
    pub steps: usize,
    /// Rows of those passes together: tokens that were fed back.
    pub rows: usize,
    /// Mean over tokens of the probability that top-k, top-p and min-p left standing; 1 without them.
    pub kept_mass: f64,
    /// Seconds spent on prompts, their first sampled tokens included.
    pub prefill_seconds: f64,
    /// Seconds spent on the tokens after them.
    pub decode_seconds: f64,
}

/// What [`Decoder::generate`] returns.
#[derive(Debug, Clone, PartialEq)]
pub struct Generated {
    /// For each request, in order, one completion a seed, in order.
    pub completions: Vec<Vec<Completion>>,
    /// What it cost.
    pub statistics: Statistics,
}

/// Decodes with one model and keeps, where it is told to, what it has computed for the next call. It is of the weights as they
/// are, and must not outlive a change of them: the borrow sees to that.
pub struct Decoder<'a> {
    model: &'a Model,
    /// The weights in the format that is faster than their own, where one is.
    faster: Option<Model>,
    stops: Stops<'a>,
    slots: usize,
    store: Store,
}

impl<'a> Decoder<'a> {
    /// Decodes at most `slots` sequences at a time.
    pub fn new(model: &'a Model, stops: Stops<'a>, slots: usize) -> Self {
        let faster = tch::no_grad(|| precision::faster(model));
        let store = Store::new(faster.as_ref().unwrap_or(model));
        Self { model, faster, stops, slots, store }
    }

    /// Whether what the calls from here on compute and sample is left for the next: what its prompts begin with is then not
    /// computed again.
    pub fn keep(&mut self, keep: bool) {
        self.store.keep = keep;
    }

    /// Tokens whose keys and values are held for the next call.
    pub fn held(&self) -> usize {
        self.store.tokens()
    }

    /// Samples a completion for every seed of every request.
    ///
    /// # Errors
    /// A request with no prompt, with ids outside the vocabulary or without room in the model's context
    /// ([`Error::Data`], naming the request's index); logits that are not finite ([`Error::Model`], the same);
    /// settings that [`Sampling::validate`] refuses; no slots.
    pub fn generate(
        &mut self,
        requests: &[Request],
        sampling: &Sampling,
        progress: &mut dyn FnMut(&Progress),
    ) -> Result<Generated> {
        let mut completions = vec![Vec::new(); requests.len()];
        let mut each = |request: usize, all: Vec<Completion>| completions[request] = all;
        let statistics = self.generate_each(requests, sampling, progress, &mut each)?;
        Ok(Generated { completions, statistics })
    }

    /// [`generate`](Self::generate) that gives the completions of a request to `each`, with the request's index, as soon as the
    /// last of them has ended: requests come in no particular order.
    ///
    /// # Errors
    /// As [`generate`](Self::generate).
    pub fn generate_each(
        &mut self,
        requests: &[Request],
        sampling: &Sampling,
        progress: &mut dyn FnMut(&Progress),
        each: &mut dyn FnMut(usize, Vec<Completion>),
    ) -> Result<Statistics> {
        sampling.validate()?;
        if self.slots == 0 {
            return Err(Error::Recipe("the number of sequences decoded at once must be at least 1".into()));
        }
        for (index, request) in requests.iter().enumerate() {
            check(index, request, self.model)?;
        }
        tch::no_grad(|| scheduler::run(self, requests, sampling, progress, each))
    }
}

fn check(index: usize, request: &Request, model: &Model) -> Result<()> {
    let (length, context) = (request.prompt.len(), context(&model.config));
    if length == 0 {
        return Err(Error::Data(format!("request {index}: the prompt is empty; give it at least one token")));
    }
    if length >= context {
        return Err(Error::Data(format!(
            "request {index}: the prompt's {length} tokens leave no room in the model's context of {context}; \
             shorten the prompt or take a model with a longer context"
        )));
    }
    match request.prompt.iter().find(|&&id| id as usize >= model.config.vocab_size) {
        Some(id) => Err(Error::Data(format!(
            "request {index}: token {id} is outside the model's vocabulary of {}; is the tokenizer the model's own?",
            model.config.vocab_size
        ))),
        None => Ok(()),
    }
}

/// Tokens that a sequence may have. Where attention slides, sequences end with the window, as they do in training.
fn context(config: &Config) -> usize {
    config.sliding_window.unwrap_or(usize::MAX).min(config.max_position_embeddings)
}
