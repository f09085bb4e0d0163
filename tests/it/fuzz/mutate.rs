//! Inputs out of a corpus: tokens, values and bytes of its entries exchanged, repeated, taken out, put in and made extreme.

use super::tokens::tokens;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Map, Value};

/// How an entry is taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grammar {
    /// Tokens of a text, and its bytes.
    Text,
    /// JSON values, a line each, their tokens and bytes.
    Json,
    /// A length, a JSON header of it, tensors.
    SafeTensors,
    /// Bytes, those of the end above all, where the table of contents is.
    Parquet,
}

/// Makes inputs by number.
pub struct Mutator {
    grammar: Grammar,
    seed: u64,
    corpus: Vec<Vec<u8>>,
    /// Tokens of all entries, and extreme ones.
    words: Vec<String>,
    /// Values of all entries, and extreme ones.
    values: Vec<Value>,
}

/// No input is longer.
const LONGEST: usize = 1 << 20;

const EXTREMES: [&str; 24] = [
    "0",
    "-1",
    "1",
    "0.1",
    "1e308",
    "-1e308",
    "1e400",
    "1e-320",
    "nan",
    "inf",
    "-inf",
    "NaN",
    "2147483648",
    "4294967296",
    "9223372036854775807",
    "9223372036854775808",
    "-9223372036854775808",
    "18446744073709551615",
    "10000000",
    "true",
    "null",
    "\"\"",
    "[]",
    "{}",
];

const TEXTS: [&str; 10] =
    ["", "\0", "\u{202E}", "\u{1F600}", "../../x", "\u{1b}[31m", "a\nb", "\"", "é", "\u{FFFD}"];

impl Mutator {
    /// Of these entries. `name` is a part of the seed.
    pub fn new(name: &str, grammar: Grammar, corpus: Vec<Vec<u8>>) -> Self {
        let (mut words, mut values) = (Vec::new(), Vec::new());
        if matches!(grammar, Grammar::Text | Grammar::Json) {
            for entry in &corpus {
                words.extend(tokens(&String::from_utf8_lossy(entry)).into_iter().map(str::to_string));
            }
            words.sort();
            words.dedup();
        }
        for line in corpus.iter().flat_map(|entry| entry.split(|byte| *byte == b'\n')) {
            if let Ok(value) = serde_json::from_slice(line) {
                inner(&value, &mut values);
            }
        }
        if let Some(header) = corpus.iter().find_map(|entry| header(entry)) {
            inner(&Value::Object(header), &mut values);
        }
        words.extend(EXTREMES.iter().chain(&TEXTS).map(ToString::to_string));
        values.extend(EXTREMES.iter().filter_map(|text| serde_json::from_str(text).ok()));
        values.extend(TEXTS.map(Value::from));
        values.push(Value::from("a".repeat(5000)));
        Self { grammar, seed: rationale::seed::of_text(name), corpus, words, values }
    }

    /// The input of this number.
    pub fn input(&self, index: u64) -> Vec<u8> {
        let mut draw = ChaCha8Rng::seed_from_u64(rationale::seed::derive(&[self.seed, index]));
        let mut input = self.corpus.choose(&mut draw).expect("a corpus").clone();
        for _ in 0..draw.random_range(1..=4) {
            input = self.mutated(input, &mut draw);
            input.truncate(LONGEST);
        }
        input
    }

    fn mutated(&self, input: Vec<u8>, draw: &mut ChaCha8Rng) -> Vec<u8> {
        match (self.grammar, draw.random_range(0..10)) {
            (Grammar::Text, 0..9) | (Grammar::Json, 6..9) => self.by_tokens(&input, draw),
            (Grammar::Json, 0..6) => {
                self.by_values(&input, draw).unwrap_or_else(|| self.by_tokens(&input, draw))
            }
            (Grammar::SafeTensors, 0..7) => {
                self.by_header(&input, draw).unwrap_or_else(|| self.by_bytes(input, draw))
            }
            _ => self.by_bytes(input, draw),
        }
    }

    fn by_tokens(&self, input: &[u8], draw: &mut ChaCha8Rng) -> Vec<u8> {
        let text = String::from_utf8_lossy(input).into_owned();
        let mut parts: Vec<&str> = tokens(&text);
        let word = |draw: &mut ChaCha8Rng| self.words.choose(draw).map_or("", String::as_str);
        if parts.is_empty() {
            return word(draw).as_bytes().to_vec();
        }
        let other = String::from_utf8_lossy(self.corpus.choose(draw).expect("a corpus")).into_owned();
        let at = draw.random_range(0..parts.len());
        let to = (at + draw.random_range(1..=12)).min(parts.len());
        match draw.random_range(0..11) {
            0 => drop(parts.remove(at)),
            1 => drop(parts.drain(at..to)),
            2 => parts.insert(at, word(draw)),
            3 => parts[at] = word(draw),
            4 => {
                let with = draw.random_range(0..parts.len());
                parts.swap(at, with);
            }
            5 => {
                let numbers: Vec<usize> = (0..parts.len())
                    .filter(|&at| parts[at].starts_with(|c: char| c.is_ascii_digit()))
                    .collect();
                let at = numbers.choose(draw).copied().unwrap_or(at);
                parts[at] = EXTREMES.choose(draw).expect("some");
            }
            6 => {
                let span = parts[at..to].to_vec();
                let times =
                    if draw.random_bool(0.03) { 20_000 / span.len() } else { draw.random_range(1..8) };
                let many: Vec<&str> = span.iter().copied().cycle().take(span.len() * times).collect();
                parts.splice(at..at, many);
            }
            7 => {
                let others = tokens(&other);
                let from = draw.random_range(0..others.len().max(1));
                let end = (from + draw.random_range(1..40)).min(others.len());
                parts.splice(at..to, others[from.min(end)..end].to_vec());
            }
            8 => parts.truncate(at),
            9 => {
                // One key twice, one line elsewhere.
                let lines: Vec<&str> = text.split_inclusive('\n').collect();
                let (a, b) = (draw.random_range(0..lines.len()), draw.random_range(0..=lines.len()));
                let mut lines = lines.clone();
                lines.insert(b, lines[a]);
                return lines.concat().into_bytes();
            }
            _ => {
                let (open, close) =
                    *[("[", "]"), ("{", "}"), ("(", ")"), ("-", ""), ("not ", ""), ("{\"a\":", "}")]
                        .choose(draw)
                        .expect("some");
                let deep = if draw.random_bool(0.2) { 20_000 } else { draw.random_range(1..200) };
                let (before, after) = (open.repeat(deep), close.repeat(deep));
                let mut whole = parts[..at].concat();
                whole += &before;
                whole += parts[at];
                whole += &after;
                whole += &parts[at + 1..].concat();
                return whole.into_bytes();
            }
        }
        parts.concat().into_bytes()
    }

    /// Changes a value inside one of the lines; none if there is no JSON.
    fn by_values(&self, input: &[u8], draw: &mut ChaCha8Rng) -> Option<Vec<u8>> {
        let whole = serde_json::from_slice::<Value>(input);
        let mut lines: Vec<Vec<u8>> = match &whole {
            Ok(_) => vec![input.to_vec()],
            Err(_) => input.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect(),
        };
        let at = draw.random_range(0..lines.len());
        let mut value: Value = serde_json::from_slice(&lines[at]).ok()?;
        self.change(&mut value, draw);
        lines[at] = value.to_string().into_bytes();
        if draw.random_bool(0.1) {
            let again = lines.choose(draw)?.clone();
            lines.push(again);
        }
        Some(lines.join(&b'\n'))
    }

    fn by_header(&self, input: &[u8], draw: &mut ChaCha8Rng) -> Option<Vec<u8>> {
        let mut value = Value::Object(header(input)?);
        let data = 8 + u64::from_le_bytes(input[..8].try_into().ok()?) as usize;
        self.change(&mut value, draw);
        let text = value.to_string();
        let length = if draw.random_bool(0.95) { text.len() as u64 } else { draw.random() };
        Some([&length.to_le_bytes(), text.as_bytes(), &input[data.min(input.len())..]].concat())
    }

    /// Changes something somewhere in a value.
    fn change(&self, value: &mut Value, draw: &mut ChaCha8Rng) {
        let deeper = draw.random_bool(0.8);
        match value {
            Value::Object(map) if deeper && !map.is_empty() => {
                let keys: Vec<String> = map.keys().cloned().collect();
                let key = keys.choose(draw).expect("some");
                match draw.random_range(0..8) {
                    0 => drop(map.shift_remove(key)),
                    1 => {
                        let other = keys.choose(draw).expect("some");
                        let moved = map[key].clone();
                        map.insert(other.clone(), moved);
                    }
                    2 => {
                        let renamed = TEXTS.choose(draw).expect("some");
                        let moved = map.shift_remove(key).unwrap_or_default();
                        map.insert((*renamed).to_string(), moved);
                    }
                    3 => drop(map.insert(keys.choose(draw).expect("some").clone(), self.value(draw))),
                    _ => self.change(&mut map[key], draw),
                }
            }
            Value::Array(list) if deeper && !list.is_empty() => {
                let at = draw.random_range(0..list.len());
                match draw.random_range(0..8) {
                    0 => drop(list.remove(at)),
                    1 => {
                        let again = list[at].clone();
                        list.extend(std::iter::repeat_n(again, draw.random_range(1..20)));
                    }
                    2 => {
                        let with = draw.random_range(0..list.len());
                        list.swap(at, with);
                    }
                    3 => list.insert(at, self.value(draw)),
                    _ => self.change(&mut list[at], draw),
                }
            }
            other => {
                let was = other.take();
                *other = match draw.random_range(0..8) {
                    0 => Value::Array(vec![was]),
                    1 => Value::Object(Map::from_iter([("a".to_string(), was)])),
                    2 => match was.as_f64() {
                        Some(number) => Value::from(number + [-1.0, 1.0, 0.5][draw.random_range(0..3)]),
                        None => self.value(draw),
                    },
                    _ => self.value(draw),
                };
            }
        }
    }

    fn value(&self, draw: &mut ChaCha8Rng) -> Value {
        self.values.choose(draw).cloned().unwrap_or_default()
    }

    fn by_bytes(&self, mut input: Vec<u8>, draw: &mut ChaCha8Rng) -> Vec<u8> {
        if input.is_empty() {
            return vec![draw.random()];
        }
        let length = input.len();
        let at = match self.grammar == Grammar::Parquet && draw.random_bool(0.7) {
            true => length - 1 - draw.random_range(0..length.min(700)),
            false => draw.random_range(0..length),
        };
        let to = (at + draw.random_range(1..=64)).min(length);
        match draw.random_range(0..10) {
            0 | 1 => input[at] ^= 1 << draw.random_range(0..8),
            2 | 3 => {
                input[at] = *[0, 1, 0x7F, 0x80, 0xFF, b'\n', b'"', draw.random()].choose(draw).expect("some")
            }
            4 => drop(input.drain(at..to)),
            5 => input.truncate(at),
            6 => {
                let span = input[at..to].to_vec();
                input.splice(at..at, span);
            }
            7 => {
                let extreme: i64 = *[0, -1, i64::MAX, i64::MIN, 1 << 31, 1 << 40].choose(draw).expect("some");
                let bytes = extreme.to_le_bytes();
                let end = (at + *[1, 2, 4, 8].choose(draw).expect("some")).min(length);
                input[at..end].copy_from_slice(&bytes[..end - at]);
            }
            8 => {
                let other = self.corpus.choose(draw).expect("a corpus");
                let from = draw.random_range(0..other.len().max(1)).min(other.len());
                let end = (from + draw.random_range(1..200)).min(other.len());
                input.splice(at..to, other[from..end].iter().copied());
            }
            _ => {
                let noise: Vec<u8> = (0..draw.random_range(1..16)).map(|_| draw.random()).collect();
                input.splice(at..at, noise);
            }
        }
        input
    }
}

/// The header of a safetensors file.
fn header(bytes: &[u8]) -> Option<Map<String, Value>> {
    let length = u64::from_le_bytes(bytes.get(..8)?.try_into().ok()?) as usize;
    serde_json::from_slice(bytes.get(8..length.checked_add(8)?)?).ok()
}

/// A value and all inside it.
fn inner(value: &Value, found: &mut Vec<Value>) {
    match value {
        Value::Array(list) => list.iter().take(8).for_each(|value| inner(value, found)),
        Value::Object(map) => map.values().for_each(|value| inner(value, found)),
        _ => {}
    }
    if value.to_string().len() < 2000 {
        found.push(value.clone());
    }
}

#[test]
fn an_input_is_its_number() {
    let corpus = || vec![br#"{"a":[1,2,{"b":"c"}]}"#.to_vec()];
    let [one, other] = [0, 1].map(|_| Mutator::new("x", Grammar::Json, corpus()));
    for index in 0..200 {
        assert_eq!(one.input(index), other.input(index));
    }
    let different: std::collections::HashSet<Vec<u8>> = (0..200).map(|index| one.input(index)).collect();
    assert!(different.len() > 150, "{}", different.len());
}
