//! Keys that their section reads beside some values of another of its keys alone: `rollout.prefix.share` beside `cuts = "share"`. Methods
//! say so of their own keys ([`Section::idle`](crate::loops::Section::idle)).

use serde_json::Value as Json;
use toml::{Table, Value};

/// When keys are read.
enum Read {
    /// Where the other key is one of these.
    At(&'static [&'static str]),
    /// Where it is none of these.
    NotAt(&'static [&'static str]),
    /// Where it is given.
    Given,
    /// Where it is not.
    NotGiven,
}

struct Setting {
    /// The section; of a reward by its kind.
    section: &'static str,
    keys: &'static [&'static str],
    /// The other key.
    by: &'static str,
    read: Read,
}

const fn of(section: &'static str, keys: &'static [&'static str], by: &'static str, read: Read) -> Setting {
    Setting { section, keys, by, read }
}

const ENTROPIES: Read = Read::At(&["entropy", "reduction", "slope"]);
const ENUMERATE: Read = Read::At(&["enumerate"]);
const CHOICES: Read = Read::At(&["choices"]);

const SETTINGS: &[Setting] = &[
    of("rollout.prefix", &["share"], "cuts", Read::At(&["share"])),
    of("rollout.prefix", &["tree"], "cuts", Read::At(&["tree"])),
    of("rollout.prefix", &["answer_tokens"], "close", Read::At(&["true"])),
    of("rollout.tree", &["step_tokens"], "at", Read::At(&["tokens"])),
    of("rollout.tree", &["depth", "branching", "budget"], "at", Read::NotAt(&["questions"])),
    of("rollout.adaptive", &["width", "tokens", "until"], "over", ENUMERATE),
    of("rollout.adaptive", &["written"], "over", CHOICES),
    of("select.pairs", &["min_prefix"], "kind", Read::At(&["shared_prefix"])),
    of("reward.likelihood", &["discount"], "measure", Read::At(&["discounted"])),
    of("reward.likelihood", &["bins", "scores"], "measure", Read::At(&["binned"])),
    of("reward.belief", &["over", "norm", "written"], "measure", Read::NotAt(&["joint"])),
    of("reward.belief", &["width", "tokens", "until"], "over", ENUMERATE),
    of("reward.belief", &["written"], "over", CHOICES),
    of("reward.belief", &["per_candidate", "base"], "measure", ENTROPIES),
    of("reward.internal_consistency", &["written"], "over", CHOICES),
    of("reward.readability", &["easy", "hard"], "band", Read::NotGiven),
    of("reward.readability", &["easy", "hard"], "plain", Read::At(&["false"])),
    of("reward.readability", &["reach"], "band", Read::Given),
];

/// Why the key at the dotted path `key` is not read, in words that follow `… has no effect`, in a stage that is `resolved`, with every
/// default; none where it is, and where it is what it is by default, as the `schema` of the sections has it.
pub(super) fn idle(resolved: &Table, key: &str, schema: &Json) -> Option<String> {
    SETTINGS.iter().find_map(|setting| setting.idle(resolved, key, schema))
}

impl Setting {
    fn idle(&self, resolved: &Table, key: &str, schema: &Json) -> Option<String> {
        let (section, name, own) = parts(key)?;
        let table = resolved.get(section)?.get(name)?.as_table()?;
        let kind = match section {
            "reward" => table.get("kind").and_then(Value::as_str).unwrap_or(name),
            _ => name,
        };
        let first = own.split('.').next().unwrap_or(own);
        if self.section.split_once('.') != Some((section, kind)) || !self.keys.contains(&first) {
            return None;
        }
        let usual = &schema["properties"][section]["properties"][kind]["properties"][first]["default"];
        let written = table.get(first).and_then(|value| serde_json::to_value(value).ok());
        if own == first && written.as_ref() == Some(usual) {
            return None;
        }
        let by = table.get(self.by);
        let at = |values: &[&str]| by.map(|by| values.iter().any(|value| is(by, value)));
        let read = match self.read {
            // What is not known to be otherwise is read.
            Read::At(values) => at(values).unwrap_or(true),
            Read::NotAt(values) => !at(values).unwrap_or(false),
            Read::Given => by.is_some(),
            Read::NotGiven => by.is_none(),
        };
        let why = match by {
            Some(by) => format!("beside {} = {by}", self.by),
            None => format!("without {}", self.by),
        };
        (!read).then_some(why)
    }
}

/// `rollout.prefix.tree.size` as `rollout`, `prefix` and `tree.size`.
fn parts(key: &str) -> Option<(&str, &str, &str)> {
    let (section, rest) = key.split_once('.')?;
    let (name, own) = rest.split_once('.')?;
    Some((section, name, own))
}

/// Whether a value is what is written so; a list is `list`.
fn is(value: &Value, written: &str) -> bool {
    match value {
        Value::String(text) => text == written,
        Value::Boolean(yes) => yes.to_string() == written,
        Value::Array(_) => written == "list",
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::Registry;
    use super::*;

    /// The keys, the other key and its values are those of the sections, so that none of the rows can be of what is no more.
    #[test]
    fn settings_are_of_keys_that_there_are() {
        let registry = Registry::default();
        let schema = registry.sections_schema();
        for setting in SETTINGS {
            let (section, name) = setting.section.split_once('.').unwrap();
            let own = &schema["properties"][section]["properties"][name]["properties"];
            for key in setting.keys.iter().chain([&setting.by]) {
                assert!(own[key].is_object(), "{}.{key}", setting.section);
            }
            let by = &own[setting.by];
            if let Read::At(values) | Read::NotAt(values) = setting.read {
                assert!(!by["default"].is_null(), "{}.{} has no default", setting.section, setting.by);
                let known = by.to_string();
                let is_known =
                    |value: &&str| !known.contains("\"const\"") || known.contains(&format!("\"{value}\""));
                assert!(values.iter().all(is_known), "{}.{}: {values:?}", setting.section, setting.by);
            }
        }
    }

    #[test]
    fn what_another_key_leaves_without_effect_is_named() {
        let resolved: Table = toml::from_str(
            "[rollout.prefix]\ncuts = 'every'\nclose = false\n[reward.own]\nkind = 'likelihood'\nmeasure = 'gain'\n\
             discount = 0.5\n[reward.readability]\nplain = false\nband = [60, 70]\n[reward.belief]\nover = ['a', 'b']\nmeasure = 'entropy'",
        )
        .unwrap();
        let registry = Registry::default();
        let schema = registry.sections_schema();
        let why = |key: &str| idle(&resolved, key, schema);
        assert_eq!(why("rollout.prefix.share").as_deref(), Some("beside cuts = \"every\""));
        assert_eq!(why("rollout.prefix.tree.size").as_deref(), Some("beside cuts = \"every\""));
        assert_eq!(why("reward.own.discount").as_deref(), Some("beside measure = \"gain\""));
        assert_eq!(why("reward.readability.easy").as_deref(), Some("beside band = [60, 70]"));
        assert!(why("reward.belief.width").is_some() && why("reward.belief.written").is_some());
        for read in [
            "rollout.prefix.size",
            "reward.own.cue",
            "reward.readability.reach",
            "reward.belief.per_candidate",
        ] {
            assert_eq!(why(read), None, "{read}");
        }
        // Where nothing says what the other key is; and what says what it would be anyway, as a resolved recipe does.
        for same in ["[rollout.tree]", "[rollout.tree]\nat = 'line'\nstep_tokens = 32"] {
            assert_eq!(
                idle(&toml::from_str(same).unwrap(), "rollout.tree.step_tokens", schema),
                None,
                "{same}"
            );
        }
    }
}
