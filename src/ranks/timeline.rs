//! When a rank did what, for pages that show such things (chrome://tracing, ui.perfetto.dev): what it computed or waited for, beside it
//! what was under way between ranks, and of each phase the most memory that the process had. Each thread has its own; nothing is noted before
//! [`begin`].

use super::resident;
use crate::error::{Error, Result};
use serde_json::{Value, json};
use std::cell::RefCell;
use std::fs::{File, OpenOptions, create_dir_all};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

thread_local! {
    static SPANS: RefCell<Option<Vec<Span>>> = const { RefCell::new(None) };
}

/// Where a span is shown: spans of one row lie in each other or apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Row {
    /// What the rank does or waits for.
    Rank,
    /// Weights that are under way between ranks.
    Weights,
    /// Gradients that are.
    Gradients,
}

impl Row {
    const ALL: [(Row, &'static str); 3] = [
        (Row::Rank, "computing"),
        (Row::Weights, "weights under way"),
        (Row::Gradients, "gradients under way"),
    ];
}

#[derive(Debug)]
struct Span {
    name: String,
    row: Row,
    /// Microseconds since 1970, so that ranks of one clock stand side by side.
    began: u64,
    ended: u64,
    /// Of a phase: bytes.
    peak: Option<u64>,
}

/// A span that is open: it ends when this is dropped.
#[derive(Debug)]
#[must_use]
pub struct Open(Option<Opened>);

#[derive(Debug)]
struct Opened {
    name: String,
    row: Row,
    began: u64,
    phase: bool,
}

/// Notes what this thread does from here on, if that is `wanted`.
pub fn begin(wanted: bool) {
    SPANS.with_borrow_mut(|spans| *spans = wanted.then(|| spans.take().unwrap_or_default()));
}

/// Something that the rank does or waits for, with the number of the unit that it is about.
pub fn span(what: &str, unit: Option<usize>) -> Open {
    open(what, unit, Row::Rank, false)
}

/// A part of a step, of which the most memory is noted; none lies in another. What the one before it has freed goes back to the system first: each
/// phase then has what it needs and not the holes of the others.
pub fn phase(what: &str) -> Open {
    resident::trim();
    open(what, None, Row::Rank, true)
}

/// Weights that go between ranks.
pub fn weights_under_way(what: &str, unit: usize) -> Open {
    open(what, Some(unit), Row::Weights, false)
}

/// Gradients that go between ranks.
pub fn gradients_under_way(what: &str, unit: usize) -> Open {
    open(what, Some(unit), Row::Gradients, false)
}

fn open(what: &str, unit: Option<usize>, row: Row, phase: bool) -> Open {
    if SPANS.with_borrow(Option::is_none) {
        return Open(None);
    }
    if phase {
        resident::forget_peak();
    }
    let name = unit.map_or_else(|| what.to_owned(), |unit| format!("{what} {unit}"));
    Open(Some(Opened { name, row, began: now(), phase }))
}

impl Drop for Open {
    fn drop(&mut self) {
        let Some(Opened { name, row, began, phase }) = self.0.take() else { return };
        let peak = if phase { resident::peak() } else { None };
        let span = Span { name, row, began, ended: now(), peak };
        SPANS.with_borrow_mut(|spans| spans.as_mut().map(|spans| spans.push(span)));
    }
}

/// Writes what was noted behind what is in `folder/rank-N.json`, an array of Chrome's events that is whole after each call.
pub fn write(folder: &Path, rank: usize) -> Result<()> {
    let Some(spans) = SPANS.with_borrow_mut(|spans| spans.as_mut().map(std::mem::take)) else {
        return Ok(());
    };
    create_dir_all(folder).map_err(Error::io(folder))?;
    let path = folder.join(format!("rank-{rank}.json"));
    append(&path, rank, spans).map_err(Error::io(&path))
}

fn append(path: &Path, rank: usize, spans: Vec<Span>) -> std::io::Result<()> {
    let mut file = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(path)?;
    let end = end_of_events(&mut file)?;
    let mut events = if end == 0 { names(rank) } else { vec![] };
    events.extend(spans.into_iter().flat_map(|span| span.events(rank)));
    let lines: Vec<String> = events.iter().map(Value::to_string).collect();
    if lines.is_empty() {
        return Ok(());
    }
    file.seek(SeekFrom::Start(end))?;
    let before = if end == 0 { "[\n" } else { ",\n" };
    file.write_all(format!("{before}{}\n]\n", lines.join(",\n")).as_bytes())?;
    let length = file.stream_position()?;
    file.set_len(length)
}

/// Where the last event ends that is there as a whole: whoever wrote may have been killed.
fn end_of_events(file: &mut File) -> std::io::Result<u64> {
    let length = file.metadata()?.len();
    let from = length.saturating_sub(1 << 16);
    file.seek(SeekFrom::Start(from))?;
    let mut tail = Vec::new();
    file.read_to_end(&mut tail)?;
    let ends =
        |at: &usize| tail[*at] == b'}' && [&b"\n"[..], b",\n"].iter().any(|s| tail[at + 1..].starts_with(s));
    Ok((0..tail.len()).rev().find(ends).map_or(0, |at| from + at as u64 + 1))
}

/// What the rank and its rows are called.
fn names(rank: usize) -> Vec<Value> {
    let named = |what: &str, tid: usize, name: String| json!({"name": what, "ph": "M", "pid": rank, "tid": tid, "args": {"name": name}});
    let rows = Row::ALL.iter().map(|(row, name)| named("thread_name", *row as usize, (*name).to_owned()));
    std::iter::once(named("process_name", 0, format!("rank {rank}"))).chain(rows).collect()
}

impl Span {
    fn events(self, rank: usize) -> Vec<Value> {
        let Self { name, row, began, ended, peak } = self;
        let mut event = json!({
            "name": name, "ph": "X", "pid": rank, "tid": row as usize, "ts": began, "dur": ended - began,
        });
        let Some(peak) = peak else { return vec![event] };
        event["args"] = json!({"peak_bytes": peak});
        let megabytes = peak / 1_000_000;
        // A curve of its own under the rank.
        vec![
            event,
            json!({"name": "peak MB", "ph": "C", "pid": rank, "ts": began, "args": {"MB": megabytes}}),
        ]
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(folder: &Path) -> Vec<Value> {
        serde_json::from_str(&std::fs::read_to_string(folder.join("rank-2.json")).unwrap()).unwrap()
    }

    #[test]
    fn spans_are_written_as_events() {
        let folder = tempfile::tempdir().unwrap();
        drop(span("before", None));
        begin(true);
        {
            let _step = phase("step");
            let _gather = weights_under_way("gather", 3);
        }
        write(folder.path(), 2).unwrap();
        drop(span("again", None));
        write(folder.path(), 2).unwrap();
        write(folder.path(), 2).unwrap();
        let spans: Vec<Value> =
            events(folder.path()).into_iter().filter(|event| event["ph"] == "X").collect();
        let named: Vec<_> =
            spans.iter().map(|event| (event["name"].as_str().unwrap(), event["tid"].as_u64())).collect();
        assert_eq!(named, [("gather 3", Some(1)), ("step", Some(0)), ("again", Some(0))]);
        assert!(spans.iter().all(|event| event["pid"] == 2));
        assert!(spans[1]["args"]["peak_bytes"].as_u64().unwrap() > 1_000_000);
        let names = events(folder.path()).iter().filter(|event| event["ph"] == "M").count();
        assert_eq!(names, 4, "once, whatever is written behind");
    }

    /// What a killed process left of an event is written over.
    #[test]
    fn a_torn_end_is_mended() {
        begin(true);
        for end in [&b""[..], b",\n{\"name\": \"hal", b"\n", b"\n]\n", b",\n", b","] {
            let folder = tempfile::tempdir().unwrap();
            let whole = br#"[
{"name":"first","ph":"X","pid":2,"tid":0,"ts":1,"dur":2}
"#;
            std::fs::write(
                folder.path().join("rank-2.json"),
                [whole.trim_ascii_end(), b",\n", &whole[2..whole.len() - 1], end].concat(),
            )
            .unwrap();
            drop(span("second", None));
            write(folder.path(), 2).unwrap();
            let names: Vec<Value> =
                events(folder.path()).into_iter().map(|mut event| event["name"].take()).collect();
            assert_eq!(names.last().unwrap(), "second", "{names:?}");
            assert_eq!(names[0], "first");
        }
    }
}
