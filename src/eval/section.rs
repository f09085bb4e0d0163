//! `[eval]`: when and how held-out questions are asked.

use super::calibration::Calibration;
use super::marks::Agreement;
use super::{Greedy, Measure, OwnSteps, Report};
use crate::data::Example;
use crate::engine::{Sampling, is_temperature};
use crate::policy::choices::Choosing;
use crate::section::{Misfit, broken, under};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use toml::Table;

/// When and how held-out questions are asked: `[eval]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Eval {
    /// Steps between evaluations; 0 for none between start and end.
    pub every: usize,
    /// Whether to evaluate before the first step.
    pub at_start: bool,
    /// Whether to evaluate after the last step.
    pub at_end: bool,
    /// Whether the questions are asked. Where no held-out row has a gold answer and the method can tell its own loss on them, as `loop.dpo`
    /// on pairs, none is asked anyway; nor where a head says what there is to say, as with `loop.extract`.
    pub ask: bool,
    /// Completions of each question and seed; pass@k and maj@k need at least k.
    pub samples: usize,
    /// How often the whole evaluation is repeated with other randomness; 1 when `temperature` is 0.
    pub seeds: usize,
    /// Sampling temperature; 0 is greedy.
    pub temperature: f64,
    /// Longest completion; `policy.sampling.max_new_tokens` by default.
    pub max_new_tokens: Option<usize>,
    /// The k of pass@k and maj@k.
    pub at: Vec<usize>,
    /// A column of the data to report accuracy by.
    pub by: Option<String>,
    /// How many questions are printed with the policy's rationale.
    pub show: usize,
    /// Whether `evaluations/` keeps the text of each completion, which is most of its size, beside its verdict.
    pub keep_text: bool,
    /// Whether a completion's steps are held against those of the row's own rationale, which so has to be the only right one, as that of
    /// `[data.task.addition]` is: the share of completions that follow it is reported, and a wrong step under a right answer is said.
    pub own_steps: bool,
    /// The answers that there may be, such as `["0", "1", "2", "3"]`: marks in their order, or classes. With them macro-F1 and
    /// quadratic weighted kappa are reported.
    pub labels: Vec<String>,
    /// Also report the expected calibration error.
    pub calibration: Option<Calibration>,
    /// Answer each question with the likeliest of its `choices`, the mean log p of whose tokens decides, rather than by writing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub choices: Option<Choosing>,
    /// Also tell of held-out rows the few tokens of their prompts that are enough for what the policy answers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub greedy: Option<Greedy>,
    /// Further figures of each completion: `[eval.measures.NAME]` has the keys of `[reward.NAME]`, with its `kind`, `limit_s` and `device`. Means are
    /// reported, the score of each completion is kept with its verdict, and nothing is learned from them.
    #[serde(skip_serializing_if = "Table::is_empty")]
    #[schemars(with = "BTreeMap<String, BTreeMap<String, serde_json::Value>>")]
    pub measures: Table,
}

impl Default for Eval {
    fn default() -> Self {
        Self {
            every: 0,
            at_start: true,
            at_end: true,
            ask: true,
            samples: 1,
            seeds: 1,
            temperature: 0.0,
            max_new_tokens: None,
            at: vec![1],
            by: None,
            show: 0,
            keep_text: true,
            own_steps: false,
            labels: Vec::new(),
            calibration: None,
            choices: None,
            greedy: None,
            measures: Table::new(),
        }
    }
}

impl Eval {
    /// What cannot be used as it is.
    pub fn check(&self) -> Vec<Misfit> {
        let mut found = Vec::new();
        let mut wrong =
            |key: &str, message: String, remedy: &str| found.push(Misfit::new(key, message, remedy));
        for (key, count) in [("samples", self.samples), ("seeds", self.seeds)] {
            if count == 0 {
                wrong(key, "it must be at least 1".into(), "");
            }
        }
        if let Some(k) = self.at.iter().find(|&&k| k == 0 || k > self.samples)
            && self.samples > 0
        {
            let message = format!(
                "pass@{k} needs between 1 and eval.samples = {} completions of each question",
                self.samples
            );
            wrong("at", message, "raise eval.samples or drop it");
        }
        if !is_temperature(self.temperature) {
            wrong("temperature", "it must be 0 (greedy), or at least 0.001".into(), "");
        }
        if self.temperature == 0.0 && self.samples * self.seeds > 1 {
            let message = format!(
                "temperature 0 gives the same completion every time, so eval.samples = {} and eval.seeds = {} would repeat it",
                self.samples, self.seeds
            );
            wrong("temperature", message, "set eval.temperature, or 1 for both");
        }
        if self.labels.len() == 1 {
            wrong(
                "labels",
                "one answer alone is no choice".into(),
                "name at least two answers, or take it out",
            );
        }
        let calibration = self.calibration.iter().flat_map(|calibration| calibration.check(self.samples));
        found.extend(under("calibration", calibration));
        found.extend(under("greedy", self.greedy.iter().flat_map(Greedy::check)));
        if let Some(choices) = &self.choices {
            found.extend(under("choices", choices.check()));
            let once = self.samples == 1 && self.seeds == 1 && self.temperature == 0.0;
            let rules = [
                (
                    once,
                    "choices",
                    "which choice is likeliest is told once; leave samples, seeds and temperature out",
                ),
                (
                    self.calibration.is_none(),
                    "calibration",
                    "how sure one is of what one writes is no figure of what is chosen",
                ),
                (!self.own_steps, "own_steps", "no steps are written where answers are chosen"),
            ];
            found.extend(broken(&rules));
        }
        found
    }

    /// The names of the figures that every evaluation of questions comes to, and of those that it explains.
    pub fn figures(&self) -> Vec<String> {
        let report = Report {
            length_correct: Some(0.0),
            length_wrong: Some(0.0),
            agreement: (!self.labels.is_empty())
                .then(|| Agreement { kappa: Some(0.0), ..Agreement::default() }),
            pass_at: self.at.iter().map(|&k| (k, 0.0)).collect(),
            majority_at: self.at.iter().filter(|&&k| k > 1).map(|&k| (k, 0.0)).collect(),
            own_steps: self.own_steps.then(OwnSteps::default),
            measures: self.measures.keys().map(|name| (name.clone(), Measure::default())).collect(),
            ..Report::default()
        };
        let mut names: Vec<String> = report.metrics().into_iter().map(|(name, _)| name).collect();
        if self.calibration.is_some() {
            names.extend(["eval/ece", "eval/confidence"].map(str::to_owned));
        }
        let explained = self.greedy.iter().flat_map(Greedy::figures);
        names.extend(explained.map(|name| format!("eval/{name}")));
        names
    }

    /// Whether an evaluation is due after `step` of `steps` (0 is before the first).
    pub fn due(&self, step: usize, steps: usize) -> bool {
        match step {
            0 => self.at_start,
            _ if step == steps => self.at_end,
            _ => self.every > 0 && step.is_multiple_of(self.every),
        }
    }

    /// The place among the labels of an answer to `example`, by the equality that grades it.
    pub(crate) fn labels_of(&self, example: &Example) -> impl Fn(&str) -> Option<usize> {
        let equality = example.equality();
        let labels: Vec<_> = self.labels.iter().map(|label| equality.gold(label)).collect();
        move |answer| {
            let answer = equality.read(answer);
            labels.iter().position(|label| equality.right(label, &answer))
        }
    }

    pub(super) fn sampling(&self, policy: &Sampling) -> Sampling {
        Sampling {
            temperature: self.temperature,
            max_new_tokens: self.max_new_tokens.unwrap_or(policy.max_new_tokens),
            ..policy.clone()
        }
    }
}
