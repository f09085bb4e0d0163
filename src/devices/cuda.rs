//! libtorch's CUDA half, loaded where it lies beside the libtorch that the program runs on, so that one binary serves both builds.
//!
//! The program is linked against what every libtorch has. The CUDA half registers its kernels when it is loaded; none of its
//! symbols is used by name.

use crate::library::{Library, Seen};
use std::ffi::{CStr, c_char};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// What became of the CUDA half.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CudaHalf {
    /// This libtorch is one for CPUs.
    Absent,
    /// It is there and loaded; whether there is a device for it is another question.
    Loaded,
    /// It is there and cannot be loaded, for this reason.
    Broken(String),
}

/// Loads the CUDA half, the first time that it is called. It must be before the first question about CUDA: libtorch keeps the
/// answer that it gives to it.
pub fn load() -> &'static CudaHalf {
    static HALF: OnceLock<CudaHalf> = OnceLock::new();
    HALF.get_or_init(|| {
        let half = libtorch().map_or(CudaHalf::Absent, |folder| load_from(&folder));
        if let CudaHalf::Broken(why) = &half {
            tracing::warn!(
                "libtorch has a CUDA half that does not load, so that there are no CUDA devices: {why}"
            );
        }
        half
    })
}

/// The folder of the libtorch that this process runs on.
pub fn libtorch() -> Option<PathBuf> {
    let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
    folder_of(&maps, "libtorch_cpu.so")
}

/// The name of a device, as the driver has it.
pub fn device_name(index: usize) -> Option<String> {
    told_by(Path::new(DRIVER), c"cuDeviceGetName", index)
}

/// Where a device is on the machine's bus: the same for all processes, whichever devices each of them sees under which number.
pub fn bus_id(index: usize) -> Option<String> {
    told_by(Path::new(DRIVER), c"cuDeviceGetPCIBusId", index)
}

const DRIVER: &str = "libcuda.so.1";

/// What the driver's function `of` says of a device.
fn told_by(driver: &Path, of: &CStr, index: usize) -> Option<String> {
    let mut device = 0;
    let mut told = [0 as c_char; 256];
    let driver = Library::load(driver, Seen::Alone).ok()?;
    // SAFETY: the driver's functions have these types in all its versions (cuda.h), and those that give a text have all the same; `told` has as many places as is said.
    unsafe {
        let init: extern "C" fn(u32) -> i32 = driver.function(c"cuInit")?;
        let get: extern "C" fn(*mut i32, i32) -> i32 = driver.function(c"cuDeviceGet")?;
        let text_of: extern "C" fn(*mut c_char, i32, i32) -> i32 = driver.function(of)?;
        let there = init(0) == 0 && get(&mut device, index as i32) == 0;
        if !there || text_of(told.as_mut_ptr(), told.len() as i32, device) != 0 {
            return None;
        }
        Some(CStr::from_ptr(told.as_ptr()).to_string_lossy().into_owned())
    }
}

fn load_from(folder: &Path) -> CudaHalf {
    let file = folder.join("libtorch_cuda.so");
    if !file.exists() {
        return CudaHalf::Absent;
    }
    // Its initialisers register kernels; NCCL's library finds its symbols.
    match Library::load(&file, Seen::ByAll) {
        Ok(_) => CudaHalf::Loaded,
        Err(why) => CudaHalf::Broken(why),
    }
}

/// The folder of the file `name` among those that a process has mapped: the sixth field of its lines is the path.
fn folder_of(maps: &str, name: &str) -> Option<PathBuf> {
    let mut paths = maps.lines().filter_map(|line| line.find('/').map(|at| Path::new(&line[at..])));
    paths.find(|path| path.file_name().is_some_and(|file| file == name))?.parent().map(Path::to_path_buf)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_libtorch_of_this_process_is_found() {
        let folder = libtorch().expect("tests are linked against libtorch");
        assert!(folder.join("libtorch_cpu.so").is_file(), "{}", folder.display());
    }

    #[test]
    fn a_mapped_files_folder_may_have_spaces() {
        let maps = "7f00-7f01 r--p 00000000 fe:00 1   [vdso]\n7f02-7f03 r-xp 00000000 fe:00 12   /a b/libtorch_cpu.so\n";
        assert_eq!(folder_of(maps, "libtorch_cpu.so"), Some("/a b".into()));
        assert_eq!(folder_of(maps, "libc10.so"), None);
    }

    #[test]
    fn what_is_there_and_no_library_is_told_with_its_reason() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(load_from(folder.path()), CudaHalf::Absent);
        std::fs::write(folder.path().join("libtorch_cuda.so"), "no library".repeat(100)).unwrap();
        let CudaHalf::Broken(why) = load_from(folder.path()) else { panic!("it cannot be loaded") };
        assert!(why.contains("libtorch_cuda.so: ") && why.contains("invalid ELF header"), "{why}");
    }

    /// A driver of two devices, with the types of cuda.h.
    const TWIN: &str = r#"
        #include <stdio.h>
        int cuInit(unsigned flags) { return flags; }
        int cuDeviceGet(int *device, int index) { *device = 10 + index; return index < 2 ? 0 : 101; }
        int cuDeviceGetName(char *name, int length, int device) { return snprintf(name, length, "GPU %d", device) < 0; }
        int cuDeviceGetPCIBusId(char *id, int length, int device) { return snprintf(id, length, "00:%d.0", device) < 0; }
    "#;

    #[test]
    fn a_device_has_the_drivers_name_and_place() {
        let folder = tempfile::tempdir().unwrap();
        let [source, library] = ["driver.c", "libcuda.so.1"].map(|file| folder.path().join(file));
        std::fs::write(&source, TWIN).unwrap();
        let compiled = std::process::Command::new("cc")
            .args(["-shared", "-fPIC", "-o"])
            .args([&library, &source])
            .status();
        assert!(compiled.unwrap().success());
        let name = |driver: &Path, index| told_by(driver, c"cuDeviceGetName", index);
        assert_eq!(name(&library, 1), Some("GPU 11".into()));
        assert_eq!(told_by(&library, c"cuDeviceGetPCIBusId", 0), Some("00:10.0".into()));
        assert_eq!([name(&library, 2), name(Path::new("/nowhere/libcuda.so.1"), 0)], [None, None]);
    }
}
