//! Parquet tables, read row by row without Arrow.

mod contents;
mod pages;
mod thrift;

use super::beside::UNSEEN;
use super::packed::unreadable;
use super::renaming::{KNOWN, Renaming};
use super::row::{Problems, Row, size};
use crate::error::{Error, Result, quietly};
use ::parquet::file::reader::{FileReader, SerializedFileReader};
use ::parquet::record::{Field, Row as Record};
use serde_json::{Map, Value};
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

/// Bytes that rows may take, as a multiple of the file's size, and what those of any file may: rows of one value
/// repeated take next to nothing in a file.
const UNPACKED: (u64, u64) = (100, 1 << 28);

/// At most `limit` rows of `path`; their `line` is the row's number from 1.
pub fn read(
    path: &Path,
    stem: Arc<str>,
    renaming: &mut Renaming,
    limit: usize,
    problems: &mut Problems,
) -> Result<Vec<Row>> {
    // A damaged file makes the reader of Parquet panic in many places.
    quietly(|| rows(path, stem, renaming, limit, problems)).unwrap_or_else(|panic| {
        Err(Error::Data(format!("{}: a damaged Parquet file ({panic})", path.display())))
    })
}

fn rows(
    path: &Path,
    stem: Arc<str>,
    renaming: &mut Renaming,
    limit: usize,
    problems: &mut Problems,
) -> Result<Vec<Row>> {
    let file: Arc<str> = path.display().to_string().into();
    let broken = |e: ::parquet::errors::ParquetError| {
        Error::Data(format!("{}: not a Parquet file this program can read: {e}", path.display()))
    };
    let closed = |error: std::io::Error| unreadable(path, &error);
    let source = File::open(path).map_err(closed)?;
    let most = source.metadata().map_err(closed)?.len().saturating_mul(UNPACKED.0).max(UNPACKED.1);
    let mut headers = File::open(path).map_err(closed)?;
    contents::check(path, &mut headers)?;
    let reader = SerializedFileReader::new(source).map_err(broken)?;
    let (mut rows, mut index, mut bytes) = (Vec::new(), 0, 0);
    for group in 0..reader.num_row_groups() {
        let group = reader.get_row_group(group).map_err(broken)?;
        pages::check(path, &mut headers, &*group, most)?;
        for record in group.get_row_iter(None).map_err(broken)? {
            if index == limit {
                return Ok(rows);
            }
            index += 1;
            let known = |name: &str| KNOWN.contains(&name) || renaming.reads(name);
            match fields(&record.map_err(broken)?, &known) {
                Ok(fields) => {
                    let sizes = fields.iter().map(|(name, value)| name.len() + size(value));
                    bytes += sizes.sum::<usize>() as u64 + 128;
                    if bytes > most {
                        return Err(Error::Data(format!(
                            "{file}:{index}: the rows up to here take over {} MB, and the file is {} times smaller or \
                             more; set data.train_limit, or write it anew",
                            most >> 20,
                            UNPACKED.0
                        )));
                    }
                    let fields = answer_as_text(renaming.apply(fields));
                    rows.push(Row { file: file.clone(), stem: stem.clone(), line: index, fields });
                }
                Err(what) => problems.line(&file, index, what),
            }
        }
    }
    Ok(rows)
}

fn answer_as_text(mut fields: Map<String, Value>) -> Map<String, Value> {
    // A whole number keeps its kind: beside choices it may count them.
    if let Some(value @ Value::Number(_)) = fields.get_mut("answer")
        && !value.is_u64()
    {
        *value = Value::String(value.to_string());
    }
    fields
}

/// The columns; bytes that are not text are left out where nothing reads them.
fn fields(record: &Record, known: &dyn Fn(&str) -> bool) -> std::result::Result<Map<String, Value>, String> {
    let mut fields = Map::new();
    for (name, field) in record.get_column_iter() {
        match value(name, field) {
            Ok(value) => drop(fields.insert(name.clone(), value)),
            // Said to be there, for who refuses it.
            Err(_) if UNSEEN.contains(&name.as_str()) => drop(fields.insert(name.clone(), "bytes".into())),
            Err(what) if known(name) => return Err(what),
            Err(_) => {}
        }
    }
    Ok(fields)
}

fn value(name: &str, field: &Field) -> std::result::Result<Value, String> {
    Ok(match field {
        Field::Null => Value::Null,
        Field::Bool(x) => Value::from(*x),
        Field::Byte(x) => Value::from(*x),
        Field::Short(x) => Value::from(*x),
        Field::Int(x) => Value::from(*x),
        Field::Long(x) => Value::from(*x),
        Field::UByte(x) => Value::from(*x),
        Field::UShort(x) => Value::from(*x),
        Field::UInt(x) => Value::from(*x),
        Field::ULong(x) => Value::from(*x),
        Field::Float16(x) => Value::from(x.to_f64()),
        Field::Float(x) => Value::from(f64::from(*x)),
        Field::Double(x) => Value::from(*x),
        Field::Str(x) => Value::from(x.as_str()),
        Field::Bytes(x) => Value::from(std::str::from_utf8(x.data()).map_err(|_| {
            format!("`{name}` holds bytes that are not text; leave the column out or write it as a string")
        })?),
        Field::Group(record) => {
            let mut fields = Map::new();
            for (name, field) in record.get_column_iter() {
                fields.insert(name.clone(), value(name, field)?);
            }
            Value::Object(fields)
        }
        Field::ListInternal(list) => Value::Array(
            list.elements().iter().map(|x| value(name, x)).collect::<std::result::Result<_, _>>()?,
        ),
        Field::MapInternal(map) => Value::Object(
            map.entries()
                .iter()
                .map(|(key, x)| Ok((key.to_string().trim_matches('"').to_string(), value(name, x)?)))
                .collect::<std::result::Result<_, String>>()?,
        ),
        // Dates, times and decimals: as they print.
        other => Value::from(other.to_string()),
    })
}
