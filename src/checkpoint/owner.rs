//! Who writes to a run directory where the file system has no locks: a file that one process alone makes, and renews while it lives.
//!
//! Who finds it not renewed for [`STALE`] takes it over. Times are the file system's own, so that the clocks of machines may differ. That it is still
//! ours is looked at after a while at first, and then at each renewal: of two that take over at the same moment one gives way.

use super::atomic::UNFINISHED;
use crate::{Error, Result, limited};
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

/// How often the file is renewed.
const BEAT: Duration = Duration::from_secs(10);
/// From when on a file that is not renewed holds nothing.
const STALE: Duration = Duration::from_secs(120);
/// How long who has made the file waits before it believes that it is alone.
const SETTLE: Duration = Duration::from_millis(500);

/// Files of this process so far.
static MADE: AtomicU64 = AtomicU64::new(0);

/// What the file says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Owner {
    pid: u32,
    host: String,
    /// What no other file says.
    token: String,
    /// How often it was renewed.
    beat: u64,
}

/// The file, held while this lives.
#[derive(Debug)]
pub(super) struct Owned {
    path: PathBuf,
    token: String,
    lost: Arc<AtomicBool>,
    ends: Option<Sender<()>>,
    renews: Option<JoinHandle<()>>,
}

impl Owned {
    /// Makes the file `path`, or takes it over.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] with who holds it, and what to do.
    pub fn take(path: &Path, host: &str) -> Result<Self> {
        Self::take_every(path, host, [BEAT, STALE])
    }

    fn take_every(path: &Path, host: &str, [beat, stale]: [Duration; 2]) -> Result<Self> {
        let pid = std::process::id();
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let made = MADE.fetch_add(1, Ordering::Relaxed);
        let token = format!("{host}-{pid}-{}-{made}", since.as_nanos());
        let own = Owner { pid, host: host.into(), token: token.clone(), beat: 0 };
        loop {
            match OpenOptions::new().write(true).create_new(true).open(path) {
                Ok(mut file) => {
                    own.write(&mut file).map_err(Error::io(path))?;
                    break;
                }
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                    refuse(path, now(path)?, stale)?;
                    clear(path, &token, stale)?;
                }
                Err(error) => return Err(Error::io(path)(error)),
            }
        }
        std::thread::sleep(SETTLE.min(stale));
        if !own.is_at(path) {
            refuse(path, now(path)?, stale)?;
            return Err(Error::Checkpoint(format!(
                "{}: another process began here at the same moment; start this one again",
                path.display()
            )));
        }
        let (lost, (ends, ended)) = (Arc::new(AtomicBool::new(false)), channel());
        let (there, seen) = (path.to_path_buf(), lost.clone());
        let mut own = own;
        let renew = move || {
            while let Err(RecvTimeoutError::Timeout) = ended.recv_timeout(beat) {
                own.beat += 1;
                let mut is_ours = own.is_at(&there);
                if !is_ours {
                    // Who takes it for a dead one's puts it back at once.
                    std::thread::sleep(SETTLE);
                    is_ours = own.is_at(&there);
                }
                if !is_ours {
                    seen.store(true, Ordering::Relaxed);
                    return;
                }
                // A renewal that fails is tried again at the next.
                let _ = OpenOptions::new().write(true).open(&there).and_then(|mut file| own.write(&mut file));
            }
        };
        let renews =
            std::thread::Builder::new().name("owner".into()).spawn(renew).map_err(Error::io(path))?;
        Ok(Self { path: path.into(), token, lost, ends: Some(ends), renews: Some(renews) })
    }

    /// Refuses to go on where another process has taken the file over.
    ///
    /// # Errors
    /// [`Error::Checkpoint`], with whom.
    pub fn check(&self) -> Result<()> {
        if !self.lost.load(Ordering::Relaxed) {
            return Ok(());
        }
        let who = read(&self.path).map_or_else(|| "another process".into(), |(owner, _)| owner.who(""));
        Err(Error::Checkpoint(format!(
            "{} has been taken over by {who}, since this process had not renewed it for {} s; this one writes nothing more here",
            self.path.display(),
            STALE.as_secs()
        )))
    }
}

impl Drop for Owned {
    fn drop(&mut self) {
        drop(self.ends.take());
        if let Some(renews) = self.renews.take() {
            let _ = renews.join();
        }
        if read(&self.path).is_some_and(|(owner, _)| owner.token == self.token) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

impl Owner {
    fn write(&self, file: &mut File) -> std::io::Result<()> {
        // The number of renewals only grows, so that nothing of what stood there is left behind it.
        file.write_all(&serde_json::to_vec(self).expect("numbers and texts are JSON"))?;
        file.sync_all()
    }

    fn is_at(&self, path: &Path) -> bool {
        read(path).is_some_and(|(owner, _)| owner.token == self.token)
    }

    /// The process, seen from `host`.
    fn who(&self, host: &str) -> String {
        if self.host == host {
            return format!("the process {}", self.pid);
        }
        format!("the process {} on {}", self.pid, self.host)
    }
}

/// As [`refuse`], by the clock of this machine: for who only looks, and may not write a file to see what time it is there.
///
/// # Errors
/// As those of [`refuse`].
pub(super) fn refuse_now(path: &Path) -> Result<()> {
    refuse(path, SystemTime::now(), STALE)
}

/// Refuses a file that a process still renews; one that is none of this kind, or stale, holds nothing.
///
/// # Errors
/// [`Error::Checkpoint`] with who it is, and when what it holds ends.
fn refuse(path: &Path, now: SystemTime, stale: Duration) -> Result<()> {
    let Some((owner, renewed)) = read(path) else { return Ok(()) };
    let age = now.duration_since(renewed).unwrap_or_default();
    if age >= stale {
        return Ok(());
    }
    let folder = path.parent().unwrap_or(path);
    let (shown, file, who) = (folder.display(), path.display(), owner.who(&super::lock::host()));
    Err(Error::Checkpoint(format!(
        "{shown} is in use by {who}; wait for it, stop it, or choose another --out. There are no locks on its file system, so it renews {file}, \
         last {} s ago: if it has been killed, wait {} s more, or delete that file",
        age.as_secs(),
        (stale - age).as_secs()
    )))
}

/// What the file says, and when it was last written; nothing where it is not there or is no owner's.
fn read(path: &Path) -> Option<(Owner, SystemTime)> {
    let file = limited::open(path).ok()?;
    // Of the open file, which a network's file system has just asked about.
    let written = file.metadata().and_then(|found| found.modified()).ok()?;
    let mut text = String::new();
    file.take(1 << 12).read_to_string(&mut text).ok()?;
    Some((serde_json::from_str(&text).ok()?, written))
}

/// The moment by the clock of the file system of `path`.
fn now(path: &Path) -> Result<SystemTime> {
    let probe = beside(path, &format!("now-{}-{}", std::process::id(), MADE.fetch_add(1, Ordering::Relaxed)));
    let written = File::create(&probe).and_then(|file| {
        (&file).write_all(b"now")?;
        file.sync_all()?;
        file.metadata()?.modified()
    });
    let _ = fs::remove_file(&probe);
    written.map_err(Error::io(&probe))
}

/// Takes away a file that holds nothing. What another process has put in its place meanwhile is put back.
fn clear(path: &Path, token: &str, stale: Duration) -> Result<()> {
    let aside = beside(path, token);
    match fs::rename(path, &aside) {
        Ok(()) => {}
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Error::io(path)(error)),
    }
    let held = refuse(&aside, now(path)?, stale).is_err();
    let put = if held && !path.exists() { fs::rename(&aside, path) } else { fs::remove_file(&aside) };
    put.map_err(Error::io(path))
}

fn beside(path: &Path, name: &str) -> PathBuf {
    path.with_file_name(format!("{UNFINISHED}{name}"))
}

#[cfg(test)]
mod tests {
    use super::super::lock::tests::winners;
    use super::*;

    const LONG: [Duration; 2] = [Duration::from_millis(20), Duration::from_secs(60)];

    fn folder() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".lock");
        (folder, path)
    }

    fn left(folder: &tempfile::TempDir) -> usize {
        fs::read_dir(folder.path()).unwrap().count()
    }

    #[test]
    fn one_owner_at_a_time_who_is_named() {
        let (folder, path) = folder();
        let held = Owned::take_every(&path, "elsewhere", LONG).unwrap();
        let refused = Owned::take_every(&path, "here", LONG).unwrap_err();
        let said = refused.to_string();
        let who = format!("the process {} on elsewhere", std::process::id());
        for words in [who.as_str(), "--out", "delete that file"] {
            assert!(said.contains(words), "{said}");
        }
        assert_eq!(refused.exit_code(), 2);
        assert!(refuse_now(&path).is_err() && held.check().is_ok());
        drop(held);
        assert!(refuse_now(&path).is_ok());
        assert_eq!(left(&folder), 0, "nothing is left behind");
        drop(Owned::take_every(&path, "here", LONG).unwrap());
    }

    /// What another kind of lock, a killed process or chance has left holds nothing.
    #[test]
    fn a_file_that_nobody_renews_holds_nothing() {
        let (folder, path) = folder();
        for left in ["", "garbage", "{\"pid\":1,\"host\":\"elsewhere\"}"] {
            fs::write(&path, left).unwrap();
            drop(Owned::take_every(&path, "here", LONG).unwrap());
        }
        let killed = Owner { pid: 1, host: "elsewhere".into(), token: "t".into(), beat: 7 };
        killed.write(&mut File::create(&path).unwrap()).unwrap();
        assert!(Owned::take_every(&path, "here", LONG).is_err());
        let ago = SystemTime::now() - Duration::from_secs(61);
        File::options().write(true).open(&path).unwrap().set_modified(ago).unwrap();
        drop(Owned::take_every(&path, "here", LONG).unwrap());
        assert_eq!(left(&folder), 0);
    }

    /// It is renewed while it is held: written an hour ago, it would be nobody's.
    #[test]
    fn it_is_renewed() {
        let (_folder, path) = folder();
        let held = Owned::take_every(&path, "here", LONG).unwrap();
        let ago = SystemTime::now() - Duration::from_secs(3600);
        File::options().write(true).open(&path).unwrap().set_modified(ago).unwrap();
        let before = read(&path).unwrap().0.beat;
        while read(&path).is_none_or(|(owner, _)| owner.beat <= before + 1) {
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(Owned::take_every(&path, "here", LONG).is_err());
        assert!(held.check().is_ok());
    }

    #[test]
    fn who_is_taken_over_writes_nothing_more() {
        let (_folder, path) = folder();
        let held = Owned::take_every(&path, "here", LONG).unwrap();
        let other = Owner { pid: 7, host: "there".into(), token: "other".into(), beat: 0 };
        fs::write(&path, serde_json::to_vec(&other).unwrap()).unwrap();
        let said = loop {
            match held.check() {
                Ok(()) => std::thread::sleep(Duration::from_millis(5)),
                Err(error) => break error.to_string(),
            }
        };
        assert!(said.contains("the process 7 on there"), "{said}");
        drop(held);
        assert!(path.exists(), "it is the other's");
    }

    #[test]
    fn of_many_at_once_exactly_one_wins() {
        let (_folder, path) = folder();
        for left in ["", "garbage"] {
            fs::write(&path, left).unwrap();
            assert_eq!(winners(|| Owned::take_every(&path, "here", LONG)), 1);
        }
    }
}
