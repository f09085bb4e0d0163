//! The trials of a run that sweeps, each in a folder of its own in the run's: `trials.json`.

use super::sealed::{unsealed, write_sealed};
use crate::{Error, Result, limited};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// The file's name in the run directory.
pub(super) const TRIALS: &str = "trials.json";

/// The trials of a run, in the order in which they run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Trials {
    /// One a point and seed.
    pub trials: Vec<TrialRecord>,
}

/// A trial: a recipe of one point and one seed, in a run's folder of its own.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TrialRecord {
    /// Its folder in the run.
    pub name: String,
    /// What the trials are called that differ in their seed alone; empty where nothing but the seed differs.
    pub point: String,
    /// Its seed.
    pub seed: u64,
    /// The swept keys with their values here.
    pub values: BTreeMap<String, serde_json::Value>,
    /// The trial that its first stages are taken from, which were the same, and how many these are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shares: Option<(String, usize)>,
    /// Why it came to nothing: its weights or its loss ceased to be numbers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
}

impl Trials {
    /// Those of the run in `folder`; none where it is an ordinary one.
    ///
    /// # Errors
    /// A file that is not as it was written.
    pub fn read(folder: &Path) -> Result<Option<Self>> {
        let path = folder.join(TRIALS);
        let text = match limited::notes(&path) {
            Ok(text) => text,
            Err(error) if [ErrorKind::NotFound, ErrorKind::NotADirectory].contains(&error.kind()) => {
                return Ok(None);
            }
            Err(error) => return Err(Error::io(&path)(error)),
        };
        let read = unsealed(&text).and_then(|value| {
            serde_json::from_value(value).map_err(|error| format!("is incomplete: {error}"))
        });
        read.map(Some).map_err(|what| {
            Error::Checkpoint(format!(
                "{} {what}; put it back as it was, or --resume the run, which writes it anew",
                path.display()
            ))
        })
    }

    /// Writes them into the run's folder.
    pub fn write(&self, folder: &Path) -> Result<()> {
        write_sealed(&folder.join(TRIALS), self)
    }

    /// The folders of those that have begun.
    pub fn begun(&self, run: &Path) -> Vec<PathBuf> {
        let folders = self.trials.iter().map(|trial| run.join(&trial.name));
        folders.filter(|folder| super::is_run(folder)).collect()
    }
}
