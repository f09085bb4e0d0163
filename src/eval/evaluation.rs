//! An evaluation of a run: a line of `evaluations.jsonl`, with its verdicts in a file of their own.

use super::Report;
use crate::checkpoint::label;
use crate::error::Result;
use crate::log::JsonLines;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// The file of a run's evaluations.
pub const EVALUATIONS: &str = "evaluations.jsonl";
/// The folder of their verdicts.
pub const VERDICTS: &str = "evaluations";
/// What the name of a stage's file of questions has behind the stage's.
pub const QUESTIONS: &str = "-questions";

/// An evaluation: a line of `evaluations.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// The stage that evaluated.
    pub stage: String,
    /// The pass over the list of stages, counted from 1.
    pub round: usize,
    /// The round of the loop itself, where it has rounds; 0 is before the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loop_round: Option<usize>,
    /// Steps done; 0 is before the first.
    pub step: usize,
    /// What was found.
    pub report: Report,
}

impl Evaluation {
    /// `warmup, step 150`.
    pub fn title(&self) -> String {
        let round = if self.round > 1 { format!(", round {}", self.round) } else { String::new() };
        match self.loop_round {
            Some(own) => format!("{}{round}, loop round {own}", self.stage),
            None => format!("{}{round}, step {}", self.stage, self.step),
        }
    }

    /// The file of its verdicts, by its path in the run.
    pub fn verdicts(&self) -> String {
        format!("{VERDICTS}/{}-{:06}.jsonl", label(&self.stage, self.round), self.step)
    }

    /// The file of what its questions are, by its path in the run.
    pub fn questions(&self) -> String {
        format!("{VERDICTS}/{}{QUESTIONS}.jsonl", label(&self.stage, self.round))
    }

    /// The file of what the method's own loss says of each held-out row.
    pub fn rows(&self) -> String {
        format!("{VERDICTS}/{}-{:06}-rows.jsonl", label(&self.stage, self.round), self.step)
    }

    /// All evaluations of the run in `folder`, in order; none where there is none.
    ///
    /// # Errors
    /// [`Error::Checkpoint`](crate::Error::Checkpoint) with the line that is none.
    pub fn all(folder: &Path) -> Result<Vec<Evaluation>> {
        JsonLines::read_as(&folder.join(EVALUATIONS))
    }
}
