//! What is wrong with a recipe: each thing with the line where it stands, all of them said at once.

use super::explain::value;
use super::stages::at;
use super::{Recipe, StageTable};
use crate::error::Error;
use crate::section::{Misfit, covers};

/// One thing that is wrong, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// The key that it is about.
    pub key: String,
    /// The line of the file; none for the command line and for what stands nowhere.
    pub line: Option<usize>,
    /// `file:line: what is wrong; what to do about it`.
    pub text: String,
    /// The section that a misspelt one is taken to be.
    pub meant: Option<String>,
    /// The stage that it was found in, where others with the same value may be well.
    pub stage: Option<String>,
}

impl Refusal {
    /// One of no line.
    pub fn new(key: impl Into<String>, text: String) -> Self {
        Self { key: key.into(), line: None, text, meant: None, stage: None }
    }

    /// Whether `misfit` may be there only because what this refuses was taken out: it is about that key, or asks for the section that
    /// is misspelt or cannot be read.
    pub(super) fn explains(&self, misfit: &Misfit) -> bool {
        let asks = |section: &str| {
            let sentence = misfit.sentence();
            ["]", "."].iter().any(|close| sentence.contains(&format!("[{section}{close}")))
        };
        let sections = [Some(self.key.as_str()).filter(|key| !key.contains('.')), self.meant.as_deref()];
        (!self.key.is_empty() && (covers(&self.key, &misfit.key) || covers(&misfit.key, &self.key)))
            || sections.into_iter().flatten().any(|section| {
                let top = section.split('.').next().unwrap_or(section);
                asks(top) || misfit.key == top
            })
    }
}

impl Recipe {
    /// Something wrong with the value at the dotted `path` of a stage.
    pub fn refusal(&self, stage: &StageTable, path: &str, message: &str) -> Refusal {
        let (line, place) = self.place(stage, path);
        Refusal { line, ..Refusal::new(path, format!("{place}: {message}")) }
    }

    /// Whether a list of stages has the dotted key above it, for all of them that say nothing else.
    pub fn says_of_all(&self, path: &str) -> bool {
        self.listed && at(&self.base, &path.split('.').collect::<Vec<_>>()).is_some()
    }

    /// What the sections of a stage find of themselves, by their full paths.
    pub fn located(&self, stage: &StageTable, misfits: impl IntoIterator<Item = Misfit>) -> Vec<Refusal> {
        let located = |misfit: Misfit| {
            let said = misfit.said(value(&stage.table, &misfit.key));
            self.refusal(stage, &misfit.key, &said)
        };
        misfits.into_iter().map(located).collect()
    }

    /// One error of all `refusals`, in the order of their lines: one alone as it is, several a line each below their number, of which
    /// the first 20 are said. What holds of several stages is said once.
    pub fn error(&self, mut refusals: Vec<Refusal>) -> Error {
        refusals.sort_by_key(|refusal| refusal.line);
        let mut said: Vec<(String, Vec<String>)> = Vec::new();
        for Refusal { text, stage, .. } in refusals {
            match said.iter_mut().find(|(other, _)| *other == text) {
                Some((_, stages)) => {
                    let new = stage.filter(|stage| !stages.contains(stage));
                    stages.extend(new);
                }
                None => said.push((text, stage.into_iter().collect())),
            }
        }
        let count = said.len();
        let of = |(text, stages): &(String, Vec<String>)| {
            let names: Vec<String> = stages.iter().map(|name| format!("`{name}`")).collect();
            match names.len() {
                0 => cut(text),
                1 => format!("{} (in stage {})", cut(text), names[0]),
                _ => format!("{} (in stages {})", cut(text), names.join(", ")),
            }
        };
        let mut texts: Vec<String> = said.iter().take(MOST_SAID).map(of).collect();
        if count == 1 {
            return Error::Recipe(texts.remove(0));
        }
        if count > MOST_SAID {
            texts.push(format!("and {} more", count - MOST_SAID));
        }
        Error::Recipe(format!("{}: {count} things are wrong:\n{}", self.file(), texts.join("\n")))
    }
}

/// Refusals that are said one by one.
const MOST_SAID: usize = 20;

/// Refusals of one stage, beyond which nothing further is looked for.
pub(super) const MOST_FOUND: usize = 100;

/// Characters of the longest text that is said whole.
const LONGEST: usize = 2000;

/// A text, without its middle where it is very long.
pub(super) fn cut(text: &str) -> String {
    if text.len() <= LONGEST {
        return text.to_owned();
    }
    let start: String = text.chars().take(LONGEST / 2).collect();
    let mut end: Vec<char> = text.chars().rev().take(LONGEST / 2).collect();
    end.reverse();
    format!("{start} […] {}", end.into_iter().collect::<String>())
}
