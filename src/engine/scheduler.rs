//! Continuous batching: which sample stands in which slot, from its prompt to its end.

use super::cache::Cache;
use super::decode;
use super::sampling::Drawn;
use super::stop::Watch;
use super::store::Store;
use super::view::View;
use super::{Completion, Decoder, Event, Progress, Request, Sampling, Statistics, StopReason, Stops, ended};
use crate::model::Model;
use crate::{Error, Result};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::{HashSet, VecDeque};
use std::time::Instant;
use tch::{Kind, Tensor};

/// Prompt tokens of one prefill pass: enough to keep matrix kernels busy, little enough to bound its memory. A
/// longer prompt is a pass of its own.
const PREFILL_TOKENS: usize = 2048;

/// Decodes every sample of `requests`; see [`Sampler::sample`](super::Sampler::sample).
pub fn run(
    decoder: &mut Decoder,
    requests: &[Request],
    sampling: &Sampling,
    listen: &mut dyn FnMut(Event),
) -> Result<Statistics> {
    let mut batch = Batch::new(decoder, requests, sampling);
    while batch.finished < batch.total {
        batch.admit()?;
        batch.report(listen);
        if !batch.live.is_empty() {
            batch.step()?;
            batch.report(listen);
        }
    }
    Ok(batch.statistics)
}

/// The state between two steps. Row r of every tensor, slot r of the cache and `live[r]` are the same sequence.
struct Batch<'a> {
    model: &'a Model,
    requests: &'a [Request],
    sampling: &'a Sampling,
    stops: &'a Stops<'a>,
    slots: usize,
    /// Of the weights.
    version: u64,
    total: usize,
    finished: usize,
    /// What prompts have computed.
    store: &'a mut Store,
    /// The last segment of each request's prompt.
    ends: Vec<usize>,
    /// How the sequences in flight see the store; none where it has to be found out.
    view: Option<View>,
    /// The tokens that the sequences in flight have behind their prompts.
    cache: Cache,
    /// Which tokens each sequence has, `[slots, vocab]`; kept only for the repetition penalty.
    seen: Option<Tensor>,
    live: Vec<Live>,
    /// Requests whose prompt is computed and that have samples waiting, with how many samples have started.
    ready: VecDeque<(usize, usize)>,
    /// The first request whose prompt is not computed.
    next: usize,
    completions: Vec<Vec<Option<Completion>>>,
    /// Requests whose last sample has ended since they were last handed over.
    done: Vec<usize>,
    statistics: Statistics,
}

/// A sequence in flight.
struct Live {
    request: usize,
    sample: usize,
    /// Tokens it may have.
    limit: usize,
    random: ChaCha8Rng,
    watch: Watch,
    tokens: Vec<u32>,
    logprobs: Vec<f32>,
    stop: Option<StopReason>,
}

impl<'a> Batch<'a> {
    fn new(decoder: &'a mut Decoder, requests: &'a [Request], sampling: &'a Sampling) -> Self {
        let model = decoder.faster.as_ref().unwrap_or(decoder.model);
        let (slots, version) = (decoder.slots, decoder.version);
        let (store, stops) = (&mut decoder.store, &decoder.stops);
        let (config, kind, device) = (&model.config, model.kind(), model.device());
        let total = requests.iter().map(|request| request.seeds.len()).sum();
        let slots = slots.min(total);
        let limit = sampling.max_new_tokens.min(config.context());
        let prompts: Vec<&[u32]> = requests.iter().map(|request| request.prompt.as_slice()).collect();
        let seen = (sampling.repetition_penalty != 1.0)
            .then(|| Tensor::zeros([slots as i64, config.vocab_size as i64], (Kind::Bool, device)));
        Self {
            model,
            requests,
            sampling,
            stops,
            slots,
            version,
            total,
            finished: 0,
            ends: store.begin(&prompts),
            store,
            view: None,
            cache: Cache::new(config, slots, limit, kind, device),
            seen,
            live: Vec::with_capacity(slots),
            ready: VecDeque::new(),
            next: 0,
            completions: requests.iter().map(|request| vec![None; request.seeds.len()]).collect(),
            done: Vec::new(),
            statistics: Statistics::default(),
        }
    }

    /// Fills the free slots with waiting samples, each with its first token.
    fn admit(&mut self) -> Result<()> {
        let start = Instant::now();
        let first = self.live.len();
        let mut logits = Vec::new();
        while self.live.len() < self.slots && self.prepare() {
            self.seat(&mut logits);
        }
        if !logits.is_empty() {
            self.sample(first, &Tensor::cat(&logits, 0))?;
        }
        self.statistics.prefill_seconds += start.elapsed().as_secs_f64();
        Ok(())
    }

    /// One new token for every sequence in flight.
    fn step(&mut self) -> Result<()> {
        let start = Instant::now();
        let tokens: Vec<i64> =
            self.live.iter().map(|live| i64::from(live.tokens[live.tokens.len() - 1])).collect();
        let own: Vec<i64> = self.live.iter().map(|live| live.tokens.len() as i64 - 1).collect();
        self.statistics.steps += 1;
        self.statistics.rows += tokens.len();
        let ends = || self.live.iter().map(|live| self.ends[live.request]).collect::<Vec<_>>();
        let (store, model) = (&*self.store, self.model);
        let view = self.view.get_or_insert_with(|| View::new(store, &ends(), model.kind(), model.device()));
        let logits = decode::step(model, store, view, &mut self.cache, &tokens, &own);
        self.sample(0, &logits)?;
        self.statistics.decode_seconds += start.elapsed().as_secs_f64();
        Ok(())
    }

    /// Makes sure that a computed prompt has samples waiting; false where none are left.
    fn prepare(&mut self) -> bool {
        while self.ready.front().is_some_and(|(request, started)| *started == self.samples(*request)) {
            self.ready.pop_front();
        }
        if self.ready.is_empty() {
            self.prefill();
        }
        !self.ready.is_empty()
    }

    /// Computes what is new in the next prompts, as many as one pass holds.
    fn prefill(&mut self) {
        let (mut chunk, mut tokens, mut counted) = (Vec::new(), 0, HashSet::new());
        while self.next < self.requests.len() {
            let end = self.ends[self.next];
            let new: Vec<usize> = decode::pending(self.store, &[end]);
            let uncounted = new.iter().filter(|at| !counted.contains(*at)).map(|&at| self.store.at(at));
            tokens += uncounted.map(|segment| segment.tokens.len() - segment.known).sum::<usize>();
            if !chunk.is_empty() && tokens > PREFILL_TOKENS {
                break;
            }
            if self.samples(self.next) == 0 {
                self.store.release(end);
            } else {
                counted.extend(new);
                chunk.push(self.next);
            }
            self.next += 1;
        }
        let ends: Vec<usize> = chunk.iter().map(|&request| self.ends[request]).collect();
        self.statistics.prefill_tokens += decode::prefill(self.model, self.store, &ends);
        self.ready.extend(chunk.into_iter().map(|request| (request, 0)));
    }

    /// Puts samples of the first ready request into the free slots, and their first logits behind `logits`.
    fn seat(&mut self, logits: &mut Vec<Tensor>) {
        let Some((index, started)) = self.ready.front_mut() else { return };
        let (index, request) = (*index, &self.requests[*index]);
        let (row, length) = (self.live.len(), request.prompt.len());
        let count = (request.seeds.len() - *started).min(self.slots - row);
        if let Some(seen) = &self.seen {
            let ids: Vec<i64> = request.prompt.iter().map(|&id| i64::from(id)).collect();
            let mut rows = seen.narrow(0, row as i64, count as i64);
            let _ = rows.fill_(0.0).index_fill_(1, &Tensor::from_slice(&ids).to_device(rows.device()), 1.0);
        }
        logits.push(self.store.logits(self.ends[index]).unsqueeze(0).expand([count as i64, -1], false));
        let limit = self.sampling.max_new_tokens.min(self.model.config.context() - length);
        let samples = *started..*started + count;
        self.live.extend(samples.map(|sample| Live::new(index, sample, request, limit)));
        *started += count;
        self.view = None;
    }

    /// Draws a token for the sequences from row `first` on, and lets those go that it ends.
    fn sample(&mut self, first: usize, logits: &Tensor) -> Result<()> {
        let uniforms: Vec<f64> = self.live[first..].iter_mut().map(|live| live.random.random()).collect();
        let rows = uniforms.len() as i64;
        let mut seen = self.seen.as_ref().map(|seen| seen.narrow(0, first as i64, rows));
        let drawn = self.sampling.draw(logits, &uniforms, seen.as_ref())?;
        if let Some(seen) = &mut seen {
            let tokens = Tensor::from_slice(&drawn.tokens).to_device(seen.device()).unsqueeze(1);
            let _ = seen.scatter_value_(1, &tokens, 1.0);
        }
        self.take(first, &drawn)?;
        self.retire();
        Ok(())
    }

    fn take(&mut self, first: usize, drawn: &Drawn) -> Result<()> {
        for (row, live) in self.live[first..].iter_mut().enumerate() {
            let (token, logprob) = (drawn.tokens[row] as u32, drawn.logprobs[row]);
            if !logprob.is_finite() {
                return Err(Error::Model(format!(
                    "request {}: the logits of token {} are not finite; the weights may have diverged, or 16 bits \
                     may be too few for this model",
                    live.request,
                    live.tokens.len()
                )));
            }
            live.take(token, logprob, self.sampling, self.stops);
            let seen = self.statistics.decoded_tokens as f64;
            self.statistics.kept_mass = (self.statistics.kept_mass * seen + drawn.kept[row]) / (seen + 1.0);
            self.statistics.decoded_tokens += 1;
        }
        Ok(())
    }

    /// Takes the sequences out that have ended, and moves the last ones into the slots they leave.
    fn retire(&mut self) {
        let mut slots: Vec<usize> = (0..self.live.len()).collect();
        for row in (0..self.live.len()).rev() {
            let Some(stop) = self.live[row].stop.take() else { continue };
            let done = self.live.swap_remove(row);
            self.cache_finished(&done, &stop, slots.swap_remove(row));
            let completion =
                Completion { tokens: done.tokens, logprobs: done.logprobs, stop, version: self.version };
            let completions = &mut self.completions[done.request];
            completions[done.sample] = Some(completion);
            if completions.iter().all(Option::is_some) {
                self.done.push(done.request);
                self.store.release(self.ends[done.request]);
            }
            self.finished += 1;
            self.view = None;
        }
        let (from, to): (Vec<i64>, Vec<i64>) = slots
            .iter()
            .enumerate()
            .filter(|(to, from)| to != *from)
            .map(|(to, from)| (*from as i64, to as i64))
            .unzip();
        if !to.is_empty() {
            self.relocate(&from, &to);
        }
    }

    /// Leaves what the sequence in `slot` has computed, all but its last token, to those that may go on from it.
    fn cache_finished(&mut self, done: &Live, stop: &StopReason, slot: usize) {
        if self.store.keep_cache && !matches!(stop, StopReason::Eos(_)) && done.tokens.len() > 1 {
            let fed = done.tokens.len() - 1;
            self.store.insert(self.ends[done.request], &done.tokens[..fed], &self.cache.slot(slot, fed));
        }
    }

    fn relocate(&mut self, from: &[i64], to: &[i64]) {
        let upload = |rows: &[i64]| Tensor::from_slice(rows).to_device(self.model.device());
        let (from, to) = (upload(from), upload(to));
        let longest = self.live.iter().map(|live| live.tokens.len()).max().unwrap_or(0);
        self.cache.relocate(&from, &to, longest);
        if let Some(seen) = &mut self.seen {
            let moved = seen.index_select(0, &from);
            let _ = seen.index_copy_(0, &to, &moved);
        }
    }

    fn samples(&self, request: usize) -> usize {
        self.requests[request].seeds.len()
    }

    /// Reports what has been completed since the last report, and how far the call is.
    fn report(&mut self, listen: &mut dyn FnMut(Event)) {
        for request in self.done.drain(..) {
            let completions = std::mem::take(&mut self.completions[request]).into_iter().flatten().collect();
            listen(Event::Completed { request, completions });
        }
        listen(Event::Progress(Progress {
            finished: self.finished,
            total: self.total,
            live: self.live.len(),
            tokens: self.statistics.decoded_tokens,
        }));
    }
}

impl Live {
    fn new(index: usize, sample: usize, request: &Request, limit: usize) -> Self {
        Self {
            request: index,
            sample,
            limit,
            random: ChaCha8Rng::seed_from_u64(request.seeds[sample]),
            watch: Watch::default(),
            tokens: Vec::new(),
            logprobs: Vec::new(),
            stop: None,
        }
    }

    fn take(&mut self, token: u32, logprob: f32, sampling: &Sampling, stops: &Stops) {
        self.tokens.push(token);
        self.logprobs.push(logprob);
        self.stop = ended(&self.tokens, self.limit, &mut self.watch, sampling, stops);
    }
}
