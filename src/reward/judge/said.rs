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

/// What is longer, in bytes, is no rating in words: each of its numbers is read with what stands around it.
const LONGEST: usize = 1 << 16;

/// An answer that is short enough to be a rating.
pub fn short(said: &str) -> Option<&str> {
    (said.len() <= LONGEST).then_some(said)
}

/// As much of an answer's end.
pub fn end(said: &str) -> &str {
    let from = said.len().saturating_sub(LONGEST);
    &said[(from..said.len()).find(|&at| said.is_char_boundary(at)).unwrap_or(said.len())..]
}

/// How many times a text's length is read at most in looking for values, and how much more.
const TIMES: usize = 8;
const BESIDES: usize = 1 << 12;

/// The JSON values of a text that begin with `open`, those within others left out.
///
/// What begins as one and is none is looked into for others: `[see [1, 2]`. A text of which nearly all begins and nothing ends, such as a model's `[[[[…`, would be
/// read again for each of its characters, so that it ends where [`TIMES`] its length has been read.
struct Values<'a> {
    rest: &'a str,
    open: char,
    /// Bytes that may still be read in vain.
    left: usize,
}

impl<'a> Values<'a> {
    fn of(said: &'a str, open: char) -> Self {
        Self { rest: said, open, left: said.len() * TIMES + BESIDES }
    }
}

impl Iterator for Values<'_> {
    type Item = Value;

    fn next(&mut self) -> Option<Value> {
        while let Some(at) = self.rest.find(self.open) {
            let from = &self.rest[at..];
            let mut values = serde_json::Deserializer::from_str(from).into_iter::<Value>();
            match values.next()? {
                Ok(value) => {
                    self.rest = &from[values.byte_offset()..];
                    return Some(value);
                }
                Err(error) => {
                    self.left = self.left.checked_sub(read_until(from, &error))?;
                    self.rest = &from[self.open.len_utf8()..];
                }
            }
        }
        None
    }
}

/// How many bytes were read until it was clear that they are no value.
fn read_until(text: &str, error: &serde_json::Error) -> usize {
    let lines = text.split_inclusive('\n').take(error.line().saturating_sub(1));
    lines.map(str::len).sum::<usize>() + error.column()
}

/// The value of `key` in the last JSON object of a text that has it.
pub fn in_objects(said: &str, key: &str) -> Option<Value> {
    Values::of(said, '{').filter_map(|object| object.get(key).cloned()).last()
}

/// The last JSON list in a text that has `count` items, all of which can be read; of none, nothing need be said.
pub fn last_list<T>(said: &str, count: usize, read: impl Fn(&Value) -> Option<T>) -> Option<Vec<T>> {
    if count == 0 {
        return Some(vec![]);
    }
    let own = |list: Value| list.as_array()?.iter().map(&read).collect::<Option<Vec<T>>>();
    Values::of(said, '[').filter_map(own).filter(|own| own.len() == count).last()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_are_no_rating_and_read_by_their_end() {
        let pages = "ä".repeat(LONGEST) + "1";
        assert_eq!((short(&pages), short("7"), end("7")), (None, Some("7"), "7"));
        assert_eq!(end(&pages), "ä".repeat(LONGEST / 2 - 1) + "1");
    }

    #[test]
    fn what_begins_and_ends_nowhere_is_looked_into_and_not_for_ever() {
        let number = |value: &Value| value.as_i64();
        assert_eq!(last_list("[[[ see [1, 2]", 2, number), Some(vec![1, 2]));
        assert_eq!(last_list("[\n[\n[ \"x\", [3,\n4] no", 2, number), Some(vec![3, 4]));
        assert_eq!(in_objects("{ or {\"a\": 1} and {\"b\": 2} {", "a"), Some(Value::from(1)));
        for open in ["[", "[\n", "[[1],", "[\"x\", ", "{\"a\":", "{\"a\":[", "[{"] {
            let said = open.repeat(1 << 16);
            assert_eq!(last_list(&(said.clone() + "[1, 2] "), 7, number), None);
            let read = Values::of(&said, '[').count() + Values::of(&said, '{').count();
            assert!(read <= 1 << 16, "{open}: {read}");
        }
        // So much was read before that nothing is looked for at the end.
        let said = "[".repeat(1 << 16) + "[1, 2]";
        assert_eq!(last_list(&said, 2, number), None);
        assert_eq!(in_objects(&("{\"a\":".repeat(1 << 16) + "{\"a\": 1}"), "a"), None);
    }
}
