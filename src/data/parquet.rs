//! Parquet tables, read row by row without Arrow.

use super::row::{Problems, Row, renamed};
use crate::error::{Error, Result};
use ::parquet::file::reader::{FileReader, SerializedFileReader};
use ::parquet::record::{Field, Row as Record};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

/// At most `limit` rows of `path`; their `line` is the row's number from 1.
pub fn read(
    path: &Path,
    stem: Arc<str>,
    columns: &BTreeMap<String, String>,
    limit: usize,
    problems: &mut Problems,
) -> Result<Vec<Row>> {
    let file: Arc<str> = path.display().to_string().into();
    let broken = |e: ::parquet::errors::ParquetError| {
        Error::Data(format!("{}: not a Parquet file this program can read: {e}", path.display()))
    };
    let reader = SerializedFileReader::new(File::open(path).map_err(Error::io(path))?).map_err(broken)?;
    let mut rows = Vec::new();
    for (index, record) in reader.get_row_iter(None).map_err(broken)?.enumerate().take(limit) {
        let line = index + 1;
        match fields(&record.map_err(broken)?) {
            Ok(fields) => {
                let fields = answer_as_text(renamed(fields, columns));
                rows.push(Row { file: file.clone(), stem: stem.clone(), line, fields });
            }
            Err(what) => problems.line(&file, line, what),
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

fn fields(record: &Record) -> std::result::Result<Map<String, Value>, String> {
    record.get_column_iter().map(|(name, field)| Ok((name.clone(), value(name, field)?))).collect()
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
        Field::Group(record) => Value::Object(fields(record)?),
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
