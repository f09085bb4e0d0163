//! What `make bundle` makes, unpacked into an empty folder and run with an empty environment.
//!
//! Stripping and packing the program takes some seconds, so one test does all that needs no other libtorch.

use crate::skip::{python_for, skip};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use tempfile::TempDir;

/// The bundle of this build, made in a folder of its own and unpacked in another.
struct Bundle {
    folder: TempDir,
}

impl Bundle {
    fn new() -> Self {
        let (made, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let make = Command::new(root.join("scripts/bundle/make.sh"))
            .args([Path::new(env!("CARGO_BIN_EXE_train")), made.path()])
            .output()
            .unwrap();
        assert!(make.status.success(), "{}", text(&make));
        let archive = format!("rationale-{}.tar.gz", env!("CARGO_PKG_VERSION"));
        let unpacked = Command::new("tar")
            .arg("-xzf")
            .arg(made.path().join(archive))
            .arg("-C")
            .arg(folder.path())
            .status();
        assert!(unpacked.unwrap().success());
        Self { folder }
    }

    fn root(&self) -> PathBuf {
        self.folder.path().join(concat!("rationale-", env!("CARGO_PKG_VERSION")))
    }

    /// Runs the launcher with these variables and no others; what it said, and its exit code.
    fn train(&self, arguments: &[&str], environment: &[(&str, &str)]) -> (Option<i32>, String) {
        let mut command = Command::new("./train");
        command.current_dir(self.root()).args(arguments).env_clear().envs(environment.iter().copied());
        let output = command.output().unwrap();
        (output.status.code(), text(&output))
    }
}

fn text(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes)).concat()
}

/// The libtorch that this test runs on.
fn libtorch() -> PathBuf {
    let lib = rationale::devices::cuda::libtorch().expect("tests are linked against libtorch");
    lib.parent().unwrap().to_path_buf()
}

#[test]
fn a_bundle_runs_wherever_libtorch_is_and_says_where_it_looked() {
    let bundle = Bundle::new();
    for file in ["README.md", "LICENSE-MIT", "recipes/samples/preferences.jsonl", "docs/data.md"] {
        assert!(bundle.root().join(file).is_file(), "{file} is missing");
    }
    let licences = std::fs::read_to_string(bundle.root().join("LICENSES-OF-DEPENDENCIES")).unwrap();
    assert!(licences.contains("tch 0.24") && licences.contains("Permission is hereby granted"));

    let nowhere = ("RATIONALE_PYTHON", "/nowhere/python3");
    let (code, said) = bundle.train(&["--version"], &[nowhere]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("no libtorch 2.11 was found") && said.contains("/nowhere/python3"), "{said}");

    // A release before ours, as its zip names itself, is told and passed over.
    let old = tempfile::tempdir().unwrap();
    let lib = old.path().join("lib");
    std::fs::create_dir(&lib).unwrap();
    std::fs::write(old.path().join("build-version"), "2.9.1+cpu\n").unwrap();
    for file in ["libtorch_cpu.so", "libc10.so"] {
        std::fs::write(lib.join(file), "").unwrap();
    }
    let [lib, old] = [&lib, &old.path().to_path_buf()].map(|path| path.to_str().unwrap().to_string());
    let (code, said) = bundle.train(&["--version"], &[("LIBTORCH", &old)]);
    assert!(code == Some(2) && said.contains("libtorch 2.9.1"), "{said}");

    let libtorch = libtorch();
    std::os::unix::fs::symlink(&libtorch, bundle.root().join("libtorch")).unwrap();
    let checks = ["selftest", "--device", "cpu", "--only", "machine,scores,optimiser"];
    let (code, said) = bundle.train(&checks, &[nowhere, ("LD_LIBRARY_PATH", &lib)]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("all 3 checks passed") && said.contains("libtorch 2.11"), "{said}");

    std::fs::remove_file(bundle.root().join("libtorch")).unwrap();
    let steps = [
        "--set",
        "stage.warmup.run.steps=3",
        "--set",
        "stage.rl.run.steps=1",
        "--set",
        "data.task.addition.eval=10",
    ];
    let quickstart = [&["--recipe", "recipes/quickstart.toml", "--out", "run"][..], &steps].concat();
    let (code, said) =
        bundle.train(&quickstart, &[("LIBTORCH", libtorch.to_str().unwrap()), ("OMP_NUM_THREADS", "1")]);
    assert_eq!(code, Some(0), "{said}");
    let metrics = std::fs::read_to_string(bundle.root().join("run/metrics.jsonl")).unwrap();
    assert_eq!(metrics.matches("\"step_time\"").count(), 4, "{metrics}");
}

/// The same program on the libtorch of PyTorch's wheel, which has a CUDA half that this build was not linked against.
#[test]
fn a_bundle_runs_on_the_libtorch_of_pytorchs_wheel() {
    let Some(python) = python_for("a_bundle_runs_on_the_libtorch_of_pytorchs_wheel") else { return };
    let bundle = Bundle::new();
    let (code, said) =
        bundle.train(&["selftest", "--only", "machine,scores"], &[("RATIONALE_PYTHON", &python)]);
    if code == Some(2) {
        return skip("a_bundle_runs_on_the_libtorch_of_pytorchs_wheel", &said);
    }
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("site-packages/torch/lib"), "{said}");
}
