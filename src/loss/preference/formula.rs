//! The formulas: the loss of each pair from what its two completions sum to.

use super::{Divergence, Kind, PreferenceLoss};
use tch::Tensor;

/// DiscoPOP's temperature.
const TAU: f64 = 0.05;

/// What the completions of some pairs sum to, `[pairs]` in f64.
#[derive(Debug)]
pub(super) struct Scores {
    /// c.
    pub chosen: Tensor,
    /// r.
    pub rejected: Tensor,
    /// Counted tokens of the chosen completions.
    pub chosen_counts: Tensor,
    /// Counted tokens of the rejected completions.
    pub rejected_counts: Tensor,
}

impl Clone for Scores {
    fn clone(&self) -> Self {
        let copy = |tensor: &Tensor| tensor.shallow_clone();
        Self {
            chosen: copy(&self.chosen),
            rejected: copy(&self.rejected),
            chosen_counts: copy(&self.chosen_counts),
            rejected_counts: copy(&self.rejected_counts),
        }
    }
}

impl Scores {
    fn means(&self) -> (Tensor, Tensor) {
        (
            &self.chosen / self.chosen_counts.clamp_min(1.0),
            &self.rejected / self.rejected_counts.clamp_min(1.0),
        )
    }

    /// What reports show: means where there is no reference and the loss is over means, else sums (as TRL does).
    pub fn reported(&self, loss: &PreferenceLoss) -> (Tensor, Tensor) {
        match loss.kind {
            Kind::Orpo | Kind::Simpo => self.means(),
            _ => (self.chosen.shallow_clone(), self.rejected.shallow_clone()),
        }
    }

    fn map(&self, of: impl Fn(&Tensor) -> Tensor) -> Self {
        Self { chosen: of(&self.chosen), rejected: of(&self.rejected), ..self.clone() }
    }
}

/// The loss of each pair, `[pairs]`.
pub(super) fn losses(loss: &PreferenceLoss, ratios: &Scores, margins: &Tensor) -> Tensor {
    let beta = loss.beta;
    let scores = ratios.map(|t| divergence(loss.divergence, t));
    let (c, r) = if loss.average() { scores.means() } else { (scores.chosen, scores.rejected) };
    let delta = &c - &r;
    let x = &delta * beta - margins;
    let (log_right, log_wrong) = (x.log_sigmoid(), x.neg().log_sigmoid());
    let smoothing = loss.label_smoothing;
    match loss.kind {
        Kind::Sigmoid | Kind::Cpo | Kind::Simpo => -(log_right * (1.0 - smoothing) + log_wrong * smoothing),
        Kind::Robust => (log_wrong * smoothing - log_right * (1.0 - smoothing)) / (1.0 - 2.0 * smoothing),
        Kind::Hinge | Kind::Ranking => (1.0_f64 - x).relu(),
        Kind::Ipo => (delta - 1.0 / (2.0 * beta)).square(),
        Kind::Exo => {
            x.sigmoid() * (log_right - (-smoothing).ln_1p())
                + x.neg().sigmoid() * (log_wrong - smoothing.ln())
        }
        Kind::Nca => {
            let (c, r) = (c * beta, r * beta);
            -c.log_sigmoid() - c.neg().log_sigmoid() * 0.5 - r.neg().log_sigmoid() * 0.5
        }
        Kind::Bco => -(c * beta).log_sigmoid() - (r * -beta).log_sigmoid(),
        Kind::Sppo => (c - 0.5 / beta).square() + (r + 0.5 / beta).square(),
        Kind::ApoZero => (c * -beta).sigmoid() + (r * beta).sigmoid(),
        Kind::ApoDown => (c * beta).sigmoid() + (delta * -beta).sigmoid(),
        Kind::Discopop => {
            let modulation = (&x / TAU).sigmoid();
            -log_right * (1.0_f64 - &modulation) + (-x).exp() * modulation
        }
        Kind::Orpo => {
            let log_odds = delta - (log_1m_exp(&c) - log_1m_exp(&r)) - margins;
            log_odds.log_sigmoid() * -beta
        }
        Kind::Kto | Kind::ApoZeroUnpaired => unreachable!("kto has no pairs: its loss is in unpaired.rs"),
    }
}

/// f′(e^t), with α-divergence's exponent held so that it stays finite (TRL's limit).
fn divergence(divergence: Divergence, t: &Tensor) -> Tensor {
    match divergence {
        Divergence::ReverseKl => t.shallow_clone(),
        Divergence::ForwardKl => 1.0_f64 - t.neg().exp(),
        Divergence::Js => t.log_sigmoid() + std::f64::consts::LN_2,
        Divergence::Alpha(alpha) => {
            let scale = alpha - 1.0;
            ((t * scale).clamp_max(80.0).exp() - 1.0) / scale
        }
    }
}

/// log(1 − e^x) for x < 0 without loss of digits (Mächler 2012); x is kept below −10⁻⁷, where probability 1 would
/// have infinite odds.
fn log_1m_exp(x: &Tensor) -> Tensor {
    let x = x.clamp_max(-1e-7);
    let near = x.expm1().neg().log();
    let far = x.exp().neg().log1p();
    near.where_self(&x.gt(-std::f64::consts::LN_2), &far)
}
