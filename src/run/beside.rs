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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::devices::Shard;
    use crate::model::memory::Division;
    use crate::recipe::Recipe;
    use crate::run::footprint::{Footprint, Setting, apart};

    /// Weights in f32, of 4 bytes, beside a policy on one GPU: on it, on another, on the CPU, on ranks that are set apart.
    #[test]
    fn each_model_counts_where_it_lies() {
        let recipe = "[policy]\ndtype = \"f32\"\n[policy.init]\n[data.task.addition]\n[loop.grpo]\nkl.coefficient = 0.1\n[reward.answer]\n";
        let recipe = Recipe::parse("a.toml", recipe, &[]).unwrap();
        let stage = Stage::read_all(&recipe, &Registry::default()).unwrap().remove(0);
        let (shape, division) = (Config::default(), Division { shard: Shard::None, ranks: 1 });
        let (cpu, near, far) = (Device::Cpu, Device::Cuda(0), Device::Cuda(1));
        let asked = |of: &str, device, served| {
            let (of, shape) = (of.to_owned(), shape.clone());
            Beside { of, shape, scores: true, device, served }
        };
        let beside = [
            asked("reward.a", None, false),
            asked("reward.b", Some(far), false),
            asked("reward.c", None, true),
        ];
        let all = 4 * shape.size();
        let found = |reference| {
            let devices = DeviceMap { policy: near, reference, reward: far };
            let setting = Setting { ranks: 1, serving: 1, devices, program: 0, on_cpu: false };
            let elsewhere = apart(&stage, &shape, &beside, setting, division).into_iter();
            // The last part is what comes and goes.
            let elsewhere: Vec<_> =
                elsewhere.map(|(on, parts)| (on, parts[..parts.len() - 1].to_vec())).collect();
            let phases = Footprint::of(&stage, &shape, &beside, setting, division).0;
            let (_, learning) = phases.into_iter().find(|(phase, _)| *phase == "learning").unwrap();
            let here = |name| learning.iter().find(|(own, _)| *own == name).map_or(0, |(_, bytes)| *bytes);
            (elsewhere, here("reference policy"), here("models of rewards"))
        };
        let part = |name: &str| (name.to_owned(), all);
        let (reference, b) = (part("reference policy"), part("[reward.b]"));
        let served = (On::Serving, vec![part("[reward.c]")]);
        let (on_far, on_cpu) = (On::Rank(far), On::Rank(cpu));
        assert_eq!(found(near), (vec![(on_far, vec![b.clone()]), served.clone()], all, all));
        let all_over = vec![(on_cpu, vec![reference.clone()]), (on_far, vec![b.clone()]), served.clone()];
        assert_eq!(found(cpu), (all_over, 0, all));
        assert_eq!(found(far), (vec![(on_far, vec![reference, b]), served], 0, all));
    }
}
