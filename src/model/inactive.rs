//! Several adapters of one base, of which one is active at a time.

use super::{Adapter, Model};
use crate::{Error, Result};
use std::path::{Path, PathBuf};
use tch::Tensor;

/// Adapters that take no part at the moment, one for each linear map of each layer that has one.
#[derive(Debug)]
pub struct InactiveAdapters {
    /// What they are called.
    pub name: String,
    /// What the active ones in their place are called.
    other: String,
    adapters: Vec<Option<Adapter>>,
}

/// Gives tensors whole by their names, behind what stands before these.
type Whole<'a> = dyn FnMut(Vec<(String, Tensor)>, &str) -> Vec<(String, Tensor)> + 'a;

/// The folder of adapters called `name` beside that of the others.
fn beside(dir: &Path, name: &str) -> PathBuf {
    let own = dir.file_name().unwrap_or_default().to_string_lossy();
    dir.with_file_name(format!("{own}-{name}"))
}

impl Model {
    /// Adds further trainable adapters of the same kind, inactive, under the name `name`; those there are go by `other` from
    /// then on.
    pub fn add_inactive_adapter(&mut self, name: &str, other: &str, seed: u64) -> Result<()> {
        let Some(lora) = self.lora.clone() else {
            return Err(Error::Model("there is no adapter for another one to stand beside".into()));
        };
        let own = self.exchange(Vec::new());
        self.add_lora(&lora, seed)?;
        let adapters = self.exchange(own);
        self.inactive.push(InactiveAdapters { name: name.into(), other: other.into(), adapters });
        Ok(())
    }

    /// Lets the adapters called `name` take part in place of the active ones; nothing, where they are active already.
    pub fn set_active_adapter(&mut self, name: &str) -> Result<()> {
        if let Some(at) = self.inactive.iter().position(|inactive| inactive.name == name) {
            let adapters = std::mem::take(&mut self.inactive[at].adapters);
            let adapters = self.exchange(adapters);
            let inactive = &mut self.inactive[at];
            inactive.adapters = adapters;
            std::mem::swap(&mut inactive.name, &mut inactive.other);
            return Ok(());
        }
        match self.inactive.iter().any(|inactive| inactive.other == name) {
            true => Ok(()),
            false => Err(Error::Model(format!("the model has no adapters called {name}"))),
        }
    }

    /// The name of the adapters that are in use, where there are several.
    pub fn active_adapter(&self) -> Option<String> {
        self.inactive.first().map(|inactive| inactive.other.clone())
    }

    /// Puts these adapters, one for each linear map or none at all, in the place of those there are.
    fn exchange(&mut self, adapters: Vec<Option<Adapter>>) -> Vec<Option<Adapter>> {
        let mut new = adapters.into_iter();
        let linears = self.layers.iter_mut().flat_map(|layer| layer.linears_mut());
        linears.map(|linear| std::mem::replace(&mut linear.adapter, new.next().flatten())).collect()
    }

    /// The tensors of the inactive adapters, their name in front of peft's.
    pub(super) fn inactive_adapters(&self) -> Vec<(String, Tensor)> {
        let of = |inactive: &InactiveAdapters| {
            let all = self.named(inactive.adapters.iter().map(Option::as_ref));
            all.into_iter()
                .map(|(name, tensor)| (format!("{}.{name}", inactive.name), tensor))
                .collect::<Vec<_>>()
        };
        self.inactive.iter().flat_map(of).collect()
    }

    /// Reads the inactive adapters, each from the folder that [`Model::save_adapters`] wrote for it beside `dir`.
    pub(super) fn load_inactive(&mut self, dir: &Path) -> Result<()> {
        for at in 0..self.inactive.len() {
            let own = self.exchange(Vec::new());
            self.read_adapters(&beside(dir, &self.inactive[at].name))?;
            self.inactive[at].adapters = self.exchange(own);
        }
        Ok(())
    }

    /// Writes the inactive adapters, each into a folder beside `dir`: what `whole` has of them by name, behind what stands before it.
    pub(super) fn save_inactive(&self, dir: &Path, whole: &mut Whole) -> Result<()> {
        self.inactive.iter().try_for_each(|inactive| {
            let tensors = self.named(inactive.adapters.iter().map(Option::as_ref));
            let tensors = whole(tensors, &format!("{}.", inactive.name));
            self.write_adapters(&beside(dir, &inactive.name), tensors)
        })
    }
}
