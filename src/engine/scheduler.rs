//! Continuous batching: which sample stands in which slot, from its prompt to its end.

use super::cache::Cache;
use super::decode;
use super::live::{Live, drawn_alike};
use super::sampling::Drawn;
use super::states::States;
use super::store::Store;
use super::view::View;
use super::{Completion, Decoder, Desk, Job, Progress, Statistics, StopReason, Stops, Token, check};
use crate::model::Model;
use crate::{Error, Result};
use rand::Rng;
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::time::Instant;
use tch::{Kind, Tensor};

/// Prompt tokens of one prefill pass: enough to keep matrix kernels busy, little enough to bound its memory. A
/// longer prompt is a pass of its own.
const PREFILL_TOKENS: usize = 2048;

/// Decodes what `desk` gives until it gives nothing more; what comes under way is taken in between two steps.
pub fn run(decoder: &mut Decoder, desk: &mut dyn Desk) -> Result<Statistics> {
    let mut batch = Batch::new(decoder);
    loop {
        batch.take_in(desk)?;
        if batch.jobs.is_empty() {
            return Ok(batch.statistics);
        }
        batch.admit(desk)?;
        batch.report(desk);
        if !batch.live.is_empty() {
            batch.step(desk)?;
            batch.report(desk);
        }
    }
}

/// The state between two steps. Row r of every tensor, slot r of the cache and `live[r]` are the same sequence.
struct Batch<'a> {
    model: &'a Model,
    stops: &'a Stops<'a>,
    /// The most sequences that are in flight at once.
    most: usize,
    /// Those that there is room for.
    slots: usize,
    /// Of the weights.
    version: u64,
    total: usize,
    finished: usize,
    /// What prompts have computed.
    store: &'a mut Store,
    /// How the sequences in flight see the store; none where it has to be found out.
    view: Option<View>,
    /// The tokens that the sequences in flight have behind their prompts.
    cache: Cache,
    /// What recurrent layers remember of the sequences in flight.
    states: States,
    /// Which tokens each sequence has, `[slots, vocab]`; kept only for the repetition penalty.
    seen: Option<Tensor>,
    live: Vec<Live>,
    /// The jobs that are not done, by number.
    jobs: BTreeMap<usize, Open>,
    /// Jobs that were given.
    given: usize,
    /// Jobs whose prompt is not computed.
    waiting: VecDeque<usize>,
    /// Jobs whose prompt is computed and that have samples waiting, with how many samples have started.
    ready: VecDeque<(usize, usize)>,
    /// Jobs whose last sample has ended since they were last handed over.
    done: Vec<usize>,
    statistics: Statistics,
}

/// A job that is not done.
struct Open {
    job: Job,
    /// The last segment of its prompt.
    end: usize,
    completions: Vec<Option<Completion>>,
}

impl<'a> Batch<'a> {
    fn new(decoder: &'a mut Decoder) -> Self {
        let model = decoder.faster.as_ref().unwrap_or(decoder.model);
        Self {
            model,
            stops: &decoder.stops,
            most: decoder.slots,
            slots: 0,
            version: decoder.version,
            total: 0,
            finished: 0,
            store: &mut decoder.store,
            view: None,
            cache: Cache::new(&model.config, 0, 0, model.kind(), model.device()),
            states: States::new(model),
            seen: None,
            live: Vec::new(),
            jobs: BTreeMap::new(),
            given: 0,
            waiting: VecDeque::new(),
            ready: VecDeque::new(),
            done: Vec::new(),
            statistics: Statistics::default(),
        }
    }

    /// Takes in what has come, and lets go what is no longer wanted.
    fn take_in(&mut self, desk: &mut dyn Desk) -> Result<()> {
        let gone: Vec<usize> = self.jobs.keys().copied().filter(|&job| !desk.wants(job)).collect();
        gone.into_iter().for_each(|job| self.forget(job));
        let mut jobs = Vec::new();
        for job in desk.next(self.jobs.is_empty()) {
            let number = self.given;
            self.given += 1;
            match job.sampling.validate().and_then(|()| check(number, &job.request, self.model)) {
                Ok(()) => jobs.push((number, job)),
                Err(error) => desk.failed(number, error)?,
            }
        }
        if jobs.is_empty() {
            return Ok(());
        }
        let prompts: Vec<&[u32]> = jobs.iter().map(|(_, job)| job.request.prompt.as_slice()).collect();
        let ends = if self.total == 0 { self.store.begin(&prompts) } else { self.store.join(&prompts) };
        let (mut limit, mut penalties) = (0, false);
        for ((number, job), end) in jobs.into_iter().zip(ends) {
            let samples = job.request.seeds.len();
            if samples == 0 {
                self.store.release(end);
            } else {
                self.total += samples;
                limit = limit.max(job.sampling.max_new_tokens);
                penalties |= job.sampling.repetition_penalty != 1.0;
                self.waiting.push_back(number);
                self.jobs.insert(number, Open { job, end, completions: vec![None; samples] });
            }
        }
        self.make_room(limit, penalties);
        Ok(())
    }

    /// Makes room for the samples of all jobs, of `limit` tokens each, with or without `penalties`.
    fn make_room(&mut self, limit: usize, penalties: bool) {
        let wanted = self.total - self.finished;
        // A few more than are wanted, where they come one by one: each growth copies what is there.
        let slots = if wanted > self.slots { self.most.min(wanted.max(self.slots * 2)) } else { self.slots };
        self.cache.allow(slots, limit.min(self.model.config.context()));
        self.states.allow(slots);
        let (vocab, device) = (self.model.config.vocab_size as i64, self.model.device());
        let have = self.seen.as_ref().map_or(0, |seen| seen.size()[0]);
        if (penalties || have > 0) && have < slots as i64 {
            let more = Tensor::zeros([slots as i64 - have, vocab], (Kind::Bool, device));
            self.seen = Some(match self.seen.take() {
                Some(seen) => Tensor::cat(&[seen, more], 0),
                None => more,
            });
        }
        self.slots = slots;
    }

    /// Lets go a job that nobody wants any more.
    fn forget(&mut self, job: usize) {
        let Some(open) = self.jobs.remove(&job) else { return };
        let waiting = open.completions.iter().filter(|one| one.is_none()).count();
        self.finished += waiting;
        self.waiting.retain(|other| *other != job);
        self.ready.retain(|(other, _)| *other != job);
        let mut slots: Vec<usize> = (0..self.live.len()).collect();
        for row in (0..self.live.len()).rev().filter(|&row| self.live[row].job == job).collect::<Vec<_>>() {
            self.live.swap_remove(row);
            slots.swap_remove(row);
            self.view = None;
        }
        self.close_up(&slots);
        self.store.release(open.end);
    }

    /// Fills the free slots with waiting samples, each with its first token.
    fn admit(&mut self, desk: &mut dyn Desk) -> Result<()> {
        let start = Instant::now();
        let first = self.live.len();
        let mut logits = Vec::new();
        while self.live.len() < self.slots && self.prepare() {
            self.seat(&mut logits);
        }
        if !logits.is_empty() {
            self.sample(first, &Tensor::cat(&logits, 0), desk)?;
        }
        self.statistics.prefill_seconds += start.elapsed().as_secs_f64();
        Ok(())
    }

    /// One new token for every sequence in flight.
    fn step(&mut self, desk: &mut dyn Desk) -> Result<()> {
        let start = Instant::now();
        let tokens: Vec<i64> =
            self.live.iter().map(|live| i64::from(live.tokens[live.tokens.len() - 1])).collect();
        let own: Vec<i64> = self.live.iter().map(|live| live.tokens.len() as i64 - 1).collect();
        self.statistics.steps += 1;
        self.statistics.rows += tokens.len();
        let ends = || self.live.iter().map(|live| self.jobs[&live.job].end).collect::<Vec<_>>();
        let (store, model) = (&*self.store, self.model);
        let view = self.view.get_or_insert_with(|| View::new(store, &ends(), model.kind(), model.device()));
        let held = (&mut self.cache, &mut self.states);
        let logits = decode::step(model, store, view, held, &tokens, &own);
        self.sample(0, &logits, desk)?;
        self.statistics.decode_seconds += start.elapsed().as_secs_f64();
        Ok(())
    }

    /// Makes sure that a computed prompt has samples waiting; false where none are left.
    fn prepare(&mut self) -> bool {
        let all_started = |(job, started): &(usize, usize)| {
            self.jobs.get(job).is_none_or(|open| open.completions.len() == *started)
        };
        while self.ready.front().is_some_and(all_started) {
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
        while let Some(&next) = self.waiting.front() {
            let end = self.jobs[&next].end;
            let new: Vec<usize> = decode::pending(self.store, &[end]);
            let uncounted = new.iter().filter(|at| !counted.contains(*at)).map(|&at| self.store.at(at));
            tokens += uncounted.map(|segment| segment.tokens.len() - segment.known).sum::<usize>();
            if !chunk.is_empty() && tokens > PREFILL_TOKENS {
                break;
            }
            counted.extend(new);
            chunk.push(next);
            self.waiting.pop_front();
        }
        let ends: Vec<usize> = chunk.iter().map(|job| self.jobs[job].end).collect();
        self.statistics.prefill_tokens += decode::prefill(self.model, self.store, &ends);
        self.ready.extend(chunk.into_iter().map(|job| (job, 0)));
    }

    /// Puts samples of the first ready job into the free slots, and their first logits behind `logits`.
    fn seat(&mut self, logits: &mut Vec<Tensor>) {
        let Some((number, started)) = self.ready.front_mut() else { return };
        let Open { job, end, .. } = &self.jobs[&*number];
        let (row, length) = (self.live.len(), job.request.prompt.len());
        let count = (job.request.seeds.len() - *started).min(self.slots - row);
        if let Some(seen) = &self.seen {
            let ids: Vec<i64> = job.request.prompt.iter().map(|&id| i64::from(id)).collect();
            let mut rows = seen.narrow(0, row as i64, count as i64);
            let _ = rows.fill_(0.0).index_fill_(1, &Tensor::from_slice(&ids).to_device(rows.device()), 1.0);
        }
        logits.push(self.store.logits(*end).unsqueeze(0).expand([count as i64, -1], false));
        self.states.seat(&self.store.at(*end).states, row, count);
        let limit = job.sampling.max_new_tokens.min(self.model.config.context() - length);
        let samples = *started..*started + count;
        self.live.extend(samples.map(|sample| Live::new(*number, sample, job, limit)));
        *started += count;
        self.view = None;
    }

    /// Draws a token for the sequences from row `first` on, and lets those go that it ends.
    fn sample(&mut self, first: usize, logits: &Tensor, desk: &mut dyn Desk) -> Result<()> {
        let uniforms: Vec<f64> = self.live[first..].iter_mut().map(|live| live.random.random()).collect();
        let rows = uniforms.len() as i64;
        let mut seen = self.seen.as_ref().map(|seen| seen.narrow(0, first as i64, rows));
        let groups = drawn_alike(&self.live[first..]);
        let mut drawn = Vec::new();
        for group in &groups {
            let of = &self.live[first + group[0] as usize];
            let (sampling, top) = (&of.sampling, of.top);
            let seen = seen.as_ref().filter(|_| sampling.repetition_penalty != 1.0);
            drawn.push(if groups.len() == 1 {
                sampling.draw(logits, &uniforms, seen, top)?
            } else {
                let places = Tensor::from_slice(group).to_device(logits.device());
                let own: Vec<f64> = group.iter().map(|&place| uniforms[place as usize]).collect();
                let seen = seen.map(|seen| seen.index_select(0, &places));
                sampling.draw(&logits.index_select(0, &places), &own, seen.as_ref(), top)?
            });
        }
        let drawn = Drawn::together(drawn, &groups);
        if let Some(seen) = &mut seen {
            let tokens = Tensor::from_slice(&drawn.tokens).to_device(seen.device()).unsqueeze(1);
            let _ = seen.scatter_value_(1, &tokens, 1.0);
        }
        self.take(first, drawn, desk)?;
        self.retire(desk);
        Ok(())
    }

    /// Gives the sequences from row `first` on their tokens, and lets the jobs of those go that have none.
    fn take(&mut self, first: usize, mut drawn: Drawn, desk: &mut dyn Desk) -> Result<()> {
        let mut failed = BTreeMap::new();
        for (row, live) in self.live[first..].iter_mut().enumerate() {
            let (id, logprob) = (drawn.tokens[row] as u32, drawn.logprobs[row]);
            if !logprob.is_finite() {
                failed.entry(live.job).or_insert(live.tokens.len());
                continue;
            }
            live.take(id, logprob, self.stops);
            let top = drawn.top.get_mut(row).map(std::mem::take).unwrap_or_default();
            desk.token(live.job, live.sample, Token { id, logprob, top });
            let seen = self.statistics.decoded_tokens as f64;
            self.statistics.kept_mass = (self.statistics.kept_mass * seen + drawn.kept[row]) / (seen + 1.0);
            self.statistics.decoded_tokens += 1;
        }
        for (job, token) in failed {
            let what = format!(
                "request {job}: the logits of token {token} are not finite; the weights may have diverged, or 16 bits may be too \
                 few for this model"
            );
            desk.failed(job, Error::Model(what))?;
            let rows = (0..self.live.len()).filter(|&row| self.live[row].job == job);
            self.cache.clear(&rows.map(|row| row as i64).collect::<Vec<_>>());
            self.forget(job);
        }
        Ok(())
    }

    /// Takes the sequences out that have ended, and moves the last ones into the slots they leave.
    fn retire(&mut self, desk: &mut dyn Desk) {
        let mut slots: Vec<usize> = (0..self.live.len()).collect();
        for row in (0..self.live.len()).rev() {
            let Some(stop) = self.live[row].stop.take() else { continue };
            let done = self.live.swap_remove(row);
            self.cache_finished(&done, &stop, slots.swap_remove(row));
            desk.stopped(done.job, done.sample, &stop);
            let completion =
                Completion { tokens: done.tokens, logprobs: done.logprobs, stop, version: self.version };
            let open = self.jobs.get_mut(&done.job).expect("its job is open");
            open.completions[done.sample] = Some(completion);
            if open.completions.iter().all(Option::is_some) {
                self.done.push(done.job);
                self.store.release(open.end);
            }
            self.finished += 1;
            self.view = None;
        }
        self.close_up(&slots);
    }

    /// Moves the sequences in flight, which stand in `slots`, to the first ones.
    fn close_up(&mut self, slots: &[usize]) {
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
            let (layers, states) = (self.cache.slot(slot, fed), self.states.slot(slot));
            self.store.insert(self.jobs[&done.job].end, &done.tokens[..fed], &layers, states);
        }
    }

    fn relocate(&mut self, from: &[i64], to: &[i64]) {
        let upload = |rows: &[i64]| Tensor::from_slice(rows).to_device(self.model.device());
        let (from, to) = (upload(from), upload(to));
        let longest = self.live.iter().map(|live| live.tokens.len()).max().unwrap_or(0);
        self.cache.relocate(&from, &to, longest);
        self.states.relocate(&from, &to);
        if let Some(seen) = &mut self.seen {
            let moved = seen.index_select(0, &from);
            let _ = seen.index_copy_(0, &to, &moved);
        }
    }

    /// Reports what has been completed since the last report, and how far the call is.
    fn report(&mut self, desk: &mut dyn Desk) {
        for job in std::mem::take(&mut self.done) {
            let Some(open) = self.jobs.remove(&job) else { continue };
            desk.ended(job, open.completions.into_iter().flatten().collect());
        }
        desk.progress(Progress {
            finished: self.finished,
            total: self.total,
            live: self.live.len(),
            tokens: self.statistics.decoded_tokens,
        });
    }
}
