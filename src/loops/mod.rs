//! What is learned, and from what: the lessons that the training loop gives.
//!
//! A [`Lesson`] says, for each step, which sequences teach and what their loss is; micro-batches, the optimiser,
//! checkpoints and devices are the loop's affair (`run`), and a lesson never sees them.

pub mod alarms;
pub mod collect;
pub mod contrast;
pub mod dpo;
pub mod figures;
pub mod grpo;
pub mod mario;
pub mod prm;
pub mod selection;
pub mod sft;
pub mod star;
pub mod worker;

pub use alarms::{Alarms, Signs};
pub use selection::candidate;
pub use worker::Worker;

use crate::error::Result;
use crate::log::Metrics;
use crate::loss;
use crate::model::{Grad, Model, Scored, Sequence};
use crate::policy::Refresh;
use crate::rollout::{Group, Trace};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tch::Tensor;

/// What a stage does: `[loop.KIND]`, exactly one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Loop {
    /// Supervised fine-tuning on the rows' completions.
    Sft(sft::Sft),
    /// Preference optimisation on pairs of completions.
    Dpo(dpo::Dpo),
    /// Policy gradient on groups of rollouts.
    Grpo(grpo::Grpo),
    /// Reward models, of steps and of outcomes.
    Prm(prm::Prm),
    /// Thought-path contrastive learning on questions and their counterfactuals.
    Contrast(contrast::Contrast),
    /// Learning from a pool of completions behind control tokens that say how good each is.
    Mario(mario::Mario),
    /// Rollouts, scores and filters to traces; nothing is trained.
    Collect(collect::Collect),
    /// Rounds of sampling rationales and learning those that are right.
    Star(star::Star),
    /// Held-out questions; nothing is trained.
    Evaluate(Evaluate),
}

/// Asks the evaluation questions once, as `[eval]` says.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Evaluate {}

impl Loop {
    /// Its name in recipes.
    pub fn name(&self) -> &'static str {
        match self {
            Loop::Sft(_) => "sft",
            Loop::Dpo(_) => "dpo",
            Loop::Grpo(_) => "grpo",
            Loop::Prm(_) => "prm",
            Loop::Contrast(_) => "contrast",
            Loop::Mario(_) => "mario",
            Loop::Collect(_) => "collect",
            Loop::Star(_) => "star",
            Loop::Evaluate(_) => "evaluate",
        }
    }

    /// Whether it changes the policy.
    pub fn trains(&self) -> bool {
        matches!(
            self,
            Loop::Sft(_)
                | Loop::Dpo(_)
                | Loop::Grpo(_)
                | Loop::Prm(_)
                | Loop::Contrast(_)
                | Loop::Mario(_)
                | Loop::Star(_)
        )
    }

    /// Whether it samples and scores completions of the training questions.
    pub fn rolls_out(&self) -> bool {
        match self {
            Loop::Grpo(_) | Loop::Mario(_) | Loop::Collect(_) | Loop::Star(_) => true,
            Loop::Dpo(dpo) => dpo.online,
            Loop::Sft(_) | Loop::Prm(_) | Loop::Contrast(_) | Loop::Evaluate(_) => false,
        }
    }

    /// Whether a reference policy has to be there while it learns.
    pub fn needs_reference(&self) -> bool {
        match self {
            Loop::Grpo(grpo) => grpo.needs_reference(),
            Loop::Dpo(dpo) => dpo.needs_reference(),
            Loop::Mario(mario) => mario.needs_reference(),
            Loop::Sft(_)
            | Loop::Prm(_)
            | Loop::Contrast(_)
            | Loop::Star(_)
            | Loop::Collect(_)
            | Loop::Evaluate(_) => false,
        }
    }

    /// How its reference policy follows the policy.
    pub fn refresh(&self) -> Option<&Refresh> {
        match self {
            Loop::Grpo(grpo) => Some(&grpo.reference),
            Loop::Dpo(dpo) => Some(&dpo.reference),
            Loop::Sft(_)
            | Loop::Prm(_)
            | Loop::Contrast(_)
            | Loop::Mario(_)
            | Loop::Star(_)
            | Loop::Collect(_)
            | Loop::Evaluate(_) => None,
        }
    }

    /// Whether its reference policy moves while it learns.
    pub fn moves_reference(&self) -> bool {
        self.refresh().is_some_and(|refresh| refresh.every > 0)
    }

    /// Whether its rollouts are written as traces even where `log.traces` is off: later steps or stages read them.
    pub fn keeps_traces(&self) -> bool {
        matches!(self, Loop::Mario(_) | Loop::Collect(_) | Loop::Star(_))
    }

    /// Checks the values.
    pub fn validate(&self) -> Result<()> {
        match self {
            Loop::Dpo(dpo) => dpo.validate(),
            Loop::Grpo(grpo) => grpo.validate(),
            Loop::Sft(sft) => sft.validate(),
            Loop::Prm(prm) => prm.validate(),
            Loop::Contrast(contrast) => contrast.validate(),
            Loop::Mario(mario) => mario.validate(),
            Loop::Star(star) => star.validate(),
            Loop::Collect(collect) => collect.validate(),
            Loop::Evaluate(_) => Ok(()),
        }
    }
}

/// What one step learns from.
#[derive(Debug)]
pub struct Batch<Item> {
    /// What teaches: each item one or several sequences that stay together.
    pub items: Vec<Item>,
    /// The optimiser's updates of this step, in order.
    pub updates: Vec<Update>,
    /// The rollouts behind the items, with the advantage of each, for traces and tables.
    pub groups: Vec<(Group, Vec<Option<f64>>)>,
    /// Tokens sampled for it.
    pub sampled_tokens: usize,
    /// The temperature at which log-probabilities are taken: that of sampling for rollouts, 1 for text from elsewhere.
    pub temperature: f64,
}

impl Batch<Sequence> {
    /// Completions from elsewhere that are learned whole, in one update that their tokens weigh; no update without any.
    fn of_completions(items: Vec<Sequence>) -> Self {
        let weight = items.iter().map(Sequence::learned).sum::<usize>() as f64;
        let all = (!items.is_empty()).then(|| Update { items: (0..items.len()).collect(), weight });
        Self {
            items,
            updates: all.into_iter().collect(),
            groups: Vec::new(),
            sampled_tokens: 0,
            temperature: 1.0,
        }
    }
}

/// One update of the weights.
#[derive(Debug, Clone, PartialEq)]
pub struct Update {
    /// Indices of the items that it learns from.
    pub items: Vec<usize>,
    /// What the sum of their losses is divided by, over all micro-batches and ranks.
    pub weight: f64,
}

/// A forward and a backward pass of some of an update's items.
pub struct Pass<'a, Item> {
    /// What learns.
    pub model: &'a Model,
    /// What it learns from.
    pub items: &'a [&'a Item],
    /// The batch's temperature.
    pub temperature: f64,
    /// The whole update's weight.
    pub weight: f64,
    /// The step's figures.
    pub metrics: &'a mut Metrics,
}

impl<Item> Pass<'_, Item> {
    /// Learns by `loss`: the *sum* of the items' losses (a scalar with gradient), from the log-probabilities and entropies
    /// `[completion tokens]` of their sequences, those of all items, end to end, and the states at `places` of each (none
    /// read where none are given).
    pub fn by_scores<L: Lesson<Item = Item>>(
        self,
        lesson: &L,
        places: &[&[usize]],
        loss: impl FnOnce(&L, &[&Item], &Scored, &mut Metrics) -> Result<Tensor>,
    ) -> Result<f64> {
        let sequences =
            self.items.iter().flat_map(|item| lesson.sequences(item)).cloned().collect::<Vec<_>>();
        let scored = self.model.score_and_read(&sequences, places, self.temperature, Grad::Yes)?;
        let loss = loss(lesson, self.items, &scored, self.metrics)? / self.weight;
        let value = loss.double_value(&[]);
        scored.backward(&loss)?;
        Ok(value)
    }
}

/// A training method.
pub trait Lesson {
    /// What the loss needs to know of the sequences that it looks at together: one, or the two of a pair.
    type Item;

    /// Called once, before the first step and before a resumed run's weights are restored: the policy is as the stage
    /// found it. `kept` is what an earlier call returned; what this one returns is kept in the run.
    fn begin(&mut self, _worker: &mut Worker, _kept: Option<Tensor>) -> Result<Option<Tensor>> {
        Ok(None)
    }

    /// Rolls out, scores, selects and credits for `step` (counted from 1).
    fn batch(&mut self, worker: &mut Worker, step: usize, metrics: &mut Metrics)
    -> Result<Batch<Self::Item>>;

    /// The tokens of an item; never spread over micro-batches.
    fn sequences<'a>(&self, item: &'a Self::Item) -> &'a [Sequence];

    /// Which of the policy's adapters learns from an item, where it has several.
    fn adapter(&self, _item: &Self::Item) -> Option<&'static str> {
        None
    }

    /// Adds the gradient of the items' losses, summed and divided by the weight, to the parameters'; returns that loss.
    fn learn(&self, pass: Pass<Self::Item>) -> Result<f64>;

    /// Called once where a run resumes after a step of the stage; `traces` reads the stage's rollouts up to then.
    fn resume(&mut self, _worker: &Worker, _traces: &mut dyn FnMut() -> Result<Vec<Trace>>) -> Result<()> {
        Ok(())
    }

    /// What it has to remember beside its step; kept with every checkpoint.
    fn position(&self) -> Option<Value> {
        None
    }

    /// Called with what [`position`](Self::position) said, where a run resumes after a step of the stage.
    fn go_on(&mut self, _position: &Value) -> Result<()> {
        Ok(())
    }

    /// Whether `step` is to be learned with a fresh optimiser.
    fn begins_anew(&self, _worker: &Worker, _step: usize) -> bool {
        false
    }

    /// Called after the last update of `step`, with its figures.
    fn finish(&mut self, _worker: &mut Worker, _step: usize, _metrics: &Metrics) -> Result<()> {
        Ok(())
    }
}

/// −Σ log p of completions that are learned whole, from their log-probabilities end to end.
fn imitation(Scored { logprobs, entropy, .. }: &Scored, metrics: &mut Metrics) -> Tensor {
    metrics.add("entropy", entropy.mean(tch::Kind::Float).double_value(&[]), logprobs.size()[0] as f64);
    loss::nll(logprobs, &logprobs.ones_like())
}
