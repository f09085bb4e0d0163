//! `train env`: what a bug report should say of the machine.

use super::verb::Verb;
use crate::error::{Error, Result};
use crate::log::terminal::tell;
use crate::policy::Dtype;
use crate::recipe::Registry;
use clap::Parser;
use std::fs;
use std::path::{Path, PathBuf};
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
/// What a processor has to have for the fast ways.
const FLAGS: [&str; 6] = ["avx2", "fma", "avx512f", "avx512_bf16", "amx_bf16", "bf16"];

impl Verb for Env {
    fn run(self, _: &Registry) -> Result<()> {
        let lines = [
            ("rationale", env!("CARGO_PKG_VERSION").to_owned()),
            ("libtorch", libtorch()),
            ("system", format!("{}, Linux {}, {}", system(), kernel(), std::env::consts::ARCH)),
            ("processor", processor()),
            ("cores", format!("{}; libtorch uses {} threads", cores(), tch::get_num_threads())),
            (
                "weights on the CPU",
                if Dtype::Auto.kind(Device::Cpu) == Kind::BFloat16 { "bf16" } else { "f32" }.into(),
            ),
            ("memory", memory()),
            ("GPUs", gpus()),
            ("variables", variables()),
        ];
        let text: String = lines.iter().map(|(name, value)| format!("{name:<19} {value}\n")).collect();
        tell(&text).map_err(Error::io("standard output"))
    }
}

/// The version of the libtorch that this process has loaded.
fn libtorch() -> String {
    let maps = fs::read_to_string("/proc/self/maps").unwrap_or_default();
    let path = maps
        .lines()
        .find(|line| line.contains("libtorch_cpu.so"))
        .and_then(|line| line.find('/').map(|at| &line[at..]));
    let version = |path: &str| -> Option<String> {
        let root = Path::new(path).parent()?.parent()?;
        let of = |file: PathBuf| fs::read_to_string(file).ok().map(|text| text.trim().to_owned());
        // PyTorch's wheels say it in a Python file.
        of(root.join("build-version")).or_else(|| {
            let text = of(root.join("version.py"))?;
            Some(text.split('\'').nth(1)?.to_owned())
        })
    };
    path.and_then(version).unwrap_or_else(|| "of unknown version".into())
}

fn system() -> String {
    let text = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let name = text.lines().find_map(|line| line.strip_prefix("PRETTY_NAME="));
    name.map_or("an unknown system".into(), |name| name.trim_matches('"').to_owned())
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

fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn memory() -> String {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let of = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().find_map(|word| word.parse::<f64>().ok()).map(|kilobytes| kilobytes / 1e6)
    };
    match (of("MemTotal:"), of("MemAvailable:")) {
        (Some(all), Some(free)) => format!("{all:.1} GB, {free:.1} GB of it free"),
        _ => "unknown".into(),
    }
}

fn gpus() -> String {
    crate::devices::cuda::load();
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
    let bf16 = if Dtype::Auto.kind(Device::Cuda(0)) == Kind::BFloat16 { "bf16" } else { "f32" };
    format!("{count} ({}), weights in {bf16}", names.join(", "))
}

fn variables() -> String {
    let plain = PLAIN.iter().filter_map(|name| Some(format!("{name}={}", std::env::var(name).ok()?)));
    let set =
        PRIVATE.iter().filter(|name| std::env::var_os(name).is_some()).map(|name| format!("{name} is set"));
    let all: Vec<String> = plain.chain(set).collect();
    if all.is_empty() { "none set".into() } else { all.join(", ") }
}
