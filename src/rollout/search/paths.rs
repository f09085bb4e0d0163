//! Completions under way: each grown by a step in several ways.

use crate::engine::{Boundary, Completion, Request, StopReason};
use crate::error::Result;
use crate::rationale::Format;
use crate::rollout::{Group, Prompted, Rollout, SamplingContext};
use crate::seed;

/// The ways on from a prompt's paths.
#[derive(Debug)]
pub struct Candidates {
    /// The grown paths, each from its start; those with the same tokens are one.
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

/// Grows each of a prompt's `paths` in so many `ways` by a step, which ends as `end` says, and scores them. `level` tells apart the
/// randomness of several calls.
pub fn grow(
    prompts: &[Prompted],
    paths: &[Vec<Rollout>],
    ways: usize,
    level: usize,
    end: Boundary,
    context: &mut SamplingContext,
) -> Result<Vec<Candidates>> {
    let mut grown = grow_unscored(prompts, paths, ways, level, end, context)?;
    score(&mut grown, context)?;
    Ok(grown)
}

/// The same without scores.
pub fn grow_unscored(
    prompts: &[Prompted],
    paths: &[Vec<Rollout>],
    ways: usize,
    level: usize,
    end: Boundary,
    context: &mut SamplingContext,
) -> Result<Vec<Candidates>> {
    let mut requests = Vec::new();
    let mut owners = Vec::new();
    for (owner, (prompted, paths)) in prompts.iter().zip(paths).enumerate() {
        for (number, path) in paths.iter().enumerate() {
            let draw = |way: usize| {
                let seed = context.seeds.draw(owner, &[way as u64]);
                if level == 0 { seed } else { seed::derive(&[seed, level as u64, number as u64]) }
            };
            let seeds = (0..ways).map(draw).collect();
            requests.push(Request { prompt: [&prompted.tokens[..], &path.tokens].concat(), seeds });
            owners.push((owner, path));
        }
    }
    let limits = end.step(context.sampling);
    let generated = context.policy.sampler().generate(&requests, &limits, context.progress)?;
    context.tokens += generated.statistics.decoded_tokens;
    let empty =
        |prompted: &Prompted| Candidates { group: Group::of(prompted, vec![]), open: vec![], copies: vec![] };
    let mut grown: Vec<Candidates> = prompts.iter().map(empty).collect();
    for ((owner, path), pieces) in owners.into_iter().zip(generated.completions) {
        let room = context.room(&prompts[owner]);
        for piece in pieces {
            grown[owner].take(path, piece, room, end, context);
        }
    }
    Ok(grown)
}

fn score(grown: &mut [Candidates], context: &mut SamplingContext) -> Result<()> {
    let mut to_score: Vec<&mut Group> = grown.iter_mut().map(|candidates| &mut candidates.group).collect();
    to_score.retain(|group| !group.rollouts.is_empty());
    let mut groups: Vec<Group> = to_score.iter().map(|group| (**group).clone()).collect();
    context.scorer.score(&mut groups)?;
    to_score.into_iter().zip(groups).for_each(|(group, scored)| *group = scored);
    Ok(())
}

impl Candidates {
    /// Takes `path` grown by `piece`, which has `room` tokens in all.
    fn take(
        &mut self,
        path: &Rollout,
        mut piece: Completion,
        room: usize,
        end: Boundary,
        context: &SamplingContext,
    ) {
        let ended = end.ends(&piece, context.sampling);
        let open = piece.fit(room - path.tokens.len(), ended);
        let grown = path.continued(path.tokens.len(), piece, &context.policy.tokenizer, context.format);
        let same = |other: &Rollout| other.tokens == grown.tokens && other.stop == grown.stop;
        if let Some(known) = self.group.rollouts.iter().position(same) {
            self.copies[known] += 1;
            return;
        }
        self.group.rollouts.push(grown);
        self.open.push(open);
        self.copies.push(1);
    }
}
