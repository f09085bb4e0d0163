//! What a section says of itself where its values cannot be used.

use super::{join, secret};
use crate::error::{Error, Result};
use serde::Serialize;
use toml::{Table, Value};

/// A key whose value cannot be used as it is. A section names the key from itself (`clip_low`); whoever holds the section adds
/// its own name in front ([`under`](Self::under)), and the recipe adds the file and the line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misfit {
    /// The dotted path of the key, from the section that found it; empty for the section itself.
    pub key: String,
    /// What is wrong, in the user's words, with the value where it helps.
    pub message: String,
    /// What to do about it; empty where the message says it.
    pub remedy: String,
}

impl Misfit {
    /// What is wrong with `key`, and what to do about it.
    pub fn new(key: impl Into<String>, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { key: key.into(), message: message.into(), remedy: remedy.into() }
    }

    /// The same as the section around it sees it, which calls the one that found it `section`.
    pub fn under(mut self, section: &str) -> Self {
        self.key = if self.key.is_empty() { section.to_owned() } else { join(section, &self.key) };
        self
    }

    /// `message; remedy`.
    pub fn sentence(&self) -> String {
        let remedy = if self.remedy.is_empty() { String::new() } else { format!("; {}", self.remedy) };
        format!("{}{remedy}", self.message)
    }

    /// `key = value: message; remedy`.
    ///
    /// ```
    /// use rationale::section::Misfit;
    /// let misfit = Misfit::new("clip_low", "it must be above 0", "0.2 is usual").under("loop.grpo.loss");
    /// assert_eq!(misfit.said(Some(&toml::Value::Float(-0.5))), "loop.grpo.loss.clip_low = -0.5: it must be above 0; 0.2 is usual");
    /// ```
    ///
    /// The value is left out where it is not given, says little (true or false) or too much (tables, what is long); the key where the message says it.
    pub fn said(&self, value: Option<&Value>) -> String {
        let hidden = value.filter(|value| secret::hides(&self.key, value));
        let sentence = match hidden.and_then(Value::as_str).filter(|text| !text.is_empty()) {
            Some(text) => self.sentence().replace(&format!("\"{text}\""), "\"…\""),
            None => self.sentence(),
        };
        if self.key.is_empty() || self.message.contains(&self.key) {
            return sentence;
        }
        // The message may begin with the key as its section calls it, and the value.
        let mut ends = self.key.match_indices('.').map(|(at, _)| &self.key[at + 1..]);
        let begins = |rest: &&str| rest.starts_with(": ") || rest.starts_with(" = ");
        if let Some(rest) = ends.find_map(|own| sentence.strip_prefix(own).filter(begins)) {
            return format!("{}{rest}", self.key);
        }
        // What stands where the name of a variable should may be the secret itself.
        let helps = |value: &&Value| !value.is_table() && !value.is_bool() && !self.key.ends_with("_env");
        let value = value.filter(helps).filter(|_| hidden.is_none());
        let value = value.map(Value::to_string);
        let value = value.filter(|text| text.chars().count() <= LONGEST_VALUE && !text.contains('\n'));
        let value = value.map_or(String::new(), |text| format!(" = {text}"));
        format!("{}{value}: {sentence}", self.key)
    }
}

/// Characters of the longest value that a message repeats.
const LONGEST_VALUE: usize = 60;

/// The misfits of an inner section as the one around it sees them.
///
/// ```
/// use rationale::section::{Misfit, under};
/// let found = under("loop.grpo", [Misfit::new("clip_low", "it must be above 0", "0.2 is usual")]);
/// assert_eq!(found[0].key, "loop.grpo.clip_low");
/// ```
pub fn under(section: &str, misfits: impl IntoIterator<Item = Misfit>) -> Vec<Misfit> {
    misfits.into_iter().map(|misfit| misfit.under(section)).collect()
}

/// The rules that do not hold, of `(whether it does, its key, what is asked of it)`.
///
/// ```
/// use rationale::section::{Misfit, broken};
/// let (lr, steps) = (-1.0, 5);
/// let found = broken(&[(lr >= 0.0, "lr", "it must be at least 0"), (steps > 0, "steps", "it must be at least 1")]);
/// assert_eq!(found, [Misfit::new("lr", "it must be at least 0", "")]);
/// ```
pub fn broken(rules: &[(bool, &str, &str)]) -> Vec<Misfit> {
    let broken = rules.iter().filter(|(holds, ..)| !holds);
    broken.map(|(_, key, asked)| Misfit::new(*key, *asked, "")).collect()
}

/// Nothing where there are no misfits: for who uses a section without a recipe around it.
///
/// # Errors
/// [`Error::Recipe`] with all misfits of `values`, which a recipe calls `section`, a line each.
///
/// ```
/// use rationale::engine::Sampling;
/// let sampling = Sampling { top_p: 2.0, ..Sampling::default() };
/// let refused = rationale::section::all_fit("policy.sampling", &sampling, sampling.check()).unwrap_err();
/// let said = "recipe: policy.sampling.top_p = 2.0: it must be above 0 and at most 1 (1 turns it off)";
/// assert_eq!(refused.to_string(), said);
/// ```
pub fn all_fit(section: &str, values: &impl Serialize, misfits: Vec<Misfit>) -> Result<()> {
    if misfits.is_empty() {
        return Ok(());
    }
    let table = Value::Table(Table::try_from(values).unwrap_or_default());
    let said = |misfit: Misfit| {
        let value = misfit.key.split('.').try_fold(&table, |value, key| value.as_table()?.get(key)).cloned();
        misfit.under(section).said(value.as_ref())
    };
    Err(Error::Recipe(misfits.into_iter().map(said).collect::<Vec<_>>().join("\n")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_said_once() {
        let said = |key: &str, message: &str| Misfit::new(key, message, "").said(Some(&Value::Integer(3)));
        assert_eq!(said("reward.length.cap", "it is too low"), "reward.length.cap = 3: it is too low");
        assert_eq!(said("reward.length.cap", "cap = 3: too low"), "reward.length.cap = 3: too low");
        assert_eq!(said("judge.endpoint.url", "endpoint.url: none"), "judge.endpoint.url: none");
        assert_eq!(
            said("loop.star", "nothing tells loop.star what to learn"),
            "nothing tells loop.star what to learn"
        );
        // Not every message that begins alike says the key.
        assert_eq!(said("optim.warmup", "warmup is over"), "optim.warmup = 3: warmup is over");
    }

    #[test]
    fn values_that_do_not_help_are_left_out() {
        let said = |key: &str, value: &str| {
            let table: Table = toml::from_str(&format!("value = {value}")).unwrap();
            Misfit::new(key, "it is wrong", "mend it").said(Some(&table["value"]))
        };
        assert_eq!(said("a.b", "[1, 2]"), "a.b = [1, 2]: it is wrong; mend it");
        assert_eq!(said("a.b", "{ c = 1 }"), "a.b: it is wrong; mend it");
        assert_eq!(said("a.b", "true"), "a.b: it is wrong; mend it");
        assert_eq!(said("a.b", &format!("\"{}\"", "x".repeat(60))), "a.b: it is wrong; mend it");
        assert_eq!(said("a.api_key_env", "\"sk-1\""), "a.api_key_env: it is wrong; mend it");
        for (key, value) in [
            ("a.api_key", "\"sk-SECRET\""),
            ("a.url", "\"http://u:SECRET@h\""),
            ("a.stop", "[\"sk-SECRETabcdefghijklmnop\"]"),
        ] {
            assert_eq!(said(key, value), format!("{key}: it is wrong; mend it"));
        }
        // serde repeats a value of the wrong type.
        let misfit = Misfit::new("a.api_key", "invalid type: string \"SECRET\", expected a map", "");
        let told = misfit.said(Some(&Value::String("SECRET".into())));
        assert_eq!(told, "a.api_key: invalid type: string \"…\", expected a map");
    }
}
