//! `train keys [PREFIX|WORD]`: what may stand in a recipe.

use super::verb::Verb;
use crate::error::{Error, Result};
use crate::log::terminal::tell;
use crate::nearest::{did_you_mean, nearest};
use crate::recipe::{Registry, absent, called, names_of};
use crate::section::{Key, keys};
use clap::Parser;

/// Look up a recipe's keys: type, default, range and meaning.
#[derive(Debug, Parser)]
#[command(after_help = EXAMPLES)]
pub(super) struct Keys {
    /// A section or key (`optim`, `loop.grpo.kl`), or a word to look for in names, meanings and other programs' names; without it,
    /// the sections are listed.
    word: Option<String>,
    /// Print all keys as Markdown, as docs/keys.md has them.
    #[arg(long, conflicts_with = "word")]
    markdown: bool,
    /// Print the JSON Schema of recipes, as editors read it.
    #[arg(long, conflicts_with_all = ["word", "markdown"])]
    schema: bool,
}

const EXAMPLES: &str = "Examples:
  train keys                       the sections
  train keys optim                 all keys of [optim]
  train keys loop.grpo.kl.place    one key
  train keys num_generations       what TRL, verl or OpenRLHF call so
  train keys 'learning rate'       all keys whose meaning has these words
  train keys --schema > recipes/schema.json

The schema serves editors: a recipe whose first line is `#:schema ./schema.json` is completed and checked as it is typed.";

impl Verb for Keys {
    fn run(self, registry: &Registry) -> Result<()> {
        let all = registry.keys();
        let text = match &self.word {
            _ if self.schema => {
                serde_json::to_string_pretty(&registry.schema()).expect("a schema is JSON") + "\n"
            }
            _ if self.markdown => markdown(&all),
            None => sections(&all),
            Some(word) => told(&all, word)?,
        };
        tell(&text).map_err(Error::io("standard output"))
    }
}

/// The tables, a line each.
fn sections(all: &[Key]) -> String {
    let deep = |key: &&Key| {
        let depth = key.path.matches('.').count();
        let open =
            ["loop.", "rollout.", "reward.", "data.task."].iter().any(|open| key.path.starts_with(open));
        key.is_table
            && (depth == 0 || (depth == 1 && open) || key.path.starts_with("data.task.") && depth == 2)
    };
    let line = |key: &Key| {
        let count = all.iter().filter(|other| !other.is_table && is_in(&other.path, &key.path)).count();
        format!("{:<24} {count:>3}  {}\n", key.path, cut(&capital(first_sentence(own(&key.meaning))), 110))
    };
    let lines: String = all.iter().filter(deep).map(line).collect();
    format!("{lines}\n`train keys SECTION` lists a section's keys; `train keys WORD` looks for a word.\n")
}

/// What there is of a word; the sections where it is none: stops and brackets stand in the texts of all keys.
fn told(all: &[Key], word: &str) -> Result<String> {
    match word.contains(char::is_alphanumeric) {
        true => found(all, word).ok_or_else(|| unknown(all, word)),
        false => Ok(sections(all)),
    }
}

/// What a word names or occurs in: a key, what is below a table, or else all keys that have it in their names or texts.
fn found(all: &[Key], word: &str) -> Option<String> {
    let word = word.trim().trim_matches(['[', ']']);
    let below: Vec<&Key> = all.iter().filter(|key| key.path == word || is_in(&key.path, word)).collect();
    if !below.is_empty() {
        let common = keys(&crate::reward::Registry::common_schema());
        let many = below.len() > 60;
        let repeated = |key: &Key| many && common.iter().any(|one| reward_key(&key.path) == Some(&one.path));
        return Some(below.into_iter().filter(|key| !repeated(key)).map(shown).collect());
    }
    let typed = word.to_lowercase().replace('-', "_");
    let paths = called(&typed).unwrap_or_default();
    let called: Vec<&Key> = all.iter().filter(|key| paths.contains(&key.path.as_str())).collect();
    let named = |key: &&Key| key.path.split('.').any(|name| name.to_lowercase().contains(&typed));
    let of_name: Vec<&Key> = all.iter().filter(named).filter(|key| !called.contains(key)).collect();
    let text = |key: &&Key| key.meaning.to_lowercase().contains(&word.to_lowercase());
    let of_text: Vec<&Key> =
        all.iter().filter(text).filter(|key| !called.contains(key) && !of_name.contains(key)).collect();
    let parts = [
        (called, format!("What other programs call `{typed}`:")),
        (of_name, "With it in their names:".to_owned()),
        (of_text, "With it in their meaning:".to_owned()),
    ];
    let parts = parts.iter().filter(|(keys, _)| !keys.is_empty());
    let absent = absent(&typed).map(|why| format!("`{typed}` is not here: {why}.\n"));
    let shown = |(keys, title): &(Vec<&Key>, String)| {
        format!("{title}\n\n{}", keys.iter().map(|key| shown(key)).collect::<String>())
    };
    let parts: Vec<String> = absent.into_iter().chain(parts.map(shown)).collect();
    (!parts.is_empty()).then(|| parts.join("\n"))
}

fn unknown(all: &[Key], word: &str) -> Error {
    let names =
        all.iter().flat_map(|key| [key.path.as_str(), key.path.rsplit('.').next().unwrap_or_default()]);
    let meant = did_you_mean(nearest(word, names));
    Error::Recipe(format!(
        "no key is named `{word}`, and none has it in its meaning{meant} (`train keys` lists the sections)"
    ))
}

/// A key with all that is known of it.
fn shown(key: &Key) -> String {
    let mut text = if key.is_table { format!("[{}]", key.path) } else { key.path.clone() };
    for part in [Some(key.of.clone()), default(key), range(key)].into_iter().flatten() {
        text += &format!("  {part}");
    }
    text.push('\n');
    text += &wrapped(&key.meaning, "    ");
    for (word, meaning) in &key.words {
        let meaning = if meaning.is_empty() { String::new() } else { format!(": {meaning}") };
        text += &wrapped(&format!("\"{word}\"{meaning}"), "      ");
    }
    let others: Vec<&str> = names_of(&key.path).collect();
    if !others.is_empty() {
        text += &wrapped(&format!("Elsewhere: {}", others.join(", ")), "    ");
    }
    text
}

fn default(key: &Key) -> Option<String> {
    match &key.default {
        Some(default) => Some(format!("default {default}")),
        None if key.required => Some("must be given".to_owned()),
        None => None,
    }
}

/// The range, but for bounds that only slips reach.
fn range(key: &Key) -> Option<String> {
    let (least, most) = key.range;
    let near = |bound: &f64| bound.abs() < 1e5;
    Key { range: (least.filter(near), most.filter(near)), ..key.clone() }.range_in_words()
}

/// Whether a path lies below the table at `around`.
fn is_in(path: &str, around: &str) -> bool {
    path.strip_prefix(around).is_some_and(|rest| rest.starts_with('.') || rest.starts_with("[]"))
}

/// `weight` of `reward.NAME.weight`.
fn reward_key(path: &str) -> Option<&str> {
    path.strip_prefix("reward.")?.split_once('.').map(|(_, key)| key)
}

/// A text without the section's name that it may begin with.
fn own(text: &str) -> &str {
    text.strip_prefix("`[").and_then(|rest| rest.split_once("]`: ")).map_or(text, |(_, rest)| rest)
}

/// The text with a capital at its beginning.
fn capital(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or(String::new(), |first| first.to_uppercase().chain(letters).collect())
}

fn first_sentence(text: &str) -> &str {
    text.find(". ").map_or(text, |end| &text[..=end])
}

/// At most `limit` characters, whole words; what is left out at the end has a … in its place.
fn cut(text: &str, limit: usize) -> String {
    let Some((end, _)) = text.char_indices().nth(limit) else { return text.to_owned() };
    let whole = text[..end].rfind(' ').unwrap_or(end);
    format!("{} …", text[..whole].trim_end_matches([',', ';', ':']))
}

/// Lines of some hundred characters, each behind `indent`.
fn wrapped(text: &str, indent: &str) -> String {
    let (mut lines, mut line) = (String::new(), String::new());
    for word in text.split_whitespace() {
        if !line.is_empty() && line.chars().count() + word.chars().count() > 100 {
            lines += &format!("{indent}{line}\n");
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line += word;
    }
    if line.is_empty() { lines } else { lines + &format!("{indent}{line}\n") }
}

/// docs/keys.md.
fn markdown(all: &[Key]) -> String {
    let mut text = String::from(HEAD);
    let common = keys(&crate::reward::Registry::common_schema());
    let (mut open, mut wrote) = (String::new(), false);
    for key in all {
        let around = key.path.rsplit_once('.').map_or("", |(around, _)| around);
        if key.is_table && !key.path.contains('.') {
            text += &format!("\n## [{}]\n\n{}\n", key.path, key.meaning);
            (open, wrote) = (key.path.clone(), false);
            if key.path == "reward" {
                text += "\nEvery reward takes these:\n\n";
                text += &common.iter().map(|key| item(key, "")).collect::<String>();
            }
            continue;
        }
        if reward_key(&key.path).is_some_and(|own| common.iter().any(|one| one.path == own)) {
            continue;
        }
        let table = if key.is_table && key.of == "table" { key.path.as_str() } else { around };
        if table != open {
            text += &format!("\n### [{}]\n\n", table.replace("[]", ""));
            (open, wrote) = (table.to_owned(), true);
        } else if !wrote {
            text.push('\n');
            wrote = true;
        }
        if table == key.path {
            text += &format!("{}\n\n", key.meaning);
        } else {
            text += &item(key, around);
        }
    }
    text
}

const HEAD: &str = "# Keys

Everything that may stand in a recipe. `train keys WORD` looks here; `recipes/schema.json` tells it to editors.
This page is written by `train keys --markdown`, of the doc comments in `src/`.

A section is a table of the recipe; a stage's own go over those at the top. *Elsewhere* is what TRL, verl, OpenRLHF and others say.
";

/// A key as an item of a list, named from its table.
fn item(key: &Key, around: &str) -> String {
    let name = key.path.strip_prefix(around).unwrap_or(&key.path).trim_start_matches('.');
    let about: Vec<String> = [Some(key.of.clone()), default(key), range(key)].into_iter().flatten().collect();
    let mut text = format!("- **`{name}`** ({}): {}\n", about.join("; "), key.meaning);
    for (word, meaning) in &key.words {
        let meaning = if meaning.is_empty() { String::new() } else { format!(": {meaning}") };
        text += &format!("  - `\"{word}\"`{meaning}\n");
    }
    let others: Vec<String> = names_of(&key.path).map(|name| format!("`{name}`")).collect();
    if !others.is_empty() {
        text += &format!("  - *Elsewhere*: {}\n", others.join(", "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_are_cut_at_their_end() {
        assert_eq!(cut("one two, three", 14), "one two, three");
        assert_eq!(cut("one two, three", 13), "one two …");
        assert_eq!(cut("ä é ü", 2), "ä …");
        let text = sections(&Registry::default().keys());
        assert!(!text.contains(" more … "), "{text}");
        assert!(text.lines().all(|line| line.chars().count() < 160), "{text}");
    }

    #[test]
    fn other_programs_names_lead_to_keys_or_to_why_there_is_none() {
        let all = Registry::default().keys();
        let of = |word: &str| found(&all, word).unwrap_or_else(|| panic!("{word}"));
        assert!(of("actor_rollout_ref.rollout.n").contains("rollout.group.size  whole number"));
        assert!(of("rollout.temperature").contains("What other programs call"));
        assert!(of("packing").starts_with("`packing` is not here: rows are packed always"));
        assert_eq!(found(&all, "nothing_like_it"), None);
        for none in ["", " ", ".", "[]"] {
            assert_eq!(told(&all, none).unwrap(), sections(&all), "{none:?}");
        }
    }

    #[test]
    fn ranges_begin_at_what_is_accepted() {
        let all = Registry::default().keys();
        for (path, range) in [
            ("data.prompts_per_step", "1 to 1e6"),
            ("policy.sampling.max_new_tokens", "1 to 1e7"),
            ("loop.grpo.minibatches", "1 to 1e6"),
            ("optim.tokens_per_microbatch", "1 to 1e9"),
            ("rollout.group.size", "1 to 10000"),
            ("loop.sft.max_tokens", "2 to 1e9"),
        ] {
            let key = all.iter().find(|key| key.path == path).unwrap();
            assert_eq!(key.range_in_words().as_deref(), Some(range), "{path}");
        }
    }
}
