//! Several adapters of one base, of which one takes part at a time: the others rest until it is their turn.

use super::{Adapter, Layer, Model};
use crate::{Error, Result};
use std::path::{Path, PathBuf};
use tch::Tensor;

/// Adapters that take no part at the moment, one for each linear map of each layer that has one.
#[derive(Debug)]
pub struct Resting {
    /// What they are called.
    pub name: String,
    /// What those that take part in their place are called.
    other: String,
    adapters: Vec<Option<Adapter>>,
}

/// The folder of adapters called `name` beside that of the others.
fn beside(dir: &Path, name: &str) -> PathBuf {
    let own = dir.file_name().unwrap_or_default().to_string_lossy();
    dir.with_file_name(format!("{own}-{name}"))
}

impl Model {
    /// Adds further trainable adapters of the same kind, which rest under the name `name`; those there are go by `other` from
    /// then on.
    pub fn add_resting(&mut self, name: &str, other: &str, seed: u64) -> Result<()> {
        let Some(lora) = self.lora.clone() else {
            return Err(Error::Model("there is no adapter for another one to stand beside".into()));
        };
        let own = self.exchange(Vec::new());
        self.add_lora(&lora, seed)?;
        let adapters = self.exchange(own);
        self.resting.push(Resting { name: name.into(), other: other.into(), adapters });
        Ok(())
    }

    /// Lets the adapters called `name` take part in place of those that do; nothing, where they do already.
    pub fn turn_to(&mut self, name: &str) -> Result<()> {
        if let Some(at) = self.resting.iter().position(|resting| resting.name == name) {
            let adapters = std::mem::take(&mut self.resting[at].adapters);
            let adapters = self.exchange(adapters);
            let resting = &mut self.resting[at];
            resting.adapters = adapters;
            std::mem::swap(&mut resting.name, &mut resting.other);
            return Ok(());
        }
        match self.resting.iter().any(|resting| resting.other == name) {
            true => Ok(()),
            false => Err(Error::Model(format!("the model has no adapters called {name}"))),
        }
    }

    /// Puts these adapters, one for each linear map or none at all, in the place of those there are.
    fn exchange(&mut self, adapters: Vec<Option<Adapter>>) -> Vec<Option<Adapter>> {
        let mut new = adapters.into_iter();
        let linears = self.layers.iter_mut().flat_map(Layer::linears_mut);
        linears.map(|(_, linear)| std::mem::replace(&mut linear.adapter, new.next().flatten())).collect()
    }

    /// The tensors of the adapters that rest, their name in front of peft's.
    pub(super) fn resting_adapters(&self) -> Vec<(String, Tensor)> {
        let of = |resting: &Resting| {
            let all = self.named(resting.adapters.iter().map(Option::as_ref));
            all.into_iter()
                .map(|(name, tensor)| (format!("{}.{name}", resting.name), tensor))
                .collect::<Vec<_>>()
        };
        self.resting.iter().flat_map(of).collect()
    }

    /// Reads the adapters that rest, each from the folder that [`Model::save_adapters`] wrote for it beside `dir`.
    pub(super) fn load_resting(&mut self, dir: &Path) -> Result<()> {
        for at in 0..self.resting.len() {
            let own = self.exchange(Vec::new());
            self.read_adapters(&beside(dir, &self.resting[at].name))?;
            self.resting[at].adapters = self.exchange(own);
        }
        Ok(())
    }

    /// Writes the adapters that rest, each into a folder beside `dir`.
    pub(super) fn save_resting(&self, dir: &Path) -> Result<()> {
        self.resting.iter().try_for_each(|resting| {
            let tensors = self.named(resting.adapters.iter().map(Option::as_ref));
            self.write_adapters(&beside(dir, &resting.name), tensors)
        })
    }
}
