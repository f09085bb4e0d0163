//! A run that begins as another one was after its first stages: these are the same in both, and are not run again.

use super::atomic::write_folder;
use super::extent::Extents;
use super::ledger::Ledger;
use super::names::label;
use super::takeover::{FOLDERS, MARKER, entries};
use super::{RunDir, Saved};
use crate::{Error, Result};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufWriter, Read, copy};
use std::path::Path;

/// Makes `to` the directory of a run that has come as far as the one in `from` after its first `stages` stages, which are done: their
/// records, their lines of the files that grow, what else is theirs by name, and those of their checkpoints that are kept. A checkpoint's
/// files are never written to again, so that both runs have the same ones on the disk.
///
/// # Errors
/// Files of these stages that are not any more what they wrote; nothing is made then.
pub fn fork(from: &Path, to: &Path, stages: usize) -> Result<()> {
    let all = Ledger::read(from)?;
    let own: Vec<_> = all.stages.iter().take(stages).cloned().collect();
    if own.len() < stages || own.iter().any(|record| record.done.is_none()) {
        return Err(Error::Checkpoint(format!("{}: its first {stages} stages are not done", from.display())));
    }
    let labels: BTreeSet<String> = own.iter().map(|record| label(&record.stage, record.round)).collect();
    let known: BTreeSet<String> =
        all.stages.iter().map(|record| label(&record.stage, record.round)).collect();
    let mut files = Extents::new();
    own.iter().filter_map(|record| record.done.as_ref()).for_each(|done| files.extend(done.files.clone()));
    let saved: Vec<Saved> = RunDir::look(from)?
        .into_iter()
        .filter(|saved| own.iter().any(|record| (record.stage.as_str(), record.round) == saved.of()))
        .collect();
    write_folder(to, |folder| {
        for (name, extent) in &files {
            extent.check(&from.join(name))?;
            copy_beginning(&from.join(name), &folder.join(name), extent.bytes)?;
        }
        for part in std::iter::once("").chain(FOLDERS) {
            let (source, target) = (from.join(part), folder.join(part));
            for (name, path) in entries(&source).unwrap_or_default() {
                let theirs = is_of(&name, &labels, &known) && path.is_file();
                if theirs && !target.join(&name).exists() {
                    fs::create_dir_all(&target).map_err(Error::io(&target))?;
                    fs::copy(&path, target.join(&name)).map_err(Error::io(&path))?;
                }
            }
        }
        saved.iter().try_for_each(|saved| link_all(&saved.path, &folder.join(saved.name())))?;
        fs::copy(from.join(MARKER), folder.join(MARKER)).map_err(Error::io(from))?;
        Ledger { stages: own.clone(), failed: None }.write(folder)
    })
}

/// Whether a file is that of one of the stages called `labels`, by the longest of all `known` ones that its name begins with.
fn is_of(name: &str, labels: &BTreeSet<String>, known: &BTreeSet<String>) -> bool {
    let begins =
        |label: &&String| name.strip_prefix(label.as_str()).is_some_and(|rest| rest.starts_with(['-', '.']));
    known.iter().filter(begins).max_by_key(|label| label.len()).is_some_and(|label| labels.contains(label))
}

fn copy_beginning(from: &Path, to: &Path, bytes: u64) -> Result<()> {
    // Of a stage that wrote nothing to a file there may be none.
    if bytes == 0 && !from.exists() {
        return Ok(());
    }
    if let Some(folder) = to.parent() {
        fs::create_dir_all(folder).map_err(Error::io(folder))?;
    }
    let mut source = File::open(from).map_err(Error::io(from))?.take(bytes);
    let mut target = BufWriter::new(File::create(to).map_err(Error::io(to))?);
    copy(&mut source, &mut target).map_err(Error::io(to))?;
    target.into_inner().map_err(|error| Error::io(to)(error.into_error()))?;
    Ok(())
}

/// The same files by a further name, or copies of them where the disk has no such names.
fn link_all(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to).map_err(Error::io(to))?;
    for (name, path) in entries(from)? {
        let target = to.join(name);
        if path.is_dir() {
            link_all(&path, &target)?;
        } else if fs::hard_link(&path, &target).is_err() {
            fs::copy(&path, &target).map_err(Error::io(&path))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::{Done, Extent, Mode, Progress, StageRecord};

    fn labels(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| name.to_string()).collect()
    }

    #[test]
    fn a_file_belongs_to_the_longest_name_that_it_begins_with() {
        let known = labels(&["rl", "rl-2", "sft"]);
        assert!(is_of("rl-000040.jsonl", &labels(&["rl"]), &known));
        assert!(
            !is_of("rl-2-000040.jsonl", &labels(&["rl"]), &known)
                && is_of("rl-2.jsonl", &labels(&["rl-2"]), &known)
        );
        assert!(!is_of("rlx.jsonl", &labels(&["rl"]), &known));
    }

    /// The first stage is done and the second under way: the new run has the first one's lines and checkpoints, and nothing of the second's.
    #[test]
    fn a_fork_is_the_run_as_it_was_after_a_stage() {
        let parent = tempfile::tempdir().unwrap();
        let (from, to) = (parent.path().join("a"), parent.path().join("b"));
        let run = RunDir::create(&from, Mode::Fresh).unwrap();
        let save = |stage: &str, step| {
            let progress = Progress { stage: stage.into(), round: 1, step, ..Progress::default() };
            run.save(&progress, None, |folder| {
                fs::write(folder.join("config.json"), "{}").map_err(Error::io(folder))
            })
            .unwrap();
            progress.folder()
        };
        fs::write(from.join("metrics.jsonl"), "one\n").unwrap();
        let metrics = Extent::of(&from.join("metrics.jsonl"), u64::MAX).unwrap();
        fs::create_dir(from.join("evaluations")).unwrap();
        let checkpoint = Some(save("sft", 2));
        let files = [("metrics.jsonl".to_string(), metrics)].into();
        let done = Done { step: 2, checkpoint, files, ..Done::default() };
        let record =
            |stage: &str, done| StageRecord { stage: stage.into(), round: 1, done, ..StageRecord::default() };
        let stages = vec![record("sft", Some(done.clone())), record("rl", None)];
        run.note(&Ledger { stages, failed: None }).unwrap();
        fs::write(from.join("metrics.jsonl"), "one\ntwo\n").unwrap();
        for file in ["sft-000002.jsonl", "rl-000001.jsonl"] {
            fs::write(from.join("evaluations").join(file), file).unwrap();
        }
        save("rl", 1);
        assert!(fork(&from, &to, 2).is_err() && !to.exists(), "rl is not done");
        fork(&from, &to, 1).unwrap();
        let names = |folder: &Path| {
            let mut names: Vec<String> = entries(folder).unwrap().into_iter().map(|(name, _)| name).collect();
            names.sort();
            names
        };
        assert_eq!(
            names(&to),
            ["evaluations", "metrics.jsonl", "run.json", "sft-step-000002", "stages.json"]
        );
        assert_eq!(names(&to.join("evaluations")), ["sft-000002.jsonl"]);
        assert_eq!(fs::read_to_string(to.join("metrics.jsonl")).unwrap(), "one\n");
        assert_eq!(Ledger::read(&to).unwrap().stages, [record("sft", Some(done))]);
        drop(RunDir::create(&to, Mode::Resume).unwrap());

        // What was changed since is not taken for what the stage wrote.
        fs::write(from.join("metrics.jsonl"), "won\ntwo\n").unwrap();
        let refused = fork(&from, &parent.path().join("c"), 1).unwrap_err().to_string();
        assert!(refused.contains("was changed"), "{refused}");
    }
}
