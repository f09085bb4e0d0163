//! A sequence in flight.

use super::stop::Watch;
use super::{Job, Sampling, StopReason, Stops, ended};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use std::sync::Arc;

/// One sample of a job, from its first token on.
pub(super) struct Live {
    pub job: usize,
    pub sample: usize,
    /// Tokens it may have.
    limit: usize,
    pub random: ChaCha8Rng,
    watch: Watch,
    pub tokens: Vec<u32>,
    pub logprobs: Vec<f32>,
    pub stop: Option<StopReason>,
    pub sampling: Arc<Sampling>,
    pub top: usize,
}

impl Live {
    /// The sample `sample` of the job with the number `number`, which may have `limit` tokens.
    pub fn new(number: usize, sample: usize, job: &Job, limit: usize) -> Self {
        Self {
            job: number,
            sample,
            limit,
            random: ChaCha8Rng::seed_from_u64(job.request.seeds[sample]),
            watch: Watch::default(),
            tokens: Vec::new(),
            logprobs: Vec::new(),
            stop: None,
            sampling: job.sampling.clone(),
            top: job.top,
        }
    }

    pub fn take(&mut self, token: u32, logprob: f32, stops: &Stops) {
        self.tokens.push(token);
        self.logprobs.push(logprob);
        self.stop = ended(&self.tokens, self.limit, &mut self.watch, &self.sampling, stops);
    }
}

/// The sequences of `live` that are drawn in the same way, by their places; one list where all are.
pub(super) fn drawn_alike(live: &[Live]) -> Vec<Vec<i64>> {
    let alike = |a: &Live, b: &Live| {
        a.top == b.top && (Arc::ptr_eq(&a.sampling, &b.sampling) || a.sampling == b.sampling)
    };
    let mut groups: Vec<Vec<i64>> = Vec::new();
    for (place, one) in live.iter().enumerate() {
        match groups.iter_mut().find(|group| alike(&live[group[0] as usize], one)) {
            Some(group) => group.push(place as i64),
            None => groups.push(vec![place as i64]),
        }
    }
    groups
}
