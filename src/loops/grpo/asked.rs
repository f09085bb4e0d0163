//! Which questions a step asks, by a curriculum where there is one, and what is remembered of them.

use super::{GrpoMethod, Notes};
use crate::error::{Error, Result};
use crate::log::Metrics;
use crate::loops::Worker;
use crate::ranks::{Ranks, gathered};
use crate::reward::{column, correct};
use crate::rollout::{Group, Prompted};
use crate::seed;
use crate::select::curriculum::Curriculum;
use serde_json::Value;

impl GrpoMethod {
    /// The questions of `step`; for an `attempt` above 0 further ones, in another order.
    pub(super) fn asked(
        &self,
        worker: &Worker,
        step: usize,
        attempt: usize,
        metrics: &mut Metrics,
    ) -> Result<Vec<Prompted>> {
        match &self.grpo.curriculum {
            Some(curriculum) => self.chosen(curriculum, worker, step, attempt, metrics),
            None if attempt == 0 => Ok(worker.questions.of_step(step)),
            None => Ok(worker.questions.resample(step, attempt)),
        }
    }

    fn chosen(
        &self,
        curriculum: &Curriculum,
        worker: &Worker,
        step: usize,
        attempt: usize,
        metrics: &mut Metrics,
    ) -> Result<Vec<Prompted>> {
        let (questions, count) = (&worker.questions, worker.questions.per_step());
        let order = questions.shuffled(step, attempt);
        let draw = [worker.seed, seed::of_text("curriculum"), step as u64, attempt as u64];
        let index = |at: usize| questions.all[at].example.index;
        let chance =
            |at: usize| seed::uniform(seed::derive(&[draw[0], draw[1], draw[2], draw[3], index(at) as u64]));
        // The curriculum knows questions by their place in the data, the order by their place among those that fit.
        let rates = self
            .recent
            .by(|at| questions.all.get(at).map(|question| question.example.index), questions.all.len());
        let (mut picked, mut filled) = (Vec::with_capacity(count), 0);
        for (pool, count) in curriculum.counts(step, count).unwrap_or_else(|| vec![(String::new(), count)]) {
            let mut order = order.clone();
            if let Some(column) = &curriculum.column {
                let value = |at: usize| column::text(&questions.all[at].example, column);
                order.retain(|&at| value(at).is_ok_and(|value| value == pool));
                // Its questions may all be too long.
                if order.is_empty() && count > 0 {
                    return Err(Error::Data(format!(
                        "loop.grpo.curriculum.stages: no question that is short enough has {column} = {pool:?}; see data.max_prompt_tokens"
                    )));
                }
            }
            let (of_pool, outside) = curriculum.pick(&order, count, &rates, chance);
            filled += outside;
            picked.extend(of_pool);
        }
        metrics.add("curriculum/filled", filled as f64, 1.0);
        if filled > 0 {
            tracing::warn!(
                "step {step}: {filled} of {} questions are outside curriculum.pass_rate: too few lie within",
                picked.len()
            );
        }
        Ok(questions.mine(&picked))
    }

    /// Remembers how often each group was right; what was remembered.
    pub(super) fn note(&mut self, groups: &[Group]) -> Result<Notes> {
        let Some(curriculum) =
            self.grpo.curriculum.as_ref().filter(|curriculum| curriculum.pass_rate.is_some())
        else {
            return Ok(vec![]);
        };
        let mut noted = Vec::new();
        for group in groups {
            let rate = pass_rate(group).ok_or_else(|| {
                Error::Data(format!(
                    "{}: loop.grpo.curriculum.pass_rate needs a gold answer; add an `answer` column",
                    group.example
                ))
            })?;
            self.recent.note(group.example.index, rate, curriculum.window);
            noted.push((group.example.index, rate));
        }
        Ok(noted)
    }

    /// Remembers what the other ranks have noted in a step.
    pub(super) fn share_notes(&mut self, ranks: &dyn Ranks, own: Notes) -> Result<()> {
        let Some(window) = self.grpo.curriculum.as_ref().map(|curriculum| curriculum.window) else {
            return Ok(());
        };
        let all = gathered(ranks, own)?;
        for (_, notes) in all.into_iter().enumerate().filter(|(rank, _)| *rank != ranks.rank()) {
            notes.into_iter().for_each(|(index, rate)| self.recent.note(index, rate, window));
        }
        Ok(())
    }

    /// What was remembered when the run was interrupted.
    pub(super) fn restore(&mut self, state: &Value) -> Result<()> {
        if self.grpo.curriculum.is_some() && !state["recent"].is_null() {
            self.recent = serde_json::from_value(state["recent"].clone())
                .map_err(|error| Error::Checkpoint(format!("the curriculum of the checkpoint: {error}")))?;
        }
        Ok(())
    }
}

/// The share of a group that has the gold answer; none where there is no gold answer.
pub(super) fn pass_rate(group: &Group) -> Option<f64> {
    let right: Vec<bool> =
        group.rollouts.iter().map(|rollout| correct(&group.example, rollout)).collect::<Option<_>>()?;
    Some(right.iter().filter(|right| **right).count() as f64 / right.len().max(1) as f64)
}
