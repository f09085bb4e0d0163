//! What a judge has said: where its thinking ends, and the JSON that stands in it.

use crate::data::THINKING;
use serde_json::Value;

/// What a judge says once it has thought; none where it has not come to an end of that.
pub fn concluded(said: &str) -> Option<&str> {
    let [open, close] = THINKING;
    match said.rsplit_once(close) {
        Some((_, said)) => Some(said),
        None => (!said.contains(open)).then_some(said),
    }
}

/// The value of `key` in the last JSON object of a text that has it.
pub fn in_objects(said: &str, key: &str) -> Option<Value> {
    let mut found = None;
    let mut from = 0;
    while let Some(at) = said[from..].find('{').map(|at| from + at) {
        let mut objects = serde_json::Deserializer::from_str(&said[at..]).into_iter::<Value>();
        match objects.next() {
            Some(Ok(object)) => {
                found = object.get(key).cloned().or(found);
                from = at + objects.byte_offset();
            }
            _ => from = at + 1,
        }
    }
    found
}

/// The last JSON list in a text that has `count` items, all of which can be read; of none, nothing need be said.
pub fn last_list<T>(said: &str, count: usize, read: impl Fn(&Value) -> Option<T>) -> Option<Vec<T>> {
    if count == 0 {
        return Some(vec![]);
    }
    let (mut found, mut from) = (None, 0);
    while let Some(at) = said[from..].find('[').map(|at| from + at) {
        let mut lists = serde_json::Deserializer::from_str(&said[at..]).into_iter::<Vec<Value>>();
        match lists.next() {
            Some(Ok(list)) => {
                let own: Option<Vec<T>> = list.iter().map(&read).collect();
                found = own.filter(|own| own.len() == count).or(found);
                from = at + lists.byte_offset();
            }
            _ => from = at + 1,
        }
    }
    found
}
