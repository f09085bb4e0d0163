//! JSON Lines: one object a line, blank lines skipped; a line with a tree is as many rows as that has leaves.

use super::row::{Problems, Row, renamed};
use super::tree;
use crate::error::{Error, Result};
use regex::Regex;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::sync::Arc;

/// At most `limit` rows of `path`; lines that are not JSON objects go to `problems`.
pub fn read(
    path: &Path,
    stem: Arc<str>,
    columns: &BTreeMap<String, String>,
    limit: usize,
    problems: &mut Problems,
) -> Result<Vec<Row>> {
    let mut reader = BufReader::new(File::open(path).map_err(Error::io(path))?);
    let file: Arc<str> = path.display().to_string().into();
    let answer = Answers::new(columns.get("answer").map_or("answer", String::as_str));
    let (mut rows, mut bytes, mut line) = (Vec::new(), Vec::new(), 0);
    while rows.len() < limit {
        bytes.clear();
        if reader.read_until(b'\n', &mut bytes).map_err(Error::io(path))? == 0 {
            break;
        }
        line += 1;
        if bytes.trim_ascii().is_empty() {
            continue;
        }
        match object(&bytes, &answer).and_then(tree::rows) {
            Ok(all) => rows.extend(all.into_iter().map(|fields| Row {
                file: file.clone(),
                stem: stem.clone(),
                line,
                fields: renamed(fields, columns),
            })),
            // An array over many lines would give one problem a line.
            Err(what) if line == 1 && bytes.trim_ascii_start().starts_with(b"[") => {
                problems.line(&file, line, what);
                break;
            }
            Err(what) => problems.line(&file, line, what),
        }
    }
    rows.truncate(limit);
    Ok(rows)
}

fn object(bytes: &[u8], answer: &Answers) -> std::result::Result<Map<String, Value>, String> {
    let bytes = bytes.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(bytes);
    let text = std::str::from_utf8(bytes).map_err(|e| format!("not UTF-8 ({e}); save the file as UTF-8"))?;
    if text.trim_start().starts_with('[') {
        return Err("a JSON array; write one object a line (jq -c '.[]' old.json > new.jsonl)".to_string());
    }
    match serde_json::from_str(text) {
        Ok(Value::Object(fields)) => Ok(answer.as_written(fields, text)),
        Ok(_) => Err("not a JSON object; every line is one, as {\"question\": …, \"answer\": …}".to_string()),
        Err(e) => Err(format!("not JSON: {}; every line must be one whole object", without_line(&e))),
    }
}

/// serde_json counts lines within the text it was given, which is always line 1 here.
fn without_line(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.split_once(" at line ") {
        Some((what, _)) => format!("{what} at column {}", error.column()),
        None => text,
    }
}

/// Keeps a numeric answer as the file writes it: `72.50`, not `72.5`.
struct Answers {
    column: String,
    written: Regex,
}

impl Answers {
    fn new(column: &str) -> Self {
        let key = regex::escape(column);
        let written =
            Regex::new(&format!(r#""{key}"\s*:\s*(-?[0-9][0-9.eE+-]*)"#)).expect("a column's name, escaped");
        Self { column: column.to_string(), written }
    }

    fn as_written(&self, mut fields: Map<String, Value>, text: &str) -> Map<String, Value> {
        // A whole number keeps its kind: beside choices it may count them.
        if let Some(value @ Value::Number(_)) = fields.get_mut(&self.column)
            && !value.is_u64()
        {
            let number = value.as_f64();
            let same = |found: &&str| found.parse::<f64>().ok() == number;
            let found =
                self.written.captures_iter(text).filter_map(|c| c.get(1)).map(|m| m.as_str()).find(same);
            *value = Value::String(found.map_or_else(|| value.to_string(), str::to_string));
        }
        fields
    }
}
