//! JSON Lines: one object a line, blank lines skipped; or one array of objects. An object with a tree is as many rows as that has leaves.

use super::json::Once;
use super::packed::{open, unreadable};
use super::pieces::Pieces;
use super::renaming::Renaming;
use super::row::{Problems, Row};
use super::tree;
use crate::error::{Error, Result};
use serde_json::{Map, Value};
use std::path::Path;
use std::sync::Arc;

/// Bytes in a line: what is read of one takes some sixteen times as much memory.
pub(super) const LONGEST: u64 = 64 << 20;

/// At most `limit` rows of `path`, which may be packed (`.gz`, `.zst`); lines that are not JSON objects go to `problems`.
pub fn read(
    path: &Path,
    stem: Arc<str>,
    renaming: &mut Renaming,
    limit: usize,
    problems: &mut Problems,
) -> Result<Vec<Row>> {
    let broken = |error: std::io::Error| unreadable(path, &error);
    let mut pieces = Pieces::of(open(path)?, LONGEST).map_err(broken)?;
    let file: Arc<str> = path.display().to_string().into();
    let written = [renaming.theirs("id"), renaming.theirs("answer")].map(Numbers::new);
    let (mut rows, mut bytes, mut line) = (Vec::new(), Vec::new(), 0);
    let mut dropped = Vec::new();
    while rows.len() < limit {
        bytes.clear();
        let length = pieces.next(&mut bytes).map_err(broken)?;
        if length == 0 {
            if pieces.cut {
                problems.line(&file, line, "the array has no end: the file is cut off");
            } else if pieces.behind().map_err(broken)?.is_some() {
                problems.line(
                    &file,
                    line,
                    "something stands behind the array, which is all that a file may hold",
                );
            }
            break;
        }
        line += 1;
        if bytes.len() as u64 > LONGEST {
            let (most, word) = (LONGEST >> 20, pieces.word());
            return Err(Error::Data(format!(
                "{file}:{line}: the {word} is longer than {most} MB; a row is one {word}"
            )));
        }
        if bytes.trim_ascii().is_empty() {
            continue;
        }
        match object(&bytes, &written).and_then(tree::rows) {
            Ok(all) => {
                let (none, all): (Vec<_>, Vec<_>) = all.into_iter().partition(is_dropped);
                dropped.extend(none.iter().map(|_| line));
                rows.extend(all.into_iter().map(|fields| Row {
                    file: file.clone(),
                    stem: stem.clone(),
                    line,
                    fields: renaming.apply(fields),
                }));
            }
            // What goes on over many lines would give one problem a line.
            Err(what) if line == 1 && begins_more(&bytes) => {
                problems.line(&file, line, what);
                break;
            }
            Err(what) => problems.line(&file, line, what),
        }
    }
    if let Some(first) = dropped.first() {
        let (count, noun) = (dropped.len(), if dropped.len() == 1 { "rollout" } else { "rollouts" });
        tracing::warn!(
            "{file}: {count} {noun} of which its stage learned nothing (`dropped`) are no rows, from line {first} on"
        );
    }
    rows.truncate(limit);
    Ok(rows)
}

/// Whether it is a trace of a rollout that nothing was learned of.
fn is_dropped(fields: &Map<String, Value>) -> bool {
    fields.get("dropped").is_some_and(Value::is_string) && fields.contains_key("completion_ids")
}

/// Whether a first line begins what later lines go on with: an object that is not whole.
fn begins_more(bytes: &[u8]) -> bool {
    is_cut(without_mark(bytes).trim_ascii())
}

/// An object that ends before its end.
fn is_cut(text: &[u8]) -> bool {
    let whole = serde_json::from_slice::<serde::de::IgnoredAny>(text);
    text.starts_with(b"{") && !text.ends_with(b"}") && whole.is_err_and(|error| error.is_eof())
}

fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes)
}

fn object(bytes: &[u8], written: &[Numbers; 2]) -> std::result::Result<Map<String, Value>, String> {
    let bytes = without_mark(bytes);
    let text = std::str::from_utf8(bytes).map_err(|e| format!("not UTF-8 ({e}); save the file as UTF-8"))?;
    if text.trim_start().starts_with('[') {
        return Err(
            "an array, and no object; a row is an object, as {\"question\": …, \"answer\": …}".to_string()
        );
    }
    match serde_json::from_str(text) {
        Ok(Once(Value::Object(fields))) => {
            Ok(written.iter().fold(fields, |fields, numbers| numbers.as_written(fields, text)))
        }
        Ok(_) => Err("not a JSON object; every line is one, as {\"question\": …, \"answer\": …}".to_string()),
        Err(e) => Err(wrong(&e, text)),
    }
}

/// What is not JSON, in words that say what to do.
fn wrong(error: &serde_json::Error, text: &str) -> String {
    if error.is_data() {
        return format!("{}: one of its two values would be lost; take one out", without_line(error));
    }
    // Where serde_json stops within the line, counted in bytes: behind the sign of a number that is none.
    let stopped = text.get(..error.column().saturating_sub(1)).unwrap_or_default();
    let before = stopped.strip_suffix('-').unwrap_or(stopped);
    let rest = text.get(before.len()..).unwrap_or_default();
    let number = before.trim_end().ends_with([':', ',', '[']) || before.trim_end().is_empty();
    let named = ["NaN", "Infinity", "-NaN", "-Infinity"].iter().find(|name| rest.starts_with(**name));
    if let (true, Some(name)) = (number, named) {
        return format!(
            "not JSON: {name} at column {}; JSON has no such number: write null, or leave the row out",
            before.len() + 1
        );
    }
    if is_cut(text.trim().as_bytes()) {
        return format!(
            "not JSON: the object goes on in later lines ({}); every line must be one whole object (jq -c . old.json > \
             new.jsonl writes it so)",
            without_line(error)
        );
    }
    format!("not JSON: {}; every line must be one whole object", without_line(error))
}

/// serde_json counts lines within the text it was given, which is always line 1 here.
fn without_line(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.split_once(" at line ") {
        Some((what, _)) => format!("{what} at column {}", error.column()),
        None => text,
    }
}

/// Keeps a column's number as the file writes it: `72.50`, not `72.5`, and all digits of an id.
struct Numbers {
    column: String,
}

impl Numbers {
    fn new(column: &str) -> Self {
        Self { column: column.to_string() }
    }

    /// All that is written behind the column's name as a number is.
    fn written<'t>(&self, text: &'t str) -> Vec<&'t str> {
        let key = format!("\"{}\"", self.column);
        let number = |(at, key): (usize, &str)| {
            let value = text[at + key.len()..].trim_start().strip_prefix(':')?.trim_start();
            let end =
                value.find(|c: char| !(c.is_ascii_digit() || ".eE+-".contains(c))).unwrap_or(value.len());
            Some(&value[..end])
        };
        text.match_indices(&key).filter_map(number).collect()
    }

    fn as_written(&self, mut fields: Map<String, Value>, text: &str) -> Map<String, Value> {
        // A whole number keeps its kind: beside choices it may count them.
        if let Some(value @ Value::Number(_)) = fields.get_mut(&self.column)
            && !value.is_u64()
        {
            let number = value.as_f64();
            let same = |found: &&str| found.parse::<f64>().ok() == number;
            let found = self.written(text).into_iter().find(same);
            *value = Value::String(found.map_or_else(|| value.to_string(), str::to_string));
        }
        fields
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn rows(name: &str, bytes: &[u8]) -> (Result<Vec<Row>>, String) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let mut problems = Problems::default();
        let read =
            read(&path, "rows".into(), &mut Renaming::new(&BTreeMap::new()), usize::MAX, &mut problems);
        (read, problems.into_result().err().map_or(String::new(), |error| error.to_string()))
    }

    #[test]
    fn what_is_no_json_is_said_so_that_it_can_be_mended() {
        for (text, words) in [
            (r#"{"a": NaN}"#, "rows.jsonl:1: not JSON: NaN at column 7; JSON has no such number"),
            (r#"{"a": [1, Infinity]}"#, "Infinity at column 11; JSON has no such number"),
            (r#"{"a": -Infinity}"#, "-Infinity at column 7; JSON has no such number"),
            ("{\n  \"a\": 1\n}\n", "1 problem in the data"),
            ("{\n  \"a\": 1\n}\n", "jq -c . old.json > new.jsonl"),
            (r#"{"a": "NaN" NaN}"#, "every line must be one whole object"),
            (
                r#"{"question": "a", "question": "b"}"#,
                "rows.jsonl:1: the key \"question\" stands twice in one object at column 3",
            ),
            (
                r#"{"messages": [{"role": "user", "content": "a", "content": "b"}]}"#,
                "the key \"content\" stands twice",
            ),
        ] {
            let (_, said) = rows("rows.jsonl", text.as_bytes());
            assert!(said.contains(words), "{text}: {said}");
        }
        let deep = format!("{{\"a\": {}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        assert!(rows("rows.jsonl", deep.as_bytes()).1.contains("recursion limit exceeded"));
    }

    /// Numbered by their place, whatever lines they stand on.
    #[test]
    fn a_file_that_is_an_array_is_its_elements() {
        let (read, said) = rows("rows.json", b"[\n {\"question\": \"a\"},\n {\"question\":\n \"b]\"}\n]\n");
        let read = read.unwrap();
        assert!(said.is_empty(), "{said}");
        assert_eq!((read.len(), read[1].line, &read[1].fields["question"]), (2, 2, &"b]".into()));
        for (text, words) in [
            ("[{\"a\": 1}, 7]", "rows.json:2: not a JSON object"),
            ("[{\"a\": 1}", "the array has no end: the file is cut off"),
            ("[{\"a\": 1}] {}", "something stands behind the array"),
            ("[[1]]", "rows.json:1: an array, and no object"),
        ] {
            let said = rows("rows.json", text.as_bytes()).1;
            assert!(said.contains(words), "{text}: {said}");
        }
        assert_eq!(rows("rows.json", b"[]").0.unwrap().len(), 0);
    }

    #[test]
    fn ids_and_answers_keep_their_digits() {
        let text = "{\"id\": 123456789012345678901, \"answer\": 72.50}\n{\"id\": 123456789012345678902, \"n\": 7.0}\n";
        let read = rows("rows.jsonl", text.as_bytes()).0.unwrap();
        assert_eq!(
            (&read[0].fields["id"], &read[0].fields["answer"]),
            (&"123456789012345678901".into(), &"72.50".into())
        );
        assert_eq!(read[1].fields["id"], "123456789012345678902");
        // As another line may write them, and the name elsewhere first.
        let text = r#"{"x": {"answer": [1]}, "y": {"answer": 7}, "answer" : -7.250e1, "id": "answer"}"#;
        assert_eq!(rows("rows.jsonl", text.as_bytes()).0.unwrap()[0].fields["answer"], "-7.250e1");
        assert_eq!(read[1].fields["n"], 7.0);
    }

    #[test]
    fn packed_files_read_as_what_they_hold_and_bombs_do_not_go_off() {
        use std::io::Write;
        let text = b"{\"question\": \"a\"}\n{\"question\": \"b\"}\n";
        let gz = |text: &[u8]| {
            let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
            packer.write_all(text).unwrap();
            packer.finish().unwrap()
        };
        assert_eq!(rows("rows.jsonl.gz", &gz(text)).0.unwrap().len(), 2);
        assert_eq!(rows("rows.jsonl.zst", &zstd::encode_all(&text[..], 1).unwrap()).0.unwrap().len(), 2);
        let bomb = gz(&vec![b'x'; LONGEST as usize + 2]);
        assert!(bomb.len() < 1 << 17);
        let said = rows("rows.jsonl.gz", &bomb).0.unwrap_err().to_string();
        assert!(said.contains("rows.jsonl.gz:1: the line is longer than 64 MB"), "{said}");
        assert!(rows("rows.jsonl.gz", b"\x1f\x8b\x08 cut").0.is_err());
    }

    /// What is packed badly is the data's, and the remedy is to get it anew.
    #[test]
    fn packed_files_that_are_damaged_are_said_to_be() {
        use std::io::Write;
        let text = b"{\"question\": \"a\"}\n".repeat(200);
        let mut packer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        packer.write_all(&text).unwrap();
        let gz = packer.finish().unwrap();
        let zst = zstd::encode_all(&text[..], 1).unwrap();
        let told = |name: &str, bytes: &[u8]| {
            let error = rows(name, bytes).0.unwrap_err();
            assert!(matches!(error, Error::Data(_)), "{name}: {error}");
            error.to_string()
        };
        let damaged = "cut off or damaged";
        assert!(told("rows.jsonl.gz", &gz[..gz.len() - 12]).contains(damaged));
        assert!(told("rows.jsonl.gz", &gz[..4]).contains(damaged));
        assert!(told("rows.jsonl.zst", &zst[..zst.len() - 5]).contains(damaged));
        for behind in [&b"x"[..], b"something that is not packed"] {
            let said = told("rows.jsonl.gz", &[&gz[..], behind].concat());
            assert!(said.contains("or something else stands behind what is packed"), "{said}");
        }
        for name in ["rows.jsonl.gz", "rows.jsonl.zst"] {
            let said = told(name, &text);
            assert!(said.contains("it is not packed as .") && said.contains("if it is plain"), "{said}");
        }
        assert_eq!(rows("rows.jsonl.gz", &[&gz[..], &gz].concat()).0.unwrap().len(), 400);
    }
}
