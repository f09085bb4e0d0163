//! `"@name"`: what an earlier stage produced, where a model or data is wanted.

use super::Recipe;
use super::refusal::Refusal;
use super::stages::{StageTable, at, section};
use crate::Result;
use crate::nearest::{did_you_mean, list, nearest, or_semicolon};
use toml::{Table, Value};

/// The references in the `listed` keys of a stage's table: `(path, stage name)`, where the path of an array's
/// element ends in its index, as in `data.train.1`.
pub fn references(table: &Table, listed: &[&str]) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for path in listed.iter().flat_map(|key| places(table, key)) {
        if let Some(value) = at(table, &path.split('.').collect::<Vec<_>>()) {
            collect(value, &path, &mut found);
        }
    }
    found
}

/// The texts under the `listed` keys of a stage's table.
pub fn texts(table: &Table, listed: &[&str]) -> Vec<String> {
    let paths = listed.iter().flat_map(|key| places(table, key));
    let values = paths.filter_map(|path| at(table, &path.split('.').collect::<Vec<_>>()));
    values.filter_map(|value| value.as_str().map(str::to_owned)).collect()
}

/// Replaces every reference in the `listed` keys by what `resolve(path, stage name)` says, such as the folder of a
/// checkpoint.
pub fn substitute(
    table: &mut Table,
    listed: &[&str],
    mut resolve: impl FnMut(&str, &str) -> Result<String>,
) -> Result<()> {
    for path in listed.iter().flat_map(|key| places(table, key)).collect::<Vec<_>>() {
        let mut keys = path.split('.');
        let Some(first) = keys.next().and_then(|key| table.get_mut(key)) else { continue };
        if let Some(value) = keys.try_fold(first, |value, key| value.as_table_mut()?.get_mut(key)) {
            replace(value, &path, &mut resolve)?;
        }
    }
    Ok(())
}

/// The paths that a listed key names in `table`: one, or, where a `*` in it stands for any name, one for each.
fn places(table: &Table, key: &str) -> Vec<String> {
    let Some((above, below)) = key.split_once(".*.") else { return vec![key.to_owned()] };
    let names = section(table, above).into_iter().flat_map(Table::keys);
    names.map(|name| format!("{above}.{name}.{below}")).collect()
}

/// The part of `path` that a listed key names, where the path is that key or lies in it.
pub(super) fn named_by<'a>(key: &str, path: &'a str) -> Option<&'a str> {
    let (mut names, mut end) = (path.split('.'), 0);
    for part in key.split('.') {
        let name = names.next().filter(|name| part == "*" || part == *name)?;
        end += name.len() + 1;
    }
    Some(&path[..end - 1])
}

fn collect(value: &Value, path: &str, found: &mut Vec<(String, String)>) {
    match value {
        Value::String(text) => {
            // `@stage/pairs` is a part of what the stage produced.
            let stage = text.strip_prefix('@').and_then(|name| name.split('/').next());
            found.extend(stage.map(|name| (path.to_owned(), name.to_owned())))
        }
        Value::Array(list) => {
            list.iter().enumerate().for_each(|(i, v)| collect(v, &format!("{path}.{i}"), found))
        }
        Value::Table(table) => table.iter().for_each(|(key, v)| collect(v, &format!("{path}.{key}"), found)),
        _ => {}
    }
}

fn replace(
    value: &mut Value,
    path: &str,
    resolve: &mut dyn FnMut(&str, &str) -> Result<String>,
) -> Result<()> {
    match value {
        Value::String(text) => {
            if let Some(name) = text.strip_prefix('@') {
                *text = resolve(path, name)?;
            }
            Ok(())
        }
        Value::Array(list) => {
            list.iter_mut().enumerate().try_for_each(|(i, v)| replace(v, &format!("{path}.{i}"), resolve))
        }
        Value::Table(table) => {
            table.iter_mut().try_for_each(|(key, v)| replace(v, &format!("{path}.{key}"), resolve))
        }
        _ => Ok(()),
    }
}

impl Recipe {
    /// Every reference names a stage that has run by then: an earlier one, or, where `run.rounds` repeats the list,
    /// a later one of the round before, with a top-level value for the first round.
    pub(super) fn check_references(&self) -> Vec<Refusal> {
        let of_stage = |stage: &StageTable| {
            let found = references(&stage.table, self.rules.references).into_iter();
            found.filter_map(|(path, name)| self.check_reference(stage, &path, &name)).collect::<Vec<_>>()
        };
        self.stages().iter().flat_map(of_stage).collect()
    }

    fn check_reference(&self, stage: &StageTable, path: &str, name: &str) -> Option<Refusal> {
        let fail = |message: String| Some(self.refusal(stage, path, &format!("{path}: {message}")));
        let names = || self.stages().iter().map(|stage| stage.name.as_str());
        let Some(target) = names().position(|known| known == name) else {
            let near = nearest(name, names()).map(|near| format!("@{near}"));
            return fail(format!(
                "no stage `{name}`{} known: {}",
                or_semicolon(did_you_mean(near.as_deref())),
                list(names())
            ));
        };
        if target < stage.index || (self.rounds() > 1 && self.first_value(path).is_some()) {
            return None;
        }
        if self.rounds() > 1 {
            let key = self.listed(path);
            return fail(format!(
                "in round 1 `@{name}` has not run yet; give a top-level {key} for round 1 to start from"
            ));
        }
        let when = if target == stage.index { "is this stage itself" } else { "runs later" };
        fail(format!("`@{name}` {when}; refer to an earlier stage, or repeat the list with run.rounds"))
    }

    /// The listed key that `path` is or lies in.
    fn listed<'a>(&self, path: &'a str) -> &'a str {
        self.rules.references.iter().find_map(|key| named_by(key, path)).unwrap_or(path)
    }

    /// What stands at the top level in the place of `path`: `(section, key, value)`; a rival alternative counts.
    pub(super) fn first_value(&self, path: &str) -> Option<(String, String, Value)> {
        let (section, key) = self.listed(path).rsplit_once('.')?;
        let table = super::stages::section(&self.base, section)?;
        let choice = self.rules.choices.iter().find(|choice| choice.section == section && choice.has(key));
        let key = choice.map_or(key, |choice| choice.named(table).first().copied().unwrap_or(key));
        let value = table.get(key)?;
        let mut inside = Vec::new();
        collect(value, key, &mut inside);
        inside.is_empty().then(|| (section.to_owned(), key.to_owned(), value.clone()))
    }

    /// The stage as it runs in round 1: references to what has not run yet give way to the top level's values.
    pub(super) fn in_first_round(&self, stage: &StageTable) -> StageTable {
        let mut first = stage.clone();
        for path in self.later_references(stage) {
            let Some((section, key, value)) = self.first_value(&path) else { continue };
            let mut over = Table::from_iter([(key, value)]);
            for name in section.split('.').rev() {
                over = Table::from_iter([(name.to_owned(), Value::Table(over))]);
            }
            super::stages::merge(&mut first.table, &over, "", self.rules);
        }
        first
    }

    /// Paths of this stage's references to stages that run later in the list, or to itself.
    pub(super) fn later_references(&self, stage: &StageTable) -> Vec<String> {
        let later =
            |name: &str| self.stages().iter().any(|other| other.name == name && other.index >= stage.index);
        let all = references(&stage.table, self.rules.references);
        all.into_iter().filter(|(_, name)| later(name)).map(|(path, _)| path).collect()
    }
}
