//! `[loop.dpo.loss]`: its keys, their defaults and which values they may have.

use super::kinds::{Learns, PreferenceKind};
use crate::Result;
use crate::loss::row::{self, Named};
use crate::section::{Misfit, all_fit};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The preference loss: `[loop.dpo.loss]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(from = "PreferenceLossKeys")]
pub struct PreferenceLoss {
    /// The loss of a pair, or of a completion.
    pub kind: Named<PreferenceKind>,
    /// β.
    pub beta: f64,
    /// ε: the share of pairs that may be the wrong way round.
    pub label_smoothing: f64,
    /// Whether c and r are means over their counted tokens.
    pub average: bool,
    /// What is taken from x of every pair.
    pub margin: f64,
    /// LD-DPO's α; none: all tokens count alike.
    pub ld_alpha: Option<f64>,
    /// Which divergence from the reference policy the reward comes from.
    pub divergence: Divergence,
    /// Factor of the added −log p of the chosen completion.
    pub nll: f64,
    /// What that −log p is averaged over.
    pub nll_mean: NllMean,
    /// γ of the added loss of the rationale that says why.
    pub rationale: f64,
    /// The form of that loss.
    pub rationale_form: RationaleForm,
    /// Factor of the good completions.
    pub desirable_weight: f64,
    /// Factor of the bad completions.
    pub undesirable_weight: f64,
}

/// [`PreferenceLoss`] as a recipe has it: what is not given follows from the kind.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
struct PreferenceLossKeys {
    /// The loss of a pair, or of a completion.
    kind: Named<PreferenceKind>,
    /// β: how much a difference of log-probabilities counts. Default 2 for `simpo`, whose log-probabilities are means and whose
    /// authors use 2 to 10, else 0.1.
    beta: Option<f64>,
    /// ε: the share of pairs that may be the wrong way round. For `sigmoid`, `cpo` and `simpo` the conservative loss
    /// (cDPO); `robust` and `exo` need it.
    label_smoothing: f64,
    /// Divide c and r by their numbers of counted tokens. Default: for `ipo` (its authors' convention, and TRL's),
    /// `orpo` and `simpo`; off, `ipo` is over sums, as in OpenRLHF; with `sigmoid` it is TRL's `sigmoid_norm`.
    average: Option<bool>,
    /// Taken from β·δ before the loss: how much better the chosen completion has to be. Default 0.5 for `simpo` (its
    /// γ), else 0.
    margin: Option<f64>,
    /// LD-DPO's α (arXiv 2409.06411): tokens beyond the length of the pair's shorter completion count this much.
    ld_alpha: Option<f64>,
    /// Which divergence from the reference policy the reward comes from.
    divergence: Divergence,
    /// α of the added −log p of the chosen completion (the RPO loss, arXiv 2404.19733). Default 1 for `orpo` and
    /// `cpo`, else 0.
    nll: Option<f64>,
    /// What that −log p is averaged over.
    nll_mean: NllMean,
    /// γ of the added loss of the rationale that says why the chosen completion is better (RDPO, arXiv 2407.14477).
    rationale: f64,
    /// The form of that loss.
    rationale_form: RationaleForm,
    /// Factor of the good completions in `kto` and `apo_zero_unpaired`.
    desirable_weight: f64,
    /// Factor of the bad completions in `kto` and `apo_zero_unpaired`.
    undesirable_weight: f64,
}

/// What becomes of the log-ratio t = log π − log π_ref of a completion: f′ of the divergence (arXiv 2309.16240).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Divergence {
    /// t.
    ReverseKl,
    /// 1 − e^{−t}.
    ForwardKl,
    /// log 2 + log σ(t).
    Js,
    /// (e^{(α−1)t} − 1)/(α−1).
    Alpha(f64),
}

/// What −log p of the chosen completions is averaged over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum NllMean {
    /// All chosen tokens of the update, as in TRL.
    Tokens,
    /// Each completion's tokens, then the pairs, as in the papers.
    Sequences,
}

/// The loss of a rationale with log-probability p (summed over its tokens).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum RationaleForm {
    /// −γ·p: the paper's.
    Nll,
    /// −log σ(γ·p): that of the authors' program, whose slope is at most γ.
    Sigmoid,
}

impl Default for PreferenceLossKeys {
    fn default() -> Self {
        Self {
            kind: Named::of("sigmoid").expect("a row of KINDS"),
            beta: None,
            label_smoothing: 0.0,
            average: None,
            margin: None,
            ld_alpha: None,
            divergence: Divergence::ReverseKl,
            nll: None,
            nll_mean: NllMean::Tokens,
            rationale: 0.0,
            rationale_form: RationaleForm::Nll,
            desirable_weight: 1.0,
            undesirable_weight: 1.0,
        }
    }
}

impl From<PreferenceLossKeys> for PreferenceLoss {
    fn from(keys: PreferenceLossKeys) -> Self {
        let kind = keys.kind;
        Self {
            kind,
            beta: keys.beta.unwrap_or(kind.beta),
            label_smoothing: keys.label_smoothing,
            average: keys.average.unwrap_or(kind.average),
            margin: keys.margin.unwrap_or(kind.margin),
            ld_alpha: keys.ld_alpha,
            divergence: keys.divergence,
            nll: keys.nll.unwrap_or(kind.nll),
            nll_mean: keys.nll_mean,
            rationale: keys.rationale,
            rationale_form: keys.rationale_form,
            desirable_weight: keys.desirable_weight,
            undesirable_weight: keys.undesirable_weight,
        }
    }
}

impl Default for PreferenceLoss {
    fn default() -> Self {
        PreferenceLossKeys::default().into()
    }
}

impl PreferenceLoss {
    /// Whether a reference policy is needed.
    pub fn needs_reference(&self) -> bool {
        self.kind.reference
    }

    /// Whether it learns from single labelled completions rather than from pairs.
    pub fn unpaired(&self) -> bool {
        matches!(self.kind.of, Learns::Labels { .. })
    }

    /// Whether it takes a baseline from mismatched prompts and completions: [`kl_baseline`](Self::kl_baseline).
    pub fn has_baseline(&self) -> bool {
        matches!(self.kind.of, Learns::Labels { baseline: true })
    }

    /// Whether the loss is a function of x, so that a margin means something.
    pub fn takes_margins(&self) -> bool {
        self.kind.keys.contains(&"margin")
    }

    /// What cannot be used as it is.
    pub fn check(&self) -> Vec<Misfit> {
        let mut found = Vec::new();
        let mut refuse =
            |key: &str, message: String, remedy: &str| found.push(Misfit::new(key, message, remedy));
        if !(self.beta > 0.0 && self.beta.is_finite()) {
            refuse("beta", "it must be above 0, such as 0.1".into(), "");
        }
        if !(0.0..0.5).contains(&self.label_smoothing) {
            refuse("label_smoothing", "it is a share of wrong pairs, at least 0 and below 0.5".into(), "");
        }
        if self.label_smoothing == 0.0 && self.kind.needs_smoothing {
            let message = format!("{} needs a positive one, such as 0.001", self.kind.name);
            refuse("label_smoothing", message, "");
        }
        if !self.margin.is_finite() {
            refuse("margin", "it must be a finite number".into(), "");
        }
        if self.ld_alpha.is_some_and(|alpha| !(0.0..=1.0).contains(&alpha)) {
            refuse("ld_alpha", "it must lie between 0 and 1".into(), "");
        }
        if self.average != self.kind.average && !self.kind.keys.contains(&"average") {
            let (over, remedy) = match self.kind.average {
                true => ("mean log-probabilities", "take it out, or use kind = \"cpo\""),
                false => ("sums", "take it out"),
            };
            refuse("average", format!("{} is over {over}", self.kind.name), remedy);
        }
        if matches!(self.divergence, Divergence::Alpha(alpha) if !alpha.is_finite() || alpha == 1.0) {
            refuse(
                "divergence",
                "alpha must be a finite number other than 1; 1 is \"reverse_kl\"".into(),
                "",
            );
        }
        for (key, factor) in [
            ("nll", self.nll),
            ("rationale", self.rationale),
            ("desirable_weight", self.desirable_weight),
            ("undesirable_weight", self.undesirable_weight),
        ] {
            if !(factor >= 0.0 && factor.is_finite()) {
                refuse(key, "it must be a number of at least 0".into(), "");
            }
        }
        let given = [
            ("label_smoothing", self.label_smoothing > 0.0),
            ("margin", self.margin != self.kind.margin),
            ("divergence", self.divergence != Divergence::ReverseKl),
            ("nll", self.nll != 0.0),
            ("rationale", self.rationale != 0.0),
        ];
        let refused = given.iter().filter(|(_, given)| *given);
        found.extend(refused.filter_map(|(key, _)| row::refusal(self.kind.0, key)));
        found
    }

    /// The same as an error, for who uses the section without a recipe around it.
    pub fn validate(&self) -> Result<()> {
        all_fit("loop.dpo.loss", self, self.check())
    }
}
