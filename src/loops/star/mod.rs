//! STaR: rounds of sampling rationales, keeping those whose answer is right, and learning them (Zelikman et al. 2022,
//! arXiv 2203.14465).
//!
//! With `[rollout.hint]` the questions that are failed are asked again with their answer (rationalization). Samples,
//! filters and weights are the other sections'.

mod attempts;
mod method;
mod prompts;
pub mod rounds;
mod section;

pub use attempts::{Attempts, Figures};
pub use prompts::Prompts;

use super::Worker;
use crate::error::Result;
use crate::log::Metrics;
use crate::rollout::{Prompted, Trace};
use crate::section::{Misfit, broken, under};
use rounds::{Measure, Plateau};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[loop.star]`: rounds of sampling rationales, keeping those whose answer is right, and learning them (STaR). A round fine-tunes for `run.steps` steps (`growth` times as many in each further round), or, without
/// `run.steps`, for `run.epochs` passes over the rationales that it learns.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Star {
    /// Rounds, if there is no plateau before.
    pub rounds: usize,
    /// Training questions asked in a round, each round the next ones; all by default.
    pub questions: Option<usize>,
    /// The weights that a round's fine-tuning starts from.
    pub start: Start,
    /// How many times the steps of the round before a round trains, where `run.steps` gives those of the first.
    pub growth: f64,
    /// The most steps of a round, however often they have grown.
    pub max_steps: Option<usize>,
    /// Learn the rationales of earlier rounds too, as ReST (Gulcehre et al. 2023, arXiv 2308.08998) does, and not only
    /// those of the round itself; `[select]` sees all rationales of a question together, the newest first.
    pub accumulate: bool,
    /// Keep the few-shot examples in the prompts that are trained on; off, they only help while sampling.
    pub train_few_shot: bool,
    /// Questions sampled together and written to the traces at once; a killed run loses at most these.
    pub chunk: usize,
    /// When to stop before the last round.
    pub plateau: Plateau,
}

/// The weights that a round's fine-tuning starts from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Start {
    /// Those that the stage began with, as in the paper.
    Base,
    /// Those that the round before ended with.
    Previous,
}

impl Default for Star {
    fn default() -> Self {
        Self {
            rounds: 5,
            questions: None,
            start: Start::Base,
            growth: 1.2,
            max_steps: None,
            accumulate: false,
            train_few_shot: false,
            chunk: 64,
            plateau: Plateau::default(),
        }
    }
}

impl Star {
    /// What cannot be used as it is.
    pub fn check(&self) -> Vec<Misfit> {
        let some = |count: Option<usize>| count != Some(0);
        let mut found = broken(&[
            (self.rounds > 0, "rounds", "it must be at least 1"),
            (some(self.questions), "questions", "it must be at least 1"),
            (self.chunk > 0, "chunk", "it must be at least 1"),
            (some(self.max_steps), "max_steps", "it must be at least 1"),
            (
                self.growth > 0.0 && self.growth.is_finite(),
                "growth",
                "it must be a positive number; 1 keeps the steps of a round the same",
            ),
        ]);
        found.extend(under("plateau", self.plateau.check()));
        found
    }

    /// Whether the held-out accuracy decides on a plateau.
    pub fn watches_accuracy(&self) -> bool {
        self.plateau.patience > 0 && self.plateau.measure == Measure::Accuracy
    }
}

impl Star {
    /// Asks `questions` in `round` and scores what comes; those that fail are asked again with the hint, where there is
    /// one. One trace a rollout: first all without the hint, then all with it.
    pub fn ask(
        &self,
        worker: &mut Worker,
        questions: &[Prompted],
        prompts: &Prompts,
        (round, step): (usize, usize),
        metrics: &mut Metrics,
    ) -> Result<Vec<Trace>> {
        let (mut traces, mut failed) = (Vec::new(), Vec::new());
        for group in worker.roll_out(questions, round, 0, metrics)? {
            let of_group = attempts::traces(&group, round, step, false);
            if !of_group.iter().any(|trace| attempts::solves(&worker.select, trace)) {
                failed.extend(prompts.hinted(&group.example).cloned());
            }
            traces.extend(of_group);
        }
        if !failed.is_empty() {
            for group in worker.roll_out(&failed, round, 1, metrics)? {
                traces.extend(attempts::traces(&group, round, step, true));
            }
        }
        Ok(traces)
    }
}
