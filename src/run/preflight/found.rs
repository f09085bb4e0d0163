//! What looking has found: what is wrong, and what is to be said.

use crate::error::Error;
use crate::recipe::{Recipe, Refusal};
use std::collections::BTreeSet;

/// One of the errors that only have a text.
pub(super) type Kind = fn(String) -> Error;

/// What has been found.
#[derive(Default)]
pub(super) struct Found {
    pub refused: Vec<Refusal>,
    /// What the only one is an error of, where it is not one of the recipe.
    pub kind: Option<Kind>,
    pub notes: Vec<String>,
}

impl Found {
    pub fn note(&mut self, text: String) {
        if !self.notes.contains(&text) {
            self.notes.push(text);
        }
    }

    /// What is no key's of a stage.
    pub fn refuse(&mut self, key: &str, error: &Error) {
        let (text, kind) = of_kind(error);
        self.kind = kind;
        self.refused.push(Refusal::new(key, text));
    }

    pub fn error(self, recipe: &Recipe) -> Error {
        let texts: BTreeSet<&String> = self.refused.iter().map(|refusal| &refusal.text).collect();
        let kind = self.kind.filter(|_| texts.len() == 1);
        match (recipe.error(self.refused), kind) {
            (Error::Recipe(text), Some(kind)) => kind(text),
            (error, _) => error,
        }
    }
}

/// What an error says, and of which kind it is, where not of the recipe.
pub(super) fn of_kind(error: &Error) -> (String, Option<Kind>) {
    match error {
        Error::Recipe(text) => (text.clone(), None),
        Error::Data(text) => (text.clone(), Some(Error::Data)),
        Error::Model(text) => (text.clone(), Some(Error::Model)),
        Error::Devices(text) => (text.clone(), Some(Error::Devices)),
        Error::Checkpoint(text) => (text.clone(), Some(Error::Checkpoint)),
        other => (other.to_string(), Some(Error::Model)),
    }
}
