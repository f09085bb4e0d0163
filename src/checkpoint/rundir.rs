//! The directory of a run: who may write to it, its checkpoints, and which of them are kept.

use super::Checkpoint;
use super::atomic::write_folder;
use super::ledger::Ledger;
use super::lock::Lock;
use super::revision::started;
use super::saved::{self, OptimizerPart, Progress, Saved, best};
use super::takeover::{self, MARKER, Mode, entries};
use crate::{Error, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// A run directory that this process alone writes to.
#[derive(Debug)]
pub struct RunDir {
    path: PathBuf,
    /// Whether it was not there before.
    made: bool,
    /// None where another process writes.
    lock: Option<Lock>,
    /// The checkpoint that was found whole, and its number, where a stage goes on from one.
    whole: Mutex<Option<(PathBuf, u64)>>,
}

impl RunDir {
    /// Makes or takes over the directory `path` and locks it until dropped.
    pub fn create(path: impl AsRef<Path>, mode: Mode) -> Result<RunDir> {
        let path = path.as_ref();
        // Looked at before it is locked too: the lock is a file, and this may be nobody's run.
        takeover::refuse(path, mode)?;
        let made = !path.exists();
        fs::create_dir_all(path).map_err(Error::io(path))?;
        let lock = Lock::take(path)?;
        takeover::prepare(path, mode)?;
        Ok(RunDir { path: path.to_path_buf(), made, lock: Some(lock), whole: Mutex::default() })
    }

    /// Looks into the directory of a run that another process writes to: that of its first rank.
    pub fn join(path: impl AsRef<Path>) -> RunDir {
        RunDir { path: path.as_ref().to_path_buf(), made: false, lock: None, whole: Mutex::default() }
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Whether it was not there before.
    pub fn made(&self) -> bool {
        self.made
    }

    /// When the run began, in seconds since 1970, UTC; nothing where its `run.json` does not say.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] of one that is not any more what was written.
    pub fn started(&self) -> Result<Option<u64>> {
        started(&self.path.join(MARKER))
    }

    /// Whether it is still this process that writes here.
    pub(super) fn still_ours(&self) -> Result<()> {
        self.lock.as_ref().map_or(Ok(()), Lock::check)
    }

    /// Which stages have begun, and which are done.
    pub fn ledger(&self) -> Result<Ledger> {
        Ledger::read(&self.path)
    }

    /// Writes which stages have begun, and which are done.
    pub fn note(&self, ledger: &Ledger) -> Result<()> {
        self.still_ours()?;
        ledger.write(&self.path)
    }

    /// Removes the run that this one replaces, if any, now that it has come to something: a checkpoint, or the end of a stage.
    pub fn replace(&self) -> Result<()> {
        takeover::replace(&self.path)
    }

    /// Where the run lies that this one is to replace, while it is there.
    pub fn set_aside(&self) -> Option<PathBuf> {
        takeover::aside(&self.path)
    }

    /// Writes a checkpoint: complete under its name, or absent. `model` fills the folder it is given with the model
    /// and what other ranks hold of the optimiser; this one's part and the state come beside it. One of the same name is replaced.
    pub fn save(
        &self,
        progress: &Progress,
        optimizer: Option<OptimizerPart>,
        model: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<()> {
        self.still_ours()?;
        let sequence = self.checkpoints()?.last().map_or(1, |newest| newest.state.sequence + 1);
        let path = self.path.join(progress.folder());
        write_folder(&path, |folder| {
            model(folder)?;
            saved::write(folder, sequence, progress, optimizer)
        })?;
        self.replace()
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
            // What somebody copied or renamed is theirs: a checkpoint's name is what its state says.
            if saved::is_named(&name) && saved::is_checkpoint(&path) {
                found.extend(Some(Saved::open(path)?).filter(|saved| saved.state.progress.folder() == name));
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

    /// Refuses a checkpoint that a stage is to go on from as [`Saved::check`] does; what was found whole just before is not read again.
    ///
    /// # Errors
    /// As [`Saved::check`].
    pub fn check(&self, saved: &Saved) -> Result<()> {
        let mut whole = self.whole.lock().unwrap_or_else(PoisonError::into_inner);
        let this = Some((saved.path.clone(), saved.state.sequence));
        if *whole != this {
            saved.check()?;
            *whole = this;
        }
        Ok(())
    }

    /// What a user can do about a checkpoint that cannot be gone on from.
    pub fn remedy(&self, broken: &Saved) -> String {
        let shown = broken.path.display();
        let older = self.checkpoints().unwrap_or_default().into_iter();
        let older = older.filter(|saved| saved.of() == broken.of() && saved.path != broken.path);
        match older.max_by_key(|saved| saved.state.progress.step) {
            Some(older) => format!("delete {shown} to go on from {}", older.path.display()),
            None => format!("delete {shown} to begin the stage anew"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::{Better, Done, StageRecord, abandon, has_begun};
    use serde_json::json;
    use tch::Tensor;

    fn progress(stage: &str, step: usize, accuracy: f64) -> Progress {
        let metrics = [("eval/accuracy".to_string(), accuracy)].into();
        Progress { stage: stage.into(), round: 1, step, metrics, ..Progress::default() }
    }

    fn save(run: &RunDir, progress: &Progress) -> Saved {
        run.save(progress, None, |folder| {
            fs::write(folder.join("config.json"), "{}").map_err(Error::io(folder))
        })
        .unwrap();
        Saved::open(run.path().join(progress.folder())).unwrap()
    }

    fn names(run: &RunDir) -> Vec<String> {
        let all = run.checkpoints().unwrap();
        all.iter().map(|s| s.path.file_name().unwrap().to_string_lossy().into_owned()).collect()
    }

    #[test]
    fn an_existing_run_is_refused_resumed_or_overwritten() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("run");
        save(&RunDir::create(&path, Mode::Fresh).unwrap(), &progress("sft", 5, 0.0));

        let refused = RunDir::create(&path, Mode::Fresh).unwrap_err().to_string();
        assert!(refused.contains("--resume") && refused.contains("--overwrite"), "{refused}");

        fs::create_dir(path.join(".tmp-step-000006-1-0")).unwrap();
        fs::write(path.join("sft-step-000005/.tmp-state.json-1-0"), "half").unwrap();
        fs::create_dir(path.join("evaluations")).unwrap();
        fs::write(path.join("evaluations/.tmp-sft-000005.jsonl-1-0"), "half").unwrap();
        let resumed = RunDir::create(&path, Mode::Resume).unwrap();
        assert_eq!(resumed.latest().unwrap().unwrap().state.progress.step, 5);
        assert!(!path.join(".tmp-step-000006-1-0").exists());
        assert!(!path.join("sft-step-000005/.tmp-state.json-1-0").exists());
        assert!(fs::read_dir(path.join("evaluations")).unwrap().next().is_none());
        drop(resumed);

        // What is to be replaced is there until the new run has a checkpoint, also where that is killed before.
        assert!(RunDir::create(&path, Mode::Overwrite).unwrap().latest().unwrap().is_none());
        let resumed = RunDir::create(&path, Mode::Resume).unwrap();
        assert_eq!(names(&resumed), ["sft-step-000005"]);
        drop(resumed);
        let anew = RunDir::create(&path, Mode::Overwrite).unwrap();
        assert!(!has_begun(&path));
        abandon(anew.path(), anew.made()).unwrap();
        assert_eq!(names(&anew), ["sft-step-000005"]);
        assert!(has_begun(&path));
        drop(anew);
        for _ in 0..2 {
            let anew = RunDir::create(&path, Mode::Overwrite).unwrap();
            fs::write(path.join("metrics.jsonl"), "{}\n").unwrap();
            abandon(anew.path(), anew.made()).unwrap();
            drop(anew);
            // It has begun, so that it can be looked at; and the old run is whole.
            let resumed = RunDir::create(&path, Mode::Resume).unwrap();
            assert!(names(&resumed).is_empty() && path.join("metrics.jsonl").is_file());
            let aside = resumed.set_aside().unwrap();
            assert_eq!(RunDir::look(&aside).unwrap()[0].state.progress.step, 5);
            assert!(RunDir::create(&path, Mode::Fresh).is_err());
        }
        save(&RunDir::create(&path, Mode::Overwrite).unwrap(), &progress("sft", 1, 0.0));
        let resumed = RunDir::create(&path, Mode::Resume).unwrap();
        assert_eq!(names(&resumed), ["sft-step-000001"]);
        assert!(!path.join(".replaced").exists());
    }

    /// A start that came to nothing leaves nothing in the way: its directory is as good as none.
    #[test]
    fn a_run_that_never_began_is_no_run() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("run");
        drop(RunDir::create(&path, Mode::Fresh).unwrap());
        fs::write(path.join("recipe.toml"), "").unwrap();
        fs::create_dir(path.join("traces")).unwrap();
        fs::write(path.join("metrics.jsonl"), "").unwrap();
        let again = RunDir::create(&path, Mode::Fresh).unwrap();
        assert!(!path.join("recipe.toml").exists() && !again.made());
        fs::write(path.join("metrics.jsonl"), "{}\n").unwrap();
        drop(again);
        assert!(RunDir::create(&path, Mode::Fresh).is_err());
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
        let whole = OptimizerPart { rank: 0, count: 1, tensors: &tensors };
        run.save(&progress, Some(whole), |_| Ok(())).unwrap();

        let saved = run.latest().unwrap().unwrap();
        assert!(saved.path.ends_with("grpo-r2-step-000050"));
        assert_eq!(saved.state.progress, progress);
        let optimizer = saved.optimizer().unwrap().unwrap();
        assert!(optimizer.read("w.exp_avg", 0, 2).unwrap().equal(&tensors[0].1));
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
    fn a_checkpoint_is_read_once_before_a_stage_goes_on_from_it() {
        let parent = tempfile::tempdir().unwrap();
        let run = RunDir::create(parent.path().join("run"), Mode::Fresh).unwrap();
        let [first, second] = [1, 2].map(|step| save(&run, &progress("sft", step, 0.0)));
        run.check(&first).unwrap();
        for saved in [&first, &second] {
            fs::write(saved.path.join("config.json"), "[]").unwrap();
        }
        run.check(&first).unwrap();
        assert!(run.check(&second).is_err() && RunDir::join(run.path()).check(&first).is_err());
    }

    /// Notes that a stage has begun and, with the step of its last checkpoint, that it is done.
    fn note(run: &RunDir, stage: &str, round: usize, done: Option<usize>) {
        let mut ledger = run.ledger().unwrap();
        ledger.stages.retain(|record| (record.stage.as_str(), record.round) != (stage, round));
        let folder = |step| Progress { stage: stage.into(), round, step, ..Progress::default() }.folder();
        let done = done.map(|step| Done { step, checkpoint: Some(folder(step)), ..Done::default() });
        ledger.stages.push(StageRecord { stage: stage.into(), round, done, ..StageRecord::default() });
        run.note(&ledger).unwrap();
    }

    #[test]
    fn prune_keeps_the_newest_the_best_and_each_stages_end() {
        let parent = tempfile::tempdir().unwrap();
        let run = RunDir::create(parent.path().join("run"), Mode::Fresh).unwrap();
        save(&run, &progress("sft", 1, 0.1));
        save(&run, &progress("sft", 2, 0.2));
        note(&run, "sft", 1, Some(2));
        note(&run, "grpo", 1, None);
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
    fn prune_leaves_what_others_made_and_what_a_stage_goes_on_from() {
        let parent = tempfile::tempdir().unwrap();
        let run = RunDir::create(parent.path().join("run"), Mode::Fresh).unwrap();
        let first = save(&run, &progress("rl", 1, 0.1));
        note(&run, "rl", 1, None);
        let (copy, state) = (run.path().join("keep-this"), first.path.join("state.json"));
        fs::create_dir(&copy).unwrap();
        fs::copy(state, copy.join("state.json")).unwrap();
        save(&run, &progress("star", 1, 0.1));
        save(&run, &progress("star", 2, 0.1));
        run.prune(&Checkpoint { keep_last: 1, ..Checkpoint::default() }).unwrap();
        assert_eq!(names(&run), ["rl-step-000001", "star-step-000002"], "rl is not done");
        assert!(copy.join("state.json").is_file());
    }

    #[test]
    fn that_a_round_is_done_outlives_its_checkpoint() {
        let parent = tempfile::tempdir().unwrap();
        let run = RunDir::create(parent.path().join("run"), Mode::Fresh).unwrap();
        for round in [1, 2] {
            for stage in ["collect", "dpo"] {
                save(&run, &Progress { round, ..progress(stage, 4, 0.1) });
                note(&run, stage, round, Some(4));
            }
        }
        run.prune(&Checkpoint { keep_last: 1, ..Checkpoint::default() }).unwrap();
        assert_eq!(names(&run), ["collect-r2-step-000004", "dpo-r2-step-000004"]);
        let ledger = run.ledger().unwrap();
        let kept: Vec<bool> =
            ledger.stages.iter().map(|r| r.done.as_ref().unwrap().checkpoint.is_some()).collect();
        assert_eq!(kept, [false, false, true, true]);
    }

    #[test]
    fn another_format_is_refused() {
        let parent = tempfile::tempdir().unwrap();
        let run = RunDir::create(parent.path().join("run"), Mode::Fresh).unwrap();
        let file = save(&run, &progress("", 1, 0.0)).path.join("state.json");
        let text = fs::read_to_string(&file).unwrap().replace("\"format\": 2", "\"format\": 99");
        fs::write(&file, text).unwrap();
        let refused = run.latest().unwrap_err().to_string();
        assert!(refused.contains("format 99") && refused.contains("state.json"), "{refused}");
    }
}
