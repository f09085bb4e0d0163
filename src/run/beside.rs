//! The models that a stage has beside its policy and reference, what they take of memory, and where.

use super::wants;
use crate::devices::{DeviceMap, kind_beside};
use crate::model::Config;
use crate::model::memory::{activations, logits};
use crate::ranks::Local;
use crate::recipe::{Registry, Stage};
use crate::reward::{OwnModel, Rewards};
use tch::{Device, Kind};

/// A model that a reward asks.
#[derive(Debug, Clone)]
pub(super) struct Beside {
    /// The reward, as `reward.NAME`.
    of: String,
    shape: Config,
    /// Whether it gives scores; it is read for its log-probabilities otherwise.
    scores: bool,
    /// Where it lies; none where the policy does.
    device: Option<Device>,
    /// Whether ranks that are set apart hold it.
    served: bool,
}

/// Where such a model counts.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum On {
    /// A rank that trains, on this device.
    Rank(Device),
    /// A rank that is set apart.
    Serving,
}

impl Beside {
    /// Where it counts, in a stage whose devices are these.
    pub fn on(&self, devices: &DeviceMap) -> On {
        if self.served { On::Serving } else { On::Rank(self.device.unwrap_or(devices.policy)) }
    }

    /// What it is called in a plan, and its bytes beside a policy of `kind`: its weights.
    pub fn weights(&self, kind: Kind, devices: &DeviceMap) -> (String, usize) {
        (format!("[{}]", self.of), self.kind(kind, devices).elt_size_in_bytes() * self.shape.size())
    }

    /// The bytes that come and go while it reads so many tokens.
    pub fn passing(&self, kind: Kind, devices: &DeviceMap, tokens: usize) -> usize {
        let kind = self.kind(kind, devices);
        let output = if self.scores { 0 } else { logits(&self.shape, kind, tokens) };
        activations(&self.shape, kind, true) * tokens + output
    }

    fn kind(&self, kind: Kind, devices: &DeviceMap) -> Kind {
        let device = if self.served { devices.reward } else { self.device.unwrap_or(devices.policy) };
        kind_beside(kind, devices.policy, device)
    }
}

/// The rewards and measures of a stage that it asks, as far as they can be built.
pub(super) fn asked(stage: &Stage, registry: &Registry) -> Vec<Rewards> {
    let learned = wants::scores(stage)
        .then(|| Rewards::build(&stage.reward, registry, &stage.data.format).ok())
        .flatten();
    let measures = stage.eval.as_ref().filter(|_| wants::asks_held_out(stage)).map(|eval| &eval.measures);
    let measured = measures.and_then(|table| Rewards::measures(table, registry, &stage.data.format).ok());
    learned.into_iter().chain(measured).collect()
}

/// The models of a stage's rewards whose shape is known. `shape` looks for one, by its folder, hub id or `"@stage"`.
pub(super) fn beside(
    stage: &Stage,
    registry: &Registry,
    shape: impl Fn(&str) -> Option<Config>,
) -> Vec<Beside> {
    let served = stage.devices.reward_ranks > 0;
    let own = asked(stage, registry);
    let own = own.iter().flat_map(|rewards| rewards.own_models(&stage.devices, Local::ALONE));
    let of = |own: OwnModel| {
        let shape = shape(&own.model)?;
        Some(Beside {
            of: own.of,
            shape,
            scores: own.scores,
            device: own.device,
            served: own.served && served,
        })
    };
    own.flatten().filter_map(of).collect()
}
