//! Stages: the `[[stage]]` tables of a recipe, each merged over its top-level sections.

use super::explain::take;
use super::refusal::Refusal;
use super::rules::{Choice, Rules};
use super::source::Source;
use super::sweep::SWEEP;
use crate::nearest::{did_you_mean, list, nearest, or_semicolon};
use crate::section::join;
use std::collections::HashMap;
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
/// its loop. What cannot stand is taken out and goes to `refused`, so that the rest is read.
pub fn split(source: &Source, rules: &Rules, refused: &mut Vec<Refusal>) -> (Table, Vec<StageTable>) {
    let mut base = source.table().clone();
    let own = take_stages(source, &mut base, refused);
    check_choices(source, &mut base, &[], rules, refused);
    let mut stages: Vec<StageTable> = Vec::new();
    let mut seen = HashMap::new();
    for (index, own) in own {
        let stage = one(source, &base, index, own, &mut seen, (rules, refused));
        stages.push(stage);
    }
    if stages.is_empty() {
        stages.push(StageTable { index: 0, name: implicit_name(&base), table: base.clone() });
    }
    (base, stages)
}

/// The name of a recipe's only stage: its loop's, or `main`.
pub fn implicit_name(table: &Table) -> String {
    let chosen = table.get("loop").and_then(Value::as_table).and_then(|section| section.keys().next());
    chosen.cloned().unwrap_or_else(|| "main".to_owned())
}

/// Merges `over` into `base`, found at `path` of the recipe: tables key by key, other values replace, an
/// alternative replaces its rivals, and `false` takes an inherited table away that can be.
pub fn merge(base: &mut Table, over: &Table, path: &str, rules: &Rules) {
    for choice in rules.choices.iter().filter(|choice| choice.section == path) {
        if let Some(chosen) = choice.named(over).first() {
            base.retain(|key, _| key == *chosen || !choice.has(key));
        }
    }
    for (key, value) in over {
        match (base.get_mut(key), value) {
            (Some(Value::Table(below)), Value::Table(above)) => merge(below, above, &join(path, key), rules),
            (_, Value::Boolean(false)) if rules.takes_away(&join(path, key)) => drop(base.remove(key)),
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

/// Stages of the longest list that is read.
const MOST_STAGES: usize = 300;

fn take_stages(source: &Source, base: &mut Table, refused: &mut Vec<Refusal>) -> Vec<(usize, Table)> {
    let wrong =
        || source.refusal(&["stage"], "stages are a list; write `[[stage]]`, with a `name`, for each");
    let list = match base.remove("stage") {
        None => return Vec::new(),
        Some(Value::Array(list)) if !list.is_empty() => list,
        Some(_) => {
            refused.push(wrong());
            return Vec::new();
        }
    };
    if list.iter().any(|value| !value.is_table()) {
        refused.push(wrong());
    }
    if list.len() > MOST_STAGES {
        let message = format!("{} stages are more than the {MOST_STAGES} that a recipe may have", list.len());
        refused.push(source.refusal(&["stage", "0"], &message));
    }
    let table = |(index, value): (usize, Value)| match value {
        Value::Table(table) => Some((index, table)),
        _ => None,
    };
    // Of more, the first alone is looked at.
    let read = if list.len() > MOST_STAGES { 1 } else { list.len() };
    list.into_iter().take(read).enumerate().filter_map(table).collect()
}

fn one(
    source: &Source,
    base: &Table,
    index: usize,
    mut own: Table,
    seen: &mut HashMap<String, usize>,
    (rules, refused): (&Rules, &mut Vec<Refusal>),
) -> StageTable {
    let number = index.to_string();
    let place = ["stage", &number];
    let name = stage_name(source, &place, own.remove("name"), rules).unwrap_or_else(|refusal| {
        refused.push(refusal);
        format!("stage-{index}")
    });
    match seen.get(&name) {
        Some(other) => {
            let first = source.at(&["stage", &other.to_string(), "name"]);
            let message = format!("there is a stage `{name}` already ({first}); give each its own name");
            refused.push(source.refusal(&["stage", &number, "name"], &message));
        }
        None => drop(seen.insert(name.clone(), index)),
    }
    if own.remove(SWEEP).is_some() {
        let message = format!(
            "[sweep] stands at the top of the file; of this stage alone it is sweep.stage.{name}.optim.lr = […]"
        );
        refused.push(source.refusal(&[&place[..], &[SWEEP]].concat(), &message));
    }
    check_choices(source, &mut own, &place, rules, refused);
    check_run_wide(source, &mut own, &place, rules, refused);
    check_removals(source, base, &mut own, &place, (rules, refused));
    let mut table = base.clone();
    merge(&mut table, &own, "", rules);
    StageTable { index, name, table }
}

/// Characters of the longest name of a stage: files are called after it.
const LONGEST_NAME: usize = 100;

fn stage_name(
    source: &Source,
    place: &[&str],
    name: Option<Value>,
    rules: &Rules,
) -> Result<String, Refusal> {
    let fail = |message: String| Err(source.refusal(&[place, &["name"]].concat(), &message));
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_' || c == '-';
    match name {
        Some(Value::String(name)) if name.chars().count() > LONGEST_NAME => fail(format!(
            "this stage's name has {} characters, and a name has {LONGEST_NAME} at most, since files are called after it; give it a shorter one",
            name.chars().count()
        )),
        None => fail("this stage has no name; add `name = \"…\"` below `[[stage]]`".to_owned()),
        Some(Value::String(name)) if !name.is_empty() && name.chars().all(allowed) => {
            match (rules.taken_ending)(&name) {
                None => Ok(name),
                Some(what) => fail(format!(
                    "name = \"{name}\": the run calls {what} so; give the stage a name that does not end like that"
                )),
            }
        }
        Some(other) => fail(format!("name = {other}: a stage's name is text made of a-z, 0-9, `_` and `-`")),
    }
}

/// Two alternatives written in the same place contradict each other: the first stays.
fn check_choices(
    source: &Source,
    table: &mut Table,
    place: &[&str],
    rules: &Rules,
    refused: &mut Vec<Refusal>,
) {
    for choice in rules.choices {
        let Some(section) = section(table, choice.section) else { continue };
        let named: Vec<String> = choice.named(section).into_iter().map(str::to_owned).collect();
        if let [first, second, ..] = &named[..] {
            refused.push(both(source, place, choice, section, first, second));
        }
        for rival in named.iter().skip(1) {
            take(table, &join(choice.section, rival));
        }
    }
}

fn both(
    source: &Source,
    place: &[&str],
    choice: &Choice,
    section: &Table,
    first: &str,
    second: &str,
) -> Refusal {
    let keys = |key: &str| -> Vec<String> {
        let all = place.iter().copied().chain(choice.section.split('.')).chain([key]);
        all.map(str::to_owned).collect()
    };
    let shown = |key: &str| {
        let path = join(choice.section, key);
        if section[key].is_table() { format!("[{path}]") } else { path }
    };
    let (at, other) = (keys(second), keys(first));
    let other = source.at(&other.iter().map(String::as_str).collect::<Vec<_>>());
    let (shown, first, word) = (shown(second), shown(first), choice.word);
    let message = format!("{shown} and {first} ({other}): a stage has exactly one {word}; remove one");
    source.refusal(&at.iter().map(String::as_str).collect::<Vec<_>>(), &message)
}

fn check_run_wide(
    source: &Source,
    own: &mut Table,
    place: &[&str],
    rules: &Rules,
    refused: &mut Vec<Refusal>,
) {
    for path in rules.run_wide {
        let keys: Vec<&str> = path.split('.').collect();
        if at(own, &keys).is_some() {
            let message = format!("{path} holds for the whole run; set it in the top-level [{}]", keys[0]);
            refused.push(source.refusal(&[place, &keys].concat(), &message));
            take(own, path);
        }
    }
}

fn check_removals(
    source: &Source,
    base: &Table,
    own: &mut Table,
    place: &[&str],
    (rules, refused): (&Rules, &mut Vec<Refusal>),
) {
    for listed in rules.removable {
        let (path, name) = listed.rsplit_once('.').unwrap_or(("", listed));
        let Some(removals) = section(own, path) else { continue };
        let inherited: Vec<&str> =
            section(base, path).map(|t| t.keys().map(String::as_str).collect()).unwrap_or_default();
        let absent = |(key, value): &(&String, &Value)| {
            (name == "*" || name == key.as_str())
                && **value == Value::Boolean(false)
                && !inherited.contains(&key.as_str())
        };
        let absent: Vec<String> = removals.iter().filter(absent).map(|(key, _)| key.clone()).collect();
        for key in absent {
            let whole = join(path, &key);
            let message = format!("{whole} = false: {}", nothing_to_remove(path, &key, &inherited, rules));
            let keys: Vec<&str> = whole.split('.').collect();
            refused.push(source.refusal(&[place, &keys].concat(), &message));
            take(own, &whole);
        }
    }
}

/// The message for a removal of what is not there.
pub fn nothing_to_remove(path: &str, key: &str, inherited: &[&str], rules: &Rules) -> String {
    if !rules.removable.contains(&join(path, "*").as_str()) {
        return format!("there is no [{}] to take away; leave this out", join(path, key));
    }
    if inherited.is_empty() {
        return format!("there is no [{path}] to take it from; leave this out");
    }
    let near = or_semicolon(did_you_mean(nearest(key, inherited.iter().copied())));
    format!("no such {path} to take away{near} inherited: {}", list(inherited.iter().copied()))
}
