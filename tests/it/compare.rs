//! Two folders of runs against each other: everything is the same but times.

mod events;

use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Bytes or characters that are shown of a place where two files part.
const SHOWN: usize = 200;

/// What is different, a line a thing, with both sides; nothing where the runs came to the same. Of a run that sweeps, each trial is compared as a run
/// by itself.
pub fn differences(right: &Path, found: &Path) -> Vec<String> {
    let (right, found) = (read(right), read(found));
    let mut lines = Vec::new();
    for (name, content) in &right {
        match found.get(name) {
            None => lines.push(format!("{name}, {} in the right run, is missing", content.size())),
            Some(other) => lines.extend(content.against(other).map(|what| format!("{name}: {what}"))),
        }
    }
    let more = found.iter().filter(|(name, _)| !right.contains_key(*name));
    lines.extend(more.map(|(name, content)| format!("{name}, {}, is too much", content.size())));
    lines
}

#[derive(PartialEq)]
enum Content {
    Bytes(Vec<u8>),
    Lines(Vec<String>),
}

impl Content {
    fn size(&self) -> String {
        match self {
            Content::Bytes(bytes) => format!("of {} bytes", bytes.len()),
            Content::Lines(lines) => format!("of {} lines", lines.len()),
        }
    }

    /// Where `other` parts from what is right, and what stands there on both sides.
    fn against(&self, other: &Content) -> Option<String> {
        match (self, other) {
            (a, b) if a == b => None,
            (Content::Lines(a), Content::Lines(b)) => {
                let at = a.iter().zip(b).position(|(a, b)| a != b).unwrap_or(a.len().min(b.len()));
                let line = |lines: &[String]| lines.get(at).map_or("nothing", String::as_str).to_string();
                let (a_line, b_line) = (line(a), line(b));
                let same = a_line.chars().zip(b_line.chars()).take_while(|(a, b)| a == b).count();
                let shown = |text: &str| part(text, same.saturating_sub(SHOWN / 4));
                Some(format!(
                    "{} lines, {} are right; line {}, character {}:\n    found {}\n    right {}",
                    b.len(),
                    a.len(),
                    at + 1,
                    same + 1,
                    shown(&b_line),
                    shown(&a_line)
                ))
            }
            (Content::Bytes(a), Content::Bytes(b)) => {
                let same = a.iter().zip(b).take_while(|(a, b)| a == b).count();
                let shown = |bytes: &[u8]| {
                    let from = same.saturating_sub(8);
                    let text: Vec<String> =
                        bytes.iter().skip(from).take(32).map(|byte| format!("{byte:02x}")).collect();
                    text.join(" ")
                };
                Some(format!(
                    "{} bytes, {} are right; from byte {same} on:\n    found … {}\n    right … {}",
                    b.len(),
                    a.len(),
                    shown(b),
                    shown(a)
                ))
            }
            (a, b) => {
                Some(format!("is another kind of file: found one {}, right is one {}", b.size(), a.size()))
            }
        }
    }
}

/// Some characters of a text, from one on.
fn part(text: &str, from: usize) -> String {
    let begin = if from > 0 { "…" } else { "" };
    let shown: String = text.chars().skip(from).take(SHOWN).collect();
    let end = if text.chars().count() > from + SHOWN { "…" } else { "" };
    format!("{begin}{}{end}", shown.trim_end_matches('\n'))
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
    let entries = fs::read_dir(run).unwrap_or_else(|error| panic!("{}: {error}", run.display()));
    let folders = entries.map(|entry| entry.unwrap().path()).filter(|path| path.is_dir());
    // A trial of this run is a run.
    let trials: Vec<PathBuf> = folders.filter(|folder| folder.join("run.json").is_file()).collect();
    for trial in &trials {
        let name = trial.file_name().unwrap().to_string_lossy();
        found.extend(read(trial).into_iter().map(|(file, content)| (format!("{name}/{file}"), content)));
    }
    for path in files(run).into_iter().filter(|path| !trials.iter().any(|trial| path.starts_with(trial))) {
        let name = path.strip_prefix(run).unwrap().to_string_lossy().into_owned();
        if name != ".lock" && !name.starts_with("tensorboard/") {
            let bytes = fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            found.insert(name.clone(), content(&name, &bytes));
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
        "run.json" | "stages.json" | "machine.json" | "trials.json" => Content::Lines(settled(text)),
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
        || ["started", "starts", "checksum"].contains(&name)
}

/// Whether this is the name of a file in which times stand, so that its length and checksum are others each time; what is in it is
/// compared for itself.
fn tells_times(name: &str) -> bool {
    name == "metrics.jsonl" || name.starts_with("tensorboard/") || name.ends_with("state.json")
}

/// What a comparison that fails says has to be enough to see by, also where lines begin alike.
#[test]
fn both_sides_of_a_difference_are_shown() {
    let [right, found] = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let write = |folder: &Path, name: &str, text: &str| {
        let path = folder.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    let long = "x".repeat(1000);
    for (folder, end) in [(&right, "right"), (&found, "wrong")] {
        let folder = folder.path();
        write(folder, "run.json", "{\"started\": 1}");
        // A trial's times are no difference.
        write(folder, "a_seed=1/run.json", &format!("{{\"started\": {}}}", end.len()));
        write(folder, "a_seed=1/metrics.jsonl", &format!("{{\"loss\": 1.0, \"step_time\": \"{end}\"}}\n"));
        write(folder, "traces/rl.jsonl", &format!("{{\"text\": \"{long}{end}\"}}\n"));
        write(folder, &format!("only-{end}.jsonl"), "{}\n");
        fs::write(folder.join("weights"), [&[255; 100][..], end.as_bytes()].concat()).unwrap();
    }
    let lines = differences(right.path(), found.path());
    let of =
        |name: &str| lines.iter().find(|line| line.starts_with(name)).unwrap_or_else(|| panic!("{lines:?}"));
    assert_eq!(lines.len(), 4, "{lines:?}");
    assert!(
        of("traces/rl.jsonl").contains("xwrong\"}\n    right …")
            && of("traces/rl.jsonl").ends_with("xright\"}")
    );
    assert!(of("weights").contains("ff 77 72 6f 6e 67\n") && of("weights").ends_with("ff 72 69 67 68 74"));
    assert_eq!(of("only-right.jsonl"), "only-right.jsonl, of 1 lines in the right run, is missing");
    assert_eq!(of("only-wrong.jsonl"), "only-wrong.jsonl, of 1 lines, is too much");
}
