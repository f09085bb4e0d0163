//! Completions in turns: the policy writes a stretch, somebody else says what stands behind it, and the policy goes on.
//!
//! What was said is put behind the tokens as tokens, which are given and never sampled. A path is its prompt, then what was written and said, in the
//! engine's cache from stretch to stretch: nothing of it is ever rendered or computed again.

use super::{Group, Prompted, Rollout, SamplingContext, Source, SourceSection};
use crate::data::Tokenizer;
use crate::engine::{Completion, Request, Sampling, Statistics, StopReason};
use crate::error::{Error, Result};
use crate::rationale::{Format, Given};
use crate::seed::derive;
use std::ops::Range;
use std::sync::Once;

/// A completion under way.
#[derive(Debug, Clone)]
pub struct Path {
    /// The place of its prompt among those that are asked.
    pub prompt: usize,
    /// Which of the prompt's completions it is.
    pub sample: usize,
    /// What was written and said so far.
    pub tokens: Vec<u32>,
    /// Behind what was said last: what was written since begins here.
    pub from: usize,
    /// How often something was said.
    pub answers: usize,
    logprobs: Vec<f32>,
    given: Vec<Range<usize>>,
    /// Stretches that were sampled.
    stretches: usize,
    seed: u64,
    /// Tokens that it may have in all.
    room: usize,
    /// Why the last stretch ended.
    last: StopReason,
    ended: bool,
}

/// What is said behind a stretch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// These tokens; the policy goes on behind them.
    Given(Vec<u32>),
    /// Nothing; the policy goes on.
    Nothing,
    /// The completion ends.
    End,
}

/// Who says what stands behind the stretches.
pub trait Partner {
    /// Texts at which a stretch ends, beside those that end a completion.
    fn stops(&self) -> &[String];

    /// Whether a stretch that ended so waits for an answer; else the completion ends with it.
    fn waits(&self, stop: &StopReason) -> bool;

    /// What is said to each of `paths`, whose stretches wait for it.
    fn answer(&mut self, paths: &[&Path]) -> Result<Vec<Answer>>;

    /// What it knows of a completion that has ended.
    fn tell(&mut self, _path: &Path, rollout: Rollout) -> Result<Rollout> {
        Ok(rollout)
    }
}

/// `size` completions of each prompt, whose stretches `partner` answers, scored; and what sampling them took. The limit of tokens bounds a
/// completion with all that was said in it: one that has no room for an answer is cut off there.
///
/// A first stretch is drawn as an independent completion is, so that one without an answer is the same as without a partner.
pub fn sample(
    prompts: &[Prompted],
    size: usize,
    partner: &mut dyn Partner,
    context: &mut SamplingContext,
) -> Result<(Vec<Group>, Statistics)> {
    let draws = (0..prompts.len()).flat_map(|prompt| (0..size).map(move |sample| (prompt, sample)));
    let path = |(prompt, sample): (usize, usize)| {
        let seed = context.seeds.draw(prompt, &[sample as u64]);
        Path::new(prompt, sample, seed, context.room(&prompts[prompt]))
    };
    let mut paths: Vec<Path> = draws.map(path).collect();
    let SamplingContext { policy, sampling, format, scorer, progress, .. } = context;
    let stop = [&sampling.stop[..], partner.stops()].concat();
    let mut total = Statistics::default();
    let groups = scorer.score_while(&mut |give| {
        let mut sampler = policy.sampler();
        sampler.keep_cache(true);
        let mut groups: Vec<Group> = Vec::with_capacity(prompts.len());
        loop {
            let open: Vec<usize> = (0..paths.len()).filter(|&at| !paths[at].ended).collect();
            let whole = open.first().map_or(prompts.len(), |&first| first / size);
            for (prompted, own) in prompts.iter().zip(paths.chunks(size)).take(whole).skip(groups.len()) {
                let told = |path: &Path| partner.tell(path, path.rollout(&policy.tokenizer, format));
                let group = Group::of(prompted, own.iter().map(told).collect::<Result<_>>()?);
                give(&group);
                groups.push(group);
            }
            if open.is_empty() {
                return Ok(groups);
            }
            let longest = open.iter().map(|&at| paths[at].left()).max().unwrap_or(0);
            let limits = Sampling { max_new_tokens: longest, stop: stop.clone(), ..(*sampling).clone() };
            let request = |&at: &usize| paths[at].request(&prompts[paths[at].prompt]);
            let requests: Vec<Request> = open.iter().map(request).collect();
            let generated = sampler.generate(&requests, &limits, &mut **progress)?;
            total.add(&generated.statistics);
            for (&at, pieces) in open.iter().zip(generated.completions) {
                pieces.into_iter().for_each(|piece| paths[at].take(piece, &*partner));
            }
            let waiting: Vec<usize> = open.into_iter().filter(|&at| !paths[at].ended).collect();
            if waiting.is_empty() {
                continue;
            }
            let answers = partner.answer(&waiting.iter().map(|&at| &paths[at]).collect::<Vec<_>>())?;
            waiting.into_iter().zip(answers).for_each(|(at, answer)| paths[at].hear(answer));
        }
    })?;
    context.tokens += total.decoded_tokens;
    Ok((groups, total))
}

/// What samples in turns, as a source has it at work.
pub trait InTurns {
    /// The section that it was built from.
    fn section(&self) -> &dyn SourceSection;

    /// Completions of each training prompt.
    fn size(&self) -> usize;

    /// `size` completions of each of `prompts`, scored, and what sampling them took.
    ///
    /// # Errors
    /// As those of [`Source::roll_out`].
    fn sample(
        &self,
        prompts: &[Prompted],
        size: usize,
        context: &mut SamplingContext,
    ) -> Result<(Vec<Group>, Statistics)>;
}

/// The source that samples so, held-out questions too.
pub struct Turning<T>(pub T);

impl<T: InTurns> Source for Turning<T> {
    fn section(&self) -> &dyn SourceSection {
        self.0.section()
    }

    fn roll_out(&self, prompts: &[Prompted], context: &mut SamplingContext) -> Result<Vec<Group>> {
        let (groups, statistics) = self.0.sample(prompts, self.0.size(), context)?;
        context.report(&statistics);
        Ok(groups)
    }

    fn answer(
        &self,
        questions: &[Prompted],
        samples: usize,
        context: &mut SamplingContext,
    ) -> Result<Option<Vec<Group>>> {
        self.0.sample(questions, samples, context).map(|(groups, _)| Some(groups))
    }
}

impl Path {
    fn new(prompt: usize, sample: usize, seed: u64, room: usize) -> Self {
        Self {
            prompt,
            sample,
            tokens: vec![],
            from: 0,
            answers: 0,
            logprobs: vec![],
            given: vec![],
            stretches: 0,
            seed,
            room,
            last: StopReason::Length,
            ended: room == 0,
        }
    }

    /// Tokens that it may still have.
    pub fn left(&self) -> usize {
        self.room - self.tokens.len()
    }

    /// What was written since something was said last, as text.
    pub fn written(&self, tokenizer: &Tokenizer) -> String {
        tokenizer.decode(&self.tokens[self.from..])
    }

    /// Why its last stretch ended.
    pub fn last(&self) -> &StopReason {
        &self.last
    }

    fn request(&self, prompted: &Prompted) -> Request {
        let seed = if self.stretches == 0 { self.seed } else { derive(&[self.seed, self.stretches as u64]) };
        Request { prompt: [&prompted.tokens[..], &self.tokens].concat(), seeds: vec![seed] }
    }

    fn take(&mut self, mut piece: Completion, partner: &dyn Partner) {
        self.ended = !piece.fit(self.left(), partner.waits(&piece.stop));
        self.tokens.extend(piece.tokens);
        self.logprobs.extend(piece.logprobs);
        self.last = piece.stop;
        self.stretches += 1;
    }

    fn hear(&mut self, answer: Answer) {
        match answer {
            Answer::Nothing => {}
            Answer::End => self.ended = true,
            Answer::Given(said) if said.len() >= self.left() => {
                (self.ended, self.last) = (true, StopReason::Length);
            }
            Answer::Given(said) => {
                let begin = self.tokens.len();
                self.tokens.extend(said);
                self.from = self.tokens.len();
                self.answers += 1;
                self.given.extend(Some(begin..self.from).filter(|said| !said.is_empty()));
            }
        }
    }

    fn rollout(&self, tokenizer: &Tokenizer, format: &Format) -> Rollout {
        let bytes = |count: usize| tokenizer.length(&self.tokens[..count]);
        let part = |tokens: &Range<usize>| {
            let begin = bytes(tokens.start);
            Given { bytes: begin..bytes(tokens.end).max(begin), tokens: tokens.clone() }
        };
        let given = self.given.iter().map(part).collect();
        let (tokens, logprobs, stop) = (self.tokens.clone(), self.logprobs.clone(), self.last.clone());
        Rollout { given, ..Rollout::decoded(tokens, logprobs, stop, tokenizer, format) }
    }
}

/// The ids of `said` where `place` stands in `template`, as they stand behind other tokens. In the template special tokens are what they are, in
/// what is said they are text. Characters that the tokenizer's alphabet lacks are left out of what is said; the first time that is warned of.
///
/// # Errors
/// A template that cannot be tokenised, or has no such place.
pub fn placed(tokenizer: &Tokenizer, template: &str, place: &str, said: &str) -> Result<Vec<u32>> {
    let Some((before, behind)) = template.split_once(place) else {
        return Err(Error::Recipe(format!("{template:?} has no {place}")));
    };
    let encode = |text: &str, content: bool| match text.is_empty() {
        true => Ok(vec![]),
        false => tokenizer.encode_after(text, content),
    };
    let said = encode(said, true).or_else(|_| {
        static WARNED: Once = Once::new();
        let (known, lacking) = known(tokenizer, said);
        WARNED.call_once(|| tracing::warn!("{}", lacks(said, &lacking)));
        encode(&known, true)
    });
    Ok([encode(before, false)?, said?, encode(behind, false)?].concat())
}

/// What a tokenizer knows of a text, and the characters that it does not.
fn known(tokenizer: &Tokenizer, said: &str) -> (String, String) {
    said.chars().partition(|c| tokenizer.encode_content(&c.to_string()).is_ok())
}

/// What is said of the first text of which characters are `lacking`.
fn lacks(said: &str, lacking: &str) -> String {
    let (count, all) = (lacking.chars().count(), said.chars().count());
    let few = |text: &str| text.chars().take(20).collect::<String>();
    format!(
        "of what a tool or an environment says the policy does not see characters that its tokenizer has no token for: {count} of {all} in {:?}, such \
         as {:?}; others are left out without a word",
        few(said),
        few(lacking)
    )
}

#[cfg(test)]
pub(super) mod tests;
