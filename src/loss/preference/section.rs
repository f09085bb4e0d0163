//! `[loop.dpo.loss]`: its keys, their defaults and which values they may have.

use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// The preference loss: `[loop.dpo.loss]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PreferenceLoss {
    /// The loss of a pair.
    pub kind: Kind,
    /// β: how much a difference of log-probabilities counts.
    pub beta: f64,
    /// ε: the share of pairs that may be the wrong way round. For `sigmoid`, `cpo` and `simpo` the conservative loss
    /// (cDPO); `robust` and `exo` need it.
    pub label_smoothing: f64,
    /// Divide c and r by their numbers of counted tokens. Default: for `ipo` (its authors' convention, and TRL's),
    /// `orpo` and `simpo`; off, `ipo` is over sums, as in OpenRLHF; with `sigmoid` it is TRL's `sigmoid_norm`.
    pub average: Option<bool>,
    /// Taken from β·δ before the loss: how much better the chosen completion has to be. Default 0.5 for `simpo` (its
    /// γ), else 0.
    pub margin: Option<f64>,
    /// LD-DPO's α (arXiv 2409.06411): tokens beyond the length of the pair's shorter completion count this much.
    pub ld_alpha: Option<f64>,
    /// Which divergence from the reference policy the reward comes from.
    pub divergence: Divergence,
    /// α of the added −log p of the chosen completion (the RPO loss, arXiv 2404.19733). Default 1 for `orpo` and
    /// `cpo`, else 0.
    pub nll: Option<f64>,
    /// What that −log p is averaged over.
    pub nll_mean: NllMean,
    /// γ of the added loss of the rationale that says why the chosen completion is better (RDPO, arXiv 2407.14477).
    pub rationale: f64,
    /// The form of that loss.
    pub rationale_form: RationaleForm,
    /// Factor of the good completions in `kto` and `apo_zero_unpaired`.
    pub desirable_weight: f64,
    /// Factor of the bad completions in `kto` and `apo_zero_unpaired`.
    pub undesirable_weight: f64,
}

/// The loss of a pair: with σ the logistic function, δ = c − r and x = β·δ − margin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// −(1−ε) log σ(x) − ε log σ(−x): DPO, and cDPO for ε > 0.
    Sigmoid,
    /// (δ − 1/(2β))² (arXiv 2310.12036).
    Ipo,
    /// max(0, 1 − x) (SLiC, arXiv 2305.10425).
    Hinge,
    /// `hinge` without a reference: margin ranking (FRODO, arXiv 2402.13950).
    Ranking,
    /// [−(1−ε) log σ(x) + ε log σ(−x)] / (1−2ε) (arXiv 2403.00409).
    Robust,
    /// The reverse KL of (σ(x), σ(−x)) from (1−ε, ε) (EXO, arXiv 2402.00856).
    Exo,
    /// −log σ(βc) − ½ log σ(−βc) − ½ log σ(−βr) (NCA, arXiv 2402.05369).
    Nca,
    /// −log σ(βc) − log σ(−βr) (BCO without its reward shift, arXiv 2404.04656).
    Bco,
    /// (c − 1/(2β))² + (r + 1/(2β))² (SPPO with hard labels, arXiv 2405.00675).
    Sppo,
    /// 1 − σ(βc) + σ(βr): chosen completions are better than the policy (arXiv 2408.06266).
    ApoZero,
    /// σ(βc) + 1 − σ(βδ): chosen completions are worse than the policy (arXiv 2408.06266).
    ApoDown,
    /// −log σ(x)(1−σ(x/τ)) + e^{−x} σ(x/τ), τ = 0.05 (arXiv 2406.08414).
    Discopop,
    /// `sigmoid` without a reference, with an NLL term (arXiv 2401.08417).
    Cpo,
    /// `sigmoid` over mean log-probabilities without a reference, with a margin (arXiv 2405.14734).
    Simpo,
    /// −β log σ(log odds(c) − log odds(r) − margin) over mean log-probabilities without a reference, with an NLL term
    /// (arXiv 2403.07691); odds(c) = e^c / (1 − e^c).
    Orpo,
    /// Not pairs but single completions that are good or bad: 1 − σ(±β(c − kl)), kl ≥ 0 being the mean log-ratio of
    /// mismatched prompts and completions (arXiv 2402.01306).
    Kto,
    /// `kto` with kl = 0: TRL's `apo_zero_unpaired`.
    ApoZeroUnpaired,
}

/// What becomes of the log-ratio t = log π − log π_ref of a completion: f′ of the divergence (arXiv 2309.16240).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NllMean {
    /// All chosen tokens of the update, as in TRL.
    Tokens,
    /// Each completion's tokens, then the pairs, as in the papers.
    Sequences,
}

/// The loss of a rationale with log-probability p (summed over its tokens).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RationaleForm {
    /// −γ·p: the paper's.
    Nll,
    /// −log σ(γ·p): that of the authors' program, whose slope is at most γ.
    Sigmoid,
}

impl Default for PreferenceLoss {
    fn default() -> Self {
        Self {
            kind: Kind::Sigmoid,
            beta: 0.1,
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

impl PreferenceLoss {
    /// Whether a reference policy is needed.
    pub fn needs_reference(&self) -> bool {
        !matches!(self.kind, Kind::Ranking | Kind::Cpo | Kind::Simpo | Kind::Orpo)
    }

    /// Whether it learns from single labelled completions rather than from pairs.
    pub fn unpaired(&self) -> bool {
        matches!(self.kind, Kind::Kto | Kind::ApoZeroUnpaired)
    }

    /// Whether c and r are means.
    pub fn average(&self) -> bool {
        self.average.unwrap_or(matches!(self.kind, Kind::Ipo | Kind::Simpo | Kind::Orpo))
    }

    /// What is taken from x of every pair.
    pub fn margin(&self) -> f64 {
        self.margin.unwrap_or(if self.kind == Kind::Simpo { 0.5 } else { 0.0 })
    }

    /// Whether the loss is a function of x, so that a margin means something.
    pub fn takes_margins(&self) -> bool {
        use Kind::{Cpo, Discopop, Exo, Hinge, Orpo, Ranking, Robust, Sigmoid, Simpo};
        matches!(self.kind, Sigmoid | Hinge | Ranking | Robust | Exo | Discopop | Cpo | Simpo | Orpo)
    }

    /// Factor of the NLL term.
    pub fn nll(&self) -> f64 {
        self.nll.unwrap_or(if matches!(self.kind, Kind::Orpo | Kind::Cpo) { 1.0 } else { 0.0 })
    }

    /// What is wrong with this section, in the words of the recipe.
    pub fn validate(&self) -> Result<()> {
        let refuse = |text: String| Err(Error::Recipe(format!("loop.dpo.loss.{text}")));
        if !(self.beta > 0.0 && self.beta.is_finite()) {
            return refuse(format!("beta = {}: must be above 0, such as 0.1", self.beta));
        }
        if !(0.0..0.5).contains(&self.label_smoothing) {
            return refuse(format!(
                "label_smoothing = {}: a share of wrong pairs, at least 0 and below 0.5",
                self.label_smoothing
            ));
        }
        let smooths = matches!(self.kind, Kind::Sigmoid | Kind::Robust | Kind::Exo | Kind::Cpo | Kind::Simpo);
        if self.label_smoothing > 0.0 && !smooths {
            return refuse(
                "label_smoothing: only for sigmoid, robust, exo, cpo and simpo; take it out".into(),
            );
        }
        if self.label_smoothing == 0.0 && self.kind == Kind::Exo {
            return refuse("label_smoothing = 0: exo needs a positive one, such as 0.001".into());
        }
        if self.margin.is_some_and(|margin| !margin.is_finite()) {
            return refuse("margin must be a finite number".into());
        }
        if self.margin.is_some() && !self.takes_margins() {
            return refuse(
                "margin: this kind does not look at β·δ alone; take it out, or use kind = \"sigmoid\"".into(),
            );
        }
        if self.ld_alpha.is_some_and(|alpha| !(0.0..=1.0).contains(&alpha)) {
            return refuse("ld_alpha must lie between 0 and 1".into());
        }
        if self.average == Some(false) && matches!(self.kind, Kind::Simpo | Kind::Orpo) {
            return refuse("average = false: orpo and simpo are over mean log-probabilities; take it out, or use kind = \"cpo\"".into());
        }
        if self.average == Some(true) && self.unpaired() {
            return refuse("average: kto and apo_zero_unpaired are over sums; take it out".into());
        }
        if matches!(self.divergence, Divergence::Alpha(alpha) if !alpha.is_finite() || alpha == 1.0) {
            return refuse(
                "divergence: alpha must be a finite number other than 1; 1 is \"reverse_kl\"".into(),
            );
        }
        let simple = matches!(
            self.kind,
            Kind::Sigmoid | Kind::Hinge | Kind::Ipo | Kind::Exo | Kind::Robust | Kind::Discopop
        );
        if self.divergence != Divergence::ReverseKl && !simple {
            return refuse(
                "divergence: only for sigmoid, ipo, hinge, robust, exo and discopop; take it out".into(),
            );
        }
        let factors = [
            ("nll", self.nll()),
            ("rationale", self.rationale),
            ("desirable_weight", self.desirable_weight),
            ("undesirable_weight", self.undesirable_weight),
        ];
        match factors.iter().find(|(_, factor)| !(*factor >= 0.0 && factor.is_finite())) {
            Some((key, factor)) => refuse(format!("{key} = {factor}: must be a number of at least 0")),
            None if self.unpaired() && (self.nll() != 0.0 || self.rationale != 0.0) => {
                refuse("nll and rationale: kto and apo_zero_unpaired have no such term; take them out".into())
            }
            None => Ok(()),
        }
    }
}
