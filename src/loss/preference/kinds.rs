//! The kinds of `[loop.dpo.loss]`, one row each: with σ the logistic function, δ = c − r and x = β·δ − margin.

use super::formula::{Compared, log_1m_exp};
use crate::loss::row::Row;
use tch::Tensor;

/// DiscoPOP's temperature.
const TAU: f64 = 0.05;

/// A preference loss.
pub struct PreferenceKind {
    /// What a recipe calls it.
    pub name: &'static str,
    /// What it learns from.
    pub(super) of: Learns,
    /// Whether c and r are log-ratios to a reference policy, or log-probabilities.
    pub(super) reference: bool,
    /// β where the recipe does not say.
    pub(super) beta: f64,
    /// Whether c and r are means over tokens where the recipe does not say, or sums.
    pub(super) average: bool,
    /// What is taken from β·δ where the recipe does not say.
    pub(super) margin: f64,
    /// Factor of the NLL term where the recipe does not say.
    pub(super) nll: f64,
    /// Whether it is nothing without `label_smoothing`.
    pub(super) needs_smoothing: bool,
    /// Of `label_smoothing`, `average`, `margin`, `divergence`, `nll` and `rationale`, those that it takes. Those of `margin`
    /// are functions of x.
    pub(super) keys: &'static [&'static str],
}

/// What a preference loss learns from.
#[derive(Clone, Copy)]
pub(super) enum Learns {
    /// Pairs, by the loss of each, `[pairs]`.
    Pairs(fn(&Compared) -> Tensor),
    /// Single completions that are good or bad: 1 − σ(±β(c − kl)).
    Labels {
        /// Whether kl is the mean log-ratio of mismatched prompts and completions, at least 0; else it is 0.
        baseline: bool,
    },
}

/// All kinds. A row that is written as another differs from it in what it names.
pub const KINDS: &[PreferenceKind] = &[
    // −(1−ε) log σ(x) − ε log σ(−x): DPO, and cDPO for ε > 0.
    SIGMOID,
    // (δ − 1/(2β))² (arXiv 2310.12036).
    PreferenceKind {
        name: "ipo",
        of: Learns::Pairs(|p| (&p.delta - 1.0 / (2.0 * p.beta)).square()),
        average: true,
        keys: &["average", "divergence", "nll", "rationale"],
        ..SIGMOID
    },
    // max(0, 1 − x) (SLiC, arXiv 2305.10425).
    HINGE,
    // `hinge` without a reference: margin ranking (FRODO, arXiv 2402.13950).
    PreferenceKind {
        name: "ranking",
        reference: false,
        keys: &["average", "margin", "nll", "rationale"],
        ..HINGE
    },
    // [−(1−ε) log σ(x) + ε log σ(−x)] / (1−2ε) (arXiv 2403.00409).
    PreferenceKind {
        name: "robust",
        of: Learns::Pairs(|p| {
            (&p.log_wrong * p.smoothing - &p.log_right * (1.0 - p.smoothing)) / (1.0 - 2.0 * p.smoothing)
        }),
        ..SIGMOID
    },
    // The reverse KL of (σ(x), σ(−x)) from (1−ε, ε) (EXO, arXiv 2402.00856).
    PreferenceKind {
        name: "exo",
        of: Learns::Pairs(|p| {
            p.x.sigmoid() * (&p.log_right - (-p.smoothing).ln_1p())
                + p.x.neg().sigmoid() * (&p.log_wrong - p.smoothing.ln())
        }),
        needs_smoothing: true,
        ..SIGMOID
    },
    // −log σ(βc) − ½ log σ(−βc) − ½ log σ(−βr) (NCA, arXiv 2402.05369).
    PreferenceKind {
        name: "nca",
        of: Learns::Pairs(|p| {
            let (c, r) = (&p.c * p.beta, &p.r * p.beta);
            -c.log_sigmoid() - c.neg().log_sigmoid() * 0.5 - r.neg().log_sigmoid() * 0.5
        }),
        ..BCO
    },
    // −log σ(βc) − log σ(−βr) (BCO without its reward shift, arXiv 2404.04656).
    BCO,
    // (c − 1/(2β))² + (r + 1/(2β))² (SPPO with hard labels, arXiv 2405.00675).
    PreferenceKind {
        name: "sppo",
        of: Learns::Pairs(|p| (&p.c - 0.5 / p.beta).square() + (&p.r + 0.5 / p.beta).square()),
        ..BCO
    },
    // 1 − σ(βc) + σ(βr): chosen completions are better than the policy (arXiv 2408.06266).
    PreferenceKind {
        name: "apo_zero",
        of: Learns::Pairs(|p| (&p.c * -p.beta).sigmoid() + (&p.r * p.beta).sigmoid()),
        ..BCO
    },
    // σ(βc) + 1 − σ(βδ): chosen completions are worse than the policy (arXiv 2408.06266).
    PreferenceKind {
        name: "apo_down",
        of: Learns::Pairs(|p| (&p.c * p.beta).sigmoid() + (&p.delta * -p.beta).sigmoid()),
        ..BCO
    },
    // −log σ(x)(1−σ(x/τ)) + e^{−x} σ(x/τ), τ = 0.05 (arXiv 2406.08414).
    PreferenceKind {
        name: "discopop",
        of: Learns::Pairs(|p| {
            let modulation = (&p.x / TAU).sigmoid();
            -&p.log_right * (1.0_f64 - &modulation) + p.x.neg().exp() * modulation
        }),
        ..HINGE
    },
    // `sigmoid` without a reference, with an NLL term (arXiv 2401.08417).
    PreferenceKind {
        name: "cpo",
        reference: false,
        nll: 1.0,
        keys: &["label_smoothing", "average", "margin", "nll", "rationale"],
        ..SIGMOID
    },
    // `sigmoid` over mean log-probabilities without a reference, with a margin γ (arXiv 2405.14734).
    PreferenceKind {
        name: "simpo",
        reference: false,
        beta: 2.0,
        average: true,
        margin: 0.5,
        keys: &["label_smoothing", "margin", "nll", "rationale"],
        ..SIGMOID
    },
    // −β log σ(log odds(c) − log odds(r) − margin) over mean log-probabilities without a reference, with an NLL term
    // (arXiv 2403.07691); odds(c) = e^c / (1 − e^c).
    PreferenceKind {
        name: "orpo",
        of: Learns::Pairs(|p| {
            let log_odds = &p.delta - (log_1m_exp(&p.c) - log_1m_exp(&p.r)) - &p.margins;
            log_odds.log_sigmoid() * -p.beta
        }),
        reference: false,
        average: true,
        nll: 1.0,
        keys: &["margin", "nll", "rationale"],
        ..SIGMOID
    },
    // Not pairs but single completions that are good or bad (arXiv 2402.01306).
    KTO,
    // `kto` with kl = 0: TRL's `apo_zero_unpaired`.
    PreferenceKind { name: "apo_zero_unpaired", of: Learns::Labels { baseline: false }, ..KTO },
];

const SIGMOID: PreferenceKind = PreferenceKind {
    name: "sigmoid",
    of: Learns::Pairs(|p| -(&p.log_right * (1.0 - p.smoothing) + &p.log_wrong * p.smoothing)),
    reference: true,
    beta: 0.1,
    average: false,
    margin: 0.0,
    nll: 0.0,
    needs_smoothing: false,
    keys: &["label_smoothing", "average", "margin", "divergence", "nll", "rationale"],
};

const HINGE: PreferenceKind = PreferenceKind {
    name: "hinge",
    of: Learns::Pairs(|p| (1.0_f64 - &p.x).relu()),
    keys: &["average", "margin", "divergence", "nll", "rationale"],
    ..SIGMOID
};

const BCO: PreferenceKind = PreferenceKind {
    name: "bco",
    of: Learns::Pairs(|p| -(&p.c * p.beta).log_sigmoid() - (&p.r * -p.beta).log_sigmoid()),
    keys: &["average", "nll", "rationale"],
    ..SIGMOID
};

const KTO: PreferenceKind =
    PreferenceKind { name: "kto", of: Learns::Labels { baseline: true }, keys: &[], ..SIGMOID };

impl Row for PreferenceKind {
    const ROWS: &'static [Self] = KINDS;

    fn name(&self) -> &'static str {
        self.name
    }

    fn keys(&self) -> &'static [&'static str] {
        self.keys
    }
}
