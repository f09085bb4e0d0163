//! What an optimiser keeps between runs: named tensors, whole or by parts.

use super::fused;
use super::optimizer::Optimizer;
use super::slot::Kept;
use crate::checkpoint::Ranges;
use crate::{Error, Result};
use std::collections::{BTreeMap, BTreeSet};
use tch::{Kind, Tensor};

impl Optimizer {
    /// All that the next step depends on: `step`, and for each parameter `NAME.exp_avg`, `NAME.exp_avg_sq` (in bytes with the scales of their blocks,
    /// `….absmax`) or Muon's `NAME.momentum_buffer`, and, where the parameter itself is not f32, `NAME.master`. The tensors share memory with the optimiser's. Those of a share are
    /// flat, and their names end with `@` and the place where the part begins.
    pub fn state(&self) -> Vec<(String, Tensor)> {
        let step = ("step".to_string(), self.steps.shallow_clone());
        let kept = self.slots.iter().flat_map(|slot| slot.state());
        std::iter::once(step).chain(kept.map(|kept| (kept.stored_name(), kept.tensor))).collect()
    }

    /// Takes up a state that [`state`](Self::state) gave of all there is: this share's part of it. Refuses names that are missing or too many
    /// and other shapes; then nothing has changed. Parameters with a master weight become its rounded copy.
    pub fn load_state(&mut self, state: Vec<(String, Tensor)>) -> Result<()> {
        let theirs: BTreeMap<String, Tensor> = state.into_iter().collect();
        let of = |name: &str| theirs.get(name).map(|tensor| (tensor.size(), tensor.kind()));
        let wanted = self.wanted(theirs.keys().map(String::as_str), of)?;
        let found = wanted.iter().map(|part| {
            let (from, len) = (part.start.unwrap_or(0), part.tensor.numel() as i64);
            part.fitting(theirs[&part.name].f_reshape([-1])?.f_narrow(0, from, len)?)
        });
        let found = found.collect::<Result<Vec<_>>>()?;
        fused::copy(&wanted.into_iter().map(|part| part.tensor).collect::<Vec<_>>(), &found)?;
        self.round()
    }

    /// The same of what lies in files, of which this share's part alone is read, one tensor after the other. What cannot be read leaves this
    /// half loaded.
    pub fn load_ranges(&mut self, state: &Ranges) -> Result<()> {
        for part in self.wanted(state.names(), |name| state.shape(name).zip(state.kind(name)))? {
            let (from, len) = (part.start.unwrap_or(0), part.tensor.numel() as i64);
            let found = part.fitting(state.read(&part.name, from, len)?)?;
            fused::copy(&[part.tensor], &[found])?;
        }
        self.round()
    }

    /// All that is remembered, as it has to be found among `names`, of which `of` gives shape and kind.
    fn wanted<'n>(
        &self,
        names: impl Iterator<Item = &'n str>,
        of: impl Fn(&str) -> Option<(Vec<i64>, Kind)>,
    ) -> Result<Vec<Kept>> {
        let steps =
            Kept { name: "step".into(), tensor: self.steps.shallow_clone(), size: vec![], start: None };
        let wanted: Vec<Kept> =
            std::iter::once(steps).chain(self.slots.iter().flat_map(|slot| slot.state())).collect();
        for part in &wanted {
            let found = of(&part.name).ok_or_else(|| mismatch(format!("{} is missing", part.name)))?;
            fits(&part.name, &found.0, &part.size)?;
            part.of_kind(found.1)?;
        }
        let known: BTreeSet<&str> = wanted.iter().map(|part| part.name.as_str()).collect();
        match names.into_iter().find(|name| !known.contains(name)) {
            Some(name) => Err(mismatch(format!("{name} belongs to no parameter of this model"))),
            None => Ok(wanted),
        }
    }
}

impl Kept {
    /// What was found for it, in its shape.
    fn fitting(&self, found: Tensor) -> Result<Tensor> {
        self.of_kind(found.kind())?;
        Ok(found.f_reshape(self.tensor.size())?)
    }

    fn of_kind(&self, found: Kind) -> Result<()> {
        match self.tensor.kind() {
            kind if kind == found => Ok(()),
            kind => Err(mismatch(format!(
                "{} is {found:?}, not {kind:?}: optim.moments says as what it is kept",
                self.name
            ))),
        }
    }
}

/// Refuses another shape; what was divided has none any more.
fn fits(name: &str, found: &[i64], size: &[i64]) -> Result<()> {
    match found == size || found == [size.iter().product::<i64>()] {
        true => Ok(()),
        false => Err(mismatch(format!("{name} is {found:?}, not {size:?}"))),
    }
}

fn mismatch(what: String) -> Error {
    Error::Checkpoint(format!("the optimiser state does not fit the model being trained: {what}"))
}
