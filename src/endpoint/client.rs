//! Asking an endpoint several questions at once: in order, each once, as many under way as its lane has room for.

use super::call::Caller;
use super::figures::Tally;
use super::lane::Lane;
use super::{Answer, ChatRequest, Endpoint, cache};
use crate::error::Result;
use serde_json::Value;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// An endpoint that can be asked, by several threads at once.
pub struct Client {
    endpoint: Endpoint,
    caller: Caller,
    lane: Arc<Lane>,
    tally: Mutex<Tally>,
    /// The keys of what is being asked, where answers are kept: who asks the same waits for it.
    asking: Mutex<HashSet<String>>,
    asked: Condvar,
}

impl Client {
    pub(super) fn new(endpoint: &Endpoint, key: Option<String>) -> Self {
        Self {
            caller: Caller::new(endpoint, key),
            lane: Lane::to(endpoint.url.trim_end_matches('/')),
            endpoint: endpoint.clone(),
            tally: Mutex::default(),
            asking: Mutex::default(),
            asked: Condvar::new(),
        }
    }

    /// The answers, in order. Requests go out `concurrency` at a time; equal ones go out once. The first that fails for
    /// good ends the rest.
    ///
    /// # Errors
    /// [`Error::Endpoint`](crate::Error::Endpoint), naming url, status and remedy.
    pub fn ask(&self, requests: &[ChatRequest]) -> Result<Vec<Answer>> {
        let parts: Vec<Vec<ChatRequest>> =
            requests.iter().map(|request| self.endpoint.parts(request)).collect();
        let mut answers = self.ask_each(&parts.concat())?.into_iter();
        Ok(parts.iter().map(|parts| Answer::joined(answers.by_ref().take(parts.len()))).collect())
    }

    fn ask_each(&self, requests: &[ChatRequest]) -> Result<Vec<Answer>> {
        let bodies: Vec<Value> = requests.iter().map(|request| self.endpoint.body(request)).collect();
        let keys: Vec<String> = bodies
            .iter()
            .zip(requests)
            .map(|(body, asked)| cache::key(&self.endpoint.url, body, asked.attempt))
            .collect();
        let mut first: HashMap<&str, usize> = HashMap::new();
        let unique: Vec<usize> =
            (0..keys.len()).filter(|&at| *first.entry(&keys[at]).or_insert(at) == at).collect();
        let answers = self.each(&unique, |at| self.answer(&keys[at], &bodies[at], requests[at].n))?;
        let known: HashMap<&str, Answer> = unique.iter().map(|&at| keys[at].as_str()).zip(answers).collect();
        Ok(keys.iter().map(|key| known[key.as_str()].clone()).collect())
    }

    /// What there is to tell since it was last asked: `requests`, `cache_hits`, `retries`, `timeouts`, `empty` (replies without an
    /// answer), `refusals`, `latency_s` (the mean of a request), `prompt_tokens`, `completion_tokens`, `cost`.
    pub fn figures(&self) -> Vec<(String, f64)> {
        let tally = std::mem::take(&mut *self.tally.lock().unwrap_or_else(PoisonError::into_inner));
        tally.figures(self.endpoint.prompt_price, self.endpoint.completion_price)
    }

    /// Calls `ask` for all, `concurrency` at a time; the results in order, or the first error in order.
    fn each(&self, all: &[usize], ask: impl Fn(usize) -> Result<Answer> + Sync) -> Result<Vec<Answer>> {
        let (next, failed) = (AtomicUsize::new(0), AtomicBool::new(false));
        let results = Mutex::new((0..all.len()).map(|_| None).collect::<Vec<Option<Result<Answer>>>>());
        let work = || {
            while !failed.load(Ordering::SeqCst) {
                let at = next.fetch_add(1, Ordering::SeqCst);
                let Some(&number) = all.get(at) else { return };
                let result = ask(number);
                failed.fetch_or(result.is_err(), Ordering::SeqCst);
                results.lock().unwrap_or_else(PoisonError::into_inner)[at] = Some(result);
            }
        };
        match all.len() {
            1 => work(),
            _ => std::thread::scope(|scope| {
                for _ in 0..self.endpoint.concurrency.min(all.len()) {
                    scope.spawn(work);
                }
            }),
        }
        // Those after a failure may not have been asked; the failure stands among the others.
        results.into_inner().unwrap_or_else(PoisonError::into_inner).into_iter().flatten().collect()
    }

    fn answer(&self, key: &str, body: &Value, n: usize) -> Result<Answer> {
        let Some(folder) = &self.endpoint.cache else { return self.call(body, n) };
        let _one = self.one_at_a_time(key);
        if let Some(kept) = cache::read(folder, key, body) {
            self.tally(&|tally| tally.cache_hits += 1);
            return Ok(self.caller.without_key(kept));
        }
        let answer = self.call(body, n)?;
        cache::write(folder, key, body, &answer)?;
        Ok(answer)
    }

    fn call(&self, body: &Value, n: usize) -> Result<Answer> {
        let _pass = self.lane.enter(self.endpoint.concurrency);
        let answer = self.caller.call(body, n, &|count| self.tally(count))?;
        self.tally(&|tally| tally.count(&answer));
        Ok(answer)
    }

    fn tally(&self, count: &dyn Fn(&mut Tally)) {
        count(&mut self.tally.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Waits until nobody asks what `key` stands for. Who waited finds the answer in the cache.
    fn one_at_a_time<'a>(&'a self, key: &'a str) -> Asking<'a> {
        let mut asking = self.asking.lock().unwrap_or_else(PoisonError::into_inner);
        while !asking.insert(key.to_owned()) {
            asking = self.asked.wait(asking).unwrap_or_else(PoisonError::into_inner);
        }
        Asking { client: self, key }
    }
}

/// That something is being asked.
struct Asking<'a> {
    client: &'a Client,
    key: &'a str,
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        self.client.asking.lock().unwrap_or_else(PoisonError::into_inner).remove(self.key);
        self.client.asked.notify_all();
    }
}

impl std::fmt::Debug for Client {
    /// Without the key.
    fn fmt(&self, formatter: &mut std::fmt::Formatter) -> std::fmt::Result {
        write!(formatter, "Client({} at {})", self.endpoint.model, self.endpoint.url)
    }
}
