//! What is wrong with a recipe: each thing with the line where it stands, all of them said at once.

use super::explain::value;
use super::{Recipe, StageTable};
use crate::error::Error;
use crate::section::Misfit;
use std::collections::HashSet;

/// One thing that is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The key that it is about.
    pub key: String,
    /// The line of the file; none for the command line and for what stands nowhere.
    pub line: Option<usize>,
    /// `file:line: what is wrong; what to do about it`.
    pub text: String,
}

impl Recipe {
    /// Something wrong with the value at the dotted `path` of a stage.
    pub(super) fn refusal(&self, stage: &StageTable, path: &str, message: &str) -> Refusal {
        let (line, place) = self.place(stage, path);
        Refusal { key: path.to_owned(), line, text: format!("{place}: {message}") }
    }

    /// What the sections of a stage find of themselves, by their full paths.
    pub fn located(&self, stage: &StageTable, misfits: impl IntoIterator<Item = Misfit>) -> Vec<Refusal> {
        let located = |misfit: Misfit| {
            let said = misfit.said(value(&stage.table, &misfit.key));
            self.refusal(stage, &misfit.key, &said)
        };
        misfits.into_iter().map(located).collect()
    }

    /// One error of all `refusals`, in the order of their lines: one alone as it is, several a line each below their number. What
    /// several stages inherit is said once.
    pub fn error(&self, mut refusals: Vec<Refusal>) -> Error {
        refusals.sort_by_key(|refusal| refusal.line);
        let mut seen = HashSet::new();
        refusals.retain(|refusal| seen.insert(refusal.text.clone()));
        let texts: Vec<String> = refusals.into_iter().map(|refusal| refusal.text).collect();
        match &texts[..] {
            [one] => Error::Recipe(one.clone()),
            all => {
                Error::Recipe(format!("{}: {} things are wrong:\n{}", self.file(), all.len(), all.join("\n")))
            }
        }
    }
}
