//! Which stages of a run have begun and which are done: `stages.json`, whatever checkpoints are kept.

use super::extent::Extents;
use super::fingerprint::Fingerprint;
use super::sealed::{unsealed, write_sealed};
use crate::{Error, Result, limited};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;

/// The file's name in the run directory.
pub(super) const LEDGER: &str = "stages.json";

/// The stages that have begun, in the order of the plan; all but the last are done.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Ledger {
    /// One a stage and round.
    pub stages: Vec<StageRecord>,
    /// How the run failed, where it ended so and has not gone on since.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
}

/// A stage that has begun.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct StageRecord {
    /// Its name.
    pub stage: String,
    /// The pass over the list of stages, counted from 1.
    pub round: usize,
    /// What the run's files held before it.
    pub before: Extents,
    /// The files that it reads, as it found them.
    pub inputs: BTreeMap<String, Fingerprint>,
    /// The models and files that it consults, such as its rewards' models, as it found them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub consulted: BTreeMap<String, Fingerprint>,
    /// What came of it, once it is done: trained, saved and evaluated.
    pub done: Option<Done>,
}

/// A stage that is done.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Done {
    /// Its steps.
    pub step: usize,
    /// The folder of its last checkpoint; none once pruning has removed it.
    pub checkpoint: Option<String>,
    /// What the files hold that it wrote for later stages.
    pub files: Extents,
    /// The newest value of each metric then, which later stages go on from.
    #[serde(default)]
    pub metrics: BTreeMap<String, f64>,
}

impl Ledger {
    /// That of the run in `folder`; of a run without one, nothing has begun.
    pub(super) fn read(folder: &Path) -> Result<Ledger> {
        let path = folder.join(LEDGER);
        let text = match limited::notes(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Ledger::default()),
            Err(error) => return Err(Error::io(&path)(error)),
        };
        let read = unsealed(&text).and_then(|value| {
            serde_json::from_value(value).map_err(|error| format!("is incomplete: {error}"))
        });
        read.map_err(|what| {
            Error::Checkpoint(format!(
                "{} {what}, so it does not say which stages are done; put it back as it was, or start another run with \
                 policy.model set to one of this run's checkpoints",
                path.display()
            ))
        })
    }

    pub(super) fn write(&self, folder: &Path) -> Result<()> {
        write_sealed(&folder.join(LEDGER), self)
    }

    /// The record of a stage in a round.
    pub fn of(&self, stage: &str, round: usize) -> Option<&StageRecord> {
        self.stages.iter().find(|record| (record.stage.as_str(), record.round) == (stage, round))
    }

    /// The newest result of `target` that the stage `reader` may refer to in `round`: the last one before its own place.
    pub fn result(&self, target: &str, reader: (&str, usize)) -> Option<(&StageRecord, &Done)> {
        let own = |record: &StageRecord| (record.stage.as_str(), record.round) == reader;
        let before = self.stages.iter().take_while(|record| !own(record));
        before.filter(|record| record.stage == target).filter_map(|r| Some((r, r.done.as_ref()?))).last()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_is_found_by_round_and_place() {
        let record = |stage: &str, round, step| StageRecord {
            stage: stage.into(),
            round,
            done: Some(Done { step, ..Done::default() }),
            ..StageRecord::default()
        };
        let ledger =
            Ledger { stages: vec![record("a", 1, 1), record("b", 1, 2), record("a", 2, 3)], failed: None };
        let found = |target, reader| ledger.result(target, reader).map(|(_, done)| done.step);
        assert_eq!(found("a", ("b", 1)), Some(1), "not the later one of round 2");
        assert_eq!(found("a", ("b", 2)), Some(3));
        assert_eq!(found("a", ("a", 2)), Some(1), "its own of the round before");
        assert_eq!(found("b", ("a", 1)), None);
    }
}
