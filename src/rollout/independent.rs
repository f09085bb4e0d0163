//! Independent samples of the policy, scored while later ones are sampled: what groups are, and what other sources begin with.

use super::{Group, Prompted, Rollout, SamplingContext};
use crate::engine::{Completion, Event, Request, Statistics};
use crate::error::Result;

/// `size` completions of each prompt, scored; what sampling them took is reported.
pub fn reported(prompts: &[Prompted], size: usize, context: &mut SamplingContext) -> Result<Vec<Group>> {
    let (groups, statistics) = sample(prompts, size, context)?;
    context.report(&statistics);
    Ok(groups)
}

/// `size` completions of each prompt, scored, and what sampling them took.
pub fn sample(
    prompts: &[Prompted],
    size: usize,
    context: &mut SamplingContext,
) -> Result<(Vec<Group>, Statistics)> {
    let request = |(place, prompted): (usize, &Prompted)| Request {
        prompt: prompted.tokens.clone(),
        seeds: (0..size).map(|sample| context.seeds.draw(place, &[sample as u64])).collect(),
    };
    let requests: Vec<Request> = prompts.iter().enumerate().map(request).collect();
    let SamplingContext { policy, sampling, format, scorer, progress, .. } = context;
    let rollout = |completion: Completion| Rollout::of(completion, &policy.tokenizer, format);
    let mut statistics = Statistics::default();
    let groups = scorer.score_while(&mut |give| {
        let mut groups: Vec<Option<Group>> = prompts.iter().map(|_| None).collect();
        let mut given = 0;
        statistics = policy.sampler().sample(&requests, sampling, &mut |event| match event {
            Event::Progress(now) => progress(&now),
            Event::Completed { request, completions } => {
                let rollouts = completions.into_iter().map(rollout).collect();
                groups[request] = Some(Group::of(&prompts[request], rollouts));
                while let Some(Some(group)) = groups.get(given) {
                    give(group);
                    given += 1;
                }
            }
        })?;
        Ok(groups.into_iter().flatten().collect())
    })?;
    context.tokens += statistics.decoded_tokens;
    Ok((groups, statistics))
}
