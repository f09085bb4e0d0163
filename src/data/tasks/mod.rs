//! Procedural tasks: rows that are made inside the program, from the seed.

pub mod addition;
mod drawn;
pub mod faults;
pub mod graph;
pub mod marking;
pub mod planted;
pub mod problems;
pub mod report;
pub mod shop;
pub mod surplus;
pub mod tables;

use super::Split;
use super::row::Row;
use crate::error::Result;
use crate::section::{Chosen, Misfit, under};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;
use std::fmt::Debug;

/// `[data.task.NAME]`: rows that the program makes itself.
#[derive(Debug, Clone, PartialEq)]
pub enum Task {
    /// One that is built in.
    BuiltIn(BuiltIn),
    /// One of the program's own.
    Own(Chosen<dyn OwnTask>),
}

/// The tasks that are built in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum BuiltIn {
    /// n-digit addition with a scratchpad.
    Addition(addition::Addition),
    /// Small graphs in words: routes, workflows, calls, games.
    Graph(graph::Graph),
    /// Short answers marked by a rubric.
    Marking(marking::Marking),
    /// A sequence with a hidden one in it.
    Planted(planted::Planted),
    /// Word problems, with rationales, programs and families.
    Problems(problems::Problems),
    /// Reports of findings, and the condition that they come to.
    Report(report::Report),
    /// A shopper's next action.
    Shop(shop::Shop),
    /// Questions about small tables, answered by queries.
    Tables(tables::Tables),
}

/// `[data.task.NAME]` of a program's own (`Registry::task`): plain data with documented keys, from which rows are made.
///
/// ```
/// use rationale::data::{Split, row::Row, tasks::OwnTask};
/// use rationale::schemars::{self, JsonSchema};
/// use rationale::section::Misfit;
/// use rationale::{Registry, Result};
/// use serde::{Deserialize, Serialize};
/// use serde_json::{Map, Value};
///
/// /// Squares of small numbers.
/// #[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
/// #[serde(deny_unknown_fields, default)]
/// struct Squares {}
///
/// impl OwnTask for Squares {
///     fn check(&self) -> Vec<Misfit> {
///         vec![]
///     }
///
///     fn rows(&self, split: Split, _seed: u64) -> Result<Vec<Row>> {
///         let numbers = if split == Split::Train { 1..90_u32 } else { 90..100 };
///         let row = |n: u32| {
///             let columns = [("question", format!("{n}*{n}")), ("answer", (n * n).to_string())];
///             let fields: Map<String, Value> = columns.map(|(name, text)| (name.into(), text.into())).into_iter().collect();
///             Row::made("squares", n as usize, fields)
///         };
///         Ok(numbers.map(row).collect())
///     }
/// }
///
/// let registry = Registry::default().task::<Squares>("squares");
/// assert!(registry.keys().iter().any(|key| key.path == "data.task.squares"));
/// ```
///
/// [How to write one](crate::extending#a-task), with keys of its own.
pub trait OwnTask: Debug + Send + Sync + 'static {
    /// Those of its own keys whose values cannot be used, by their paths from here.
    fn check(&self) -> Vec<Misfit>;

    /// The rows of a split, each the columns that a file's row would have ([`Row::made`]); a pure function of the task's settings and the seed.
    ///
    /// # Errors
    /// What keeps it from making them.
    fn rows(&self, split: Split, seed: u64) -> Result<Vec<Row>>;

    /// The characters its texts are made of, for a character tokenizer.
    fn alphabet(&self) -> &'static str {
        ""
    }
}

impl Task {
    /// Its name in the recipe.
    pub fn name(&self) -> &str {
        match self {
            Task::BuiltIn(task) => task.name(),
            Task::Own(task) => task.name(),
        }
    }

    /// The characters its texts are made of, for a character tokenizer.
    pub fn alphabet(&self) -> &'static str {
        match self {
            Task::BuiltIn(task) => task.alphabet(),
            Task::Own(task) => task.alphabet(),
        }
    }

    /// What cannot be used as it is, by keys that begin with the task's name.
    pub fn check(&self) -> Vec<Misfit> {
        let found = match self {
            Task::BuiltIn(task) => task.check(),
            Task::Own(task) => task.check(),
        };
        under(self.name(), found)
    }

    /// The rows of a split; a pure function of the task's settings and the seed.
    pub fn rows(&self, split: Split, seed: u64) -> Result<Vec<Row>> {
        match self {
            Task::BuiltIn(task) => task.rows(split, seed),
            Task::Own(task) => task.rows(split, seed),
        }
    }
}

/// As the recipe has it: `NAME` with its keys.
impl Serialize for Task {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        match self {
            Task::BuiltIn(task) => task.serialize(serializer),
            Task::Own(task) => task.written().map_err(serde::ser::Error::custom)?.serialize(serializer),
        }
    }
}

/// Those of the program's own are read where their names are known: with the stage.
impl<'de> Deserialize<'de> for Task {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        BuiltIn::deserialize(deserializer).map(Task::BuiltIn)
    }
}

impl JsonSchema for Task {
    fn schema_name() -> Cow<'static, str> {
        BuiltIn::schema_name()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        BuiltIn::json_schema(generator)
    }

    fn inline_schema() -> bool {
        BuiltIn::inline_schema()
    }
}

impl BuiltIn {
    fn name(&self) -> &'static str {
        match self {
            BuiltIn::Addition(_) => "addition",
            BuiltIn::Graph(_) => "graph",
            BuiltIn::Marking(_) => "marking",
            BuiltIn::Planted(_) => "planted",
            BuiltIn::Problems(_) => "problems",
            BuiltIn::Report(_) => "report",
            BuiltIn::Shop(_) => "shop",
            BuiltIn::Tables(_) => "tables",
        }
    }

    fn alphabet(&self) -> &'static str {
        match self {
            BuiltIn::Addition(_) => addition::ALPHABET,
            BuiltIn::Graph(_) => graph::ALPHABET,
            BuiltIn::Marking(_) => marking::ALPHABET,
            BuiltIn::Planted(_) => planted::ALPHABET,
            BuiltIn::Problems(_) => problems::ALPHABET,
            BuiltIn::Report(_) => report::ALPHABET,
            BuiltIn::Shop(_) => shop::ALPHABET,
            BuiltIn::Tables(_) => tables::ALPHABET,
        }
    }

    fn check(&self) -> Vec<Misfit> {
        match self {
            BuiltIn::Addition(addition) => addition.check(),
            BuiltIn::Graph(graph) => graph.check(),
            BuiltIn::Marking(marking) => marking.check(),
            BuiltIn::Planted(planted) => planted.check(),
            BuiltIn::Problems(problems) => problems.check(),
            BuiltIn::Report(report) => report.check(),
            BuiltIn::Shop(shop) => shop.check(),
            BuiltIn::Tables(tables) => tables.check(),
        }
    }

    fn rows(&self, split: Split, seed: u64) -> Result<Vec<Row>> {
        match self {
            BuiltIn::Addition(addition) => addition.rows(split, seed),
            BuiltIn::Graph(graph) => graph.rows(split, seed),
            BuiltIn::Marking(marking) => marking.rows(split, seed),
            BuiltIn::Planted(planted) => planted.rows(split, seed),
            BuiltIn::Problems(problems) => problems.rows(split, seed),
            BuiltIn::Report(report) => report.rows(split, seed),
            BuiltIn::Shop(shop) => shop.rows(split, seed),
            BuiltIn::Tables(tables) => tables.rows(split, seed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Row;

    /// A text of a row.
    pub fn text<'a>(row: &'a Row, name: &str) -> &'a str {
        row.fields[name].as_str().unwrap_or_else(|| panic!("{name} of {row:?}"))
    }
}
