//! A run's recipe against its defaults.

use crate::checkpoint::recipes;
use crate::limited;
use crate::recipe::flat::{Keys, METHOD, keys};
use crate::recipe::{Recipe, Registry, Stage};
use crate::section::{Key, toml as toml_of};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// What recipes can say, and what of a run's recipe is as it would be by itself although no fixed default says so: what follows from
/// other keys, such as the clip of a kind of loss.
#[derive(Debug, Default)]
pub struct Known {
    keys: Vec<Key>,
    /// By stage and key.
    follows: BTreeSet<(String, String)>,
}

impl Known {
    /// That of a resolved recipe, or else without one.
    pub fn of(registry: &Registry, resolved: Option<&Recipe>) -> Self {
        let keys = registry.keys();
        let mut follows = BTreeSet::new();
        let Some(recipe) = resolved else { return Self { keys, follows } };
        let fixed: BTreeMap<&str, &Key> = keys.iter().map(|key| (key.path.as_str(), key)).collect();
        for table in recipe.stages() {
            let Ok(stage) = Stage::read(recipe, table, registry) else { continue };
            for ((name, key), value) in self::keys(&table.table, &table.name) {
                let known = fixed.get(key.as_str()).and_then(|key| key.default.as_deref());
                if !name.is_empty()
                    && key != METHOD
                    && known != Some(written(&value).as_str())
                    && (stage.reads_alike_without(table, &key, registry)
                        || registry.reward_follows(&table.table, &key))
                {
                    follows.insert((name, key));
                }
            }
        }
        Self { keys, follows }
    }

    /// That of the run in `folder`.
    pub fn of_run(folder: &Path, registry: &Registry) -> Self {
        Self::of(registry, Resolved::read(folder).recipe.as_ref())
    }
}

/// A value as a recipe has it.
fn written(value: &toml::Value) -> String {
    serde_json::to_value(value).map_or(String::new(), |value| toml_of(&value))
}

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
        let text = file.as_ref().and_then(|file| limited::notes_text(file).ok()).unwrap_or_default();
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
    pub fn against(&self, known: &Known) -> Against {
        let Known { keys, follows } = known;
        let known: BTreeMap<&str, &Key> = keys.iter().map(|key| (key.path.as_str(), key)).collect();
        let values = self.values();
        let kind = |stage: &str, name: &str| {
            let at = (stage.to_string(), format!("reward.{name}.kind"));
            values.get(&at).and_then(toml::Value::as_str).unwrap_or(name).to_string()
        };
        let row = |(at, value): (&(String, String), &toml::Value)| {
            let (stage, key) = at;
            // A reward's keys are those of its kind, whatever it is called.
            let path = match key.strip_prefix("reward.").and_then(|rest| rest.split_once('.')) {
                Some((name, rest)) => format!("reward.{}.{rest}", kind(stage, name)),
                None => key.clone(),
            };
            let known = known.get(path.as_str());
            let value = written(value);
            let fixed = known.and_then(|key| key.default.clone()).filter(|default| default != "null");
            let default = if follows.contains(at) { Some(value.clone()) } else { fixed };
            let meaning = known.map_or(String::new(), |key| key.meaning.clone());
            let changed = default.as_ref() != Some(&value);
            Row { stage: stage.clone(), key: key.clone(), value, default, meaning, changed }
        };
        Against { rows: values.iter().map(row).collect(), text: self.text.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECIPE: &str = "[data]\ntrain = \"rows.jsonl\"\n[policy]\nmodel = \"m\"\n[reward.answer]\n[loop.grpo]\n[optim]\nlr = 1e-4\n";

    /// By key, whether it is another than by itself, and what that would be.
    fn rows(sets: &[&str]) -> BTreeMap<String, (bool, Option<String>)> {
        let registry = Registry::default();
        let sets: Vec<String> = sets.iter().map(|set| set.to_string()).collect();
        let recipe = Recipe::parse("recipe.toml", RECIPE, &sets).unwrap();
        let stages = Stage::read_all(&recipe, &registry).unwrap();
        let tables: Vec<toml::Table> =
            stages.iter().map(|stage| stage.resolved(&registry).unwrap()).collect();
        let folder = tempfile::tempdir().unwrap();
        let text = recipe.resolved_with_all_keys(&tables, &registry).unwrap();
        std::fs::write(folder.path().join("recipe.toml"), text).unwrap();
        let known = Known::of_run(folder.path(), &registry);
        let against = Resolved::read(folder.path()).against(&known);
        against.rows.into_iter().map(|row| (row.key, (row.changed, row.default))).collect()
    }

    #[test]
    fn what_follows_from_other_keys_is_as_by_default() {
        let plain = rows(&[]);
        for key in ["loop.grpo.loss.clip_low", "loop.grpo.kl.estimator"] {
            let (changed, default) = &plain[key];
            assert!(!changed && default.is_some(), "{key}: {default:?}");
        }
        assert!(plain["data.train"].0 && plain["optim.lr"].0 && plain["loop"].0);
        let set = rows(&["loop.grpo.loss.clip_low=0.1"]);
        assert!(set["loop.grpo.loss.clip_low"].0 && !set["loop.grpo.kl.estimator"].0);
        // So is what follows from a reward's keys.
        let readable = rows(&["reward.readability={formula = \"fog\", hard = 12.0}"]);
        let (changed, default) = &readable["reward.readability.easy"];
        assert!(!changed && default.is_some() && readable["reward.readability.hard"].0, "{default:?}");
        assert!(!readable.contains_key("reward.readability.reach"));
        // The rate that the method would take by itself is its default.
        assert!(!rows(&["optim.lr=1e-6"])["optim.lr"].0);
    }
}
