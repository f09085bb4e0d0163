//! When a run's report is written anew: after evaluations and checkpoints, by time, and at the end.

use super::session::Session;
use super::stop;
use crate::checkpoint::{MACHINE, RunDir, write_atomic};
use crate::devices::machine::{Machine, host};
use crate::error::{Error, Result, quietly};
use crate::report::{self, Known, State};
use serde_json::{Map, Value, json};
use std::path::Path;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How old a report may become while a run works.
const OLDEST: Duration = Duration::from_secs(60);
/// A report is not written again before so many times as long have passed as writing it took: 5 % of a run at most.
const SELDOM: u32 = 20;

/// What the first rank knows of its report.
pub(super) struct Reporting {
    /// What recipes can say.
    known: Known,
    /// When it was written last, and how long that took.
    written: Option<(Instant, Duration)>,
    /// When the run began, for one that was never written.
    began: Instant,
    /// Whether there is something new of which there is not much: an evaluation, a checkpoint.
    news: bool,
    /// Whether it has been said that it cannot be written.
    failed: bool,
    /// Whether the machine has been noted.
    noted: bool,
}

impl Reporting {
    pub fn new(known: Known) -> Self {
        Self { known, written: None, began: Instant::now(), news: false, failed: false, noted: false }
    }

    fn is_due(&self) -> bool {
        match self.written {
            None => self.news || self.began.elapsed() >= OLDEST,
            Some((at, took)) => at.elapsed() >= took * SELDOM && (self.news || at.elapsed() >= OLDEST),
        }
    }
}

/// Writes the report of a run, or of one that sweeps; whether it could be written. One that cannot be is a warning, unless that is `said`.
pub(super) fn written(folder: &Path, state: State, known: &Known, said: bool) -> bool {
    let written = quietly(|| report::write(folder, Some(state), known));
    let written = written.unwrap_or_else(|panic| Err(Error::Checkpoint(format!("it has a fault: {panic}"))));
    if let Err(error) = &written
        && !said
    {
        tracing::warn!("{} cannot be written, and the run goes on: {error}", report::REPORT);
    }
    written.is_ok()
}

/// Notes in the folder's `run.json` that this process begins to work on it: when, where, and by which command. That it cannot be noted is a warning.
pub(super) fn note_start(dir: &RunDir) {
    let start = json!({ "time": now(), "host": host(), "command": stop::command() });
    or_warn("that this process began", dir.note_start(table(start)));
}

/// Notes there how it ended.
pub(super) fn note_end(dir: &RunDir, state: &State) {
    let end = json!({ "end_time": now(), "state": state });
    or_warn("how this process ended", dir.note_end(table(end)));
}

fn or_warn(what: &str, noted: Result<()>) {
    if let Err(error) = noted {
        tracing::warn!("{what} cannot be noted in run.json: {error}");
    }
}

fn table(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(table) => table,
        _ => Map::new(),
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// How a run ends that ends with this error.
pub(super) fn ended(error: &Error) -> State {
    match error {
        Error::Stopped { .. } => State::Stopped(Some(error.to_string())),
        error => State::Failed(error.to_string()),
    }
}

impl Session {
    /// There is an evaluation or a checkpoint more.
    pub(super) fn has_news(&mut self) {
        self.reporting.news = true;
    }

    /// Writes the report where it is time to.
    pub(super) fn report_where_due(&mut self) {
        if self.ranks.is_first() && self.reporting.is_due() {
            self.write_report(State::Running);
        }
    }

    /// Writes the report. One that cannot be written is a warning, once: no report is worth a run.
    pub(super) fn write_report(&mut self, state: State) {
        let began = Instant::now();
        let said = self.reporting.failed;
        let there = written(self.dir.path(), state, &self.reporting.known, said);
        self.reporting.failed |= !there;
        self.reporting.written = Some((Instant::now(), began.elapsed()));
        self.reporting.news = false;
    }

    /// Notes how this process ended, if it has worked on the run.
    pub(super) fn note_end(&self, state: &State) {
        if self.reporting.noted {
            note_end(&self.dir, state);
        }
    }

    /// Notes that the run ends with this error, for who lists runs; one that was told to stop has not failed. Where the disk is what failed, the
    /// error itself has to say it.
    pub(super) fn note_failure(&self, error: &Error) {
        let State::Failed(why) = ended(error) else { return };
        if let Ok(mut ledger) = self.dir.ledger()
            && !ledger.stages.is_empty()
        {
            ledger.failed = Some(why);
            let _ = self.dir.note(&ledger);
        }
    }

    /// What failed behind the end of its last stage, such as removing what it does not keep, has been done since.
    pub(super) fn forget_failure(&self) -> Result<()> {
        let mut ledger = self.dir.ledger()?;
        ledger.failed.take().map_or(Ok(()), |_| self.dir.note(&ledger))
    }

    /// Writes what the run found at its end: the table of its evaluations, and the report.
    pub(super) fn write_end(&mut self) {
        if let Err(error) = report::write_tables(self.dir.path()) {
            tracing::warn!("the table of evaluations cannot be written: {error}");
        }
        self.note_end(&State::Done);
        self.write_report(State::Done);
    }

    /// Notes once which machine this is, and that a process works on the run.
    pub(super) fn note_machine(&mut self) {
        if !self.ranks.is_first() || std::mem::replace(&mut self.reporting.noted, true) {
            return;
        }
        note_start(&self.dir);
        if let Err(error) = self.write_machine() {
            tracing::warn!("what machine this is cannot be noted: {error}");
        }
    }

    fn write_machine(&self) -> Result<()> {
        let path = self.dir.path().join(MACHINE);
        let note = json!({ "rows": Machine::here().rows });
        write_atomic(path, format!("{note:#}\n").as_bytes())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::Mode;

    #[test]
    fn who_has_worked_on_a_run_stands_in_its_run_json() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("run");
        let dir = RunDir::create(&path, Mode::Fresh).unwrap();
        let (started, file) = (dir.started().unwrap(), path.join("run.json"));
        let starts = || {
            let run: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
            run["starts"].as_array().cloned().unwrap_or_default()
        };
        note_start(&dir);
        assert!(starts()[0]["state"].is_null());
        note_end(&dir, &State::Stopped(Some("by a signal".into())));
        note_start(&dir);
        note_end(&dir, &State::Done);
        let starts = starts();
        assert_eq!(starts.len(), 2);
        assert_eq!(starts[0]["state"], json!({ "is": "stopped", "why": "by a signal" }));
        assert_eq!(starts[1]["state"], json!({ "is": "done" }));
        assert!(starts.iter().all(|one| one["time"].is_u64() && one["end_time"].is_u64()));
        assert!(starts.iter().all(|one| !one["command"].as_str().unwrap().is_empty()));
        // It is still whole, and says what it said before.
        assert!(started.is_some() && dir.started().unwrap() == started);
        // What is damaged stays so.
        std::fs::write(&file, "{\"started\": 1}").unwrap();
        note_start(&dir);
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "{\"started\": 1}");
    }

    #[test]
    fn a_report_is_written_when_there_is_news_and_never_often() {
        let ago = |seconds| Instant::now().checked_sub(Duration::from_secs(seconds)).unwrap();
        let of = |news, written| Reporting { news, written, ..Reporting::new(Known::default()) };
        assert!(!of(false, None).is_due() && of(true, None).is_due());
        let took = Duration::from_secs(1);
        // 19 times as long as it took is too early, whatever there is.
        assert!(!of(true, Some((ago(19), took))).is_due());
        assert!(of(true, Some((ago(21), took))).is_due() && !of(false, Some((ago(21), took))).is_due());
        assert!(of(false, Some((ago(61), took))).is_due());
        assert!(!of(false, Some((ago(61), 4 * took))).is_due());
    }
}
