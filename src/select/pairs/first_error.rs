//! The first error of a wrong rollout against the shortest good way on from before it (Self-Explore, Hwang et al. 2024,
//! arXiv 2404.10346). Pure.

use super::super::Candidate;

/// One step to be avoided and a continuation to be preferred, both after the steps before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StepPair {
    /// The step in error, counted from 0: what stands before it is the prompt of both, and it alone is rejected.
    pub step: usize,
    /// Which of the continuations from before that step is chosen.
    pub chosen: usize,
}

/// Why there is no pair.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unpaired {
    /// From after every step, some continuation came out right.
    Recoverable,
    /// No continuation from before the first error came out right.
    NoneGood,
}

/// The first step after which no continuation is correct, and the shortest correct continuation from before it (the
/// earlier of equals). `cuts[j]` are the continuations from after the first j steps, so `cuts[0]` are fresh attempts.
///
/// ```
/// use rationale::select::{Candidate, pairs::{StepPair, first_error}};
/// let right = Candidate { correct: Some(true), ..Candidate::default() };
/// let wrong = Candidate { correct: Some(false), ..right };
/// let cuts: [&[Candidate]; 3] = [&[right], &[wrong, right], &[wrong, wrong]];
/// assert_eq!(first_error(&cuts), Ok(StepPair { step: 1, chosen: 1 }));
/// ```
pub fn first_error(cuts: &[&[Candidate]]) -> Result<StepPair, Unpaired> {
    let right = |candidate: &Candidate| candidate.correct == Some(true);
    let fails = |cut: &&[Candidate]| !cut.iter().any(right);
    let step = cuts.iter().skip(1).position(fails).ok_or(Unpaired::Recoverable)?;
    let good = (0..cuts[step].len()).filter(|&index| right(&cuts[step][index]));
    let chosen = good.min_by_key(|&index| cuts[step][index].tokens.len()).ok_or(Unpaired::NoneGood)?;
    Ok(StepPair { step, chosen })
}
