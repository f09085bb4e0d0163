//! Where requests come in and answers go out, while a decoder is at work.

use super::answer::{Answer, Choice};
use super::asked::Asked;
use super::http::Reply;
use super::pieces::first_of;
use super::reader::{Ready, now};
use super::refused::Refused;
use crate::engine::{Completion, Desk, Job, StopReason, Token};
use crate::error::{Error, Result};
use crate::log::terminal::say;
use crate::policy::{Policy, Told};
use serde_json::json;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

/// Prompt tokens that are scored between two steps of what is decoded, at least one prompt's: what one prefill pass may take too.
const SCORED: usize = 2048;

/// A model that is asked.
pub(super) struct Counter<'a> {
    policy: &'a Policy,
    timeout: Duration,
    received: Receiver<Ready>,
    /// What has come while there was nothing to do.
    first: Option<Ready>,
    /// What is being answered, by the request's number.
    open: BTreeMap<u64, Open>,
    /// The request of each job of the decoder, and the place of its prompt there.
    jobs: HashMap<usize, (u64, usize)>,
    /// Jobs that the decoder was given.
    given: usize,
    /// Prompts to be scored: the request, and the place of the prompt there.
    unscored: VecDeque<(u64, usize)>,
}

/// A request that is being answered.
struct Open {
    asked: Asked,
    to: Reply,
    created: u64,
    deadline: Instant,
    told: Vec<Option<Told>>,
    /// Prompt by prompt, the completions of each in order.
    choices: Vec<Choice>,
    /// Prompts of which something is to come.
    left: usize,
}

impl<'a> Counter<'a> {
    /// For requests that have `timeout` to be answered.
    pub fn new(policy: &'a Policy, timeout: Duration, received: Receiver<Ready>) -> Self {
        Self {
            policy,
            timeout,
            received,
            first: None,
            open: BTreeMap::new(),
            jobs: HashMap::new(),
            given: 0,
            unscored: VecDeque::new(),
        }
    }

    /// Waits for the next request; false once none can come.
    pub fn wait(&mut self) -> bool {
        self.jobs.clear();
        self.given = 0;
        self.first = self.received.recv().ok();
        self.first.is_some()
    }

    /// Says to all who wait that there will be no answer.
    pub fn fail(&mut self, error: &Error) {
        let refused = Refused::new(500, error.to_string());
        self.unscored.clear();
        let numbers: Vec<u64> = self.open.keys().copied().collect();
        numbers.into_iter().for_each(|number| self.refuse(number, &refused));
    }

    fn take_on(&mut self, ready: Ready, jobs: &mut Vec<Job>) {
        let Ready { number, asked, at, to } = ready;
        let prompts = asked.prompts.len();
        let choices = (0..prompts * asked.n).map(|place| Choice::of(place / asked.n)).collect();
        let created = now();
        let told = (0..prompts).map(|_| None).collect();
        let deadline = at + self.timeout;
        let scored = asked.tells_prompts();
        self.open.insert(number, Open { asked, to, created, deadline, told, choices, left: prompts });
        if scored {
            self.unscored.extend((0..prompts).map(|place| (number, place)));
        } else {
            self.begin(number, jobs);
        }
    }

    /// All is known of a request's prompts that it asks about: its completions are written.
    fn begin(&mut self, number: u64, jobs: &mut Vec<Job>) {
        let policy = self.policy;
        let Some(open) = self.open.get_mut(&number) else { return };
        if open.asked.stream {
            open.to.begin_events();
            for event in open.answer(number, policy).first(&open.choices) {
                open.to.event(&event);
            }
        }
        let asked = &open.asked;
        if asked.limit > 0 && !asked.is_read_off() {
            for place in 0..asked.prompts.len() {
                self.jobs.insert(self.given + jobs.len(), (number, place));
                jobs.push(asked.job(place));
            }
            return;
        }
        (0..asked.prompts.len()).for_each(|place| self.read_off(number, place));
    }

    /// Nothing is to be decoded behind a prompt: nothing at all, or the one token that is known with it.
    fn read_off(&mut self, number: u64, place: usize) {
        let policy = self.policy;
        let Some(open) = self.open.get_mut(&number) else { return };
        let n = open.asked.n;
        for at in place * n..(place + 1) * n {
            let mut stop = StopReason::Length;
            if open.asked.limit > 0
                && let Some(told) = &open.told[place]
            {
                let text = policy.tokenizer.decode(&[told.next.id]);
                stop = match first_of(&open.asked.sampling.stop, &text) {
                    _ if policy.eos.contains(&told.next.id) => StopReason::Eos(told.next.id),
                    Some((_, stop)) => StopReason::StopString(stop.clone()),
                    None => StopReason::Length,
                };
                open.choices[at].push(told.next.clone(), &policy.tokenizer);
            }
            open.end(number, at, stop, policy);
        }
        self.prompt_is_done(number);
    }

    /// All completions of a prompt have ended, and with those of the last one the answer.
    fn prompt_is_done(&mut self, number: u64) {
        let policy = self.policy;
        let Some(open) = self.open.get_mut(&number) else { return };
        open.left -= 1;
        if open.left > 0 {
            return;
        }
        let Some(open) = self.open.remove(&number) else { return };
        let answer = open.answer(number, policy);
        if !open.asked.stream {
            let whole = answer.whole(&open.choices);
            return open.to.send(200, &whole);
        }
        if open.asked.usage {
            open.to.event(&answer.last(&open.choices));
        }
        open.to.end_events();
    }

    /// Scores prompts that wait for it, as many as may be between two steps, and takes on the completions of requests that are whole.
    fn score(&mut self, jobs: &mut Vec<Job>) {
        let here = |open: &BTreeMap<u64, Open>, (number, place): (u64, usize)| {
            open.get(&number).map(|open| {
                let top = open.asked.logprobs.unwrap_or(0);
                (open.asked.sampling.scoring_temperature(), top, open.asked.prompts[place].ids.len())
            })
        };
        let (mut batch, mut tokens, mut alike) = (Vec::new(), 0, None);
        while let Some(&next) = self.unscored.front() {
            if let Some((temperature, top, length)) = here(&self.open, next) {
                let fits = tokens == 0 || tokens + length <= SCORED;
                if !fits || alike.is_some_and(|alike| alike != (temperature, top)) {
                    break;
                }
                alike = Some((temperature, top));
                tokens += length;
                batch.push(next);
            }
            self.unscored.pop_front();
        }
        let Some((temperature, top)) = alike else { return };
        let text = |(number, place): &(u64, usize)| self.open[number].asked.prompts[*place].ids.as_slice();
        let texts: Vec<&[u32]> = batch.iter().map(text).collect();
        let policy = self.policy;
        let scored = |texts: &[&[u32]]| policy.prompt_logprobs(texts, temperature, top, SCORED);
        let told: Vec<Result<Told>> = match scored(&texts) {
            Ok(told) => told.into_iter().map(Ok).collect(),
            Err(error) if texts.len() == 1 => vec![Err(error)],
            // Whose error it is, each by itself says.
            Err(_) => texts.iter().map(|text| scored(&[*text]).map(|mut told| told.remove(0))).collect(),
        };
        for ((number, place), told) in batch.into_iter().zip(told) {
            let told = match told {
                Ok(told) => told,
                Err(error) => {
                    self.refuse(number, &Refused::new(500, error.to_string()));
                    continue;
                }
            };
            let Some(open) = self.open.get_mut(&number) else { continue };
            open.told[place] = Some(told);
            if open.told.iter().all(Option::is_some) {
                self.begin(number, jobs);
            }
        }
    }

    fn refuse(&mut self, number: u64, refused: &Refused) {
        let Some(open) = self.open.remove(&number) else { return };
        // An answer that has begun cannot become another.
        let begun =
            open.asked.stream && (!open.asked.tells_prompts() || open.told.iter().all(Option::is_some));
        if begun {
            open.to.event(&json!({ "error": refused.to_json() }));
        } else {
            open.to.refuse(refused);
        }
    }

    /// Lets go what nobody waits for any more, or what has taken too long.
    fn look_around(&mut self) {
        let now = Instant::now();
        let gone: Vec<u64> =
            self.open.iter().filter(|(_, open)| open.to.is_gone()).map(|(number, _)| *number).collect();
        gone.iter().for_each(|number| drop(self.open.remove(number)));
        let late: Vec<u64> =
            self.open.iter().filter(|(_, open)| open.deadline <= now).map(|(number, _)| *number).collect();
        let seconds = self.timeout.as_secs();
        let refused = Refused::new(
            504,
            format!("the answer took more than {seconds} s (--timeout); ask for fewer tokens or completions"),
        );
        late.into_iter().for_each(|number| self.refuse(number, &refused));
    }
}

impl Open {
    fn answer<'o>(&'o self, number: u64, policy: &'o Policy) -> Answer<'o> {
        let (asked, created, told) = (&self.asked, self.created, self.told.as_slice());
        Answer { asked, tokenizer: &policy.tokenizer, number, created, told }
    }

    /// A completion has ended: the last piece of it is sent at once, whatever others there are.
    fn end(&mut self, number: u64, at: usize, stop: StopReason, policy: &Policy) {
        self.choices[at].end(stop);
        if self.asked.stream {
            self.tell(number, at, policy);
        }
    }

    /// Sends what is new of a completion.
    fn tell(&mut self, number: u64, at: usize, policy: &Policy) {
        // Not by `answer`, which borrows the choices too.
        let (asked, created, told) = (&self.asked, self.created, self.told.as_slice());
        let answer = Answer { asked, tokenizer: &policy.tokenizer, number, created, told };
        if let Some(event) = answer.next(at, &mut self.choices[at]) {
            self.to.event(&event);
        }
    }
}

impl Desk for Counter<'_> {
    fn next(&mut self, idle: bool) -> Vec<Job> {
        let mut jobs = Vec::new();
        loop {
            while let Some(ready) = self.first.take().or_else(|| self.received.try_recv().ok()) {
                self.take_on(ready, &mut jobs);
            }
            self.look_around();
            self.score(&mut jobs);
            if !idle || !jobs.is_empty() || self.unscored.is_empty() {
                self.given += jobs.len();
                return jobs;
            }
        }
    }

    fn wants(&mut self, job: usize) -> bool {
        let wanted = self.jobs.get(&job).is_some_and(|(number, _)| self.open.contains_key(number));
        if !wanted {
            self.jobs.remove(&job);
        }
        wanted
    }

    fn token(&mut self, job: usize, sample: usize, token: Token) {
        let policy = self.policy;
        let Some(&(number, place)) = self.jobs.get(&job) else { return };
        let Some(open) = self.open.get_mut(&number) else { return };
        let at = place * open.asked.n + sample;
        open.choices[at].push(token, &policy.tokenizer);
        if open.asked.stream {
            open.tell(number, at, policy);
        }
    }

    fn stopped(&mut self, job: usize, sample: usize, stop: &StopReason) {
        let policy = self.policy;
        let Some(&(number, place)) = self.jobs.get(&job) else { return };
        let Some(open) = self.open.get_mut(&number) else { return };
        open.end(number, place * open.asked.n + sample, stop.clone(), policy);
    }

    /// Ends the request that it is of, and no other.
    fn failed(&mut self, job: usize, error: Error) -> Result<()> {
        say(&format!("error: {error}"));
        if let Some((number, _)) = self.jobs.remove(&job) {
            self.refuse(number, &Refused::new(500, error.to_string()));
        }
        Ok(())
    }

    fn ended(&mut self, job: usize, _: Vec<Completion>) {
        let Some((number, _)) = self.jobs.remove(&job) else { return };
        self.prompt_is_done(number);
    }
}
