//! Thought-path contrastive learning (PODA, Wang et al. 2024, arXiv 2409.14495): of a question and the same question with altered
//! premises, what is said of an option whose truth that changes is to look different in the model's states, what is said of
//! the others alike, beside the likelihood of both rationales.

mod paths;
mod section;

pub use section::{Contrast, Irregular};

use super::{Batch, Item, Method, Needs, Output, Section, Selects, Setup, StageView, Worker};
use crate::data::{Dataset, Example, given};
use crate::error::{Error, Result};
use crate::log::Metrics;
use crate::loss::contrast::{contrast, pooled, similarity};
use crate::model::Sequence;
use crate::section::Misfit;
use paths::{FLIPPED, SPANS};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use tch::{Kind, Tensor};

/// The column of a counterfactual row that names the row whose premises it alters.
pub const COLUMN: &str = "counterfactual_of";

/// The method at work.
struct ContrastMethod {
    contrast: Contrast,
    /// The row that each counterfactual alters, by the counterfactual's place in the data.
    originals: HashMap<usize, Arc<Example>>,
    /// What is learned from each pair, by the same place.
    items: HashMap<usize, Item>,
    /// Pairs left out, by reason.
    dropped: BTreeMap<&'static str, usize>,
}

impl Contrast {
    /// The counterfactual rows, each with the row that it alters kept aside.
    ///
    /// # Errors
    /// [`Error::Data`] where no row is a counterfactual, or what one alters is not there.
    fn prepare(&self, rows: Dataset) -> Result<(Dataset, HashMap<usize, Arc<Example>>)> {
        let text = |example: &Arc<Example>, name: &str| match example.fields.get(name) {
            Some(Value::String(text)) => Some(text.clone()),
            Some(Value::Number(number)) => Some(number.to_string()),
            _ => None,
        };
        let (altered, own): (Vec<_>, Vec<_>) =
            rows.examples.iter().partition(|example| text(example, COLUMN).is_some());
        let mut known: HashMap<String, &Arc<Example>> = HashMap::new();
        for example in own {
            // A trace stands for the example that it is a completion of, the first of several.
            for id in [Some(example.id.clone()), text(example, "example")].into_iter().flatten() {
                known.entry(id).or_insert(example);
            }
        }
        let (mut examples, mut originals) = (Vec::new(), HashMap::new());
        for example in altered {
            let of = text(example, COLUMN).unwrap_or_default();
            let Some(original) = known.get(&of) else {
                return Err(Error::Data(format!(
                    "{}: its `{COLUMN}` is {of:?}, and no other row of data.train has that id; add the row that it \
                     alters, or leave this one out",
                    example
                )));
            };
            let index = examples.len();
            originals.insert(index, (*original).clone());
            examples.push(Arc::new(Example { index, ..(**example).clone() }));
        }
        if examples.is_empty() {
            return Err(Error::Data(format!(
                "{}: no row has a column `{COLUMN}`, the id of the row whose premises it alters; add some, or name the column in \
                 data.columns.{COLUMN}",
                rows.name
            )));
        }
        Ok((Dataset { name: rows.name, examples }, originals))
    }
}

impl ContrastMethod {
    /// The *sum* of the pairs' losses.
    fn sum(&self, items: &[&Item], output: &Output, metrics: &mut Metrics) -> Tensor {
        let (scored, contrast_of) = (output.scored, &self.contrast);
        let lengths: Vec<i64> = items
            .iter()
            .flat_map(|item| &item.sequences)
            .map(|sequence: &Sequence| sequence.learned() as i64)
            .collect();
        let logprobs = scored.logprobs.split_with_sizes(&lengths, 0);
        let spans: Vec<i64> = items
            .iter()
            .flat_map(|item| SPANS.iter().flat_map(|side| item.list(side)))
            .map(|span| *span as i64)
            .collect();
        let paths = pooled(&scored.states, &spans);
        let (mut from, mut total) = (0, Tensor::zeros([], (Kind::Float, scored.states.device())));
        for (item, of_pair) in items.iter().zip(logprobs.chunks(2)) {
            let options = item.list(SPANS[0]).len() as i64;
            let flips = item.number(FLIPPED) as i64;
            let alike =
                similarity(&paths.narrow(0, from, options), &paths.narrow(0, from + options, options));
            from += 2 * options;
            let flipped = alike.narrow(0, 0, flips);
            let unchanged = alike.narrow(0, flips, options - flips);
            let nll = -(of_pair[0].mean(Kind::Float) + of_pair[1].mean(Kind::Float)) / 2.0;
            let number = |tensor: &Tensor| tensor.mean(Kind::Float).double_value(&[]);
            metrics.add("cosine/flipped", number(&flipped), 1.0);
            metrics.add("cosine/unchanged", number(&unchanged), 1.0);
            metrics.add("cosine/margins", number(&unchanged) - number(&flipped), 1.0);
            metrics.add("nll", number(&nll), 1.0);
            total += nll * contrast_of.nll + contrast(&flipped, &unchanged, contrast_of.beta);
        }
        total
    }
}

impl Section for Contrast {
    fn check(&self) -> Vec<Misfit> {
        Contrast::check(self)
    }

    fn needs(&self, _: &StageView) -> Needs {
        Needs { trains: true, rows: true, rows_alone: true, selects: Selects::Nothing, ..Needs::default() }
    }

    /// As for fine-tuning.
    fn learning_rate(&self) -> f64 {
        2e-5
    }

    fn build(&self, setup: &mut Setup) -> Result<Box<dyn Method>> {
        given::refuse(&setup.rows.examples, "loop.contrast learns")?;
        let (rows, originals) = self.prepare(std::mem::take(&mut setup.rows))?;
        setup.rows = rows;
        let (items, dropped) = (HashMap::new(), BTreeMap::new());
        Ok(Box::new(ContrastMethod { contrast: self.clone(), originals, items, dropped }))
    }
}

impl Method for ContrastMethod {
    fn begin(&mut self, worker: &mut Worker, _kept: Option<Tensor>) -> Result<Option<Tensor>> {
        for row in &worker.questions.all {
            let original = &self.originals[&row.example.index];
            match self.contrast.item(worker, original, row)? {
                Ok(item) => drop(self.items.insert(row.example.index, item)),
                Err(why) => *self.dropped.entry(why).or_default() += 1,
            }
        }
        if self.items.is_empty() {
            let reasons: Vec<String> =
                self.dropped.iter().map(|(why, count)| format!("{count} {why}")).collect();
            return Err(Error::Data(format!(
                "no pair of a row and its counterfactual can be compared ({}); loop.contrast.irregular = \"refuse\" names the \
                 first",
                reasons.join(", ")
            )));
        }
        Ok(None)
    }

    fn batch(&mut self, worker: &mut Worker, step: usize, metrics: &mut Metrics) -> Result<Batch> {
        let rows = worker.questions.of_step(step);
        let items: Vec<Item> =
            rows.iter().filter_map(|row| self.items.get(&row.example.index)).cloned().collect();
        if step == 1 {
            metrics.set("pairs/built", self.items.len() as f64);
            for (why, count) in &self.dropped {
                metrics.set(&format!("pairs/dropped/{why}"), *count as f64);
            }
        }
        metrics.count("pairs", items.len() as f64);
        let weight = items.len() as f64;
        Ok(Batch::whole(items, weight))
    }

    fn loss(&self, items: &[&Item], output: &Output, metrics: &mut Metrics) -> Result<Tensor> {
        Ok(self.sum(items, output, metrics))
    }
}
