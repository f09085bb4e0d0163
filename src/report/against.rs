//! A run's recipe against its defaults.

use crate::checkpoint::recipes;
use crate::recipe::Recipe;
use crate::recipe::flat::{Keys, keys};
use crate::section::{Key, toml as toml_of};
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::Path;

/// The newest resolved recipe of a run, as far as it can be read.
pub(super) struct Resolved {
    text: String,
    pub recipe: Option<Recipe>,
}

/// A recipe and what of it is not as it would be by itself.
#[derive(Debug, Serialize)]
pub(super) struct Against {
    /// As it was resolved.
    text: String,
    rows: Vec<Row>,
}

/// A key.
#[derive(Debug, PartialEq, Serialize)]
struct Row {
    /// Empty for what holds for the whole run.
    stage: String,
    key: String,
    value: String,
    /// None where there is no such value.
    default: Option<String>,
    meaning: String,
    /// Whether it is another than the default.
    changed: bool,
}

impl Resolved {
    /// That of the run in `folder`.
    pub fn read(folder: &Path) -> Self {
        let file = recipes(folder).0;
        let text = file.as_ref().and_then(|file| std::fs::read_to_string(file).ok()).unwrap_or_default();
        let recipe = file.and_then(|file| Recipe::read(&file, &[]).ok());
        Self {
            text: text
                .lines()
                .filter(|line| !line.starts_with('#'))
                .fold(String::new(), |all, line| all + line + "\n"),
            recipe,
        }
    }

    /// By stage, over how many steps falling log-probabilities are an alarm ([`Falling`](crate::loops::dpo::alarm::Falling)).
    pub fn falling_windows(&self) -> BTreeMap<String, usize> {
        let of = |((stage, key), value): ((String, String), toml::Value)| {
            let window = value.as_integer().filter(|_| key == "loop.dpo.alarm_after")?;
            Some((stage, usize::try_from(window).ok()?))
        };
        self.values().into_iter().filter_map(of).collect()
    }

    fn values(&self) -> Keys {
        let only = self.recipe.as_ref().and_then(|recipe| Some(recipe.stages().first()?.name.clone()));
        let table: toml::Table = toml::from_str(&self.text).unwrap_or_default();
        keys(&table, only.as_deref().unwrap_or(""))
    }

    /// All its keys beside their defaults.
    pub fn against(&self, known: &[Key]) -> Against {
        let known: BTreeMap<&str, &Key> = known.iter().map(|key| (key.path.as_str(), key)).collect();
        let values = self.values();
        let kind = |stage: &str, name: &str| {
            let at = (stage.to_string(), format!("reward.{name}.kind"));
            values.get(&at).and_then(toml::Value::as_str).unwrap_or(name).to_string()
        };
        let row = |((stage, key), value): (&(String, String), &toml::Value)| {
            // A reward's keys are those of its kind, whatever it is called.
            let path = match key.strip_prefix("reward.").and_then(|rest| rest.split_once('.')) {
                Some((name, rest)) => format!("reward.{}.{rest}", kind(stage, name)),
                None => key.clone(),
            };
            let known = known.get(path.as_str());
            let value = serde_json::to_value(value).map_or(String::new(), |value| toml_of(&value));
            let default = known.and_then(|key| key.default.clone()).filter(|default| default != "null");
            let meaning = known.map_or(String::new(), |key| key.meaning.clone());
            let changed = default.as_ref() != Some(&value);
            Row { stage: stage.clone(), key: key.clone(), value, default, meaning, changed }
        };
        Against { rows: values.iter().map(row).collect(), text: self.text.clone() }
    }
}
