//! How much likelier a text of the row is with the rationale than without it (VR-CLI, arXiv 2503.22828; RATIONALYST,
//! 2410.01044), or how likely with it.

mod baselines;

use super::{Holds, Models, Part, Reward, Wants, column};
use crate::data::Hub;
use crate::model::Sequence;
use crate::policy::Policy;
use crate::rollout::{Group, Rollout, Score};
use crate::section::{Idle, idle};
use anyhow::Context;
use baselines::{Baselines, Key, identity};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// `[reward.likelihood]`: how much likelier a rationale makes a text. By log p of a target text after prompt, rationale and `cue`, and after prompt and `cue` alone.
/// Texts are tokenised anew, each piece by itself, so that the target's tokens are the same both times.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Likelihood {
    /// The column that holds the target text; the gold answer without this.
    pub column: Option<String>,
    /// The part of the completion that stands before the target.
    pub of: Part,
    /// What is written between the rationale (or the prompt) and the target.
    pub cue: String,
    /// What the score is.
    pub measure: Measure,
    /// For `discounted`: the factor from one target token to the next.
    pub discount: f64,
    /// For `binned`: least gains in per cent of perplexity, ascending; below the first the score is 0.
    pub bins: Vec<f64>,
    /// For `binned`: the scores from each of the bins on.
    pub scores: Vec<f64>,
    /// A frozen model, as a folder, a hub id or `"@stage"`, that judges in the policy's place.
    pub model: Option<String>,
    /// A folder that keeps what the frozen model says without a rationale, for later runs too; under a hash of model, prompt,
    /// cue and target.
    pub cache: Option<PathBuf>,
}

/// What the likelihood reward's score is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// The mean log p of the target's tokens with the rationale.
    Logprob,
    /// The mean gain of a token, log p with less log p without.
    Gain,
    /// Σ_j discount^j · gain of token j, counted from 0: RATIONALYST's, whose discount is 0.9.
    Discounted,
    /// Steps of I = 100 · (1 − perplexity with / perplexity without): VR-CLI's, with its bins as defaults.
    Binned,
}

impl Default for Likelihood {
    fn default() -> Self {
        Self {
            column: None,
            of: Part::Rationale,
            cue: "\n".into(),
            measure: Measure::Gain,
            discount: 0.9,
            bins: vec![0.05, 1.0, 2.0],
            scores: vec![0.5, 0.9, 1.0],
            model: None,
            cache: None,
        }
    }
}

impl Likelihood {
    /// The reward, its section checked. A frozen model is loaded when there is first something to score.
    pub fn checked(self) -> anyhow::Result<impl Reward> {
        let ascending = self.bins.is_sorted_by(|a, b| a < b);
        anyhow::ensure!(
            ascending && self.bins.len() == self.scores.len() && self.scores.iter().all(|s| s.is_finite()),
            "bins must ascend and have as many scores, such as bins = [0.05, 1, 2], scores = [0.5, 0.9, 1]"
        );
        let discount = self.discount;
        anyhow::ensure!(
            discount > 0.0 && discount <= 1.0,
            "discount = {discount}: must be above 0 and at most 1"
        );
        anyhow::ensure!(
            self.cache.is_none() || self.model.is_some(),
            "cache keeps what a frozen model says: name a model, or take cache out"
        );
        let baselines = Baselines::new(self.cache.clone());
        Ok(Scorer { section: self, frozen: None, identity: String::new(), baselines })
    }

    /// The score, from the target's log-probabilities with and without the rationale.
    pub fn of(&self, with: &[f32], without: &[f32]) -> f64 {
        let gains = || with.iter().zip(without).map(|(with, without)| f64::from(with - without));
        let mean = |sum: f64| sum / with.len().max(1) as f64;
        match self.measure {
            Measure::Logprob => mean(with.iter().map(|&logprob| f64::from(logprob)).sum()),
            Measure::Gain => mean(gains().sum()),
            Measure::Discounted => {
                gains().enumerate().map(|(j, gain)| self.discount.powi(j as i32) * gain).sum()
            }
            Measure::Binned => {
                let improvement = 100.0 * (1.0 - (-mean(gains().sum())).exp());
                let reached = self.bins.iter().take_while(|&&bin| improvement >= bin).count();
                if reached == 0 { 0.0 } else { self.scores[reached - 1] }
            }
        }
    }
}

struct Scorer {
    section: Likelihood,
    frozen: Option<Policy>,
    /// Which model the frozen one is.
    identity: String,
    /// Of the frozen model alone: the policy changes.
    baselines: Baselines,
}

impl Scorer {
    fn target(&self, group: &Group) -> anyhow::Result<String> {
        let target = match &self.section.column {
            Some(name) => column::text(&group.example, name)?,
            None => group.example.gold().context("it has no gold answer; name a column")?.to_owned(),
        };
        anyhow::ensure!(!target.is_empty(), "the text that is to be likelier is empty");
        Ok(target)
    }

    fn load(&mut self, models: &Models) -> anyhow::Result<()> {
        if let (Some(name), None) = (&self.section.model, &self.frozen) {
            self.identity = identity(&Hub::from_env().model(name)?, models.place()?.0);
            self.frozen = Some(models.open(name, 1)?);
        }
        Ok(())
    }

    /// log p of the target without a rationale.
    fn baseline(&mut self, judge: &LogprobModel, target: &str, prompt: Vec<u32>) -> anyhow::Result<Vec<f32>> {
        let score = || judge.logprobs(std::slice::from_ref(&prompt), target).map(one);
        if self.section.model.is_none() {
            return score();
        }
        let (model, target) = (self.identity.clone(), target.to_owned());
        self.baselines.get(Key { model, context: prompt.clone(), target }, score)
    }
}

/// The model that judges.
struct LogprobModel<'a> {
    policy: &'a Policy,
    budget: usize,
}

impl LogprobModel<'_> {
    /// Prompt, rationale and cue as tokens.
    fn context(&self, group: &Group, rationale: &str, cue: &str) -> anyhow::Result<Vec<u32>> {
        let mut tokens = self.policy.tokenizer.render_example(&group.example)?;
        tokens.extend(self.policy.tokenizer.encode(rationale)?);
        tokens.extend(self.policy.tokenizer.encode(cue)?);
        Ok(tokens)
    }

    fn logprobs(&self, contexts: &[Vec<u32>], target: &str) -> anyhow::Result<Vec<Vec<f32>>> {
        let target = self.policy.tokenizer.encode(target)?;
        let sequences: Vec<Sequence> =
            contexts.iter().map(|context| Sequence::new(context, &target)).collect();
        Ok(self.policy.logprobs(&sequences, 1.0, self.budget)?)
    }
}

fn one(mut all: Vec<Vec<f32>>) -> Vec<f32> {
    all.swap_remove(0)
}

impl Reward for Scorer {
    fn idle(&self) -> Vec<Idle> {
        let measure = self.section.measure;
        idle(&[
            (measure == Measure::Discounted, &["discount"], "unless measure = \"discounted\""),
            (measure == Measure::Binned, &["bins", "scores"], "unless measure = \"binned\""),
        ])
    }

    fn wants(&self) -> Wants {
        let wants = match &self.section.column {
            Some(name) => Wants::default().column("column", name, Holds::Text),
            None => Wants::default()
                .gold("add an `answer` column, or name another as `column` in [reward.likelihood]"),
        };
        self.section.model.iter().fold(wants, |wants, name| wants.model("model", name))
    }

    fn score(&mut self, group: &Group, models: &Models) -> anyhow::Result<Vec<Score>> {
        let policy = models.policy()?;
        self.load(models)?;
        let frozen = self.frozen.take();
        let judge = LogprobModel { policy: frozen.as_ref().unwrap_or(policy), budget: models.budget };
        let (target, cue) = (self.target(group)?, self.section.cue.clone());
        let without = match self.section.measure {
            Measure::Logprob => vec![],
            _ => self.baseline(&judge, &target, judge.context(group, "", &cue)?)?,
        };
        let context = |rollout: &Rollout| judge.context(group, self.section.of.of(rollout), &cue);
        let contexts: Vec<Vec<u32>> = group.rollouts.iter().map(context).collect::<anyhow::Result<_>>()?;
        let with = judge.logprobs(&contexts, &target)?;
        self.frozen = frozen;
        Ok(with.iter().map(|with| Score::from(self.section.of(with, &without))).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_measures_give_literal_numbers() {
        let of = |keys: &str, with: &[f32], without: &[f32]| {
            toml::from_str::<Likelihood>(keys).unwrap().of(with, without)
        };
        let (with, without) = ([-1.0, -0.5], [-2.0, -1.0]);
        assert_eq!(of("measure = \"logprob\"", &with, &[]), -0.75);
        // Gains 1 and 0.5: mean 0.75; 1 + 0.5 · 0.5 = 1.25.
        assert_eq!(of("", &with, &without), 0.75);
        assert_eq!(of("measure = \"discounted\"\ndiscount = 0.5", &with, &without), 1.25);
        // A mean gain g makes I = 100 (1 − e^−g): 0.0004 → 0.04, 0.0006 → 0.06, 0.015 → 1.49, 0.03 → 2.96.
        let binned = |gain: f32| of("measure = \"binned\"", &[gain], &[0.0]);
        assert_eq!([-1.0, 0.0004, 0.0006, 0.015, 0.03].map(binned), [0.0, 0.0, 0.5, 0.9, 1.0]);
    }

    #[test]
    fn the_section_is_checked() {
        let message =
            |keys: &str| toml::from_str::<Likelihood>(keys).unwrap().checked().err().unwrap().to_string();
        assert!(message("bins = [1.0, 0.5, 2.0]").contains("bins must ascend"));
        assert!(message("scores = [1.0]").contains("as many scores"));
        assert!(message("discount = 0.0").contains("discount = 0"));
    }
}
