//! The keys that a schema describes, one by one.

use super::join;
use serde_json::{Map, Value};

/// A key of a recipe: what may stand there, and what it means.
#[derive(Debug, Clone, PartialEq)]
pub struct Key {
    /// Its dotted path; `[]` after a name stands for each of a list of tables.
    pub path: String,
    /// What its value is, in words.
    pub of: String,
    /// The value that it has where it is not written, as TOML; none where there is no such value.
    pub default: Option<String>,
    /// The least and the most that a number may be.
    pub range: (Option<f64>, Option<f64>),
    /// Whether it must be written wherever its table is.
    pub required: bool,
    /// What it means.
    pub meaning: String,
    /// The words that it takes, each with its meaning.
    pub words: Vec<(String, String)>,
    /// Whether it is a table, which has keys of its own.
    pub is_table: bool,
}

impl Key {
    /// `0 to 1e9`, `0 or more`, `at most 5`; none without bounds.
    pub fn range_in_words(&self) -> Option<String> {
        match self.range {
            (None, None) => None,
            (Some(least), None) => Some(format!("{} or more", number(least))),
            (None, Some(most)) => Some(format!("at most {}", number(most))),
            (Some(least), Some(most)) => Some(format!("{} to {}", number(least), number(most))),
        }
    }
}

/// All keys of a table's schema, tables before what is in them, in the order of the type's fields.
pub fn keys(schema: &Value) -> Vec<Key> {
    let mut found = Vec::new();
    inside(schema, "", &mut found);
    found
}

fn inside(schema: &Value, path: &str, found: &mut Vec<Key>) {
    let required =
        |name: &str| schema["required"].as_array().is_some_and(|all| all.iter().any(|one| one == name));
    for (name, property) in properties(schema) {
        let path = join(path, name);
        let mut key = Key { required: required(name), ..key(&path, property) };
        // Of a word that takes a value, the word says what it means.
        if key.meaning.is_empty() {
            let holds = |one: &&Value| properties(one).iter().any(|(held, _)| *held == name);
            key.meaning = alternatives(schema).find(holds).map_or(String::new(), |one| text(one).to_owned());
        }
        found.push(key);
        let schema = property;
        inside(schema, &path, found);
        if let Some(items) = schema.get("items").filter(|items| is_table(items)) {
            inside(items, &format!("{path}[]"), found);
        }
    }
}

fn key(path: &str, schema: &Value) -> Key {
    let bound = |name: &str| schema.get(name).and_then(Value::as_f64);
    Key {
        path: path.to_owned(),
        of: of(schema),
        default: schema.get("default").map(toml),
        range: (bound("minimum"), bound("maximum")),
        required: false,
        meaning: text(schema).to_owned(),
        words: words(schema),
        is_table: is_table(schema),
    }
}

/// The properties of a table, those of its alternatives too.
fn properties(schema: &Value) -> Vec<(&String, &Value)> {
    let own = schema.get("properties").and_then(Value::as_object).into_iter().flatten();
    own.chain(alternatives(schema).flat_map(properties)).collect()
}

fn alternatives(schema: &Value) -> impl Iterator<Item = &Value> {
    ["oneOf", "anyOf", "allOf"].into_iter().filter_map(|of| schema.get(of)?.as_array()).flatten()
}

fn is_table(schema: &Value) -> bool {
    !properties(schema).is_empty() || schema.get("type").is_some_and(|of| of == "object")
}

fn text(schema: &Value) -> &str {
    schema.get("description").and_then(Value::as_str).unwrap_or_default()
}

/// The words that a value may be; the meaning is empty where none is given.
fn words(schema: &Value) -> Vec<(String, String)> {
    let word = |word: &Value, of: &Value| Some((word.as_str()?.to_owned(), text(of).to_owned()));
    let of = |schema: &Value| -> Vec<(String, String)> {
        let listed = schema.get("enum").and_then(Value::as_array);
        match listed.map(Vec::as_slice) {
            Some([one]) => word(one, schema).into_iter().collect(),
            Some(all) => all.iter().filter_map(|one| word(one, &Value::Null)).collect(),
            None => schema.get("const").and_then(|one| word(one, schema)).into_iter().collect(),
        }
    };
    of(schema).into_iter().chain(alternatives(schema).flat_map(words)).collect()
}

/// What a value is, in words.
fn of(schema: &Value) -> String {
    let mut all: Vec<String> = Vec::new();
    let mut add = |one: String| {
        if !one.is_empty() && !all.contains(&one) {
            all.push(one);
        }
    };
    if !words(schema).is_empty() {
        add("one of the words below".into());
    } else if let Some(kinds) = schema.get("type") {
        let kinds = kinds.as_array().map_or(std::slice::from_ref(kinds), Vec::as_slice);
        kinds.iter().filter_map(Value::as_str).for_each(|kind| add(simple(kind, schema)));
    }
    alternatives(schema).filter(|one| words(one).is_empty()).for_each(|one| add(self::of(one)));
    if all.is_empty() { "any value".to_owned() } else { all.join(" or ") }
}

fn simple(kind: &str, schema: &Value) -> String {
    match kind {
        "boolean" => "true or false".to_owned(),
        "integer" => "whole number".to_owned(),
        "number" => "number".to_owned(),
        "string" => "text".to_owned(),
        "array" => match schema.get("items") {
            Some(Value::Array(all)) => format!("list of {}", all.len()),
            Some(items) if is_table(items) => "list of tables".to_owned(),
            Some(items) => format!("list of: {}", of(items)),
            None => "list".to_owned(),
        },
        "object" => match schema.get("additionalProperties") {
            Some(values @ Value::Object(_)) => format!("table of names, each with: {}", of(values)),
            _ => "table".to_owned(),
        },
        other => other.to_owned(),
    }
}

/// A value as a recipe would write it.
pub fn toml(value: &Value) -> String {
    let inside = |object: &Map<String, Value>| {
        let of = |(key, value): (&String, &Value)| format!("{key} = {}", toml(value));
        object.iter().filter(|(_, value)| !value.is_null()).map(of).collect::<Vec<_>>().join(", ")
    };
    match value {
        // On one line: TOML escapes as JSON does.
        Value::String(text) => Value::String(text.clone()).to_string(),
        Value::Array(list) => format!("[{}]", list.iter().map(toml).collect::<Vec<_>>().join(", ")),
        Value::Object(object) if object.is_empty() => "{}".to_owned(),
        Value::Object(object) => format!("{{ {} }}", inside(object)),
        Value::Number(float) if float.is_f64() => number(float.as_f64().unwrap_or_default()),
        other => other.to_string(),
    }
}

/// A number as a recipe would write it: `1e-6`, `0.5`, `1e9`.
fn number(number: f64) -> String {
    let size = number.abs();
    if size >= 1e6 || (size > 0.0 && size < 1e-3) { format!("{number:e}") } else { format!("{number}") }
}

#[cfg(test)]
mod tests {
    use super::super::schema;
    use super::*;
    use schemars::JsonSchema;
    use serde::{Deserialize, Serialize};
    use std::collections::BTreeMap;
    use std::num::NonZeroU32;

    #[derive(Serialize, Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    struct Stage {
        r#loop: Loop,
        reward: BTreeMap<String, u8>,
        size: Option<NonZeroU32>,
        kind: Kind,
        level: Vec<Grpo>,
        form: Form,
    }

    #[derive(Serialize, Deserialize, JsonSchema)]
    #[serde(rename_all = "snake_case")]
    enum Loop {
        Sft { epochs: u32 },
        Grpo(Grpo),
    }

    #[derive(Serialize, Deserialize, JsonSchema)]
    #[serde(default, deny_unknown_fields)]
    #[derive(Default)]
    struct Grpo {
        loss: Option<Loss>,
        pair: Option<(u8, u8)>,
        clip: f64,
    }

    #[derive(Serialize, Deserialize, JsonSchema)]
    enum Loss {
        #[serde(rename = "dpo")]
        Dpo { beta: f64 },
        #[serde(rename = "ipo")]
        Ipo { tau: f64 },
    }

    #[derive(Serialize, Deserialize, JsonSchema)]
    enum Kind {
        /// Nothing else.
        Plain,
    }

    #[derive(Serialize, Deserialize, JsonSchema)]
    #[serde(rename_all = "snake_case")]
    enum Form {
        Plain,
        Bent(f64),
    }

    fn found() -> Vec<Key> {
        keys(&schema::<Stage>())
    }

    #[test]
    fn keys_of_every_alternative_are_found() {
        let expected = "loop loop.sft loop.sft.epochs loop.grpo loop.grpo.loss loop.grpo.loss.dpo loop.grpo.loss.dpo.beta \
                        loop.grpo.loss.ipo loop.grpo.loss.ipo.tau loop.grpo.pair loop.grpo.clip reward size kind level \
                        level[].loss level[].loss.dpo level[].loss.dpo.beta level[].loss.ipo level[].loss.ipo.tau \
                        level[].pair level[].clip form form.bent";
        let paths: Vec<String> = found().into_iter().map(|key| key.path).collect();
        assert_eq!(paths, expected.split_whitespace().collect::<Vec<_>>());
    }

    #[test]
    fn each_says_what_may_stand_there() {
        let found = found();
        let of = |path: &str| found.iter().find(|key| key.path == path).unwrap();
        assert_eq!(of("loop.grpo.clip").default.as_deref(), Some("0"));
        assert_eq!((of("loop.grpo.clip").of.as_str(), of("loop.grpo").is_table), ("number", true));
        assert_eq!(of("size").range_in_words().as_deref(), Some("1 or more"));
        assert!(of("reward").required && !of("size").required);
        assert_eq!(of("reward").of, "table of names, each with: whole number");
        assert_eq!(of("kind").words, [("Plain".to_owned(), "Nothing else.".to_owned())]);
        assert_eq!(of("loop.grpo.pair").of, "list of 2");
        assert_eq!((of("form").of.as_str(), of("form").words.len()), ("one of the words below or table", 1));
    }

    #[test]
    fn values_are_written_as_a_recipe_would() {
        let shown = |text: &str| toml(&serde_json::from_str(text).unwrap());
        assert_eq!(shown("[0.9, 1e-8, 5, \"a\\nb\"]"), "[0.9, 1e-8, 5, \"a\\nb\"]");
        assert_eq!(shown(r#"{"a": true, "b": null}"#), "{ a = true }");
    }
}
