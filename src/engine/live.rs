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
    let alike = |a: &Live, b: &Live| a.top == b.top && a.sampling.draws_as(&b.sampling);
    let mut groups: Vec<Vec<i64>> = Vec::new();
    for (place, one) in live.iter().enumerate() {
        match groups.iter_mut().find(|group| alike(&live[group[0] as usize], one)) {
            Some(group) => group.push(place as i64),
            None => groups.push(vec![place as i64]),
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Request;

    /// Of four sequences the second has another limit and ends with another text, which draws as the first; the third is drawn at
    /// another temperature, and the fourth is told two likeliest tokens.
    #[test]
    fn what_ends_a_sequence_draws_it_no_other_way() {
        let usual = Sampling::default();
        let shorter = Sampling { max_new_tokens: 3, stop: vec!["x".into()], ..usual.clone() };
        let hotter = Sampling { temperature: 2.0, ..usual.clone() };
        let live = |(sampling, top): (&Sampling, usize)| {
            let request = Request { prompt: vec![1], seeds: vec![1] };
            Live::new(0, 0, &Job { request, sampling: Arc::new(sampling.clone()), top }, 3)
        };
        let all: Vec<Live> = [(&usual, 0), (&shorter, 0), (&hotter, 0), (&usual, 2)].map(live).into();
        assert_eq!(drawn_alike(&all), [vec![0, 1], vec![2], vec![3]]);
    }
}
