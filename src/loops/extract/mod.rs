//! Extractive rationales: a classifier that selects the parts of a text that its label rests on (Lei et al. 2016, arXiv 1606.04155), with the
//! masks and the terms of A2R with noise (Storek et al. 2023), REFER (Madani and Minervini 2023), SSR (Yue et al. 2024), of the ECtHR rationales
//! (Chalkidis et al. 2021) and of the trade-off with plausibility (Resck et al. 2024).

mod document;
mod item;
mod measure;
mod noise;
mod objective;
mod reading;
mod section;

pub use section::{Against, Contrast, Extract, Hinge, Mask, MaskKind, Units};

use super::{Batch, Item, Method, Needs, Output, Section, Selects, Setup, StageView, Worker};
use crate::data::row::{Problems, named};
use crate::data::{Dataset, Example, Prompted};
use crate::error::{Error, Result};
use crate::eval::RowFigures;
use crate::log::Metrics;
use crate::loss::mask::adapted;
use crate::rationale::Format;
use crate::rollout::Seeds;
use crate::section::{Idle, Misfit};
use crate::seed;
use document::Document;
use item::Prepared;
use noise::Lexicon;
use objective::Objective;
use reading::Reading;
use serde_json::{Value, json};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use tch::{Kind, Tensor};

impl Section for Extract {
    fn check(&self) -> Vec<Misfit> {
        Extract::check(self)
    }

    fn needs(&self, _: &StageView) -> Needs {
        let step = Some("texts, each read whole and with units left out".into());
        Needs {
            trains: true,
            rows: true,
            undivided: true,
            head: true,
            formless: true,
            selects: Selects::Nothing,
            step,
            ..Needs::default()
        }
    }

    fn read_of(&self, row: &Prompted, _format: &Format) -> Vec<String> {
        let labels = gold(&row.example, self).unwrap_or_default();
        vec![format!("[{}] {}", labels.join(", "), row.example.prompt.text().trim())]
    }

    fn figures(&self) -> &'static [&'static str] {
        measure::FIGURES
    }

    fn measures(&self, row: &Example) -> bool {
        gold(row, self).is_some()
    }

    fn fits(&self, stage: &StageView) -> Vec<Misfit> {
        let why =
            "shortcuts are what the selector of an earlier loop.extract picks, and the policy is a new one";
        let new = self.shortcut > 0.0 && stage.policy.init.is_some();
        new.then(|| Misfit::new("loop.extract.shortcut", why, "set policy.model = \"@STAGE\" of that stage"))
            .into_iter()
            .collect()
    }

    fn idle(&self) -> Vec<Idle> {
        self.without_effect()
    }

    /// TRL's for reward models.
    fn learning_rate(&self) -> f64 {
        1e-5
    }

    fn build(&self, setup: &mut Setup) -> Result<Box<dyn Method>> {
        let mut problems = Problems::default();
        let mut found = BTreeSet::new();
        for row in &setup.rows.examples {
            match gold(row, self) {
                Some(labels) => found.extend(labels),
                None => problems.example(row, match &self.several {
                    Some(column) => format!("it has no labels: give it a column `{column}`, a list of texts, or change loop.extract.several"),
                    None => "it has no label: give it an `answer`".to_string(),
                }),
            }
        }
        problems.into_result()?;
        let labels: Vec<String> =
            if self.labels.is_empty() { found.into_iter().collect() } else { self.labels.clone() };
        if labels.len() < 2 {
            let all = labels.first().map_or("no label".to_string(), |label| format!("the label {label:?}"));
            let why = "and nothing can be learned from that";
            return Err(Error::Data(format!("{}: all rows have {all}, {why}", setup.rows.name)));
        }
        let marked = |rows: &Dataset| rows.examples.iter().any(|row| row.fields.contains_key("spans"));
        let unread = |row: &&mut Arc<Example>| !self.reads_spans_of(&row.id, setup.run_seed);
        let rows = setup.rows.examples.iter_mut().filter(unread);
        rows.for_each(|row| drop(Arc::make_mut(row).fields.remove("spans")));
        if self.reads_spans() && !marked(&setup.rows) {
            let few = if self.marked < 1.0 { " that loop.extract.marked leaves" } else { "" };
            return Err(Error::Data(format!(
                "{}: no row has a column `spans`{few}, which loop.extract's plausible, shortcut and contrast learn from; add it, [[start, end], …] in bytes",
                setup.rows.name
            )));
        }
        Ok(Box::new(ExtractMethod {
            extract: self.clone(),
            labels,
            cue: vec![],
            rows: HashMap::new(),
            held_out: HashMap::new(),
            lexicon: Lexicon::default(),
            left_out: vec![],
            beta: 1.0,
            moved: 1.0,
        }))
    }
}

/// The labels of a row; none where it has none.
fn gold(row: &Example, extract: &Extract) -> Option<Vec<String>> {
    let Some(column) = &extract.several else {
        return row.answer.clone().map(|answer| vec![answer]);
    };
    let list = row.fields.get(column)?.as_array()?;
    list.iter().map(|label| label.as_str().map(str::to_string)).collect()
}

/// The method at work.
struct ExtractMethod {
    extract: Extract,
    labels: Vec<String>,
    /// Tokens of the cue.
    cue: Vec<u32>,
    /// By the example's place in the training rows.
    rows: HashMap<usize, Prepared>,
    /// By the question's place in the held-out rows.
    held_out: HashMap<usize, Prepared>,
    lexicon: Lexicon,
    /// Rows that are too long to be read.
    left_out: Vec<String>,
    /// AIMLE's β.
    beta: f64,
    /// Units that its gradient reaches of a text, a moving mean.
    moved: f64,
}

impl ExtractMethod {
    /// What a model keeps of how its selector was learned.
    fn notes(&self) -> Value {
        json!({
            "labels": self.labels, "several": self.extract.several, "units": self.extract.units, "cue": self.extract.cue,
            "echo": self.extract.echo, "share": self.extract.share, "mask": self.extract.mask.kind,
        })
    }

    /// Refuses an earlier selector that reads texts in another way than this stage, and so picks no units of these.
    fn reads_alike(&self, earlier: &Value) -> Result<()> {
        let notes = self.notes();
        match ["units", "cue", "echo"].into_iter().find(|key| earlier[key] != notes[key]) {
            None => Ok(()),
            Some(key) => Err(Error::Recipe(format!(
                "loop.extract.shortcut: policy.model's selector was learned with {key} = {}, and here it is {}; set them alike",
                earlier[key], notes[key]
            ))),
        }
    }

    /// Gives the model what it lacks; an earlier stage's selector goes on.
    fn attach(&self, worker: &mut Worker) -> Result<()> {
        let seed = seed::derive(&[worker.seed, seed::of_text("extractor")]);
        let padding = worker.policy.tokenizer.pad().unwrap_or(worker.policy.tokenizer.eos());
        let model = &mut worker.policy.model;
        let (count, notes) = (self.labels.len(), self.notes());
        if let Some(earlier) = &model.extractor
            && earlier.notes["labels"] != notes["labels"]
        {
            return Err(Error::Model(format!(
                "policy.model tells the labels {}, and these rows have {}; begin with another model, or name loop.extract.labels",
                earlier.notes["labels"], notes["labels"]
            )));
        }
        if model.score.as_ref().is_none_or(|score| score.weight.size()[0] != count as i64) {
            model.add_score(count, false, seed);
        }
        model.add_extractor(count, self.extract.two(), seed, notes);
        model.config.name_padding(padding);
        let beside =
            model.extractor.iter().flat_map(|extractor| extractor.tensors()).map(|(_, tensor)| tensor);
        let score = model.score.iter().map(|score| score.weight.shallow_clone());
        beside.chain(score).for_each(|tensor| drop(tensor.set_requires_grad(true)));
        worker.policy.weights_changed();
        Ok(())
    }

    /// The rows as they are read; what is wrong with them is said of all at once.
    fn prepare(&mut self, worker: &Worker) -> Result<()> {
        let mut problems = Problems::default();
        for (rows, held_out) in [(&worker.questions.all, false), (&worker.held_out, true)] {
            for row in rows.iter().filter(|row| !held_out || self.extract.measures(&row.example)) {
                match self.prepared(worker, row)? {
                    Ok(Some(prepared)) if held_out => drop(self.held_out.insert(row.place, prepared)),
                    Ok(Some(prepared)) => drop(self.rows.insert(row.example.index, prepared)),
                    Ok(None) if !held_out => self.left_out.push(row.example.id.clone()),
                    Ok(None) => {}
                    Err(what) => problems.example(&row.example, what),
                }
            }
        }
        problems.into_result()?;
        if self.rows.is_empty() {
            return Err(Error::Data(format!(
                "{}: no row can be read within the model's context of {} tokens; loop.extract.echo = false needs half as many",
                worker.name,
                worker.policy.context()
            )));
        }
        if !self.left_out.is_empty() {
            let ids: Vec<&str> = self.left_out.iter().map(String::as_str).collect();
            tracing::warn!(
                "{} rows are longer than the model's context and are left out: {}",
                ids.len(),
                named(&ids)
            );
        }
        Ok(())
    }

    /// A row as it is read; none where it is too long.
    fn prepared(
        &self,
        worker: &Worker,
        row: &Prompted,
    ) -> Result<std::result::Result<Option<Prepared>, String>> {
        let document = match Document::of(&row.example, &self.extract, &worker.policy.tokenizer)? {
            Ok(document) => document,
            Err(what) => return Ok(Err(what)),
        };
        let labels = gold(&row.example, &self.extract).unwrap_or_default();
        if let Some(other) = labels.iter().find(|label| !self.labels.contains(label)) {
            return Ok(Err(format!("its label {other:?} is none of {}", self.labels.join(", "))));
        }
        let targets = self.labels.iter().map(|label| f64::from(u8::from(labels.contains(label)))).collect();
        let (tokens, _) = item::read(&document, &self.cue, self.extract.echo);
        let shortcut = vec![0.0; document.units.len()];
        let fits = tokens.len() <= worker.policy.context();
        Ok(Ok(fits.then(|| Prepared { id: row.example.id.clone(), document, targets, shortcut })))
    }

    /// The units of the training rows with marks that the policy's selector picks outside of them, row by row in the order of the questions.
    fn shortcuts(&self, worker: &Worker) -> Result<Tensor> {
        let rows: Vec<&Prepared> = self.in_order(worker).collect();
        let readings = self.readings(worker, &rows)?;
        let of = |(row, reading): (&&Prepared, &Reading)| {
            let selected = reading.selected(&self.extract);
            let Some(marked) = &row.document.marked else { return selected.zeros_like() };
            let unmarked: Vec<f32> = marked.iter().map(|yes| f32::from(u8::from(!yes))).collect();
            selected * Tensor::from_slice(&unmarked).to_device(worker.policy.model.device())
        };
        let all: Vec<Tensor> = rows.iter().zip(&readings).map(of).collect();
        Ok(Tensor::from_slice(&Vec::<f32>::try_from(Tensor::cat(&all, 0))?))
    }

    fn in_order<'a>(&'a self, worker: &'a Worker) -> impl Iterator<Item = &'a Prepared> {
        worker.questions.all.iter().filter_map(move |row| self.rows.get(&row.example.index))
    }

    fn objective(&self) -> Objective<'_> {
        Objective { extract: &self.extract, cue: self.cue.len(), beta: self.beta }
    }
}

impl Method for ExtractMethod {
    fn begin(&mut self, worker: &mut Worker, kept: Option<Tensor>) -> Result<Option<Tensor>> {
        self.cue = worker.policy.tokenizer.encode(&self.extract.cue)?;
        let shortcuts = self.extract.shortcut > 0.0;
        if shortcuts {
            let earlier = worker.policy.model.extractor.as_ref().ok_or_else(|| {
                Error::Recipe(
                    "loop.extract.shortcut: shortcuts are what the selector of an earlier loop.extract picks, and policy.model has none; \
                     set policy.model to that stage's result, \"@STAGE\""
                        .into(),
                )
            })?;
            self.reads_alike(&earlier.notes)?;
        }
        // The selector that finds them is read as the stage found it.
        if !shortcuts {
            self.attach(worker)?;
        }
        self.prepare(worker)?;
        if self.extract.noise > 0.0 {
            self.lexicon = Lexicon::of(self.in_order(worker).map(|row| &row.document));
        }
        if !shortcuts {
            return Ok(None);
        }
        let found = match kept {
            Some(found) => found,
            None => self.shortcuts(worker)?,
        };
        let mut values = Vec::<f32>::try_from(&found)?.into_iter().map(f64::from);
        for row in &worker.questions.all {
            if let Some(prepared) = self.rows.get_mut(&row.example.index) {
                prepared.shortcut = values.by_ref().take(prepared.document.units.len()).collect();
            }
        }
        self.attach(worker)?;
        Ok(Some(found))
    }

    fn batch(&mut self, worker: &mut Worker, step: usize, metrics: &mut Metrics) -> Result<Batch> {
        let rows = worker.questions.of_step(step);
        let seeds = Seeds::new(&[worker.seed, step as u64], &rows);
        let [first, last] = self.extract.mask.temperature;
        let temperature = first + (last - first) * (step - 1) as f64 / (worker.steps.max(2) - 1) as f64;
        let regularised = step.is_multiple_of(self.extract.every);
        let room = worker.policy.context().saturating_sub(self.cue.len());
        let mut items: Vec<Item> = Vec::with_capacity(rows.len());
        for (at, row) in rows.iter().enumerate() {
            let Some(prepared) = self.rows.get(&row.example.index) else { continue };
            let draw = |purpose: u64, number: u64| seeds.draw(at, &[purpose, number]);
            let noised = match self.extract.noise {
                0.0 => None,
                share => {
                    let tokenizer = &worker.policy.tokenizer;
                    self.lexicon.noised(&prepared.document, share, tokenizer, room, draw)?
                }
            };
            let modes = (regularised, temperature);
            items.push(prepared.item(&self.extract, &self.cue, modes, draw, noised.as_ref()));
        }
        if step == 1 && !self.left_out.is_empty() && worker.ranks.is_first() {
            metrics.name("rows/left_out", self.left_out.clone());
        }
        if self.extract.mask.kind == MaskKind::TopK {
            metrics.set("mask/beta", self.beta);
        }
        let weight = items.len() as f64;
        Ok(Batch::whole(items, weight))
    }

    fn loss(&self, items: &[&Item], output: &Output, metrics: &mut Metrics) -> Result<Tensor> {
        let loss = self.objective().sum(items, output, metrics)?;
        if loss.isfinite().all().int64_value(&[]) == 0 {
            let ids: Vec<&str> = items.iter().map(|item| item.id.as_str()).collect();
            return Err(Error::Model(format!(
                "{}: their loss is {}; lower optim.lr",
                named(&ids),
                loss.sum(Kind::Float).double_value(&[])
            )));
        }
        Ok(loss)
    }

    /// β of AIMLE rises while its gradient reaches less than a unit of a text, and falls while it reaches more.
    fn after(&mut self, _worker: &mut Worker, _step: usize, metrics: &Metrics) -> Result<bool> {
        if let Some(moved) = metrics.get("mask/moved") {
            (self.beta, self.moved) = adapted(self.beta, self.moved, moved);
        }
        Ok(false)
    }

    fn state_dict(&self) -> Value {
        json!({"beta": self.beta, "moved": self.moved})
    }

    fn load_state_dict(
        &mut self,
        _worker: &mut Worker,
        state: &Value,
        _traces: &mut dyn FnMut() -> Result<Vec<crate::rollout::Trace>>,
    ) -> Result<()> {
        let number = |key: &str| state[key].as_f64().unwrap_or(1.0);
        (self.beta, self.moved) = (number("beta"), number("moved"));
        Ok(())
    }

    fn held_out(&self, worker: &mut Worker, rows: &[Prompted]) -> Result<(Vec<(usize, RowFigures)>, usize)> {
        self.measured(worker, rows)
    }
}
