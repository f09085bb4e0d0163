//! Completions under way: each grown by a step, or to its end, in several ways, and scored.

use super::Means;
use crate::engine::{Boundary, Completion, Request, StopReason};
use crate::error::Result;
use crate::rationale::Format;
use crate::rollout::{Group, Prompted, Rollout};
use crate::seed;

/// The ways on from a prompt's paths.
#[derive(Debug)]
pub struct Candidates {
    /// The grown paths, each from its start, scored; those with the same tokens are one.
    pub group: Group,
    /// Whether each of them goes on.
    pub open: Vec<bool>,
    /// How often each was drawn.
    pub copies: Vec<usize>,
}

/// The path without tokens that all others come from.
pub fn root(format: &Format) -> Rollout {
    Rollout::new(vec![], String::new(), vec![], StopReason::Length, format)
}

/// Grows each of a prompt's `paths` in so many `ways` by a step, or, without an `end` of steps, to its end, where copies
/// stay apart. `level` tells apart the randomness of several calls.
pub fn grow(
    prompts: &[Prompted],
    paths: &[Vec<Rollout>],
    ways: usize,
    level: usize,
    end: Option<Boundary>,
    means: &mut Means,
) -> Result<Vec<Candidates>> {
    let mut requests = Vec::new();
    let mut owners = Vec::new();
    for (owner, (prompted, paths)) in prompts.iter().zip(paths).enumerate() {
        for (number, path) in paths.iter().enumerate() {
            let draw = |way: usize| {
                let seed = (means.seed)(prompted.example.index, way);
                if level == 0 { seed } else { seed::derive(&[seed, level as u64, number as u64]) }
            };
            let seeds = (0..ways).map(draw).collect();
            requests.push(Request { prompt: [&prompted.tokens[..], &path.tokens].concat(), seeds });
            owners.push((owner, path));
        }
    }
    let limits = end.map_or_else(|| means.sampling.clone(), |end| end.step(means.sampling));
    let generated = means.policy.sampler().generate(&requests, &limits, means.progress)?;
    means.tokens += generated.statistics.decoded_tokens;
    let empty = |prompted: &Prompted| Candidates {
        group: Group { example: prompted.example.clone(), prompt: prompted.tokens.clone(), rollouts: vec![] },
        open: vec![],
        copies: vec![],
    };
    let mut grown: Vec<Candidates> = prompts.iter().map(empty).collect();
    for ((owner, path), pieces) in owners.into_iter().zip(generated.completions) {
        let room = (means.policy.context() - prompts[owner].tokens.len()).min(means.sampling.max_new_tokens);
        for piece in pieces {
            grown[owner].take(path, piece, room, end, means);
        }
    }
    score(&mut grown, means)?;
    Ok(grown)
}

fn score(grown: &mut [Candidates], means: &mut Means) -> Result<()> {
    let mut asked: Vec<&mut Group> = grown.iter_mut().map(|candidates| &mut candidates.group).collect();
    asked.retain(|group| !group.rollouts.is_empty());
    let mut groups: Vec<Group> = asked.iter().map(|group| (**group).clone()).collect();
    (means.score)(&mut groups)?;
    asked.into_iter().zip(groups).for_each(|(group, scored)| *group = scored);
    Ok(())
}

impl Candidates {
    /// Takes `path` grown by `piece`, which has `room` tokens in all.
    fn take(
        &mut self,
        path: &Rollout,
        mut piece: Completion,
        room: usize,
        end: Option<Boundary>,
        means: &Means,
    ) {
        let ended = end.is_some_and(|end| end.ends(&piece, means.sampling));
        let open = piece.fit(room - path.tokens.len(), ended);
        let tokens = [&path.tokens[..], &piece.tokens].concat();
        let logprobs = [&path.logprobs[..], &piece.logprobs].concat();
        let stop = piece.stop;
        let same = |other: &Rollout| end.is_some() && other.tokens == tokens && other.stop == stop;
        if let Some(known) = self.group.rollouts.iter().position(same) {
            self.copies[known] += 1;
            return;
        }
        let text = means.policy.tokenizer.decode(&tokens);
        self.group.rollouts.push(Rollout::new(tokens, text, logprobs, stop, means.format));
        self.open.push(open);
        self.copies.push(1);
    }
}
