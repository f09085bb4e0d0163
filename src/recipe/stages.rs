//! Stages: the `[[stage]]` tables of a recipe, each merged over its top-level sections.

use super::rules::{Choice, Rules};
use super::source::Source;
use crate::nearest::{did_you_mean, list, nearest, or_semicolon};
use crate::section::join;
use crate::{Error, Result};
use toml::{Table, Value};

/// One stage's own recipe: every section that holds for it.
#[derive(Debug, Clone, PartialEq)]
pub struct StageTable {
    /// Place in the list, from 0.
    pub index: usize,
    /// The name, by which `"@name"` and `--set stage.NAME.…` call it.
    pub name: String,
    /// Its sections: the top level's, the stage's own over them, `--set` over both. `name` is not in it.
    pub table: Table,
}

/// One execution of a stage.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedStage {
    /// The pass over the list of stages, from 1 to `run.rounds`.
    pub round: usize,
    /// The stage as it runs in this round.
    pub stage: StageTable,
}

/// The top-level sections, and one merged table a stage. A recipe without `[[stage]]` is one stage, named after
/// its loop.
pub fn split(source: &Source, rules: &Rules) -> Result<(Table, Vec<StageTable>)> {
    let mut base = source.table().clone();
    let own = take_stages(source, &mut base)?;
    check_choices(source, &base, &[], rules)?;
    let mut stages = Vec::new();
    for (index, table) in own.iter().enumerate() {
        stages.push(one(source, &base, index, table, &stages, rules)?);
    }
    if stages.is_empty() {
        stages.push(StageTable { index: 0, name: implicit_name(&base), table: base.clone() });
    }
    Ok((base, stages))
}

/// The name of a recipe's only stage: its loop's, or `main`.
pub fn implicit_name(table: &Table) -> String {
    let chosen = table.get("loop").and_then(Value::as_table).and_then(|section| section.keys().next());
    chosen.cloned().unwrap_or_else(|| "main".to_owned())
}

/// Merges `over` into `base`, found at `path` of the recipe: tables key by key, other values replace, an
/// alternative replaces its rivals, and `false` removes an inherited table from a removable section.
pub fn merge(base: &mut Table, over: &Table, path: &str, rules: &Rules) {
    for choice in rules.choices.iter().filter(|choice| choice.section == path) {
        if let Some(chosen) = choice.named(over).first() {
            base.retain(|key, _| key == *chosen || !choice.has(key));
        }
    }
    for (key, value) in over {
        match (base.get_mut(key), value) {
            (Some(Value::Table(below)), Value::Table(above)) => merge(below, above, &join(path, key), rules),
            (_, Value::Boolean(false)) if rules.removable.contains(&path) => drop(base.remove(key)),
            _ => drop(base.insert(key.clone(), value.clone())),
        }
    }
}

/// The value at a path of keys.
pub fn at<'a, K: AsRef<str>>(table: &'a Table, path: &[K]) -> Option<&'a Value> {
    let (last, sections) = path.split_last()?;
    sections.iter().try_fold(table, |table, key| table.get(key.as_ref())?.as_table())?.get(last.as_ref())
}

/// The table at a dotted path; the empty path is the table itself.
pub fn section<'a>(table: &'a Table, path: &str) -> Option<&'a Table> {
    if path.is_empty() {
        return Some(table);
    }
    at(table, &path.split('.').collect::<Vec<_>>())?.as_table()
}

fn fail<T>(message: String) -> Result<T> {
    Err(Error::Recipe(message))
}

fn take_stages(source: &Source, base: &mut Table) -> Result<Vec<Table>> {
    let wrong = || {
        let at = source.at(&["stage"]);
        Error::Recipe(format!("{at}: stages are a list; write `[[stage]]`, with a `name`, for each"))
    };
    match base.remove("stage") {
        None => Ok(Vec::new()),
        Some(Value::Array(list)) if !list.is_empty() => {
            list.into_iter().map(|value| value.as_table().cloned().ok_or_else(wrong)).collect()
        }
        Some(_) => Err(wrong()),
    }
}

fn one(
    source: &Source,
    base: &Table,
    index: usize,
    own: &Table,
    before: &[StageTable],
    rules: &Rules,
) -> Result<StageTable> {
    let number = index.to_string();
    let place = ["stage", &number];
    let mut own = own.clone();
    let name = stage_name(source, &place, own.remove("name"))?;
    if let Some(other) = before.iter().find(|stage| stage.name == name) {
        let first = source.at(&["stage", &other.index.to_string(), "name"]);
        let at = source.at(&["stage", &number, "name"]);
        return fail(format!("{at}: there is a stage `{name}` already ({first}); give each its own name"));
    }
    check_choices(source, &own, &place, rules)?;
    check_run_wide(source, &own, &place, rules)?;
    check_removals(source, base, &own, &place, rules)?;
    let mut table = base.clone();
    merge(&mut table, &own, "", rules);
    Ok(StageTable { index, name, table })
}

fn stage_name(source: &Source, place: &[&str], name: Option<Value>) -> Result<String> {
    let at = source.at(&[place, &["name"]].concat());
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
    match name {
        None => fail(format!("{at}: this stage has no name; add `name = \"…\"` below `[[stage]]`")),
        Some(Value::String(name)) if !name.is_empty() && name.chars().all(allowed) => Ok(name),
        Some(other) => {
            fail(format!("{at}: name = {other}: a stage's name is text made of a-z, 0-9, `_` and `-`"))
        }
    }
}

/// Two alternatives written in the same place contradict each other.
fn check_choices(source: &Source, table: &Table, place: &[&str], rules: &Rules) -> Result<()> {
    for choice in rules.choices {
        let Some(section) = section(table, choice.section) else { continue };
        if let [first, second, ..] = choice.named(section)[..] {
            return both(source, place, choice, section, first, second);
        }
    }
    Ok(())
}

fn both(
    source: &Source,
    place: &[&str],
    choice: &Choice,
    section: &Table,
    first: &str,
    second: &str,
) -> Result<()> {
    let line = |key: &str| {
        let keys: Vec<&str> = place.iter().copied().chain(choice.section.split('.')).chain([key]).collect();
        source.at(&keys)
    };
    let shown = |key: &str| {
        let path = join(choice.section, key);
        if section[key].is_table() { format!("[{path}]") } else { path }
    };
    let (at, other, word) = (line(second), line(first), choice.word);
    fail(format!(
        "{at}: {} and {} ({other}): a stage has exactly one {word}; remove one",
        shown(second),
        shown(first)
    ))
}

fn check_run_wide(source: &Source, own: &Table, place: &[&str], rules: &Rules) -> Result<()> {
    for path in rules.run_wide {
        let keys: Vec<&str> = path.split('.').collect();
        if at(own, &keys).is_some() {
            let line = source.at(&[place, &keys].concat());
            return fail(format!("{line}: {path} holds for the whole run; set it in the top-level [run]"));
        }
    }
    Ok(())
}

fn check_removals(source: &Source, base: &Table, own: &Table, place: &[&str], rules: &Rules) -> Result<()> {
    for path in rules.removable {
        let Some(removals) = section(own, path) else { continue };
        let inherited: Vec<&str> =
            section(base, path).map(|t| t.keys().map(String::as_str).collect()).unwrap_or_default();
        let absent = |key: &str| !inherited.contains(&key);
        if let Some((key, _)) =
            removals.iter().find(|(key, value)| **value == Value::Boolean(false) && absent(key))
        {
            let line = source.at(&[place, &[path, key]].concat());
            return fail(format!(
                "{line}: {path}.{key} = false: {}",
                nothing_to_remove(path, key, &inherited)
            ));
        }
    }
    Ok(())
}

/// The message for a removal of what is not there.
pub fn nothing_to_remove(path: &str, key: &str, inherited: &[&str]) -> String {
    if inherited.is_empty() {
        return format!("there is no [{path}] to take it from; leave this out");
    }
    let near = or_semicolon(did_you_mean(nearest(key, inherited.iter().copied())));
    format!("no such {path} to take away{near} inherited: {}", list(inherited.iter().copied()))
}
