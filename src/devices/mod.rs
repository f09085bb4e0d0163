//! Which device holds what: the `[devices]` section.

pub mod cuda;
pub mod torch;

use crate::error::{Error, Result};
use crate::section::{Misfit, all_fit};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tch::{Cuda, Device, Kind};

/// The layout of a run: `[devices]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Devices {
    /// Where the policy trains and samples: `auto` (the first CUDA device, else the CPU), `cpu` or `cuda:N`.
    pub policy: String,
    /// Where the reference policy lives; the policy's device by default.
    pub reference: Option<String>,
    /// CPU threads of libtorch; all cores by default. Results on the CPU are bit-for-bit the same only for the
    /// same number.
    pub threads: Option<usize>,
}

impl Default for Devices {
    fn default() -> Self {
        Self { policy: "auto".into(), reference: None, threads: None }
    }
}

/// The devices that a stage runs on, as this machine has them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct DevicePair {
    /// Trains and samples the policy.
    pub policy: Device,
    /// Holds the reference policy; the same one where the recipe names none.
    pub reference: Device,
}

impl Devices {
    /// What is no device or number of threads, without asking what this machine has.
    pub fn check(&self) -> Vec<Misfit> {
        let named = [("policy", Some(&self.policy)), ("reference", self.reference.as_ref())];
        let unknown = |&(_, name): &(&str, Option<&String>)| name.is_some_and(|name| parse(name).is_none());
        let mut found: Vec<Misfit> = named.into_iter().filter(unknown).map(|(key, _)| no_such(key)).collect();
        if self.threads == Some(0) {
            found.push(Misfit::new("threads", "at least one thread is needed", ""));
        }
        let most = MOST_THREADS.max(4 * std::thread::available_parallelism().map_or(1, usize::from));
        if self.threads.is_some_and(|threads| threads > most) {
            let message = format!("it must be at most {most} on this machine, which has fewer cores");
            found.push(Misfit::new("threads", message, "more of them only wait for each other"));
        }
        found
    }

    /// Finds the devices and sets the number of threads.
    pub fn open(&self) -> Result<DevicePair> {
        let found = self.find()?;
        if let Some(threads) = self.threads {
            tch::set_num_threads(i32::try_from(threads).unwrap_or(i32::MAX));
        }
        Ok(found)
    }

    /// Finds the devices.
    pub fn find(&self) -> Result<DevicePair> {
        all_fit("devices", self, self.check())?;
        let policy = present("devices.policy", &self.policy)?;
        let reference =
            self.reference.as_deref().map_or(Ok(policy), |name| present("devices.reference", name))?;
        Ok(DevicePair { policy, reference })
    }
}

/// Threads that any machine may have.
const MOST_THREADS: usize = 64;

fn present(key: &str, name: &str) -> Result<Device> {
    cuda::load();
    let found = Cuda::device_count();
    match parse(name).flatten() {
        None => Ok(Device::cuda_if_available()),
        Some(Device::Cuda(index)) if index as i64 >= found => Err(Error::Devices(format!(
            "{key} = \"{name}\": this machine has {found} CUDA device(s) that libtorch can use; \
             name another, or \"cpu\" or \"auto\""
        ))),
        Some(device) => Ok(device),
    }
}

fn no_such(key: &str) -> Misfit {
    Misfit::new(key, "no such device", "known: \"auto\", \"cpu\", \"cuda:0\", \"cuda:1\", …")
}

/// `Some(None)` is `auto`; `None` is no device's name.
fn parse(name: &str) -> Option<Option<Device>> {
    match name {
        "auto" => Some(None),
        "cpu" => Some(Some(Device::Cpu)),
        "cuda" => Some(Some(Device::Cuda(0))),
        _ => Some(Some(Device::Cuda(name.strip_prefix("cuda:")?.parse().ok()?))),
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
        let error = devices.open().unwrap_err();
        assert_eq!(error.exit_code(), 2);
        assert!(error.to_string().contains("devices.policy = \"cuda:99\""), "{error}");
    }

    #[test]
    fn unknown_names_are_refused_before_anything_is_opened() {
        let devices = Devices { reference: Some("gpu".into()), threads: Some(0), ..Devices::default() };
        let error = devices.open().unwrap_err().to_string();
        assert_eq!(
            error,
            "recipe: devices.reference = \"gpu\": no such device; known: \"auto\", \"cpu\", \"cuda:0\", \"cuda:1\", …\n\
             devices.threads = 0: at least one thread is needed"
        );
    }

    #[test]
    fn the_cpu_is_always_there() {
        let devices = Devices { policy: "cpu".into(), ..Devices::default() };
        assert_eq!(devices.open().unwrap(), DevicePair { policy: Device::Cpu, reference: Device::Cpu });
    }
}
