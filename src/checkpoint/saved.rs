//! One checkpoint: a folder holding the model, the optimiser and the state that a run goes on from.

use super::atomic::write_atomic;
use super::rundir::RunDir;
use super::tensors::{load_tensors, save_tensors};
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tch::Tensor;

/// The layout of a checkpoint folder. A reader refuses any other.
const FORMAT: u32 = 1;
const STATE: &str = "state.json";
const OPTIMIZER: &str = "optimizer.safetensors";

/// How far a run has come, as the caller of [`RunDir::save`](super::RunDir::save) states it.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// The stage's name; empty where the recipe has one unnamed stage.
    pub stage: String,
    /// Which repetition of the stages this is, counted from 1.
    pub round: usize,
    /// Steps of the stage that are done.
    pub step: usize,
    /// Whether these are all of the stage's steps.
    pub last: bool,
    /// The run's seed, which all randomness and the order of the data derive from.
    pub seed: u64,
    /// The newest value of each metric.
    pub metrics: BTreeMap<String, f64>,
    /// Whatever else the loop needs to continue exactly.
    pub extra: Value,
}

/// `state.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CheckpointState {
    /// The layout's number.
    pub format: u32,
    /// Counts the run's checkpoints: of two, the one with the larger number is the newer.
    pub sequence: u64,
    /// The version of this program.
    pub version: String,
    /// How far the run had come.
    #[serde(flatten)]
    pub progress: Progress,
}

/// A complete checkpoint on disk. The folder itself is the model's.
#[derive(Debug, Clone, PartialEq)]
pub struct Saved {
    /// The folder; `config.json` and `model.safetensors` lie directly in it.
    pub path: PathBuf,
    /// What its `state.json` says.
    pub state: CheckpointState,
}

impl Progress {
    /// The checkpoint's folder name: `step-000050`, or `warmup-r2-step-000050` in round 2 of the stage `warmup`.
    pub fn folder(&self) -> String {
        let mut name = String::new();
        if !self.stage.is_empty() {
            name += &format!("{}-", self.stage);
        }
        if self.round > 1 {
            name += &format!("r{}-", self.round);
        }
        format!("{name}step-{:06}", self.step)
    }
}

impl Saved {
    /// Reads the checkpoint in `path`.
    pub fn open(path: impl AsRef<Path>) -> Result<Saved> {
        let path = path.as_ref();
        let file = path.join(STATE);
        let bytes = std::fs::read(&file).map_err(Error::io(&file))?;
        let unusable = |what: String| Error::Checkpoint(format!("{} {what}", file.display()));
        let value: Value =
            serde_json::from_slice(&bytes).map_err(|error| unusable(format!("is not JSON: {error}")))?;
        let format = &value["format"];
        if *format != FORMAT {
            return Err(unusable(format!(
                "has format {format}, this version reads {FORMAT}; use the version that wrote it"
            )));
        }
        let state =
            serde_json::from_value(value).map_err(|error| unusable(format!("is incomplete: {error}")))?;
        Ok(Saved { path: path.to_path_buf(), state })
    }

    /// The newest checkpoint with a model in the run directory `path`; none if it is no run directory.
    pub fn newest_model(path: impl AsRef<Path>) -> Result<Option<Saved>> {
        let all = RunDir::look(path.as_ref())?;
        Ok(all.into_iter().rfind(|saved| saved.path.join("config.json").is_file()))
    }

    /// The optimiser's tensors, or none where the recipe left them out.
    pub fn optimizer(&self) -> Result<Option<Vec<(String, Tensor)>>> {
        let file = self.path.join(OPTIMIZER);
        if file.exists() { load_tensors(file).map(Some) } else { Ok(None) }
    }
}

/// Whether `folder` is a checkpoint: state.json is the last that is written to one.
pub(super) fn is_checkpoint(folder: &Path) -> bool {
    folder.join(STATE).is_file()
}

/// Writes what belongs to the run beside the model that lies in `folder` already.
pub(super) fn write(
    folder: &Path,
    sequence: u64,
    progress: &Progress,
    optimizer: Option<&[(String, Tensor)]>,
) -> Result<()> {
    if let Some(tensors) = optimizer {
        save_tensors(folder.join(OPTIMIZER), tensors)?;
    }
    let version = env!("CARGO_PKG_VERSION").to_string();
    let mut progress = progress.clone();
    // JSON has no other numbers; a metric that is not finite cannot be the best either.
    progress.metrics.retain(|_, value| value.is_finite());
    let state = CheckpointState { format: FORMAT, sequence, version, progress };
    let text = serde_json::to_string_pretty(&state).map_err(|error| {
        Error::Checkpoint(format!("the state of {} is not JSON: {error}", folder.display()))
    })?;
    write_atomic(folder.join(STATE), text.as_bytes())
}
