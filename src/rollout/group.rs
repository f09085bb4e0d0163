//! Independent samples of the policy: `[rollout.group]`.

use super::{Group, Prompted, SamplingContext, Source, SourceSection, Traits, independent};
use crate::error::Result;
use crate::section::{Misfit, broken};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A number of independent completions of each prompt.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
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

impl SourceSection for GroupRollout {
    fn traits(&self) -> Traits<'_> {
        Traits::sampled("group", self.size)
    }

    fn check(&self) -> Vec<Misfit> {
        broken(&[(self.size > 0, "size", "at least one completion of each prompt is needed")])
    }

    fn build(&self) -> Result<Box<dyn Source>> {
        Ok(Box::new(self.clone()))
    }
}

impl Source for GroupRollout {
    fn section(&self) -> &dyn SourceSection {
        self
    }

    fn roll_out(&self, prompts: &[Prompted], context: &mut SamplingContext) -> Result<Vec<Group>> {
        independent::reported(prompts, self.size, context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::Example;
    use crate::engine::{Sampling, Scripted};
    use crate::log::Metrics;
    use crate::policy::Policy;
    use crate::policy::tests::tiny;
    use crate::rationale::Format;
    use crate::rollout::{Sample, Scorer, Seeds};
    use std::sync::Arc;

    fn prompted(policy: &Policy, index: usize, text: &str) -> Prompted {
        let example = Example { index, ..Example::text(index.to_string(), text) };
        Prompted::new(Arc::new(example), policy.tokenizer.encode(text).unwrap())
    }

    /// Notes which groups are given away, and how many rollouts they have by then.
    struct Recorder(Vec<(usize, usize)>);

    impl Scorer for Recorder {
        fn score(&mut self, _: &mut [Group]) -> Result<()> {
            panic!("independent samples are scored while they are sampled");
        }

        fn score_counting(&mut self, _: &mut [Group]) -> Result<()> {
            panic!("independent samples are scored while they are sampled");
        }

        fn score_while(&mut self, sample: Sample) -> Result<Vec<Group>> {
            sample(&mut |group| self.0.push((group.example.index, group.rollouts.len())))
        }

        fn correct(&self, _: &Group, _: &crate::rollout::Rollout) -> Option<bool> {
            None
        }
    }

    /// A script echoes the prompt's last token and says the parity of the sample's seed: groups are exactly that, in order, each
    /// whole before it is given away.
    #[test]
    fn groups_are_what_the_sampler_writes() {
        let mut policy = tiny(1, 2, 0);
        let (tokenizer, eos) = (policy.tokenizer.clone(), policy.tokenizer.eos());
        let digits = policy.tokenizer.encode("01").unwrap();
        let own = digits.clone();
        let script = move |prompt: &[u32], seed: u64| {
            vec![(prompt[prompt.len() - 1], -1.0), (own[(seed % 2) as usize], -2.0), (eos, 0.0)]
        };
        policy.sample_with(Scripted::new(&[eos], move |ids| tokenizer.decode(ids), script));
        let prompts = [prompted(&policy, 0, "a"), prompted(&policy, 1, "b")];
        let (mut recorder, mut figures) = (Recorder(vec![]), Metrics::default());
        let seeds = Seeds::new(&[7], &prompts);
        let expected: Vec<Vec<u64>> =
            (0..2).map(|at| (0..4).map(|sample| seeds.draw(at, &[sample]) % 2).collect()).collect();
        let mut context = SamplingContext {
            policy: &policy,
            sampling: &Sampling::default(),
            format: &Format::default(),
            seeds,
            tokens_per_microbatch: 64,
            nonce: 0,
            scorer: &mut recorder,
            figures: &mut figures,
            progress: &mut |_| {},
            tokens: 0,
        };
        let groups = GroupRollout { size: 4 }.roll_out(&prompts, &mut context).unwrap();
        for ((group, last), parities) in groups.iter().zip(["a", "b"]).zip(expected) {
            assert_eq!(group.rollouts.len(), 4);
            for (rollout, parity) in group.rollouts.iter().zip(parities) {
                assert_eq!(rollout.text, format!("{last}{parity}"));
                assert_eq!(rollout.tokens[1..], [digits[parity as usize], eos]);
                assert_eq!(rollout.logprobs, [-1.0, -2.0, 0.0]);
                assert!(!rollout.truncated());
            }
        }
        assert_eq!((groups.len(), figures.get("sampling/decoded_tokens")), (2, Some(24.0)));
        assert_eq!(recorder.0, [(0, 4), (1, 4)]);
    }
}
