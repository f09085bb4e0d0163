//! Training methods: what is learned, and from what.
//!
//! A [`Section`] is what a recipe says of a method, a [`Method`] the object that it builds: for each step it says which
//! sequences are learned and what their loss is. The table of all of them is [`methods`].

pub mod alarms;
pub mod collect;
pub mod contrast;
pub mod dpo;
pub mod evaluate;
pub mod extract;
pub mod figures;
pub mod grpo;
mod handed;
pub mod item;
pub mod mario;
mod method;
pub mod prm;
pub mod selection;
pub mod sft;
pub mod star;
pub mod steer;
pub mod think;
pub mod worker;

#[cfg(test)]
mod tests;

pub use alarms::{Alarms, Signs};
pub use handed::{Leaves, OfTraces};
pub use item::Item;
pub use selection::candidates;
pub use worker::Worker;

pub use method::{
    LearnedOf, Method, Needs, Output, ReferenceKind, Section, Selects, Setup, StageView, Steps, passes,
};

use crate::log::Metrics;
use crate::loss;
use crate::rollout::{Group, Trace};
use crate::section::Kinds;
use item::{WEIGHTS, stacked_or};
use serde_json::Value;
use std::sync::Arc;
use tch::Tensor;

/// `[loop.NAME]`: the methods of this crate, a row each.
pub fn methods() -> Kinds<dyn Section> {
    Kinds::<dyn Section>::empty()
        .with::<sft::Sft>("sft", |section| Arc::new(section))
        .with::<dpo::Dpo>("dpo", |section| Arc::new(section))
        .with::<grpo::Grpo>("grpo", |section| Arc::new(section))
        .with::<prm::Prm>("prm", |section| Arc::new(section))
        .with::<contrast::Contrast>("contrast", |section| Arc::new(section))
        .with::<mario::Mario>("mario", |section| Arc::new(section))
        .with::<collect::Collect>("collect", |section| Arc::new(section))
        .with::<star::Star>("star", |section| Arc::new(section))
        .with::<think::Think>("think", |section| Arc::new(section))
        .with::<extract::Extract>("extract", |section| Arc::new(section))
        .with::<steer::Steer>("steer", |section| Arc::new(section))
        .with::<evaluate::Evaluate>("evaluate", |section| Arc::new(section))
}

/// What one step learns from, and what it leaves.
#[derive(Debug)]
pub struct Batch {
    /// What is learned.
    pub items: Vec<Item>,
    /// The optimiser's updates of this step, in order. Where other ranks have more, this one takes part in them with nothing.
    pub updates: Vec<Update>,
    /// The rollouts behind the items, for traces and tables, with the advantage of each; none for those that are not learned.
    pub groups: Vec<(Group, Vec<Option<f64>>)>,
    /// Of each of `groups`, the advantages of every rollout's tokens, where those of one differ; nothing for the others.
    pub by_token: Vec<Vec<Vec<f32>>>,
    /// Rollouts that nothing is learned of, for traces alone.
    pub dropped: Vec<DroppedGroup>,
    /// Traces that are no groups any more.
    pub traces: Vec<Trace>,
    /// Pairs to be written beside the traces.
    pub pairs: Vec<Value>,
    /// Tokens of the completions that were sampled for it, prompts not counted.
    pub sampled_tokens: usize,
    /// The temperature at which log-probabilities are taken: that of sampling for rollouts, 1 for text from elsewhere.
    pub temperature: f64,
    /// Whether the step is learned with a fresh optimiser.
    pub fresh_optimizer: bool,
    /// What kind of step it is.
    pub pace: Pace,
}

impl Default for Batch {
    fn default() -> Self {
        Self {
            items: vec![],
            updates: vec![],
            groups: vec![],
            by_token: vec![],
            dropped: vec![],
            traces: vec![],
            pairs: vec![],
            sampled_tokens: 0,
            temperature: 1.0,
            fresh_optimizer: false,
            pace: Pace::Step,
        }
    }
}

/// A group that was sampled and left out.
#[derive(Debug)]
pub struct DroppedGroup {
    /// The group.
    pub group: Group,
    /// Why.
    pub why: &'static str,
    /// The sampling of the step that it comes from, counted from 0.
    pub attempt: usize,
}

/// What kind of step a batch is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Pace {
    /// One of the stage's steps.
    #[default]
    Step,
    /// Rollouts for a round that is learned in the steps after it; `stage` steps are now expected in all.
    Sampling {
        /// Steps of the stage.
        stage: usize,
    },
    /// Step `at` of the `of` steps of a round, which has a schedule of its own and is evaluated and saved at its end.
    Round {
        /// Counted from 1.
        at: usize,
        /// Steps of the round.
        of: usize,
        /// Steps that are now expected of the stage.
        stage: usize,
    },
}

/// One update of the weights.
#[derive(Debug, Clone, PartialEq)]
pub struct Update {
    /// Indices of the items that it learns from; an item may be in several updates.
    pub items: Vec<usize>,
    /// What the sum of these items' losses is to be divided by, such as their learned tokens. The parts of all ranks are added up and
    /// divide the sum over all of them; where they come to 0 there is no update.
    pub weight: f64,
}

impl Batch {
    /// `items` in one update of this weight ([`Update::weight`]); no update without any.
    pub fn whole(items: Vec<Item>, weight: f64) -> Self {
        let all = (!items.is_empty()).then(|| Update { items: (0..items.len()).collect(), weight });
        Self { items, updates: all.into_iter().collect(), ..Self::default() }
    }

    /// Text from elsewhere, learned in one update that its learned tokens weigh.
    pub fn of_completions(items: Vec<Item>) -> Self {
        let weight = items.iter().map(Item::learned).sum::<usize>() as f64;
        Self::whole(items, weight)
    }
}

impl Item {
    /// −Σ w log p of the items' learned tokens, w being 1 where an item says nothing else; adds their entropy to the figures.
    fn imitation(items: &[&Item], output: &Output, metrics: &mut Metrics) -> Tensor {
        let (logprobs, entropy) = (&output.scored.logprobs, &output.scored.entropy);
        metrics.add("entropy", entropy.mean(tch::Kind::Float).double_value(&[]), logprobs.size()[0] as f64);
        loss::nll(logprobs, &stacked_or(items, WEIGHTS, 1.0, logprobs.device()))
    }
}

/// Groups without credit.
fn without_credit(groups: Vec<Group>) -> Vec<(Group, Vec<Option<f64>>)> {
    let none = |group: Group| {
        let credit = vec![None; group.rollouts.len()];
        (group, credit)
    };
    groups.into_iter().map(none).collect()
}
