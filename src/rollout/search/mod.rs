//! Answers found at test time by looking among several completions with the recipe's scores, best of n, weighted vote,
//! step-wise beam search and guided sampling; or within one, by ending it when the answer is known.

mod adaptive;
mod beam;
mod guided;
mod paths;
mod sampled;
mod swapped;
mod variants;

pub use adaptive::Adaptive;
pub use beam::Beam;
pub use guided::Guided;
pub use sampled::{BestOf, Pick, Sampled, WeightedVote};
pub use variants::{Variant, Variants, Vary};

use super::{Group, Picks, Prompted, Rollout, SamplingContext, Source, SourceSection, Traits};
use crate::data::Example;
use crate::engine::Boundary;
use crate::error::{Error, Result};
use crate::rationale::{Format, StepUnit};
use crate::section::{Idle, Misfit};
use serde::{Deserialize, Serialize};
use std::fmt::Debug;

/// A way to find one answer to each question: `[rollout.best_of]` and its like. It is a source, and its own section.
pub trait Search {
    /// Its name in recipes.
    fn name(&self) -> &'static str;

    /// Among how many it picks, and by what.
    fn picks(&self) -> Picks<'_>;

    /// The same search with another `n`.
    fn with(&self, n: usize) -> Box<dyn Search>;

    /// What cannot be used as it is.
    fn check(&self) -> Vec<Misfit>;

    /// As [`SourceSection::idle`] has it.
    fn idle(&self) -> Vec<Idle> {
        vec![]
    }

    /// What some of the questions lack of what it reads of them, as [`SourceSection::check_rows`] has it.
    fn check_rows(&self, _rows: &[&Example]) -> Vec<Misfit> {
        vec![]
    }

    /// What does not go with how a rationale is written, as [`SourceSection::fits_format`] has it.
    fn fits_format(&self, _format: &Format) -> Vec<Misfit> {
        vec![]
    }

    /// Whether all that it finds was sampled token by token.
    fn writes_itself(&self) -> bool {
        true
    }

    /// The name of what is peculiar to a sample, where samples differ by more than chance.
    fn variant(&self, _sample: usize) -> Option<&str> {
        None
    }

    /// What reads files once for all searches, where it has some.
    ///
    /// # Errors
    /// Files that are not there, or not what they should be.
    fn opened(&self) -> Result<Option<Box<dyn Source>>> {
        Ok(None)
    }

    /// Searches for an answer to each of `prompts`.
    fn find(&self, prompts: &[Prompted], context: &mut SamplingContext) -> Result<Vec<SearchResult>>;

    /// For a search that ends reasoning: how each of `prompts` ends by each of its rules, the same ones in the same order. The first that
    /// is no [`Rule::Whole`] is what it finds.
    fn endings(
        &self,
        _prompts: &[Prompted],
        _context: &mut SamplingContext,
    ) -> Result<Option<Vec<Vec<Ending>>>> {
        Ok(None)
    }
}

/// What ends a completion's reasoning.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    /// Nothing but itself.
    Whole,
    /// That the answer is as sure as this.
    Alpha(f64),
    /// So many tokens.
    Tokens(usize),
}

/// A completion as a rule ends it.
#[derive(Debug, Clone)]
pub struct Ending {
    /// What ends it.
    pub rule: Rule,
    /// The completion.
    pub rollout: Rollout,
    /// Whether it was ended before it ended itself.
    pub stopped: bool,
}

impl<S: Search + Clone + Debug + Send + Sync + 'static> SourceSection for S {
    fn traits(&self) -> Traits<'_> {
        let sampled = self.writes_itself();
        Traits { picks: Some(self.picks()), sampled, ..Traits::sampled(self.name(), 1) }
    }

    fn check(&self) -> Vec<Misfit> {
        Search::check(self)
    }

    fn idle(&self) -> Vec<Idle> {
        Search::idle(self)
    }

    fn check_rows(&self, rows: &[&Example]) -> Vec<Misfit> {
        Search::check_rows(self, rows)
    }

    fn fits_format(&self, format: &Format) -> Vec<Misfit> {
        Search::fits_format(self, format)
    }

    fn build(&self) -> Result<Box<dyn Source>> {
        Ok(self.opened()?.unwrap_or_else(|| Box::new(self.clone())))
    }

    fn search(&self) -> Option<&dyn Search> {
        Some(self)
    }
}

impl<S: Search + Clone + Debug + Send + Sync + 'static> Source for S {
    fn section(&self) -> &dyn SourceSection {
        self
    }

    fn roll_out(&self, prompts: &[Prompted], context: &mut SamplingContext) -> Result<Vec<Group>> {
        let before = context.tokens;
        let found = self.find(prompts, context)?;
        let (tokens, questions) = ((context.tokens - before) as f64, prompts.len() as f64);
        context.figures.add("search/tokens", tokens / questions, questions);
        Ok(found.into_iter().map(SearchResult::answer).collect())
    }
}

/// What a search found for one question.
#[derive(Debug, Clone)]
pub struct SearchResult {
    /// The completions that it looked among in the end, scored.
    pub group: Group,
    /// Which of them is its answer.
    pub chosen: usize,
}

impl SearchResult {
    /// The answer alone.
    pub fn answer(mut self) -> Group {
        self.group.rollouts = vec![self.group.rollouts.swap_remove(self.chosen)];
        self.group
    }
}

/// What the judge says of a rollout: the reward `by`, or all of them together.
pub fn score(rollout: &Rollout, by: Option<&str>) -> Result<f64> {
    let of = |name| rollout.score_of(name).map_err(|error| Error::Reward(format!("rollout.*.by: {error}")));
    by.map_or(Ok(rollout.reward), of)
}

/// What the judge says of each rollout of a group.
pub fn scores(group: &Group, by: Option<&str>) -> Result<Vec<f64>> {
    group.rollouts.iter().map(|rollout| score(rollout, by)).collect()
}

/// Refuses scores that cannot be votes of the search `name`.
fn no_negative(group: &Group, scores: &[f64], name: &str) -> Result<()> {
    match scores.iter().find(|score| **score < 0.0) {
        None => Ok(()),
        Some(score) => Err(Error::Reward(format!(
            "{}: rollout.{name} adds up scores, and one is {score}: a negative vote would speak against its own answer; name a reward \
             whose scores are shares or probabilities in rollout.{name}.by",
            group.example
        ))),
    }
}

/// The index of the greatest; of equals the first.
pub fn best(scores: &[f64]) -> usize {
    (0..scores.len()).rev().max_by(|&a, &b| scores[a].total_cmp(&scores[b])).unwrap_or(0)
}

/// Where a step ends for the kinds that go step by step: at the end of a line or paragraph, as `data.format.steps` has it, or
/// after `step_tokens`.
fn step_end(name: &str, step_tokens: Option<usize>, format: &Format) -> Result<Boundary> {
    match (step_tokens, &format.steps) {
        (Some(tokens @ 1..), _) => Ok(Boundary::Tokens(tokens)),
        (None, StepUnit::Line) => Ok(Boundary::Texts(&["\n"])),
        (None, StepUnit::Paragraph) => Ok(Boundary::Texts(&["\n\n"])),
        (Some(0), _) | (None, StepUnit::Sentence | StepUnit::Cues(_)) => {
            let why = no_step_end(name, step_tokens, format);
            Err(Error::Recipe(why.map_or(String::new(), |misfit| misfit.sentence())))
        }
    }
}

/// That steps have no end, where that is so.
fn no_step_end(name: &str, step_tokens: Option<usize>, format: &Format) -> Option<Misfit> {
    match (step_tokens, &format.steps) {
        (Some(0), _) => Some(Misfit::new(
            "step_tokens",
            format!("rollout.{name}.step_tokens = 0: at least one is needed"),
            "",
        )),
        (None, unit @ (StepUnit::Sentence | StepUnit::Cues(_))) => {
            let of = if *unit == StepUnit::Sentence {
                "a sentence's end"
            } else {
                "the end of a step before a cue word"
            };
            Some(Misfit::new(
                "",
                format!("rollout.{name}: {of} is seen only in what follows it"),
                format!("set rollout.{name}.step_tokens, or data.format.steps = \"line\" or \"paragraph\""),
            ))
        }
        _ => None,
    }
}

fn at_least_one(counts: &[(&str, usize)]) -> Vec<Misfit> {
    let none = counts.iter().filter(|(_, count)| *count == 0);
    none.map(|(key, _)| Misfit::new(*key, "at least one is needed", "")).collect()
}

#[cfg(test)]
mod tests;
