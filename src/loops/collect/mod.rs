//! Rollouts, scores and filters to traces; nothing is trained.

pub mod follow_up;
pub mod keywords;

use super::selection::selected;
use super::{
    Batch, Item, Method, Needs, Output, Section, Selects, Setup, StageView, Worker, figures, without_credit,
};
use crate::data::Example;
use crate::error::Result;
use crate::log::Metrics;
use crate::rollout::Group;
use crate::section::{Misfit, under};
use follow_up::FollowUp;
use keywords::Keywords;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tch::Tensor;

/// `[loop.collect]`: completions and scores written as traces; nothing is trained.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Collect {
    /// Ask the policy about each option of a question after its rationales, keep those that pass, and write pairs (CREST).
    pub follow_up: Option<FollowUp>,
    /// Note of each question the words that its answer hangs on, in the column `keywords` (Self-AMPLIFY).
    pub keywords: Option<Keywords>,
}

impl Collect {
    /// What cannot be used as it is.
    pub fn check(&self) -> Vec<Misfit> {
        let mut found = under("follow_up", self.follow_up.iter().flat_map(FollowUp::check));
        found.extend(under("keywords", self.keywords.iter().flat_map(Keywords::check)));
        found
    }

    /// The rollouts of `step` that `[select]` and the follow-up questions keep, and the pairs of all of them.
    pub fn groups(
        &self,
        worker: &mut Worker,
        step: usize,
        metrics: &mut Metrics,
    ) -> Result<(Vec<Group>, Vec<Value>)> {
        let mut prompts = worker.questions.of_step(step);
        // A step that begins the next pass over the questions may come to one twice.
        prompts.retain(|prompted| prompted.occurrence == 0);
        let mut groups = worker.roll_out(&prompts, step, 0, metrics)?;
        figures::describe(&groups, metrics);
        let (mut judged, mut pairs) = (Vec::new(), Vec::new());
        if let Some(follow_up) = &self.follow_up {
            judged = follow_up.judge(worker, &mut groups, metrics)?;
            pairs = follow_up.pairs(&groups, &judged, worker.seed, step, metrics);
        }
        for (at, group) in groups.iter_mut().enumerate() {
            let mut kept = selected(&worker.select, group, metrics);
            if let Some(follow_up) = &self.follow_up {
                let passed = follow_up.consistent(group, &judged[at]);
                kept.retain(|rollout| passed.contains(rollout));
            }
            let mut index = 0;
            group.rollouts.retain(|_| {
                index += 1;
                kept.contains(&(index - 1))
            });
        }
        if let Some(keywords) = &self.keywords {
            let kept = groups.iter_mut().filter(|group| !group.rollouts.is_empty());
            keywords.find(worker, kept, step, metrics)?;
        }
        Ok((groups, pairs))
    }
}

impl Section for Collect {
    fn check(&self) -> Vec<Misfit> {
        Collect::check(self)
    }

    fn fits(&self, stage: &StageView) -> Vec<Misfit> {
        let asks = self.keywords.as_ref().is_some_and(|keywords| keywords.cue.is_none());
        let missing = Misfit::new(
            "loop.collect.keywords",
            "data.format has no answer form that begins with a text, behind which the answer would stand",
            "name that text as loop.collect.keywords.cue",
        );
        if asks && stage.data.format.cue().is_none() { vec![missing] } else { vec![] }
    }

    fn check_rows(&self, rows: &[&Example], _whole: bool) -> Vec<Misfit> {
        under("keywords", self.keywords.iter().flat_map(|keywords| keywords.check_rows(rows)))
    }

    fn needs(&self, _: &StageView) -> Needs {
        let pairs = self.follow_up.is_some();
        let selects = Selects::Rollouts;
        let adds: &[&str] = if self.keywords.is_some() { &[keywords::COLUMN] } else { &[] };
        Needs { rows: true, rollouts: true, traces: true, adds, pairs, selects, ..Needs::default() }
    }

    fn build(&self, _: &mut Setup) -> Result<Box<dyn Method>> {
        Ok(Box::new(CollectMethod { collect: self.clone() }))
    }
}

/// Collecting at work: steps without updates.
struct CollectMethod {
    collect: Collect,
}

impl Method for CollectMethod {
    fn batch(&mut self, worker: &mut Worker, step: usize, metrics: &mut Metrics) -> Result<Batch> {
        let (groups, pairs) = self.collect.groups(worker, step, metrics)?;
        let sampled_tokens = groups.iter().flat_map(|group| &group.rollouts).map(|r| r.sampled()).sum();
        Ok(Batch { groups: without_credit(groups), pairs, sampled_tokens, ..Batch::default() })
    }

    fn loss(&self, _: &[&Item], _: &Output, _: &mut Metrics) -> Result<Tensor> {
        Ok(Tensor::from(0.0))
    }
}
