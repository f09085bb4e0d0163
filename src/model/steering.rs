//! What is added to the states behind layers while a model computes, and never learned: a direction in what it does, such as from long reasoning
//! to short (Efficiency Steering, arXiv 2506.15647).

use super::stored::{Stored, Taking};
use super::{Config, Model};
use crate::{Error, Result};
use std::path::Path;
use tch::{Device, Kind, Tensor};

/// What is added to every token's state behind each layer.
#[derive(Debug)]
pub struct Steering {
    /// `[hidden]` a layer, its strength in it; none behind layers that are left as they are.
    layers: Vec<Option<Tensor>>,
}

impl Steering {
    /// The output `x [tokens, hidden]` of a layer, steered.
    pub(super) fn added(&self, layer: usize, x: Tensor) -> Tensor {
        match &self.layers[layer] {
            None => x,
            Some(direction) => x + direction,
        }
    }

    /// The same, each tensor put through `change`.
    pub(super) fn map(&self, change: impl Fn(&Tensor) -> Tensor) -> Self {
        Self { layers: self.layers.iter().map(|layer| layer.as_ref().map(&change)).collect() }
    }
}

impl Model {
    /// From here on x + λ v^l stands where x stood behind layer l, v^l being row l of `direction [layers, hidden]` and λ the `strength`: for the
    /// `layers` that are named, counted from 1, or for all where none is. Whatever the model computes is steered, sampled tokens and read ones.
    ///
    /// # Errors
    /// A layer that is not there.
    pub fn steer(&mut self, direction: &Tensor, strength: f64, layers: &[usize]) -> Result<()> {
        let (depth, kind, device) = (self.layers.len(), self.kind(), self.device());
        assert_eq!(direction.size(), [depth as i64, self.config.hidden_size as i64], "a row a layer");
        if let Some(layer) = layers.iter().find(|layer| !(1..=depth).contains(layer)) {
            return Err(Error::Recipe(format!("policy.steer.layers: there is no layer {layer} of {depth}")));
        }
        let row = |at: usize| {
            let steered = layers.is_empty() || layers.contains(&(at + 1));
            let scaled = || direction.get(at as i64).to_kind(Kind::Float) * strength;
            steered.then(|| scaled().to_device(device).to_kind(kind))
        };
        self.steering = Some(Steering { layers: (0..depth).map(row).collect() });
        Ok(())
    }

    /// The direction in a safetensors file: its one tensor, `[layers, hidden]`.
    ///
    /// # Errors
    /// A file that is none, or is of a model of another shape.
    pub fn read_direction(&self, path: &Path) -> Result<Tensor> {
        direction(path, &self.config, Taking::numbers(Kind::Float, Device::Cpu))
    }
}

impl Config {
    /// Refuses the file of a direction that [`Model::read_direction`] refuses.
    ///
    /// # Errors
    /// As it.
    pub fn look_at_direction(&self, path: &Path) -> Result<()> {
        direction(path, self, Taking::OUTLINES).map(|_| ())
    }
}

/// The one tensor of a file.
fn direction(path: &Path, shape: &Config, taking: Taking) -> Result<Tensor> {
    let mut stored = Stored::one(path.to_path_buf(), taking)?;
    let names = stored.names();
    let [name] = names.as_slice() else {
        return Err(Error::Model(format!(
            "{}: a direction is one tensor, and this file has {}",
            path.display(),
            names.len()
        )));
    };
    stored.take(name, &[shape.num_hidden_layers as i64, shape.hidden_size as i64])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Grad;
    use crate::near::far;

    /// Rows of different numbers: 0 … 15, 16 … 31, 32 … 47, over 100.
    fn direction() -> Tensor {
        Tensor::arange(48, (Kind::Float, Device::Cpu)).view([3, 16]) / 100.0
    }

    /// Behind the steered layer the states are those from before and λ v; layers below it are as they were, and layers above compute on.
    #[test]
    fn a_direction_is_added_behind_the_layers_that_are_named() {
        let mut model = Model::tiny(3);
        let (tokens, places) = ([3u32, 5, 7, 9], [1usize, 3]);
        let before = model.read_layers(&[&tokens], &[&places]).unwrap();
        model.steer(&direction(), -2.0, &[2]).unwrap();
        let steered = model.read_layers(&[&tokens], &[&places]).unwrap();
        let by = direction().get(1).unsqueeze(0) * -2.0;
        assert!(far(&steered.narrow(0, 0, 2), &before.narrow(0, 0, 2)) < 1e-6);
        assert!(far(&steered.get(2), &(before.get(2) + &by)) < 1e-5);
        assert!(far(&steered.get(3), &before.get(3)) > 1e-2);
        // The last layer alone: what is read of it and predicted is of the sum.
        model.steer(&direction(), 1.0, &[3]).unwrap();
        let read = model.read(&[&tokens], &[&places], Grad::No).unwrap();
        let expected = model.normalised(&(before.get(3) + direction().get(2).unsqueeze(0)));
        assert!(far(&read.states, &expected) < 1e-5);
        // Of no strength, or of none at all, nothing changes.
        model.steer(&direction(), 0.0, &[]).unwrap();
        assert!(far(&model.read_layers(&[&tokens], &[&places]).unwrap(), &before) < 1e-6);
        assert!(model.steer(&direction(), 1.0, &[4]).unwrap_err().to_string().contains("no layer 4 of 3"));
    }

    /// All layers: a copy computes the same.
    #[test]
    fn a_copy_is_steered_too() {
        let mut model = Model::tiny(3);
        let plain = model.copy(Kind::Float, Device::Cpu);
        model.steer(&direction(), 1.0, &[]).unwrap();
        let copy = model.copy(Kind::Float, Device::Cpu);
        let read = |model: &Model| model.read(&[&[3, 5, 7]], &[&[2]], Grad::No).unwrap().states;
        assert!(far(&read(&model), &read(&copy)) < 1e-6);
        assert!(far(&read(&model), &read(&plain)) > 1e-2);
        assert!(far(&read(&model.merged()), &read(&model)) < 1e-6);
    }

    #[test]
    fn a_direction_is_read_of_a_file_of_one_tensor() {
        let model = Model::tiny(3);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("direction.safetensors");
        let write = |tensors: &[(&str, Tensor)]| {
            let tensors: Vec<(String, Tensor)> =
                tensors.iter().map(|(name, tensor)| (name.to_string(), tensor.shallow_clone())).collect();
            super::super::weights::write_tensors(&path, tensors).unwrap();
        };
        write(&[("any", direction())]);
        assert!(far(&model.read_direction(&path).unwrap(), &direction()) == 0.0);
        assert!(model.config.look_at_direction(&path).is_ok());
        let told = |what: &str| {
            let said = model.read_direction(&path).unwrap_err().to_string();
            assert_eq!(model.config.look_at_direction(&path).unwrap_err().to_string(), said);
            assert!(said.contains(what), "{said}");
        };
        write(&[("any", direction().narrow(0, 0, 2))]);
        told("has shape [2, 16]");
        write(&[("a", direction()), ("b", direction())]);
        told("one tensor, and this file has 2");
    }
}
