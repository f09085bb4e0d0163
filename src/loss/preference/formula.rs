//! What a pair's loss is a function of: what its two completions sum to, and their difference.

use super::{Divergence, PreferenceLoss};
use tch::Tensor;

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
        if loss.kind.average && !loss.kind.reference {
            self.means()
        } else {
            (self.chosen.shallow_clone(), self.rejected.shallow_clone())
        }
    }

    fn map(&self, of: impl Fn(&Tensor) -> Tensor) -> Self {
        Self { chosen: of(&self.chosen), rejected: of(&self.rejected), ..self.clone() }
    }
}

/// What the formulas of [`KINDS`](super::KINDS) are written in; tensors are `[pairs]` in f64.
#[derive(Debug)]
pub(super) struct Compared {
    /// c.
    pub c: Tensor,
    /// r.
    pub r: Tensor,
    /// δ = c − r.
    pub delta: Tensor,
    /// β·δ − margin.
    pub x: Tensor,
    /// log σ(x).
    pub log_right: Tensor,
    /// log σ(−x).
    pub log_wrong: Tensor,
    /// Of each pair.
    pub margins: Tensor,
    /// β.
    pub beta: f64,
    /// ε.
    pub smoothing: f64,
}

impl Compared {
    pub fn new(loss: &PreferenceLoss, ratios: &Scores, margins: Tensor) -> Self {
        let scores = ratios.map(|t| divergence(loss.divergence, t));
        let (c, r) = if loss.average { scores.means() } else { (scores.chosen, scores.rejected) };
        let delta = &c - &r;
        let x = &delta * loss.beta - &margins;
        let (log_right, log_wrong) = (x.log_sigmoid(), x.neg().log_sigmoid());
        Self {
            c,
            r,
            delta,
            x,
            log_right,
            log_wrong,
            margins,
            beta: loss.beta,
            smoothing: loss.label_smoothing,
        }
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
pub(super) fn log_1m_exp(x: &Tensor) -> Tensor {
    let x = x.clamp_max(-1e-7);
    let near = x.expm1().neg().log();
    let far = x.exp().neg().log1p();
    near.where_self(&x.gt(-std::f64::consts::LN_2), &far)
}
