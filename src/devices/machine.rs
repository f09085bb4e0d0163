//! The machine that a run works on, as reports and bug reports say it.

use super::cores;
use crate::ranks::Nccl;
use serde::{Deserialize, Serialize};
use std::fs;
use tch::Cuda;

/// What a processor has to have for the fast ways.
const FLAGS: [&str; 6] = ["avx2", "fma", "avx512f", "avx512_bf16", "amx_bf16", "bf16"];

/// Names and values, in the order in which they are shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    /// What this process runs on.
    pub rows: Vec<(String, String)>,
}

impl Machine {
    /// The one that this process is on; how many threads libtorch uses is what it was told by then.
    pub fn here() -> Self {
        let rows = [
            ("libtorch", libtorch()),
            ("system", format!("{}, Linux {}, {}", system(), kernel(), std::env::consts::ARCH)),
            ("processor", processor()),
            ("cores", format!("{}; libtorch uses {}", cores(), threads(tch::get_num_threads()))),
            ("memory", memory("MemTotal")),
            ("GPUs", gpus()),
            // Behind the GPUs, with whom libtorch's CUDA half is loaded.
            ("NCCL", nccl()),
        ];
        Self { rows: rows.map(|(name, value)| (name.to_string(), value)).to_vec() }
    }
}

fn threads(count: i32) -> String {
    if count == 1 { "1 thread".to_owned() } else { format!("{count} threads") }
}

fn libtorch() -> String {
    let said =
        [super::torch::version(), super::torch::cpu_capability().map(|kernels| format!("{kernels} kernels"))];
    said.map(|said| said.unwrap_or_else(|error| error.to_string())).join(", ")
}

fn system() -> String {
    let text = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    name.map_or("an unknown system".into(), |name| name.trim_matches('"').to_owned())
}

/// What the machine is called.
pub fn host() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    if name.trim().is_empty() { "?".into() } else { name.trim().to_owned() }
}

fn kernel() -> String {
    fs::read_to_string("/proc/sys/kernel/osrelease").map_or("?".into(), |text| text.trim().to_owned())
}

fn processor() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let of = |names: &[&str]| {
        let mut lines = text.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(name, _)| names.contains(&name.trim())).map(|(_, value)| value.trim().to_owned())
    };
    let flags = of(&["flags", "Features"]).unwrap_or_default();
    let has: Vec<&str> = FLAGS.into_iter().filter(|flag| flags.split(' ').any(|one| one == *flag)).collect();
    format!("{} ({})", of(&["model name", "CPU part"]).unwrap_or("unknown".into()), has.join(" "))
}

/// What the kernel says of memory under this name, such as `MemTotal`.
pub fn memory(name: &str) -> String {
    bytes(name).map_or("unknown".into(), |bytes| format!("{:.1} GB", bytes as f64 / 1024e6))
}

/// The same in bytes.
pub fn bytes(name: &str) -> Option<usize> {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    line.split_whitespace().find_map(|word| word.parse::<usize>().ok()).map(|kilobytes| kilobytes * 1024)
}

fn nccl() -> String {
    Nccl::here().map_or_else(|why| format!("not here: {why}"), |nccl| nccl.version.clone())
}

fn gpus() -> String {
    super::cuda::load();
    let count = Cuda::device_count();
    if count == 0 {
        let built = if Cuda::is_available() { "" } else { " that libtorch can use" };
        return format!("none{built}");
    }
    let names = fs::read_dir("/proc/driver/nvidia/gpus").into_iter().flatten().flatten();
    let model = |folder: fs::DirEntry| {
        let text = fs::read_to_string(folder.path().join("information")).ok()?;
        text.lines().find_map(|line| line.strip_prefix("Model:")).map(|name| name.trim().to_owned())
    };
    let names: Vec<String> = names.filter_map(model).collect();
    format!("{count} ({})", names.join(", "))
}
