//! Muon (Jordan et al. 2024, kellerjordan.github.io/posts/muon): a matrix moves by its averaged gradient with all singular values brought
//! near 1. As `torch.optim.Muon` computes it:
//!
//! ```text
//! m ← μ m + (1 − μ) g        u = μ m + (1 − μ) g   (Nesterov; else u = m)
//! X₀ = u / ‖u‖        Xₖ₊₁ = a Xₖ + (b A + c A²) Xₖ,   A = Xₖ Xₖᵀ
//! w ← w − lr · λ · w − lr · adjusted(rows, columns) · X
//! ```

use crate::Result;
use crate::section::{Misfit, broken};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

/// `[optim.muon]`: the layers' matrices (their linear maps, experts and adapters) move by Muon, all else (embeddings, output projection, norms,
/// biases, heads) by AdamW. `optim.weight_decay`, the schedule and clipping hold for both.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Muon {
    /// The matrices' highest learning rate. It warms up and falls along with `optim.lr`. Default: `optim.lr`.
    pub lr: Option<f64>,
    /// Decay rate of the running mean of the gradient.
    pub momentum: f64,
    /// Mix the newest gradient into the mean once more (Nesterov).
    pub nesterov: bool,
    /// Newton-Schulz iterations, which bring singular values near 1.
    pub ns_steps: usize,
    /// What the learning rate of a matrix is multiplied by, of its shape: `match_rms_adamw` or `original`.
    pub adjust_lr: AdjustLr,
}

impl Default for Muon {
    fn default() -> Self {
        Self { lr: None, momentum: 0.95, nesterov: true, ns_steps: 5, adjust_lr: AdjustLr::MatchRmsAdamw }
    }
}

/// What the learning rate of a matrix is multiplied by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AdjustLr {
    /// 0.2 · √max(rows, columns): steps as large as AdamW's, whose learning rate then serves (Liu et al. 2025, arXiv 2502.16982).
    MatchRmsAdamw,
    /// √max(1, rows / columns), Jordan's; learning rates near 0.02 are usual.
    Original,
}

impl AdjustLr {
    fn factor(self, rows: i64, columns: i64) -> f64 {
        let (rows, columns) = (rows as f64, columns as f64);
        match self {
            Self::MatchRmsAdamw => 0.2 * rows.max(columns).sqrt(),
            Self::Original => (rows / columns).max(1.0).sqrt(),
        }
    }
}

impl Muon {
    /// Values that cannot train, beside the other learning rate.
    pub fn check(&self, lr: Option<f64>) -> Vec<Misfit> {
        let mut found = broken(&[
            (
                self.lr.is_none_or(|lr| lr.is_finite() && lr >= 0.0),
                "lr",
                "it must be a number that is 0 or larger",
            ),
            ((0.0..1.0).contains(&self.momentum), "momentum", "it must be in [0, 1)"),
            ((1..100).contains(&self.ns_steps), "ns_steps", "it must be between 1 and 99"),
        ]);
        if self.lr.is_some_and(|lr| lr > 0.0) && lr == Some(0.0) {
            found.push(Misfit::new(
                "lr",
                "it follows optim.lr, which is 0",
                "give optim.lr a small value, such as 1e-12, to move the matrices alone",
            ));
        }
        found
    }

    /// Takes the gradient into its running mean; what the matrix is to move along, before its singular values are made equal.
    pub(super) fn averaged(&self, momentum: &mut Tensor, gradient: &Tensor) -> Tensor {
        let _ = momentum.lerp_(gradient, 1.0 - self.momentum);
        if self.nesterov { gradient.lerp(momentum, self.momentum) } else { momentum.shallow_clone() }
    }

    /// What is subtracted, at a learning rate of 1, of a matrix `[rows, columns]` or of several `[n, rows, columns]`, in the kind `by` products.
    pub(super) fn direction(&self, update: &Tensor, by: Kind) -> Result<Tensor> {
        let size = update.size();
        let (rows, columns) = (size[size.len() - 2], size[size.len() - 1]);
        let found = orthogonalised(&update.f_reshape([-1, rows, columns])?, by, self.ns_steps)?;
        Ok(found.f_reshape(&size)?.to_kind(Kind::Float) * self.adjust_lr.factor(rows, columns))
    }
}

/// The coefficients of Jordan's iteration, whose slope at 0 is large.
const A: f64 = 3.4445;
const B: f64 = -4.7750;
const C: f64 = 2.0315;

/// A norm of zero is not divided by.
const EPS: f64 = 1e-7;

/// Matrices `[n, rows, columns]` with singular values between about 0.7 and 1.2 in place of their own, computed in the kind `by`.
fn orthogonalised(update: &Tensor, by: Kind, steps: usize) -> Result<Tensor> {
    let mut x = update.to_kind(by);
    let tall = x.size()[1] > x.size()[2];
    if tall {
        x = x.transpose(-2, -1);
    }
    let norm = x.f_norm_scalaropt_dim(2.0, [-2, -1], true)?;
    // Not in place: it may be the running mean itself.
    x = x.f_div(&norm.clamp_min(EPS))?;
    for _ in 0..steps {
        let gram = x.f_bmm(&x.transpose(-2, -1))?;
        let square = gram.f_baddbmm(&gram, &gram, B, C)?;
        x = x.f_baddbmm(&square, &x, A, 1.0)?;
    }
    Ok(if tall { x.transpose(-2, -1) } else { x })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::near::far;

    fn values(tensor: &Tensor) -> Vec<f64> {
        Vec::try_from(tensor.to_kind(Kind::Double).reshape([-1])).unwrap()
    }

    fn sines(shape: &[i64], salt: f64) -> Tensor {
        let count = shape.iter().product::<i64>();
        let values: Vec<f32> = (0..count).map(|i| (salt + 0.37 * (i * i) as f64).sin() as f32).collect();
        Tensor::from_slice(&values).reshape(shape)
    }

    /// A row has one singular value, which its norm brings to 1; an iteration then makes a + b + c = 0.701 of it. (3, 4) / 5 · 0.701, and
    /// the next makes of s = 0.701: a s + b s³ + c s⁵ = 2.414595 − 1.644863 + 0.343891 = 1.113622.
    #[test]
    fn a_row_keeps_its_direction() {
        let row = Tensor::from_slice(&[3f32, 4.0]).view([1, 1, 2]);
        for (steps, value) in [(1, 0.701), (2, 1.113_622)] {
            let found = values(&orthogonalised(&row, Kind::Float, steps).unwrap());
            let wanted = [0.6 * value, 0.8 * value];
            assert!(found.iter().zip(wanted).all(|(a, b)| (a - b).abs() < 2e-5), "{found:?}");
        }
    }

    /// Five steps take what lies between 0.1 and 1 to between 0.68 and 1.14: 3 / √10 and 1 / √10 among them. Of a gradient of zero nothing comes.
    #[test]
    fn singular_values_come_near_one_and_zero_stays() {
        let diagonal = Tensor::from_slice(&[3f32, 0.0, 0.0, 1.0]).view([1, 2, 2]);
        let found = values(&orthogonalised(&diagonal, Kind::Float, 5).unwrap());
        assert!(found[1] == 0.0 && found[2] == 0.0, "{found:?}");
        assert!([found[0], found[3]].iter().all(|s| (0.68..1.14).contains(s)), "{found:?}");
        let nothing =
            Muon::default().direction(&Tensor::zeros([3, 4], (Kind::Float, tch::Device::Cpu)), Kind::Float);
        assert_eq!(values(&nothing.unwrap()), [0.0; 12]);
    }

    /// Neither the gradient's size nor which side is the longer one matters, and experts are matrices of their own.
    #[test]
    fn scales_transposes_and_stacks() {
        let muon = Muon::default();
        let of = |update: &Tensor| muon.direction(update, Kind::Float).unwrap();
        let matrix = sines(&[3, 5], 1.0);
        let found = of(&matrix);
        assert!(far(&found, &of(&(&matrix * 1e-3))) < 1e-4);
        assert!(far(&found, &of(&matrix.tr()).tr()) < 1e-5);
        let other = sines(&[3, 5], 2.0);
        let both = of(&Tensor::stack(&[&matrix, &other], 0));
        assert!(far(&both.get(0), &found) < 1e-5 && far(&both.get(1), &of(&other)) < 1e-5);
    }

    /// 0.2 · √64 = 1.6; √(64 / 16) = 2, and a wide one stays as it is.
    #[test]
    fn learning_rates_follow_the_shape() {
        assert_eq!(AdjustLr::MatchRmsAdamw.factor(16, 64), 1.6);
        assert_eq!((AdjustLr::Original.factor(64, 16), AdjustLr::Original.factor(16, 64)), (2.0, 1.0));
    }

    #[test]
    fn check_names_every_key() {
        let muon = Muon { lr: Some(-1.0), momentum: 1.0, ns_steps: 0, ..Muon::default() };
        let keys = |found: Vec<Misfit>| found.into_iter().map(|misfit| misfit.key).collect::<Vec<_>>();
        assert_eq!(keys(muon.check(Some(1.0))), ["lr", "momentum", "ns_steps"]);
        assert_eq!(Muon::default().check(Some(0.0)), []);
        assert_eq!(keys(Muon { lr: Some(0.1), ..Muon::default() }.check(Some(0.0))), ["lr"]);
    }
}
