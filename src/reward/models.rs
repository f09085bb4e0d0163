//! What a reward may ask: the policy as it is now, and models of its own, which are loaded where the recipe places them.

use crate::data::{Hub, Tokenizer};
use crate::devices::kind_beside;
use crate::policy::{Policy, RewardModel};
use crate::ranks::Served;
use anyhow::Context;
use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};
use tch::{Device, Kind};

/// What a reward may ask.
///
/// A model is asked by token ids and answers in plain numbers. It lays what it reads on its own device and brings back what it says, so that a
/// reward never has tensors of two devices in its hands.
#[derive(Debug, Clone, Copy)]
pub struct Models<'a> {
    policy: Option<&'a Policy>,
    tokenizer: Option<&'a Tokenizer>,
    /// Where the models of the reward that is asked lie.
    place: &'a Place,
    /// What texts were as vectors of the policy.
    embedded: Option<&'a Embedded>,
    /// Tokens that go through a model together.
    pub budget: usize,
}

/// Where the models of a reward lie.
#[derive(Debug, Clone, Default)]
pub(super) enum Place {
    /// On the policy's device.
    #[default]
    WithPolicy,
    /// On this device.
    On(Device),
    /// On ranks of their own.
    Served(Arc<Served>),
}

/// What texts were as vectors of a model whose weights have stayed as they are since.
#[derive(Debug, Default)]
pub(super) struct Embedded(Mutex<HashMap<String, Vec<f64>>>);

impl Embedded {
    /// The vectors of `texts`, of which `embed` is asked for those that are new, each once.
    fn of(
        &self,
        texts: &[&str],
        embed: impl FnOnce(&[&str]) -> anyhow::Result<Vec<Vec<f64>>>,
    ) -> anyhow::Result<Vec<Vec<f64>>> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let new: BTreeSet<&str> = texts.iter().copied().filter(|text| !known.contains_key(*text)).collect();
        let new = Vec::from_iter(new);
        if !new.is_empty() {
            let vectors = embed(&new)?;
            known.extend(new.iter().map(|text| text.to_string()).zip(vectors));
        }
        Ok(texts.iter().map(|text| known[*text].clone()).collect())
    }
}

impl<'a> Models<'a> {
    /// Nothing: for rewards that read texts alone.
    pub fn none() -> Self {
        Self { policy: None, tokenizer: None, place: &Place::WithPolicy, embedded: None, budget: 0 }
    }

    /// The policy as it is now, and the tokens that go through a model together.
    pub fn of(policy: &'a Policy, budget: usize) -> Self {
        Self { policy: Some(policy), tokenizer: Some(&policy.tokenizer), budget, ..Self::none() }
    }

    /// The policy's tokenizer, in a thread of its own.
    pub(crate) fn tokenizing(tokenizer: Option<&'a Tokenizer>) -> Self {
        Self { tokenizer, ..Self::none() }
    }

    /// The same, with one memory for all rewards of what texts are as vectors of the policy; its weights stay as they are meanwhile.
    pub(super) fn remembering<'b>(&self, embedded: &'b Embedded) -> Models<'b>
    where
        'a: 'b,
    {
        Models { embedded: Some(embedded), ..*self }
    }

    /// Texts as vectors ([`Policy::embed`]) of a section's own model, where it has one, or else of the policy, which reads each text once however
    /// many rewards ask.
    pub(super) fn embed(&self, own: Option<&Policy>, texts: &[&str]) -> anyhow::Result<Vec<Vec<f64>>> {
        match (own, self.embedded) {
            (Some(own), _) => Ok(own.embed(texts, self.budget)?),
            (None, None) => Ok(self.policy()?.embed(texts, self.budget)?),
            (None, Some(embedded)) => embedded.of(texts, |new| Ok(self.policy()?.embed(new, self.budget)?)),
        }
    }

    /// The same for a reward whose models lie at `place`.
    pub(super) fn placed<'b>(&self, place: &'b Place) -> Models<'b>
    where
        'a: 'b,
    {
        Models { place, ..*self }
    }

    /// The policy as it is now.
    pub fn policy(&self) -> anyhow::Result<&'a Policy> {
        self.policy.context("it needs the policy, and was asked without one")
    }

    /// The policy's tokenizer.
    pub fn tokenizer(&self) -> anyhow::Result<&'a Tokenizer> {
        self.tokenizer.context("it needs the policy's tokenizer, and was asked without one")
    }

    /// The number format and the device of a model that is loaded for this reward: the policy's, but where the recipe says otherwise (`devices.reward`, or the
    /// reward's own `device`).
    pub fn place(&self) -> anyhow::Result<(Kind, Device)> {
        let policy = &self.policy()?.model;
        let (kind, device) = (policy.kind(), policy.device());
        Ok(match self.place {
            Place::On(own) => (kind_beside(kind, device, *own), *own),
            Place::WithPolicy | Place::Served(_) => (kind, device),
        })
    }

    /// Loads the model that a section names into its `slot`, where it is not there yet.
    pub(super) fn load(&self, slot: &mut Option<Policy>, model: Option<&str>) -> anyhow::Result<()> {
        if let (Some(model), None) = (model, &slot) {
            *slot = Some(self.open(model, 1)?);
        }
        Ok(())
    }

    /// A section's own model, where it has one, or else the policy.
    pub(super) fn judge<'b>(&'b self, own: Option<&'b Policy>) -> anyhow::Result<&'b Policy> {
        own.map_or_else(|| self.policy(), Ok)
    }

    /// Loads a model that generates beside the policy, at its [`place`](Self::place): a folder or a hub id, for `slots` sequences at
    /// once.
    pub(super) fn open(&self, model: &str, slots: usize) -> anyhow::Result<Policy> {
        let (kind, device) = self.place()?;
        Ok(Policy::load(&Hub::from_env().model(model)?, kind, device, slots)?)
    }

    /// Loads a reward model, a folder or a hub id, at its [`place`](Self::place), or reaches the ranks that hold it.
    pub(super) fn open_scoring(&self, model: &str) -> anyhow::Result<RewardModel> {
        let folder = Hub::from_env().model(model)?;
        let (kind, device) = self.place()?;
        Ok(match self.place {
            Place::Served(served) => RewardModel::served(model, &folder, kind, served.clone())?,
            Place::On(_) | Place::WithPolicy => RewardModel::load(&folder, kind, device)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Init;

    /// Nothing is read twice, and what is read is what the model says by itself.
    #[test]
    fn a_text_is_read_once_however_many_ask() {
        let init = Init { hidden_size: 16, layers: 1, heads: 2, kv_heads: 1, ..Init::default() };
        let policy = init.make(Kind::Float, Device::Cpu, 3, 1).unwrap();
        let plain = Models::of(&policy, 64);
        let embedded = Embedded::default();
        let remembering = plain.remembering(&embedded);
        let alone = policy.embed(&["two"], 64).unwrap();
        let first = remembering.embed(None, &["one", "two", "one"]).unwrap();
        assert_eq!((&first[0], first.len()), (&first[2], 3));
        assert!(first[1].iter().zip(&alone[0]).all(|(found, alone)| (found - alone).abs() < 1e-6));
        let read = std::cell::RefCell::new(vec![]);
        let again = embedded.of(&["two", "three", "one", "three"], |new| {
            read.borrow_mut().extend(new.iter().map(|text| text.to_string()));
            Ok(policy.embed(new, 64)?)
        });
        assert_eq!(read.into_inner(), ["three"]);
        assert_eq!(again.unwrap()[..1], first[1..2]);
        // A model of a section's own is another.
        let other = init.make(Kind::Float, Device::Cpu, 4, 1).unwrap();
        assert_ne!(remembering.embed(Some(&other), &["one"]).unwrap()[0], first[0]);
        assert!(Models::none().embed(None, &["one"]).is_err());
    }

    /// A device that this machine may not have shows that what is asked for is what the recipe says and not the policy's.
    #[test]
    fn a_model_is_asked_for_on_the_device_that_is_named() {
        let init = Init { hidden_size: 16, layers: 1, heads: 2, kv_heads: 1, ..Init::default() };
        let policy = init.make(Kind::BFloat16, Device::Cpu, 3, 1).unwrap();
        let models = Models::of(&policy, 64);
        let at = |place: &Place| models.placed(place).place().unwrap();
        assert_eq!(at(&Place::WithPolicy), (Kind::BFloat16, Device::Cpu));
        assert_eq!(at(&Place::On(Device::Cpu)), (Kind::BFloat16, Device::Cpu));
        assert_eq!(at(&Place::On(Device::Cuda(3))).1, Device::Cuda(3));
        assert!(Models::none().place().is_err());
    }
}
