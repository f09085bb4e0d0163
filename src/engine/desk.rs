//! Where a [`Decoder`](super::Decoder) that is open finds its work, and whom it tells: requests come and go while others are decoded.

use super::{Completion, Event, Progress, Request, Sampling, StopReason};
use crate::{Error, Result};
use std::sync::Arc;

/// A request with settings of its own.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// What is to be written, a completion a seed.
    pub request: Request,
    /// How.
    pub sampling: Arc<Sampling>,
    /// How many of the likeliest tokens are told beside each that is written; 0 for none.
    pub top: usize,
}

/// A token that was written.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Token {
    /// Its id.
    pub id: u32,
    /// As [`Completion::logprobs`].
    pub logprob: f32,
    /// The likeliest tokens in its place with their log-probabilities of the same kind, the likeliest first, as many as the job asks for.
    pub top: Vec<(u32, f32)>,
}

/// Gives jobs and takes what is written. Jobs are called by their number, which counts from 0 in the order in which they are given.
pub trait Desk {
    /// The jobs that have come since the last time. Where `idle`, nothing is being decoded: whoever serves may wait here for
    /// the next, and no jobs end the call.
    fn next(&mut self, idle: bool) -> Vec<Job>;

    /// Whether the completions of a job are still wanted; one that is not is never heard of again.
    fn wants(&mut self, _job: usize) -> bool {
        true
    }

    /// The next token of a completion of a job. The last one comes before [`ended`](Self::ended).
    fn token(&mut self, _job: usize, _sample: usize, _token: Token) {}

    /// A completion of a job has ended, after its last token; others of the job may go on.
    fn stopped(&mut self, _job: usize, _sample: usize, _stop: &StopReason) {}

    /// A job that cannot be decoded, or decoded any further; it is not heard of again. By default its error ends all others too.
    ///
    /// # Errors
    /// What is to end all of them.
    fn failed(&mut self, _job: usize, error: Error) -> Result<()> {
        Err(error)
    }

    /// All completions of a job, one a seed, in order.
    fn ended(&mut self, job: usize, completions: Vec<Completion>);

    /// How far all has come.
    fn progress(&mut self, _now: Progress) {}
}

/// A desk with all its jobs there from the start: those of a call of [`Sampler::sample`](super::Sampler::sample).
pub(super) struct Call<'a> {
    pub requests: &'a [Request],
    pub sampling: Option<Arc<Sampling>>,
    pub listen: &'a mut dyn FnMut(Event),
}

impl Desk for Call<'_> {
    fn next(&mut self, _idle: bool) -> Vec<Job> {
        let Some(sampling) = self.sampling.take() else { return Vec::new() };
        let job = |request: &Request| Job { request: request.clone(), sampling: sampling.clone(), top: 0 };
        self.requests.iter().map(job).collect()
    }

    fn ended(&mut self, job: usize, completions: Vec<Completion>) {
        (self.listen)(Event::Completed { request: job, completions });
    }

    fn progress(&mut self, now: Progress) {
        (self.listen)(Event::Progress(now));
    }
}
