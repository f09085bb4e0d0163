//! What the training rows of a stage teach, as far as its method can say before anything trains.

use super::Looking;
use super::tokenized::{called, each, looked_at};
use crate::data::renaming::KNOWN;
use crate::data::row::some;
use crate::data::uses::unread;
use crate::data::{Dataset, Example, Split};
use crate::rationale::answer::gold;
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
        let needs = self.stage.needs();
        let teaches = needs.trains && !needs.rollouts;
        let ignored = unread(&rows, &self.stage.data, teaches && !needs.head);
        ignored.iter().for_each(|told| self.note(told));
        // Their completion is made of rationale and answer.
        let is_made = teaches && self.stage.data.template.assistant.is_none();
        let made = |row: &&Example| {
            is_made && row.completion.is_some() && !AS_IT_STANDS.iter().any(|name| says(row, name))
        };
        let made: Vec<&Example> = rows.iter().copied().filter(made).collect();
        let bare: Vec<&Example> = made.iter().copied().filter(|row| !says(row, "rationale")).collect();
        if !bare.is_empty() && rows.iter().any(|row| says(row, "rationale")) {
            self.note(&format!(
                "{} of {} rows have no `rationale`, and of them the answer alone is learned: {}",
                bare.len(),
                rows.len(),
                some(&bare)
            ));
        }
        // A rationale may end with it.
        let open = |row: &&Example| {
            let ends = |text: &String| gold(text).is_some_and(|answer| answer != text.trim());
            row.answer.is_none() && !row.completion.as_ref().is_some_and(ends)
        };
        let open: Vec<&Example> = made.iter().copied().filter(open).collect();
        if !open.is_empty() && made.iter().any(|row| row.answer.is_some()) {
            self.note(&format!(
                "{} of {} rows have no `answer`, and of them the rationale alone is learned, which ends without one: {}",
                open.len(),
                rows.len(),
                some(&open)
            ));
        }
    }

    /// Columns that would be read if their names were written as they are known.
    fn look_at_spellings(&mut self, rows: &[&Example]) {
        let columns = &self.stage.data.columns;
        let named: BTreeSet<&str> =
            rows.iter().flat_map(|row| row.fields.keys().map(String::as_str)).collect();
        for name in &named {
            let known = KNOWN.iter().find(|known| **known != *name && known.eq_ignore_ascii_case(name));
            let Some(known) = known.filter(|known| columns.get(**known).is_none()) else { continue };
            if !named.contains(known) {
                self.note(&format!(
                    "the column `{name}` is not read as `{known}`; data.columns.{known} = {name:?} would"
                ));
                continue;
            }
            let has = |row: &&Example| row.fields.contains_key(*name) && !row.fields.contains_key(*known);
            let strays: Vec<&Example> = rows.iter().copied().filter(has).collect();
            if !strays.is_empty() {
                self.note(&format!(
                    "the column `{name}` of {} of {} rows is not read as `{known}`, which it is called in others: {}; call it so there too",
                    strays.len(),
                    rows.len(),
                    some(&strays)
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
        let is_unread = |row: &Example| {
            let Some(text) = &row.completion else { return false };
            let said = format.parse(text).map(|rationale| text[rationale.answer].to_owned());
            agrees(row, said.as_deref()) == Some(false)
        };
        let looked_at = looked_at(&rows.examples);
        let Ok(found) = each(looked_at, |row| is_unread(row)) else { return };
        let unread = looked_at.iter().zip(found).filter(|(_, is_unread)| *is_unread);
        let unread: Vec<&Example> = unread.map(|(row, _)| &**row).collect();
        let whole = looked_at.len() == rows.examples.len() && self.are_all(rows);
        if let Some(first) = unread.first() {
            let end: String = first.completion.iter().flat_map(|text| text.lines().last()).take(1).collect();
            let end: String = end.chars().take(80).collect();
            self.note(&format!(
                "the completions of {} of {} are not read as their gold answer: {} (it ends in {end:?}); what is learned so, [eval] calls \
                 wrong; see data.format.answer, or write data.template.assistant = \"#### {{{{ answer }}}}\"",
                unread.len(),
                called(looked_at.len(), whole, Split::Train),
                some(&unread)
            ));
        }
    }
}
