//! What a name that a recipe does not know was meant to be: another program's name for a key, a slip, a key of another section.

use super::explain::value;
use super::stages::{StageTable, section};
use crate::nearest::{did_you_mean, nearest, or_semicolon};
use crate::section::join;

/// What was meant.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Meant {
    /// A name that looks like it, or the same one elsewhere.
    Like(String),
    /// The key that another program calls so.
    Called(String),
}

/// A name where it stands, and what it may be told from.
#[derive(Clone, Copy)]
pub(super) struct Name<'a> {
    /// As it is written.
    pub typed: &'a str,
    /// The dotted path of the table that it stands in.
    pub parent: &'a str,
    /// The stage.
    pub stage: &'a StageTable,
    /// Every key that a stage may have.
    pub known: &'a [String],
    /// Other programs' names.
    pub aliases: &'a [super::Alias],
}

impl Meant {
    /// As a message says it of `typed`, before a list of what is known.
    pub fn shown(meant: Option<Self>, typed: &str) -> String {
        match meant {
            Some(Self::Called(key)) => format!("; `{typed}` is `{key}` here;"),
            Some(Self::Like(name)) => or_semicolon(did_you_mean(Some(&name))),
            None => or_semicolon(String::new()),
        }
    }

    /// The name alone.
    pub fn name(self) -> String {
        match self {
            Self::Like(name) | Self::Called(name) => name,
        }
    }
}

impl Name<'_> {
    /// What it was meant to be, beside the names of its table.
    pub fn meant(&self, siblings: &[&str]) -> Option<Meant> {
        let siblings = || siblings.iter().copied();
        let one_off = siblings().find(|name| {
            (4..200).contains(&self.typed.len()) && strsim::damerau_levenshtein(self.typed, name) == 1
        });
        let called = self.called();
        let here = called.as_ref().filter(|key| self.below(key).is_some()).cloned();
        let near = || nearest(self.typed, siblings()).map(str::to_owned);
        here.map(|key| Meant::Called(self.below(&key).unwrap_or(&key).to_owned()))
            .or(one_off.map(|name| Meant::Like(name.to_owned())))
            .or(called.map(Meant::Called))
            .or_else(|| self.elsewhere(self.typed).map(Meant::Like))
            .or_else(|| near().map(Meant::Like))
    }

    /// The key that another program calls so, alone or with what it stands in; of several the one that is nearest to here.
    pub fn called(&self) -> Option<String> {
        let typed = join(self.parent, self.typed).to_lowercase().replace('-', "_");
        let ends =
            |alias: &str| typed == alias || typed.strip_suffix(alias).is_some_and(|rest| rest.ends_with('.'));
        let keys = self.aliases.iter().filter(|(alias, _)| ends(alias)).max_by_key(|(alias, _)| alias.len());
        let paths = keys?.1.iter().filter_map(|key| self.elsewhere(key).or_else(|| self.in_open_table(key)));
        paths.min_by_key(|path| (self.below(path).is_none(), self.apart(path)))
    }

    /// A key of a table that takes any name.
    fn in_open_table(&self, key: &str) -> Option<String> {
        let (table, name) = key.rsplit_once('.')?;
        self.elsewhere(table).map(|table| join(&table, name))
    }

    /// A path from the table that the name stands in, where it lies in it.
    fn below<'p>(&self, path: &'p str) -> Option<&'p str> {
        path.strip_prefix(self.parent)?.strip_prefix('.')
    }

    /// How many names of a path the stage has not.
    fn apart(&self, path: &str) -> usize {
        let there = |end: &usize| value(&self.stage.table, &path[..*end]).is_some();
        let ends = path.match_indices('.').map(|(at, _)| at).chain([path.len()]);
        ends.filter(|end| !there(end)).count()
    }

    /// A known path that ends in `key`; one that this stage's choices reach goes before the others.
    fn elsewhere(&self, key: &str) -> Option<String> {
        let ends = |path: &&String| {
            path.strip_suffix(key).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'))
        };
        let own = join(self.parent, key);
        let mut paths: Vec<&String> =
            self.known.iter().filter(ends).filter(|path| **path != own && !path.contains("[]")).collect();
        let distance = |path: &str| {
            let around = path.rsplit_once('.').map_or("", |(around, _)| around);
            (section(&self.stage.table, around).is_none(), path.matches('.').count())
        };
        paths.sort_by_key(|path| distance(path));
        paths.first().map(|path| (*path).clone())
    }
}
