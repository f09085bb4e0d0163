//! What the training rows of a stage teach, as far as its method can say before anything trains.

use super::Looking;
use super::rows::MADE;
use crate::data::renaming::KNOWN;
use crate::data::row::some;
use crate::data::{Dataset, Example};
use crate::reward::agrees;
use serde_json::Value;
use std::collections::BTreeSet;

/// Columns that are a row's completion as they stand.
const AS_IT_STANDS: [&str; 5] = ["completion", "completions", "messages", "text", "chosen"];

/// Whether a column says nothing.
fn is_nothing(value: &Value) -> bool {
    value.is_null() || value.as_str().is_some_and(|text| text.trim().is_empty())
}

impl Looking<'_> {
    /// What the method itself says of rows that it can learn from, though less than they seem to teach.
    pub(super) fn look_at_what_teaches(&mut self, rows: &Dataset) {
        let rows: Vec<&Example> = rows.examples.iter().map(|row| &**row).collect();
        for told in self.stage.method.notes(&rows) {
            self.note(&format!("loop.{}: {told}", self.stage.method.name()));
        }
        self.look_at_spellings(&rows);
        let says = |row: &Example, name: &str| row.fields.get(name).is_some_and(|value| !is_nothing(value));
        let bare = |row: &&Example| {
            let whole = AS_IT_STANDS.iter().any(|name| says(row, name));
            row.completion.is_some() && !whole && !says(row, "rationale")
        };
        let needs = self.stage.needs();
        let made = needs.trains && !needs.rollouts && self.stage.data.template.assistant.is_none();
        let bare: Vec<&Example> = rows.iter().copied().filter(|row| made && bare(row)).collect();
        if !bare.is_empty() && rows.iter().any(|row| says(row, "rationale")) {
            self.note(&format!(
                "{} of {} rows have no `rationale`, and of them the answer alone is learned: {}",
                bare.len(),
                rows.len(),
                some(&bare)
            ));
        }
    }

    /// Columns that would be read if their names were written as they are known.
    fn look_at_spellings(&mut self, rows: &[&Example]) {
        let columns = &self.stage.data.columns;
        let named: BTreeSet<&str> =
            rows.iter().take(MADE).flat_map(|row| row.fields.keys().map(String::as_str)).collect();
        for name in &named {
            let known = KNOWN.iter().find(|known| **known != *name && known.eq_ignore_ascii_case(name));
            let unread = |known: &&&str| !named.contains(**known) && columns.get(**known).is_none();
            if let Some(known) = known.filter(unread) {
                self.note(&format!(
                    "the column `{name}` is not read as `{known}`; data.columns.{known} = {name:?} would"
                ));
            }
        }
    }

    /// Where the held-out questions are asked, what the rows teach has to be read as their gold answer too.
    pub(super) fn look_at_what_is_taught(&mut self, rows: &Dataset) {
        if self.stage.eval.is_none() || self.is_wrong("eval") {
            return;
        }
        let format = &self.stage.data.format;
        let unread = |row: &&Example| {
            let Some(text) = &row.completion else { return false };
            let said = format.parse(text).map(|rationale| text[rationale.answer].to_owned());
            agrees(row, said.as_deref()) == Some(false)
        };
        let (all, rows) = (rows.examples.len(), rows.examples.iter().map(|row| &**row).take(MADE));
        let unread: Vec<&Example> = rows.filter(unread).collect();
        if let Some(first) = unread.first() {
            let end: String = first.completion.iter().flat_map(|text| text.lines().last()).take(1).collect();
            let end: String = end.chars().take(80).collect();
            self.note(&format!(
                "the completions of {} of {} rows are not read as their gold answer: {} (it ends in {end:?}); what is learned so, [eval] calls \
                 wrong; see data.format.answer, or write data.template.assistant = \"#### {{{{ answer }}}}\"",
                unread.len(),
                all.min(MADE),
                some(&unread)
            ));
        }
    }
}
