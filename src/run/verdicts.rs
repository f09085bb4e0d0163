//! The files of verdicts: `evaluations/<stage>-<step>.jsonl`, one an evaluation, whole or not there.

use crate::checkpoint::write_atomic;
use crate::error::{Error, Result};
use crate::eval::VERDICTS;
use serde::Serialize;
use std::fs;
use std::path::Path;

/// Writes what an evaluation says of each completion, or of each row, to `path`, where there is something.
pub(super) fn write<T: Serialize>(path: &Path, verdicts: &[T]) -> Result<()> {
    if verdicts.is_empty() {
        return Ok(());
    }
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(Error::io(folder))?;
    }
    let mut lines = Vec::new();
    for verdict in verdicts {
        serde_json::to_writer(&mut lines, verdict)
            .map_err(|error| Error::Checkpoint(format!("{}: {error}", path.display())))?;
        lines.push(b'\n');
    }
    write_atomic(path, &lines)
}

/// Removes what a stage that goes on from `step` had evaluated later: those steps are taken anew.
pub(super) fn take_back(run: &Path, label: &str, step: usize) -> Result<()> {
    let Ok(entries) = fs::read_dir(run.join(VERDICTS)) else { return Ok(()) };
    for entry in entries {
        let path = entry.map_err(Error::io(run))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let of_stage = name.strip_prefix(label).and_then(|rest| rest.strip_prefix('-'));
        let at = of_stage
            .and_then(|rest| rest.strip_suffix(".jsonl")?.trim_end_matches("-rows").parse::<usize>().ok());
        if at.is_some_and(|at| at > step) {
            fs::remove_file(&path).map_err(Error::io(&path))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::{Evaluation, Report, Verdict};

    #[test]
    fn what_comes_after_a_checkpoint_is_taken_back() {
        let run = tempfile::tempdir().unwrap();
        take_back(run.path(), "rl", 0).unwrap();
        let verdict = Verdict { question: "1+1".into(), ..Verdict::default() };
        let file = |stage: &str, round, step| {
            let report = Report::default();
            let evaluation = Evaluation { stage: stage.into(), round, loop_round: None, step, report };
            run.path().join(evaluation.verdicts())
        };
        for (stage, round, step) in
            [("rl", 1, 0), ("rl", 1, 20), ("rl", 1, 40), ("rl", 2, 40), ("sft", 1, 40)]
        {
            write(&file(stage, round, step), std::slice::from_ref(&verdict)).unwrap();
        }
        write::<Verdict>(&file("rl", 1, 60), &[]).unwrap();
        let rows = run.path().join("evaluations/rl-000040-rows.jsonl");
        write(&rows, &[1]).unwrap();
        take_back(run.path(), "rl", 20).unwrap();
        let left = |stage, round, step| file(stage, round, step).is_file();
        assert!(left("rl", 1, 0) && left("rl", 1, 20) && left("rl", 2, 40) && left("sft", 1, 40));
        assert!(!left("rl", 1, 40) && !left("rl", 1, 60) && !rows.exists());
    }
}
