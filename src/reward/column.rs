//! The columns of an example's row, as rewards read them.

use crate::data::{Example, json};
use anyhow::Context;
use serde_json::Value;

/// What stands at `path` of the row: a column, or by dots a place inside one. A column that holds JSON as text is
/// looked into as well.
pub fn value(example: &Example, path: &str) -> anyhow::Result<Value> {
    let (name, inside) = path.split_once('.').unwrap_or((path, ""));
    let column = match example.fields.get(name) {
        Some(column) => column.clone(),
        None if name == "answer" && example.answer.is_some() => Value::from(example.answer.clone()),
        None => {
            let known = example.fields.keys().cloned().collect::<Vec<_>>().join(", ");
            anyhow::bail!("it has no column `{name}`; known: {known}");
        }
    };
    let found = at(&column, inside).map_err(|why| anyhow::anyhow!("in its column `{name}`, {why}"))?;
    found.with_context(|| format!("its column `{name}` has nothing at `{inside}`"))
}

/// The text at `path` of the row.
pub fn text(example: &Example, path: &str) -> anyhow::Result<String> {
    Ok(written(&value(example, path)?))
}

/// What stands at a dotted path inside a value, or inside the JSON that it holds as text.
///
/// # Errors
/// A key that stands twice in an object of that text.
pub fn at(value: &Value, path: &str) -> Result<Option<Value>, String> {
    if path.is_empty() {
        return Ok(Some(value.clone()));
    }
    let parsed = value.as_str().map_or(Ok(None), json::said)?;
    let step = |inside: Value, key: &str| match inside {
        Value::Array(mut items) => {
            let index: usize = key.parse().ok()?;
            (index < items.len()).then(|| items.swap_remove(index))
        }
        Value::Object(mut fields) => fields.swap_remove(key),
        _ => None,
    };
    Ok(path.split('.').try_fold(parsed.unwrap_or_else(|| value.clone()), step))
}

/// A value as text: a text is itself, null is nothing, all else is JSON.
pub fn written(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::group;
    use super::*;
    use serde_json::json;

    #[test]
    fn a_path_leads_into_json_and_into_json_written_as_text() {
        let mut asked = group(Some("7"), &[], &[]);
        let example = std::sync::Arc::get_mut(&mut asked.example).unwrap();
        example.fields.insert("gold".into(), json!(r#"{"action": {"type": "click", "at": [3, 4]}}"#));
        example.fields.insert("n".into(), json!({"a": null}));
        example.fields.insert("twice".into(), json!(r#"{"a": 1, "a": 2}"#));
        let read = |path: &str| text(example, path).map_err(|error| error.to_string());
        assert_eq!(read("gold.action.type").unwrap(), "click");
        assert_eq!(read("gold.action.at.1").unwrap(), "4");
        assert_eq!(read("n.a").unwrap(), "");
        assert_eq!(read("answer").unwrap(), "7");
        assert_eq!(read("gold.action.name").unwrap_err(), "its column `gold` has nothing at `action.name`");
        assert_eq!(read("x").unwrap_err(), "it has no column `x`; known: gold, n, twice");
        assert_eq!(read("twice").unwrap(), r#"{"a": 1, "a": 2}"#);
        assert_eq!(
            read("twice.a").unwrap_err(),
            "in its column `twice`, the key \"a\" stands twice in one object"
        );
    }
}
