//! What an optimiser keeps between runs: named tensors, whole or by parts.

use super::fused;
use super::optimizer::Optimizer;
use super::slot::Kept;
use crate::checkpoint::Ranges;
use crate::{Error, Result};
use std::collections::{BTreeMap, BTreeSet};
use tch::Tensor;

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
        self.take_up(theirs.keys().map(String::as_str), |name, size, start, len| {
            let Some(loaded) = theirs.get(name) else { return Ok(None) };
            fits(name, &loaded.size(), size)?;
            Ok(Some(loaded.f_reshape([-1])?.f_narrow(0, start, len)?))
        })
    }

    /// The same of what lies in files, of which this share's part alone is read.
    pub fn load_ranges(&mut self, state: &Ranges) -> Result<()> {
        self.take_up(state.names(), |name, size, start, len| {
            let Some(shape) = state.shape(name) else { return Ok(None) };
            fits(name, &shape, size)?;
            state.read(name, start, len).map(Some)
        })
    }

    /// `read` gives elements of a tensor by its name, the shape that it has to have, the first and their number.
    fn take_up<'n>(
        &mut self,
        names: impl Iterator<Item = &'n str>,
        read: impl Fn(&str, &[i64], i64, i64) -> Result<Option<Tensor>>,
    ) -> Result<()> {
        let mut known = BTreeSet::from(["step".to_string()]);
        let (mut mine, mut found) = (vec![self.steps.shallow_clone()], Vec::new());
        let take = |name: &str, size: &[i64], start: i64, own: &Tensor| {
            let loaded = read(name, size, start, own.numel() as i64)?;
            let loaded = loaded.ok_or_else(|| mismatch(format!("{name} is missing")))?;
            match loaded.kind() {
                kind if kind == own.kind() => Ok(loaded.f_reshape(own.size())?),
                kind => Err(mismatch(format!(
                    "{name} is {kind:?}, not {:?}: optim.moments says as what it is kept",
                    own.kind()
                ))),
            }
        };
        found.push(take("step", &[], 0, &self.steps)?);
        for slot in &self.slots {
            for Kept { name, tensor, size, start } in slot.state() {
                found.push(take(&name, &size, start.unwrap_or(0), &tensor)?);
                mine.push(tensor);
                known.insert(name);
            }
        }
        if let Some(name) = names.into_iter().find(|name| !known.contains(*name)) {
            return Err(mismatch(format!("{name} belongs to no parameter of this model")));
        }
        fused::copy(&mine, &found)?;
        self.round()
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
