//! Values as Python writes them: `json.dumps`, `str` and `repr`.

use crate::data::Message;
use crate::data::jinja::bounded;
use minijinja::ErrorKind;
use minijinja::value::{Kwargs, Value, ValueKind};
use serde::Serialize;
use serde_json::ser::{Formatter, PrettyFormatter, Serializer};
use std::fmt::Write as _;
use std::io::{self, Write};

/// `str(value)`.
pub fn string(value: Value) -> Value {
    match value.kind() {
        ValueKind::String => value,
        _ => Value::from(repr(&value)),
    }
}

/// `repr(value)` of texts, numbers, lists and dictionaries; what else there is as it prints.
pub fn repr(value: &Value) -> String {
    let mut out = String::new();
    write_repr(value, &mut out);
    out
}

fn write_repr(value: &Value, out: &mut String) {
    match (value.kind(), value.as_str()) {
        (_, Some(text)) => quoted(text, out),
        (ValueKind::Bool, _) => out.push_str(if value.is_true() { "True" } else { "False" }),
        (ValueKind::None, _) => out.push_str("None"),
        (ValueKind::Seq, _) => {
            out.push('[');
            for (at, item) in value.try_iter().into_iter().flatten().enumerate() {
                out.push_str(if at > 0 { ", " } else { "" });
                write_repr(&item, out);
            }
            out.push(']');
        }
        (ValueKind::Map, _) => {
            out.push('{');
            for (at, key) in value.try_iter().into_iter().flatten().enumerate() {
                out.push_str(if at > 0 { ", " } else { "" });
                write_repr(&key, out);
                out.push_str(": ");
                write_repr(&value.get_item(&key).unwrap_or_default(), out);
            }
            out.push('}');
        }
        _ => out.push_str(&value.to_string()),
    }
}

/// A text in single quotes, in double ones where it has single ones alone.
fn quoted(text: &str, out: &mut String) {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    out.push(quote);
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\\' => out.push_str("\\\\"),
            c if c == quote => out.extend(['\\', c]),
            c if c.is_control() => drop(write!(out, "\\x{:02x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push(quote);
}

/// Python's `json.dumps(value, ensure_ascii=False)`: `", "` and `": "` between things, `indent` as given.
pub fn tojson(value: Value, options: Kwargs) -> std::result::Result<Value, minijinja::Error> {
    let wrong = |e: serde_json::Error| minijinja::Error::new(ErrorKind::BadSerialization, e.to_string());
    let indent: Option<usize> = options.get("indent")?;
    if indent.is_some_and(|width| width > 64) {
        return Err(minijinja::Error::new(ErrorKind::InvalidOperation, "an indent of more than 64"));
    }
    let sorted: Option<bool> = options.get("sort_keys")?;
    let ascii: Option<bool> = options.get("ensure_ascii")?;
    options.assert_all_used()?;
    bounded::indents(&value, indent.unwrap_or(0))?;
    let mut json = serde_json::to_value(&value).map_err(wrong)?;
    if sorted == Some(true) {
        json.sort_all_objects();
    }
    let mut bytes = Vec::new();
    match indent {
        None => json.serialize(&mut Serializer::with_formatter(&mut bytes, PythonFormatter)),
        Some(width) => {
            let spaces = " ".repeat(width);
            let pretty = PrettyFormatter::with_indent(spaces.as_bytes());
            json.serialize(&mut Serializer::with_formatter(&mut bytes, pretty))
        }
    }
    .map_err(wrong)?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    Ok(Value::from_safe_string(if ascii == Some(true) { escaped(&text) } else { text }))
}

/// `ensure_ascii=True`: everything beyond ASCII as UTF-16 escapes.
fn escaped(text: &str) -> String {
    let mut ascii = String::with_capacity(text.len());
    for c in text.chars() {
        match c.is_ascii() {
            true => ascii.push(c),
            false => {
                c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| ascii.push_str(&format!("\\u{unit:04x}")))
            }
        }
    }
    ascii
}

/// The turns with the arguments of their calls as texts of JSON; none where no call has any that are none.
pub fn with_text_arguments(messages: &[Message]) -> Option<Vec<Message>> {
    let mut changed = false;
    let mut messages = messages.to_vec();
    for call in
        messages.iter_mut().filter_map(|turn| turn.more.get_mut("tool_calls")?.as_array_mut()).flatten()
    {
        let function = if call.get("function").is_some() { &mut call["function"] } else { call };
        if let Some(arguments) = function.get_mut("arguments").filter(|arguments| arguments.is_object()) {
            let mut bytes = Vec::new();
            arguments.serialize(&mut Serializer::with_formatter(&mut bytes, PythonFormatter)).ok()?;
            *arguments = String::from_utf8_lossy(&bytes).into_owned().into();
            changed = true;
        }
    }
    changed.then_some(messages)
}

struct PythonFormatter;

impl Formatter for PythonFormatter {
    fn begin_array_value<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { out.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { out.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, out: &mut W) -> io::Result<()> {
        out.write_all(b": ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As CPython 3.11 prints `{'a': [1, 2.5, None, True], "b'c": 'x\ny\x07', 'd': 'both \' and "'}`.
    #[test]
    fn values_print_as_pythons() {
        let value: serde_json::Value =
            serde_json::from_str(r#"{"a": [1, 2.5, null, true], "b'c": "x\ny\u0007", "d": "both ' and \""}"#)
                .unwrap();
        assert_eq!(
            repr(&Value::from_serialize(&value)),
            r#"{'a': [1, 2.5, None, True], "b'c": 'x\ny\x07', 'd': 'both \' and "'}"#
        );
        assert_eq!(string(Value::from("it's")).as_str(), Some("it's"));
    }
}
