//! Secrets among the words of a command line, which would stand in the run's folder, in its report and in messages.

use super::{IN_ITS_PLACE, assignment, has_secret_words, holds_a_key, names_a_secret};
use std::path::Path;

/// Last words of names that say where a secret lies or what it is called.
const ELSEWHERE: [&str; 17] = [
    "file", "path", "dir", "folder", "env", "var", "variable", "name", "column", "field", "id", "type",
    "url", "length", "limit", "count", "rate",
];
/// Words of names that are a secret's alone: of others (`token`, `answer-key`, `signature`) it is what is drawn as keys are.
const SECRET: [&str; 9] =
    ["password", "passwd", "passphrase", "secret", "credential", "bearer", "authorization", "apikey", "pwd"];
/// Words before `key` or `token` that make a secret of it.
const GRANTS: [&str; 16] = [
    "api",
    "access",
    "auth",
    "private",
    "client",
    "session",
    "refresh",
    "service",
    "hf",
    "gh",
    "github",
    "gitlab",
    "openai",
    "anthropic",
    "aws",
    "wandb",
];
/// Programs whose users have groups behind a colon, and no passwords.
const GROUPS: [&str; 7] = ["docker", "podman", "nerdctl", "setpriv", "chroot", "rsync", "install"];
/// Options whose value is a name and a password, `me:pw`.
const OF_USERS: [&str; 4] = ["-u", "--user", "-U", "--proxy-user"];

/// The place of the first of a command's words that holds a secret: a service's key, an address with a password, `NAME=value`, `--name=value`,
/// `--name value` or `Name: value` of a name that is a secret's, `-u me:password`; in a script of a shell's too. What names a variable (`$NAME`) or a file that is
/// there is none.
pub fn in_a_command<S: AsRef<str>>(words: &[S]) -> Option<usize> {
    let words: Vec<&str> = words.iter().map(AsRef::as_ref).collect();
    (0..words.len()).find(|&at| {
        let word = words[at];
        let before = at.checked_sub(1).map_or("", |before| words[before]);
        let grouped = || words[..at].iter().any(|word| GROUPS.contains(word));
        let of_option = of_an_option(before, word) && !(OF_USERS.contains(&before) && grouped());
        holds_a_key(word) || of_option || is_given(word) || in_a_script(word)
    })
}

/// The words of a command as they may be kept: of one that holds a secret what stands before its `=` alone.
pub fn told<S: AsRef<str>>(words: &[S]) -> Vec<String> {
    let mut told: Vec<String> = words.iter().map(|word| assignment(word.as_ref())).collect();
    // What was put in a secret's place is none, so that each is found once.
    for _ in 0..told.len() {
        let Some(at) = in_a_command(&told) else { break };
        told[at] = match told[at].split_once('=') {
            Some((name, _)) if is_name(name) && !holds_a_key(name) => format!("{name}={IN_ITS_PLACE}"),
            _ => IN_ITS_PLACE.to_owned(),
        };
    }
    told
}

/// Whether a word is the value of the option before it, and that a secret's.
fn of_an_option(option: &str, word: &str) -> bool {
    let user = OF_USERS.contains(&option)
        && word.split_once(':').is_some_and(|(name, password)| {
            let number = |text: &str| text.chars().all(|c| c.is_ascii_digit());
            // `1000:1000` is a user and a group.
            !name.is_empty() && is_value(password) && !(number(name) && number(password))
        });
    user || (option.starts_with('-') && !word.starts_with('-') && gives(option, word))
}

/// Whether a word is a name with its value, and that a secret's.
fn is_given(word: &str) -> bool {
    let of = |(name, value): (&str, &str)| is_name(name) && gives(name, value.trim_start());
    let one = !word.contains(char::is_whitespace);
    let line = !word.contains('\n');
    (one && word.split_once('=').is_some_and(of)) || (line && word.split_once(':').is_some_and(of))
}

/// Whether a script gives a secret to a variable or an option. Its own variables, in small letters, are not a program's.
fn in_a_script(text: &str) -> bool {
    let parts: Vec<&str> = text.split(|c: char| c.is_whitespace() || ";&|".contains(c)).collect();
    let given = |part: &&str| {
        part.split_once('=').is_some_and(|(name, value)| {
            let upper = name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
            (upper || name.starts_with("--")) && is_name(name) && is_plain(value) && gives(name, value)
        })
    };
    let follows = |pair: &[&str]| pair[0].len() > 1 && is_plain(pair[1]) && of_an_option(pair[0], pair[1]);
    parts.len() > 1 && (parts.iter().any(given) || parts.windows(2).any(follows))
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c))
}

/// Whether a value stands there as it is, and is nothing that a script works out.
fn is_plain(value: &str) -> bool {
    let inner = value.trim_matches(['"', '\'']);
    !inner.contains(|c: char| "()[]{}$`\"'<>,".contains(c))
}

/// Whether the value of this name is a secret.
fn gives(name: &str, value: &str) -> bool {
    let name = name.trim_start_matches('-');
    let lower = name.to_lowercase();
    let words: Vec<&str> = lower.split(|c: char| !c.is_alphanumeric()).collect();
    let last = words.last().copied().unwrap_or_default();
    let alone = SECRET.iter().any(|word| lower.contains(word))
        || matches!(last, "pass" | "pw")
        || words.iter().any(|word| GRANTS.contains(word));
    let value = value.trim_matches(['"', '\'']);
    (names_a_secret(name) || has_secret_words(name))
        && !ELSEWHERE.contains(&last)
        && is_value(value)
        && (alone || is_drawn(value))
}

/// Whether a text is drawn as keys are, letters and digits in turns; words and names of columns are not.
fn is_drawn(text: &str) -> bool {
    let signs: Vec<char> = text.chars().collect();
    let turns = signs.windows(2).filter(|pair| {
        pair[0].is_ascii_alphanumeric()
            && pair[1].is_ascii_alphanumeric()
            && pair[0].is_ascii_digit() != pair[1].is_ascii_digit()
    });
    signs.len() >= 8
        && turns.count() > 2
        && signs.iter().all(|c| c.is_ascii_alphanumeric() || "-+/=".contains(*c))
}

/// Whether a text may be a secret: no flag, count, variable or file.
fn is_value(text: &str) -> bool {
    let count = text.len() < 6 && text.parse::<f64>().is_ok();
    let flag = ["true", "false", "yes", "no", "on", "off", "none"].contains(&text.to_lowercase().as_str());
    text.chars().nth(1).is_some()
        && !count
        && !flag
        && !text.starts_with(['$', '`', '{', '<'])
        && !Path::new(text).exists()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_kept_without_its_secrets() {
        let kept = |words: &[&str]| told(words).join(" ");
        for (words, said) in [
            (
                &["train", "--recipe", "a.toml", "--set", "optim.lr=1e-6", "-q"][..],
                "train --recipe a.toml --set optim.lr=1e-6 -q",
            ),
            (
                &["train", "--set", "reward.judge.endpoint.extra.api_key=hunter2", "--set", "run.steps=3"],
                "train --set reward.judge.endpoint.extra.api_key=… --set run.steps=3",
            ),
            (
                &["train", "--set", "reward.judge.endpoint.url=http://me:pw@h/v1"],
                "train --set reward.judge.endpoint.url=…",
            ),
            (
                &["own", "--api-key", "hunter2hunter2", "--password=swordfish", "x"],
                "own --api-key … --password=… x",
            ),
            (
                &["train", "--set", "reward.command.command=['./x', '--api-key', 'hunter2hunter2']"],
                "train --set reward.command.command=…",
            ),
            (&["own", "sk-proj-abcdefghijklmnopqrst"], "own …"),
        ] {
            assert_eq!(kept(words), said);
        }
    }

    #[test]
    fn secrets_of_command_lines_are_told_from_other_words() {
        for (words, at) in [
            (&["./x", "--api-key", "hunter2hunter2"][..], 2),
            (&["./x", "--api-key=hunter2hunter2"], 1),
            (&["./x", "--password", "swordfish"], 2),
            (&["./x", "--token", "a1b2c3d4e5"], 2),
            (&["./x", "sk-proj-abcdefghijklmnopqrst"], 1),
            (&["env", "OPENAI_API_KEY=hunter2", "./x"], 1),
            (&["curl", "-u", "me:pw", "http://h"], 2),
            (&["curl", "-H", "X-Api-Key: hunter2"], 2),
            (&["curl", "-H", "Authorization: Bearer abc"], 2),
            (&["curl", "http://me:pw@h/"], 1),
            (&["sh", "-c", "OPENAI_API_KEY=hunter2 ./x"], 2),
            (&["sh", "-c", "cd a; ./x --api-key 'hunter2'"], 2),
        ] {
            assert_eq!(in_a_command(words), Some(at), "{words:?}");
        }
        for words in [
            &["python3", "-u", "score.py", "--tries", "2"][..],
            &["./x", "--max-tokens", "512", "--eos-token", "</s>"],
            &["./x", "--api-key-env", "OPENAI_API_KEY", "--token-file", "/run/t"],
            &["./x", "--api-key", "$OPENAI_API_KEY", "--password-file=a"],
            &["./x", "--key", "answer", "--sort=key", "--keys", "a,b"],
            &["./x", "--tokens", "100000", "--num-keys", "12"],
            &["./x", "--secret", "--verbose"],
            &["./x", "--token-limit", "100000", "--answer-key", "answer_v2", "--key=question1"],
            &["./x", "--reward-token", "good", "--step-token", "\nStep", "--primary-key=id"],
            &["./x", "--signature", "question -> answer", "--pass-rate", "0.25"],
            &["docker", "run", "-u", "root:root", "x"],
            &["python3", "-c", "ANSWER_KEY='answer'\ntoken: str = 'abc'"],
            &["docker", "run", "-u", "1000:1000", "image:tag"],
            &["sh", "-c", "API_KEY=$(cat key) TOKEN=\"$T\" ./x --api-key \"$API_KEY\""],
            &[
                "python3",
                "-c",
                "import os\nAPI_KEY=os.environ[\"K\"]\nkey=len\nprint(sorted([1], key=key), {'token': 1})",
            ],
            &["sh", "-c", "while read -r line; do case $line in *stop*) exit 3;; esac; echo 0; done"],
        ] {
            assert_eq!(in_a_command(words), None, "{words:?}");
        }
    }
}
