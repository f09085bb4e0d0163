//! How a run comes by its directory: made, gone on with, or in place of a run that is set aside until the new one has a checkpoint.

use super::atomic::{UNFINISHED, remove};
use super::ledger::{LEDGER, Ledger};
use super::lock::{self, LOCK};
use super::revision::{origin, started};
use super::saved::{self, Saved};
use super::sealed::write_sealed;
use super::trials::TRIALS;
use crate::{Error, Result};
use std::fs;
use std::path::{Path, PathBuf};

/// What makes a directory a run directory. Written first, removed last.
pub(super) const MARKER: &str = "run.json";

/// What a run says of the machine that it was last on.
pub const MACHINE: &str = "machine.json";

/// Where the run lies that is to be replaced.
const REPLACED: &str = ".replaced";

/// What a run has written to by the time that it has begun.
const FILES: [&str; 2] = ["metrics.jsonl", "evaluations.jsonl"];
pub(super) const FOLDERS: [&str; 6] = ["traces", "evaluations", "reference", "figures", "trees", "timeline"];

/// What else it writes there, and how the names of its pictures end.
const PAGES: [&str; 9] = [
    "tensorboard",
    "report.html",
    "table.md",
    "table.csv",
    "comparison.txt",
    "comparison.md",
    "comparison.csv",
    "comparison.json",
    "comparison.svg",
];
const PICTURES: [&str; 5] =
    ["-curves.svg", "-accuracy.svg", "-by-tokens.svg", "-by-n.svg", "-reliability.svg"];

/// Whether `path` is the directory of a run.
pub fn is_run(path: &Path) -> bool {
    path.join(MARKER).is_file()
}

/// What to do about a run directory that exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Refuse it, unless the run in it never began.
    Fresh,
    /// Go on from its newest checkpoint (`--resume`).
    Resume,
    /// Replace it (`--overwrite`).
    Overwrite,
}

/// Makes the directory, which is locked, what `mode` says.
pub(super) fn prepare(path: &Path, mode: Mode) -> Result<()> {
    recover(path)?;
    refuse(path, mode)?;
    match mode {
        Mode::Resume => {
            let folders = FOLDERS.iter().map(|name| path.join(name));
            // A checkpoint's state is written again when it is evaluated.
            let all = entries(path)?.into_iter();
            let checkpoints = all.filter(|(name, _)| saved::is_named(name)).map(|(_, folder)| folder);
            let within = folders.chain(checkpoints).filter(|folder| folder.is_dir());
            for folder in std::iter::once(path.to_path_buf()).chain(within) {
                let all = entries(&folder)?.into_iter();
                let mut left = all.filter(|(name, _)| name.starts_with(UNFINISHED));
                left.try_for_each(|(_, path)| remove(&path))?;
            }
            if path.join(MARKER).is_file() {
                return Ok(());
            }
        }
        Mode::Overwrite if aside(path).is_some() => remove_ours(path, &[LOCK, REPLACED])?,
        Mode::Overwrite if begun(path)? => set_aside(path)?,
        Mode::Fresh | Mode::Overwrite => remove_ours(path, &[LOCK])?,
    }
    write_sealed(&path.join(MARKER), &origin())?;
    Ledger::default().write(path)
}

/// Refuses a folder of a run or a model in which a pipe or a device has a file's place: to read or write it would never end.
pub fn only_files(folder: &Path) -> Result<()> {
    for (_, path) in entries(folder)? {
        let inside = if path.is_dir() { entries(&path)? } else { vec![] };
        for path in std::iter::once(path).chain(inside.into_iter().map(|(_, path)| path)) {
            if fs::metadata(&path).is_ok_and(|found| !found.is_file() && !found.is_dir()) {
                return Err(Error::Checkpoint(format!(
                    "{}: a pipe or a device, where a file should be; take it away",
                    path.display()
                )));
            }
        }
    }
    Ok(())
}

/// Says what [`RunDir::create`](super::RunDir::create) would refuse, and writes nothing.
///
/// # Errors
/// As it.
pub fn could_create(path: &Path, mode: Mode) -> Result<()> {
    refuse(path, mode)?;
    lock::look(path)
}

/// Refuses a directory that `mode` does not fit.
pub(super) fn refuse(path: &Path, mode: Mode) -> Result<()> {
    let shown = path.display();
    if path.is_dir() {
        only_files(path)?;
    }
    // What a process that was killed had begun to write is nothing.
    let used =
        path.exists() && entries(path)?.iter().any(|(name, _)| name != LOCK && !name.starts_with(UNFINISHED));
    let is_run = path.join(MARKER).is_file() || path.join(REPLACED).is_dir();
    let message = match mode {
        Mode::Fresh if used && is_run && (path.join(REPLACED).is_dir() || begun(path)?) => {
            format!("{shown} holds a run already; --resume continues it, --overwrite replaces it")
        }
        Mode::Fresh if used && !is_run => {
            format!(
                "{shown} holds something else than a run, since it has no {MARKER}; choose another folder with --out"
            )
        }
        Mode::Resume if !is_run && used => {
            format!(
                "{shown} holds no run to --resume, since it has no {MARKER}; give the folder of a run with --out"
            )
        }
        Mode::Resume if !is_run => {
            format!("{shown} holds no run to --resume; leave --resume out to start one")
        }
        Mode::Overwrite if used && !is_run => {
            format!(
                "{shown} holds no {MARKER}, so it is no run and --overwrite leaves it alone; choose another --out"
            )
        }
        Mode::Resume if path.join(MARKER).is_file() => return started(&path.join(MARKER)).map(|_| ()),
        _ => return Ok(()),
    };
    Err(Error::Checkpoint(message))
}

/// What in a run's directory the run wrote, by its names. All else is somebody's own, which neither goes with the run nor makes one of it.
fn ours(run: &Path) -> Result<Vec<(String, PathBuf)>> {
    let numbered = |name: &str| {
        let number = name.strip_prefix("recipe").and_then(|rest| rest.strip_suffix(".toml"));
        number.is_some_and(|rest| rest.trim_start_matches('-').bytes().all(|c| c.is_ascii_digit()))
    };
    let is_ours = |(name, path): &(String, PathBuf)| match &name[..] {
        LOCK | MARKER | LEDGER | REPLACED | MACHINE | TRIALS => true,
        name if [&FILES[..], &FOLDERS, &PAGES].concat().contains(&name) => true,
        name if name.starts_with(UNFINISHED) || numbered(name) => true,
        // What somebody copied or renamed is theirs: a checkpoint's name is what its state says.
        name if saved::is_named(name) => {
            let own = |saved: Saved| saved.state.progress.folder() == name;
            saved::is_checkpoint(path) && Saved::open(path).map_or(true, own)
        }
        // A trial is called by its values, `lr=1e-5_seed=0`, also one that the recipe has no more.
        name => PICTURES.iter().any(|end| name.ends_with(end)) || (name.contains('=') && is_run(path)),
    };
    Ok(entries(run)?.into_iter().filter(is_ours).collect())
}

/// Whether `path` is the run in `run`, or is or lies in something of it that goes when it is replaced.
pub fn goes_with(run: &Path, path: &Path) -> bool {
    let (Ok(run), Ok(path)) = (run.canonicalize(), path.canonicalize()) else { return false };
    let Ok(inside) = path.strip_prefix(&run) else { return false };
    if !is_run(&run) {
        return false;
    }
    let first = inside.components().next();
    let is = |(name, _): &(String, PathBuf)| first.is_some_and(|first| first.as_os_str() == &name[..]);
    first.is_none() || ours(&run).is_ok_and(|ours| ours.iter().any(is))
}

/// Whether the run in `path` has come to anything: a line, a rollout, a checkpoint.
fn begun(path: &Path) -> Result<bool> {
    for (name, path) in ours(path)? {
        let holds = match &name[..] {
            LOCK | MARKER | LEDGER | REPLACED | MACHINE => false,
            name if FILES.contains(&name) => holds(&path),
            name if FOLDERS.contains(&name) => entries(&path)?.iter().any(|(_, file)| holds(file)),
            name if name.starts_with("recipe") || name.starts_with(UNFINISHED) => false,
            "tensorboard" => false,
            // A trial of this run.
            _ if is_run(&path) => begun(&path)?,
            TRIALS => false,
            _ => !path.is_dir() || !entries(&path)?.is_empty(),
        };
        if holds {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether something of the run in `path` stays when it is abandoned.
pub fn has_begun(path: &Path) -> bool {
    is_run(path) && begun(path).unwrap_or(true)
}

fn holds(file: &Path) -> bool {
    fs::symlink_metadata(file).is_ok_and(|found| found.is_dir() || found.len() > 0)
}

/// Leaves nothing of a run that never began: its directory goes, if it was `made` for it, and what it was to replace is
/// where it was. A run that has begun stays as it is. Whoever calls this holds the lock.
pub fn abandon(path: &Path, made: bool) -> Result<()> {
    match begun(path)? {
        true => Ok(()),
        false if path.join(REPLACED).is_dir() => recover(path),
        false if made => {
            remove_ours(path, &[])?;
            // It stays where somebody has put something into it meanwhile.
            let _ = fs::remove_dir(path);
            Ok(())
        }
        false => remove_ours(path, &[LOCK]),
    }
}

/// Lets go of a folder that this process holds and ends without writing to again.
pub fn release(folder: &Path) {
    let _ = fs::remove_file(folder.join(LOCK));
}

/// Moves a run out of the way of the one that is to replace it.
fn set_aside(path: &Path) -> Result<()> {
    let aside = path.join(REPLACED);
    fs::create_dir_all(&aside).map_err(Error::io(&aside))?;
    let own = ours(path)?;
    // The marker goes last: without it, what was set aside is not whole, and nothing of the new run is here yet.
    move_entries(&own, &aside, |name| ![LOCK, MARKER, REPLACED].contains(&name))?;
    move_entries(&own, &aside, |name| name == MARKER)
}

/// Finishes what a process that was killed had left half done: the run that it was to replace goes once the new one has a
/// checkpoint, stays beside it once that has begun, and comes back otherwise.
fn recover(path: &Path) -> Result<()> {
    let aside = path.join(REPLACED);
    if !aside.is_dir() {
        return Ok(());
    }
    if aside.join(MARKER).is_file() {
        if has_checkpoint(path)? {
            return remove(&aside);
        }
        if begun(path)? {
            return Ok(());
        }
        remove_ours(path, &[LOCK, REPLACED])?;
        // From here on all that is here is the old run's, or somebody's own.
        move_entries(&entries(&aside)?, path, |name| name == MARKER)?;
    }
    move_entries(&entries(&aside)?, path, |_| true)?;
    fs::remove_dir(&aside).map_err(Error::io(&aside))
}

/// Where a whole run is set aside.
pub(super) fn aside(path: &Path) -> Option<PathBuf> {
    Some(path.join(REPLACED)).filter(|aside| aside.join(MARKER).is_file())
}

fn has_checkpoint(path: &Path) -> Result<bool> {
    for (name, path) in ours(path)? {
        let of_trial = name != REPLACED && is_run(&path) && has_checkpoint(&path)?;
        if of_trial || (saved::is_named(&name) && saved::is_checkpoint(&path)) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Removes the run that was set aside, if any.
pub(super) fn replace(path: &Path) -> Result<()> {
    let aside = path.join(REPLACED);
    if aside.is_dir() { remove(&aside) } else { Ok(()) }
}

fn move_entries(all: &[(String, PathBuf)], to: &Path, which: impl Fn(&str) -> bool) -> Result<()> {
    let mut moved = all.iter().filter(|(name, _)| which(name));
    moved.try_for_each(|(name, path)| fs::rename(path, to.join(name)).map_err(Error::io(path)))
}

/// Removes what the run in `folder` wrote, but for these.
fn remove_ours(folder: &Path, but: &[&str]) -> Result<()> {
    let mut all = ours(folder)?;
    // What makes a run of it goes last.
    all.sort_by_key(|(name, _)| name == MARKER);
    all.iter().filter(|(name, _)| !but.contains(&&name[..])).try_for_each(|(_, path)| remove(path))
}

/// Names and paths of what lies in `folder`.
pub(super) fn entries(folder: &Path) -> Result<Vec<(String, PathBuf)>> {
    let list = fs::read_dir(folder).map_err(Error::io(folder))?;
    let named = |entry: std::io::Result<fs::DirEntry>| {
        let entry = entry.map_err(Error::io(folder))?;
        Ok((entry.file_name().to_string_lossy().into_owned(), entry.path()))
    };
    list.map(named).collect()
}

#[cfg(test)]
mod tests {
    use super::super::RunDir;
    use super::super::saved::Progress;
    use super::*;

    fn save(run: &RunDir, step: usize) {
        let progress = Progress { stage: "sft".into(), round: 1, step, ..Progress::default() };
        run.save(&progress, None, |_| Ok(())).unwrap();
    }

    fn names(folder: &Path) -> Vec<String> {
        let mut names: Vec<String> = entries(folder).unwrap().into_iter().map(|(name, _)| name).collect();
        names.sort();
        names
    }

    /// What users put beside a run's files: notes, a model that was exported, a checkpoint under another name, a run of another.
    #[test]
    fn what_the_run_did_not_write_stays_where_it_is() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("run");
        let run = RunDir::create(&path, Mode::Fresh).unwrap();
        save(&run, 2);
        for file in ["recipe.toml", "recipe-2.toml", "report.html", "sft-curves.svg"] {
            fs::write(path.join(file), "old").unwrap();
        }
        let theirs =
            ["best-step-000002", "exported", "notes.md", "other", "recipe-mine.toml", "x-step-000001"];
        for folder in ["exported", "x-step-000001"] {
            fs::create_dir(path.join(folder)).unwrap();
            fs::write(path.join(folder).join("t.tex"), "years").unwrap();
        }
        fs::write(path.join("notes.md"), "years").unwrap();
        fs::write(path.join("recipe-mine.toml"), "years").unwrap();
        fs::create_dir(path.join("best-step-000002")).unwrap();
        fs::copy(path.join("sft-step-000002/state.json"), path.join("best-step-000002/state.json")).unwrap();
        for folder in ["other", "lr=1_seed=0"] {
            save(&RunDir::create(path.join(folder), Mode::Fresh).unwrap(), 1);
        }
        drop(run);
        let all = names(&path);
        let there = |names: &[String]| theirs.iter().all(|name| names.iter().any(|own| own == name));

        // One that comes to nothing, and one that does.
        let anew = RunDir::create(&path, Mode::Overwrite).unwrap();
        assert!(!has_begun(&path) && there(&names(&path)) && anew.latest().unwrap().is_none());
        abandon(anew.path(), anew.made()).unwrap();
        drop(anew);
        let back: Vec<String> = names(&path).into_iter().filter(|name| name != LOCK).collect();
        assert_eq!(back, all.iter().filter(|name| *name != LOCK).cloned().collect::<Vec<_>>());
        let anew = RunDir::create(&path, Mode::Overwrite).unwrap();
        save(&anew, 1);
        drop(anew);
        let left = names(&path);
        assert!(there(&left), "{left:?}");
        for gone in [
            "lr=1_seed=0",
            "sft-step-000002",
            "recipe.toml",
            "recipe-2.toml",
            "report.html",
            "sft-curves.svg",
        ] {
            assert!(!left.iter().any(|name| name == gone), "{left:?}");
        }
        assert_eq!(fs::read_to_string(path.join("exported/t.tex")).unwrap(), "years");
    }

    #[test]
    fn what_goes_with_a_run_is_told() {
        let parent = tempfile::tempdir().unwrap();
        let path = parent.path().join("run");
        save(&RunDir::create(&path, Mode::Fresh).unwrap(), 2);
        fs::create_dir(path.join("traces")).unwrap();
        for file in ["traces/sft.jsonl", "rows.jsonl"] {
            fs::write(path.join(file), "{}").unwrap();
        }
        for goes in ["", "sft-step-000002", "traces/sft.jsonl", "stages.json", "traces/../run.json"] {
            assert!(goes_with(&path, &path.join(goes)), "{goes}");
        }
        for stays in ["rows.jsonl", "none", "..", "../run-2"] {
            assert!(!goes_with(&path, &path.join(stays)), "{stays}");
        }
        assert!(!goes_with(parent.path(), &path), "no run");
    }
}
