//! The lock that keeps two processes out of one run directory.
//!
//! The system holds it for as long as this process lives and lets go of it whatever ends the process, on this machine, in other
//! containers and, over NFS, on other nodes. What stands in the file is for the message alone. Where the file system has no locks, the file
//! itself is one that is renewed ([`super::owner`]).

use super::owner::{Owned, refuse_now};
use crate::{Error, Result, limited};
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The lock's file name in the run directory.
pub(super) const LOCK: &str = ".lock";

/// Held while it lives.
#[derive(Debug)]
pub(super) struct Lock {
    path: PathBuf,
    held: Held,
}

#[derive(Debug)]
enum Held {
    /// By the system, on this open file.
    System(File),
    /// By a file that is renewed.
    Owned(Owned),
}

/// Who holds a lock, for who is refused.
#[derive(Debug, Serialize, Deserialize)]
struct Holder {
    pid: u32,
    host: String,
}

impl Lock {
    /// Takes the lock of `folder`, which exists.
    pub fn take(folder: &Path) -> Result<Lock> {
        Self::take_by(folder, try_lock)
    }

    fn take_by(folder: &Path, try_lock: fn(&File) -> io::Result<()>) -> Result<Lock> {
        let path = folder.join(LOCK);
        loop {
            let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
            let mut file = opened.map_err(Error::io(&path))?;
            match try_lock(&file) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Err(in_use(folder, &mut file)),
                Err(error) => {
                    tracing::info!(
                        "{} cannot be locked here ({error}); it is renewed every few seconds in place of that",
                        path.display()
                    );
                    let held = Held::Owned(Owned::take(&path, &host())?);
                    return Ok(Lock { path, held });
                }
            }
            // Another machine may have no locks on the same files.
            refuse_now(&path)?;
            // Who held it before may have removed the file between our opening and locking it.
            if is_at(&file, &path)? {
                let own = Holder { pid: std::process::id(), host: host() };
                let own = serde_json::to_vec(&own).expect("a number and a text are JSON");
                file.set_len(0).and_then(|()| file.write_all(&own)).map_err(Error::io(&path))?;
                return Ok(Lock { path, held: Held::System(file) });
            }
        }
    }

    /// Refuses to write where another process does by now, as it may where there are no locks.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] with whom.
    pub fn check(&self) -> Result<()> {
        match &self.held {
            Held::System(_) => Ok(()),
            Held::Owned(owned) => owned.check(),
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Removed while it is held: who opens it from now on makes a new one. What is renewed removes itself.
        if let Held::System(file) = &self.held
            && let Ok(true) = is_at(file, &self.path)
        {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Refuses a folder that a process writes to now; leaves nothing.
///
/// # Errors
/// [`Error::Checkpoint`] with who it is, as [`Lock::take`].
pub(super) fn look(folder: &Path) -> Result<()> {
    let Ok(mut file) = limited::open(&folder.join(LOCK)) else { return Ok(()) };
    match try_lock(&file) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => Err(in_use(folder, &mut file)),
        _ => refuse_now(&folder.join(LOCK)),
    }
}

/// Whether a process writes to the run in `folder` now.
pub fn is_in_use(folder: &Path) -> bool {
    let held = |file: File| try_lock(&file).is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
    let path = folder.join(LOCK);
    limited::open(&path).is_ok_and(held) || refuse_now(&path).is_err()
}

fn try_lock(file: &File) -> io::Result<()> {
    loop {
        // SAFETY: flock(2) touches no memory, and the descriptor is open.
        if unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) } == 0 {
            return Ok(());
        }
        let error = io::Error::last_os_error();
        if error.kind() != ErrorKind::Interrupted {
            return Err(error);
        }
    }
}

fn is_at(file: &File, path: &Path) -> Result<bool> {
    let own = file.metadata().map_err(Error::io(path))?;
    match fs::symlink_metadata(path) {
        Ok(there) => Ok((own.dev(), own.ino()) == (there.dev(), there.ino())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Error::io(path)(error)),
    }
}

fn in_use(folder: &Path, file: &mut File) -> Error {
    let mut text = String::new();
    let _ = file.take(1 << 12).read_to_string(&mut text);
    let who = match serde_json::from_str::<Holder>(&text) {
        Ok(Holder { pid, host: there }) if there == host() => format!("the process {pid}"),
        Ok(Holder { pid, host: there }) => format!("the process {pid} on {there}"),
        Err(_) => "another process".to_string(),
    };
    Error::Checkpoint(format!(
        "{} is in use by {who}; wait for it, stop it, or choose another --out",
        folder.display()
    ))
}

pub(super) fn host() -> String {
    fs::read_to_string("/proc/sys/kernel/hostname").map_or(String::new(), |name| name.trim().to_string())
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    #[test]
    fn one_holder_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let held = Lock::take(folder.path()).unwrap();
        let refused = Lock::take(folder.path()).unwrap_err().to_string();
        assert!(refused.contains(&format!("process {}", std::process::id())), "{refused}");
        assert!(is_in_use(folder.path()));
        assert_eq!(look(folder.path()).unwrap_err().to_string(), refused);
        drop(held);
        assert!(!is_in_use(folder.path()));
        assert!(!folder.path().join(LOCK).exists());
        Lock::take(folder.path()).unwrap();
    }

    /// A file of whatever content that nobody holds open blocks nothing: not that of a dead process, a zombie, another boot or host.
    #[test]
    fn a_file_alone_holds_nothing() {
        let folder = tempfile::tempdir().unwrap();
        for left in ["", "garbage", "{\"pid\":1,\"host\":\"elsewhere\"}", "{\"pid\":1,\"born\":\"a boot 1\"}"]
        {
            fs::write(folder.path().join(LOCK), left).unwrap();
            drop(Lock::take(folder.path()).unwrap());
        }
    }

    fn none(_: &File) -> io::Result<()> {
        Err(io::Error::from_raw_os_error(libc::ENOLCK))
    }

    /// Where the file system has no locks, and where one of two machines has none.
    #[test]
    fn without_locks_there_is_one_holder_too() {
        let folder = tempfile::tempdir().unwrap();
        let held = Lock::take_by(folder.path(), none).unwrap();
        for take in [Lock::take_by(folder.path(), none), Lock::take(folder.path())] {
            let refused = take.unwrap_err().to_string();
            for words in ["in use by the process", "no locks on its file system", "delete that file"] {
                assert!(refused.contains(words), "{refused}");
            }
        }
        assert!(is_in_use(folder.path()) && look(folder.path()).is_err() && held.check().is_ok());
        drop(held);
        assert!(!is_in_use(folder.path()) && look(folder.path()).is_ok());
        assert!(!folder.path().join(LOCK).exists());
        drop(Lock::take(folder.path()).unwrap());
        Lock::take_by(folder.path(), none).unwrap();
    }

    /// How many of eight that `take` at once have it.
    pub fn winners<T>(take: impl Fn() -> Result<T> + Sync) -> usize {
        let start = std::sync::Barrier::new(8);
        let tried = || {
            start.wait();
            let taken = take();
            // Nobody lets go before everybody has tried.
            start.wait();
            taken.is_ok()
        };
        std::thread::scope(|scope| {
            let all: Vec<_> = (0..8).map(|_| scope.spawn(tried)).collect();
            all.into_iter().map(|one| one.join().unwrap()).filter(|won| *won).count()
        })
    }

    #[test]
    fn of_many_at_once_exactly_one_wins() {
        let folder = tempfile::tempdir().unwrap();
        for _ in 0..20 {
            assert_eq!(winners(|| Lock::take(folder.path())), 1);
        }
    }
}
