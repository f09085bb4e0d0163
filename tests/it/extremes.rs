//! Every key of every recipe, with values that nobody should give it: taken, or refused by its name.

use rationale::Registry;
use rationale::recipe::{Recipe, Stage, flat, without_effect};
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use toml::{Table, Value};

/// What is tried of every key, as TOML.
pub const VALUES: [&str; 19] = [
    "-1",
    "0",
    "1",
    "9223372036854775807",
    "-9223372036854775808",
    "nan",
    "inf",
    "-inf",
    "0.0",
    "-0.5",
    "1e-300",
    "1e300",
    "true",
    "\"\"",
    "\"\\u0000\\u001b[2J\"",
    "[]",
    "[0, \"a\"]",
    "{}",
    "1979-05-27",
];

/// A key of a recipe, by its path with its stage's name, as `--set` takes it.
pub struct Written {
    pub path: String,
    /// The value that it has.
    pub value: Value,
}

/// Every key of a recipe as it is resolved, with its value.
pub fn written(registry: &Registry, file: &str, text: &str) -> Vec<Written> {
    let recipe = Recipe::parse(file, text, &[]).unwrap();
    let stages = Stage::read_all(&recipe, registry).unwrap();
    let sections: Vec<Table> = stages.iter().map(|stage| stage.resolved(registry).unwrap()).collect();
    let resolved = recipe.resolved_with_all_keys(&sections, registry).unwrap();
    let resolved: Table = toml::from_str(&resolved).unwrap();
    let listed = resolved.contains_key("stage");
    let keys = flat::keys(&resolved, &recipe.stages()[0].name).into_iter();
    keys.filter(|((_, path), _)| path != flat::METHOD)
        .map(|((stage, path), value)| {
            let own = listed && !stage.is_empty();
            Written { path: if own { format!("stage.{stage}.{path}") } else { path }, value }
        })
        .collect()
}

/// What is said of a recipe over which this is set; nothing where it is taken.
pub fn refusal(registry: &Registry, file: &str, text: &str, set: &str) -> Option<String> {
    let read = || {
        let recipe = Recipe::parse(file, text, &[set.to_owned()])?;
        let stages = Stage::read_all(&recipe, registry)?;
        without_effect(&recipe, &stages, registry);
        recipe.plan();
        let sections =
            stages.iter().map(|stage| stage.resolved(registry)).collect::<rationale::Result<Vec<_>>>()?;
        recipe.resolved_with_all_keys(&sections, registry).map(drop)
    };
    match catch_unwind(AssertUnwindSafe(read)) {
        Ok(Ok(())) => None,
        Ok(Err(error)) => Some(format!("{}: {error}", error.exit_code())),
        Err(_) => Some("a panic".to_owned()),
    }
}

fn shipped() -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("recipes");
    let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let mut recipes: Vec<_> =
        files.filter(|path| path.extension().is_some_and(|end| end == "toml")).collect();
    recipes.sort();
    let read = |path: std::path::PathBuf| {
        (path.file_name().unwrap().to_string_lossy().into_owned(), std::fs::read_to_string(path).unwrap())
    };
    recipes.into_iter().map(read).collect()
}

/// Whether a value of the other's type can be no value of the key's.
fn is_of_another_type(value: &Value, tried: &Value) -> bool {
    match value {
        Value::Boolean(_) => !tried.is_bool(),
        Value::Integer(_) | Value::Float(_) => tried.is_bool() || tried.is_array() || tried.is_datetime(),
        Value::String(_) => tried.is_bool() || tried.is_datetime(),
        Value::Array(_) => tried.is_bool() || tried.is_datetime(),
        _ => false,
    }
}

#[test]
fn every_key_takes_or_refuses_every_value_by_its_name() {
    let registry = Registry::default();
    let (mut wrong, mut seen, mut tried, mut taken) = (Vec::new(), BTreeSet::new(), 0, Vec::new());
    for (file, text) in shipped() {
        for Written { path, value } in written(&registry, &file, &text) {
            // A key means the same in every recipe, whatever its stage or reward is called.
            let bare = path
                .strip_prefix("stage.")
                .and_then(|path| path.split_once('.'))
                .map_or(&path[..], |(_, path)| path);
            if !seen.insert((bare.to_owned(), value.type_str())) {
                continue;
            }
            for given in VALUES {
                tried += 1;
                let set = format!("{path}={given}");
                let now: Table = toml::from_str(&format!("value = {given}")).unwrap();
                let said = refusal(&registry, &file, &text, &set);
                let name = bare.rsplit('.').next().unwrap();
                match &said {
                    None if is_of_another_type(&value, &now["value"]) => {
                        wrong.push(format!("{file} --set {set}: taken, where {value} is meant"));
                    }
                    None => taken.push(format!("{file} {set}")),
                    Some(said) if !said.starts_with("2: recipe: ") || !said.contains(name) => {
                        wrong.push(format!("{file} --set {set}: {said}"));
                    }
                    Some(_) => {}
                }
            }
        }
    }
    if let Ok(file) = std::env::var("RATIONALE_TAKEN") {
        std::fs::write(file, taken.join("\n")).unwrap();
    }
    println!("{} keys, {tried} values, {} taken", seen.len(), taken.len());
    assert!(seen.len() > 300, "only {} keys are seen", seen.len());
    assert!(wrong.is_empty(), "{} are wrong:\n{}", wrong.len(), wrong.join("\n"));
}
