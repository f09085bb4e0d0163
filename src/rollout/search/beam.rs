//! Step-wise beam search by a reward: `[rollout.beam]` (Snell et al. 2024, arXiv 2408.03314; with progress, Setlur et al. 2024,
//! 2410.08146).

use super::{Search, SearchResult, paths, score};
use crate::error::Result;
use crate::rationale::Format;
use crate::rollout::{Group, Picks, Prompted, Rollout, SamplingContext};
use crate::section::Misfit;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Of `n` ways to go on, the n / `branching` of highest score go on at each step, each in `branching` ways. Paths that have
/// ended keep their place as long as none is better; the best of the last ones is the answer. The reward is asked about
/// half-written completions: take one that has something to say of them, such as `process`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Beam {
    /// Ways to go on at each step, of all paths together.
    pub n: usize,
    /// Ways to go on from each path that is kept.
    pub branching: usize,
    /// Tokens of a step; by default a step is what `data.format.steps` says, a line or a paragraph.
    pub step_tokens: Option<usize>,
    /// The reward that judges, such as `process`; the weighted sum of all by default.
    pub by: Option<String>,
}

impl Default for Beam {
    fn default() -> Self {
        Self { n: 8, branching: 4, step_tokens: None, by: None }
    }
}

/// A path with its score and whether it goes on.
struct Hypothesis {
    rollout: Rollout,
    score: f64,
    open: bool,
}

impl Search for Beam {
    fn name(&self) -> &'static str {
        "beam"
    }

    fn picks(&self) -> Picks<'_> {
        Picks { n: self.n, by: self.by.as_deref(), independent: false, judged: true }
    }

    fn with(&self, n: usize) -> Box<dyn Search> {
        Box::new(Self { n, branching: self.branching.min(n), ..self.clone() })
    }

    fn check(&self) -> Vec<Misfit> {
        let mut found = super::at_least_one(&[("n", self.n), ("branching", self.branching)]);
        if self.branching > self.n {
            let message = format!("of n = {} ways to go on none would be dropped", self.n);
            found.push(Misfit::new("branching", message, "lower it or raise n"));
        }
        found
    }

    fn fits_format(&self, format: &Format) -> Vec<Misfit> {
        super::no_step_end(self.name(), self.step_tokens, format).into_iter().collect()
    }

    fn find(&self, prompts: &[Prompted], context: &mut SamplingContext) -> Result<Vec<SearchResult>> {
        let end = super::step_end(self.name(), self.step_tokens, context.format)?;
        let root = || Hypothesis { rollout: paths::root(context.format), score: 0.0, open: true };
        let mut beams: Vec<Vec<Hypothesis>> = prompts.iter().map(|_| vec![root()]).collect();
        for level in 0.. {
            let open: Vec<Vec<Rollout>> = beams.iter_mut().map(open).collect();
            if open.iter().all(Vec::is_empty) {
                break;
            }
            let ways = if level == 0 { self.n } else { self.branching };
            let grown = paths::grow(prompts, &open, ways, level, end, context)?;
            for (beam, candidates) in beams.iter_mut().zip(grown) {
                for (rollout, open) in candidates.group.rollouts.into_iter().zip(candidates.open) {
                    beam.push(Hypothesis { score: score(&rollout, self.by.as_deref())?, rollout, open });
                }
                self.prune(beam);
            }
        }
        Ok(prompts.iter().zip(beams).map(found).collect())
    }
}

impl Beam {
    /// Leaves the best paths, best first; of equals the earlier.
    fn prune(&self, beam: &mut Vec<Hypothesis>) {
        beam.sort_by(|a, b| b.score.total_cmp(&a.score));
        beam.truncate((self.n / self.branching).max(1));
    }
}

/// Takes the paths that go on out of a beam.
fn open(beam: &mut Vec<Hypothesis>) -> Vec<Rollout> {
    let (open, done): (Vec<Hypothesis>, Vec<Hypothesis>) =
        std::mem::take(beam).into_iter().partition(|path| path.open);
    *beam = done;
    open.into_iter().map(|kept| kept.rollout).collect()
}

fn found((prompted, beam): (&Prompted, Vec<Hypothesis>)) -> SearchResult {
    let rollouts = beam.into_iter().map(|kept| kept.rollout).collect();
    SearchResult { group: Group::of(prompted, rollouts), chosen: 0 }
}
