//! A run: its directory, what has been done in it, what it shows.

use super::stage::Opened;
use super::{collect, run_name, summary, train};
use crate::checkpoint::{self, Mode, RunDir, State};
use crate::data::hub::Hub;
use crate::engine::Progress;
use crate::error::{Error, Result};
use crate::eval::{self, Report};
use crate::log::{Metrics, Show};
use crate::loops::Loop;
use crate::model::Model;
use crate::optim::AdamW;
use crate::policy::Reference;
use crate::recipe::{Args, PlannedStage, RULES, Recipe, Stage, substitute};
use crate::reward::Registry;
use crate::rollout::Trace;
use crate::seed;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// An evaluation: a line of `evaluations.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Evaluation {
    /// The stage that evaluated.
    pub stage: String,
    /// The pass over the list of stages, counted from 1.
    pub round: usize,
    /// Steps done; 0 is before the first.
    pub step: usize,
    /// What was found.
    pub report: Report,
}

impl Evaluation {
    /// `warmup, step 150`.
    pub fn title(&self) -> String {
        let round = if self.round > 1 { format!(", round {}", self.round) } else { String::new() };
        format!("{}{round}, step {}", self.stage, self.step)
    }
}
