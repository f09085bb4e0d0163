//! The directory of a run: who may write to it, its checkpoints, and which of them are kept.

use super::Checkpoint;
use super::atomic::{UNFINISHED, remove, write_atomic, write_folder};
use super::lock::{LOCK, Lock};
use super::revision::origin;
use super::saved::{self, Progress, Saved};
use crate::{Error, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use tch::Tensor;

/// What makes a directory a run directory. Written first, removed last.
const MARKER: &str = "run.json";

/// What to do about a run directory that exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Refuse it.
    Fresh,
    /// Go on from its newest checkpoint (`--resume`).
    Resume,
    /// Remove it and start anew (`--overwrite`).
    Overwrite,
}

/// A run directory that this process alone writes to.
#[derive(Debug)]
pub struct RunDir {
    path: PathBuf,
    /// Whether it was not there before.
    made: bool,
    /// None where another process writes.
    _lock: Option<Lock>,
}

impl RunDir {
    /// Makes or takes over the directory `path` and locks it until dropped.
    pub fn create(path: impl AsRef<Path>, mode: Mode) -> Result<RunDir> {
        let path = path.as_ref();
        refuse(path, mode)?;
        let made = !path.exists();
        fs::create_dir_all(path).map_err(Error::io(path))?;
        let lock = Lock::take(path)?;
        match mode {
            Mode::Fresh => {}
            Mode::Resume => remove_entries(path, |name| name.starts_with(UNFINISHED))?,
            Mode::Overwrite => {
                remove_entries(path, |name| name != LOCK && name != MARKER)?;
            }
        }
        if mode != Mode::Resume {
            write_atomic(path.join(MARKER), &origin())?;
        }
        Ok(RunDir { path: path.to_path_buf(), made, _lock: Some(lock) })
    }

    /// Looks into the directory of a run that another process writes to: that of its first rank.
    pub fn join(path: impl AsRef<Path>) -> RunDir {
        RunDir { path: path.as_ref().to_path_buf(), made: false, _lock: None }
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Removes the directory if it was not there before [`create`](Self::create): for a run that has not begun.
    pub fn discard(&self) {
        if self.made {
            // What cannot be removed is in nobody's way: it holds no checkpoint.
            let _ = fs::remove_dir_all(&self.path);
        }
    }

    /// Writes a checkpoint: complete under its name, or absent. `model` fills the folder it is given with the model;
    /// the optimiser's tensors and the state come beside it. One of the same name is replaced.
    pub fn save(
        &self,
        progress: &Progress,
        optimizer: Option<&[(String, Tensor)]>,
        model: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<Saved> {
        let sequence = self.checkpoints()?.last().map_or(1, |newest| newest.state.sequence + 1);
        let path = self.path.join(progress.folder());
        write_folder(&path, |folder| {
            model(folder)?;
            saved::write(folder, sequence, progress, optimizer)
        })?;
        Saved::open(path)
    }

    /// All complete checkpoints, oldest first.
    pub fn checkpoints(&self) -> Result<Vec<Saved>> {
        Self::look(&self.path)
    }

    /// All complete checkpoints in a directory that may be another run's, oldest first; none if it is no run.
    pub fn look(run: &Path) -> Result<Vec<Saved>> {
        if !run.join(MARKER).is_file() {
            return Ok(Vec::new());
        }
        let mut found = Vec::new();
        for (name, path) in entries(run)? {
            if !name.starts_with(UNFINISHED) && saved::is_checkpoint(&path) {
                found.push(Saved::open(path)?);
            }
        }
        found.sort_by_key(|saved| saved.state.sequence);
        Ok(found)
    }

    /// The newest complete checkpoint.
    pub fn latest(&self) -> Result<Option<Saved>> {
        Ok(self.checkpoints()?.pop())
    }

    /// The checkpoint with the best value of the section's `best` metric, the earlier of equals.
    pub fn best(&self, keep: &Checkpoint) -> Result<Option<Saved>> {
        Ok(best(&self.checkpoints()?, keep).cloned())
    }

    /// Removes the checkpoints that the section does not keep. Kept are the newest `keep_last`, the best, and of each
    /// stage the newest that ended it, which `"@stage"` may refer to.
    pub fn prune(&self, keep: &Checkpoint) -> Result<()> {
        let all = self.checkpoints()?;
        if keep.keep_last == 0 {
            return Ok(());
        }
        let newest = all.iter().rev().take(keep.keep_last);
        let ended: BTreeMap<&str, &Saved> = all
            .iter()
            .filter(|s| s.state.progress.last)
            .map(|s| (s.state.progress.stage.as_str(), s))
            .collect();
        let kept: BTreeSet<&Path> = newest
            .chain(best(&all, keep))
            .chain(ended.into_values())
            .map(|saved| saved.path.as_path())
            .collect();
        for saved in all.iter().filter(|saved| !kept.contains(saved.path.as_path())) {
            remove(&saved.path)?;
        }
        Ok(())
    }
}

fn best<'a>(all: &'a [Saved], keep: &Checkpoint) -> Option<&'a Saved> {
    let metric = keep.best.as_ref()?;
    let value = |saved: &Saved| saved.state.progress.metrics.get(metric).copied();
    all.iter().filter(|saved| value(saved).is_some()).reduce(|best, next| {
        let better = keep.best_mode.than(value(next).unwrap_or(f64::NAN), value(best).unwrap_or(f64::NAN));
        if better { next } else { best }
    })
}

fn refuse(path: &Path, mode: Mode) -> Result<()> {
    let shown = path.display();
    let (used, is_run) = (path.exists() && !empty(path)?, path.join(MARKER).is_file());
    let message = match mode {
        Mode::Fresh if used && is_run => {
            format!(
                "{shown} holds a run already; --resume continues it, --overwrite removes it and starts anew"
            )
        }
        Mode::Fresh if used => format!("{shown} holds something else; choose another folder with --out"),
        Mode::Resume if !is_run => {
            format!("{shown} holds no run to --resume; leave --resume out to start one")
        }
        Mode::Overwrite if used && !is_run => {
            format!(
                "{shown} holds no {MARKER}, so it is no run and --overwrite leaves it alone; choose another --out"
            )
        }
        _ => return Ok(()),
    };
    Err(Error::Checkpoint(message))
}

/// A lock alone is what a start leaves that was stopped at once.
fn empty(path: &Path) -> Result<bool> {
    Ok(entries(path)?.iter().all(|(name, _)| name == LOCK))
}

fn remove_entries(folder: &Path, which: impl Fn(&str) -> bool) -> Result<()> {
    entries(folder)?.iter().filter(|(name, _)| which(name)).try_for_each(|(_, path)| remove(path))
}

fn entries(folder: &Path) -> Result<Vec<(String, PathBuf)>> {
    let list = fs::read_dir(folder).map_err(Error::io(folder))?;
    let named = |entry: std::io::Result<fs::DirEntry>| {
        let entry = entry.map_err(Error::io(folder))?;
        Ok((entry.file_name().to_string_lossy().into_owned(), entry.path()))
    };
    list.map(named).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::Better;
    use serde_json::json;

    fn progress(stage: &str, step: usize, accuracy: f64) -> Progress {
        let metrics = [("eval/accuracy".to_string(), accuracy)].into();
        Progress { stage: stage.into(), round: 1, step, metrics, ..Progress::default() }
    }

    fn save(run: &RunDir, progress: &Progress) -> Saved {
        run.save(progress, None, |folder| {
            fs::write(folder.join("config.json"), "{}").map_err(Error::io(folder))
        })
        .unwrap()
    }

    fn names(run: &RunDir) -> Vec<String> {
        let all = run.checkpoints().unwrap();
        all.iter().map(|s| s.path.file_name().unwrap().to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn an_existing_run_is_refused_resumed_or_overwritten() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("run");
        save(&RunDir::create(&path, Mode::Fresh).unwrap(), &progress("", 5, 0.0));

        let refused = RunDir::create(&path, Mode::Fresh).unwrap_err().to_string();
        assert!(refused.contains("--resume") && refused.contains("--overwrite"), "{refused}");

        fs::create_dir(path.join(".tmp-step-000006-1-0")).unwrap();
        let resumed = RunDir::create(&path, Mode::Resume).unwrap();
        assert_eq!(resumed.latest().unwrap().unwrap().state.progress.step, 5);
        assert!(!path.join(".tmp-step-000006-1-0").exists());
        drop(resumed);

        assert!(RunDir::create(&path, Mode::Overwrite).unwrap().latest().unwrap().is_none());
    }

    #[test]
    fn overwrite_never_removes_what_is_no_run() {
        let parent = tempfile::tempdir().unwrap();
        let thesis = parent.path().join("thesis.tex");
        fs::write(&thesis, "years").unwrap();
        for mode in [Mode::Fresh, Mode::Resume, Mode::Overwrite] {
            assert!(matches!(RunDir::create(parent.path(), mode), Err(Error::Checkpoint(_))));
        }
        assert_eq!(fs::read_to_string(&thesis).unwrap(), "years");
        assert!(RunDir::create(parent.path().join("new"), Mode::Resume).is_err());
    }

    #[test]
    fn two_processes_cannot_share_a_run() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("run");
        let _held = RunDir::create(&path, Mode::Fresh).unwrap();
        let refused = RunDir::create(&path, Mode::Overwrite).unwrap_err().to_string();
        assert!(refused.contains("in use"), "{refused}");
    }

    #[test]
    fn a_checkpoint_round_trips_with_its_state_and_optimizer() {
        let parent = tempfile::tempdir().unwrap();
        let run = RunDir::create(parent.path().join("run"), Mode::Fresh).unwrap();
        let progress = Progress {
            round: 2,
            seed: u64::MAX,
            extra: json!({"refreshed": 3, "loss": [0.1]}),
            ..progress("grpo", 50, 0.1 + 0.2)
        };
        let tensors = vec![("w.exp_avg".to_string(), Tensor::from_slice(&[0.1f32, -0.0]))];
        run.save(&progress, Some(&tensors), |_| Ok(())).unwrap();

        let saved = run.latest().unwrap().unwrap();
        assert!(saved.path.ends_with("grpo-r2-step-000050"));
        assert_eq!(saved.state.progress, progress);
        let optimizer = saved.optimizer().unwrap().unwrap();
        assert!(optimizer[0].1.equal(&tensors[0].1));
    }

    #[test]
    fn a_failed_save_leaves_the_older_checkpoint_as_the_newest() {
        let parent = tempfile::tempdir().unwrap();
        let run = RunDir::create(parent.path().join("run"), Mode::Fresh).unwrap();
        save(&run, &progress("", 1, 0.0));
        assert!(run.save(&progress("", 2, 0.0), None, |_| Err(Error::Model("full".into()))).is_err());
        assert_eq!(names(&run), ["step-000001"]);
    }

    #[test]
    fn prune_keeps_the_newest_the_best_and_each_stages_end() {
        let parent = tempfile::tempdir().unwrap();
        let run = RunDir::create(parent.path().join("run"), Mode::Fresh).unwrap();
        save(&run, &progress("sft", 1, 0.1));
        save(&run, &Progress { last: true, ..progress("sft", 2, 0.2) });
        for (step, accuracy) in [(1, 0.9), (2, 0.9), (3, 0.5), (10, 0.6)] {
            save(&run, &progress("grpo", step, accuracy));
        }
        let keep = Checkpoint { keep_last: 1, best: Some("eval/accuracy".into()), ..Checkpoint::default() };
        run.prune(&keep).unwrap();
        assert_eq!(names(&run), ["sft-step-000002", "grpo-step-000001", "grpo-step-000010"]);
        let lower = Checkpoint { best_mode: Better::Lower, ..keep };
        assert_eq!(run.best(&lower).unwrap().unwrap().state.progress.stage, "sft");
    }

    #[test]
    fn another_format_is_refused() {
        let parent = tempfile::tempdir().unwrap();
        let run = RunDir::create(parent.path().join("run"), Mode::Fresh).unwrap();
        let file = save(&run, &progress("", 1, 0.0)).path.join("state.json");
        let text = fs::read_to_string(&file).unwrap().replace("\"format\": 1", "\"format\": 99");
        fs::write(&file, text).unwrap();
        let refused = run.latest().unwrap_err().to_string();
        assert!(refused.contains("format 99") && refused.contains("state.json"), "{refused}");
    }
}
