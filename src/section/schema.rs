//! The JSON Schema of a section, of its type's fields, their doc comments and defaults: what a recipe's editor, its messages
//! and `train keys` go by.

use schemars::JsonSchema;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};

/// The schema of `T` (draft 7, which editors read), with nothing referred to.
pub fn schema<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::draft07().with(|settings| settings.inline_subschemas = true);
    let mut schema = settings.into_generator().into_root_schema_for::<T>().to_value();
    tidy(&mut schema);
    if let Value::Object(schema) = &mut schema {
        schema.remove("$schema");
        schema.remove("title");
    }
    schema
}

/// Takes out what TOML cannot say (null), what tells an editor nothing (formats of numbers, defaults of whole tables) and what
/// rustdoc alone reads.
fn tidy(schema: &mut Value) {
    match schema {
        Value::Array(list) => list.iter_mut().for_each(tidy),
        Value::Object(object) => {
            if object.get("default").is_some_and(|default| default.is_null() || default.is_object()) {
                object.remove("default");
            }
            let number = object.get("type").is_some_and(|of| names(of, "integer") || names(of, "number"));
            if number {
                object.remove("format");
            }
            without_null(object);
            if let Some(Value::String(text)) = object.get_mut("description") {
                *text = plain(text);
            }
            // A default is a value, in which nothing is a schema.
            object.iter_mut().filter(|(key, _)| *key != "default").for_each(|(_, inner)| tidy(inner));
        }
        _ => {}
    }
}

fn names(of: &Value, kind: &str) -> bool {
    of == kind || of.as_array().is_some_and(|all| all.iter().any(|one| one == kind))
}

fn without_null(object: &mut Map<String, Value>) {
    if let Some(Value::Array(all)) = object.get_mut("type") {
        all.retain(|kind| kind != "null");
        if let [only] = &all[..] {
            let only = only.clone();
            object.insert("type".into(), only);
        }
    }
    if let Some(Value::Array(words)) = object.get_mut("enum") {
        words.retain(|word| !word.is_null());
    }
    let is_null = |one: &Value| one.get("type").is_some_and(|kind| kind == "null");
    let Some(Value::Array(all)) = object.get_mut("anyOf") else { return };
    all.retain(|one| !is_null(one));
    if let [Value::Object(only)] = &all[..] {
        let only = only.clone();
        object.remove("anyOf");
        for (key, value) in only {
            // What the field says of itself goes before what its type says.
            object.entry(key).or_insert(value);
        }
    }
}

/// A doc comment as one paragraph, links shown by their text alone.
fn plain(text: &str) -> String {
    let text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    let (mut rest, mut out) = (text.as_str(), String::new());
    while let Some(open) = rest.find('[') {
        let (before, from) = rest.split_at(open);
        out += before;
        let link = from.find(']').map(|close| (&from[1..close], &from[close + 1..]));
        match link {
            Some((shown, after)) if after.starts_with('(') => {
                let end = after.find(')').map_or(after.len(), |end| end + 1);
                out += shown;
                rest = &after[end..];
            }
            // A link to another item of the code.
            Some((shown, after)) if shown.starts_with('`') && shown.ends_with('`') => {
                out += shown;
                rest = after;
            }
            _ => {
                out.push('[');
                rest = &from[1..];
            }
        }
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::{Deserialize, Serialize};
    use serde_json::json;

    /// A shape.
    #[derive(Serialize, Deserialize, JsonSchema)]
    #[serde(default, deny_unknown_fields)]
    struct Shape {
        /// In metres:
        /// see [`Unit`].
        side: f64,
        /// Its name.
        name: Option<String>,
        /// What it is painted with.
        paint: Option<Paint>,
    }

    #[derive(Serialize, Deserialize, JsonSchema)]
    #[serde(rename_all = "snake_case")]
    enum Paint {
        /// A colour.
        Red,
        /// Another.
        DeepBlue,
    }

    impl Default for Shape {
        fn default() -> Self {
            Self { side: 2.0, name: None, paint: None }
        }
    }

    #[test]
    fn a_schema_has_texts_defaults_and_no_null() {
        let words = json!([
            { "description": "A colour.", "type": "string", "const": "red" },
            { "description": "Another.", "type": "string", "const": "deep_blue" },
        ]);
        let expected = json!({
            "description": "A shape.",
            "type": "object",
            "properties": {
                "side": { "description": "In metres: see `Unit`.", "type": "number", "default": 2.0 },
                "name": { "description": "Its name.", "type": "string" },
                "paint": { "description": "What it is painted with.", "oneOf": words },
            },
            "additionalProperties": false,
        });
        assert_eq!(schema::<Shape>(), expected);
    }

    #[test]
    fn links_are_shown_by_their_text() {
        assert_eq!(plain("one of [`KINDS`](super::KINDS), [0, 1]"), "one of `KINDS`, [0, 1]");
        assert_eq!(plain("see [`Kl`] and `[loop]`"), "see `Kl` and `[loop]`");
    }
}
