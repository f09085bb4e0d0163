//! Answers found at test time by looking among several completions with the recipe's scores: best of n, weighted vote,
//! step-wise beam search and guided sampling.

mod beam;
mod guided;
mod paths;
mod sampled;

pub use beam::Beam;
pub use guided::Guided;
pub use sampled::{BestOf, Highest, MostWeight, Pick, Sampled, WeightedVote};

use super::{Group, Prompted, Rollout};
use crate::engine::{Boundary, Progress, Sampling};
use crate::error::{Error, Result};
use crate::policy::Policy;
use crate::rationale::{Format, Steps};

/// A way to find one answer to each question: `[rollout.best_of]` and its like.
pub trait Search {
    /// Its name in recipes.
    fn name(&self) -> &'static str;

    /// How many completions it looks among; of the kinds that go step by step, how many ways to go on at each.
    fn n(&self) -> usize;

    /// The name of the reward that judges; what all of them say together by default.
    fn by(&self) -> Option<&str>;

    /// The same search with another `n`.
    fn with(&self, n: usize) -> Box<dyn Search>;

    /// Whether it looks among independent completions, so that those of one search say what a smaller one finds.
    fn independent(&self) -> bool;

    /// Checks the values.
    fn validate(&self) -> Result<()>;

    /// Searches for an answer to each of `prompts`.
    fn find(&self, prompts: &[Prompted], means: &mut Means) -> Result<Vec<Found>>;
}

/// What a search works with.
pub struct Means<'a> {
    /// What writes.
    pub policy: &'a Policy,
    /// How it writes.
    pub sampling: &'a Sampling,
    /// How a rationale is written.
    pub format: &'a Format,
    /// The randomness of an example's n-th draw.
    pub seed: &'a dyn Fn(usize, usize) -> u64,
    /// Scores rollouts, half-written ones too.
    pub score: &'a mut dyn FnMut(&mut [Group]) -> Result<()>,
    /// Called while sampling.
    pub progress: &'a mut dyn FnMut(&Progress),
    /// Tokens sampled so far.
    pub tokens: usize,
}

/// What a search found for one question.
#[derive(Debug, Clone)]
pub struct Found {
    /// The completions that it looked among in the end, scored.
    pub group: Group,
    /// Which of them is its answer.
    pub chosen: usize,
}

impl Found {
    /// The answer alone.
    pub fn answer(mut self) -> Group {
        self.group.rollouts = vec![self.group.rollouts.swap_remove(self.chosen)];
        self.group
    }
}

/// `n` independent completions of each prompt, scored; none chosen yet.
pub fn independent(prompts: &[Prompted], n: usize, means: &mut Means) -> Result<Vec<Group>> {
    let roots: Vec<Vec<Rollout>> = prompts.iter().map(|_| vec![paths::root(means.format)]).collect();
    let grown = paths::grow(prompts, &roots, n, 0, None, means)?;
    Ok(grown.into_iter().map(|candidates| candidates.group).collect())
}

/// What the judge says of a rollout: the reward `by`, or all of them together.
pub fn worth(rollout: &Rollout, by: Option<&str>) -> Result<f64> {
    let of = |name| rollout.score_of(name).map_err(|error| Error::Reward(format!("rollout.*.by: {error}")));
    by.map_or(Ok(rollout.reward), of)
}

/// What the judge says of each rollout of a group.
pub fn worths(group: &Group, by: Option<&str>) -> Result<Vec<f64>> {
    group.rollouts.iter().map(|rollout| worth(rollout, by)).collect()
}

/// The index of the greatest; of equals the first.
pub fn best(worths: &[f64]) -> usize {
    (0..worths.len()).rev().max_by(|&a, &b| worths[a].total_cmp(&worths[b])).unwrap_or(0)
}

/// Where a step ends for the kinds that go step by step: at the end of a line or paragraph, as `data.format.steps` has it, or
/// after `step_tokens`.
fn step_end(name: &str, step_tokens: Option<usize>, format: &Format) -> Result<Boundary> {
    match (step_tokens, format.steps) {
        (Some(0), _) => Err(Error::Recipe(format!("rollout.{name}.step_tokens = 0: at least one is needed"))),
        (Some(tokens), _) => Ok(Boundary::Tokens(tokens)),
        (None, Steps::Line) => Ok(Boundary::Texts(&["\n"])),
        (None, Steps::Paragraph) => Ok(Boundary::Texts(&["\n\n"])),
        (None, Steps::Sentence) => Err(Error::Recipe(format!(
            "rollout.{name}: a sentence's end is seen only in what follows it; set rollout.{name}.step_tokens, or \
             data.format.steps = \"line\" or \"paragraph\""
        ))),
    }
}

fn at_least_one(name: &str, key: &str, value: usize) -> Result<()> {
    match value {
        0 => Err(Error::Recipe(format!("rollout.{name}.{key} = 0: at least one is needed"))),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
