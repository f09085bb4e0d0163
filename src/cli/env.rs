//! `train env`: what a bug report should say of the machine.

use super::verb::Verb;
use crate::devices::machine::{Machine, memory};
use crate::error::{Error, Result};
use crate::log::terminal::tell;
use crate::policy::Dtype;
use crate::recipe::Registry;
use clap::Parser;
use tch::{Cuda, Device, Kind};

/// Print versions, devices, threads and memory, for bug reports; no secrets are shown.
#[derive(Debug, Parser)]
#[command(after_help = "Example:\n  train env")]
pub(super) struct Env {}

/// Variables that change what a run does. Of those that are not plain settings only whether they are set is said.
const PLAIN: [&str; 5] =
    ["OMP_NUM_THREADS", "MKL_NUM_THREADS", "CUDA_VISIBLE_DEVICES", "HF_HUB_OFFLINE", "RATIONALE_LOG"];
const PRIVATE: [&str; 6] =
    ["LIBTORCH", "LD_LIBRARY_PATH", "HF_HOME", "HF_ENDPOINT", "HF_TOKEN", "HTTPS_PROXY"];

impl Verb for Env {
    fn run(self, _: &Registry) -> Result<()> {
        let weights = |device: Device| match Dtype::Auto.kind(device) {
            Kind::BFloat16 => "bf16".to_owned(),
            _ => "f32".to_owned(),
        };
        let mut lines = vec![("rationale".to_owned(), env!("CARGO_PKG_VERSION").to_owned())];
        lines.extend(Machine::here().rows);
        let mut own = vec![
            ("memory that is free", memory("MemAvailable")),
            ("weights on the CPU", weights(Device::Cpu)),
        ];
        if Cuda::device_count() > 0 {
            own.push(("weights on GPUs", weights(Device::Cuda(0))));
        }
        own.push(("variables", variables()));
        lines.extend(own.into_iter().map(|(name, value)| (name.to_owned(), value)));
        let text: String = lines.iter().map(|(name, value)| format!("{name:<19} {value}\n")).collect();
        tell(&text).map_err(Error::io("standard output"))
    }
}

fn variables() -> String {
    let plain = PLAIN.iter().filter_map(|name| Some(format!("{name}={}", std::env::var(name).ok()?)));
    let set =
        PRIVATE.iter().filter(|name| std::env::var_os(name).is_some()).map(|name| format!("{name} is set"));
    let all: Vec<String> = plain.chain(set).collect();
    if all.is_empty() { "none set".into() } else { all.join(", ") }
}
