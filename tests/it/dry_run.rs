//! `--dry-run` says what opening the run would say of its folder, and writes nothing.

use crate::program::Program;
use crate::recipes::Tiny;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

fn recipe() -> String {
    Tiny::SUMS.recipe(
        "[data]\nprompts_per_step = 4\ntemplate.chat = false\n[data.task.addition]\ndigits = [1]\ntrain = 8\neval = 4\n[run]\nsteps = 2\n\
         [checkpoint]\nevery = 1\n[loop.sft]\n",
    )
}

/// All files of a folder with their times.
fn listed(folder: &Path) -> BTreeMap<PathBuf, SystemTime> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let (path, about) = (entry.path(), entry.metadata().unwrap());
        if about.is_dir() {
            found.extend(listed(&path));
        }
        found.insert(path, about.modified().unwrap());
    }
    found
}

#[test]
fn a_folder_that_is_taken_is_said() {
    let program = Program::new(&recipe());
    program.train(&["--quiet"]).success();
    let before = listed(&program.out());
    let said = program.train(&["--dry-run"]).code(2);
    // The plan is there all the same.
    assert!(said.contains("# Plan") && said.contains("holds a run already; --resume continues it"), "{said}");
    program.train(&["--dry-run", "--overwrite"]).success();
    let resumed = program.train(&["--dry-run", "--resume"]).success();
    assert!(resumed.contains("all stages are complete: there is nothing to resume"), "{resumed}");
    assert_eq!(listed(&program.out()), before);
}

/// A shape that no model has is refused where it stands, and its weights are not counted.
#[test]
fn a_model_of_millions_of_layers_is_refused_at_once() {
    let program = Program::new(&recipe());
    for arguments in [&["--dry-run"][..], &["--quiet"]] {
        let said = program.train(&[arguments, &["--set", "policy.init.layers=5000000"]].concat()).code(2);
        assert!(said.contains("policy.init.layers = 5000000: it must be at most 10000"), "{said}");
    }
    assert!(!program.out().exists());
}

#[test]
fn what_resume_would_say_is_said() {
    let program = Program::new(&recipe());
    program.train(&["--quiet"]).success();
    let before = listed(&program.out());
    let longer = program.train(&["--dry-run", "--resume", "--set", "run.steps=4"]).success();
    assert!(longer.contains("run.steps: 2 → 4") && longer.contains("goes on from step 2"), "{longer}");
    let refused = program.train(&["--dry-run", "--resume", "--set", "data.prompts_per_step=2"]).code(2);
    assert!(
        refused.contains("data.prompts_per_step: 4 → 2: stage `sft` has begun with what it was"),
        "{refused}"
    );
    assert_eq!(listed(&program.out()), before);
    let nothing = Program::new(&recipe()).train(&["--dry-run", "--resume"]).code(2);
    assert!(nothing.contains("holds no run to --resume"), "{nothing}");
}

#[test]
fn a_folder_that_cannot_be_written_or_made_is_said() {
    let program = Program::new(&recipe());
    program.write("file", "");
    let said = program.train_into("recipe.toml", Path::new("file/run"), &["--dry-run"]).code(2);
    assert!(said.contains("is a file, not a folder"), "{said}");
    program.train(&["--dry-run"]).success();
    assert!(!program.out().exists());
}

/// What a stage would warn of when it opens is a note of the plan.
#[test]
fn warnings_of_a_stage_are_notes_of_the_plan() {
    let program = Program::new(
        &Tiny::BYTES.recipe(
            "[data]\ntrain = \"rows.jsonl\"\ntemplate.chat = false\ntemplate.user = \"{{ question }}!\"\n[run]\nsteps = 1\n[loop.sft]\n",
        ),
    );
    program.write("rows.jsonl", "{\"prompt\": \"a\", \"completion\": \"b\"}\n");
    let said = program.train(&["--dry-run"]).success();
    assert!(said.contains("# note: stage `sft`: data.template.user has no effect on all rows"), "{said}");
}

#[test]
fn what_passes_come_to_in_steps_is_said() {
    let passes = recipe().replace("[run]\nsteps = 2", "[run]\nepochs = 2.5");
    let said = Program::new(&passes).train(&["--dry-run"]).success();
    // Of 8 rows four a step: two steps a pass.
    assert!(said.contains("loop.sft, 2.5 passes over the rows, 4 a step: 5 steps"), "{said}");
}

/// The run goes on all the same: a plan counts full micro-batches, and these rows are short.
#[test]
fn a_stage_that_may_not_fit_is_said_before_it_runs() {
    let program = Program::new(&recipe());
    let said = program.train(&["--set", "optim.tokens_per_microbatch=1000000000"]).success();
    let warned = "does not fit the";
    assert!(said.contains("WARN stage `sft`: the memory of about") && said.contains(warned), "{said}");
    assert!(!Program::new(&recipe()).train(&[]).success().contains(warned));
}
