//! Independent samples of the policy: `[rollout.group]`.

use super::{Group, Prompted, Rollout};
use crate::engine::{Completion, Progress, Request, Sampling, Statistics};
use crate::error::Result;
use crate::policy::Policy;
use crate::rationale::Format;
use serde::{Deserialize, Serialize};

/// A number of independent completions of each prompt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GroupRollout {
    /// Completions of each prompt.
    pub size: usize,
}

impl Default for GroupRollout {
    fn default() -> Self {
        Self { size: 8 }
    }
}

/// Who hears of a sampling under way.
pub struct Heard<'a> {
    /// How far it is.
    pub progress: &'a mut dyn FnMut(&Progress),
    /// Each group, in the order of the prompts, as soon as it and those before it are whole.
    pub group: &'a mut dyn FnMut(&Group),
}

/// Samples `size` completions of each prompt; `seed(example index, sample)` draws each one's randomness.
pub fn sample(
    policy: &Policy,
    prompts: &[Prompted],
    size: usize,
    sampling: &Sampling,
    format: &Format,
    seed: impl Fn(usize, usize) -> u64,
    progress: &mut dyn FnMut(&Progress),
) -> Result<(Vec<Group>, Statistics)> {
    let heard = Heard { progress, group: &mut |_| {} };
    sample_each(policy, prompts, size, sampling, format, seed, heard)
}

/// [`sample`] with somebody who hears of each group while later ones are still sampled.
pub fn sample_each(
    policy: &Policy,
    prompts: &[Prompted],
    size: usize,
    sampling: &Sampling,
    format: &Format,
    seed: impl Fn(usize, usize) -> u64,
    heard: Heard,
) -> Result<(Vec<Group>, Statistics)> {
    let request = |prompted: &Prompted| Request {
        prompt: prompted.tokens.clone(),
        seeds: (0..size).map(|sample| seed(prompted.example.index, sample)).collect(),
    };
    let requests: Vec<Request> = prompts.iter().map(request).collect();
    let rollout = |c: Completion| {
        let text = policy.tokenizer.decode(&c.tokens);
        Rollout::new(c.tokens, text, c.logprobs, c.stop, format)
    };
    let mut groups: Vec<Option<Group>> = prompts.iter().map(|_| None).collect();
    let mut told = 0;
    let statistics =
        policy.decoder().generate_each(&requests, sampling, heard.progress, &mut |at, completions| {
            let Prompted { example, tokens } = prompts[at].clone();
            let rollouts = completions.into_iter().map(rollout).collect();
            groups[at] = Some(Group { example, prompt: tokens, rollouts });
            while let Some(Some(group)) = groups.get(told) {
                (heard.group)(group);
                told += 1;
            }
        })?;
    Ok((groups.into_iter().flatten().collect(), statistics))
}
