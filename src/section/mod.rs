//! Sections of a recipe: how one is read, what it says of itself where its values cannot be used, and the tables of names from
//! which the open sections (`[loop.NAME]`, `[rollout.NAME]`) are chosen.

mod kinds;
mod known;

pub use kinds::{Chosen, Kinds};
pub use known::keys;

use serde::de::DeserializeOwned;
use serde_path_to_error::Segment;
use toml::{Table, Value};

/// Why a table cannot be read into a section's type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unread {
    /// The keys that lead to what serde complained of.
    pub keys: Vec<String>,
    /// What serde said.
    pub message: String,
}

/// Reads a table into a section's type.
pub fn read<T: DeserializeOwned>(table: Table) -> Result<T, Unread> {
    serde_path_to_error::deserialize::<_, T>(Value::Table(table)).map_err(|error| Unread {
        keys: error.path().iter().filter_map(key_of).collect(),
        message: error.inner().message().to_owned(),
    })
}

fn key_of(segment: &Segment) -> Option<String> {
    match segment {
        Segment::Map { key } => Some(key.clone()),
        Segment::Enum { variant } => Some(variant.clone()),
        Segment::Seq { index } => Some(index.to_string()),
        Segment::Unknown => None,
    }
}

/// `path.key`, or `key` at the top.
pub fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// A key whose value cannot be used as it is. A section names the key from itself (`clip_low`); whoever holds the section adds
/// its own name in front ([`under`](Self::under)), and the recipe adds the file and the line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misfit {
    /// The dotted path of the key, from the section that found it; empty for the section itself.
    pub key: String,
    /// What is wrong, in the user's words, with the value where it helps.
    pub message: String,
    /// What to do about it; empty where the message says it.
    pub remedy: String,
}

impl Misfit {
    /// What is wrong with `key`, and what to do about it.
    pub fn new(key: impl Into<String>, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { key: key.into(), message: message.into(), remedy: remedy.into() }
    }

    /// The same as the section around it sees it, which calls the one that found it `section`.
    pub fn under(mut self, section: &str) -> Self {
        self.key = if self.key.is_empty() { section.to_owned() } else { join(section, &self.key) };
        self
    }
}

/// The misfits of an inner section as the one around it sees them.
///
/// ```
/// use rationale::section::{Misfit, under};
/// let found = under("loop.grpo", [Misfit::new("clip_low", "it must be above 0", "0.2 is usual")]);
/// assert_eq!(found[0].key, "loop.grpo.clip_low");
/// ```
pub fn under(section: &str, misfits: impl IntoIterator<Item = Misfit>) -> Vec<Misfit> {
    misfits.into_iter().map(|misfit| misfit.under(section)).collect()
}
