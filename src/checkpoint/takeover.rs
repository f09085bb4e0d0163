//! How a run comes by its directory: made, gone on with, or in place of a run that is set aside until the new one has a checkpoint.

use super::atomic::{UNFINISHED, remove};
use super::ledger::{LEDGER, Ledger};
use super::lock::{self, LOCK};
use super::revision::origin;
use super::saved;
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
                remove_entries(&folder, |name| name.starts_with(UNFINISHED))?;
            }
            if path.join(MARKER).is_file() {
                return Ok(());
            }
        }
        Mode::Overwrite if aside(path).is_some() => {
            remove_entries(path, |name| ![LOCK, REPLACED].contains(&name))?
        }
        Mode::Overwrite if begun(path)? => set_aside(path)?,
        Mode::Fresh | Mode::Overwrite => remove_entries(path, |name| name != LOCK)?,
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
        _ => return Ok(()),
    };
    Err(Error::Checkpoint(message))
}

/// Whether the run in `path` has come to anything: a line, a rollout, a checkpoint, or what nobody here wrote.
fn begun(path: &Path) -> Result<bool> {
    for (name, path) in entries(path)? {
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
        false if made => fs::remove_dir_all(path).map_err(Error::io(path)),
        false => remove_entries(path, |name| name != LOCK),
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
    // The marker goes last: without it, what was set aside is not whole, and nothing of the new run is here yet.
    move_entries(path, &aside, |name| ![LOCK, MARKER, REPLACED].contains(&name))?;
    move_entries(path, &aside, |name| name == MARKER)
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
        remove_entries(path, |name| ![LOCK, REPLACED].contains(&name))?;
        // From here on all that is here is the old run's.
        move_entries(&aside, path, |name| name == MARKER)?;
    }
    move_entries(&aside, path, |_| true)?;
    fs::remove_dir(&aside).map_err(Error::io(&aside))
}

/// Where a whole run is set aside.
pub(super) fn aside(path: &Path) -> Option<PathBuf> {
    Some(path.join(REPLACED)).filter(|aside| aside.join(MARKER).is_file())
}

fn has_checkpoint(path: &Path) -> Result<bool> {
    for (name, path) in entries(path)? {
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

fn move_entries(from: &Path, to: &Path, which: impl Fn(&str) -> bool) -> Result<()> {
    let entries = entries(from)?;
    let moved = entries.iter().filter(|(name, _)| which(name));
    moved.into_iter().try_for_each(|(name, path)| fs::rename(path, to.join(name)).map_err(Error::io(path)))
}

fn remove_entries(folder: &Path, which: impl Fn(&str) -> bool) -> Result<()> {
    let mut all = entries(folder)?;
    // What makes a run of it goes last.
    all.sort_by_key(|(name, _)| name == MARKER);
    all.iter().filter(|(name, _)| which(name)).try_for_each(|(_, path)| remove(path))
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
