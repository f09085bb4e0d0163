//! A trained reward model's opinion of each step, put together for the outcome and handed on step by step: `[reward.process]`.

use super::{Holds, Models, Reward, Wants, column};
use crate::policy::RewardModel;
use crate::policy::reward_model::Judges;
use crate::rationale::{Format, steps};
use crate::rollout::{Group, Rollout, Score, StepScore};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// `[reward.process]`: steps are scored by a reward model of `[loop.prm]`. A completion is split into steps as `data.format.steps`
/// says, the line of its answer included, and read by the reward model as it was trained. `[loop.grpo.steps]` credits the steps' own
/// scores.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Process {
    /// The checkpoint of a stage with `[loop.prm]`: a folder, a hub id, or `"@stage"`.
    pub model: String,
    /// How the steps' scores become the completion's.
    pub aggregate: Aggregate,
    /// Of a model of trajectories (`loop.prm.learns = "trajectory"`): so many times what it says of the whole is added to its steps' aggregate. ReasonFlux-PRM's α,
    /// beside the `mean` of the steps.
    pub whole: f64,
    /// A column whose text is scored behind the prompt in the completion's place, such as what was retrieved for a question: all completions of a row
    /// are then worth the same.
    pub column: Option<String>,
}

/// How the scores of steps become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Aggregate {
    /// The last step's: for labels of Monte-Carlo continuations, which are values.
    Last,
    /// The least: for labels of right and wrong.
    Min,
    /// Their product, the probability that all are right if they are independent.
    Product,
    /// Their mean.
    Mean,
    /// Their sum, which more steps make greater: a policy learns to write more of them.
    Sum,
}

impl Aggregate {
    /// The completion's score; 0 without steps.
    pub fn of(self, scores: &[f64]) -> f64 {
        let sum = || scores.iter().sum::<f64>();
        match self {
            _ if scores.is_empty() => 0.0,
            Aggregate::Last => scores[scores.len() - 1],
            Aggregate::Min => scores.iter().copied().fold(f64::INFINITY, f64::min),
            Aggregate::Product => scores.iter().product(),
            Aggregate::Mean => sum() / scores.len() as f64,
            Aggregate::Sum => sum(),
        }
    }
}

impl Default for Process {
    fn default() -> Self {
        Self { model: String::new(), aggregate: Aggregate::Min, whole: 1.0, column: None }
    }
}

impl Process {
    /// The reward, its section checked. The model is loaded when there is first something to score.
    pub fn build(self, format: &Format) -> anyhow::Result<impl Reward + use<>> {
        anyhow::ensure!(
            !self.model.is_empty(),
            "model is missing: name the checkpoint of a stage with [loop.prm], as a folder or \"@stage\""
        );
        if self.aggregate == Aggregate::Sum {
            tracing::warn!(
                "[reward.process] aggregate = \"sum\" pays for every further step, right or not needed; \"min\" does not"
            );
        }
        anyhow::ensure!(self.whole.is_finite(), "whole = {}: it must be a finite number", self.whole);
        Ok(Scorer { section: self, format: format.clone(), loaded: None })
    }
}

struct Scorer {
    section: Process,
    format: Format,
    loaded: Option<RewardModel>,
}

impl Process {
    /// What a text is worth by the scores that a model which judges so gives it: those of the steps put together, of a trajectory with the whole's.
    fn worth(&self, judges: Judges, scores: &[f64]) -> f64 {
        match (judges, scores) {
            (Judges::Trajectory, [steps @ .., whole]) => self.aggregate.of(steps) + self.whole * whole,
            _ => self.aggregate.of(scores),
        }
    }
}

impl Scorer {
    fn model(&mut self, models: &Models) -> anyhow::Result<&RewardModel> {
        if self.loaded.is_none() {
            self.loaded = Some(models.open_scoring(&self.section.model)?);
        }
        Ok(self.loaded.as_ref().expect("loaded above"))
    }

    fn spans(&self, rollout: &Rollout) -> Vec<Range<usize>> {
        steps::split(&self.format.steps, &rollout.text, 0..rollout.text.len())
    }

    /// What a text is worth behind the group's prompt.
    fn of_text(&mut self, text: &str, group: &Group, models: &Models) -> anyhow::Result<f64> {
        let steps = steps::split(&self.format.steps, text, 0..text.len());
        let steps: Vec<&str> = steps.into_iter().map(|span| &text[span]).collect();
        let judge = self.model(models)?;
        let (judges, prompt) = (judge.score_format.judges, judge.tokenizer.render_example(&group.example)?);
        let scores = judge.scores(&prompt, &[steps], models.budget)?.concat();
        Ok(self.section.worth(judges, &scores))
    }
}

impl Reward for Scorer {
    fn wants(&self) -> Wants {
        let wants = Wants::default().reward_model("model", &self.section.model);
        self.section.column.iter().fold(wants, |wants, name| wants.column("column", name, Holds::Text))
    }

    fn score(&mut self, group: &Group, models: &Models) -> anyhow::Result<Vec<Score>> {
        if let Some(name) = &self.section.column {
            let text = column::text(&group.example, name)?;
            let value = self.of_text(&text, group, models)?;
            return Ok(group.rollouts.iter().map(|_| Score::from(value)).collect());
        }
        let spans: Vec<Vec<Range<usize>>> =
            group.rollouts.iter().map(|rollout| self.spans(rollout)).collect();
        let policy = models.policy()?;
        let judge = self.model(models)?;
        let texts = spans.iter().zip(&group.rollouts);
        let texts: Vec<Vec<&str>> = texts
            .map(|(spans, rollout)| spans.iter().map(|span| &rollout.text[span.clone()]).collect())
            .collect();
        let prompt = judge.tokenizer.render_example(&group.example)?;
        let judges = judge.score_format.judges;
        let scores = judge.scores(&prompt, &texts, models.budget)?;
        let of_rollout = |((scores, spans), rollout): ((Vec<f64>, &Vec<Range<usize>>), &Rollout)| {
            let tokens = |span: &Range<usize>| policy.tokenizer.tokens_of(&rollout.tokens, span.clone());
            // A model of outcomes has one score, which belongs to no step; one of trajectories has one more than there are steps.
            let steps = (scores.len() >= spans.len()).then(|| {
                let steps = scores.iter().zip(spans);
                steps.map(|(&value, span)| StepScore { value, tokens: tokens(span) }).collect()
            });
            Score { value: self.section.worth(judges, &scores), steps }
        };
        Ok(scores.into_iter().zip(&spans).zip(&group.rollouts).map(of_rollout).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aggregates_give_literal_numbers() {
        let of = |aggregate: Aggregate| aggregate.of(&[0.5, 0.25, 0.75]);
        assert_eq!(
            [Aggregate::Last, Aggregate::Min, Aggregate::Product, Aggregate::Mean, Aggregate::Sum].map(of),
            [0.75, 0.25, 0.09375, 0.5, 1.5]
        );
        assert_eq!(Aggregate::Min.of(&[]), 0.0);
    }

    /// The mean of the steps 0.5 and 0.25, and 0.75 or twice that of the whole; of other models the last is a step.
    #[test]
    fn the_whole_is_added_to_the_steps() {
        let worth = |whole: f64, judges: Judges, scores: &[f64]| {
            Process { aggregate: Aggregate::Mean, whole, ..Process::default() }.worth(judges, scores)
        };
        assert_eq!(worth(1.0, Judges::Trajectory, &[0.5, 0.25, 0.75]), 1.125);
        assert_eq!(worth(2.0, Judges::Trajectory, &[0.5, 0.25, 0.75]), 1.875);
        assert_eq!(worth(1.0, Judges::Steps, &[0.5, 0.25, 0.75]), 0.5);
        assert_eq!(worth(1.0, Judges::Trajectory, &[]), 0.0);
    }

    #[test]
    fn a_model_has_to_be_named() {
        let error = Process::default().build(&Format::default()).err().unwrap().to_string();
        assert!(error.contains("model is missing"), "{error}");
    }
}
