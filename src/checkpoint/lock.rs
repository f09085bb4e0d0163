//! The lock that keeps two processes out of one run directory.

use super::atomic::write_atomic;
use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

/// The lock's file name in the run directory.
pub(super) const LOCK: &str = ".lock";

/// Held while it lives. A process that dies without letting go leaves the file behind; the next one takes it over.
#[derive(Debug)]
pub(super) struct Lock {
    path: PathBuf,
}

/// A process, told apart from a later one that the system gave the same id.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Process {
    pid: u32,
    /// The boot it runs in and its start time there, where the system says.
    born: Option<String>,
}

impl Lock {
    /// Takes the lock of `folder`, which exists.
    pub fn take(folder: &Path) -> Result<Lock> {
        let path = folder.join(LOCK);
        let own = serde_json::to_vec(&Process::own()).expect("a number and a string are JSON");
        match fs::OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(mut file) => file.write_all(&own).map_err(Error::io(&path))?,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                refuse_living_holder(&path)?;
                tracing::warn!("{} was left by a process that is gone; taking it over", path.display());
                write_atomic(&path, &own)?;
            }
            Err(error) => return Err(Error::io(&path)(error)),
        }
        Ok(Lock { path })
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

fn refuse_living_holder(path: &Path) -> Result<()> {
    let text = fs::read(path).map_err(Error::io(path))?;
    match serde_json::from_slice::<Process>(&text) {
        Ok(holder) if holder.lives() => Err(Error::Checkpoint(format!(
            "{} is in use by the process {}; wait for it, stop it, or choose another --out",
            path.parent().unwrap_or(path).display(),
            holder.pid
        ))),
        // Unreadable: its writer died between creating and filling it.
        _ => Ok(()),
    }
}

impl Process {
    fn own() -> Process {
        Process::with_id(std::process::id())
    }

    fn with_id(pid: u32) -> Process {
        Process { pid, born: born(pid) }
    }

    fn lives(&self) -> bool {
        if Path::new("/proc/self").exists() {
            return self.born.is_some() && born(self.pid) == self.born;
        }
        let pid = self.pid.to_string();
        let signalled = std::process::Command::new("kill").args(["-0", &pid]).output();
        signalled.is_ok_and(|output| output.status.success())
    }
}

fn born(pid: u32) -> Option<String> {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // proc(5): field 22 is the start time; the second, the name in parentheses, may hold blanks.
    let start = stat.rsplit_once(')')?.1.split_whitespace().nth(19)?;
    Some(format!("{} {start}", boot.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_holder_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let held = Lock::take(folder.path()).unwrap();
        let refused = Lock::take(folder.path()).unwrap_err().to_string();
        assert!(refused.contains(&format!("process {}", std::process::id())), "{refused}");
        drop(held);
        assert!(!folder.path().join(LOCK).exists());
        Lock::take(folder.path()).unwrap();
    }

    #[test]
    fn the_lock_of_a_dead_process_is_taken_over() {
        let folder = tempfile::tempdir().unwrap();
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let dead = Process { pid: child.id(), born: Some("a boot 1".into()) };
        child.wait().unwrap();
        for left in [serde_json::to_vec(&dead).unwrap(), Vec::new()] {
            fs::write(folder.path().join(LOCK), left).unwrap();
            Lock::take(folder.path()).unwrap();
        }
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_reused_process_id_does_not_hold_the_lock() {
        // This process lives, but was not born in "another boot".
        assert!(Process::own().lives());
        assert!(!Process { born: Some("another boot 7".into()), ..Process::own() }.lives());
    }
}
