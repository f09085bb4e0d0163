//! The peak of a training step against what a plan says of it: weights, gradients, optimiser and activations.

use super::{Bench, Figure, tiny};
use crate::Result;
use crate::devices::torch::{cuda_bytes, forget_peak};
use crate::error::Error;
use crate::model::memory::{PerParameter, activations, logits};
use crate::model::{Config, Grad, Model, Sequence};
use crate::optim::{Optim, Optimizer};
use crate::ranks::resident;
use tch::{Device, Kind};

const ESTIMATE: &str = "activations are an estimate, and allocators round up";
const TOKENS: u64 = 256;
const SEQUENCES: u64 = 4;

/// As the first line says.
pub fn check(bench: &Bench) -> Result<Vec<Figure>> {
    let shape = shape();
    let planned = planned(&shape);
    // What a first step brings into memory, libraries' pages and kernels' workspaces, is no model's.
    train(&tiny::model(Kind::Float, bench.device)?)?;
    let before = Peak::begin(bench.device)?;
    let model = Model::init(shape, Kind::Float, bench.device, 1)?;
    train(&model)?;
    let measured = before.end()?;
    Ok(judged(planned as f64, measured as f64))
}

fn judged(planned: f64, measured: f64) -> Vec<Figure> {
    vec![
        Figure::plain("planned MB", planned / 1e6),
        Figure::plain("measured MB", measured / 1e6),
        Figure::at_most("off by", (measured / planned - 1.0).abs(), 0.15, ESTIMATE),
    ]
}

/// 17 million weights.
fn shape() -> Config {
    Config {
        vocab_size: 8192,
        hidden_size: 512,
        intermediate_size: 1536,
        num_hidden_layers: 4,
        num_attention_heads: 8,
        num_key_value_heads: 4,
        head_dim: 64,
        ..Config::default()
    }
}

fn planned(shape: &Config) -> usize {
    let each = PerParameter::of(Kind::Float);
    let tokens = (TOKENS * SEQUENCES) as usize;
    let passing = tokens * activations(shape, Kind::Float, false) + logits(shape, Kind::Float, tokens);
    shape.size() * (each.weight + each.training()) + passing
}

/// Two updates: the second has the optimiser's state beside the activations.
fn train(model: &Model) -> Result<()> {
    model.train_all();
    let mut optim = Optimizer::new(model.parameters(), &Optim::default())?;
    let sequence = |salt| Sequence::new(&tiny::tokens(salt, 1), &tiny::tokens(salt + 100, TOKENS - 1));
    let sequences: Vec<Sequence> = (0..SEQUENCES).map(sequence).collect();
    for _ in 0..2 {
        let scored = model.score(&sequences, 1.0, Grad::Yes)?;
        let loss = -scored.logprobs.mean(Kind::Float);
        scored.backward(&loss)?;
        optim.accumulate()?;
        optim.clip(1.0)?;
        optim.step(1e-4)?;
        optim.zero_grad()?;
    }
    Ok(())
}

/// Where a measurement began: bytes that were in use before it.
struct Peak {
    device: Device,
    before: u64,
}

impl Peak {
    fn begin(device: Device) -> Result<Self> {
        let before = match device {
            Device::Cuda(index) => {
                forget_peak(index)?;
                cuda_bytes(index)?.0
            }
            _ => {
                resident::trim();
                resident::forget_peak();
                known(resident::now())?
            }
        };
        Ok(Self { device, before })
    }

    /// The most that was in use since, beyond what was before.
    fn end(self) -> Result<u64> {
        let most = match self.device {
            Device::Cuda(index) => cuda_bytes(index)?.1,
            _ => known(resident::peak())?,
        };
        Ok(most.saturating_sub(self.before))
    }
}

fn known(bytes: Option<u64>) -> Result<u64> {
    bytes.ok_or_else(|| Error::Devices("/proc/self/status does not say what memory this process has".into()))
}

#[cfg(test)]
mod tests {
    use super::super::planted::failing;
    use super::*;

    #[test]
    fn a_plan_that_is_a_fifth_off_fails() {
        assert_eq!(failing(&judged(100.0, 100.0)), [""; 0]);
        assert_eq!(failing(&judged(100.0, 80.0)), ["off by"]);
        assert_eq!(failing(&judged(100.0, 120.0)), ["off by"]);
    }
}
