//! NCCL, which lies in a library of its own (csrc/nccl), and whether the ranks of a run use it for the tensors of their devices.

use super::c10d::{OpensNccl, nccl_expected};
use crate::error::thrown;
use crate::library::{Library, Seen};
use serde::{Deserialize, Serialize};
use std::ffi::{CStr, c_char};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use tch::Device;

/// The library's name; it lies beside the program.
const FILE: &str = "librationale_nccl.so";
/// The library to load in its place, or `none`.
const VARIABLE: &str = "RATIONALE_NCCL";

/// The library, loaded.
#[derive(Debug)]
pub struct Nccl {
    /// Where it lies.
    pub file: PathBuf,
    /// NCCL's version.
    pub version: String,
    /// The kind of device whose tensors it carries, a `c10::DeviceType`.
    carries: i32,
    pub(super) opens: OpensNccl,
}

/// Who carries the tensors of the ranks' devices.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Carrier {
    /// NCCL of this version, from device to device.
    Nccl(String),
    /// Gloo; by way of the CPU, for this reason, where they are not on it.
    Gloo(Option<String>),
}

/// What a rank says of itself before it is chosen who carries tensors.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Offer {
    /// Its machine, until that starts anew.
    pub machine: String,
    /// Its device, as recipes name it.
    pub device: String,
    /// Which of the machine's GPUs that is; none of the CPU.
    pub chip: Option<String>,
    /// NCCL's version, or why it is not there.
    pub nccl: Result<String, String>,
}

impl Nccl {
    /// The library, loaded at the first call, which comes after that of libtorch's CUDA half; or why it is not here.
    ///
    /// # Errors
    /// A text that goes on from "NCCL is not here: ".
    pub fn here() -> Result<&'static Self, &'static str> {
        static NCCL: OnceLock<Result<Nccl, String>> = OnceLock::new();
        let found = NCCL.get_or_init(|| {
            let named = std::env::var_os(VARIABLE).filter(|name| !name.is_empty());
            if named.as_ref().is_some_and(|name| name == "none") {
                return Err(format!("{VARIABLE} = none"));
            }
            match named {
                Some(file) => Self::load(Path::new(&file)).map_err(|why| format!("{VARIABLE}: {why}")),
                None if !Library::is_loaded(c"libtorch_cuda.so") => Err("this libtorch has no CUDA".into()),
                None => Self::load(&beside_the_program()?),
            }
        });
        found.as_ref().map_err(String::as_str)
    }

    fn load(file: &Path) -> Result<Self, String> {
        let shown = file.display();
        if !file.is_file() {
            return Err(format!("there is no {shown}; scripts/nccl.sh makes it"));
        }
        let library = Library::load(file, Seen::Alone)?;
        let lacks = |name: &CStr| format!("{shown}: it has no function {}", name.to_string_lossy());
        let mut version = std::ptr::null_mut();
        // SAFETY: csrc/nccl/interface.h has the functions' types, for libraries that are made for it, which is asked first.
        unsafe {
            let name = c"rationale_nccl_made_for";
            let made_for: extern "C" fn() -> *const c_char =
                library.function(name).ok_or_else(|| lacks(name))?;
            let (made_for, expected) = (CStr::from_ptr(made_for()).to_string_lossy(), nccl_expected());
            if made_for != expected {
                return Err(format!(
                    "{shown} is made for {made_for}, and this program for {expected}: make it anew with scripts/nccl.sh"
                ));
            }
            let name = c"rationale_nccl_carries";
            let carries: extern "C" fn() -> i32 = library.function(name).ok_or_else(|| lacks(name))?;
            let name = c"rationale_nccl_open";
            let opens: OpensNccl = library.function(name).ok_or_else(|| lacks(name))?;
            let name = c"rationale_nccl_version";
            let says: extern "C" fn(*mut *mut c_char) -> *mut c_char =
                library.function(name).ok_or_else(|| lacks(name))?;
            thrown(says(&mut version)).map_err(|what| format!("{shown}: {what}"))?;
            let version = crate::error::taken(version);
            Ok(Self { file: file.into(), version, carries: carries(), opens })
        }
    }

    /// Whether it carries the tensors of `device`.
    fn carries(&self, device: Device) -> bool {
        kind_and_index(device).0 == self.carries
    }
}

/// A device as c10 has it: its `DeviceType`, and its number, which is -1 of the CPU.
pub(super) fn kind_and_index(device: Device) -> (i32, i32) {
    match device {
        Device::Cpu => (0, -1),
        Device::Cuda(index) => (1, index as i32),
        // No device of a run: nothing carries its tensors.
        _ => (-1, -1),
    }
}

fn beside_the_program() -> Result<PathBuf, String> {
    let program = std::env::current_exe().map_err(|error| error.to_string())?;
    Ok(program.with_file_name(FILE))
}

impl Offer {
    /// This process's, for its `device`, which is this GPU of the machine.
    pub fn of(device: Device, chip: Option<String>) -> Self {
        let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        let nccl = match Nccl::here() {
            Ok(nccl) if nccl.carries(device) => Ok(nccl.version.clone()),
            Ok(_) => Err(format!("no tensors of {} are carried by it", named(device))),
            Err(why) => Err(why.to_string()),
        };
        // A GPU that the driver does not name is told from others by its number alone.
        let chip = chip.or_else(|| device.is_cuda().then(|| named(device)));
        Self { machine: boot.trim().into(), device: named(device), chip, nccl }
    }
}

fn named(device: Device) -> String {
    match device {
        Device::Cuda(index) => format!("cuda:{index}"),
        _ => "the CPU".into(),
    }
}

/// Who carries the tensors of these ranks' devices: NCCL where all have it and no two of them one GPU, which it refuses.
pub(super) fn chosen(offers: &[Offer]) -> Carrier {
    let by_gloo = |why: String| Carrier::Gloo(Some(why));
    if offers.iter().all(|offer| offer.chip.is_none() && offer.nccl.is_err()) {
        return Carrier::Gloo(None);
    }
    let mut version: Option<&String> = None;
    for (rank, offer) in offers.iter().enumerate() {
        let own = match &offer.nccl {
            Ok(own) => own,
            Err(_) if offer.chip.is_none() => {
                return by_gloo(format!("rank {rank} computes on {}", offer.device));
            }
            Err(why) => return by_gloo(format!("NCCL is not here on rank {rank}: {why}")),
        };
        match version {
            Some(first) if first != own => {
                return by_gloo(format!("rank 0 has NCCL {first}, and rank {rank} {own}"));
            }
            _ => version = Some(own),
        }
        let same = |other: &Offer| (&other.machine, &other.chip) == (&offer.machine, &offer.chip);
        if let (true, Some(other)) = (offer.chip.is_some(), offers[..rank].iter().position(same)) {
            return by_gloo(format!("ranks {other} and {rank} share the GPU {}", offer.device));
        }
    }
    version.map_or(Carrier::Gloo(None), |version| Carrier::Nccl(version.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    fn offer(machine: &str, device: &str, chip: Option<&str>, nccl: Result<&str, &str>) -> Offer {
        let nccl = nccl.map(String::from).map_err(String::from);
        Offer { machine: machine.into(), device: device.into(), chip: chip.map(String::from), nccl }
    }

    #[test]
    fn nccl_is_chosen_where_every_rank_has_it_and_a_gpu_of_its_own() {
        let gpu = |machine, chip| offer(machine, "cuda:0", Some(chip), Ok("2.28.9"));
        let cpu = || offer("a", "the CPU", None, Err("this libtorch has no CUDA"));
        let why = |offers: &[Offer]| match chosen(offers) {
            Carrier::Gloo(Some(why)) => why,
            other => panic!("{other:?}"),
        };
        assert_eq!(chosen(&[gpu("a", "1"), gpu("a", "2"), gpu("b", "1")]), Carrier::Nccl("2.28.9".into()));
        assert_eq!(chosen(&[cpu(), cpu()]), Carrier::Gloo(None));
        assert_eq!(chosen(&[]), Carrier::Gloo(None));
        assert_eq!(why(&[gpu("a", "1"), cpu()]), "rank 1 computes on the CPU");
        assert_eq!(why(&[gpu("b", "1"), gpu("a", "1"), gpu("a", "1")]), "ranks 1 and 2 share the GPU cuda:0");
        let missing = offer("b", "cuda:0", Some("1"), Err("there is no library"));
        assert_eq!(why(&[gpu("a", "1"), missing.clone()]), "NCCL is not here on rank 1: there is no library");
        assert_eq!(why(&[missing.clone(), missing]), "NCCL is not here on rank 0: there is no library");
        let other = offer("b", "cuda:0", Some("1"), Ok("2.27.5"));
        assert_eq!(why(&[gpu("a", "1"), other]), "rank 0 has NCCL 2.28.9, and rank 1 2.27.5");
    }

    /// A stand-in for tests carries tensors of the CPU, of which several ranks have one.
    #[test]
    fn ranks_may_share_the_cpu() {
        let twin = || offer("a", "the CPU", None, Ok("twin"));
        assert_eq!(chosen(&[twin(), twin()]), Carrier::Nccl("twin".into()));
    }

    #[test]
    fn a_library_that_cannot_be_used_is_told_with_its_reason() {
        let folder = tempfile::tempdir().unwrap();
        let made = |name: &str, source: &str| {
            let [source_file, file] = ["c", "so"].map(|end| folder.path().join(format!("{name}.{end}")));
            std::fs::write(&source_file, source).unwrap();
            let made =
                Command::new("cc").args(["-shared", "-fPIC", "-o"]).args([&file, &source_file]).status();
            assert!(made.unwrap().success());
            Nccl::load(&file).unwrap_err()
        };
        let said = Nccl::load(&folder.path().join(FILE)).unwrap_err();
        assert!(said.contains("there is no ") && said.contains("scripts/nccl.sh"), "{said}");
        let text = folder.path().join("text.so");
        std::fs::write(&text, "no library".repeat(100)).unwrap();
        assert!(Nccl::load(&text).unwrap_err().contains("invalid ELF header"));
        let said = made("empty", "int nothing;");
        assert!(said.ends_with("empty.so: it has no function rationale_nccl_made_for"), "{said}");
        let said =
            made("old", "const char *rationale_nccl_made_for() { return \"interface 0 of libtorch 2.10\"; }");
        let expected = "is made for interface 0 of libtorch 2.10, and this program for interface 1 of libtorch 2.11: make it anew";
        assert!(said.contains(expected), "{said}");
        let same = format!("const char *rationale_nccl_made_for() {{ return {:?}; }}", nccl_expected());
        let said = made("half", &same);
        assert!(said.ends_with("half.so: it has no function rationale_nccl_carries"), "{said}");
        // Of a missing library of CUDA's the loader says the name.
        let said = made(
            "refuses",
            &format!(
                "{same}\nint rationale_nccl_carries() {{ return 1; }}\nint rationale_nccl_open;\n\
            char *strdup(const char *);\nchar *rationale_nccl_version(char **out) {{ return strdup(\"no driver\"); }}"
            ),
        );
        assert!(said.ends_with("refuses.so: no driver"), "{said}");
    }

    #[test]
    fn what_this_libtorch_lacks_is_told() {
        if std::env::var_os(VARIABLE).is_none() && !Library::is_loaded(c"libtorch_cuda.so") {
            assert_eq!(Nccl::here().unwrap_err(), "this libtorch has no CUDA");
            let own = Offer::of(Device::Cpu, None);
            assert_eq!((own.device.as_str(), own.chip), ("the CPU", None));
        }
    }
}
