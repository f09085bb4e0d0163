//! What a recipe's section says of itself where its values cannot be used.

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
        self.key = match (section.is_empty(), self.key.is_empty()) {
            (true, _) => self.key,
            (_, true) => section.to_owned(),
            _ => format!("{section}.{}", self.key),
        };
        self
    }
}

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
