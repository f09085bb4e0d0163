//! Fine-tuning at work: a step's rows as items, and what they come to on held-out rows.

use super::taught::{Taught, VIEW};
use super::{Sft, reduce};
use crate::data::row::Problems;
use crate::data::turns::learned_turns;
use crate::error::{Error, Result};
use crate::eval::RowFigures;
use crate::log::Metrics;
use crate::loops::{Batch, Item, Method, Output, Section, Worker};
use crate::model::Sequence;
use crate::rollout::Prompted;
use crate::seed;
use crate::select::reduce::Reduce;
use tch::{Kind, Tensor};

pub(super) struct SftMethod {
    pub sft: Sft,
}

impl SftMethod {
    /// The rows of a step, whose rationales are shortened first.
    fn shortened(
        &self,
        reduce: &Reduce,
        worker: &Worker,
        step: usize,
        metrics: &mut Metrics,
    ) -> Result<Batch> {
        let rows = worker.questions.of_step(step);
        let texts = reduce::shortened(reduce, worker, &rows, step, metrics)?;
        let mut items = Vec::with_capacity(rows.len());
        for (row, text) in rows.iter().zip(texts) {
            let (whole, shorter) = (Sft::sequence(worker, row)?, Sft::learning(worker, row, &text)?);
            let (kept, all) = (shorter.learned() as f64, whole.learned() as f64);
            metrics.add("select/tokens_kept", kept / all, all);
            items.push(Item::of(vec![self.dressed(worker, shorter, row_seed(worker, row, step))]));
        }
        Ok(Batch::of_completions(items))
    }

    /// What is learned in a step.
    fn learned(&self, worker: &Worker, step: usize, metrics: &mut Metrics) -> Result<Batch> {
        if let Some(reduce) = &self.sft.reduce {
            return self.shortened(reduce, worker, step, metrics);
        }
        let rows = worker.questions.of_step(step);
        if let Some(choices) = &self.sft.choices {
            let dress = |sequence, seed| self.dressed(worker, sequence, seed);
            return choices.batch(worker, &rows, |row| row_seed(worker, row, step), dress);
        }
        let (mut items, mut weight) = (Vec::new(), 0.0);
        for row in &rows {
            for (at, mut taught) in (0..).zip(self.sft.taught(&worker.policy.tokenizer, row)?) {
                weight += taught.weight();
                let seed = seed::derive(&[row_seed(worker, row, step), at]);
                taught.sequence = self.dressed(worker, taught.sequence, seed);
                items.push(taught.item());
            }
        }
        Ok(Batch::whole(items, weight))
    }

    /// A sequence as it is learned once, drawn by a seed: words left out of what is read, and the passes under dropout.
    fn dressed(&self, worker: &Worker, sequence: Sequence, seed: u64) -> Sequence {
        let sequence = match &self.sft.words {
            Some(words) => words.of(sequence, seed::derive(&[seed, seed::of_text("words")])),
            None => sequence,
        };
        if worker.policy.model.dropout == 0.0 {
            return sequence;
        }
        let passes = 0..self.sft.votes.unwrap_or(1) as u64;
        sequence.dropping(passes.map(|pass| seed::derive(&[seed, seed::of_text("dropout"), pass])).collect())
    }

    /// The mean −log p of each view's tokens.
    fn tell_views(&self, items: &[&Item], logprobs: &Tensor, metrics: &mut Metrics) {
        if self.sft.view.is_empty() {
            return;
        }
        let lengths: Vec<i64> = items.iter().map(|item| item.learned() as i64).collect();
        for (item, own) in items.iter().zip(logprobs.detach().split_with_sizes(&lengths, 0)) {
            let tokens = item.learned() as f64;
            let name = &self.sft.view[item.number(VIEW) as usize].name;
            metrics.add(
                &format!("views/{name}/loss"),
                -own.sum(Kind::Double).double_value(&[]) / tokens,
                tokens,
            );
        }
    }
}

impl Method for SftMethod {
    /// Conversations whose template cannot be learned from are named before anything is.
    fn begin(&mut self, worker: &mut Worker, _kept: Option<Tensor>) -> Result<Option<Tensor>> {
        let mut problems = Problems::default();
        for row in &worker.questions.all {
            match learned_turns(&worker.policy.tokenizer, &row.example) {
                Err(Error::Data(what)) => problems.everywhere(what),
                other => drop(other?),
            }
        }
        problems.into_result()?;
        let hides = self.sft.choices.as_ref().is_some_and(|choices| choices.rationale.is_some());
        let counts = worker.policy.model.has_windows() || worker.policy.model.is_recurrent();
        if counts && (self.sft.words.is_some() || hides) {
            return Err(Error::Model(
                "loop.sft leaves tokens out of what is read, and this model's windows or recurrent layers go over those that are there; use a model \
                 with plain attention in all layers, or leave loop.sft.words and the choices' rationale out"
                    .into(),
            ));
        }
        Ok(None)
    }

    fn batch(&mut self, worker: &mut Worker, step: usize, metrics: &mut Metrics) -> Result<Batch> {
        let new_pass = step > 1 && (step - 1).is_multiple_of(worker.questions.steps_per_epoch());
        let fresh_optimizer = new_pass && self.sft.fresh_optimizer.unwrap_or(self.sft.reduce.is_some());
        Ok(Batch { fresh_optimizer, ..self.learned(worker, step, metrics)? })
    }

    /// −log p of a row's learned tokens, the mean of which it weighs by theirs: over all rows it is Σ w −log p / Σ w.
    fn held_out(&self, worker: &mut Worker, rows: &[Prompted]) -> Result<(Vec<(usize, RowFigures)>, usize)> {
        let limit = self.sft.max_tokens.unwrap_or(usize::MAX).min(worker.policy.context());
        let rows: Vec<&Prompted> = rows.iter().filter(|row| self.sft.measures(&row.example)).collect();
        if let Some(choices) = &self.sft.choices {
            return choices.held_out(worker, &rows, limit);
        }
        let (mut kept, mut too_long) = (Vec::new(), 0);
        for row in rows {
            let taught = self.sft.taught(&worker.policy.tokenizer, row)?;
            match taught.iter().any(|one| one.sequence.tokens.len() > limit) {
                true => too_long += 1,
                false => kept.push((row, taught)),
            }
        }
        let all = kept.iter().flat_map(|(_, taught)| taught);
        let sequences: Vec<_> = all.map(|one| one.sequence.clone()).collect();
        let logprobs = worker.policy.logprobs(&sequences, 1.0, worker.tokens_per_microbatch)?;
        let mut logprobs = logprobs.iter();
        let mut of = |(row, taught): &(&Prompted, Vec<Taught>)| {
            let weight = taught.iter().map(Taught::weight).sum::<f64>();
            let own =
                taught.iter().zip(logprobs.by_ref()).flat_map(|(one, found)| one.weights.iter().zip(found));
            let loss = own.map(|(&weight, &logprob)| -f64::from(weight) * f64::from(logprob)).sum::<f64>();
            let figures = [("loss".to_string(), (loss / weight, weight))].into();
            (row.place, RowFigures { row: row.example.id.clone(), figures, ..RowFigures::default() })
        };
        Ok((kept.iter().map(&mut of).collect(), too_long))
    }

    fn loss(&self, items: &[&Item], output: &Output, metrics: &mut Metrics) -> Result<Tensor> {
        if let Some(choices) = &self.sft.choices {
            return Ok(choices.loss(items, output, metrics));
        }
        self.tell_views(items, &output.scored.logprobs, metrics);
        Ok(Item::imitation(items, output, metrics))
    }
}

/// What is drawn for a row in a step: by its place in the data, and by how often it is learned there.
pub(super) fn row_seed(worker: &Worker, row: &Prompted, step: usize) -> u64 {
    let parts = [step, row.example.index, row.occurrence].map(|part| part as u64);
    seed::derive(&[&[worker.seed, seed::of_text("sft")], &parts[..]].concat())
}
