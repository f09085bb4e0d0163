//! `[reward.belief]`: what is asked, of whom, about which answers.

use crate::data::template::Jinja;
use crate::policy::belief::Norm;
use crate::policy::candidates::{Over, Written};
use crate::section::{Idle, idle};
use anyhow::Context;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// `[reward.belief]`: a model is asked for its answer behind the rationale, or behind each of its steps, by the probabilities of
/// candidates; nothing is sampled. Behind step k stands the completion up to that step's end, then `cue`. A completion without an
/// answer is taken for reasoning as a whole.
///
/// With candidate c of tokens c₁…cₙ, s_c = (1/n) Σₜ log p(cₜ | prompt, steps, cue, c_<t) and p = softmax(s).
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Belief {
    /// The candidates: `"choices"` of the row, a list of labels, the `"gold"` answer alone, or `"enumerate"`, those that the model itself
    /// finds likeliest.
    pub over: Over,
    /// What the score is.
    pub measure: Measure,
    /// Also score each step by what it adds to `prob` or `logprob`, for `[loop.grpo.steps]` and searches; `reduction` always does.
    pub steps: bool,
    /// What stands between the rationale and an answer; `data.format.close` by default.
    pub cue: Option<String>,
    /// Whether a candidate's weight is the `"mean"` or the `"sum"` of its tokens' log p.
    pub norm: Norm,
    /// Whether choices are written as their `"letter"` or their `"text"`; by default as the gold answer is.
    pub written: Option<Written>,
    /// Divide entropies by the number of candidates, as "Think or Not" does.
    pub per_candidate: bool,
    /// The base of entropies' logarithm; 2 over candidates and e over the gold answer by default.
    pub base: Option<f64>,
    /// A frozen model, as a folder, a hub id or `"@stage"`, that is asked in the policy's place.
    pub model: Option<String>,
    /// For `gain`: the frozen model that is asked without a rationale; the same as with one by default.
    pub model_without: Option<String>,
    /// For `enumerate`: how many candidates are kept.
    pub width: usize,
    /// For `enumerate`: their most tokens.
    pub tokens: usize,
    /// For `enumerate`: what ends one.
    pub until: String,
    /// For `joint`: a Jinja template over the row's columns for what stands in the prompt's place; the row's prompt by default.
    pub prompt: Option<Jinja>,
    /// For `joint`: the text that divides the completion into rationale and problem.
    pub between: Option<String>,
}

/// What the score is; H is the entropy of p, or over `gold` the mean over the answer's tokens of the entropy of what the model would
/// write there (conditional-entropy utility).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// p of the gold answer.
    Prob,
    /// s of the gold answer, in nats.
    Logprob,
    /// p of the gold answer less that without a rationale (MaRio's consistency).
    Gain,
    /// H.
    Entropy,
    /// H₀ − H_K: what the rationale takes of the uncertainty; each step's score is H_{k−1} − H_k.
    Reduction,
    /// The slope of H over the steps, cov(k, H_k)/var(k); 0 of fewer than two steps.
    Slope,
    /// Σ log p of the rationale and of the problem behind it, under `prompt` (PromptCoT, arXiv 2503.02324). A completion without
    /// `between` is charged that text's log p.
    Joint,
}

impl Default for Belief {
    fn default() -> Self {
        Self {
            over: Over::Choices,
            measure: Measure::Prob,
            steps: false,
            cue: None,
            norm: Norm::Mean,
            written: None,
            per_candidate: false,
            base: None,
            model: None,
            model_without: None,
            width: 5,
            tokens: 10,
            until: "\n".into(),
            prompt: None,
            between: None,
        }
    }
}

impl Belief {
    /// Writes the base of logarithms, where the section takes some.
    pub(in crate::reward) fn follow(section: &mut toml::Table) {
        let mut belief = Self::default();
        if let Some(Ok(measure)) = section.get("measure").map(|word| word.clone().try_into()) {
            belief.measure = measure;
        }
        if let Some(Ok(over)) = section.get("over").map(|over| over.clone().try_into()) {
            belief.over = over;
        }
        if belief.of_entropy() {
            section.entry("base").or_insert(belief.base().into());
        }
    }

    /// Whether the levels are entropies.
    pub(super) fn of_entropy(&self) -> bool {
        matches!(self.measure, Measure::Entropy | Measure::Reduction | Measure::Slope)
    }

    /// Whether it asks for the gold answer.
    pub(super) fn wants_gold(&self) -> bool {
        self.over == Over::Gold || !self.of_entropy()
    }

    /// The base of logarithms of entropies.
    pub(super) fn base(&self) -> f64 {
        let usual = if self.over == Over::Gold { std::f64::consts::E } else { 2.0 };
        self.base.unwrap_or(usual)
    }

    /// Its keys that are without effect beside the others.
    pub(super) fn idle(&self) -> Vec<Idle> {
        let joint = self.measure == Measure::Joint;
        let entropies = "unless measure = \"entropy\", \"reduction\" or \"slope\"";
        idle(&[
            (!joint, &["over", "norm", "written"], "with measure = \"joint\""),
            (self.over == Over::Enumerate, &["width", "tokens", "until"], "unless over = \"enumerate\""),
            (self.over == Over::Choices, &["written"], "unless over = \"choices\""),
            (self.of_entropy(), &["per_candidate", "base"], entropies),
        ])
    }

    /// Refuses what does not go together.
    pub(super) fn check(&self) -> anyhow::Result<()> {
        use Measure::{Gain, Joint, Logprob, Prob};
        let gold = self.over == Over::Gold;
        anyhow::ensure!(
            !(gold && matches!(self.measure, Prob | Gain)),
            "over = \"gold\": alone it has probability 1; take measure = \"logprob\" or \"entropy\", or name other candidates"
        );
        anyhow::ensure!(
            self.over != Over::Enumerate || self.of_entropy() || self.measure == Joint,
            "over = \"enumerate\": the gold answer need not be among them; take measure = \"entropy\", \"reduction\" or \"slope\""
        );
        anyhow::ensure!(
            !self.steps || matches!(self.measure, Prob | Logprob | Measure::Reduction),
            "steps = true: steps are scored by measure = \"prob\", \"logprob\" or \"reduction\""
        );
        anyhow::ensure!(
            self.model_without.is_none() || self.measure == Gain,
            "model_without is asked by measure = \"gain\" alone: set that, or take model_without out"
        );
        let base = self.base();
        anyhow::ensure!(
            base > 0.0 && base != 1.0 && base.is_finite(),
            "base = {base}: it must be above 0 and not 1, such as 2"
        );
        anyhow::ensure!(self.width > 1 && self.tokens > 0, "width must be at least 2 and tokens at least 1");
        anyhow::ensure!(
            self.between.as_ref().is_some_and(|text| !text.is_empty()) || self.measure != Joint,
            "between is missing: measure = \"joint\" divides the completion there into rationale and problem"
        );
        let others = self.prompt.is_some() || self.between.is_some();
        anyhow::ensure!(!others || self.measure == Joint, "prompt and between belong to measure = \"joint\"");
        if let Some(prompt) = &self.prompt {
            prompt.check().context("prompt")?;
        }
        Ok(())
    }
}
