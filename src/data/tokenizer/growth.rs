//! How much longer a tokenizer's normaliser and pre-tokenisers make a text, which hostile ones would without bounds.

use regex::Regex;
use serde_json::Value;

/// Times longer than a text may become.
const MOST_TIMES: f64 = 64.0;
/// Bytes that may come to each stretch of a text.
const MOST_BYTES: f64 = 4096.0;
/// Times longer than its pre-tokenisers may make what is normalised.
const MOST_TIMES_IN_PIECES: f64 = 16.0;
/// Normalisers in a row, and pre-tokenisers.
const MOST_STEPS: usize = 100;

/// A stretch of n bytes becomes at most `times` · n + `bytes`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Growth {
    times: f64,
    bytes: f64,
}

impl Growth {
    const NONE: Self = Self { times: 1.0, bytes: 0.0 };

    /// Of the tokenizer in this file.
    ///
    /// # Errors
    /// Where it is more than any tokenizer needs.
    pub fn of(file: &[u8]) -> Result<Self, String> {
        let Ok(json) = serde_json::from_slice::<Value>(file) else { return Ok(Self::NONE) };
        let (mut steps, mut pieces) = (Vec::new(), Vec::new());
        listed(&json["normalizer"], "normalizers", &mut steps);
        listed(&json["pre_tokenizer"], "pretokenizers", &mut pieces);
        for (name, steps) in [("normalizers", &steps), ("pre-tokenizers", &pieces)] {
            if steps.len() > MOST_STEPS {
                return Err(format!("it has {} {name}, and the most is {MOST_STEPS}", steps.len()));
            }
        }
        let in_pieces: f64 = pieces.into_iter().map(in_pieces).product();
        if in_pieces > MOST_TIMES_IN_PIECES {
            return Err(format!("its pre-tokenizers make texts up to {in_pieces:.0} times longer"));
        }
        let whole = steps.into_iter().fold(Self::NONE, Self::then);
        match whole {
            Self { times, .. } if times > MOST_TIMES => {
                Err(format!("its normalizer makes texts up to {times:.0} times longer"))
            }
            Self { bytes, .. } if bytes > MOST_BYTES => {
                Err(format!("its normalizer puts up to {bytes:.0} bytes before a text"))
            }
            whole => Ok(whole),
        }
    }

    /// Bytes that a text of so many comes to, if it is no more than so many stretches between special tokens.
    pub fn after(self, length: usize, stretches: usize) -> f64 {
        self.times * length as f64 + self.bytes * stretches as f64
    }

    fn then(self, step: &Value) -> Self {
        let length = |value: &Value| value.as_str().map_or(0, str::len) as f64;
        match step["type"].as_str() {
            Some("Prepend") => Self { bytes: self.bytes + length(&step["prepend"]), ..self },
            Some("Replace") => {
                let content = length(&step["content"]);
                if step["pattern"]["Regex"].as_str().is_some_and(matches_nothing) {
                    // Before each byte, and at the end.
                    let times = 1.0 + content;
                    return Self { times: self.times * times, bytes: self.bytes * times + content };
                }
                // What else a regular expression matches may be a single byte.
                let pattern = length(&step["pattern"]["String"]).max(1.0);
                let times = (content / pattern).max(1.0);
                Self { times: self.times * times, bytes: self.bytes * times }
            }
            Some("ByteLevel") => Self { times: 2.0 * self.times, bytes: 2.0 * self.bytes },
            _ => self,
        }
    }
}

/// Times longer than a pre-tokeniser makes its pieces, of which each may be a single byte: one of bytes writes each as a character of up to two, and puts a
/// space before a piece; one of words a mark of three, or whatever its mark has, in the place of a space and before a piece.
fn in_pieces(step: &Value) -> f64 {
    match step["type"].as_str() {
        Some("ByteLevel") if step["add_prefix_space"] == false => 2.0,
        Some("ByteLevel") => 4.0,
        Some("Metaspace") => 1.0 + step["replacement"].as_str().map_or(3, str::len) as f64,
        _ => 1.0,
    }
}

/// Whether a regular expression may match between two characters, where what is put in takes nothing out. Those that only look at what is around
/// them do, and of those that are not known here it is taken to be so.
fn matches_nothing(pattern: &str) -> bool {
    let looks = ["^", "$", r"\b", r"\B", r"\A", r"\z"].iter().any(|look| pattern.contains(look));
    looks || Regex::new(pattern).map_or(true, |known| known.is_match(""))
}

/// The steps of a sequence, which has them under `key`, and of those in it, in their order; not many more than there may be.
fn listed<'v>(one: &'v Value, key: &str, steps: &mut Vec<&'v Value>) {
    match one[key].as_array().filter(|_| one["type"] == "Sequence") {
        Some(inner) => inner.iter().take(MOST_STEPS + 1).for_each(|step| listed(step, key, steps)),
        None if !one.is_null() => steps.push(one),
        None => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn of(normalizer: Value) -> Result<Growth, String> {
        Growth::of(json!({"normalizer": normalizer}).to_string().as_bytes())
    }

    #[test]
    fn what_grows_is_bounded() {
        let prepend = |text: &str| json!({"type": "Prepend", "prepend": text});
        let replace =
            |from: &str, to: &str| json!({"type": "Replace", "pattern": {"String": from}, "content": to});
        let all = |steps: Vec<Value>| json!({"type": "Sequence", "normalizers": steps});
        // Llama's: a space becomes three bytes, of those put before the text too.
        let llama = of(all(vec![prepend("▁"), replace(" ", "▁")])).unwrap();
        assert_eq!(llama.after(1000, 1), 3000.0 + 9.0);
        assert_eq!(of(Value::Null).unwrap(), Growth::NONE);
        assert!(of(replace("a", &"b".repeat(65))).unwrap_err().contains("up to 65 times longer"));
        assert!(of(all(vec![replace("a", "aaaaaaaa"); 3])).unwrap_err().contains("up to 512 times longer"));
        assert!(of(prepend(&"b".repeat(5000))).unwrap_err().contains("puts up to 5000 bytes"));
        let compounded = all(vec![prepend(&"b".repeat(1000)), replace("b", "bbbbbbbb")]);
        assert!(of(compounded).unwrap_err().contains("puts up to 8000 bytes"));
        // A regular expression that matches nothing takes nothing out: each doubles the text.
        let regex =
            |from: &str, to: &str| json!({"type": "Replace", "pattern": {"Regex": from}, "content": to});
        assert_eq!(of(regex("x*", "a")).unwrap().after(1000, 1), 2001.0);
        assert_eq!(of(all(vec![regex(" {2,}", " "); 20])).unwrap(), Growth::NONE);
        for nothing in ["(?=a)", r"\b", ""] {
            let doubled = of(all(vec![regex(nothing, "a"); 7]));
            assert!(doubled.unwrap_err().contains("up to 128 times longer"), "{nothing}");
        }
        assert!(of(all(vec![json!({"type": "Lowercase"}); 101])).unwrap_err().contains("101 normalizers"));
        assert!(
            of(all(vec![json!({"type": "ByteLevel"}); 7])).unwrap_err().contains("up to 128 times longer")
        );
    }

    /// Twenty that write bytes as characters of two made a million of one: they took 10 s for a word.
    #[test]
    fn pieces_that_grow_are_bounded() {
        let of = |steps: Vec<Value>| {
            let sequence = json!({"type": "Sequence", "pretokenizers": steps});
            Growth::of(json!({"pre_tokenizer": sequence}).to_string().as_bytes())
        };
        let bytes = |space: bool| json!({"type": "ByteLevel", "add_prefix_space": space});
        // GPT-2's and Llama 3's, and what people make of both.
        let split = json!({"type": "Split", "pattern": {"Regex": "\\s+"}, "behavior": "Isolated"});
        assert_eq!(of(vec![split.clone(), bytes(false)]), Ok(Growth::NONE));
        assert_eq!(
            of(vec![json!({"type": "Metaspace", "replacement": "▁"}), bytes(false)]),
            Ok(Growth::NONE)
        );
        assert!(of(vec![bytes(false); 4]).is_ok());
        assert!(of(vec![bytes(false); 5]).unwrap_err().contains("make texts up to 32 times longer"));
        assert!(of(vec![bytes(true); 3]).unwrap_err().contains("make texts up to 64 times longer"));
        let long = json!({"type": "Metaspace", "replacement": "▁▁▁▁▁▁"});
        assert!(of(vec![long]).unwrap_err().contains("up to 19 times longer"));
        assert!(of(vec![split; 101]).unwrap_err().contains("101 pre-tokenizers"));
    }
}
