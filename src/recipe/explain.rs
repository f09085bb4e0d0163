//! What serde says of a section, in the user's words: the line, the key, what is known, what was probably meant.

use super::Recipe;
use super::meant::{Meant, Name};
use super::refusal::{MOST_FOUND, Refusal};
use super::stages::StageTable;
use crate::nearest::{did_you_mean, list, nearest, or_semicolon};
use crate::section::{Chosen, Kinds, Unread, join, keys, read, schema, secret};
use crate::{Error, Result};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use toml::{Table, Value};

impl Recipe {
    /// Reads a stage's sections into their types.
    pub fn deserialize<T: DeserializeOwned + JsonSchema>(&self, stage: &StageTable) -> Result<T> {
        self.deserialize_at(stage, "", stage.table.clone())
    }

    /// Reads one table of a stage, found at the dotted `path`, into its type: for open sets, such as one reward's
    /// table with its `weight` taken out.
    pub fn deserialize_at<T: DeserializeOwned + JsonSchema>(
        &self,
        stage: &StageTable,
        path: &str,
        table: Table,
    ) -> Result<T> {
        let known: Vec<String> = keys(&schema::<T>()).iter().map(|key| join(path, &key.path)).collect();
        match self.read_at(stage, path, table, &known, &read) {
            (Some(read), refused) if refused.is_empty() => Ok(read),
            (_, refused) => Err(self.error(refused)),
        }
    }

    /// The same by a `reader`, with all that is wrong; `known` are the keys that the stage may have. After a complaint the key is
    /// taken out and the rest is read; what is missed only because it was taken out is not said.
    pub(super) fn read_at<T>(
        &self,
        stage: &StageTable,
        path: &str,
        mut table: Table,
        known: &[String],
        reader: &dyn Fn(Table) -> std::result::Result<T, Unread>,
    ) -> (Option<T>, Vec<Refusal>) {
        let (mut said, mut taken) = (Vec::new(), Vec::<String>::new());
        loop {
            let unread = match reader(table.clone()) {
                Ok(read) => return (Some(read), said),
                Err(_) if said.len() >= MOST_FOUND => return (None, said),
                Err(unread) => unread,
            };
            let place = unread.keys.iter().fold(path.to_owned(), |path, key| join(&path, key));
            let complaint = Complaint { recipe: self, stage, place, known };
            let refusal = complaint.refusal(&unread.message);
            let inside = format!("{}.", refusal.key);
            let culprit = complaint.culprit(&unread.message, &refusal.key).to_owned();
            if !taken.iter().any(|key| *key == refusal.key || key.starts_with(&inside)) {
                said.push(refusal);
            }
            let below = culprit.strip_prefix(path).map(|rest| rest.trim_start_matches('.'));
            match below.and_then(|keys| take(&mut table, keys)) {
                Some(key) => taken.push(join(path, &key)),
                None => return (None, said),
            }
        }
    }

    /// Reads the open section `path` of a stage, one of `kinds`.
    pub(super) fn choose<S: ?Sized + 'static>(
        &self,
        stage: &StageTable,
        path: &str,
        kinds: &Kinds<S>,
        known: &[String],
    ) -> (Option<Chosen<S>>, Vec<Refusal>) {
        let complaint = |place: String| Complaint { recipe: self, stage, place, known };
        let table = stage.table.get(path).and_then(Value::as_table).filter(|table| table.len() == 1);
        let Some((name, keys)) = table.and_then(|table| table.iter().next()) else {
            return (None, vec![complaint(path.to_owned()).no_choice()]);
        };
        let place = join(path, name);
        let Value::Table(keys) = keys else {
            let complaint = complaint(place);
            let known = kinds.names().contains(&name.as_str());
            let called = complaint.name(name, path).called().filter(|_| !known);
            let refusal = match called {
                Some(key) => {
                    complaint.say(&complaint.place, &format!("`{}` is `{key}` here", complaint.place))
                }
                None => complaint.wrong_type("invalid type, expected a map"),
            };
            return (None, vec![refusal]);
        };
        if !kinds.names().contains(&name.as_str()) {
            return (None, vec![complaint(place).unknown_variant(name, &kinds.names())]);
        }
        let reader = |table: Table| kinds.read(name, table).expect("a known name");
        self.read_at(stage, &place, keys.clone(), known, &reader)
    }

    /// An error about the value at the dotted `path` of a stage, for checks across sections. It points at the line,
    /// or at the `--set`, that gave the value: `quick.toml:7: message; remedy`.
    pub fn problem(&self, stage: &StageTable, path: &str, message: &str, remedy: &str) -> Error {
        let remedy = if remedy.is_empty() { String::new() } else { format!("; {remedy}") };
        Error::Recipe(self.refusal(stage, path, &format!("{message}{remedy}")).text)
    }

    /// Where a stage's value at `path`, or the nearest section around it, comes from: `--set …`, `file:line`, `file`.
    pub fn origin(&self, stage: &StageTable, path: &str) -> String {
        self.place(stage, path).1
    }

    /// The same, with the line alone.
    pub(super) fn place(&self, stage: &StageTable, path: &str) -> (Option<usize>, String) {
        let at = |line| (Some(line), format!("{}:{line}", self.source.file()));
        let keys: Vec<String> = path.split('.').map(str::to_owned).collect();
        let own = |keys: &[String]| [&["stage".to_owned(), stage.index.to_string()], keys].concat();
        let mut sets: Vec<_> =
            self.overrides.iter().filter(|over| over.reached.contains(&stage.index)).collect();
        // The one that won first: a stage's own, then the later one.
        sets.sort_by_key(|over| over.stage.is_some());
        sets.reverse();
        for length in (1..=keys.len()).rev() {
            let keys = &keys[..length];
            if let Some(over) = sets.iter().find(|over| over.gives(keys)) {
                return (over.line(), over.shown());
            }
            if let Some(line) = self.source.line(&own(keys)).or_else(|| self.source.line(keys)) {
                return at(line);
            }
            if let Some(over) = sets.iter().find(|over| over.path.starts_with(keys)) {
                return (over.line(), over.shown());
            }
        }
        self.source.line(&own(&[])).map_or_else(|| (None, self.source.file().to_owned()), at)
    }
}

/// What serde complained of, and what is needed to say it well.
struct Complaint<'a> {
    recipe: &'a Recipe,
    stage: &'a StageTable,
    /// The dotted path that serde was at.
    place: String,
    /// Every key that the stage may have.
    known: &'a [String],
}

impl Complaint<'_> {
    fn refusal(&self, message: &str) -> Refusal {
        let names: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
        match (message, &names[..]) {
            (m, [key, known @ ..]) if m.starts_with("unknown field") => self.unknown_key(key, known),
            (m, [name, known @ ..]) if m.starts_with("unknown variant") => self.unknown_variant(name, known),
            (m, [key, ..]) if m.starts_with("missing field") => self.missing(key),
            (m, _) if m.starts_with("wanted exactly 1") || m.contains("invalid type: unit variant") => {
                self.no_choice()
            }
            (m, _)
                if m.starts_with("invalid type")
                    || m.starts_with("invalid value")
                    || m.starts_with("invalid length") =>
            {
                self.wrong_type(m)
            }
            _ => self.say(&self.place, &format!("{}: {message}", self.place)),
        }
    }

    /// What has to be taken out for the rest to be read: the key complained of, or the table that lacks it.
    fn culprit<'k>(&'k self, message: &str, key: &'k str) -> &'k str {
        if message.starts_with("missing field") { &self.place } else { key }
    }

    fn say(&self, path: &str, message: &str) -> Refusal {
        self.recipe.refusal(self.stage, path, message)
    }

    fn value(&self, path: &str) -> Option<&Value> {
        value(&self.stage.table, path)
    }

    fn unknown_key(&self, key: &str, siblings: &[&str]) -> Refusal {
        // serde's path ends in the unknown key itself, or in the table around it.
        let parent = match self.place.rsplit_once('.') {
            Some((parent, last)) if last == key => parent,
            _ if self.place == key => "",
            _ => &self.place,
        };
        let path = join(parent, key);
        if parent.is_empty() {
            return self.unknown_section(key, siblings);
        }
        // A type that has others flattened into it does not list its fields itself.
        let siblings = if siblings.is_empty() { &self.children(parent)[..] } else { siblings };
        let meant = Meant::shown(self.name(key, parent).meant(siblings), key);
        let known = match siblings {
            [] => "it takes no keys".to_owned(),
            _ => format!("known: {}", list(siblings.iter().copied())),
        };
        self.say(&path, &format!("[{parent}] unknown key `{key}`{meant} {known}"))
    }

    fn unknown_section(&self, key: &str, siblings: &[&str]) -> Refusal {
        let sections: Vec<&str> = siblings.iter().copied().chain(["stage", "sweep"]).collect();
        let value = self.value(key);
        let meant = self.name(key, "").meant(&sections);
        if value
            .is_some_and(|value| !value.is_table() && value.as_array().is_none_or(|list| !is_tables(list)))
        {
            let meant = Meant::shown(meant, key);
            return self
                .say(key, &format!("`{key}` stands in no section{meant} sections: {}", list(sections)));
        }
        // A section that looks like one of ours is taken for that; another program's is told key by key.
        if !matches!(meant, Some(Meant::Like(_)))
            && let Some(table) = value.and_then(Value::as_table)
            && let called = self.called(key, table)
            && !called.is_empty()
        {
            return self.say(key, &format!("unknown section `[{key}]`; {}", called.join(", ")));
        }
        let headed = |path: &str| if path == "stage" { "[[stage]]".to_owned() } else { format!("[{path}]") };
        let near = match &meant {
            Some(Meant::Like(name)) => or_semicolon(did_you_mean(Some(headed(name).as_str()))),
            _ => Meant::shown(meant.clone(), key),
        };
        let meant = meant.and_then(Meant::name);
        let shown =
            if value.is_some_and(Value::is_array) { format!("[[{key}]]") } else { format!("[{key}]") };
        let text = format!("unknown section `{shown}`{near} known: {}", list(sections));
        Refusal { meant, ..self.say(key, &text) }
    }

    /// Of another program's section: which key here each of its keys is.
    fn called(&self, section: &str, table: &Table) -> Vec<String> {
        let of = |(key, value): (&String, &Value)| match value {
            Value::Table(inside) => self.called(&join(section, key), inside),
            _ => {
                let called = self.name(key, section).called();
                let shown = |called| format!("`{}` is `{called}` here", join(section, key));
                called.map(shown).into_iter().collect()
            }
        };
        table.iter().flat_map(of).collect()
    }

    /// A name that is not known, in the table at `parent`.
    fn name<'n>(&'n self, typed: &'n str, parent: &'n str) -> Name<'n> {
        let Self { recipe, stage, known, .. } = *self;
        Name { typed, parent, stage, known, aliases: recipe.rules.aliases }
    }

    fn unknown_variant(&self, name: &str, known: &[&str]) -> Refusal {
        let place = match self.place.rsplit_once('.') {
            Some((parent, last)) if last == name => parent,
            _ => &self.place,
        };
        let what = place.rsplit('.').next().unwrap_or(place);
        let meant = or_semicolon(did_you_mean(nearest(name, known.iter().copied())));
        let known = list(known.iter().copied());
        match self.value(place) {
            Some(Value::Table(_)) => self
                .say(&join(place, name), &format!("[{place}.{name}] no such {what}{meant} known: {known}")),
            Some(value) if secret::hides(place, value) => {
                self.say(place, &format!("{place} = …: no such {what}{meant} known: {known}"))
            }
            _ => self.say(place, &format!("{place} = \"{name}\": no such {what}{meant} known: {known}")),
        }
    }

    fn missing(&self, key: &str) -> Refusal {
        let path = join(&self.place, key);
        let inside = self.children(&path);
        let choice = self.recipe.rules.choices.iter().any(|c| c.section == path && c.alternatives.is_empty());
        let wanted = match (choice, inside.is_empty()) {
            (true, false) => format!("add exactly one of {}", headers(&path, &inside)),
            (false, false) => format!("add `[{path}]`"),
            _ => format!("add `{key} = …`"),
        };
        let stages = self.recipe.stages().len();
        let of = if stages > 1 { format!(" in stage `{}`", self.stage.name) } else { String::new() };
        let around =
            if self.place.is_empty() { "the recipe".to_owned() } else { format!("[{}]", self.place) };
        let named = if inside.is_empty() { format!("`{key}`") } else { format!("[{path}]") };
        Refusal { key: path, ..self.say(&self.place, &format!("{around} lacks {named}{of}; {wanted}")) }
    }

    fn children<'k>(&'k self, path: &str) -> Vec<&'k str> {
        let child =
            |key: &'k String| key.strip_prefix(path)?.strip_prefix('.').filter(|rest| !rest.contains('.'));
        self.known.iter().filter_map(child).collect()
    }

    fn no_choice(&self) -> Refusal {
        // Of `loop = "grpo"`, serde's path is `loop.grpo`.
        let parent = self.place.rsplit_once('.').map_or("", |(parent, _)| parent);
        let place = if self.value(&self.place).is_some() { &self.place } else { parent };
        let children = self.children(place);
        if children.is_empty() {
            // A value that is one of several words.
            return self.wrong_type("invalid type, expected one of the words that name it, in quotes");
        }
        let options = headers(place, &children);
        let named = match self.value(place) {
            Some(Value::Table(table)) if table.is_empty() => format!("[{place}] is empty"),
            Some(Value::Table(table)) => format!("[{place}] has {}", list(table.keys().map(String::as_str))),
            Some(value) => format!("{place} = {}", short(place, value)),
            None => place.to_owned(),
        };
        self.say(place, &format!("{named}; write exactly one of {options}"))
    }

    fn wrong_type(&self, message: &str) -> Refusal {
        let expected = message.rsplit_once(", expected ").map_or("another value", |(_, expected)| expected);
        let shown = |value| format!(" = {}", short(&self.place, value));
        let shown = self.value(&self.place).map_or(String::new(), shown);
        let origin = self.recipe.origin(self.stage, &self.place);
        let is_list = self.value(&self.place).is_some_and(Value::is_array);
        let quote = match origin.strip_prefix("--set ").filter(|_| expected.ends_with("string") && !is_list) {
            Some(set) => {
                set.split_once('=').map(|(key, value)| format!("; write --set '{key}=\"{}\"'", value.trim()))
            }
            None => None,
        };
        self.say(
            &self.place,
            &format!("{}{shown}: expected {}{}", self.place, in_words(expected), quote.unwrap_or_default()),
        )
    }
}

/// The value at a dotted path; elements of lists by their index.
pub(super) fn value<'a>(table: &'a Table, path: &str) -> Option<&'a Value> {
    let mut keys = path.split('.');
    let first = table.get(keys.next()?)?;
    keys.try_fold(first, |value, key| match value {
        Value::Array(list) => list.get(key.parse::<usize>().ok()?),
        other => other.as_table()?.get(key),
    })
}

/// Takes out what stands at a dotted path, or the nearest key around it that is there, and says which it was.
pub(super) fn take(table: &mut Table, path: &str) -> Option<String> {
    let (first, rest) = path.split_once('.').unwrap_or((path, ""));
    if let Some(Value::Table(inside)) = table.get_mut(first)
        && let Some(key) = take(inside, rest)
    {
        return Some(join(first, &key));
    }
    table.remove(first).map(|_| first.to_owned())
}

fn is_tables(list: &[Value]) -> bool {
    !list.is_empty() && list.iter().all(Value::is_table)
}

fn headers(path: &str, names: &[&str]) -> String {
    names.iter().map(|name| format!("[{path}.{name}]")).collect::<Vec<_>>().join(", ")
}

fn short(path: &str, value: &Value) -> String {
    let text = secret::shown(path, value).replace('\n', " ");
    if text.chars().count() > 60 { text.chars().take(59).chain(['…']).collect() } else { text }
}

fn in_words(expected: &str) -> &str {
    match expected {
        "f32" | "f64" => "a number",
        "u8" | "u16" | "u32" | "u64" | "usize" => "a whole number, 0 or more",
        "i8" | "i16" | "i32" | "i64" | "isize" => "a whole number",
        "a nonzero u32" | "a nonzero u64" | "a nonzero usize" => "a whole number, 1 or more",
        "a string" | "path string" => "text in quotes",
        "a boolean" => "true or false",
        "a sequence" => "a list in [ ]",
        "a map" => "a table of keys",
        "an array of length 1" => "a list of 1 in [ ]",
        "an array of length 2" => "a list of 2 in [ ]",
        "an array of length 3" => "a list of 3 in [ ]",
        other if other.starts_with("struct ") => "a table of keys",
        other => other,
    }
}
