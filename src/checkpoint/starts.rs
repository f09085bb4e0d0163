//! The processes that have worked on a run, as its `run.json` has them.

use super::revision::STARTS;
use super::rundir::RunDir;
use super::sealed::{unsealed, write_sealed};
use super::takeover::MARKER;
use crate::{Error, Result, limited};
use serde_json::{Map, Value};

impl RunDir {
    /// Notes in `run.json` what a process says of itself that begins to work on the run.
    ///
    /// # Errors
    /// A `run.json` that is not any more what was written, or that cannot be written.
    pub fn note_start(&self, start: Map<String, Value>) -> Result<()> {
        self.change_starts(|starts| starts.push(Value::Object(start)))
    }

    /// Notes there what the process that has begun last says of its end.
    ///
    /// # Errors
    /// As [`note_start`](Self::note_start).
    pub fn note_end(&self, end: Map<String, Value>) -> Result<()> {
        self.change_starts(|starts| {
            if let Some(Value::Object(last)) = starts.last_mut() {
                last.extend(end);
            }
        })
    }

    fn change_starts(&self, change: impl FnOnce(&mut Vec<Value>)) -> Result<()> {
        self.still_ours()?;
        let path = self.path().join(MARKER);
        let text = limited::notes(&path).map_err(Error::io(&path))?;
        let unusable = |what| Error::Checkpoint(format!("{} {what}", path.display()));
        let mut origin = unsealed(&text).map_err(unusable)?;
        let mut starts = origin[STARTS].as_array().cloned().unwrap_or_default();
        change(&mut starts);
        origin[STARTS] = starts.into();
        write_sealed(&path, &origin)
    }
}
