//! Figures of a program's own: functions of an evaluation's verdicts.

use super::Verdict;
use std::fmt::Debug;
use std::sync::Arc;

/// A function of an evaluation's verdicts.
type OfVerdicts = dyn Fn(&[Verdict]) -> f64 + Send + Sync;

/// A figure of every evaluation that asks questions: `eval/NAME`, and in `evaluations.jsonl`.
#[derive(Clone)]
pub struct Metric {
    /// Its name behind `eval/`.
    pub name: String,
    of: Arc<OfVerdicts>,
}

impl Metric {
    /// One that `of` works out of the verdicts, one a completion, in the order of questions, repetitions and samples.
    pub fn new(name: &str, of: impl Fn(&[Verdict]) -> f64 + Send + Sync + 'static) -> Self {
        Self { name: name.to_owned(), of: Arc::new(of) }
    }

    /// What it comes to.
    pub fn of(&self, verdicts: &[Verdict]) -> f64 {
        (self.of)(verdicts)
    }
}

impl Debug for Metric {
    fn fmt(&self, formatter: &mut std::fmt::Formatter) -> std::fmt::Result {
        formatter.debug_struct("Metric").field("name", &self.name).finish_non_exhaustive()
    }
}
