//! What the training rows of a stage teach, as far as its method can say before anything trains.

use super::Looking;
use super::rows::MADE;
use super::tokenized::{called, looked_at};
use crate::data::renaming::KNOWN;
use crate::data::row::some;
use crate::data::threads::each;
use crate::data::uses::unread;
use crate::data::{Dataset, Example, Split};
use crate::error::Error;
use crate::rationale::answer::gold;
use crate::recipe::Stage;
use crate::reward::agrees;
use serde_json::Value;
use std::collections::BTreeSet;

/// Columns that are a row's completion as they stand.
const AS_IT_STANDS: [&str; 5] = ["completion", "completions", "messages", "text", "chosen"];

/// Whether a column says nothing.
fn is_nothing(value: &Value) -> bool {
    value.is_null() || value.as_str().is_some_and(|text| text.trim().is_empty())
}

/// What is to be said of training rows of which a stage can learn, though less than they seem to offer: by its method, of columns that are
/// not read, of rows without a rationale or an answer.
pub(in crate::run) fn notes(stage: &Stage, rows: &[&Example]) -> Vec<String> {
    let needs = stage.needs();
    let of_method = |told: String| format!("loop.{}: {told}", stage.method.name());
    let mut found: Vec<String> = stage.method.notes(rows).into_iter().map(of_method).collect();
    found.extend(few(stage, rows));
    found.extend(spellings(stage, rows));
    let says = |row: &Example, name: &str| row.fields.get(name).is_some_and(|value| !is_nothing(value));
    let teaches = needs.trains && !needs.rollouts;
    found.extend(unread(rows, &stage.data, teaches && !needs.head));
    // Their completion is made of rationale and answer.
    let is_made = teaches && stage.data.template.assistant.is_none();
    let made = |row: &&Example| {
        is_made && row.completion.is_some() && !AS_IT_STANDS.iter().any(|name| says(row, name))
    };
    let made: Vec<&Example> = rows.iter().copied().filter(made).collect();
    let bare: Vec<&Example> = made.iter().copied().filter(|row| !says(row, "rationale")).collect();
    if !bare.is_empty() && rows.iter().any(|row| says(row, "rationale")) {
        found.push(format!(
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
        found.push(format!(
            "{} of {} rows have no `answer`, and of them the rationale alone is learned, which ends without one: {}",
            open.len(),
            rows.len(),
            some(&open)
        ));
    }
    found.extend(golds_missing(stage, rows).map(|told| format!("{told}; nothing of them is kept")));
    found
}

/// Fewer rows than one step takes: a step is of all of them, and so smaller than it is said to be.
fn few(stage: &Stage, rows: &[&Example]) -> Option<String> {
    let per_step = stage.data.prompts_per_step;
    let needs = stage.needs();
    let takes_rows = needs.trains && !needs.pooled;
    (takes_rows && !rows.is_empty() && rows.len() < per_step.min(MADE)).then(|| {
        let there_are = match rows {
            [_] => "there is 1 row".to_owned(),
            rows => format!("there are {} rows", rows.len()),
        };
        format!(
            "{there_are}, fewer than the data.prompts_per_step = {per_step} of one step, which takes them all, so that a pass over them \
             is one step: {}",
            some(rows)
        )
    })
}

/// Where the right ones are selected, a row without a gold answer gives nothing: how many are such, where some are.
pub(super) fn golds_missing(stage: &Stage, rows: &[&Example]) -> Option<String> {
    if !(stage.needs().rollouts && stage.select.correct) {
        return None;
    }
    let none: Vec<&Example> = rows.iter().copied().filter(|row| row.gold().is_none()).collect();
    (!none.is_empty()).then(|| {
        format!(
            "select.correct keeps right answers, and {} of {} rows have no gold answer to tell by: {}",
            none.len(),
            rows.len(),
            some(&none)
        )
    })
}

/// Columns that would be read if their names were written as they are known.
fn spellings(stage: &Stage, rows: &[&Example]) -> Vec<String> {
    let columns = &stage.data.columns;
    let named: BTreeSet<&str> = rows.iter().flat_map(|row| row.fields.keys().map(String::as_str)).collect();
    let mut found = Vec::new();
    for name in &named {
        let known = KNOWN.iter().find(|known| **known != *name && known.eq_ignore_ascii_case(name));
        let Some(known) = known.filter(|known| columns.get(**known).is_none()) else { continue };
        if !named.contains(known) {
            found.push(format!(
                "the column `{name}` is not read as `{known}`; data.columns.{known} = {name:?} would"
            ));
            continue;
        }
        let has = |row: &&Example| row.fields.contains_key(*name) && !row.fields.contains_key(*known);
        let strays: Vec<&Example> = rows.iter().copied().filter(has).collect();
        if !strays.is_empty() {
            found.push(format!(
                "the column `{name}` of {} of {} rows is not read as `{known}`, which it is called in others: {}; call it so there too",
                strays.len(),
                rows.len(),
                some(&strays)
            ));
        }
    }
    found
}

impl Looking<'_> {
    /// What is said of them; where none of them gives anything, that is refused.
    pub(super) fn look_at_what_teaches(&mut self, rows: &Dataset) {
        let rows: Vec<&Example> = rows.examples.iter().map(|row| &**row).collect();
        let none_has_gold = !rows.iter().any(|row| row.gold().is_some());
        match golds_missing(self.stage, &rows).filter(|_| none_has_gold) {
            Some(told) => {
                let error = Error::Data(format!("{told}; add an `answer` column"));
                self.refuse("select.correct", &error);
            }
            None => notes(self.stage, &rows).iter().for_each(|told| self.note(told)),
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
