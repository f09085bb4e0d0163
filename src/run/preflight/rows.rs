//! The rows of a stage, looked at before it trains: whether they can be read, whether they have what is asked of them, and which are too long.

use super::Looking;
use super::found::of_kind;
use super::models::{Known, Models};
use super::tokenized::{Tokenized, called, looked_at};
use crate::data::hub::Lack;
use crate::data::row::some;
use crate::data::threads::each;
use crate::data::turns::unread;
use crate::data::{Data, Dataset, Example, Prompt, Prompted, Sources, Split, Tokenizer};
use crate::error::{Error, Result};
use crate::nearest::{did_you_mean, list, nearest, or_semicolon};
use crate::run::lengths::Lengths;
use crate::run::wants;
use crate::statistics::mean;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

/// Rows that say how long rows are.
const MEASURED: usize = 200;

/// Rows of a task that are looked at.
pub(super) const MADE: usize = 1000;

impl Looking<'_> {
    pub(super) fn look_at_rows(&mut self, model: Option<&Rc<Known>>, models: &Models) {
        let needs = self.stage.needs();
        let (train, usable) = if needs.rows { self.read(Split::Train) } else { (None, None) };
        self.look_at_columns(train.as_ref());
        let train = train.and_then(|rows| self.build(rows));
        let (held_out, others) =
            if self.stage.eval.is_some() { self.read(Split::Eval) } else { (None, None) };
        // What rewards want of them is said of the rows that can be read beside those that cannot.
        let usable = usable.filter(|_| needs.rollouts);
        self.look_at_wants(train.as_ref().or(usable.as_ref()), held_out.as_ref().or(others.as_ref()));
        if let Some(held_out) = &held_out {
            self.look_at_held_out(held_out);
        }
        if let Some(train) = train.as_ref().filter(|_| needs.trains && !needs.rollouts && !needs.head) {
            self.look_at_what_is_taught(train);
        }
        if let Some(train) = &train {
            self.rows.count = self.are_all(train).then_some(train.examples.len());
        }
        self.rows.held_out = held_out.as_ref().map_or(0, |rows| rows.examples.len());
        let Some(model) = model else { return };
        self.look_at_tokenized([train.as_ref(), held_out.as_ref()], model, models);
        for (rows, split) in [(&train, Split::Train), (&held_out, Split::Eval)] {
            let Some(rows) = rows else { continue };
            let whole = split == Split::Eval || self.are_all(rows);
            // A template that refuses rows may take long over each.
            if !self.look_at_lengths(rows, (split, whole), model) {
                continue;
            }
            self.look_at_what_a_template_drops(rows, (split, whole), &model.tokenizer);
            if split == Split::Train {
                self.rows.tokens = self.mean_tokens(rows, &model.tokenizer);
                self.look_at_hinted(rows, model);
            }
        }
    }

    /// Whether these are all training rows, and not the first that a task makes.
    pub(super) fn are_all(&self, train: &Dataset) -> bool {
        self.stage.data.task.is_none() || train.examples.len() < MADE
    }

    /// Refuses what reading rows came to: at the first key of its section that the error names as it stands in the recipe, or else at `path`.
    pub(super) fn refuse_rows(&mut self, path: &str, error: &Error) {
        let (text, _) = of_kind(error);
        let section = path.split('.').next().unwrap_or(path);
        let is_key = |word: &&str| {
            let mut keys = word.split('.');
            let first = keys.next().filter(|first| *first == section);
            let value = first.and_then(|first| self.table.table.get(first));
            word.contains('.')
                && value.and_then(|value| keys.try_fold(value, |value, key| value.get(key))).is_some()
        };
        let words = text.split(|c: char| !(c.is_alphanumeric() || "._-".contains(c)));
        let key = words.map(|word| word.trim_matches('.')).find(is_key).unwrap_or(path);
        self.refuse(key, error);
    }

    /// The rows of a split that need not wait for an earlier stage; none where some do, or where they cannot be read. Where some of them alone
    /// cannot, the others, which can be looked at and not learned from.
    fn read(&mut self, split: Split) -> (Option<Dataset>, Option<Dataset>) {
        let path = format!("data.{}", split.key());
        if !self.stage.data.has(split) {
            return (None, None);
        }
        let here = |sources: &Sources| -> Sources {
            let known = |source: &&String| !source.starts_with('@');
            Sources(sources.0.iter().filter(known).cloned().collect())
        };
        let mut data = Data {
            train: here(&self.stage.data.train),
            eval: here(&self.stage.data.eval),
            ..self.stage.data.clone()
        };
        // Examples are shown from the training rows, or from others, which may have to wait too.
        let others = data.template.few_shot_from.is_some();
        let shown = if others { "data.template.few_shot_from" } else { "data.train" };
        let unshown = data.template.few_shot > 0 && self.waits(shown);
        let waits = self.waits(&path) || unshown;
        if unshown {
            data.template.few_shot = 0;
        }
        let of = if split == Split::Train { &data.train } else { &data.eval };
        if data.task.is_none() && of.is_empty() {
            return (None, None);
        }
        if self.are_away(&path, of, split) {
            return (None, None);
        }
        first_made(&mut data);
        let place = if data.task.is_some() { "data.task" } else { &path };
        match self.loaded.look(&data, split, self.hub, self.seed) {
            Ok((rows, None)) => (Some(rows).filter(|_| !waits), None),
            Ok((rows, Some(error))) => {
                self.refuse_rows(place, &error);
                (None, Some(rows).filter(|rows| !waits && !rows.examples.is_empty()))
            }
            Err(error) => {
                self.refuse_rows(place, &error);
                (None, None)
            }
        }
    }

    /// Whether some of the sources are datasets of the hub that a dry run, which fetches nothing, has no copy of.
    pub(super) fn are_away(&mut self, path: &str, of: &Sources, split: Split) -> bool {
        let of = if self.fetches { &[][..] } else { of.0.as_slice() };
        let away: Vec<(&String, Lack)> =
            of.iter().filter_map(|source| Some((source, self.hub.lacks_dataset(source, split)?))).collect();
        for (source, lack) in &away {
            match lack {
                Lack::Copy(how) => self.note(&format!("not looked at: {path} = \"{source}\", {how}")),
                Lack::Split(why) => self.refuse(path, &Error::Data(why.clone())),
            }
        }
        !away.is_empty()
    }

    /// Tokens of a row as it is learned, or of its prompt, over some of them; none where they cannot be tokenised.
    fn mean_tokens(&self, rows: &Dataset, tokenizer: &Tokenizer) -> Option<f64> {
        let of = |row: &Arc<Example>| -> Result<f64> {
            let question = Prompted::of(row, tokenizer)?;
            let learned = self.stage.method.learned_of(tokenizer, &question)?;
            let all: usize = learned.iter().map(|learned| learned.sequence.tokens.len()).sum();
            Ok(if learned.is_empty() { question.tokens.len() } else { all } as f64)
        };
        let some = rows.examples.iter().step_by(rows.examples.len().div_ceil(MEASURED).max(1));
        let sizes: Vec<f64> = some.map(of).collect::<Result<_>>().ok()?;
        (!sizes.is_empty()).then(|| mean(sizes))
    }

    /// The rows that the method makes its steps of.
    fn build(&mut self, rows: Dataset) -> Option<Dataset> {
        if self.is_wrong("loop") || self.is_wrong("select") {
            return None;
        }
        let stage = self.stage;
        let mut setup = stage.setup(rows, self.hub, self.seed);
        match stage.method.build(&mut setup) {
            Ok(_) => {
                let rows = setup.rows;
                self.look_at_what_teaches(&rows);
                Some(rows)
            }
            Err(error) => {
                self.refuse_rows(&format!("loop.{}", stage.method.name()), &error);
                None
            }
        }
    }

    fn look_at_wants(&mut self, train: Option<&Dataset>, held_out: Option<&Dataset>) {
        if self.is_wrong("loop") || self.is_wrong("rollout") {
            return;
        }
        let all: Vec<_> = self.rewards.iter().chain(&self.measures).collect();
        let whole = train.is_none_or(|rows| self.are_all(rows));
        for misfit in wants::of_stage(self.stage, &all, train, held_out, whole) {
            self.refuse(&misfit.key, &Error::Data(misfit.sentence()));
        }
    }

    /// What `[eval]` needs of the held-out rows.
    fn look_at_held_out(&mut self, rows: &Dataset) {
        let Some(eval) =
            self.stage.eval.as_ref().filter(|_| !self.is_wrong("eval") && !self.is_wrong("loop"))
        else {
            return;
        };
        if self.stage.needs().head {
            return;
        }
        let rows = || rows.examples.iter().map(|row| &**row);
        let measured = rows().any(|row| self.stage.method.measures(row));
        if !self.stage.asks(rows()) {
            return self.look_at_measured(&rows().collect::<Vec<_>>());
        }
        let none: Vec<&Example> = rows().filter(|row| row.gold().is_none()).collect();
        if !none.is_empty() {
            let text = format!(
                "[eval] needs a gold answer of every held-out row, and {} of {} have none: {}; add an `answer` column, or one called \
                 otherwise as data.columns.answer = \"…\"{}",
                none.len(),
                rows().count(),
                some(&none),
                if measured {
                    "; eval.ask = false measures the loss of the rows and asks nothing"
                } else {
                    ""
                }
            );
            self.refuse("eval", &Error::Data(text));
        }
        if eval.own_steps {
            let format = &self.stage.data.format;
            let has = |row: &&Example| {
                let rationale = row.completion.as_deref().and_then(|text| format.parse(text));
                rationale.is_some_and(|rationale| !rationale.steps.is_empty())
            };
            let none: Vec<&Example> = rows().filter(|row| !has(row)).collect();
            if !none.is_empty() {
                let text = format!(
                    "eval.own_steps holds completions against each held-out row's own rationale, and {} of {} have none: {}; give them a \
                     `rationale`, or take the key out",
                    none.len(),
                    rows().count(),
                    some(&none)
                );
                self.refuse("eval.own_steps", &Error::Data(text));
            }
        }
        if let Some(by) = &eval.by {
            let lacking: Vec<&Example> = rows().filter(|row| !row.fields.contains_key(by)).collect();
            if !lacking.is_empty() {
                let known: BTreeSet<&str> =
                    rows().take(100).flat_map(|row| row.fields.keys().map(String::as_str)).collect();
                let near = or_semicolon(did_you_mean(nearest(by, known.iter().copied())));
                let text = format!(
                    "eval.by = \"{by}\" names a column that {} of {} held-out rows do not have: {}{near} known: {}",
                    lacking.len(),
                    rows().count(),
                    some(&lacking),
                    list(known)
                );
                self.refuse("eval.by", &Error::Data(text));
            }
        }
        if !eval.labels.is_empty() {
            let outside: Vec<&Example> = rows()
                .filter(|row| row.gold().is_some_and(|gold| eval.labels_of(row)(gold).is_none()))
                .collect();
            if let Some(first) = outside.first() {
                let text = format!(
                    "the answers of {} of {} held-out rows are none of eval.labels = {:?}: {} (`{}`); add them there",
                    outside.len(),
                    rows().count(),
                    eval.labels,
                    some(&outside),
                    first.gold().unwrap_or_default()
                );
                self.refuse("eval.labels", &Error::Data(text));
            }
        }
    }

    /// Turns and variables that the model's chat template leaves out.
    fn look_at_what_a_template_drops(
        &mut self,
        rows: &Dataset,
        (split, whole): (Split, bool),
        tokenizer: &Tokenizer,
    ) {
        let told = unread(rows.examples.iter().map(|row| &**row), tokenizer);
        told.iter().for_each(|told| self.note(told));
        if !tokenizer.has_chat() {
            return;
        }
        let looked_at = looked_at(&rows.examples);
        let Ok(gone) = each(looked_at, |row| dropped(row, tokenizer)) else { return };
        let mut dropped: BTreeMap<&str, Vec<&Example>> = BTreeMap::new();
        let mut handed: BTreeMap<&str, Vec<&Example>> = BTreeMap::new();
        for (row, roles) in looked_at.iter().zip(gone) {
            roles.into_iter().for_each(|role| dropped.entry(role).or_default().push(row));
            let variables = row.variables.keys().filter(|_| matches!(row.prompt, Prompt::Chat(_)));
            variables.for_each(|name| handed.entry(name).or_default().push(row));
        }
        let of = called(looked_at.len(), whole && looked_at.len() == rows.examples.len(), split);
        for (role, rows) in dropped {
            self.note(&format!(
                "the model's chat template does not write what the {role} turn of {} of {of} says: {}",
                rows.len(),
                some(&rows)
            ));
        }
        for (name, rows) in handed.into_iter().filter(|(name, _)| !tokenizer.chat_asks(name)) {
            self.note(&format!(
                "the model's chat template does not ask for `{name}`, which {} of {of} hand to it: {}",
                rows.len(),
                some(&rows)
            ));
        }
    }

    /// Held-out rows of which nothing is asked: the method's loss has to say something of them.
    fn look_at_measured(&mut self, rows: &[&Example]) {
        let none: Vec<&Example> =
            rows.iter().copied().filter(|row| !self.stage.method.measures(row)).collect();
        let method = self.stage.method.name();
        match none.len() {
            0 => {}
            count if count == rows.len() => {
                let text = format!(
                    "eval.ask = false leaves the loss of loop.{method} on held-out rows, which it has of none of them: {}; leave ask out, or \
                     take [eval] out",
                    some(&none)
                );
                self.refuse("eval.ask", &Error::Data(text));
            }
            count => self.note(&format!(
                "loop.{method} has no loss on {count} of {} held-out rows: {}; they are left out",
                rows.len(),
                some(&none)
            )),
        }
    }

    /// Prompts and what is learned of rows, tokenised: how many are too long. Whether all could be.
    fn look_at_lengths(&mut self, rows: &Dataset, (split, whole): (Split, bool), model: &Known) -> bool {
        let most = self.stage.policy.sampling.max_new_tokens;
        let sampling = self.table.table.get("policy").and_then(|policy| policy.get("sampling"));
        let written = sampling.is_some_and(|sampling| sampling.get("max_new_tokens").is_some());
        if written && split == Split::Train && self.samples() && most >= model.shape.max_position_embeddings {
            self.note(&format!(
                "policy.sampling.max_new_tokens = {most} has no effect: the model's context ends completions at {} tokens, with their prompt",
                model.shape.max_position_embeddings
            ));
        }
        let path = format!("data.{}", split.key());
        let lengths = Lengths::of(self.stage, model.shape.max_position_embeddings);
        let tokenized = match Tokenized::of(rows, (split, whole), &lengths, &model.tokenizer) {
            Ok(tokenized) => tokenized,
            Err(error) => {
                self.refuse_rows(&path, &error);
                return false;
            }
        };
        match tokenized.too_long(&lengths) {
            // The first stage of a run opens next, and says by itself which rows it leaves out.
            Ok(_) if self.table.index == 0 && split == Split::Train && self.fetches => {}
            Ok(sentences) => {
                sentences.iter().for_each(|sentence| self.note(&format!("{sentence}; they are left out")));
            }
            Err(error) => self.refuse_rows(&path, &error),
        }
        true
    }
}

/// Of rows that the program makes itself, which are alike, only the first.
pub(super) fn first_made(data: &mut Data) {
    if data.task.is_some() {
        data.train_limit = Some(data.train_limit.map_or(MADE, |limit| limit.min(MADE)));
    }
}

/// The roles of the turns of a row's prompt whose text its chat template does not write.
fn dropped<'r>(row: &'r Example, tokenizer: &Tokenizer) -> BTreeSet<&'r str> {
    let Prompt::Chat(turns) = &row.prompt else { return BTreeSet::new() };
    let Ok(whole) = tokenizer.conversation(turns, &row.variables, true) else { return BTreeSet::new() };
    let gone = turns.iter().filter(|turn| !whole.text.contains(turn.content.trim()));
    gone.map(|turn| turn.role.as_str()).collect()
}
