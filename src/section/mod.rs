//! Sections of a recipe: how one is read, which keys it has, what it says of itself where its values cannot be used, and the tables of names from
//! which the open sections (`[loop.NAME]`, `[rollout.NAME]`) are chosen.

mod keys;
mod kinds;
mod misfit;
mod schema;
pub mod secret;

pub use keys::{Key, keys, toml};
pub use kinds::{Chosen, Kinds};
pub use misfit::{Misfit, all_fit, broken, under};
pub use schema::schema;

use serde::de::DeserializeOwned;
use serde_path_to_error::Segment;
use toml::{Table, Value};

/// The most that a weight may be, of a recipe as of a row: sums of losses or scores with a larger one are no longer told apart.
pub const MOST_WEIGHT: f64 = 1e6;

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

/// A key that others of its section leave without effect, by its path from there, and why, in words that follow `… has no effect`:
/// `("share", "unless cuts = \"share\"")`.
pub type Idle = (&'static str, &'static str);

/// The keys of those of `rules` whose first part is false, which says whether they are read.
///
/// ```
/// use rationale::section::idle;
/// let found = idle(&[(true, &["share"], "unless cuts = \"share\""), (false, &["tree"], "unless cuts = \"tree\"")]);
/// assert_eq!(found, [("tree", "unless cuts = \"tree\"")]);
/// ```
pub fn idle(rules: &[(bool, &[&'static str], &'static str)]) -> Vec<Idle> {
    let unread = rules.iter().filter(|(read, ..)| !read);
    unread.flat_map(|&(_, keys, why)| keys.iter().map(move |&key| (key, why))).collect()
}

/// `path.key`, or `key` at the top.
pub fn join(path: &str, key: &str) -> String {
    if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") }
}

/// Whether the dotted `key` is the listed one or lies in it; `*` stands for any one name.
///
/// ```
/// use rationale::section::covers;
/// assert!(covers("data", "data.train") && covers("reward.*.weight", "reward.answer.weight"));
/// assert!(!covers("data", "data2.train") && !covers("data.train", "data"));
/// ```
pub fn covers(listed: &str, key: &str) -> bool {
    let first = |path: &str| path.bytes().next();
    // Most are told apart by their first letter.
    if first(listed) != first(key) && first(listed) != Some(b'*') {
        return false;
    }
    let mut keys = key.split('.');
    listed.split('.').all(|name| keys.next().is_some_and(|key| name == "*" || name == key))
}
