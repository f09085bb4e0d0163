//! What of a recipe may be a password or a key: by its name, or as services write them. No message repeats it.

mod command;

pub use command::{in_a_command, told};

use toml::{Table, Value};

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

/// Words that are a secret's wherever a variable's name has them.
const OF_SECRETS: [&str; 13] = [
    "pat",
    "pem",
    "login",
    "cred",
    "cookie",
    "jwt",
    "sig",
    "signature",
    "passcode",
    "passfile",
    "keyring",
    "keychain",
    "bearer",
];
/// What such a word is, or ends with, as in `PGPASS`; what it has in it; and words of which the former is not so.
const ENDINGS: [&str; 7] = ["key", "token", "auth", "pass", "pwd", "passphrase", "webhook"];
const PARTS: [&str; 6] = ["apikey", "secret", "passw", "authorization", "credential", "privatekey"];
const OTHERWISE: [&str; 8] =
    ["monkey", "hotkey", "turkey", "bypass", "compass", "encompass", "oldpwd", "xauth"];
/// Words before `tokens` that count them, beside those of a model.
const COUNTS: [&str; 5] = ["num", "n", "new", "total", "count"];

/// Whether a variable of the environment may be a secret: by any word of its name, or by its value, where that is text. What is only on or off is none.
pub fn in_a_variable(name: &str, value: Option<&str>) -> bool {
    let flag = |value: &str| {
        let value = value.trim().to_lowercase();
        value.chars().nth(1).is_none()
            || ["true", "false", "yes", "no", "on", "off"].contains(&value.as_str())
    };
    // The shell's working directories.
    let harmless = ["PWD", "OLDPWD"].contains(&name) || value.is_some_and(flag);
    !harmless
        && (has_secret_words(name) || value.is_some_and(|value| holds_a_key(value) || settles_a_key(value)))
}

/// Whether a name of several words has one of a secret. Words end at what is no letter, and where `camelCase` goes on.
fn has_secret_words(name: &str) -> bool {
    let mut words = vec![String::new()];
    let mut lower = false;
    for c in name.chars() {
        if !c.is_alphabetic() || (lower && c.is_uppercase()) {
            words.push(String::new());
        }
        if c.is_alphabetic() {
            words.last_mut().expect("one at least").extend(c.to_lowercase());
        }
        lower = c.is_lowercase();
    }
    words.retain(|word| !word.is_empty());
    let before = |at: usize| if at == 0 { "" } else { words[at - 1].as_str() };
    let is_one = |(at, word): (usize, &String)| {
        let one = word.strip_suffix('s').filter(|one| !one.ends_with('s')).unwrap_or(word);
        let counted = one == "token" && (OF_A_MODEL.contains(&before(at)) || COUNTS.contains(&before(at)));
        let ends = ENDINGS.iter().any(|ending| one.ends_with(ending)) && !OTHERWISE.contains(&one);
        let has = PARTS.iter().any(|part| one.contains(part));
        !counted && (ends || has || OF_SECRETS.contains(&one))
    };
    words.iter().enumerate().any(is_one)
}

/// Whether a text of settings, such as `Endpoint=…;AccountKey=…`, `-Dname=value` or `--name=value`, gives a secret, or is a hook's address, which is one itself.
fn settles_a_key(text: &str) -> bool {
    let hook = ["://hooks.", "/webhook/", "/webhooks/"].iter().any(|part| text.contains(part));
    let plain = |c: char| c.is_alphanumeric() || " _-.".contains(c);
    let named = |setting: &str| {
        setting.split_once('=').is_some_and(|(name, value)| {
            !value.is_empty() && name.chars().all(plain) && has_secret_words(name)
        })
    };
    hook || text.split([';', '&', '?', ',', '\n', '\t', ' ']).any(named)
}

/// How services' keys begin, and JSON Web Tokens.
const BEGINS: [&str; 22] = [
    "sk-",
    "sk_",
    "hf_",
    "ghp_",
    "gho_",
    "ghs_",
    "ghu_",
    "github_pat_",
    "glpat-",
    "xoxb-",
    "xoxp-",
    "npm_",
    "gsk_",
    "xai-",
    "AIza",
    "AKIA",
    "pplx-",
    "nvapi-",
    "ya29.",
    "rk_live_",
    "Bearer ",
    "Basic ",
];
/// What stands above a private key in a file of PEM.
const PEM: &str = "PRIVATE KEY-----";
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

/// Whether a text has a key or a password in it: as one of its words, as a block of PEM, or before an address's `@`.
pub fn holds_a_key(text: &str) -> bool {
    let password = text.match_indices("://").any(|(at, found)| {
        let rest = &text[at + found.len()..];
        let end = rest.find(|c: char| c.is_whitespace() || "/?#\"'".contains(c)).unwrap_or(rest.len());
        rest[..end].contains('@')
    });
    // No part of a text without such a beginning is one.
    let may = BEGINS.iter().chain([&WEB_TOKEN]).any(|begin| text.contains(begin));
    password || text.contains(PEM) || (may && has_a_key(text))
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
    let words: Vec<&str> = match value {
        Value::Array(all) => all.iter().filter_map(Value::as_str).collect(),
        _ => text.split_whitespace().collect(),
    };
    may && (key.split('.').any(|name| is_secret(name, is_variable))
        || gives_a_secret(&value.to_string())
        || in_a_command(&words).is_some())
}

/// The value at a dotted key as a message shows it.
pub fn shown(key: &str, value: &Value) -> String {
    if hides(key, value) { IN_ITS_PLACE.to_owned() } else { value.to_string() }
}

/// `key=value` as a message shows it: the key alone where the value may be a secret.
pub fn assignment(text: &str) -> String {
    let of_command = |(_, value): (&str, &str)| {
        let read = format!("v = {value}").parse::<Table>();
        read.is_ok_and(|table| table.values().any(|value| hides("", value)))
    };
    match text.split_once('=') {
        given if !gives_a_secret(text) && !given.is_some_and(of_command) => text.to_owned(),
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
    fn secrets_of_the_environment_are_told_by_names_and_values() {
        for (name, value) in [
            ("SIGNING_KEY", "x1"),
            ("PRIVATE_KEY_PEM", "x1"),
            ("SSH_PASSPHRASE", "x1"),
            ("PGPASS", "x1"),
            ("DB_PASSWORD_OLD", "x1"),
            ("GITHUB_PAT", "x1"),
            ("GH_TOKEN_2", "x1"),
            ("HFTOKEN", "x1"),
            ("API_TOKENS", "x1,x2"),
            ("NPM_CONFIG__AUTH", "x1"),
            ("npm_config__authToken", "x1"),
            ("NETRC_LOGIN", "x1"),
            ("SLACK_WEBHOOK", "x1"),
            ("SSH_AUTH_SOCK", "/tmp/agent.1"),
            ("AWS_SECRET_ACCESS_KEY", "x1"),
            ("GOOGLE_APPLICATION_CREDENTIALS", "/k.json"),
            ("GIT_ASKPASS", "/a.sh"),
            ("AZURE_CONNECTION", "AccountName=a;AccountKey=x1;x=1"),
            ("BUS", "Endpoint=sb://h/;SharedAccessSignature=x1"),
            ("STORE", "https://h/c?sv=1&sig=x1"),
            ("JAVA_TOOL_OPTIONS", "-Xmx1g -Djavax.net.ssl.trustStorePassword=x1"),
            ("PAPERS", "-----BEGIN PRIVATE KEY-----\nMII"),
            ("NOTIFY", "https://hooks.slack.com/services/T/B/x1"),
            ("NOTIFY", "https://discord.com/api/webhooks/1/x1"),
            ("PGURL", "postgres://u:x1@h/d"),
            ("REMOTE", "ghs_abcdefghijklmnopqrst"),
        ] {
            assert!(in_a_variable(name, Some(value)), "{name}={value}");
        }
        assert!(in_a_variable("SIGNING_KEY", None));
        for (name, value) in [
            ("PATH", "/usr/bin:/bin"),
            ("PWD", "/work"),
            ("OLDPWD", "/work"),
            ("KEYBOARD", "us"),
            ("XKB_DEFAULT_LAYOUT", "de"),
            ("XAUTHORITY", "/home/u/.Xauthority"),
            ("GIT_AUTHOR_NAME", "Someone"),
            ("LOGNAME", "someone"),
            ("TOKENIZERS_PARALLELISM", "warn"),
            ("MAX_TOKENS", "512"),
            ("EOS_TOKEN", "</s>"),
            ("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1"),
            ("CONDA_PATCH", "x1"),
            ("SSH_CONNECTION", "10.0.0.1 22 10.0.0.2 22"),
            ("LS_COLORS", "di=01;34:*.tar=01;31:*.key=00;36"),
            ("XLA_FLAGS", "--xla_gpu_cuda_data_dir=/cuda --xla_dump_to=/d"),
            ("DATABASE", "postgres://localhost/d"),
            ("MANPATH", "/usr/man"),
            ("LD_LIBRARY_PATH", "/lib"),
        ] {
            assert!(!in_a_variable(name, Some(value)), "{name}={value}");
        }
        assert!(holds_a_key("-----BEGIN OPENSSH PRIVATE KEY-----"));
        assert!(!holds_a_key("-----BEGIN CERTIFICATE-----"));
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
            ("a.command=['./x', '--api-key', 'PASS-WORD']", "a.command=…"),
            ("a.command=['./x', '--tries', '2']", "a.command=['./x', '--tries', '2']"),
        ] {
            assert_eq!(assignment(text), said);
        }
        assert_eq!(shown("a.api_key", &Value::String("x".into())), "…");
        assert_eq!(shown("a.token", &Value::Integer(3)), "3");
        assert_eq!(shown("a.name", &Value::String("x".into())), "\"x\"");
    }
}
