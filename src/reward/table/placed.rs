//! Where the models of rewards lie: as the recipe has it, found on this machine.

use super::Rewards;
use super::weighted::Weighted;
use crate::devices::{Devices, present};
use crate::ranks::{Local, Served};
use crate::reward::{MachineWant, Place, Reward};
use crate::{Error, Result};
use std::sync::Arc;
use tch::Device;

/// A model that a reward loads beside the policy.
#[derive(Debug, Clone, PartialEq)]
pub struct OwnModel {
    /// The reward, as `reward.NAME`.
    pub of: String,
    /// A folder, a hub id, or `"@stage"`.
    pub model: String,
    /// Whether it scores; it is a language model otherwise.
    pub scores: bool,
    /// The device on which the recipe puts it; none where that is the policy's.
    pub device: Option<Device>,
    /// Whether ranks of their own hold it, where there are some.
    pub served: bool,
}

impl Rewards {
    /// Finds where the models lie that they ask in the policy's place, of one of the ranks on this machine; those of [`is_served`](Self::is_served) with the ranks `served` of their
    /// own, where there are some. Without this, all lie where the policy does.
    ///
    /// # Errors
    /// [`Error::Devices`](crate::error::Error::Devices) where this machine has not the device that the recipe names.
    pub fn place(&mut self, devices: &Devices, local: Local, served: Option<&Arc<Served>>) -> Result<()> {
        self.weighted.iter_mut().try_for_each(|weighted| weighted.place(devices, local, served))
    }

    /// The key of the first device that this machine has not, and why.
    pub fn misplaced(&self, devices: &Devices, local: Local) -> Option<(String, Error)> {
        self.weighted.iter().find_map(|weighted| {
            let (key, name) = weighted.device_key(devices)?;
            present(&key, name, local).err().map(|error| (key, error))
        })
    }

    /// Whether any of them asks a reward model that ranks of their own would hold (`devices.reward_ranks`).
    pub fn is_served(&self) -> bool {
        self.weighted.iter().any(Weighted::is_served)
    }

    /// The models that they load beside the policy, of one of the ranks on this machine.
    ///
    /// # Errors
    /// As [`place`](Self::place).
    pub fn own_models(&self, devices: &Devices, local: Local) -> Result<Vec<OwnModel>> {
        let of = |weighted: &Weighted| weighted.own_models(devices, local);
        Ok(self.weighted.iter().map(of).collect::<Result<Vec<_>>>()?.concat())
    }
}

impl Weighted {
    fn place(&mut self, devices: &Devices, local: Local, served: Option<&Arc<Served>>) -> Result<()> {
        self.place = match (served.filter(|_| self.is_served()), self.named_device(devices, local)?) {
            (Some(served), _) => Place::Served(served.clone()),
            (None, Some(device)) => Place::On(device),
            (None, None) => Place::WithPolicy,
        };
        Ok(())
    }

    /// The key that names a device for its models, and the device's name; none where they lie with the policy.
    fn device_key<'d>(&'d self, devices: &'d Devices) -> Option<(String, &'d str)> {
        match (&self.device, &devices.reward) {
            (Some(own), _) => Some((format!("{}.{}.device", self.section, self.name), own)),
            (None, Some(all)) => Some(("devices.reward".to_owned(), all)),
            (None, None) => None,
        }
    }

    /// The device that the recipe names for its models; none where that is the policy's.
    fn named_device(&self, devices: &Devices, local: Local) -> Result<Option<Device>> {
        self.device_key(devices).map(|(key, name)| present(&key, name, local)).transpose()
    }

    fn is_served(&self) -> bool {
        let scores = |want: &MachineWant| matches!(want, MachineWant::RewardModel(_));
        self.device.is_none() && models(&*self.reward).iter().any(scores)
    }

    fn own_models(&self, devices: &Devices, local: Local) -> Result<Vec<OwnModel>> {
        let device = self.named_device(devices, local)?;
        let of = |want| {
            let (model, scores) = match want {
                MachineWant::Model(model) => (model, false),
                MachineWant::RewardModel(model) => (model, true),
                _ => return None,
            };
            let of = format!("{}.{}", self.section, self.name);
            Some(OwnModel { of, model, scores, device, served: scores && self.is_served() })
        };
        Ok(models(&*self.reward).into_iter().filter_map(of).collect())
    }
}

/// The models that a reward loads.
pub(super) fn models(reward: &dyn Reward) -> Vec<MachineWant> {
    let is_model = |want: &MachineWant| matches!(want, MachineWant::Model(_) | MachineWant::RewardModel(_));
    reward.wants().machine.into_iter().map(|(_, want)| want).filter(is_model).collect()
}
