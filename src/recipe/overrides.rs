//! `--set section.key=value`: what the command line says over the file.
//!
//! `--set optim.lr=1e-6` holds for every stage, also for those that set `optim.lr` themselves; `--set
//! stage.NAME.optim.lr=1e-6` holds for one stage and wins over the former. Two things bound an unqualified override:
//! one that enters an alternative (`loop.grpo.…`) reaches the stages that chose it, and only where no stage did, it
//! switches the choice; and a stage's `"@name"` is its wiring, which only a qualified override replaces.

use super::absent::absent;
use super::meant::{called_in, ending_in, holds};
use super::references::named_by;
use super::refusal::Refusal;
use super::rules::Rules;
use super::stages::{StageTable, at, merge, nothing_to_remove, section};
use crate::nearest::{did_you_mean, list, nearest, or_semicolon};
use crate::section::{join, secret};
use crate::{Error, Result};
use toml::{Table, Value};

const USAGE: &str = "write section.key=value, such as --set optim.lr=1e-6";
const OF_A_STAGE: &str = "a stage's key is stage.NAME.section.key, such as --set stage.warmup.optim.lr=1e-6";

/// One `--set`.
#[derive(Debug, Clone, PartialEq)]
pub struct Override {
    /// As typed, without `--set`.
    pub text: String,
    /// The stage that it is for; `None` means all.
    pub stage: Option<String>,
    /// The keys that lead to the value.
    pub path: Vec<String>,
    /// The value.
    pub value: Value,
    /// The stages that took it, by index.
    pub reached: Vec<usize>,
    /// Where `[sweep]` gives it: its line and its file with it, or no line and the `--set` that gives what is swept.
    pub written: Option<(Option<usize>, String)>,
}

impl Override {
    /// Reads `section.key=value`. The right side is a TOML value where it reads as one, otherwise text.
    pub fn parse(text: &str) -> Result<Self> {
        let typed = secret::assignment(text);
        let malformed = |why: &str| Error::Recipe(format!("--set {typed}: {why}; {USAGE}"));
        let (left, right) = text.split_once('=').ok_or_else(|| malformed("no `=`"))?;
        let keys = toml_edit::Key::parse(left.trim()).map_err(|_| malformed("the key cannot be read"))?;
        let mut path: Vec<String> = keys.iter().map(|key| key.get().to_owned()).collect();
        let mut stage = None;
        if path[0] == "stage" {
            if path.len() < 3 {
                return Err(Error::Recipe(format!("--set {typed}: {OF_A_STAGE}")));
            }
            stage = Some(path.drain(..2).nth(1).unwrap_or_default());
        }
        let value = value(right.trim()).map_err(|why| malformed(&why))?;
        Ok(Self { text: text.to_owned(), stage, path, value, reached: Vec::new(), written: None })
    }

    /// `--set …` as typed, of what may be a secret the key alone; or where `[sweep]` has it from.
    pub fn shown(&self) -> String {
        match &self.written {
            Some((_, place)) => place.clone(),
            None => format!("--set {}", self.typed()),
        }
    }

    /// As typed, without `--set`; of what may be a secret the key alone.
    pub fn typed(&self) -> String {
        secret::assignment(&self.text)
    }

    /// The line of the file, where it stands in one.
    pub fn line(&self) -> Option<usize> {
        self.written.as_ref().and_then(|(line, _)| *line)
    }

    /// Whether it set the key at `path`, itself or inside a table or list that it gave.
    pub fn gives(&self, path: &[String]) -> bool {
        match path.strip_prefix(self.path.as_slice()) {
            Some([]) => true,
            Some(rest) => match &self.value {
                Value::Array(list) => rest[0].parse().is_ok_and(|index: usize| index < list.len()),
                value => value.as_table().is_some_and(|table| at(table, rest).is_some()),
            },
            None => false,
        }
    }

    fn key(&self) -> String {
        self.path.join(".")
    }

    fn fail<T>(&self, message: impl std::fmt::Display) -> Result<T> {
        let swept = if self.written.is_some() { format!("sweep.{}: ", self.typed()) } else { String::new() };
        Err(Error::Recipe(format!("{}: {swept}{message}", self.shown())))
    }
}

/// Applies the overrides to the merged stages and to the top level, and records which stages each reached; what is wrong with them.
pub fn apply(
    overrides: &mut [Override],
    base: &mut Table,
    stages: &mut [StageTable],
    rules: &Rules,
) -> Vec<Refusal> {
    let mut refused = Vec::new();
    let mut note = |over: &Override, found: Result<()>| {
        if let Err(Error::Recipe(text)) = found {
            refused.push(Refusal::new(over.key(), text));
        }
    };
    for over in overrides.iter_mut().filter(|over| over.stage.is_none()) {
        let found = to_all(over, base, stages, rules);
        note(over, found);
    }
    for over in overrides.iter_mut().filter(|over| over.stage.is_some()) {
        let found = to_one(over, stages, rules);
        note(over, found);
    }
    refused
}

fn value(text: &str) -> std::result::Result<Value, String> {
    if text.is_empty() {
        return Err("no value; empty text is '\"\"'".to_owned());
    }
    let parsed = toml::from_str::<Table>(&format!("value = {text}")).ok().filter(|table| table.len() == 1);
    match parsed.and_then(|mut table| table.remove("value")) {
        // A name that looks like a date is a name: recipes hold no dates.
        Some(Value::Datetime(_)) => Ok(Value::String(text.to_owned())),
        Some(value) => Ok(value),
        None if text.starts_with(['[', '{', '"', '\'']) => {
            Err("the value does not read as TOML; the shell may have taken its quotes, so put '…' around the whole".to_owned())
        }
        None => Ok(number(text).unwrap_or_else(|| Value::String(text.to_owned()))),
    }
}

/// Numbers that TOML writes otherwise: `.5`, `5.`, `007`.
fn number(text: &str) -> Option<Value> {
    let numeric = text.chars().all(|c| c.is_ascii_digit() || "+-.eE".contains(c))
        && text.contains(|c: char| c.is_ascii_digit());
    numeric
        .then(|| text.parse().ok().map(Value::Integer).or_else(|| text.parse().ok().map(Value::Float)))
        .flatten()
}

fn to_one(over: &mut Override, stages: &mut [StageTable], rules: &Rules) -> Result<()> {
    if rules.run_wide.contains(&over.key().as_str()) {
        return over.fail(format!("{0} holds for the whole run; write --set {0}=…", over.key()));
    }
    let name = over.stage.clone().unwrap_or_default();
    let known: Vec<&str> = stages.iter().map(|stage| stage.name.as_str()).collect();
    let near = or_semicolon(did_you_mean(nearest(&name, known.iter().copied())));
    let unknown = format!("no stage `{name}`{near} known: {}", list(known));
    let Some(stage) = stages.iter_mut().find(|stage| stage.name == name) else { return over.fail(unknown) };
    put(over, &mut stage.table, rules)?;
    over.reached.push(stage.index);
    Ok(())
}

fn to_all(over: &mut Override, base: &mut Table, stages: &mut [StageTable], rules: &Rules) -> Result<()> {
    let states: Vec<State> = stages.iter().map(|stage| state(over, &stage.table, rules)).collect();
    let top = state(over, base, rules);
    // Where later stages feed all of them, the top level's value is what round 1 starts from.
    let first = top == State::Takes && states.iter().all(|state| *state == State::Wired);
    let target = if first { State::Takes } else { target(over, &states)? };
    let removal = is_removal(over, rules);
    for (stage, _) in stages.iter_mut().zip(&states).filter(|(_, state)| **state == target) {
        if !removal || at(&stage.table, &over.path).is_some() {
            put(over, &mut stage.table, rules)?;
            over.reached.push(stage.index);
        }
    }
    if over.reached.is_empty() {
        // A removal that no stage can take: `put` says what there is, over all stages.
        let mut all = base.clone();
        stages.iter().for_each(|stage| merge(&mut all, &stage.table, "", rules));
        put(over, &mut all, rules)?;
    }
    if !removal && top == target {
        put(over, base, rules)?;
    }
    Ok(())
}

/// How a stage stands to an override.
#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    /// It has the alternative that the override enters, or the override enters none.
    Takes,
    /// It has chosen none of those alternatives.
    Open,
    /// It has chosen another.
    Chose(String),
    /// What would be replaced is an earlier stage's product.
    Wired,
}

/// Whether an earlier stage's product stands there, or a list of nothing else.
fn wired(value: Option<&Value>) -> bool {
    match value {
        Some(Value::String(text)) => text.starts_with('@'),
        Some(Value::Array(list)) => !list.is_empty() && list.iter().all(|one| wired(Some(one))),
        _ => false,
    }
}

fn state(over: &Override, table: &Table, rules: &Rules) -> State {
    let (key, listed) = (over.key(), &rules.references);
    let refers = listed.iter().any(|listed| named_by(listed, &key) == Some(&key));
    if refers && wired(at(table, &over.path)) {
        return State::Wired;
    }
    for length in 0..over.path.len() {
        let (place, alternative) = (over.path[..length].join("."), &over.path[length]);
        for choice in rules.choices.iter().filter(|c| c.section == place && c.has(alternative)) {
            let named =
                section(table, &place).and_then(|section| Some((section, *choice.named(section).first()?)));
            match named {
                None => return State::Open,
                Some((section, other)) if other != alternative && wired(section.get(other)) => {
                    return State::Wired;
                }
                Some((_, other)) if other != alternative => return State::Chose(join(&place, other)),
                Some(_) => {}
            }
        }
    }
    State::Takes
}

/// The state of those stages that an unqualified override is for.
fn target(over: &Override, states: &[State]) -> Result<State> {
    let mut others: Vec<&State> = states.iter().filter(|state| matches!(state, State::Chose(_))).collect();
    others.dedup();
    if states.contains(&State::Takes) {
        return Ok(State::Takes);
    }
    match others[..] {
        [] if states.contains(&State::Open) => Ok(State::Open),
        [] => over.fail(format!(
            "the stages take {} from earlier stages (`@…`); name one, such as --set stage.NAME.{}",
            over.key(),
            over.typed()
        )),
        [only] => Ok(only.clone()),
        _ => over.fail(format!(
            "no stage has {}; name the stage, such as --set stage.NAME.{}",
            over.key(),
            over.typed()
        )),
    }
}

fn is_removal(over: &Override, rules: &Rules) -> bool {
    over.value == Value::Boolean(false) && rules.takes_away(&over.key())
}

/// What is said of a key alone: our name for it, where it is another program's, and where it stands.
fn in_no_section(over: &Override, table: &Table, rules: &Rules) -> String {
    let (typed, keys) = (&over.path[0], (rules.keys)());
    let stage = over.stage.as_ref().map_or(String::new(), |name| format!("stage.{name}."));
    let verb = if over.written.is_some() { "" } else { "--set " };
    let written = |key: &str| format!("{verb}{stage}{key}=…");
    if let Some(key) = called_in(rules.aliases, typed, table) {
        return match holds(keys, key) {
            Some(inside) => format!("`{typed}` is `[{key}]` here; write {}", written(inside)),
            None => format!("`{typed}` is `{key}` here; write {}", written(key)),
        };
    }
    if let Some(why) = absent(typed) {
        return format!("`{typed}` is not here: {why}");
    }
    let found: Vec<String> =
        ending_in(keys, typed, table).into_iter().take(MOST_PLACES).map(written).collect();
    match (found.is_empty(), &over.stage) {
        (false, _) => format!("a key stands in a section; write {}", found.join(" or ")),
        (true, Some(_)) => OF_A_STAGE.to_owned(),
        (true, None) => format!("a key stands in a section; {USAGE}"),
    }
}

/// Keys of one name that are offered.
const MOST_PLACES: usize = 4;

fn put(over: &Override, table: &mut Table, rules: &Rules) -> Result<()> {
    let alone = over.path.len() == 1 && !over.value.is_table() && !table.contains_key(&over.path[0]);
    if alone && !is_removal(over, rules) {
        return over.fail(in_no_section(over, table, rules));
    }
    for length in 1..over.path.len() {
        let key = over.path[..length].join(".");
        if let Some(value) = at(table, &over.path[..length]).filter(|value| !value.is_table()) {
            let value = secret::shown(&key, value);
            return over.fail(format!("{key} is {value}, not a section; set {key} itself"));
        }
    }
    let (last, sections) = (&over.path[over.path.len() - 1], over.path[..over.path.len() - 1].join("."));
    let present = at(table, &over.path);
    if is_removal(over, rules) {
        let inherited: Vec<&str> =
            section(table, &sections).map(|t| t.keys().map(String::as_str).collect()).unwrap_or_default();
        if present.is_none() {
            return over.fail(nothing_to_remove(&sections, last, &inherited, rules));
        }
    } else if let Some(Value::Table(inside)) = present.filter(|_| !over.value.is_table()) {
        let example = inside.keys().next().map_or("key", String::as_str);
        return over.fail(format!(
            "{0} is a section; set one of its keys, such as --set {0}.{example}=…",
            over.key()
        ));
    }
    let mut tree = over.value.clone();
    for key in over.path.iter().rev() {
        tree = Value::Table(Table::from_iter([(key.clone(), tree)]));
    }
    if let Value::Table(tree) = tree {
        merge(table, &tree, "", rules);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::Recipe;

    #[test]
    fn a_table_that_need_not_be_there_is_taken_away_by_false() {
        let text = "[eval]\nevery = 2\n[policy]\nmodel = \"m\"\nlora.rank = 8\n\
                    [[stage]]\nname = \"a\"\nloop.sft = {}\n[[stage]]\nname = \"b\"\nloop.sft = {}\npolicy.lora = false\n";
        let read = |text: &str, sets: &[&str]| {
            let sets: Vec<String> = sets.iter().map(|set| (*set).to_owned()).collect();
            Recipe::parse("a.toml", text, &sets)
        };
        let having = |path: &[&str], sets: &[&str]| -> Vec<bool> {
            let recipe = read(text, sets).unwrap();
            recipe.stages().iter().map(|stage| at(&stage.table, path).is_some()).collect()
        };
        assert_eq!(having(&["policy", "lora"], &[]), [true, false]);
        assert_eq!(having(&["policy", "lora"], &["policy.lora=false"]), [false, false]);
        assert_eq!(having(&["eval"], &[]), [true, true]);
        assert_eq!(having(&["eval"], &["eval=false"]), [false, false]);
        assert_eq!(having(&["eval"], &["stage.b.eval=false"]), [true, false]);
        let none = "there is no [optim.muon] to take away; leave this out";
        let refused = read(text, &["optim.muon=false"]).unwrap_err().to_string();
        assert_eq!(refused, format!("recipe: --set optim.muon=false: {none}"));
        let refused = read("[[stage]]\nname = \"a\"\nloop.sft = {}\noptim.muon = false\n", &[]).unwrap_err();
        assert_eq!(refused.to_string(), format!("recipe: a.toml:4: optim.muon = false: {none}"));
    }

    #[test]
    fn lists_of_what_stages_made_stay() {
        let text = "[data]\ntrain = \"rows\"\n[[stage]]\nname = \"a\"\nloop.collect = {}\n\
                    [[stage]]\nname = \"b\"\nloop.collect = {}\n\
                    [[stage]]\nname = \"c\"\nloop.sft = {}\ndata.train = [\"@a\", \"@b\"]\n";
        let trains = |set: &str| -> Vec<String> {
            let recipe = Recipe::parse("a.toml", text, &[set.to_owned()]).unwrap();
            recipe.stages().iter().map(|stage| stage.table["data"]["train"].to_string()).collect()
        };
        assert_eq!(trains("data.train=other"), ["\"other\"", "\"other\"", "[\"@a\", \"@b\"]"]);
        assert_eq!(trains("stage.c.data.train=other"), ["\"rows\"", "\"rows\"", "\"other\""]);
    }

    #[test]
    fn secrets_are_not_repeated() {
        let told = |text: &str| match Override::parse(text) {
            Ok(over) => over.shown(),
            Err(error) => error.to_string(),
        };
        let endpoint = "reward.judge.endpoint";
        for (given, said) in [
            ("extra.api_key=sk-SECRET", "--set reward.judge.endpoint.extra.api_key=…"),
            ("url=http://u:SECRET@h/v1", "--set reward.judge.endpoint.url=…"),
            ("api_key_env=sk-SECRET", "--set reward.judge.endpoint.api_key_env=…"),
            ("extra={ top_p = 0.9, api_key = 'SECRET' }", "--set reward.judge.endpoint.extra=…"),
            ("extra.stop=['a', 'sk-SECRETabcdefghijklmnop']", "--set reward.judge.endpoint.extra.stop=…"),
            ("temperature=0.5", "--set reward.judge.endpoint.temperature=0.5"),
        ] {
            assert_eq!(told(&format!("{endpoint}.{given}")), said);
        }
        let malformed = told("reward.judge.endpoint.extra={ api_key = 'SECRET'");
        assert!(
            malformed.contains("--set reward.judge.endpoint.extra=…: the value does not read as TOML"),
            "{malformed}"
        );
        // The value itself is not touched.
        let over = Override::parse("a.api_key=sk-SECRET").unwrap();
        assert_eq!(over.value, Value::String("sk-SECRET".into()));
    }
}
