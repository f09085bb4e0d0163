//! A checkpoint of weights and optimiser, written to disk and read again: the same bits, and training goes on from it as if nothing
//! had been.

use super::tiny::{self, distance, greatest};
use super::{Bench, Figure};
use crate::checkpoint::{load_tensors, save_tensors};
use crate::error::{Error, Result};
use crate::model::{Grad, Model};
use crate::optim::{Optim, Optimizer};
use std::path::Path;
use tch::{Device, Kind, Tensor};

const BITS: &str = "a file holds every bit";
const SAME: &str = "on the CPU the same steps are the same arithmetic";
const ATOMIC: &str = "on CUDA some sums are added in whatever order they come";
const STEPS: usize = 3;

/// As the first line says, in f32 and in bf16 with f32 masters.
pub fn check(bench: &Bench) -> Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for (name, kind) in [("f32", Kind::Float), ("bf16", Kind::BFloat16)] {
        let mut straight = Training::new(kind, bench.device)?;
        straight.go(STEPS)?;
        let folder = tempfile::tempdir().map_err(Error::io(std::env::temp_dir()))?;
        straight.save(folder.path())?;
        let mut resumed = Training::read(folder.path(), kind, bench.device)?;
        let lost = different(&resumed.tensors(), &straight.tensors());
        figures.push(Figure::at_most(format!("numbers changed, {name}"), lost, 0.0, BITS));
        straight.go(STEPS)?;
        resumed.go(STEPS)?;
        figures.push(gone_on(name, &resumed.tensors(), &straight.tensors(), bench.device));
    }
    Ok(figures)
}

struct Training {
    model: Model,
    optim: Optimizer,
}

impl Training {
    fn new(kind: Kind, device: Device) -> Result<Self> {
        Self::of(tiny::model(kind, device)?)
    }

    fn of(model: Model) -> Result<Self> {
        model.train_all();
        let optim = Optimizer::new(model.parameters(), &Optim::default())?;
        Ok(Self { model, optim })
    }

    fn go(&mut self, steps: usize) -> Result<()> {
        (0..steps).try_for_each(|_| step(&self.model, &mut self.optim).map(drop))
    }

    fn save(&self, folder: &Path) -> Result<()> {
        self.model.save(folder)?;
        save_tensors(folder.join("optimizer.safetensors"), &self.optim.state())
    }

    fn read(folder: &Path, kind: Kind, device: Device) -> Result<Self> {
        let mut read = Self::of(Model::load(folder, kind, device)?)?;
        read.optim.load_state(load_tensors(folder.join("optimizer.safetensors"))?)?;
        Ok(read)
    }

    /// Copies: training writes into its tensors.
    fn tensors(&self) -> Vec<(String, Tensor)> {
        let all = self.model.tensors().into_iter().chain(self.optim.state());
        all.map(|(name, tensor)| (name, tensor.detach().copy())).collect()
    }
}

/// One update on the tiny sequences; the loss before it.
pub fn step(model: &Model, optim: &mut Optimizer) -> Result<f64> {
    let scored = model.score(&tiny::sequences(), 1.0, Grad::Yes)?;
    let loss = -scored.logprobs.mean(Kind::Float);
    let before = loss.double_value(&[]);
    scored.backward(&loss)?;
    optim.accumulate()?;
    optim.clip(1.0)?;
    optim.step(1e-3)?;
    optim.zero_grad()?;
    Ok(before)
}

/// How many numbers are not the same, of whatever kind they are.
fn different(a: &[(String, Tensor)], b: &[(String, Tensor)]) -> f64 {
    if a.len() != b.len() {
        return f64::NAN;
    }
    let of = |((name, a), (other, b)): (&(String, Tensor), &(String, Tensor))| match name == other
        && a.size() == b.size()
        && a.kind() == b.kind()
    {
        true => a.ne_tensor(b).sum(Kind::Int64).double_value(&[]),
        false => f64::NAN,
    };
    a.iter().zip(b).map(of).sum()
}

fn gone_on(name: &str, a: &[(String, Tensor)], b: &[(String, Tensor)], device: Device) -> Figure {
    let name = format!("after {STEPS} more steps, {name}");
    match device.is_cuda() {
        false => Figure::at_most(name, different(a, b), 0.0, SAME),
        true if a.len() != b.len() => Figure::at_most(name, f64::NAN, 0.0, SAME),
        true => {
            let apart = a.iter().zip(b).map(|((_, a), (_, b))| distance(a, b));
            Figure::at_most(name, greatest(apart), 1e-2, ATOMIC)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_bit_or_one_step_more_fails() {
        let mut training = Training::new(Kind::BFloat16, Device::Cpu).unwrap();
        training.go(1).unwrap();
        let (right, wrong) = (training.tensors(), training.tensors());
        assert_eq!(different(&right, &wrong), 0.0);
        let last = wrong.len() - 1;
        // The lowest bit of one f32.
        let one = wrong[last].1.flatten(0, -1).narrow(0, 0, 1);
        let bits = Vec::<f32>::try_from(&one).unwrap()[0].to_bits() ^ 1;
        one.shallow_clone().copy_(&Tensor::from_slice(&[f32::from_bits(bits)]));
        assert_eq!(different(&right, &wrong), 1.0);
        training.go(1).unwrap();
        for device in [Device::Cpu, Device::Cuda(0)] {
            assert!(gone_on("", &right, &right, device).passes());
            assert!(!gone_on("", &right, &training.tensors(), device).passes());
            assert!(!gone_on("", &right, &right[1..], device).passes());
        }
        assert!(different(&right, &right[1..]).is_nan());
    }
}
