//! Thirty updates on the tiny sequences, in each number format: a model that learns at all remembers part of them.

use super::resume::step;
use super::{Bench, Figure, tiny};
use crate::Result;
use crate::optim::{Optim, Optimizer};
use tch::{Device, Kind};

const LEARNS: &str = "six nats a token, since 114 fixed tokens are remembered in thirty updates; half of it leaves room for rounding";
const UPDATES: usize = 30;

/// As the first line says.
pub fn check(bench: &Bench) -> Result<Vec<Figure>> {
    let of = |(name, kind)| Ok(judged(name, &losses(kind, bench.device)?));
    [("f32", Kind::Float), ("bf16", Kind::BFloat16)].into_iter().map(of).collect()
}

fn losses(kind: Kind, device: Device) -> Result<Vec<f64>> {
    let model = tiny::model(kind, device)?;
    model.train_all();
    let mut optim = Optimizer::new(model.parameters(), &Optim::default())?;
    (0..UPDATES).map(|_| step(&model, &mut optim)).collect()
}

fn judged(name: &str, losses: &[f64]) -> Figure {
    let fall = losses.first().zip(losses.last()).map_or(f64::NAN, |(first, last)| first - last);
    Figure::at_least(format!("loss lower by, {name}"), fall, 3.0, LEARNS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loss_that_stays_fails() {
        assert!(judged("", &losses(Kind::Float, Device::Cpu).unwrap()).passes());
        assert!(!judged("", &[6.2, 6.0]).passes() && !judged("", &[6.2, f64::NAN]).passes());
        assert!(!judged("", &[]).passes());
    }
}
