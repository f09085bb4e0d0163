//! Which device holds what: the `[devices]` section.

pub mod cuda;
pub mod machine;
mod named;
pub mod torch;

use crate::error::{Error, Result};
use crate::ranks::Local;
use crate::section::{Misfit, all_fit};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use tch::{Cuda, Device, Kind};

/// The layout of a run: `[devices]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Devices {
    /// Where the policy trains and samples: `auto` (a CUDA device, else the CPU), `cpu`, `cuda` or `cuda:N`. Of several ranks on a
    /// machine each takes its own CUDA device, unless `cuda:N` names one for all.
    #[serde(deserialize_with = "named::one")]
    pub policy: String,
    /// Where the reference policy lives, by the same names; the policy's device by default. Its base under `[policy.lora]` lies where the policy is.
    #[serde(deserialize_with = "named::one_or_none")]
    pub reference: Option<String>,
    /// Where the models live that rewards ask in the policy's place (`reward.process.model`, `reward.likelihood.model`, …), by the same names; the policy's
    /// device by default. A reward's own `device` says otherwise for it. Of the `reward_ranks`, where each
    /// of them holds them, as the recipe's first stage has it.
    #[serde(deserialize_with = "named::one_or_none")]
    pub reward: Option<String>,
    /// CPU threads of libtorch; all cores by default. Ranks on one machine have equal parts of them. Results on the CPU are
    /// bit-for-bit the same only for the same number.
    pub threads: Option<usize>,
    /// Processes that train the policy together on this machine, each on its share of a step's questions: started by this
    /// program. Without it the run is one process, or as many as torchrun or srun has started.
    pub ranks: Option<usize>,
    /// How many of these ranks, the last ones, train nothing and hold the reward models of `[reward.process]`, which the others send tokens to and have scores of: they then
    /// have no memory of those models, and no reward model waits while its rank samples.
    pub reward_ranks: usize,
    /// What of the policy each rank holds a part of: `none` (each holds all), `optimizer` (its part of the f32 master weights and of the
    /// optimiser's two moments; weights and gradients whole), or `parameters` (its part of all of these, and of the reference policy: a layer is
    /// gathered when it computes, and all weights while the policy samples).
    pub shard: Shard,
    /// Copies of what is divided: so many groups of neighbouring ranks each hold all of it, and gradients are summed between groups. One a
    /// machine, so that weights are gathered inside of it; a divisor of the number of ranks.
    pub replicas: usize,
    /// Whether each rank writes when it did what to `timeline/rank-N.json` in the run's folder, which chrome://tracing and ui.perfetto.dev show:
    /// sampling, layers forward and backward, and what is under way between ranks meanwhile.
    pub trace: bool,
    /// Seconds that a rank waits for the others before the run ends, with the name of the one that did not come. It has to be longer
    /// than what one does while others wait: a slow reward, an evaluation.
    pub timeout_s: f64,
}

/// What is divided among ranks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Shard {
    /// Nothing.
    #[default]
    None,
    /// What the optimiser remembers: ZeRO's first stage (Rajbhandari et al. 2019, arXiv 1910.02054).
    Optimizer,
    /// Weights and gradients too: its third stage.
    Parameters,
}

impl Shard {
    /// All of them, what needs most memory first.
    pub const ALL: [Shard; 3] = [Shard::None, Shard::Optimizer, Shard::Parameters];

    /// As recipes have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Optimizer => "optimizer",
            Self::Parameters => "parameters",
        }
    }
}

impl Default for Devices {
    fn default() -> Self {
        Self {
            policy: "auto".into(),
            reference: None,
            reward: None,
            threads: None,
            ranks: None,
            reward_ranks: 0,
            shard: Shard::None,
            replicas: 1,
            trace: false,
            timeout_s: 1800.0,
        }
    }
}

/// The devices that a stage runs on, as this machine has them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DeviceMap {
    /// Trains and samples the policy.
    pub policy: Device,
    /// Holds the reference policy; the same one where the recipe names none.
    pub reference: Device,
    /// Holds what rewards ask in the policy's place; the policy's where the recipe names none.
    pub reward: Device,
}

impl Devices {
    /// What is no device or number of threads, without asking what this machine has.
    pub fn check(&self) -> Vec<Misfit> {
        let named = [
            ("policy", Some(&self.policy)),
            ("reference", self.reference.as_ref()),
            ("reward", self.reward.as_ref()),
        ];
        let mut found: Vec<Misfit> =
            named.into_iter().filter_map(|(key, name)| unknown(key, name?)).collect();
        if self.threads == Some(0) {
            found.push(Misfit::new("threads", "at least one thread is needed", ""));
        }
        let most = most_at_once();
        if self.threads.is_some_and(|threads| threads > most) {
            let message = format!("it must be at most {most} on this machine, which has fewer cores");
            found.push(Misfit::new("threads", message, "more of them only wait for each other"));
        }
        if self.ranks == Some(0) {
            found.push(Misfit::new("ranks", "at least one rank is needed", ""));
        }
        if let Some(ranks) = self.ranks.filter(|ranks| *ranks > 0 && *ranks <= self.reward_ranks) {
            let message = format!("of {ranks} rank(s) in all none is left that trains");
            found.push(Misfit::new("reward_ranks", message, "they are some of devices.ranks: start more"));
        }
        if self.replicas == 0 {
            found.push(Misfit::new("replicas", "there is at least one copy", ""));
        } else if self.replicas > 1 && self.shard == Shard::None {
            let remedy = "take it out, or set devices.shard to \"optimizer\" or \"parameters\"";
            found.push(Misfit::new("replicas", "nothing is divided, so that every rank has a copy", remedy));
        } else if let Some(ranks) = self.ranks.map(|ranks| ranks.saturating_sub(self.reward_ranks))
            && !ranks.is_multiple_of(self.replicas)
        {
            let which = if self.reward_ranks > 0 { " that train" } else { "" };
            found.push(Misfit::new(
                "replicas",
                format!("it does not divide the {ranks} ranks{which} into equal groups"),
                "",
            ));
        }
        if !(self.timeout_s.is_finite() && self.timeout_s >= 1.0) {
            found.push(Misfit::new(
                "timeout_s",
                "it must be 1 or larger",
                "ranks never arrive at the same moment",
            ));
        }
        found
    }

    /// Finds the devices of one of the ranks on this machine, and sets its number of threads.
    pub fn open(&self, local: Local) -> Result<DeviceMap> {
        let found = self.find(local)?;
        // torchrun sets OMP_NUM_THREADS=1 where nobody has set it, so several ranks have their number said.
        let all = self.threads.or_else(|| (local.count > 1).then(cores));
        if let Some(all) = all {
            tch::set_num_threads(i32::try_from((all / local.count).max(1)).unwrap_or(i32::MAX));
        }
        Ok(found)
    }

    /// Finds the devices of one of the ranks on this machine.
    pub fn find(&self, local: Local) -> Result<DeviceMap> {
        all_fit("devices", self, self.check())?;
        let policy = present("devices.policy", &self.policy, local)?;
        let other = |key: &str, name: &Option<String>| {
            name.as_deref().map_or(Ok(policy), |name| present(key, name, local))
        };
        let reference = other("devices.reference", &self.reference)?;
        Ok(DeviceMap { policy, reference, reward: other("devices.reward", &self.reward)? })
    }

    /// How long a rank waits for the others.
    pub fn timeout(&self) -> Duration {
        Duration::from_secs_f64(self.timeout_s)
    }
}

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

/// Threads, or processes, that are of use on this machine at once.
pub fn most_at_once() -> usize {
    const ANY_MACHINE: usize = 64;
    ANY_MACHINE.max(4 * cores())
}

/// The device that `key` calls `name`, of one of the ranks on this machine.
///
/// # Errors
/// [`Error::Devices`] where this machine has none of that name.
pub fn present(key: &str, name: &str, local: Local) -> Result<Device> {
    cuda::load();
    let found = usize::try_from(Cuda::device_count()).unwrap_or(0);
    // Where each process is shown one device only, as srun does, that one is its own.
    let own = if found == 1 { 0 } else { local.rank };
    let index = match parse(name) {
        Some(Named::Cpu) => return Ok(Device::Cpu),
        Some(Named::Cuda(Some(index))) => index,
        Some(Named::Cuda(None)) => own,
        _ if found == 0 || !Cuda::is_available() => return Ok(Device::Cpu),
        _ => own,
    };
    if index < found {
        return Ok(Device::Cuda(index));
    }
    let what = match local.count {
        1 => "name another, or \"cpu\" or \"auto\"".to_string(),
        many => format!(
            "{many} ranks run here: start as many as there are devices, or name one that they share, or \"cpu\""
        ),
    };
    Err(Error::Devices(format!(
        "{key} = \"{name}\": this machine has {found} CUDA device(s) that libtorch can use; {what}"
    )))
}

/// That the name under `key` is no device's, whatever this machine has; nothing where it is.
pub fn unknown(key: &str, name: &str) -> Option<Misfit> {
    let remedy = "known: \"auto\", \"cpu\", \"cuda\", \"cuda:0\", \"cuda:1\", …";
    parse(name).is_none().then(|| Misfit::new(key, "no such device", remedy))
}

/// Which of the machine's GPUs a device is, in a name that all processes have for it; none of the CPU, and where the driver says nothing.
pub fn chip(device: Device) -> Option<String> {
    match device {
        Device::Cuda(index) => cuda::bus_id(index),
        _ => None,
    }
}

/// What a device is called in recipes.
enum Named {
    Auto,
    Cpu,
    /// Of this number, or each rank's own.
    Cuda(Option<usize>),
}

fn parse(name: &str) -> Option<Named> {
    match name {
        "auto" => Some(Named::Auto),
        "cpu" => Some(Named::Cpu),
        "cuda" => Some(Named::Cuda(None)),
        _ => Some(Named::Cuda(Some(name.strip_prefix("cuda:")?.parse().ok()?))),
    }
}

/// The number format that `auto` means on `device`: bf16 where the hardware multiplies it, f32 elsewhere.
pub fn native_kind(device: Device) -> Kind {
    match device {
        Device::Cuda(_) => Kind::BFloat16,
        _ if cpu_multiplies_bf16() => Kind::BFloat16,
        _ => Kind::Float,
    }
}

/// The number format on `device` of a model that stands beside a policy in `kind` on another: the same, but where a device of another sort does not multiply that. On devices of one
/// sort it is always the same, so that where a model lies there changes nothing of what it says.
pub fn kind_beside(kind: Kind, policy: Device, device: Device) -> Kind {
    let alike = policy.is_cuda() == device.is_cuda();
    if alike || kind == Kind::Float { kind } else { native_kind(device) }
}

/// A device as recipes call it: `cpu`, `cuda:1`.
pub fn name_of(device: Device) -> String {
    match device {
        Device::Cuda(index) => format!("cuda:{index}"),
        other => format!("{other:?}").to_lowercase(),
    }
}

/// Whether this CPU has instructions for bf16 products. Without them libtorch's bf16 matrices run several times slower
/// than f32.
#[cfg(target_arch = "x86_64")]
pub fn cpu_multiplies_bf16() -> bool {
    std::arch::is_x86_feature_detected!("avx512bf16")
}

/// Whether this CPU has instructions for bf16 products.
#[cfg(target_arch = "aarch64")]
pub fn cpu_multiplies_bf16() -> bool {
    std::arch::is_aarch64_feature_detected!("bf16")
}

/// Whether this CPU has instructions for bf16 products.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
pub fn cpu_multiplies_bf16() -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_is_not_there_is_named_with_the_remedy() {
        let devices = Devices { policy: "cuda:99".into(), ..Devices::default() };
        let error = devices.open(Local::ALONE).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains("devices.policy = \"cuda:99\""), "{error}");
    }

    #[test]
    fn unknown_names_are_refused_before_anything_is_opened() {
        let devices = Devices { reference: Some("gpu".into()), threads: Some(0), ..Devices::default() };
        let error = devices.open(Local::ALONE).unwrap_err().to_string();
        assert_eq!(
            error,
            "recipe: devices.reference = \"gpu\": no such device; known: \"auto\", \"cpu\", \"cuda\", \"cuda:0\", \"cuda:1\", …\n\
             devices.threads = 0: at least one thread is needed"
        );
    }

    #[test]
    fn the_cpu_is_always_there() {
        let devices = Devices { policy: "cpu".into(), ..Devices::default() };
        assert_eq!(
            devices.open(Local::ALONE).unwrap(),
            DeviceMap { policy: Device::Cpu, reference: Device::Cpu, reward: Device::Cpu }
        );
    }

    #[test]
    fn each_model_is_refused_by_its_own_key() {
        let on_cpu = || Devices { policy: "cpu".into(), ..Devices::default() };
        let said = |devices: Devices| devices.find(Local::ALONE).unwrap_err().to_string();
        let far = Some("cuda:99".to_owned());
        let reference = said(Devices { reference: far.clone(), ..on_cpu() });
        let reward = said(Devices { reward: far, ..on_cpu() });
        assert!(
            reference.starts_with("devices: devices.reference = \"cuda:99\": this machine has"),
            "{reference}"
        );
        assert!(reward.starts_with("devices: devices.reward = \"cuda:99\": this machine has"), "{reward}");
        assert!(
            said(Devices { reward: Some("tpu".into()), ..on_cpu() })
                .contains("devices.reward = \"tpu\": no such device")
        );
    }

    #[test]
    fn a_model_beside_the_policy_has_its_format_where_that_is_multiplied() {
        let (cpu, gpu) = (Device::Cpu, Device::Cuda(0));
        let on_cpu = if cpu_multiplies_bf16() { Kind::BFloat16 } else { Kind::Float };
        for (kind, policy, device, beside) in [
            (Kind::BFloat16, cpu, cpu, Kind::BFloat16),
            (Kind::BFloat16, gpu, Device::Cuda(1), Kind::BFloat16),
            (Kind::BFloat16, gpu, cpu, on_cpu),
            (Kind::Float, gpu, cpu, Kind::Float),
            (Kind::Float, cpu, gpu, Kind::Float),
        ] {
            assert_eq!(kind_beside(kind, policy, device), beside, "{kind:?} on {policy:?}, {device:?}");
        }
    }

    #[test]
    fn some_ranks_are_left_to_train() {
        let of = |ranks, reward_ranks, replicas| {
            let shard = if replicas > 1 { Shard::Optimizer } else { Shard::None };
            let devices = Devices { ranks: Some(ranks), reward_ranks, replicas, shard, ..Devices::default() };
            devices.check().into_iter().map(|misfit| misfit.key).collect::<Vec<_>>()
        };
        assert_eq!(of(3, 1, 1), Vec::<String>::new());
        assert_eq!(of(2, 2, 1), ["reward_ranks"]);
        // Of five ranks four train, in two groups; of four three, in no two.
        assert_eq!((of(5, 1, 2), of(4, 1, 2)), (vec![], vec!["replicas".to_owned()]));
    }
}
