//! Who writes tokens ([`Sampler`]), and decoding: batched sampling with a KV cache, over the same weights that are trained.
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
mod desk;
mod live;
mod precision;
mod sampler;
mod sampling;
mod scheduler;
mod scripted;
mod states;
mod stop;
mod store;
mod view;

pub use boundary::Boundary;
pub use desk::{Desk, Job, Token};
pub use sampler::{Completion, Event, Generated, Progress, Request, Sampler, Statistics, StopReason};
pub(crate) use sampling::likeliest;
pub use sampling::{Sampling, is_temperature};
pub use scripted::{Line, Scripted};

use crate::model::Model;
use crate::{Error, Result};
use desk::Call;
use std::sync::Arc;
use stop::Watch;
use store::Store;

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

/// Decodes with one model and keeps, where it is told to, what it has computed for the next call. It is of the weights as they
/// are, and must not outlive a change of them: the borrow sees to that.
pub struct Decoder<'a> {
    model: &'a Model,
    /// The weights in the format that is faster than their own, where one is.
    faster: Option<Model>,
    stops: Stops<'a>,
    slots: usize,
    store: Store,
    version: u64,
}

impl<'a> Decoder<'a> {
    /// Decodes at most `slots` sequences at a time.
    pub fn new(model: &'a Model, stops: Stops<'a>, slots: usize) -> Self {
        let faster = tch::no_grad(|| precision::faster(model));
        let store = Store::new(faster.as_ref().unwrap_or(model));
        Self { model, faster, stops, slots, store, version: 0 }
    }

    /// The same, of weights whose version is `version`.
    pub fn of_version(self, version: u64) -> Self {
        Self { version, ..self }
    }

    /// Tokens whose keys and values are held for the next call.
    pub fn held(&self) -> usize {
        self.store.tokens()
    }

    /// Decodes what `desk` gives until it gives nothing more. Jobs are taken in between two steps, each with settings of its
    /// own, and told of token by token; their tokens are those of a call that has them alone.
    ///
    /// # Errors
    /// As [`Sampler::sample`], for all jobs that have not ended.
    pub fn serve(&mut self, desk: &mut dyn Desk) -> Result<Statistics> {
        if self.slots == 0 {
            return Err(Error::Recipe("the number of sequences decoded at once must be at least 1".into()));
        }
        tch::no_grad(|| scheduler::run(self, desk))
    }
}

impl Sampler for Decoder<'_> {
    /// As [`Sampler::sample`] says.
    ///
    /// # Errors
    /// A request with no prompt, with ids outside the vocabulary or without room in the model's context
    /// ([`Error::Data`], naming the request's index); logits that are not finite ([`Error::Model`], the same);
    /// settings that [`Sampling::validate`] refuses; no slots.
    fn sample(
        &mut self,
        requests: &[Request],
        sampling: &Sampling,
        listen: &mut dyn FnMut(Event),
    ) -> Result<Statistics> {
        self.serve(&mut Call { requests, sampling: Some(Arc::new(sampling.clone())), listen })
    }

    fn keep_cache(&mut self, keep: bool) {
        self.store.keep_cache = keep;
    }

    /// The model is read where it is and cannot change while it is borrowed, so that there is nothing to take over but the version.
    ///
    /// # Errors
    /// [`Error::Model`] for another model than the one that it decodes with.
    fn update(&mut self, weights: &Model, version: u64) -> Result<()> {
        if !std::ptr::eq(weights, self.model) {
            return Err(Error::Model(
                "a decoder reads one model where it is; make another for other weights".into(),
            ));
        }
        self.version = version;
        Ok(())
    }
}

/// Why a completion of at most `limit` tokens ends with the last of `tokens`, if it does; `watch` follows its text.
fn ended(
    tokens: &[u32],
    limit: usize,
    watch: &mut Watch,
    sampling: &Sampling,
    stops: &Stops,
) -> Option<StopReason> {
    let &token = tokens.last()?;
    if stops.eos.contains(&token) {
        return Some(StopReason::Eos(token));
    }
    let text = watch.push(token, &sampling.stop, &stops.decode);
    let text = text.map(|text| StopReason::StopString(text.clone()));
    text.or_else(|| (tokens.len() >= limit).then_some(StopReason::Length))
}

fn check(index: usize, request: &Request, model: &Model) -> Result<()> {
    let (length, context) = (request.prompt.len(), model.config.context());
    if length == 0 {
        return Err(Error::Data(format!("request {index}: the prompt is empty; give it at least one token")));
    }
    if length >= context {
        return Err(Error::Data(format!(
            "request {index}: the prompt's {length} tokens leave no room in the model's context of {context}; \
             shorten the prompt or take a model with a longer context"
        )));
    }
    match request.prompt.iter().find(|&&id| id as usize >= model.readable()) {
        Some(id) => Err(Error::Data(format!(
            "request {index}: token {id} is outside the model's vocabulary of {}; is the tokenizer the model's own?",
            model.config.vocab_size
        ))),
        None => Ok(()),
    }
}
