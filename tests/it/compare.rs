//! Two folders of runs against each other: everything is the same but times.

mod events;

use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// What is different, a line a thing; nothing where the runs came to the same.
pub fn differences(right: &Path, found: &Path) -> Vec<String> {
    let (right, found) = (read(right), read(found));
    let mut lines = Vec::new();
    for (name, content) in &right {
        match found.get(name) {
            None => lines.push(format!("{name} is missing")),
            Some(other) => lines.extend(content.against(other).map(|what| format!("{name}: {what}"))),
        }
    }
    lines.extend(
        found.keys().filter(|name| !right.contains_key(*name)).map(|name| format!("{name} is too much")),
    );
    lines
}

#[derive(PartialEq)]
enum Content {
    Bytes(Vec<u8>),
    Lines(Vec<String>),
}

impl Content {
    fn against(&self, other: &Content) -> Option<String> {
        match (self, other) {
            (a, b) if a == b => None,
            (Content::Lines(a), Content::Lines(b)) => {
                let at = a.iter().zip(b).position(|(a, b)| a != b).unwrap_or(a.len().min(b.len()));
                let line = |lines: &[String]| lines.get(at).cloned().unwrap_or("nothing".into());
                let short = |text: String| text.chars().take(300).collect::<String>();
                Some(format!(
                    "{} lines, {} are right; line {}: {} where {} is right",
                    b.len(),
                    a.len(),
                    at + 1,
                    short(line(b)),
                    short(line(a))
                ))
            }
            (Content::Bytes(a), Content::Bytes(b)) => {
                let same = a.iter().zip(b).take_while(|(a, b)| a == b).count();
                Some(format!("{} bytes, {} are right; they differ from byte {same} on", b.len(), a.len()))
            }
            _ => Some("is another kind of file".into()),
        }
    }
}

/// All files in a folder and in those within it, by their paths.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let (mut found, mut folders) = (Vec::new(), vec![folder.to_path_buf()]);
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() { folders.push(path) } else { found.push(path) }
        }
    }
    found.sort();
    found
}

/// What of a run's folder has to be the same, by name.
fn read(run: &Path) -> BTreeMap<String, Content> {
    let mut found = BTreeMap::new();
    for path in files(run) {
        let name = path.strip_prefix(run).unwrap().to_string_lossy().into_owned();
        if name != ".lock" && !name.starts_with("tensorboard/") {
            found.insert(name.clone(), content(&name, &fs::read(&path).unwrap()));
        }
    }
    let board = run.join("tensorboard");
    if let Ok(stages) = fs::read_dir(&board) {
        for stage in stages.map(|stage| stage.unwrap().path()) {
            let name = format!("tensorboard/{}", stage.file_name().unwrap().to_string_lossy());
            let points = events::points(&stage).into_iter().filter(|point| !is_time(&point.tag));
            found.insert(name, Content::Lines(points.map(|point| point.to_string()).collect()));
        }
    }
    found
}

fn content(name: &str, bytes: &[u8]) -> Content {
    let Ok(text) = std::str::from_utf8(bytes) else { return Content::Bytes(bytes.to_vec()) };
    let lines = text.split_inclusive('\n');
    match name {
        "metrics.jsonl" | "evaluations.jsonl" => Content::Lines(lines.map(timeless).collect()),
        "recipe.toml" => {
            Content::Lines(lines.filter(|line| !line.starts_with('#')).map(str::to_string).collect())
        }
        "run.json" | "stages.json" | "machine.json" => Content::Lines(settled(text)),
        "report.html" => match shown(text) {
            Some(mut shown) => {
                // The folder's name; and what recipe.toml has.
                for part in ["name", "recipe"] {
                    shown[part].take();
                }
                Content::Lines(settled(&shown.to_string()))
            }
            None => Content::Bytes(bytes.to_vec()),
        },
        _ if name.starts_with("figures/") => Content::Lines(lines.map(timeless).collect()),
        _ if name.ends_with("state.json") => Content::Lines(flat(text)),
        _ if name.ends_with(".jsonl") => Content::Lines(lines.map(str::to_string).collect()),
        _ => Content::Bytes(bytes.to_vec()),
    }
}

/// What a report shows.
pub fn shown(html: &str) -> Option<Value> {
    let json = html.split_once("id=\"content\">")?.1.split_once("</script>")?.0;
    serde_json::from_str(json).ok()
}

/// A line without what it says of times (and the checksum of that), and without the lengths of files that say something of them.
fn timeless(line: &str) -> String {
    let Ok(mut value) = serde_json::from_str::<Value>(line) else { return line.to_string() };
    strip(&mut value);
    format!("{value}{}", if line.ends_with('\n') { "\n" } else { "" })
}

/// A file of one value, a line a part of it.
fn settled(text: &str) -> Vec<String> {
    let Ok(mut value) = serde_json::from_str(text) else { return vec![text.to_string()] };
    strip(&mut value);
    serde_json::to_string_pretty(&value).unwrap().lines().map(str::to_string).collect()
}

/// What a state says, a line a figure.
fn flat(text: &str) -> Vec<String> {
    let Ok(Value::Object(mut state)) = serde_json::from_str(text) else { return vec![text.to_string()] };
    let metrics = state.shift_remove("metrics").unwrap_or_default();
    let figures = metrics.as_object().into_iter().flatten().filter(|(name, _)| !is_time(name));
    let figures: Vec<String> = figures.map(|(name, value)| format!("{name} {value}")).collect();
    // Which of two checkpoints is the newer: a stop adds one in between.
    state.shift_remove("sequence");
    let mut rest = Value::Object(state);
    strip(&mut rest);
    let rest = rest.as_object().into_iter().flatten().map(|(name, value)| format!("{name} {value}"));
    rest.chain(figures).collect()
}

fn strip(value: &mut Value) {
    match value {
        Value::Object(map) => {
            let kept =
                std::mem::take(map).into_iter().filter(|(name, _)| !is_time(name) && !tells_times(name));
            *map = kept.collect::<Map<String, Value>>();
            map.values_mut().for_each(strip);
        }
        Value::Array(list) => list.iter_mut().for_each(strip),
        _ => {}
    }
}

fn is_time(name: &str) -> bool {
    ["time", "seconds", "per_second"].iter().any(|part| name.contains(part))
        || ["started", "checksum"].contains(&name)
}

/// Whether this is the name of a file in which times stand, so that its length and checksum are others each time; what is in it is
/// compared for itself.
fn tells_times(name: &str) -> bool {
    name == "metrics.jsonl" || name.starts_with("tensorboard/") || name.ends_with("state.json")
}
