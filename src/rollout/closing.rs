//! Answers that are forced: reasoning is ended where it stands, and what is sampled behind that is the answer alone.

use super::Rollout;
use crate::engine::{Completion, Progress, Request, Sampling, Statistics};
use crate::error::{Error, Result};
use crate::policy::Policy;
use crate::rationale::Format;
use crate::section::Misfit;

/// Reasoning that is ended, as it was sampled.
#[derive(Debug, Clone)]
pub struct Reasoning<'a> {
    /// The prompt's token ids.
    pub prompt: &'a [u32],
    /// The completion's, up to where it is ended.
    pub tokens: &'a [u32],
    /// One seed an answer.
    pub seeds: Vec<u64>,
}

/// What ends reasoning by `data.format`.
///
/// # Errors
/// [`Error::Recipe`] where no answer form begins with a text.
pub fn cue(format: &Format, section: &str) -> Result<String> {
    let lacks = || Error::Recipe(no_cue(format, section).map_or(String::new(), |misfit| misfit.sentence()));
    format.cue().ok_or_else(lacks)
}

/// That `data.format` has nothing to end reasoning by, where that is so: of the `section` that forces answers, under its own `key`.
pub fn no_cue(format: &Format, section: &str) -> Option<Misfit> {
    if format.cue().is_some() {
        return None;
    }
    let key = section.splitn(3, '.').nth(2).unwrap_or_default();
    let message =
        format!("{section} forces answers, and the first of data.format.answer has no beginning to write");
    Some(Misfit::new(key, message, "set data.format.close"))
}

/// For each reasoning, one completion a seed, in order, not yet scored: its tokens, `cue`, and at most `most` sampled ones. They have no
/// log-probabilities, since not all was sampled. Of reasoning that leaves no room for an answer the end is left out.
pub fn forced(
    policy: &Policy,
    ended: &[Reasoning],
    cue: &str,
    sampling: &Sampling,
    most: usize,
    format: &Format,
    progress: &mut dyn FnMut(&Progress),
) -> Result<(Vec<Vec<Rollout>>, Statistics)> {
    let closed = |reasoning: &Reasoning| -> Result<Vec<u32>> {
        let begins = |text: &str| {
            let inside = !text.is_empty() && !text.ends_with('\n');
            policy.tokenizer.encode_after(if inside { cue } else { cue.trim_start_matches('\n') }, false)
        };
        let room = policy.context().saturating_sub(reasoning.prompt.len() + most);
        let mut kept = reasoning.tokens;
        let mut end = begins(&policy.tokenizer.decode(kept))?;
        if kept.len() + end.len() > room {
            kept = &kept[..room.saturating_sub(end.len() + 1)];
            end = begins(&policy.tokenizer.decode(kept))?;
        }
        Ok([kept, &end].concat())
    };
    let begun = ended.iter().map(closed).collect::<Result<Vec<_>>>()?;
    let request = |(reasoning, begun): (&Reasoning, &Vec<u32>)| Request {
        prompt: [reasoning.prompt, begun].concat(),
        seeds: reasoning.seeds.clone(),
    };
    let requests: Vec<Request> = ended.iter().zip(&begun).map(request).collect();
    let sampling = Sampling { max_new_tokens: most, ..sampling.clone() };
    let generated = policy.sampler().generate(&requests, &sampling, progress)?;
    let whole = |begun: &[u32], completion: Completion| {
        let tokens = [begun, &completion.tokens].concat();
        Rollout::decoded(tokens, Vec::new(), completion.stop, &policy.tokenizer, format)
    };
    let answered = begun.iter().zip(generated.completions);
    let answered =
        answered.map(|(begun, all)| all.into_iter().map(|completion| whole(begun, completion)).collect());
    Ok((answered.collect(), generated.statistics))
}
