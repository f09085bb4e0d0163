//! When a rank did what, for pages that show such things (chrome://tracing, ui.perfetto.dev): what it computed or waited for, and beside it
//! what was under way between ranks. Each thread has its own; nothing is noted before [`begin`].

use crate::error::{Error, Result};
use std::cell::RefCell;
use std::fs::{File, OpenOptions, create_dir_all};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

thread_local! {
    static SPANS: RefCell<Option<Vec<Span>>> = const { RefCell::new(None) };
}

/// Where a span is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Row {
    /// What the rank does or waits for: spans lie in each other.
    Rank = 0,
    /// What is under way between ranks: spans may overlap.
    Between = 1,
}

#[derive(Debug)]
struct Span {
    name: String,
    row: Row,
    /// Microseconds since 1970, so that ranks of one clock stand side by side.
    began: u64,
    ended: u64,
}

/// A span that is open: it ends when this is dropped.
#[derive(Debug)]
#[must_use]
pub struct Open(Option<(String, Row, u64)>);

/// Notes what this thread does from here on.
pub fn begin() {
    SPANS.with_borrow_mut(|spans| spans.get_or_insert_default().len());
}

/// Something that the rank does or waits for, with the number of the unit that it is about.
pub fn span(what: &str, unit: Option<usize>) -> Open {
    open(what, unit, Row::Rank)
}

/// Something that goes on between ranks.
pub fn under_way(what: &str, unit: Option<usize>) -> Open {
    open(what, unit, Row::Between)
}

fn open(what: &str, unit: Option<usize>, row: Row) -> Open {
    let noted = SPANS.with_borrow(Option::is_some);
    let name = || unit.map_or_else(|| what.to_owned(), |unit| format!("{what} {unit}"));
    Open(noted.then(|| (name(), row, now())))
}

impl Drop for Open {
    fn drop(&mut self) {
        let Some((name, row, began)) = self.0.take() else { return };
        let span = Span { name, row, began, ended: now() };
        SPANS.with_borrow_mut(|spans| spans.as_mut().map(|spans| spans.push(span)));
    }
}

/// Writes what was noted behind what is in `folder/rank-N.json`: Chrome's array of events, whose end may be missing.
pub fn write(folder: &Path, rank: usize) -> Result<()> {
    let Some(spans) = SPANS.with_borrow_mut(|spans| spans.as_mut().map(std::mem::take)) else {
        return Ok(());
    };
    create_dir_all(folder).map_err(Error::io(folder))?;
    let path = folder.join(format!("rank-{rank}.json"));
    let mut file =
        OpenOptions::new().create(true).read(true).append(true).open(&path).map_err(Error::io(&path))?;
    let before = cut_back(&mut file).map_err(Error::io(&path))?;
    let mut text = String::from(if before == 0 { "[" } else { "" });
    for Span { name, row, began, ended } in spans {
        let event = serde_json::json!({
            "name": name, "ph": "X", "pid": rank, "tid": row as usize, "ts": began, "dur": ended - began,
        });
        text += &format!("{event},\n");
    }
    file.write_all(text.as_bytes()).map_err(Error::io(&path))
}

/// Takes away a line that a process which was killed had begun; how much is there then.
fn cut_back(file: &mut File) -> std::io::Result<u64> {
    let mut last = *b"\n";
    if file.seek(SeekFrom::End(-1)).is_ok() {
        file.read_exact(&mut last)?;
    }
    if last != *b"\n" {
        let mut all = Vec::new();
        file.rewind()?;
        file.read_to_end(&mut all)?;
        file.set_len(all.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at as u64 + 1))?;
    }
    Ok(file.metadata()?.len())
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_written_as_events() {
        let folder = tempfile::tempdir().unwrap();
        drop(span("before", None));
        begin();
        {
            let _step = span("step", None);
            let _gather = under_way("gather", Some(3));
        }
        write(folder.path(), 2).unwrap();
        // A process that was killed had begun a line.
        let path = folder.path().join("rank-2.json");
        let whole = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, whole + "{\"name\":\"hal").unwrap();
        drop(span("again", None));
        write(folder.path(), 2).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let events: Vec<serde_json::Value> =
            serde_json::from_str(&format!("{}]", text.trim_end().trim_end_matches(','))).unwrap();
        let named: Vec<_> =
            events.iter().map(|event| (event["name"].as_str().unwrap(), event["tid"].as_u64())).collect();
        assert_eq!(named, [("gather 3", Some(1)), ("step", Some(0)), ("again", Some(0))]);
        assert!(events.iter().all(|event| event["pid"] == 2 && event["ph"] == "X"));
    }
}
