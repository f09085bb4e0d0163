//! Independent samples of the policy: `[rollout.group]`.

use super::{Group, Prompted, Rollout};
use crate::engine::{Completion, Event, Progress, Request, Sampling, Statistics};
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
    let Heard { progress, group } = heard;
    let statistics = policy.sampler().sample(&requests, sampling, &mut |event| match event {
        Event::Progress(now) => progress(&now),
        Event::Completed { request, completions } => {
            let Prompted { example, tokens } = prompts[request].clone();
            let rollouts = completions.into_iter().map(rollout).collect();
            groups[request] = Some(Group { example, prompt: tokens, rollouts });
            while let Some(Some(whole)) = groups.get(told) {
                group(whole);
                told += 1;
            }
        }
    })?;
    Ok((groups.into_iter().flatten().collect(), statistics))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Example;
    use crate::engine::Scripted;
    use crate::policy::Init;
    use std::sync::Arc;
    use tch::{Device, Kind};

    fn prompted(policy: &Policy, index: usize, text: &str) -> Prompted {
        let example = Example { index, ..Example::text(index.to_string(), text) };
        Prompted { example: Arc::new(example), tokens: policy.tokenizer.encode(text).unwrap() }
    }

    /// A script echoes the prompt's last token and says the sample's number: groups are exactly that, in order, whole before
    /// they are told of.
    #[test]
    fn groups_are_what_the_sampler_writes() {
        let init = Init { hidden_size: 16, layers: 1, heads: 2, kv_heads: 2, ..Init::default() };
        let mut policy = init.make(Kind::Float, Device::Cpu, 0, 1).unwrap();
        let (tokenizer, eos) = (policy.tokenizer.clone(), policy.tokenizer.eos());
        let digits = policy.tokenizer.encode("0123").unwrap();
        let own = digits.clone();
        let script = move |prompt: &[u32], seed: u64| {
            let number = own[(seed % 10) as usize];
            vec![(prompt[prompt.len() - 1], -1.0), (number, -2.0), (eos, 0.0)]
        };
        policy.sample_with(Scripted::new(&[eos], move |ids| tokenizer.decode(ids), script));
        let prompts = [prompted(&policy, 0, "a"), prompted(&policy, 1, "b")];
        let mut told = Vec::new();
        let heard = Heard {
            progress: &mut |_| {},
            group: &mut |group| told.push((group.example.index, group.rollouts.len())),
        };
        let seed = |index: usize, sample: usize| (10 * index + sample) as u64;
        let sampling = Sampling::default();
        let format = Format::default();
        let (groups, statistics) =
            sample_each(&policy, &prompts, 4, &sampling, &format, seed, heard).unwrap();
        for (group, last) in groups.iter().zip(["a", "b"]) {
            assert_eq!(group.rollouts.len(), 4);
            for (sample, rollout) in group.rollouts.iter().enumerate() {
                assert_eq!(rollout.text, format!("{last}{sample}"));
                assert_eq!(rollout.tokens[1..], [digits[sample], eos]);
                assert_eq!(rollout.logprobs, [-1.0, -2.0, 0.0]);
                assert!(!rollout.truncated());
            }
        }
        assert_eq!((groups.len(), statistics.decoded_tokens), (2, 24));
        assert_eq!(told, [(0, 4), (1, 4)]);
    }
}
