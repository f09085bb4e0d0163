//! What a run has come to, for programs that call [`execute`](super::execute).

use crate::checkpoint::{RunDir, Trials};
use crate::error::Result;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// A run that has ended.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Outcome {
    /// Its directory; none of a dry run.
    pub folder: Option<PathBuf>,
    /// Its trials: one, without a name, of a recipe that sweeps nothing.
    pub trials: Vec<TrialOutcome>,
}

/// What a trial has come to.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct TrialOutcome {
    /// Its name, by its values and its seed; empty where the run is its only trial.
    pub name: String,
    /// Its directory, that of an ordinary run.
    pub folder: PathBuf,
    /// Its stages, in the order in which they ran.
    pub stages: Vec<StageOutcome>,
}

/// What a stage has come to.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct StageOutcome {
    /// Its name.
    pub name: String,
    /// The pass over the list of stages, counted from 1.
    pub round: usize,
    /// Its steps.
    pub steps: usize,
    /// The newest value of each figure by the end of the stage, by the names of `metrics.jsonl`.
    pub metrics: BTreeMap<String, f64>,
    /// The folder of its last checkpoint: the model as transformers loads it, if it trains one. None once another stage's checkpoints have
    /// taken its place.
    pub checkpoint: Option<PathBuf>,
}

impl Outcome {
    /// That of the run in `folder`.
    ///
    /// # Errors
    /// What is wrong with its files.
    pub fn of(folder: &Path) -> Result<Self> {
        let named: Vec<(String, PathBuf)> = match Trials::read(folder)? {
            None => vec![(String::new(), folder.to_path_buf())],
            Some(trials) => {
                trials.trials.into_iter().map(|trial| (trial.name.clone(), folder.join(trial.name))).collect()
            }
        };
        let trials = named.into_iter().map(|(name, folder)| of_trial(name, folder)).collect::<Result<_>>()?;
        Ok(Self { folder: Some(folder.to_path_buf()), trials })
    }

    /// The last stage of the last trial that has come to its end: of an ordinary run, what it was for.
    pub fn last(&self) -> Option<&StageOutcome> {
        self.trials.iter().rev().find_map(|trial| trial.stages.last())
    }
}

fn of_trial(name: String, folder: PathBuf) -> Result<TrialOutcome> {
    let ledger = RunDir::join(&folder).ledger()?;
    let of = |record: crate::checkpoint::StageRecord| {
        let done = record.done?;
        let checkpoint = done.checkpoint.map(|name| folder.join(name));
        let (name, round, steps, metrics) = (record.stage, record.round, done.step, done.metrics);
        Some(StageOutcome { name, round, steps, metrics, checkpoint })
    };
    let stages = ledger.stages.into_iter().filter_map(of).collect();
    Ok(TrialOutcome { name, folder, stages })
}
