//! Independent samples of the policy: `[rollout.group]`.

use super::{Group, Prompted, Rollout};
use crate::engine::{Progress, Request, Sampling, Statistics};
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
    let requests: Vec<Request> = prompts
        .iter()
        .map(|prompted| Request {
            prompt: prompted.tokens.clone(),
            seeds: (0..size).map(|sample| seed(prompted.example.index, sample)).collect(),
        })
        .collect();
    let generated = policy.generate(&requests, sampling, progress)?;
    let groups = prompts
        .iter()
        .zip(generated.completions)
        .map(|(prompted, completions)| Group {
            example: prompted.example.clone(),
            prompt: prompted.tokens.clone(),
            rollouts: completions
                .into_iter()
                .map(|c| {
                    let text = policy.tokenizer.decode(&c.tokens);
                    Rollout::new(c.tokens, text, c.logprobs, c.stop, format)
                })
                .collect(),
        })
        .collect();
    Ok((groups, generated.statistics))
}
