//! Keeping a key out of whatever is shown or kept: in all the forms in which a server may repeat it.

use crate::section::secret::{holds_a_key, names_a_secret};
use serde_json::Value;

/// What stands in a key's place.
const IN_ITS_PLACE: &str = "(the key)";
/// A shorter key is a placeholder, such as `EMPTY` for a server that wants none: an answer may well have such a word.
const SHORTEST: usize = 8;

/// The forms of a key, the longest first; none where there is none.
pub(super) struct Secrets {
    forms: Vec<String>,
    /// Whether it is long enough to be told from ordinary words.
    telling: bool,
}

impl Secrets {
    /// Those of a key as it is sent: what stands behind `Bearer` or `Basic`.
    pub fn of(key: Option<&str>) -> Self {
        let key = key.map_or("", |key| bare(key));
        let mut forms = if key.len() < 4 { vec![] } else { forms(key) };
        forms.sort_by_key(|form| std::cmp::Reverse(form.len()));
        forms.dedup();
        Self { forms, telling: key.len() >= SHORTEST }
    }

    /// A text to be shown, without the key.
    pub fn out_of(&self, text: &str) -> String {
        self.forms.iter().fold(text.to_owned(), |text, form| text.replace(form, IN_ITS_PLACE))
    }

    /// An answer without the key, where it has it.
    pub fn out_of_answer(&self, text: &str) -> Option<String> {
        let found = self.telling && self.forms.iter().any(|form| text.contains(form));
        found.then(|| self.out_of(text))
    }
}

/// The key without the scheme in front.
fn bare(key: &str) -> &str {
    key.strip_prefix("Bearer ").or(key.strip_prefix("Basic ")).unwrap_or(key).trim()
}

/// The key as it is, in JSON, in an address, in hexadecimal digits, and in base64 wherever it begins there.
fn forms(key: &str) -> Vec<String> {
    let json = Value::from(key).to_string();
    let json = &json[1..json.len() - 1];
    let percent = |all: bool, upper: bool| -> String {
        let plain = |byte: u8| !all && (byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte));
        let written = |byte: u8| match (plain(byte), upper) {
            (true, _) => char::from(byte).to_string(),
            (_, true) => format!("%{byte:02X}"),
            (_, false) => format!("%{byte:02x}"),
        };
        key.bytes().map(written).collect()
    };
    let hex = |upper: bool| percent(true, upper).replace('%', "");
    let unicode = key.encode_utf16().map(|unit| format!("\\u{unit:04x}")).collect();
    let mut forms = vec![key.to_owned(), json.to_owned(), json.replace('/', "\\/"), unicode];
    forms.extend([percent(false, true), percent(false, false), percent(true, true), percent(true, false)]);
    forms.extend([hex(true), hex(false)]);
    for offset in 0..3 {
        let standard = base64(key.as_bytes(), offset);
        forms.push(standard.replace('+', "-").replace('/', "_"));
        forms.push(standard);
    }
    forms
}

/// The digits of base64 that `bytes` alone decide, where they begin at `offset` bytes behind a group's begin.
fn base64(bytes: &[u8], offset: usize) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let bit = |at: usize| bytes[at / 8 - offset] >> (7 - at % 8) & 1;
    let (from, to) = ((offset * 8).div_ceil(6), (offset + bytes.len()) * 8 / 6);
    let digit =
        |place: usize| (place * 6..place * 6 + 6).fold(0, |digit, at| digit << 1 | usize::from(bit(at)));
    (from..to).map(|place| char::from(DIGITS[digit(place)])).collect()
}

/// What is wrong with further fields of requests that hold a secret: the path of each, from `extra` on.
pub(super) fn held(path: String, value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                let path = format!("{path}.{name}");
                match value {
                    Value::String(text) if !text.is_empty() && names_a_secret(name) => found.push(path),
                    _ => held(path, value, found),
                }
            }
        }
        Value::Array(all) => all.iter().for_each(|value| held(path.clone(), value, found)),
        Value::String(text) if holds_a_key(text) => found.push(path),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const KEY: &str = "sk-a/b+\"c\"=9Zq_";

    #[test]
    fn a_key_is_taken_out_in_every_form() {
        let secrets = Secrets::of(Some(&format!("Bearer {KEY}")));
        // By `base64` of coreutils: of the key, and behind one and two further bytes.
        let encoded = ["c2stYS9iKyJjIj05WnFf", "eHNrLWEvYisiYyI9OVpxXw==", "eHhzay1hL2IrImMiPTlacV8="];
        let others = [
            "sk-a/b+\\\"c\\\"=9Zq_",
            "sk-a\\/b+\\\"c\\\"=9Zq_",
            "sk-a%2Fb%2B%22c%22%3D9Zq_",
            "sk-a%2fb%2b%22c%22%3d9Zq_",
        ];
        for form in encoded
            .iter()
            .chain(&others)
            .chain([&KEY, &"736b2d612f622b226322 3d395a715f".replace(' ', "").as_str()])
        {
            let said = secrets.out_of(&format!("wrong: {form}!"));
            assert!(
                said.contains("(the key)") && said.len() <= "wrong: xxxx(the key)xxxx!".len(),
                "{form}: {said}"
            );
            assert!(secrets.out_of_answer(form).is_some());
        }
        assert_eq!(secrets.out_of("sk-a"), "sk-a");
    }

    #[test]
    fn a_placeholder_is_a_word_like_others() {
        assert_eq!(Secrets::of(Some("EMPTY")).out_of_answer("EMPTY"), None);
        assert_eq!(Secrets::of(Some("EMPTY")).out_of("Bearer EMPTY"), "Bearer (the key)");
        assert_eq!(Secrets::of(Some("x")).out_of("xyz"), "xyz");
        assert_eq!(Secrets::of(None).out_of("xyz"), "xyz");
    }

    #[test]
    fn secrets_among_further_fields_are_found() {
        let extra = json!({"top_p": 1, "api_key": "k", "x": {"Authorization": "Bearer y"}, "max_completion_tokens": 7,
            "stop": ["a", "sk-abcdefghijklmnopqrst"], "tokenizer": "llama", "token": 3, "prompt_cache_key": "runs",
            "reasoning_effort": "low", "user": "sk-short", "eos_token": "</s>", "metadata": {"user_token": "k", "run": "a"},
            "trace": "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl"});
        let mut found = vec![];
        held("extra".into(), &extra, &mut found);
        let expected = [
            "extra.api_key",
            "extra.x.Authorization",
            "extra.stop",
            "extra.metadata.user_token",
            "extra.trace",
        ];
        assert_eq!(found, expected);
    }
}
