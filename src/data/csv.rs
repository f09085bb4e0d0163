//! CSV and TSV: a line of column names, then a record a row (RFC 4180).
//!
//! Cells are text. Where a column holds a list or an object (`choices`, `messages`, …) a cell is JSON; where it holds a number, a number.
//! An empty cell is no value.

use super::json::Once;
use super::jsonl::LONGEST;
use super::packed::{open, unreadable};
use super::renaming::Renaming;
use super::row::{Problems, Row};
use crate::error::{Error, Result};
use csv::{ByteRecord, ReaderBuilder, Terminator};
use serde_json::{Map, Value};
use std::cell::Cell;
use std::io::Read;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;

/// Columns whose cells are JSON.
const JSON: [&str; 14] = [
    "choices",
    "messages",
    "conversations",
    "completions",
    "tools",
    "chat_template_kwargs",
    "ratings",
    "labels",
    "step_labels",
    "scores",
    "step_scores",
    "steps",
    "history",
    "rubric",
];
/// Columns whose cells are numbers, or text where they are none.
const NUMBERS: [&str; 4] = ["weight", "margin", "label", "first_error"];

/// At most `limit` rows of `path`, which may be packed (`.csv.gz`, `.tsv.zst`); records that are none go to `problems`.
pub fn read(
    path: &Path,
    stem: Arc<str>,
    renaming: &mut Renaming,
    limit: usize,
    problems: &mut Problems,
) -> Result<Vec<Row>> {
    let file: Arc<str> = path.display().to_string().into();
    let left = Rc::new(Cell::new(LONGEST));
    let bounded = Bounded { inner: open(path)?, left: left.clone() };
    let tabs = file.to_ascii_lowercase().contains(".tsv");
    let mut records = Records { bounded, left, file: file.clone() };
    let mut first = records.first_line()?;
    if !tabs && first.contains(&b'\t') && !first.contains(&b',') && !first.contains(&b';') {
        let what = "its columns are divided by tabs; give it a name that ends in .tsv";
        return Err(Error::Data(format!("{file}:1: {what}")));
    }
    let delimiter = match tabs {
        true => b'\t',
        // What a spreadsheet writes where a comma is part of numbers.
        false if !first.contains(&b',') && first.contains(&b';') => b';',
        false => b',',
    };
    // Lines are counted where they end: behind `\r\n` only once more is read, so that `\n` alone ends one, and `\r` is taken off.
    let terminator = if first.ends_with(b"\n") { Terminator::Any(b'\n') } else { Terminator::CRLF };
    // Old spreadsheets end a line with `\r` alone, which is not counted as one: all rows would be of line 1.
    if !first.ends_with(b"\n") {
        first.iter_mut().filter(|byte| **byte == b'\r').for_each(|byte| *byte = b'\n');
    }
    // What stands behind the end is a record of its own, unless a quote takes it in.
    let source = std::io::Cursor::new(first).chain(&mut records.bounded).chain(END);
    let mut csv = ReaderBuilder::new()
        .delimiter(delimiter)
        .terminator(terminator)
        .has_headers(false)
        .flexible(true)
        .from_reader(source);
    let (left, mut record, mut rows) = (records.left, ByteRecord::new(), Vec::new());
    let mut names: Option<Vec<String>> = None;
    while rows.len() < limit {
        left.set(LONGEST);
        let more = csv.read_byte_record(&mut record).map_err(|error| broken(path, &file, &error))?;
        let line = record.position().map_or(1, csv::Position::line) as usize;
        let read = record.as_slice();
        if !more || read == END.trim_ascii() {
            break;
        }
        if read.ends_with(END) {
            problems.line(
                &file,
                line,
                "a quote (\") that begins in this record is not closed, and takes in the rest of the file",
            );
            break;
        }
        let cells: std::result::Result<Vec<&str>, _> = record.iter().map(std::str::from_utf8).collect();
        let Ok(mut cells) = cells else {
            problems.line(&file, line, "not UTF-8; save the file as UTF-8");
            continue;
        };
        if let Some(last) = cells.last_mut() {
            *last = last.strip_suffix('\r').unwrap_or(last);
        }
        if cells.iter().all(|cell| cell.is_empty()) {
            continue;
        }
        let Some(names) = &names else {
            names = Some(header(&file, line, &cells)?);
            continue;
        };
        match fields(names, &cells, renaming) {
            Ok(fields) => rows.push(Row {
                file: file.clone(),
                stem: stem.clone(),
                line,
                fields: renaming.apply(fields),
            }),
            Err(what) => problems.line(&file, line, what),
        }
    }
    Ok(rows)
}

/// A file that is read record by record.
struct Records<R> {
    bounded: Bounded<R>,
    left: Rc<Cell<u64>>,
    file: Arc<str>,
}

impl<R: Read> Records<R> {
    /// The bytes up to the first line's end, without a mark of UTF-8.
    fn first_line(&mut self) -> Result<Vec<u8>> {
        let (mut line, mut byte) = (Vec::new(), [0]);
        while (line.len() as u64) < LONGEST {
            match self.bounded.read(&mut byte) {
                Ok(0) => break,
                Ok(_) => line.push(byte[0]),
                Err(error) => return Err(unreadable(Path::new(self.file.as_ref()), &error)),
            }
            if byte[0] == b'\n' {
                break;
            }
        }
        if line.starts_with(&[0xef, 0xbb, 0xbf]) {
            line.drain(..3);
        }
        Ok(line)
    }
}

/// Bytes of which no more than is `left` are read at a time: a quote that nothing closes does not take in the rest of a large file.
struct Bounded<R> {
    inner: R,
    left: Rc<Cell<u64>>,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.left.get() == 0 {
            return Err(std::io::Error::other(TOO_LONG));
        }
        let most = usize::try_from(self.left.get()).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.inner.read(&mut buffer[..most])?;
        self.left.set(self.left.get() - read as u64);
        Ok(read)
    }
}

/// What is read behind a file.
const END: &[u8] = b"\n\0the end\0\n";

const TOO_LONG: &str = "a record is longer than 64 MB; a quote may not be closed";

fn broken(path: &Path, file: &str, error: &csv::Error) -> Error {
    let line = error.position().map_or(String::new(), |at| format!(":{}", at.line()));
    match error.kind() {
        csv::ErrorKind::Io(io) if io.to_string() == TOO_LONG => {
            Error::Data(format!("{file}{line}: {TOO_LONG}"))
        }
        csv::ErrorKind::Io(io) => unreadable(path, io),
        _ => Error::Data(format!("{file}{line}: not CSV: {error}")),
    }
}

/// The names of the columns.
fn header(file: &str, line: usize, cells: &[&str]) -> Result<Vec<String>> {
    let names: Vec<String> = cells.iter().map(|cell| cell.trim().to_string()).collect();
    let wrong = |what: String| Err(Error::Data(format!("{file}:{line}: {what}")));
    if let Some(at) = names.iter().position(String::is_empty) {
        return wrong(format!(
            "column {} has no name; the first line names the columns, such as question,answer",
            at + 1
        ));
    }
    if let Some(twice) = names.iter().enumerate().find(|(at, name)| names[..*at].contains(name)) {
        return wrong(format!("two columns are called `{}`; give each its own name", twice.1));
    }
    Ok(names)
}

fn fields(
    names: &[String],
    cells: &[&str],
    renaming: &Renaming,
) -> std::result::Result<Map<String, Value>, String> {
    if cells.len() != names.len() {
        return Err(format!(
            "{} cells where the first line names {} columns; a cell with a comma or a line's end stands in quotes (\"…\"), a quote in it \
             is written twice",
            cells.len(),
            names.len()
        ));
    }
    let mut fields = Map::new();
    for (name, cell) in names.iter().zip(cells).filter(|(_, cell)| !cell.is_empty()) {
        let is = |listed: &[&str]| listed.iter().any(|ours| renaming.theirs(ours) == name);
        let value = if is(&JSON) {
            let Once(value) = serde_json::from_str(cell).map_err(|error| match error.is_data() {
                true => format!("`{name}`: {error}"),
                false => {
                    format!(
                        "`{name}` holds JSON in a cell, such as [\"a\", \"b\"], and this is none: {error}"
                    )
                }
            })?;
            value
        } else if is(&NUMBERS) {
            serde_json::from_str::<Value>(cell)
                .ok()
                .filter(Value::is_number)
                .unwrap_or_else(|| (*cell).into())
        } else {
            (*cell).into()
        };
        fields.insert(name.clone(), value);
    }
    Ok(fields)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::io::Write;

    fn rows(name: &str, bytes: &[u8]) -> Result<Vec<Row>> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        let mut problems = Problems::default();
        let rows = read(&path, "x".into(), &mut Renaming::default(), 100, &mut problems)?;
        problems.into_result().map(|()| rows)
    }

    fn values(name: &str, text: &str) -> Vec<Value> {
        rows(name, text.as_bytes()).unwrap().into_iter().map(|row| Value::Object(row.fields)).collect()
    }

    /// RFC 4180: quotes, doubled quotes, line ends in quotes, CRLF; lines are counted as an editor shows them.
    #[test]
    fn cells_are_what_was_written() {
        let text = "\u{feff}question,answer,choices,weight\r\n\"a, \"\"b\"\"\nc\",7,\"[\"\"x\"\",\"\"y\"\"]\",0.5\r\nd,,,\r\n";
        let found = rows("rows.csv", text.as_bytes()).unwrap();
        let expected =
            json!({"question": "a, \"b\"\nc", "answer": "7", "choices": ["x", "y"], "weight": 0.5});
        assert_eq!(Value::Object(found[0].fields.clone()), expected);
        assert_eq!(Value::Object(found[1].fields.clone()), json!({"question": "d"}));
        assert_eq!((found[0].line, found[1].line), (2, 4));
        let other = json!({"question": "a,b", "answer": "1"});
        assert_eq!(values("rows.tsv", "question\tanswer\na,b\t1\n"), std::slice::from_ref(&other));
        assert_eq!(values("rows.csv", "question;answer\na,b;1\n"), [other]);
        assert!(values("rows.csv", "").is_empty() && values("rows.csv", "question\n").is_empty());
    }

    #[test]
    fn lines_that_end_with_a_carriage_return_alone_are_counted() {
        let found = rows("rows.csv", b"question,answer\r1,2\r3,4\r").unwrap();
        let places: Vec<_> = found.iter().map(|row| (row.line, row.fields["answer"].clone())).collect();
        assert_eq!(places, [(2, json!("2")), (3, json!("4"))]);
    }

    #[test]
    fn packed_files_are_read_as_they_are() {
        let text = b"question,answer\n1+1,2\n";
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        gz.write_all(text).unwrap();
        let plain = rows("rows.csv", text).unwrap();
        assert_eq!(rows("rows.csv.gz", &gz.finish().unwrap()).unwrap()[0].fields, plain[0].fields);
        assert_eq!(
            rows("rows.csv.zst", &zstd::encode_all(&text[..], 0).unwrap()).unwrap()[0].fields,
            plain[0].fields
        );
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        gz.write_all(text).unwrap();
        let cut = gz.finish().unwrap();
        let told = rows("rows.csv.gz", &cut[..cut.len() - 6]).unwrap_err().to_string();
        assert!(told.starts_with("data: ") && told.contains("cut off or damaged"), "{told}");
    }

    #[test]
    fn what_is_no_record_is_named_by_line() {
        let told = |text: &[u8]| rows("rows.csv", text).unwrap_err().to_string();
        assert!(
            told(b"question,answer\n\"a\nb\",1\nc\n")
                .contains("rows.csv:4: 1 cells where the first line names 2 columns")
        );
        assert!(told(b"question,,answer\n").contains("rows.csv:1: column 2 has no name"));
        assert!(told(b"a,b,a\n").contains("two columns are called `a`"));
        assert!(told(b"question,choices\nq,\"[1\"\n").contains("rows.csv:2: `choices` holds JSON in a cell"));
        assert!(told(b"question\n\xff\xfe\n").contains("rows.csv:2: not UTF-8"));
        assert!(told(b"question\tanswer\n1\t2\n").contains("rows.csv:1: its columns are divided by tabs"));
    }

    /// It would be the rest of the file as one cell.
    #[test]
    fn a_quote_that_nothing_closes_is_said() {
        for (text, line) in [
            ("question,answer\na,1\nb,\"2\nc,3\n", 3),
            ("question,answer\r\na,1\r\n\"b,2\r\nc,3\r\n", 3),
            ("question,answer\na,\"1", 2),
            ("question,answer\na,\"", 2),
            ("question,\"answer\na,1\n", 1),
            ("\"question", 1),
        ] {
            let said = rows("rows.csv", text.as_bytes()).unwrap_err().to_string();
            let expected = format!("rows.csv:{line}: a quote (\") that begins in this record is not closed");
            assert!(said.contains(&expected), "{text}: {said}");
        }
        for text in [
            "question,answer\na,\"1\"",
            "question,answer\na,\"1\"\n\n",
            "question,answer\r\na,1\r\n",
            "question,answer\na,1",
            "question,answer\na,\"1\n\"\"2\"\"\n\"\n",
            "question,answer\na 5\" pipe,1\n",
        ] {
            assert_eq!(values("rows.csv", text).len(), 1, "{text}");
        }
    }

    /// A megabyte of zeros packs to a kilobyte: what unpacks beyond the limit of its size, and 512 MB, is refused; so is a quote without end.
    #[test]
    fn a_bomb_does_not_go_off() {
        let mut gz = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gz.write_all(b"question\n").unwrap();
        let line = [b"a".repeat((1 << 20) - 1), b"\n".to_vec()].concat();
        for _ in 0..600 {
            gz.write_all(&line).unwrap();
        }
        let packed = gz.finish().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("rows.csv.gz");
        std::fs::write(&path, packed).unwrap();
        let mut renaming = Renaming::default();
        let told = read(&path, "x".into(), &mut renaming, 1_000_000, &mut Problems::default())
            .unwrap_err()
            .to_string();
        assert!(told.contains("rows.csv.gz: unpacked it has more than"), "{told}");
        let open = [b"question\n\"".to_vec(), b"a".repeat(65 << 20)].concat();
        let told = rows("rows.csv", &open).unwrap_err().to_string();
        assert!(told.contains("a record is longer than 64 MB; a quote may not be closed"), "{told}");
    }
}
