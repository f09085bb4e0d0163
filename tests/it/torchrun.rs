//! Ranks under the real torchrun, which comes with PyTorch; what it sets in the environment `launch` tries without it.

use crate::launch::{STAGE, ranks_of};
use crate::program::Program;
use crate::recipes::Tiny;
use crate::skip::{python_for, skip};
use std::fs;
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Two ranks of one thread, started by torchrun; those that it starts again go on with what there is.
fn command(python: &str, program: &Program, restarts: usize) -> Command {
    let folder = program.out().parent().unwrap().to_path_buf();
    let train = env!("CARGO_BIN_EXE_train");
    let script = format!(
        "exec {train} --quiet --recipe recipe.toml --out out --set devices.threads=2 $([ -f out/run.json ] && echo --resume)"
    );
    let mut command = Command::new(python);
    command.current_dir(folder).env_remove("OMP_NUM_THREADS");
    command.args(["-m", "torch.distributed.run", "--no-python", "--nproc-per-node", "2", "--max-restarts"]);
    command.arg(restarts.to_string()).arg("--standalone");
    command.args(["sh", "-c", &script]).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn said(output: &Output) -> String {
    [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes)).concat()
}

#[test]
fn torchrun_starts_ranks_again_and_says_why_one_failed() {
    let test = "torchrun_starts_ranks_again_and_says_why_one_failed";
    let Some(python) = python_for(test) else { return };
    let there = Command::new(&python).args(["-c", "import torch.distributed.run"]).output();
    if !there.is_ok_and(|output| output.status.success()) {
        return skip(test, "RATIONALE_PYTHON has no PyTorch, whose torchrun is needed");
    }

    // A rank that is killed takes the others with it; all begin again from the newest checkpoint, to the same end.
    let [right, killed] =
        [0; 2].map(|_| Program::new(&Tiny::SUMS.recipe(&STAGE.replace("steps = 6", "steps = 60"))));
    right.train(&["--quiet", "--set", "devices.ranks=2", "--set", "devices.threads=2"]).success();
    let child = command(&python, &killed, 1).spawn().unwrap();
    let began = Instant::now();
    while !fs::read_to_string(killed.out().join("metrics.jsonl")).is_ok_and(|text| text.lines().count() > 4) {
        assert!(began.elapsed() < Duration::from_secs(300), "no step");
        std::thread::sleep(Duration::from_millis(5));
    }
    let (_, pid) = ranks_of(child.id()).into_iter().find(|(rank, _)| *rank == 1).expect("the rank runs");
    // SAFETY: kill(2) touches no memory.
    assert_eq!(unsafe { libc::kill(pid, libc::SIGKILL) }, 0);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", said(&output));
    assert!(said(&output).contains("exitcode: -9"), "{}", said(&output));
    for file in ["model.safetensors", "optimizer.safetensors"] {
        let of = |program: &Program| fs::read(program.checkpoint("000060").join(file)).unwrap();
        assert!(of(&right) == of(&killed), "{file}");
    }

    // Its summary has the sentence of the rank that failed.
    let fails = "read -r line; case \"$RANK\" in 1) echo no points >&2; exit 3;; esac; echo 0; while read -r _; do echo 0; done";
    let reward =
        format!("[reward.tests]\nkind = \"command\"\ncommand = [\"sh\", \"-c\", {fails:?}]\n[loop.grpo]");
    let failing = Program::new(&Tiny::SUMS.recipe(&STAGE.replace("[loop.grpo]", &reward)));
    let output = command(&python, &failing, 0).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    let text = said(&output);
    let summary = text.split("Root Cause").nth(1).unwrap_or_else(|| panic!("no root cause: {text}"));
    assert!(summary.contains("rank      : 1") && summary.contains("no points"), "{text}");
}
