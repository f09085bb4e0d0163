//! Writing a model that is divided among ranks: a plain model folder, a file a unit, of which each rank writes its share.

use super::block::Part;
use super::shards::{OUTSIDE, Shards};
use super::stored::{INDEX, SINGLE};
use super::weights::{bytes_of, remove, write_json, write_tensors};
use super::{Model, names};
use crate::{Error, Result};
use serde_json::json;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use tch::Tensor;

impl Model {
    /// Whether this rank writes what belongs to a model beside its weights; that of a model which is not divided does.
    pub fn is_first(&self) -> bool {
        self.shards.as_ref().is_none_or(|shards| shards.ranks.is_first())
    }

    /// Writes the model into the folder `dir`, all ranks together: units come one after the other, and as many ranks as there are write one
    /// each at the same time.
    pub(super) fn save_together(&self, shards: &Shards, dir: &Path) -> Result<()> {
        let ranks = &shards.ranks;
        let count = shards.last() + 1;
        let file = |at: usize| format!("model-{:05}-of-{count:05}.safetensors", at + 1);
        let mut written = std::fs::create_dir_all(dir).map_err(Error::io(dir));
        let mut own: Option<(usize, Vec<(String, Tensor)>)> = None;
        shards.each(|at| {
            if at % ranks.count() == ranks.rank() {
                own = Some((at, self.stored_unit(at)));
            }
            // What fails on one rank is said once the others need it no more.
            let due = (at + 1).is_multiple_of(ranks.count()) || at == shards.last();
            if due && let (Ok(()), Some((at, tensors))) = (&written, own.take()) {
                written = write_tensors(&dir.join(file(at)), tensors);
            }
        })?;
        written?;
        if !ranks.is_first() {
            return Ok(());
        }
        let (mut files, mut total) = (BTreeMap::new(), 0);
        for (name, tensor) in self.tensors() {
            total += bytes_of(&tensor);
            let names = names::parts(&name, tensor.size()[0]).unwrap_or_else(|| vec![name.clone()]);
            files.extend(names.into_iter().map(|stored| (stored, file(self.unit_of(&name)))));
        }
        write_json(&dir.join(INDEX), &json!({"metadata": {"total_size": total}, "weight_map": files}))?;
        remove(&dir.join(SINGLE))?;
        self.save_config(dir)
    }

    /// The unit that the tensor called `name` belongs to.
    pub(super) fn unit_of(&self, name: &str) -> usize {
        let layer = (0..self.layers.len()).find(|at| name.contains(&self.config.layer_name(*at, "")));
        layer.map_or(OUTSIDE, |layer| layer + 1)
    }

    /// Copies of a unit's tensors as a checkpoint has them, adapters merged.
    fn stored_unit(&self, at: usize) -> Vec<(String, Tensor)> {
        let mut merged = HashMap::new();
        if let (true, Some(layer)) = (self.adapted, at.checked_sub(1)) {
            for part in self.layers[layer].parts() {
                if let Part::Linear(linear) = part {
                    let name = self.config.layer_name(layer, &format!("{}.weight", linear.name));
                    merged.insert(name, linear.merged());
                }
            }
        }
        let own = self.tensors().into_iter().filter(|(name, _)| self.unit_of(name) == at);
        let own = own.map(|(name, tensor)| (merged.remove(&name).unwrap_or(tensor), name));
        let apart = |(tensor, name): (Tensor, String)| match names::parts(&name, tensor.size()[0]) {
            Some(names) => names.into_iter().zip(tensor.unbind(0)).collect(),
            None => vec![(name, tensor)],
        };
        own.flat_map(apart).map(|(name, tensor)| (name, tensor.detach().copy())).collect()
    }

    /// The tensors `named`, whole: of a divided model copies, on the first rank alone, and none on others.
    pub(super) fn collected(&self, named: Vec<(String, Tensor)>) -> Result<Vec<(String, Tensor)>> {
        let Some(shards) = &self.shards else { return Ok(named) };
        let mut copies: HashMap<String, Tensor> = HashMap::new();
        shards.each(|at| {
            if shards.ranks.is_first() {
                let own = named.iter().filter(|(name, _)| self.unit_of(name) == at);
                copies.extend(own.map(|(name, tensor)| (name.clone(), tensor.detach().copy())));
            }
        })?;
        let copied = |(name, _)| copies.remove(&name).map(|tensor| (name, tensor));
        Ok(named.into_iter().filter_map(copied).collect())
    }
}
