//! A resolved recipe as values by stage and key, to be held against another.

use std::collections::BTreeMap;
use toml::{Table, Value};

/// The key that the name of a stage's loop stands under here.
pub const METHOD: &str = "loop";

/// Values by stage and key.
pub type Keys = BTreeMap<(String, String), Value>;

/// All keys of a resolved recipe; `only` is the name of its only stage where it lists none.
pub fn keys(recipe: &Table, only: &str) -> Keys {
    let mut keys = Keys::new();
    match recipe.get("stage").and_then(Value::as_array) {
        None => stage(only, recipe, &mut keys),
        Some(stages) => {
            for one in stages.iter().filter_map(Value::as_table) {
                stage(one.get("name").and_then(Value::as_str).unwrap_or(""), one, &mut keys);
            }
            let whole = recipe.iter().filter(|(key, _)| *key != "stage");
            flatten("", "", whole, &mut keys);
        }
    }
    // What holds for the run as a whole is no stage's.
    for key in ["run.seed", "run.rounds", "run.name"] {
        if let Some(value) = keys.remove(&(only.to_string(), key.to_string())) {
            keys.insert((String::new(), key.to_string()), value);
        }
    }
    keys
}

fn stage(name: &str, table: &Table, keys: &mut Keys) {
    flatten(name, "", table.iter().filter(|(key, _)| *key != "name"), keys);
    let methods = table.get(METHOD).and_then(Value::as_table).into_iter().flat_map(Table::keys);
    let methods = methods.cloned().collect::<Vec<_>>().join(", ");
    keys.insert((name.to_string(), METHOD.to_string()), Value::String(methods));
}

fn flatten<'a>(
    stage: &str,
    path: &str,
    table: impl IntoIterator<Item = (&'a String, &'a Value)>,
    keys: &mut Keys,
) {
    for (key, value) in table {
        let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
        match value {
            Value::Table(inside) => flatten(stage, &path, inside, keys),
            value => drop(keys.insert((stage.to_string(), path), value.clone())),
        }
    }
}
