//! Updates of the fused AdamW on the device against its formula in f64 (Loshchilov & Hutter 2019), the masters of bf16 weights too.

use super::tiny::distance;
use super::{Bench, Figure};
use crate::Result;
use crate::optim::{Optim, Optimizer};
use tch::{Device, Kind, Tensor};

const ROUNDING: &str = "a few f32 roundings (6e-8) an update";
const MASTERS: &str = "a bf16 weight is its f32 master, rounded";
const LR: f64 = 1e-2;
const UPDATES: usize = 4;
const WEIGHTS: usize = 257;

/// As the first line says.
pub fn check(bench: &Bench) -> Result<Vec<Figure>> {
    let f32 = Updated::of(Kind::Float, bench.device)?;
    let bf16 = Updated::of(Kind::BFloat16, bench.device)?;
    Ok(judged(&f32, &bf16, &by_formula()))
}

/// Weights after all updates, and what they are rounded from.
struct Updated {
    weights: Tensor,
    masters: Tensor,
}

impl Updated {
    fn of(kind: Kind, device: Device) -> Result<Self> {
        let column =
            |values: Vec<f64>| Tensor::from_slice(&values).view([-1, 1]).to_device(device).to_kind(kind);
        let weights = column((0..WEIGHTS).map(weight).collect()).set_requires_grad(true);
        let mut optim = Optimizer::new(vec![("w".into(), weights.shallow_clone())], &section())?;
        for update in 0..UPDATES {
            let gradient = column((0..WEIGHTS).map(|place| gradient(place, update)).collect());
            (&weights * gradient).sum(kind).f_backward()?;
            optim.step(LR)?;
            optim.zero_grad()?;
        }
        let weights = weights.detach();
        let masters = optim.state().into_iter().find(|(name, _)| name == "w.master");
        Ok(Self { masters: masters.map_or_else(|| weights.shallow_clone(), |(_, tensor)| tensor), weights })
    }
}

fn judged(f32: &Updated, bf16: &Updated, expected: &[f64]) -> Vec<Figure> {
    let expected = Tensor::from_slice(expected).view([-1, 1]);
    let rounded = bf16.masters.to_kind(Kind::BFloat16).ne_tensor(&bf16.weights);
    let unlike = rounded.sum(Kind::Int64).double_value(&[]);
    vec![
        Figure::at_most("f32 weights", distance(&f32.weights, &expected), 1e-6, ROUNDING),
        Figure::at_most("masters of bf16 weights", distance(&bf16.masters, &expected), 1e-6, ROUNDING),
        Figure::at_most("bf16 weights unlike their masters", unlike, 0.0, MASTERS),
    ]
}

fn by_formula() -> Vec<f64> {
    let Optim { betas: [beta1, beta2], eps, weight_decay, .. } = section();
    let of = |place| {
        let (mut w, mut m, mut v) = (weight(place), 0.0, 0.0);
        for update in 0..UPDATES {
            let (g, t) = (gradient(place, update), update as i32 + 1);
            m = beta1 * m + (1.0 - beta1) * g;
            v = beta2 * v + (1.0 - beta2) * g * g;
            let (m_hat, v_hat) = (m / (1.0 - beta1.powi(t)), v / (1.0 - beta2.powi(t)));
            w -= LR * weight_decay * w;
            w -= LR * m_hat / (v_hat.sqrt() + eps);
        }
        w
    };
    (0..WEIGHTS).map(of).collect()
}

fn section() -> Optim {
    Optim { weight_decay: 0.1, ..Optim::default() }
}

/// In eight bits, as bf16 has them: from −2 to 2.
fn weight(place: usize) -> f64 {
    (place as f64 - 128.0) / 64.0
}

/// In eight bits too, and never 0.
fn gradient(place: usize, update: usize) -> f64 {
    let odd = 2 * ((37 * place + 101 * update) % 128) + 1;
    (odd as f64 - 128.0) / 256.0
}

#[cfg(test)]
mod tests {
    use super::super::planted::{failing, off};
    use super::*;

    #[test]
    fn another_update_fails() {
        let [f32, bf16] = [Kind::Float, Kind::BFloat16].map(|kind| Updated::of(kind, Device::Cpu).unwrap());
        let right = by_formula();
        assert_eq!(failing(&judged(&f32, &bf16, &right)), [""; 0]);
        let wrong = Updated { weights: off(&f32.weights), masters: f32.masters.copy() };
        assert_eq!(failing(&judged(&wrong, &bf16, &right)), ["f32 weights"]);
        let wrong = Updated { weights: bf16.weights.copy(), masters: off(&bf16.masters) };
        assert_eq!(failing(&judged(&f32, &wrong, &right))[0], "masters of bf16 weights");
        let wrong = Updated { weights: &bf16.weights * 1.01, masters: bf16.masters.copy() };
        assert_eq!(failing(&judged(&f32, &wrong, &right)), ["bf16 weights unlike their masters"]);
        // Weights that never moved are 0.04 away.
        let still: Vec<f64> = (0..WEIGHTS).map(weight).collect();
        assert_eq!(failing(&judged(&f32, &bf16, &still)).len(), 2);
    }
}
