//! A sampler that writes what it is told to, for tests and examples: a policy whose answers are known.

use super::stop::Watch;
use super::{Completion, Event, Progress, Request, Sampler, Sampling, Statistics, Stops, ended};
use crate::Result;
use crate::model::Model;

/// Tokens that are to be written, each with the log-probability that is to be recorded for it.
pub type Line = Vec<(u32, f32)>;

type Decode = dyn Fn(&[u32]) -> String + Send;
type Script = dyn FnMut(&[u32], u64) -> Line + Send;

/// A sampler whose tokens are a function of prompt and seed. A line is cut where a sampled one would end: behind an
/// end-of-sequence id, a stop string or `max_new_tokens`; one that runs out before that counts as cut off.
pub struct Scripted {
    eos: Vec<u32>,
    decode: Box<Decode>,
    script: Box<Script>,
    version: u64,
}

impl Scripted {
    /// Writes `script(prompt, seed)`. `eos` ends a line, and `decode` makes text of ids, for the stop strings.
    ///
    /// ```
    /// use rationale::engine::{Request, Sampler, Sampling, Scripted, StopReason};
    /// // Counts on from the prompt's last token to 9, which ends it.
    /// let count = |prompt: &[u32], _| (prompt[prompt.len() - 1] + 1..=9).map(|id| (id, 0.0)).collect();
    /// let mut sampler = Scripted::new(&[9], |_| String::new(), count);
    /// let requests = [Request { prompt: vec![5, 6], seeds: vec![0] }];
    /// let written = sampler.generate(&requests, &Sampling::default(), &mut |_| {})?.completions;
    /// assert_eq!(written[0][0].tokens, [7, 8, 9]);
    /// assert_eq!(written[0][0].stop, StopReason::Eos(9));
    /// # Ok::<(), rationale::Error>(())
    /// ```
    pub fn new(
        eos: &[u32],
        decode: impl Fn(&[u32]) -> String + Send + 'static,
        script: impl FnMut(&[u32], u64) -> Line + Send + 'static,
    ) -> Self {
        Self { eos: eos.to_vec(), decode: Box::new(decode), script: Box::new(script), version: 0 }
    }

    fn completion(&mut self, prompt: &[u32], seed: u64, sampling: &Sampling) -> Completion {
        let line = (self.script)(prompt, seed);
        let stops = Stops { eos: &self.eos, decode: Box::new(|ids| (self.decode)(ids)) };
        let mut watch = Watch::default();
        let (mut tokens, mut logprobs) = (Vec::new(), Vec::new());
        for (token, logprob) in line {
            tokens.push(token);
            logprobs.push(logprob);
            if let Some(stop) = ended(&tokens, sampling.max_new_tokens, &mut watch, sampling, &stops) {
                return Completion { tokens, logprobs, stop, version: self.version };
            }
        }
        Completion { tokens, logprobs, stop: super::StopReason::Length, version: self.version }
    }
}

impl Sampler for Scripted {
    fn sample(
        &mut self,
        requests: &[Request],
        sampling: &Sampling,
        listen: &mut dyn FnMut(Event),
    ) -> Result<Statistics> {
        sampling.validate()?;
        let total = requests.iter().map(|request| request.seeds.len()).sum();
        let mut statistics = Statistics { kept_mass: 1.0, ..Statistics::default() };
        let mut finished = 0;
        for (index, Request { prompt, seeds }) in requests.iter().enumerate() {
            let completions: Vec<Completion> =
                seeds.iter().map(|&seed| self.completion(prompt, seed, sampling)).collect();
            finished += completions.len();
            statistics.decoded_tokens += completions.iter().map(|one| one.tokens.len()).sum::<usize>();
            listen(Event::Completed { request: index, completions });
            let tokens = statistics.decoded_tokens;
            listen(Event::Progress(Progress { finished, total, live: 0, tokens }));
        }
        Ok(statistics)
    }

    fn keep_cache(&mut self, _keep: bool) {}

    fn update(&mut self, _weights: &Model, version: u64) -> Result<()> {
        self.version = version;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::StopReason;

    /// Letters are ids: 'a' is 0. The line is "abcdefgh"; 'h' ends a sequence.
    #[test]
    fn a_line_ends_where_a_sampled_one_would() {
        let text = |ids: &[u32]| ids.iter().map(|&id| char::from(b'a' + id as u8)).collect::<String>();
        let mut sampler = Scripted::new(&[7], text, |_, _| (0..8).map(|id| (id, -0.5)).collect());
        let requests = [Request { prompt: vec![0], seeds: vec![1, 2] }];
        let mut written = |stop: &[&str], most: usize| {
            let stop = stop.iter().map(|text| text.to_string()).collect();
            let sampling = Sampling { stop, max_new_tokens: most, ..Sampling::default() };
            let mut all = sampler.generate(&requests, &sampling, &mut |_| {}).unwrap().completions.remove(0);
            assert_eq!(all[0], all[1], "one a seed");
            let one = all.remove(0);
            assert_eq!(one.logprobs, vec![-0.5; one.tokens.len()]);
            (text(&one.tokens), one.stop)
        };
        assert_eq!(written(&[], 20), ("abcdefgh".into(), StopReason::Eos(7)));
        assert_eq!(written(&["de"], 20), ("abcde".into(), StopReason::StopString("de".into())));
        assert_eq!(written(&["de"], 4), ("abcd".into(), StopReason::Length));
    }
}
