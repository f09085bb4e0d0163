//! JSON in which no object has a key twice with two values, of which one would be lost without a word.

use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::map::Entry;
use serde_json::{Map, Number, Value};
use std::fmt;

/// Characters of a key that are named.
const NAMED: usize = 60;

/// A value; a key that stands twice with the same value, numbers by what they come to, stands once.
pub(super) struct Once(pub Value);

/// What a text that is JSON says; none of any other.
///
/// # Errors
/// A key that stands twice in an object, in words.
pub fn said(text: &str) -> Result<Option<Value>, String> {
    match serde_json::from_str(text) {
        Ok(Once(value)) => Ok(Some(value)),
        Err(error) if error.is_data() && serde_json::from_str::<IgnoredAny>(text).is_ok() => {
            let error = error.to_string();
            Err(error.split_once(" at line ").map_or(error.clone(), |(what, _)| what.to_string()))
        }
        Err(_) => Ok(None),
    }
}

/// Whether two values are the same to whoever reads them: `1` and `1.0` are.
fn same(one: &Value, other: &Value) -> bool {
    match (one, other) {
        (Value::Number(one), Value::Number(other)) => one == other || are_equal(one, other),
        (Value::Array(one), Value::Array(other)) => {
            one.len() == other.len() && one.iter().zip(other).all(|(one, other)| same(one, other))
        }
        (Value::Object(one), Value::Object(other)) => {
            let has = |(key, one): (&String, &Value)| other.get(key).is_some_and(|other| same(one, other));
            one.len() == other.len() && one.iter().all(has)
        }
        _ => one == other,
    }
}

/// Whether numbers of two kinds are equal: no digit of a whole number is rounded away.
fn are_equal(one: &Number, other: &Number) -> bool {
    let whole = |number: &Number| {
        let float = || number.as_f64().filter(|float| float.fract() == 0.0 && float.abs() < 1e30);
        number.as_i128().or_else(|| float().map(|float| float as i128))
    };
    whole(one).is_some_and(|one| whole(other) == Some(one))
}

impl<'de> Deserialize<'de> for Once {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        from.deserialize_any(Any).map(Self)
    }
}

struct Any;

impl<'de> Visitor<'de> for Any {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, yes: bool) -> Result<Value, E> {
        Ok(yes.into())
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(text.into())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut all = Vec::new();
        while let Some(Once(one)) = list.next_element()? {
            all.push(one);
        }
        Ok(Value::Array(all))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Value, A::Error> {
        let mut all = Map::new();
        while let Some((key, Once(value))) = object.next_entry::<String, Once>()? {
            match all.entry(key) {
                Entry::Vacant(place) => {
                    place.insert(value);
                }
                Entry::Occupied(place) if same(place.get(), &value) => {}
                Entry::Occupied(place) => {
                    let key: String = place.key().chars().take(NAMED).collect();
                    return Err(A::Error::custom(format!("the key {key:?} stands twice in one object")));
                }
            }
        }
        Ok(Value::Object(all))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_those_of_serde_json() {
        let text = r#"{"a": [null, true, -1, 18446744073709551615, 0.1, -0.0, 1e300, "x\né😀"], "b": {"c": {}, "d": []}, "": 1}"#;
        let Once(read) = serde_json::from_str(text).unwrap();
        assert_eq!(read, serde_json::from_str::<Value>(text).unwrap());
        let keys: Vec<&String> = read.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["a", "b", ""]);
    }

    #[test]
    fn a_key_twice_is_an_error_wherever_it_stands_unless_nothing_is_lost() {
        for text in [
            r#"{"a": 1, "a": 2}"#,
            r#"{"b": [{"a": 1, "c": 3, "a": null}]}"#,
            r#"{"a": 1, "\u0061": "1"}"#,
            r#"{"a": 1, "a": true}"#,
            r#"{"a": [1, 2], "a": [1]}"#,
            // The nearest float of the first is the second.
            r#"{"a": 9007199254740993, "a": 9007199254740992.0}"#,
            r#"{"a": 18446744073709551615, "a": 18446744073709551616.0}"#,
        ] {
            let error = serde_json::from_str::<Once>(text).err().unwrap();
            assert!(error.is_data(), "{text}: {error}");
            assert!(error.to_string().starts_with("the key \"a\" stands twice in one object"), "{error}");
        }
        let Once(same) = serde_json::from_str(r#"{"a": [1], "a": [1], "b": {"a": 2}}"#).unwrap();
        assert_eq!(same, serde_json::json!({"a": [1], "b": {"a": 2}}));
        for text in [
            r#"{"a": 1, "a": 1.0}"#,
            r#"{"a": 1e2, "a": 100}"#,
            r#"{"a": 0, "a": -0.0}"#,
            r#"{"a": 9007199254740992, "a": 9007199254740992.0}"#,
            r#"{"a": {"x": [1, {"y": 2.50}]}, "a": {"x": [1.0, {"y": 25e-1}]}}"#,
        ] {
            assert!(serde_json::from_str::<Once>(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn a_text_says_what_its_json_does_if_it_is_any() {
        assert_eq!(said(r#"{"a": 1}"#), Ok(Some(serde_json::json!({"a": 1}))));
        for text in ["click(3)", r#"{"a": 1, "a": 2"#, ""] {
            assert_eq!(said(text), Ok(None), "{text}");
        }
        let twice = "the key \"a\" stands twice in one object";
        assert_eq!(said(r#"{"x": {"a": 1, "a": 2}}"#), Err(twice.to_string()));
    }
}
