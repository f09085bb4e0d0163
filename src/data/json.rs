//! JSON in which no object has a key twice with two values, of which one would be lost without a word.

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::map::Entry;
use serde_json::{Map, Value};
use std::fmt;

/// Characters of a key that are named.
const NAMED: usize = 60;

/// A value; a key that stands twice with the same value stands once.
pub(super) struct Once(pub Value);

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
                Entry::Occupied(place) if *place.get() == value => {}
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
        for text in
            [r#"{"a": 1, "a": 2}"#, r#"{"b": [{"a": 1, "c": 3, "a": null}]}"#, r#"{"a": 1, "\u0061": "1"}"#]
        {
            let error = serde_json::from_str::<Once>(text).err().unwrap();
            assert!(error.is_data(), "{text}: {error}");
            assert!(error.to_string().starts_with("the key \"a\" stands twice in one object"), "{error}");
        }
        let Once(same) = serde_json::from_str(r#"{"a": [1], "a": [1], "b": {"a": 2}}"#).unwrap();
        assert_eq!(same, serde_json::json!({"a": [1], "b": {"a": 2}}));
    }
}
