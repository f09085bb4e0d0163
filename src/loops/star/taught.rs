//! The lesson of one round of STaR: −log p of the rationales kept, given the plain prompt.

use crate::data::order;
use crate::error::Result;
use crate::log::Metrics;
use crate::loops::{Batch, Lesson, Pass, Worker, imitation};
use crate::model::{Scored, Sequence};
use tch::Tensor;

/// The sequences that a round learns, in an order of their own.
#[derive(Debug)]
pub struct Taught {
    /// Prompt without hint, completion as sampled.
    pub sequences: Vec<Sequence>,
    /// Sequences of a step.
    pub per_step: usize,
    /// Steps of the stage before this round's first.
    pub before: usize,
    /// Seed of the order.
    pub seed: u64,
}

impl Lesson for Taught {
    type Item = Sequence;

    fn batch(&mut self, _: &mut Worker, step: usize, _: &mut Metrics) -> Result<Batch<Sequence>> {
        let indices =
            order::of_step(self.sequences.len(), self.per_step, step - self.before - 1, Some(self.seed));
        let items: Vec<Sequence> = indices.into_iter().map(|index| self.sequences[index].clone()).collect();
        Ok(Batch::of_completions(items))
    }

    fn sequences<'a>(&self, item: &'a Sequence) -> &'a [Sequence] {
        std::slice::from_ref(item)
    }

    fn learn(&self, pass: Pass<Sequence>) -> Result<f64> {
        pass.by_scores(self, &[], Self::loss)
    }
}

impl Taught {
    fn loss(&self, _: &[&Sequence], scored: &Scored, metrics: &mut Metrics) -> Result<Tensor> {
        Ok(imitation(scored, metrics))
    }
}
