//! Procedural tasks: rows that are made inside the program, from the seed.

pub mod addition;
pub mod faults;
pub mod marking;
pub mod planted;
pub mod shop;

use super::Split;
use super::row::Row;
use crate::error::Result;
use crate::section::{Chosen, Misfit, under};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::fmt::Debug;

/// `[data.task.NAME]`: rows that the program makes itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Task {
    /// n-digit addition with a scratchpad.
    Addition(addition::Addition),
    /// Short answers marked by a rubric.
    Marking(marking::Marking),
    /// A sequence with a hidden one in it.
    Planted(planted::Planted),
    /// A shopper's next action.
    Shop(shop::Shop),
    /// One of the program's own.
    #[serde(skip)]
    Own(Chosen<dyn OwnTask>),
}

/// `[data.task.NAME]` of a program's own (`Registry::task`): plain data with documented keys, from which rows are made.
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
            Task::Addition(_) => "addition",
            Task::Marking(_) => "marking",
            Task::Planted(_) => "planted",
            Task::Shop(_) => "shop",
            Task::Own(own) => own.name(),
        }
    }

    /// The characters its texts are made of, for a character tokenizer.
    pub fn alphabet(&self) -> &'static str {
        match self {
            Task::Addition(_) => addition::ALPHABET,
            Task::Marking(_) => marking::ALPHABET,
            Task::Planted(_) => planted::ALPHABET,
            Task::Shop(_) => shop::ALPHABET,
            Task::Own(own) => own.alphabet(),
        }
    }

    /// What cannot be used as it is, by keys that begin with the task's name.
    pub fn check(&self) -> Vec<Misfit> {
        let found = match self {
            Task::Addition(addition) => addition.check(),
            Task::Marking(marking) => marking.check(),
            Task::Planted(planted) => planted.check(),
            Task::Shop(shop) => shop.check(),
            Task::Own(own) => own.check(),
        };
        under(self.name(), found)
    }

    /// The rows of a split; a pure function of the task's settings and the seed.
    pub fn rows(&self, split: Split, seed: u64) -> Result<Vec<Row>> {
        match self {
            Task::Addition(addition) => addition.rows(split, seed),
            Task::Marking(marking) => marking.rows(split, seed),
            Task::Planted(planted) => planted.rows(split, seed),
            Task::Shop(shop) => shop.rows(split, seed),
            Task::Own(own) => own.rows(split, seed),
        }
    }
}
