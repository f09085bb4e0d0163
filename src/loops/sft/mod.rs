//! Supervised fine-tuning: −log p of each row's completion given its prompt, the prompt itself not learned.

pub mod reduce;

use super::{Batch, Lesson, Pass, Worker, candidate, imitation};
use crate::data::{Dataset, Example};
use crate::error::{Error, Result};
use crate::log::Metrics;
use crate::model::{Scored, Sequence};
use crate::rationale::Format;
use crate::rollout::{Prompted, trace};
use crate::select::reduce::Reduce;
use crate::select::{Candidate, Select};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tch::Tensor;

/// `[loop.sft]`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Sft {
    /// Rows whose prompt and completion together are longer are left out, and counted; the model's context by
    /// default.
    pub max_tokens: Option<usize>,
    /// Shorten rationales as they are learned, by what the policy can do without (VARR).
    pub reduce: Option<Reduce>,
}

impl Sft {
    /// Checks the values.
    pub fn validate(&self) -> Result<()> {
        match self.max_tokens {
            Some(0 | 1) => Err(Error::Recipe("loop.sft.max_tokens must be at least 2".into())),
            _ => self.reduce.as_ref().map_or(Ok(()), Reduce::validate),
        }
    }

    /// The rows that `select` keeps, where they are traces of rollouts; other rows stand as they are.
    pub fn prepare(&self, rows: Dataset, select: &Select, format: &Format) -> Result<Dataset> {
        let Ok(groups) = trace::groups(&rows.examples, format) else { return Ok(rows) };
        let places = trace::places(&rows.examples);
        let kept = groups.iter().zip(places).flat_map(|(group, places)| {
            let candidates: Vec<Candidate> =
                group.rollouts.iter().map(|rollout| candidate(&group.example, rollout)).collect();
            select.keep(&candidates).into_iter().map(|at| places[at]).collect::<Vec<_>>()
        });
        let mut kept: Vec<usize> = kept.collect();
        kept.sort_unstable();
        if kept.is_empty() {
            return Err(Error::Data(format!(
                "{}: [select] keeps none of its {} traces",
                rows.name,
                rows.examples.len()
            )));
        }
        let renumbered =
            |(index, at): (usize, usize)| Arc::new(Example { index, ..(*rows.examples[at]).clone() });
        Ok(Dataset { examples: kept.into_iter().enumerate().map(renumbered).collect(), name: rows.name })
    }

    /// The row as a training sequence: prompt, completion, end of sequence; none if it is too long.
    ///
    /// # Errors
    /// [`Error::Data`] if the row has no completion.
    pub fn sequence(&self, worker: &Worker, row: &Prompted) -> Result<Option<Sequence>> {
        let text = row.example.completion.as_deref().ok_or_else(|| {
            Error::Data(format!(
                "example {}: it has no completion to learn; give it a `rationale` and `answer`, or a `completion`, \
                 or set data.template.assistant",
                row.example.id
            ))
        })?;
        self.learning(worker, row, text)
    }

    /// The same with another completion; none if it is too long.
    fn learning(&self, worker: &Worker, row: &Prompted, text: &str) -> Result<Option<Sequence>> {
        let sequence = Sequence::new(&row.tokens, &worker.policy.completion(text)?);
        let limit = self.max_tokens.unwrap_or(usize::MAX).min(worker.policy.context());
        Ok((sequence.tokens.len() <= limit).then_some(sequence))
    }
}

impl Lesson for Sft {
    type Item = Sequence;

    fn batch(&mut self, worker: &mut Worker, step: usize, metrics: &mut Metrics) -> Result<Batch<Sequence>> {
        let (mut items, mut rows) = (Vec::new(), Vec::new());
        for row in worker.questions.of_step(step) {
            let sequence = self.sequence(worker, &row)?;
            metrics.add("rows_too_long", f64::from(u8::from(sequence.is_none())), 1.0);
            if let Some(sequence) = sequence {
                items.push(sequence);
                rows.push(row);
            }
        }
        if let Some(reduce) = &self.reduce {
            let texts = reduce::shortened(reduce, worker, &rows, step, metrics)?;
            for ((whole, row), text) in items.iter_mut().zip(&rows).zip(texts) {
                let shorter = self.learning(worker, row, &text)?.unwrap_or_else(|| whole.clone());
                let (kept, all) = (shorter.learned() as f64, whole.learned() as f64);
                metrics.add("select/tokens_kept", kept / all, all);
                *whole = shorter;
            }
        }
        Ok(Batch::of_completions(items))
    }

    fn sequences<'a>(&self, item: &'a Sequence) -> &'a [Sequence] {
        std::slice::from_ref(item)
    }

    fn begins_anew(&self, worker: &Worker, step: usize) -> bool {
        let new_pass = step > 1 && (step - 1).is_multiple_of(worker.questions.steps_per_epoch());
        new_pass && self.reduce.as_ref().is_some_and(|reduce| reduce.fresh_optimizer)
    }

    fn learn(&self, pass: Pass<Sequence>) -> Result<f64> {
        pass.by_scores(self, &[], Self::loss)
    }
}

impl Sft {
    fn loss(&self, _: &[&Sequence], scored: &Scored, metrics: &mut Metrics) -> Result<Tensor> {
        Ok(imitation(scored, metrics))
    }
}
