//! Compiles csrc/ against the libtorch that torch-sys found, and lets every binary find it at run time. Nothing is linked against
//! its CUDA half, which `devices::cuda` loads where it is there.

use std::path::Path;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if cfg!(feature = "doc-only") {
        return;
    }
    let lib = std::env::var("DEP_TCH_LIBTORCH_LIB").expect("torch-sys names libtorch's folder");
    let root = Path::new(&lib).parent().expect("libtorch's libraries lie in libtorch/lib");
    println!("cargo:rerun-if-changed=csrc");
    println!("cargo:rerun-if-env-changed=LIBTORCH_CXX11_ABI");
    let abi = std::env::var("LIBTORCH_CXX11_ABI").unwrap_or_else(|_| "1".into());
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .opt_level(1)
        .debug(false)
        .warnings(false)
        .define("_GLIBCXX_USE_CXX11_ABI", abi.as_str())
        .include(root.join("include"))
        .include(root.join("include/torch/csrc/api/include"))
        .include("csrc")
        .file("csrc/optim.cpp")
        .file("csrc/devices.cpp")
        .file("csrc/c10d.cpp")
        .file("csrc/storage.cpp")
        .file("csrc/nf4.cpp")
        .compile("rationale_torch");
    // Loops over memory, which know nothing of libtorch.
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .opt_level(3)
        .debug(false)
        .file("csrc/blockwise.cpp")
        .compile("rationale_blocks");
    println!("cargo:rustc-link-arg=-Wl,-rpath,{lib}");
}
