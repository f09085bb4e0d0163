//! The interface that every token is written through: requests in, completions out, both plain data.

use super::Sampling;
use crate::Result;
use crate::model::Model;
use serde::{Deserialize, Serialize};

/// What writes tokens with some version of the policy's weights: the local [`Decoder`](super::Decoder), a
/// [`Scripted`](super::Scripted) one, an engine in another process.
pub trait Sampler {
    /// Samples a completion for every seed of every request, and returns when the last has ended. `listen` hears of each request
    /// once, when the last of its completions has ended: requests come in no particular order, a request's completions in
    /// that of its seeds. Requests without seeds need not be reported.
    ///
    /// # Errors
    /// A request that cannot be sampled ([`Error::Data`](crate::Error::Data), naming its index); whatever keeps the sampler from
    /// answering. Completions that `listen` was called with by then are valid.
    fn sample(
        &mut self,
        requests: &[Request],
        sampling: &Sampling,
        listen: &mut dyn FnMut(Event),
    ) -> Result<Statistics>;

    /// Whether what the calls from here on compute and sample is left for the next, so that what its prompts begin with is not
    /// computed again. It changes what a call costs and nothing else; a sampler that keeps everything or nothing may ignore it.
    fn keep_cache(&mut self, keep: bool);

    /// Samples with `weights` from the next call on, which are of `version`; what was kept of older ones is forgotten. An engine
    /// elsewhere is sent the [`stored_tensors`](Model::stored_tensors) of [`Model::merged`] (whole, by Hugging Face's names), or its adapters alone; one
    /// that is split over devices takes its parts of each; a sampler that reads the model itself takes note of the version.
    ///
    /// # Errors
    /// Weights that do not arrive. The sampler then samples with those that it has, and says their version.
    fn update(&mut self, weights: &Model, version: u64) -> Result<()>;

    /// [`sample`](Self::sample), with the completions collected in the order of the requests.
    ///
    /// # Errors
    /// As [`sample`](Self::sample).
    fn generate(
        &mut self,
        requests: &[Request],
        sampling: &Sampling,
        progress: &mut dyn FnMut(&Progress),
    ) -> Result<Generated> {
        let mut completions = vec![Vec::new(); requests.len()];
        let statistics = self.sample(requests, sampling, &mut |event| match event {
            Event::Progress(now) => progress(&now),
            Event::Completed { request, completions: all } => completions[request] = all,
        })?;
        Ok(Generated { completions, statistics })
    }
}

/// One prompt and the samples wanted of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Completion {
    /// Token ids, the end-of-sequence id included when it ended so.
    pub tokens: Vec<u32>,
    /// log p(token) at the sampling temperature (1 where it is 0) over the whole vocabulary, before any truncation or
    /// penalty, in nats, one a token: what the trainer recomputes.
    pub logprobs: Vec<f32>,
    /// Why it ended.
    pub stop: StopReason,
    /// The version of the weights that wrote it; the oldest, where they changed under way.
    pub version: u64,
}

/// What a sampler reports of a call under way.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// How far it has come.
    Progress(Progress),
    /// The completions of a request, one a seed, in order.
    Completed {
        /// The request's index in the call.
        request: usize,
        /// What was sampled.
        completions: Vec<Completion>,
    },
}

/// How far a call has come.
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

/// What a call cost, and how much of the distribution it kept.
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

impl Statistics {
    /// Takes in what a further call cost.
    pub fn add(&mut self, call: &Statistics) {
        let (seen, new) = (self.decoded_tokens as f64, call.decoded_tokens as f64);
        self.kept_mass = (self.kept_mass * seen + call.kept_mass * new) / (seen + new).max(1.0);
        self.prefill_tokens += call.prefill_tokens;
        self.decoded_tokens += call.decoded_tokens;
        self.steps += call.steps;
        self.rows += call.rows;
        self.prefill_seconds += call.prefill_seconds;
        self.decode_seconds += call.decode_seconds;
    }
}

/// What [`Sampler::generate`] returns.
#[derive(Debug, Clone, PartialEq)]
pub struct Generated {
    /// For each request, in order, one completion a seed, in order.
    pub completions: Vec<Vec<Completion>>,
    /// What it cost.
    pub statistics: Statistics,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A request goes out as JSON and a completion comes back as it was, log-probabilities to the bit.
    #[test]
    fn requests_and_completions_are_plain_data() {
        let request = Request { prompt: vec![1, 2], seeds: vec![u64::MAX] };
        let written = serde_json::to_string(&request).unwrap();
        assert_eq!(written, r#"{"prompt":[1,2],"seeds":[18446744073709551615]}"#);
        assert_eq!(serde_json::from_str::<Request>(&written).unwrap(), request);
        let stops = [StopReason::Eos(3), StopReason::StopString("\n".into()), StopReason::Length];
        let logprobs: Vec<f32> = (1..=1000).map(|i| -(i as f32).ln() / 3.0).collect();
        for stop in stops {
            let completion =
                Completion { tokens: vec![5; 1000], logprobs: logprobs.clone(), stop, version: 7 };
            let written = serde_json::to_string(&completion).unwrap();
            assert_eq!(serde_json::from_str::<Completion>(&written).unwrap(), completion);
        }
    }
}
