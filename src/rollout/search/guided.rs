//! Sampling guided by a reward, step by step or token by token: `[rollout.guided]` (guided decoding of RATIONALYST, Jiang et al.
//! 2024, arXiv 2410.01044; token by token as in ARGS, Khanov et al. 2024, 2402.01694).
//!
//! Of n ways to go on that the policy draws, one is drawn again with probability ∝ exp(score / temperature). As n grows, a step
//! then comes with the policy's probability times that factor: sampling-importance-resampling.

use super::{Search, SearchResult, paths, scores};
use crate::engine::is_temperature;
use crate::error::Result;
use crate::rationale::Format;
use crate::rollout::{Group, Picks, Prompted, Rollout, SamplingContext};
use crate::section::Misfit;
use crate::seed;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A completion whose every step is one of `n` that the policy draws, taken by its score. The reward is asked about half-written
/// completions: take one that has something to say of them, such as `process`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Guided {
    /// Ways to go on at each step.
    pub n: usize,
    /// How much scores count: one is taken with probability ∝ exp(score / temperature), the best where it is 0.
    pub temperature: f64,
    /// Tokens of a step, 1 for token by token; by default a step is what `data.format.steps` says, a line or a paragraph.
    pub step_tokens: Option<usize>,
    /// The reward that judges, such as `process`; the weighted sum of all by default.
    pub by: Option<String>,
}

impl Default for Guided {
    fn default() -> Self {
        Self { n: 8, temperature: 0.0, step_tokens: None, by: None }
    }
}

impl Search for Guided {
    fn name(&self) -> &'static str {
        "guided"
    }

    fn picks(&self) -> Picks<'_> {
        Picks { n: self.n, by: self.by.as_deref(), independent: false, judged: true }
    }

    fn with(&self, n: usize) -> Box<dyn Search> {
        Box::new(Self { n, ..self.clone() })
    }

    fn check(&self) -> Vec<Misfit> {
        let mut found = super::at_least_one(&[("n", self.n)]);
        if !is_temperature(self.temperature) {
            found.push(Misfit::new("temperature", "it must be 0 (take the best), or at least 0.001", ""));
        }
        found
    }

    fn fits_format(&self, format: &Format) -> Vec<Misfit> {
        super::no_step_end(self.name(), self.step_tokens, format).into_iter().collect()
    }

    fn find(&self, prompts: &[Prompted], context: &mut SamplingContext) -> Result<Vec<SearchResult>> {
        let end = super::step_end(self.name(), self.step_tokens, context.format)?;
        let mut open: Vec<Vec<Rollout>> = prompts.iter().map(|_| vec![paths::root(context.format)]).collect();
        let mut done: Vec<Option<Rollout>> = prompts.iter().map(|_| None).collect();
        for level in 0.. {
            if open.iter().all(Vec::is_empty) {
                break;
            }
            let grown = paths::grow(prompts, &open, self.n, level, end, context)?;
            for (at, mut candidates) in grown.into_iter().enumerate() {
                if candidates.open.is_empty() {
                    continue;
                }
                let of = [context.seeds.draw(at, &[self.n as u64]), level as u64, 1];
                let uniform = seed::uniform(seed::derive(&of));
                let taken =
                    self.take(&scores(&candidates.group, self.by.as_deref())?, &candidates.copies, uniform);
                let rollout = candidates.group.rollouts.swap_remove(taken);
                match candidates.open[taken] {
                    true => open[at] = vec![rollout],
                    false => (open[at], done[at]) = (vec![], Some(rollout)),
                }
            }
        }
        Ok(prompts.iter().zip(done).map(found).collect())
    }
}

impl Guided {
    /// Which candidate is taken, by its score and how often it was drawn; `uniform` is from [0, 1).
    pub(super) fn take(&self, scores: &[f64], copies: &[usize], uniform: f64) -> usize {
        let best = super::best(scores);
        if self.temperature == 0.0 {
            return best;
        }
        let power = |(score, copies): (&f64, &usize)| {
            *copies as f64 * ((score - scores[best]) / self.temperature).exp()
        };
        let powers: Vec<f64> = scores.iter().zip(copies).map(power).collect();
        let mut left = uniform * powers.iter().sum::<f64>();
        let passes = |power: &f64| {
            left -= power;
            left < 0.0
        };
        powers.iter().position(passes).unwrap_or(best)
    }
}

fn found((prompted, done): (&Prompted, Option<Rollout>)) -> SearchResult {
    let rollouts = done.into_iter().collect();
    SearchResult { group: Group::of(prompted, rollouts), chosen: 0 }
}
