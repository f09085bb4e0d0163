//! `[rollout.tempered]`: a completion of each prompt at each of some temperatures.

use rationale::Result;
use rationale::engine::{Request, Sampling};
use rationale::rollout::{Group, Prompted, Rollout, SamplingContext, Source, SourceSection, Traits};
use rationale::schemars::{self, JsonSchema};
use rationale::section::{Misfit, broken};
use serde::{Deserialize, Serialize};

/// Groups that differ by how boldly they were sampled.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Tempered {
    /// The temperatures, one for each completion of a prompt; 0 is greedy.
    pub temperatures: Vec<f64>,
}

impl Default for Tempered {
    fn default() -> Self {
        Self { temperatures: vec![0.6, 0.8, 1.0, 1.2] }
    }
}

impl SourceSection for Tempered {
    /// Their log-probabilities are at temperatures of their own, so they are not the policy's samples as recipes mean them.
    fn traits(&self) -> Traits<'_> {
        Traits::written("tempered", Some(self.temperatures.len()))
    }

    fn check(&self) -> Vec<Misfit> {
        let usable =
            !self.temperatures.is_empty() && self.temperatures.iter().all(|t| (0.0..=10.0).contains(t));
        broken(&[(usable, "temperatures", "at least one is needed, each from 0 to 10")])
    }

    fn build(&self) -> Result<Box<dyn Source>> {
        Ok(Box::new(self.clone()))
    }
}

/// There is nothing to open, so that the section itself can be what runs.
impl Source for Tempered {
    fn section(&self) -> &dyn SourceSection {
        self
    }

    fn roll_out(&self, prompts: &[Prompted], context: &mut SamplingContext) -> Result<Vec<Group>> {
        let mut groups: Vec<Group> = prompts.iter().map(|prompted| Group::of(prompted, vec![])).collect();
        for (draw, &temperature) in self.temperatures.iter().enumerate() {
            let request = |(place, prompted): (usize, &Prompted)| Request {
                prompt: prompted.tokens.clone(),
                seeds: vec![context.seeds.draw(place, &[draw as u64])],
            };
            let requests: Vec<Request> = prompts.iter().enumerate().map(request).collect();
            let sampling = Sampling { temperature, ..context.sampling.clone() };
            let (policy, format) = (context.policy, context.format);
            let generated = policy.sampler().generate(&requests, &sampling, context.progress)?;
            context.tokens += generated.statistics.decoded_tokens;
            context.report(&generated.statistics);
            for (group, completions) in groups.iter_mut().zip(generated.completions) {
                let rollouts = completions.into_iter().map(|one| Rollout::of(one, &policy.tokenizer, format));
                group.rollouts.extend(rollouts);
            }
        }
        context.scorer.score(&mut groups)?;
        Ok(groups)
    }
}
