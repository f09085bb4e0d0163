//! What a file and a command line sweep, and what of it cannot be swept.

use super::names::{hash, named};
use super::{SEEDS, SWEEP, Sweep, Swept, Valued};
use crate::recipe::overrides::Override;
use crate::recipe::refusal::Refusal;
use crate::recipe::source::Source;
use crate::section::{covers, join, secret};
use std::collections::BTreeMap;
use toml::{Table, Value};

/// What cannot differ between the trials of a run, and why.
const NOT_SWEPT: [(&str, &str); 6] = [
    ("sweep", "a swept key is named once by its section, such as sweep.optim.lr"),
    ("run.seed", "seeds are a list of their own: run.seeds = [0, 1, 2]"),
    ("run.seeds", "seeds are a list of their own, beside [sweep]: run.seeds = [0, 1, 2]"),
    ("run.name", "it is the name of the run, which all trials are in"),
    ("devices.ranks", "the ranks of a run work on all of its trials"),
    ("devices.timeout_s", "the ranks of a run work on all of its trials"),
];

impl Sweep {
    /// Takes out of the file and of the command line what is swept. What cannot be goes to `refused`.
    pub(in crate::recipe) fn take(
        source: &mut Source,
        sets: &mut Vec<Override>,
        refused: &mut Vec<Refusal>,
    ) -> Self {
        let mut written = source.take(&[SWEEP]).unwrap_or_else(|| Value::Table(Table::new()));
        let mut seeds = source.take(&SEEDS);
        let (mut typed, mut typed_seeds, mut typed_keys) = (Vec::new(), None, BTreeMap::new());
        sets.retain(|set| {
            let own = set.stage.is_none() && (set.path[0] == SWEEP || set.path == SEEDS);
            if own {
                typed.push(set.clone());
            }
            !own
        });
        for set in typed {
            if set.path == SEEDS {
                typed_seeds = Some(set.shown());
                seeds = Some(set.value);
            } else if let (Some(key), Value::Table(table)) = (key_of(&set.path[1..]), &mut written) {
                // The same key may be written in other tables.
                drop_key(table, "", &key);
                typed_keys.insert(key.clone(), set.shown());
                table.insert(key, set.value);
            } else {
                refused.push(Refusal::new(
                    SWEEP,
                    format!("{}: name a key, such as --set sweep.optim.lr=[1e-5,1e-4]", set.shown()),
                ));
            }
        }
        let mut found = Reading { source, typed: &typed_keys, refused, keys: Vec::new() };
        match written {
            Value::Table(table) => found.read(&table, &mut vec![SWEEP.to_owned()], ""),
            _ => found.refuse(&[SWEEP], "`sweep` is a table of keys, each with a list of values: [sweep], then optim.lr = [1e-5, 1e-4]"),
        }
        let mut keys = found.keys;
        conflicts(source, &mut keys, sets, refused);
        let of = typed_seeds.as_deref();
        let seeds = seeds.map_or(Vec::new(), |value| read_seeds(source, &value, of, sets, refused));
        let line = source.line(&SEEDS.map(str::to_owned)).filter(|_| !seeds.is_empty());
        Self { keys, seeds, line, typed: typed_seeds }
    }
}

/// What has been read of `[sweep]` so far.
struct Reading<'a> {
    source: &'a Source,
    /// The keys right below `[sweep]` that the command line gives, and how it does.
    typed: &'a BTreeMap<String, String>,
    refused: &'a mut Vec<Refusal>,
    keys: Vec<Swept>,
}

impl Reading<'_> {
    fn refuse(&mut self, place: &[&str], message: &str) {
        let refusal = match self.typed(place) {
            Some(typed) => Refusal::new(place.join("."), format!("{typed}: {message}")),
            None => self.source.refusal(place, message),
        };
        self.refused.push(refusal);
    }

    /// The `--set` that gives what stands at `place`, where one does.
    fn typed(&self, place: &[&str]) -> Option<&String> {
        place.get(1).and_then(|key| self.typed.get(*key))
    }

    /// Reads a table below `[sweep]`, at `place` in the file, of keys that stand below `above`.
    fn read(&mut self, table: &Table, place: &mut Vec<String>, above: &str) {
        for (name, value) in table {
            place.push(name.clone());
            match (value, toml_edit::Key::parse(name)) {
                (Value::Table(inside), Ok(parsed)) => {
                    let above = parsed.iter().fold(above.to_owned(), |above, key| join(&above, key.get()));
                    self.read(inside, place, &above);
                }
                (_, Ok(parsed)) => {
                    let key = parsed.iter().fold(above.to_owned(), |above, key| join(&above, key.get()));
                    self.read_key(&key, value, place);
                }
                (_, Err(_)) => self.refuse(&refs(place), &format!("sweep.\"{name}\" is no key")),
            }
            place.pop();
        }
    }

    fn read_key(&mut self, key: &str, value: &Value, place: &[String]) {
        let place = refs(place);
        let mut path: Vec<String> = key.split('.').map(str::to_owned).collect();
        let mut stage = None;
        if path[0] == "stage" {
            let section = || value.as_array().is_some_and(|list| list.iter().all(Value::is_table));
            if path.len() < 3 || (path.len() == 3 && !section()) {
                return self.refuse(
                    &place,
                    &format!(
                        "sweep.{key}: a stage's key is stage.NAME.section.key, such as stage.warmup.optim.lr"
                    ),
                );
            }
            stage = path.drain(..2).nth(1);
        }
        let inside = path.join(".");
        if let Some((_, why)) = NOT_SWEPT.iter().find(|(not, _)| covers(not, &inside) || covers(&inside, not))
        {
            return self.refuse(&place, &format!("sweep.{key}: {why}"));
        }
        let Value::Array(list) = value else {
            let value = secret::shown(key, value);
            let write = match self.typed(&place) {
                Some(_) => format!("--set 'sweep.{key}=[{value}]'"),
                None => format!("{key} = [{value}]"),
            };
            return self.refuse(
                &place,
                &format!("sweep.{key} = {value}: a swept key has a list of values; write {write}"),
            );
        };
        if list.is_empty() {
            return self.refuse(&place, &format!("sweep.{key} has no value; list some, or take it out"));
        }
        let mut values: Vec<Valued> = Vec::new();
        for (index, value) in list.iter().enumerate() {
            let at: Vec<String> =
                place.iter().map(|key| (*key).to_owned()).chain([index.to_string()]).collect();
            if values.iter().any(|other| other.value == *value) {
                let value = secret::shown(key, value);
                self.refuse(&refs(&at), &format!("sweep.{key} has {value} twice; keep one"));
                continue;
            }
            let mut name = named(value);
            if values.iter().any(|other| other.name == name) {
                name = format!("{name}-{}", hash(&value.to_string()));
            }
            let line = self.source.line(&at).or_else(|| self.source.line(&at[..at.len() - 1]));
            values.push(Valued { value: value.clone(), name, line });
        }
        let typed = self.typed(&place).cloned();
        self.keys.push(Swept { key: key.to_owned(), stage, path, values, typed });
    }
}

/// Keys that two values are given to: those that are swept twice, and those that the command line sets.
fn conflicts(source: &Source, keys: &mut Vec<Swept>, sets: &[Override], refused: &mut Vec<Refusal>) {
    let overlap = |a: &[String], b: &[String]| a.starts_with(b) || b.starts_with(a);
    let mut kept: Vec<Swept> = Vec::new();
    for key in keys.drain(..) {
        let same = |other: &&Swept| other.stage == key.stage && overlap(&other.path, &key.path);
        if let Some(other) = kept.iter().find(same) {
            let message = format!("sweep.{} and sweep.{}: one holds the other; keep one", other.key, key.key);
            refused.push(match key.typed.as_ref().or(other.typed.as_ref()) {
                Some(typed) => Refusal::new(SWEEP, format!("{typed}: {message}")),
                None => source.refusal(&[SWEEP], &message),
            });
            continue;
        }
        if let Some(set) = sets.iter().find(|set| set.stage == key.stage && overlap(&set.path, &key.path)) {
            let message = format!(
                "{}: sweep.{} gives it several values; write --set 'sweep.{}=[…]' to sweep others",
                set.shown(),
                key.key,
                key.key
            );
            refused.push(Refusal::new(set.path.join("."), message));
            continue;
        }
        kept.push(key);
    }
    *keys = kept;
}

/// The seeds, which the `--set` that is `typed` gives, or else the file.
fn read_seeds(
    source: &Source,
    value: &Value,
    typed: Option<&str>,
    sets: &[Override],
    refused: &mut Vec<Refusal>,
) -> Vec<i64> {
    let refusal = |message: String| match typed {
        Some(typed) => Refusal::new(SEEDS.join("."), format!("{typed}: {message}")),
        None => source.refusal(&SEEDS, &message),
    };
    let whole = |value: &Value| value.as_integer().filter(|seed| *seed >= 0);
    let seeds: Option<Vec<i64>> = value.as_array().map(|list| list.iter().filter_map(whole).collect());
    let all = value.as_array().map_or(0, Vec::len);
    let (Some(seeds), true) = (seeds.filter(|seeds| seeds.len() == all), all > 0) else {
        refused.push(refusal(format!(
            "run.seeds = {value}: a list of whole numbers, 0 or more, such as [0, 1, 2]"
        )));
        return Vec::new();
    };
    if let Some(twice) = seeds.iter().enumerate().find(|(at, seed)| seeds[..*at].contains(seed)) {
        refused.push(refusal(format!("run.seeds has {} twice; keep one", twice.1)));
        return Vec::new();
    }
    let seed = ["run".to_owned(), "seed".to_owned()];
    if source.line(&seed).is_some() {
        refused.push(source.refusal(
            &["run", "seed"],
            "run.seed beside run.seeds: the seeds are those of the list; remove one",
        ));
    }
    if let Some(set) = sets.iter().find(|set| set.path == seed) {
        refused.push(Refusal::new(
            "run.seed",
            format!("{}: the recipe has run.seeds; write --set 'run.seeds=[{}]'", set.shown(), set.value),
        ));
    }
    seeds
}

fn refs(place: &[String]) -> Vec<&str> {
    place.iter().map(String::as_str).collect()
}

fn key_of(path: &[String]) -> Option<String> {
    (!path.is_empty()).then(|| path.join("."))
}

/// Takes a swept key out of where it is written, in one table or in several.
fn drop_key(table: &mut Table, above: &str, key: &str) {
    table.retain(|name, value| {
        let path = join(above, name);
        if let Value::Table(inside) = value {
            drop_key(inside, &path, key);
        }
        path != key
    });
}
