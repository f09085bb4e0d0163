//! Kinds of losses as rows of a table: found by name, written by name, each with the keys that it takes.

use crate::section::Misfit;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::borrow::Cow;

/// One kind of a family of losses.
pub trait Row: Sized + 'static {
    /// All kinds of the family.
    const ROWS: &'static [Self];

    /// What a recipe calls it.
    fn name(&self) -> &'static str;

    /// Of the keys that not all of the family take, those that it takes.
    fn keys(&self) -> &'static [&'static str];
}

/// A kind in a section: read, written, compared and shown by its name.
pub struct Named<R: Row>(pub &'static R);

impl<R: Row> Named<R> {
    /// The kind that a recipe calls `name`.
    pub fn of(name: &str) -> Option<Self> {
        R::ROWS.iter().find(|row| row.name() == name).map(Self)
    }
}

impl<R: Row> Clone for Named<R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<R: Row> Copy for Named<R> {}

impl<R: Row> std::ops::Deref for Named<R> {
    type Target = R;

    fn deref(&self) -> &R {
        self.0
    }
}

impl<R: Row> PartialEq for Named<R> {
    fn eq(&self, other: &Self) -> bool {
        self.name() == other.name()
    }
}

impl<R: Row> std::fmt::Debug for Named<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

impl<'de, R: Row> Deserialize<'de> for Named<R> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        let known = || R::ROWS.iter().map(|row| format!("`{}`", row.name())).collect::<Vec<_>>().join(", ");
        Self::of(&name).ok_or_else(|| {
            serde::de::Error::custom(format!("unknown variant `{name}`, expected one of {}", known()))
        })
    }
}

impl<R: Row> JsonSchema for Named<R> {
    fn schema_name() -> Cow<'static, str> {
        std::any::type_name::<R>().into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let names: Vec<&str> = R::ROWS.iter().map(Row::name).collect();
        json_schema!({ "type": "string", "enum": names })
    }
}

impl<R: Row> Serialize for Named<R> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.name())
    }
}

/// What is wrong with `key` beside this kind; nothing where the kind takes it.
pub fn refusal<R: Row>(row: &R, key: &str) -> Option<Misfit> {
    let takes = |row: &&R| row.keys().contains(&key);
    if takes(&row) {
        return None;
    }
    let (takers, others): (Vec<&R>, Vec<&R>) = R::ROWS.iter().partition(takes);
    let who = match (&takers[..], &others[..]) {
        ([one], _) => format!("it is only for kind = \"{}\"", one.name()),
        (takers, others) if takers.len() <= others.len() => format!("it is only for {}", names(takers)),
        (_, [one]) => format!("{} does not take it", one.name()),
        (_, others) => format!("{} do not take it", names(others)),
    };
    // A key that this kind has and no kind that takes the other does is its own way to the same end.
    let own = row.keys().iter().find(|own| takers.iter().all(|taker| !taker.keys().contains(own)));
    let instead = own.map_or(String::new(), |own| format!(", or set {own}"));
    Some(Misfit::new(key, who, format!("take it out{instead}")))
}

/// `a, b and c`.
fn names<R: Row>(rows: &[&R]) -> String {
    let names: Vec<&str> = rows.iter().map(|row| row.name()).collect();
    match names.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => names.concat(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Pet(&'static str, &'static [&'static str]);

    impl Row for Pet {
        const ROWS: &'static [Self] = &[
            Pet("cat", &["purr", "claws"]),
            Pet("dog", &["bark", "claws"]),
            Pet("fox", &["claws"]),
            Pet("fish", &["scales"]),
            Pet("carp", &["scales"]),
        ];

        fn name(&self) -> &'static str {
            self.0
        }

        fn keys(&self) -> &'static [&'static str] {
            self.1
        }
    }

    #[test]
    fn a_refusal_names_the_fewer_and_what_stands_in_the_keys_place() {
        let of = |name, key| refusal(Named::<Pet>::of(name).unwrap().0, key);
        let misfit = |key: &str, message: &str, remedy: &str| Some(Misfit::new(key, message, remedy));
        assert_eq!(of("cat", "purr"), None);
        let cats = "it is only for kind = \"cat\"";
        assert_eq!(of("fox", "purr"), misfit("purr", cats, "take it out"));
        assert_eq!(of("dog", "purr"), misfit("purr", cats, "take it out, or set bark"));
        let fishes = "it is only for fish and carp";
        assert_eq!(of("cat", "scales"), misfit("scales", fishes, "take it out, or set purr"));
        let fishes = "fish and carp do not take it";
        assert_eq!(of("carp", "claws"), misfit("claws", fishes, "take it out, or set scales"));
    }

    #[test]
    fn a_kind_is_read_and_written_by_name() {
        #[derive(Debug, serde::Serialize, serde::Deserialize)]
        struct Section {
            kind: Named<Pet>,
        }
        let section: Section = toml::from_str("kind = \"fox\"").unwrap();
        assert_eq!(toml::to_string(&section).unwrap(), "kind = \"fox\"\n");
        let message = toml::from_str::<Section>("kind = \"fix\"").unwrap_err().to_string();
        assert!(
            message.contains("unknown variant `fix`, expected one of `cat`, `dog`, `fox`, `fish`, `carp`")
        );
    }
}
