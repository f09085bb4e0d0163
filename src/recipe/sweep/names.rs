//! What values are called in the names of points.

use toml::Value;

/// Characters of a value in the name of a point.
const VALUE: usize = 24;
/// What a value is called in the name of a point: short, and made of what file names and shells take as it is.
pub(super) fn named(value: &Value) -> String {
    match value {
        Value::Integer(whole) => whole.to_string(),
        Value::Float(number) => number_name(*number),
        Value::Boolean(is) => is.to_string(),
        // Of a path, its last part.
        Value::String(text) => safe(text.trim_end_matches('/').rsplit('/').next().unwrap_or_default()),
        Value::Datetime(date) => safe(&date.to_string()),
        Value::Array(list) => shortened(&list.iter().map(named).collect::<Vec<_>>().join("-"), VALUE),
        Value::Table(table) => {
            let inner = |(key, value): (&String, &Value)| match named(value) {
                name if name.is_empty() => key.clone(),
                name => format!("{key}-{name}"),
            };
            safe(&table.iter().map(inner).collect::<Vec<_>>().join("-"))
        }
    }
}

/// The shorter of `0.05` and `5e-2`.
fn number_name(number: f64) -> String {
    let (plain, power) = (format!("{number}"), format!("{number:e}"));
    if power.len() < plain.len() { power } else { plain }
}

fn safe(text: &str) -> String {
    let allowed = |c: char| if c.is_ascii_alphanumeric() || "._-+".contains(c) { c } else { '-' };
    let name: String = text.trim().chars().map(allowed).collect();
    match name.trim_matches(['-', '.']) {
        "" if text.is_empty() => String::new(),
        "" => hash(text),
        name => shortened(name, VALUE),
    }
}

/// As it is, or its beginning with a checksum of all of it.
pub(super) fn shortened(name: &str, most: usize) -> String {
    match name.char_indices().nth(most) {
        None => name.to_owned(),
        Some(_) => format!("{}-{}", name.chars().take(most - 5).collect::<String>(), hash(name)),
    }
}

pub(super) fn hash(text: &str) -> String {
    format!("{:04x}", crc32fast::hash(text.as_bytes()) & 0xffff)
}
