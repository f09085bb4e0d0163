//! Every key that a type can be read from, found by asking its `Deserialize`.
//!
//! The type is read from a deserializer that has no input: it writes down the field and variant names that it is
//! asked for and answers with empty values. A value that refuses its empty answer is left out on the next pass.

use serde::de::value::StrDeserializer;
use serde::de::{self, DeserializeOwned, DeserializeSeed, IntoDeserializer, Visitor};
use std::cell::RefCell;
use std::collections::HashSet;

/// The dotted keys of `T`, such as `["run", "optim", "run.steps", "optim.lr", "loop.grpo", …]`, parents before
/// children. What a type hides from serde (maps, hand-written readers) is not in it.
pub fn keys<T: DeserializeOwned>() -> Vec<String> {
    let state = RefCell::new(State::default());
    // Each pass explores one more variant or leaves out one more value; the bound is for types that do neither.
    for _ in 0..500 {
        state.borrow_mut().failed = None;
        let read = T::deserialize(Probe { state: &state, path: String::new() });
        let mut state = state.borrow_mut();
        match state.failed.take().filter(|_| read.is_err()) {
            Some(path) if !state.left_out.insert(path.clone()) => break,
            None if state.unexplored.is_empty() => break,
            _ => {}
        }
    }
    state.into_inner().keys
}

#[derive(Default)]
struct State {
    keys: Vec<String>,
    left_out: HashSet<String>,
    explored: HashSet<String>,
    unexplored: HashSet<String>,
    failed: Option<String>,
}

impl State {
    fn note(&mut self, key: String) {
        if !self.keys.contains(&key) {
            self.keys.push(key);
        }
    }
}

/// No message: what counts is where it arose, which [`State::failed`] holds.
#[derive(Debug)]
struct Refused;

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str("refused")
    }
}

impl std::error::Error for Refused {}

impl de::Error for Refused {
    fn custom<M: std::fmt::Display>(_: M) -> Self {
        Self
    }
}

#[derive(Clone)]
struct Probe<'a> {
    state: &'a RefCell<State>,
    path: String,
}

impl<'a> Probe<'a> {
    fn inside(&self, key: &str) -> Self {
        Self { state: self.state, path: super::join(&self.path, key) }
    }

    /// Passes a result on; the innermost place that refused is the one to leave out.
    fn noting<T>(&self, result: Result<T, Refused>) -> Result<T, Refused> {
        if result.is_err() {
            self.state.borrow_mut().failed.get_or_insert_with(|| self.path.clone());
        }
        result
    }

    fn fields<'de, V: Visitor<'de>>(
        &self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refused> {
        // Deeper than any recipe: a type that contains itself.
        if self.path.matches('.').count() > 8 {
            return self.noting(Err(Refused));
        }
        let paths: Vec<_> = fields.iter().map(|&field| (field, self.inside(field))).collect();
        paths.iter().for_each(|(_, probe)| self.state.borrow_mut().note(probe.path.clone()));
        let kept = paths.into_iter().filter(|(_, probe)| !self.state.borrow().left_out.contains(&probe.path));
        self.noting(visitor.visit_map(Fields { fields: kept.collect::<Vec<_>>().into_iter(), value: None }))
    }

    /// A variant not yet explored, or one that has such variants inside.
    fn variant(&self, variants: &'static [&'static str]) -> Option<&'static str> {
        let mut state = self.state.borrow_mut();
        let path = |variant: &str| super::join(&self.path, variant);
        let usable: Vec<_> = variants.iter().filter(|v| !state.left_out.contains(&path(v))).collect();
        let fresh = usable.iter().find(|v| !state.explored.contains(&path(v)));
        let deeper =
            usable.iter().find(|v| state.unexplored.iter().any(|p| p.starts_with(&format!("{}.", path(v)))));
        let chosen = **fresh.or(deeper).or(usable.first())?;
        state.explored.insert(path(chosen));
        if usable.iter().all(|v| state.explored.contains(&path(v))) {
            state.unexplored.remove(&self.path);
        } else {
            state.unexplored.insert(self.path.clone());
        }
        Some(chosen)
    }
}

macro_rules! answer {
    ($($method:ident => $visit:ident($($value:expr)?),)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
            self.noting(visitor.$visit($($value)?))
        })*
    };
}

impl<'de> de::Deserializer<'de> for Probe<'_> {
    type Error = Refused;

    answer! {
        deserialize_bool => visit_bool(false),
        deserialize_i8 => visit_i8(1), deserialize_i16 => visit_i16(1),
        deserialize_i32 => visit_i32(1), deserialize_i64 => visit_i64(1),
        deserialize_u8 => visit_u8(1), deserialize_u16 => visit_u16(1),
        deserialize_u32 => visit_u32(1), deserialize_u64 => visit_u64(1),
        deserialize_f32 => visit_f32(1.0), deserialize_f64 => visit_f64(1.0),
        deserialize_char => visit_char('a'), deserialize_str => visit_str(""), deserialize_string => visit_str(""),
        deserialize_bytes => visit_bytes(&[]), deserialize_byte_buf => visit_bytes(&[]),
        deserialize_unit => visit_unit(), deserialize_ignored_any => visit_unit(),
    }

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Refused> {
        self.noting(Err(Refused))
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Refused> {
        self.noting(Err(Refused))
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Refused> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Refused> {
        self.noting(visitor.visit_unit())
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        self.noting(visitor.visit_seq(de::value::SeqDeserializer::new(std::iter::empty::<u8>())))
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Refused> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Refused> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refused> {
        self.fields(&[], visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refused> {
        self.fields(fields, visitor)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refused> {
        match self.variant(variants) {
            Some(variant) => visitor.visit_enum(Chosen { variant, content: self.inside(variant) }),
            None => self.noting(Err(Refused)),
        }
    }
}

struct Fields<'a> {
    fields: std::vec::IntoIter<(&'static str, Probe<'a>)>,
    value: Option<Probe<'a>>,
}

impl<'de> de::MapAccess<'de> for Fields<'_> {
    type Error = Refused;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Refused> {
        let Some((field, probe)) = self.fields.next() else { return Ok(None) };
        self.value = Some(probe);
        let key: StrDeserializer<Refused> = field.into_deserializer();
        seed.deserialize(key).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Refused> {
        seed.deserialize(self.value.take().ok_or(Refused)?)
    }
}

struct Chosen<'a> {
    variant: &'static str,
    content: Probe<'a>,
}

impl<'de, 'a> de::EnumAccess<'de> for Chosen<'a> {
    type Error = Refused;
    type Variant = Probe<'a>;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Probe<'a>), Refused> {
        let name: StrDeserializer<Refused> = self.variant.into_deserializer();
        Ok((seed.deserialize(name)?, self.content))
    }
}

/// A variant with content is a table and thus a key; one without is a value of its field.
impl<'de> de::VariantAccess<'de> for Probe<'_> {
    type Error = Refused;

    fn unit_variant(self) -> Result<(), Refused> {
        Ok(())
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Refused> {
        self.state.borrow_mut().note(self.path.clone());
        seed.deserialize(self)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, Refused> {
        self.noting(Err(Refused))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refused> {
        self.state.borrow_mut().note(self.path.clone());
        self.fields(fields, visitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;
    use std::collections::BTreeMap;

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)]
    struct Stage {
        pair: [String; 2],
        r#loop: Loop,
        reward: BTreeMap<String, u8>,
        size: Option<std::num::NonZeroU32>,
        kind: Kind,
    }

    #[derive(Deserialize)]
    #[serde(rename_all = "snake_case")]
    #[allow(dead_code)]
    enum Loop {
        Sft { epochs: u32 },
        Grpo(Grpo),
    }

    #[derive(Deserialize)]
    #[serde(default, deny_unknown_fields)]
    #[derive(Default)]
    #[allow(dead_code)]
    struct Grpo {
        loss: Option<Loss>,
        pair: Option<(u8, u8)>,
        clip: f64,
    }

    #[derive(Deserialize)]
    #[allow(dead_code)]
    enum Loss {
        #[serde(rename = "dpo")]
        Dpo { beta: f64 },
        #[serde(rename = "ipo")]
        Ipo { tau: f64 },
    }

    #[derive(Deserialize)]
    #[allow(dead_code)]
    enum Kind {
        Plain,
    }

    /// Both variants of an enum inside one variant of another are found, a pair that refuses to be empty hides
    /// nothing beside it, and a variant without content is a value, not a key.
    #[test]
    fn keys_of_every_alternative_are_found() {
        let expected =
            "clip dpo dpo.beta grpo ipo ipo.tau kind loop loss pair pair reward sft sft.epochs size";
        let mut found: Vec<String> = keys::<Stage>()
            .iter()
            .map(|key| {
                key.trim_start_matches("loop.")
                    .trim_start_matches("grpo.")
                    .trim_start_matches("loss.")
                    .to_owned()
            })
            .collect();
        found.sort();
        assert_eq!(found.join(" "), expected);
    }
}
