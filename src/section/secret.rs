//! What of a recipe may be a password or a key: by its name, or as services write them. No message repeats it.

use toml::Value;

/// What stands in the place of a value that may be a secret.
const IN_ITS_PLACE: &str = "…";

/// Words before `token` that make it one of a model's.
const OF_A_MODEL: [&str; 20] = [
    "eos", "bos", "pad", "unk", "sep", "cls", "mask", "stop", "end", "start", "begin", "image", "audio",
    "video", "think", "special", "next", "per", "max", "min",
];

/// Whether something of this name is a secret.
pub fn names_a_secret(name: &str) -> bool {
    let lower = name.to_lowercase();
    let plain: String = lower.chars().filter(|c| c.is_alphanumeric()).collect();
    let parts =
        ["apikey", "secret", "passw", "authorization", "accesstoken", "authtoken", "bearer", "credential"];
    let whole = ["key", "token", "auth", "xapikey", "subscriptionkey", "sig", "signature", "pwd", "jwt"];
    let mut words = lower.rsplit(|c: char| !c.is_alphanumeric());
    let token = words.next() == Some("token") && words.next().is_some_and(|word| !OF_A_MODEL.contains(&word));
    token || parts.iter().any(|part| plain.contains(part)) || whole.contains(&plain.as_str())
}

/// How services' keys begin, and JSON Web Tokens.
const BEGINS: [&str; 12] =
    ["sk-", "sk_", "hf_", "ghp_", "gsk_", "xai-", "AIza", "AKIA", "pplx-", "nvapi-", "Bearer ", "Basic "];
const WEB_TOKEN: &str = "eyJ";

/// Whether a text looks as services write their keys, or is a JSON Web Token.
pub fn is_a_key(text: &str) -> bool {
    let begun = BEGINS.iter().any(|begin| text.starts_with(begin)) || is_web_token(text);
    text.len() >= 20 && begun && !text.chars().skip(7).any(char::is_whitespace)
}

/// Three parts of base64 with dots between, of which the first is an object of JSON.
fn is_web_token(text: &str) -> bool {
    let digits = |part: &str| {
        !part.is_empty() && part.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
    };
    text.starts_with(WEB_TOKEN) && text.split('.').count() == 3 && text.split('.').all(digits)
}

/// Whether a text has a key or a password in it: as one of its words, or before an address's `@`.
pub fn holds_a_key(text: &str) -> bool {
    let password = text.match_indices("://").any(|(at, found)| {
        let rest = &text[at + found.len()..];
        let end = rest.find(|c: char| c.is_whitespace() || "/?#\"'".contains(c)).unwrap_or(rest.len());
        rest[..end].contains('@')
    });
    // No part of a text without such a beginning is one.
    let may = BEGINS.iter().chain([&WEB_TOKEN]).any(|begin| text.contains(begin));
    password || (may && has_a_key(text))
}

fn has_a_key(text: &str) -> bool {
    let around = |c: char| c.is_whitespace() || "\"'`/?&=#,;:@()[]{}<>|".contains(c);
    text.split(around).any(is_a_key) || text.split(['"', '\'', '=']).any(|part| is_a_key(part.trim()))
}

/// Whether a field of an address's query is a secret: some services call their key `code` there.
pub fn queries_a_secret(name: &str) -> bool {
    names_a_secret(name) || name.eq_ignore_ascii_case("code")
}

/// Whether the value under this name is a secret, which the name of an environment variable is not.
fn is_secret(name: &str, is_variable: impl Fn() -> bool) -> bool {
    names_a_secret(name) && !(name.ends_with("_env") && is_variable())
}

/// The length of the environment variable's name that a text begins with.
fn variable(text: &str) -> usize {
    let of_one = |c: char| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_';
    text.find(|c| !of_one(c)).unwrap_or(text.len())
}

/// Whether a text of `key = value`s, as files and command lines have them, gives a secret.
pub fn gives_a_secret(text: &str) -> bool {
    let named = text.match_indices('=').any(|(at, _)| {
        let before = text[..at].trim_end().trim_end_matches(['"', '\'']);
        let keys = before.rsplit(|c: char| !(c.is_alphanumeric() || "_-.".contains(c))).next().unwrap_or("");
        let value = text[at + 1..].trim_start().trim_start_matches(['"', '\'']);
        // Not to its end: a value may be as long as the text, and there may be as many.
        let is_variable = || {
            let (name, rest) = value.split_at(variable(value));
            let ends = |c: char| c.is_whitespace() || "\"',}]&".contains(c);
            !name.is_empty() && rest.chars().next().is_none_or(ends)
        };
        let queried = before.strip_suffix(keys).is_some_and(|rest| rest.ends_with(['?', '&']));
        keys.split('.').any(|name| is_secret(name, is_variable)) || (queried && queries_a_secret(keys))
    });
    named || holds_a_key(text)
}

/// Whether the value at a dotted key is a secret, or a part of it.
pub fn hides(key: &str, value: &Value) -> bool {
    // Numbers and the like are none, whatever they are called.
    let may = matches!(value, Value::String(_) | Value::Array(_) | Value::Table(_));
    let text = value.as_str().unwrap_or_default();
    let is_variable = || !text.is_empty() && variable(text) == text.len();
    may && (key.split('.').any(|name| is_secret(name, is_variable)) || gives_a_secret(&value.to_string()))
}

/// The value at a dotted key as a message shows it.
pub fn shown(key: &str, value: &Value) -> String {
    if hides(key, value) { IN_ITS_PLACE.to_owned() } else { value.to_string() }
}

/// `key=value` as a message shows it: the key alone where the value may be a secret.
pub fn assignment(text: &str) -> String {
    match text.split_once('=') {
        _ if !gives_a_secret(text) => text.to_owned(),
        Some((key, _)) if !holds_a_key(key) => format!("{}={IN_ITS_PLACE}", key.trim_end()),
        _ => IN_ITS_PLACE.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "sk-abcdefghijklmnopqrst";
    const WEB: &str = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl";

    #[test]
    fn names_of_secrets_are_told_from_others() {
        for name in
            ["api_key", "user_token", "Access-Token", "refresh_token", "sig", "endpoint_password", "token"]
        {
            assert!(names_a_secret(name), "{name}");
        }
        for name in [
            "max_tokens",
            "eos_token",
            "stop_token",
            "tokenizer",
            "prompt_cache_key",
            "optim",
            "keys",
            "max_token",
        ] {
            assert!(!names_a_secret(name), "{name}");
        }
    }

    #[test]
    fn keys_are_told_from_other_texts() {
        assert!([KEY, WEB, "Bearer abcdefghijklmnopq"].into_iter().all(is_a_key));
        assert!(
            !["sk-short", "eyJhbGciOiJIUzI1NiJ9.no", "a.b.c", "task-abcdefghijklmnopqrst"]
                .into_iter()
                .any(is_a_key)
        );
        for text in [
            "http://u:p@host/v1",
            "https://x/v1/sk-abcdefghijklmnopqrst/y",
            "['a', 'hf_abcdefghijklmnopqrst']",
        ] {
            assert!(holds_a_key(text), "{text}");
        }
        assert!(!holds_a_key("http://localhost:8000/v1") && !holds_a_key("mail@example.org"));
    }

    /// Each of as many values as a text is long goes to its end, which is not looked for.
    #[test]
    fn a_text_of_many_values_is_read_once() {
        for values in ["a=", "api_key_env=", "a='", "https:a"] {
            let text = values.repeat(1 << 17);
            assert_eq!(gives_a_secret(&text), values.starts_with("api"), "{values}");
        }
    }

    #[test]
    fn an_assignment_of_a_secret_is_shown_by_its_key() {
        for (text, said) in [
            ("optim.lr=1e-6", "optim.lr=1e-6"),
            ("policy.sampling.max_tokens=7", "policy.sampling.max_tokens=7"),
            ("a.extra.api_key=x", "a.extra.api_key=…"),
            ("a.api_key_env=sk-1", "a.api_key_env=…"),
            ("a.api_key_env=OPENAI_KEY", "a.api_key_env=OPENAI_KEY"),
            ("a={ api_key_env = \"OPENAI_KEY\" }", "a={ api_key_env = \"OPENAI_KEY\" }"),
            ("a.url=http://u:PASS@h/v1", "a.url=…"),
            ("a.url=http://h/v1?code=PASS", "a.url=…"),
            ("a={ url = 'http://h', \"api_key\" = 'PASS' }", "a=…"),
            ("a.stop=['x', 'sk-abcdefghijklmnopqrst']", "a.stop=…"),
            ("sk-abcdefghijklmnopqrst", "…"),
            ("code=1", "code=1"),
        ] {
            assert_eq!(assignment(text), said);
        }
        assert_eq!(shown("a.api_key", &Value::String("x".into())), "…");
        assert_eq!(shown("a.token", &Value::Integer(3)), "3");
        assert_eq!(shown("a.name", &Value::String("x".into())), "\"x\"");
    }
}
