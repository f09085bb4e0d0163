//! What a policy expects of what it is writing: a head that reads a value off its states (Ziegler et al. 2019, arXiv 1909.08593).

use super::heads::Projection;
use super::stored::{Stored, Taking};
use super::{Model, weights};
use crate::Result;
use std::path::Path;
use tch::Tensor;

/// The file beside the weights that holds it: whoever loads the folder without it has the policy alone.
pub const FILE: &str = "value.safetensors";

const NAME: &str = "value";
const WEIGHT: &str = "value.weight";
const BIAS: &str = "value.bias";
const SCALE: &str = "value.scale";

/// A projection of states to one number.
#[derive(Debug)]
pub struct ValueHead {
    /// What times `scale` are the head's weights, `[1, hidden]` with a bias `[1]`.
    pub projection: Projection,
    /// An optimiser that moves each number by its learning rate moves the head's weights by so many times that.
    pub scale: f64,
}

impl ValueHead {
    /// By name, shared.
    pub fn tensors(&self) -> Vec<(String, Tensor)> {
        self.projection.tensors(NAME)
    }

    /// The value at each of `states [n, hidden]`, `[n]` in f32.
    pub fn of(&self, states: &Tensor) -> Tensor {
        self.projection.of(states).squeeze_dim(-1) * self.scale
    }

    /// The same, each tensor put through `change`.
    pub(super) fn map(&self, change: impl Fn(&Tensor) -> Tensor) -> Self {
        Self { projection: self.projection.map(change), scale: self.scale }
    }

    /// Writes its file into the folder `dir`.
    pub(super) fn save(&self, dir: &Path) -> Result<()> {
        let scale = (SCALE.to_string(), Tensor::from_slice(&[self.scale as f32]));
        weights::write_tensors(&dir.join(FILE), self.tensors().into_iter().chain([scale]).collect())
    }

    /// What the folder `dir` holds of it, if it does, for states of `hidden` numbers.
    pub(super) fn load(dir: &Path, hidden: usize, taking: Taking) -> Result<Option<Self>> {
        let Some(mut stored) = Stored::beside(dir.join(FILE), taking)? else { return Ok(None) };
        let scale = stored.take(SCALE, &[1])?.double_value(&[0]);
        let mut of = |name: &str, shape: &[i64]| stored.take_as(name, shape);
        let (weight, bias) = (of(WEIGHT, &[1, hidden as i64])?, of(BIAS, &[1])?);
        stored.nothing_left(None)?;
        Ok(Some(Self { projection: Projection { weight, bias: Some(bias) }, scale }))
    }
}

impl Model {
    /// Gives the model a value head, where it has none yet. It is 0 everywhere at first, so that what is then expected is nothing, and
    /// not noise.
    pub fn add_value(&mut self, scale: f64) {
        if self.value.is_some() {
            return;
        }
        let zeros = |shape: &[i64]| Tensor::zeros(shape, (self.kind(), self.device()));
        let weight = zeros(&[1, self.config.hidden_size as i64]);
        self.value = Some(ValueHead { projection: Projection { weight, bias: Some(zeros(&[1])) }, scale });
    }

    /// Reads the value head from the model folder `dir` again, where there is one.
    pub fn load_value(&mut self, dir: &Path) -> Result<()> {
        if self.value.is_some() {
            let taking = Taking::numbers(self.kind(), self.device());
            self.value = ValueHead::load(dir, self.config.hidden_size, taking)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tch::{Device, Kind};

    #[test]
    fn it_begins_with_nothing_and_is_the_projection_times_its_scale() {
        let mut model = Model::tiny(1);
        model.add_value(4.0);
        let hidden = model.config.hidden_size as i64;
        let states = Tensor::ones([2, hidden], (Kind::Float, Device::Cpu));
        let values = || Vec::<f32>::try_from(model.value.as_ref().unwrap().of(&states)).unwrap();
        assert_eq!(values(), [0.0, 0.0]);
        let projection = &model.value.as_ref().unwrap().projection;
        let _ = projection.weight.shallow_clone().fill_(0.5);
        let _ = projection.bias.as_ref().unwrap().shallow_clone().fill_(-1.0);
        // (½ · hidden − 1) · 4 of states of ones.
        let expected = (0.5 * hidden as f32 - 1.0) * 4.0;
        assert_eq!(values(), [expected, expected]);
    }

    #[test]
    fn it_is_saved_in_a_file_of_its_own_and_comes_back() {
        let dir = tempfile::tempdir().unwrap();
        let mut model = Model::tiny(2);
        model.save(dir.path()).unwrap();
        let plain = std::fs::read(dir.path().join("model.safetensors")).unwrap();
        model.add_value(8.0);
        let _ = model.value.as_ref().unwrap().projection.weight.shallow_clone().fill_(0.25);
        model.save(dir.path()).unwrap();
        assert!(plain == std::fs::read(dir.path().join("model.safetensors")).unwrap());
        let mut again = Model::load(dir.path(), Kind::Float, Device::Cpu).unwrap();
        let (one, other) = (model.value.as_ref().unwrap(), again.value.as_ref().unwrap());
        assert_eq!(other.scale, 8.0);
        assert!(one.tensors().iter().zip(other.tensors()).all(|((a, x), (b, y))| *a == b && x.equal(&y)));
        // One that is there is kept, with its scale.
        again.add_value(1.0);
        assert_eq!(again.value.as_ref().unwrap().scale, 8.0);
        let copy = again.copy(Kind::Float, Device::Cpu).value.unwrap();
        assert!(copy.projection.weight.equal(&one.projection.weight));
        // A model that expects nothing leaves no head of another.
        Model::tiny(2).save(dir.path()).unwrap();
        assert!(!dir.path().join(FILE).exists());
    }
}
