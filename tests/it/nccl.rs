//! The library of NCCL, for which a stand-in is compiled here: it opens a second Gloo and says that it carries tensors on the CPU, so
//! that what chooses, loads and calls it is tried on machines without a GPU. NCCL itself `train selftest` tries, where there is one.

use crate::compare::differences;
use crate::launch::{STAGE, TWO};
use crate::program::Program;
use crate::recipes::Tiny;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

/// csrc/nccl/interface.h in C, with the program's own way to Gloo behind it, whose first member is the backend (csrc/c10d.cpp). Its ranks
/// stand in the order that `RANK` says.
const TWIN: &str = r#"
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
extern const char *rationale_nccl_expected(void);
extern char *rationale_group_open(const void *store, int rank, int count, const char *host, const char *interface,
                                  int64_t millis, void ***out);
const char *rationale_nccl_made_for(void) { return rationale_nccl_expected(); }
char *rationale_nccl_version(char **out) { *out = strdup("twin"); return NULL; }
int rationale_nccl_carries(void) { return 0; }
char *rationale_nccl_open(const void *store, int rank, int count, int device, int64_t millis, void **out) {
  void **group;
  if (device != -1) return strdup("there are several CPUs");
  char *said = rationale_group_open(store, RANK, COUNT, "127.0.0.1", NULL, millis, &group);
  if (!said) *out = group[0];
  return said;
}
"#;

struct Twin {
    _folder: TempDir,
    file: PathBuf,
}

impl Twin {
    /// One that counts ranks in this way.
    fn of(rank: &str, count: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let [source, file] = ["twin.c", "twin.so"].map(|name| folder.path().join(name));
        std::fs::write(&source, TWIN).unwrap();
        let made = Command::new("cc")
            .args([format!("-DRANK={rank}"), format!("-DCOUNT={count}")])
            .args(["-shared", "-fPIC", "-o"])
            .args([&file, &source, &Path::new(env!("OUT_DIR")).join("librationale_torch.a")])
            .status();
        assert!(made.unwrap().success());
        Self { _folder: folder, file }
    }

    fn variable(&self) -> (&str, &str) {
        ("RATIONALE_NCCL", self.file.to_str().unwrap())
    }
}

/// What differs, but for what says which machine it was: who carried tensors is a part of that.
fn apart(right: &Program, other: &Program) -> Vec<String> {
    let mut found = differences(&right.out(), &other.out());
    found.retain(|line| !["machine.json", "report.html"].iter().any(|file| line.starts_with(file)));
    found
}

/// What travels through another library than Gloo's comes to the same, and it does travel there: one whose ranks stand in another order
/// gathers what is wrong.
#[test]
fn tensors_travel_through_the_library_that_is_loaded() {
    let [twin, backwards] = ["rank", "count - 1 - rank"].map(|rank| Twin::of(rank, "count"));
    for shard in ["none", "optimizer", "parameters"] {
        let shard = format!("devices.shard={shard}");
        let arguments = [&TWO[..], &["--set", &shard]].concat();
        let [right, other] = [0; 2].map(|_| Program::new(&Tiny::SUMS.recipe(STAGE)));
        right.train_with(&arguments, &[("RATIONALE_NCCL", "none")]).success();
        other.train_with(&arguments, &[twin.variable()]).success();
        assert_eq!(apart(&right, &other), [""; 0], "{shard}");
    }
    let [right, wrong] = [0; 2].map(|_| Program::new(&Tiny::SUMS.recipe(STAGE)));
    let divided = [&TWO[..], &["--set", "devices.shard=optimizer", "--set", "run.steps=2"]].concat();
    right.train(&divided).success();
    let (code, _) = wrong.train_with(&divided, &[backwards.variable()]).parts();
    assert!(code != Some(0) || !apart(&right, &wrong).is_empty());
}

/// In groups of ranks that hold what others hold too, each of which has a library's group of its own.
#[test]
fn copies_of_what_is_divided_go_through_the_library() {
    let twin = Twin::of("rank", "count");
    let sets = ["devices.ranks=4", "devices.threads=4", "devices.shard=parameters", "devices.replicas=2"];
    let mut arguments = vec!["--quiet"];
    arguments.extend(sets.iter().flat_map(|set| ["--set", set]));
    let [right, other] = [0; 2].map(|_| Program::new(&Tiny::SUMS.recipe(STAGE)));
    right.train(&arguments).success();
    other.train_with(&arguments, &[twin.variable()]).success();
    assert_eq!(apart(&right, &other), [""; 0]);
}

/// Before anything trains: a library that is not there is passed over with a reason, one that does not do what it should ends the run.
#[test]
fn a_library_that_is_wrong_is_told() {
    let program = Program::new(&Tiny::SUMS.recipe(STAGE));
    // Each rank by itself.
    let alone = Twin::of("0", "1");
    let said = program.train_with(&TWO, &[alone.variable()]).code(1);
    assert!(said.contains("NCCL does not start on rank "), "{said}");
    assert!(
        said.contains("its sum of the numbers from 1 to 2 is ") && said.contains("RATIONALE_NCCL=none"),
        "{said}"
    );
    assert!(!program.out().join("metrics.jsonl").exists(), "nothing was trained");
    let said = program.verb_with(&["env"], &[("RATIONALE_NCCL", "/nowhere/lib.so")]).success();
    assert!(
        said.contains("NCCL                not here: RATIONALE_NCCL: there is no /nowhere/lib.so"),
        "{said}"
    );
    let said = program.verb_with(&["env"], &[alone.variable()]).success();
    assert!(said.contains("NCCL                twin"), "{said}");
    // The CPU needs none.
    let program = Program::new(&Tiny::SUMS.recipe(STAGE));
    let missing = [("RATIONALE_NCCL", "/nowhere/lib.so")];
    let said = program.train_with(&[&TWO[..], &["--set", "run.steps=1"]].concat(), &missing).success();
    assert!(!said.contains("NCCL"), "{said}");
}

/// The selftest's check of one rank, with the stand-in.
#[test]
fn selftest_says_whether_the_library_is_there() {
    let twin = Twin::of("rank", "count");
    let program = Program::new("");
    let checks = ["selftest", "--device", "cpu", "--only", "machine,ranks"];
    let said = program.verb_with(&checks, &[twin.variable()]).success();
    assert!(said.contains("NCCL of one rank: exchanges 0 (≤ 0)") && said.contains("NCCL twin by "), "{said}");
    let said = program.verb_with(&checks, &[("RATIONALE_NCCL", "none")]).success();
    assert!(said.contains("NCCL of one rank: not run: it is for CUDA devices"), "{said}");
    assert!(said.contains("NCCL is not here: RATIONALE_NCCL = none"), "{said}");
}
