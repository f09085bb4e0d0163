//! What the program runs on: libtorch, the processor, the devices.

use super::{Bench, Figure};
use crate::Result;
use crate::devices::cuda::{self, CudaHalf};
use crate::devices::{cpu_multiplies_bf16, torch};
use crate::ranks::Nccl;
use tch::{Cuda, Device};

/// The release of libtorch that the program is compiled for.
const RELEASE: &str = "2.11.";
const BINDINGS: &str =
    "the bindings are compiled for libtorch 2.11, and another's functions may take other arguments";
const WHOLE: &str = "a CUDA half that lies there is meant to be used";

/// As the first line says.
pub fn check(_: &Bench) -> Result<Vec<Figure>> {
    Ok(judged(&torch::version()?, cuda::load()))
}

fn judged(version: &str, half: &CudaHalf) -> Vec<Figure> {
    vec![
        Figure::holds("libtorch is 2.11", version.starts_with(RELEASE), BINDINGS),
        Figure::holds("what it has of CUDA loads", !matches!(half, CudaHalf::Broken(_)), WHOLE),
        Figure::plain("CUDA devices", Cuda::device_count() as f64),
    ]
}

/// The machine in words, a fact a line.
pub fn described(device: Device) -> Result<Vec<String>> {
    let folder = cuda::libtorch().map_or("an unknown folder".into(), |folder| folder.display().to_string());
    let half = match cuda::load() {
        CudaHalf::Absent => "without CUDA".to_string(),
        CudaHalf::Loaded => "with CUDA".to_string(),
        CudaHalf::Broken(why) => format!("its CUDA half does not load: {why}"),
    };
    let bf16 = if cpu_multiplies_bf16() { "bf16 products" } else { "no bf16 products" };
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let mut lines = vec![
        format!("train {}, libtorch {} in {folder}, {half}", env!("CARGO_PKG_VERSION"), torch::version()?),
        format!(
            "CPU: {cores} cores, {} threads of libtorch, {} kernels, {bf16}",
            tch::get_num_threads(),
            torch::cpu_capability()?
        ),
    ];
    let devices = (0..Cuda::device_count() as usize).map(|index| {
        let name = cuda::device_name(index).unwrap_or_else(|| "of unknown name".into());
        format!("cuda:{index}: {name}")
    });
    lines.extend(devices);
    lines.push(match Nccl::here() {
        Ok(nccl) => format!("NCCL {} by {}", nccl.version, nccl.file.display()),
        Err(why) => format!("NCCL is not here: {why}"),
    });
    lines.push(format!("device under test: {}", crate::devices::name_of(device)));
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::super::planted::failing;
    use super::*;

    #[test]
    fn another_release_and_a_broken_half_fail() {
        assert_eq!(failing(&judged("2.11.0", &CudaHalf::Absent)), [""; 0]);
        assert_eq!(failing(&judged("2.1.1", &CudaHalf::Loaded)), ["libtorch is 2.11"]);
        let broken = CudaHalf::Broken("libcudnn.so.9 is missing".into());
        assert_eq!(failing(&judged("2.11.1", &broken)), ["what it has of CUDA loads"]);
    }
}
