//! Files and folders that other processes, and the next start after a crash, see whole or not at all.

use crate::{Error, Result};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// What the names of unfinished files and folders begin with.
pub(super) const UNFINISHED: &str = ".tmp-";

/// Writes `bytes` to `path`: the file has its old content until it has all of the new. The folder must exist.
///
/// # Errors
/// What the operating system says; a device, a pipe, a socket or a folder of that name, which no file takes the place of.
pub fn write_atomic(path: impl AsRef<Path>, bytes: &[u8]) -> Result<()> {
    let path = path.as_ref();
    if fs::metadata(path).is_ok_and(|there| !there.is_file()) {
        return Err(Error::Checkpoint(format!(
            "{} is there already, and is no file; name another",
            path.display()
        )));
    }
    let unfinished = unfinished(path)?;
    let write = || -> Result<()> {
        let mut file = File::create(&unfinished).map_err(Error::io(path))?;
        file.write_all(bytes).map_err(Error::io(&unfinished))?;
        file.sync_all().map_err(Error::io(&unfinished))?;
        publish(&unfinished, path)
    };
    write().inspect_err(|_| {
        let _ = fs::remove_file(&unfinished);
    })
}

/// Fills the folder `path` through `fill`: it appears under its name, in place of an older one, once all in it has
/// reached the disk.
///
/// # Errors
/// What `fill` or the operating system says; anything but a folder of that name, which stays as it is. Nothing is left then.
pub fn write_folder(path: &Path, fill: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
    let there = || fs::symlink_metadata(path).ok();
    if there().is_some_and(|there| !there.is_dir()) {
        return Err(Error::Checkpoint(format!(
            "{} is there already, and is no folder; name another",
            path.display()
        )));
    }
    let unfinished = unfinished(path)?;
    let write = || -> Result<()> {
        fs::create_dir(&unfinished).map_err(Error::io(path))?;
        fill(&unfinished)?;
        sync_all(&unfinished)?;
        if there().is_some_and(|there| there.is_dir()) {
            remove(path)?;
        }
        publish(&unfinished, path)
    };
    write().inspect_err(|_| {
        let _ = fs::remove_dir_all(&unfinished);
    })
}

/// Where a user's new folder goes: the path itself where nothing has its name, the empty folder that has it, or the one that a link of
/// that name leads to.
///
/// # Errors
/// Where anything else is there: a file, a device, a folder with something in it, a link that leads nowhere.
pub fn free_folder(path: &Path) -> Result<PathBuf> {
    if fs::symlink_metadata(path).is_err_and(|error| error.kind() == std::io::ErrorKind::NotFound) {
        return Ok(path.to_path_buf());
    }
    let empty = fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none());
    match fs::canonicalize(path) {
        Ok(folder) if empty => Ok(folder),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Err(Error::Checkpoint(format!(
            "{} is a link that leads nowhere; name another folder",
            path.display()
        ))),
        _ => Err(Error::Checkpoint(format!("{} is there already; name another folder", path.display()))),
    }
}

/// Tries to write in a folder; nothing of it is left.
///
/// # Errors
/// What the operating system says.
pub fn try_to_write(folder: &Path) -> std::io::Result<()> {
    let probe = unfinished(&folder.join("try")).map_err(std::io::Error::other)?;
    fs::create_dir(&probe)?;
    let _ = fs::remove_dir(&probe);
    Ok(())
}

/// Removes a file, a link (never what it leads to), or a folder. A folder first loses its name, so that a crash
/// halfway leaves no checkpoint that lacks files.
pub(super) fn remove(path: &Path) -> Result<()> {
    let kind = fs::symlink_metadata(path).map_err(Error::io(path))?;
    if !kind.is_dir() {
        return fs::remove_file(path).map_err(Error::io(path));
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let doomed = path.with_file_name(format!("{UNFINISHED}removed-{name}-{}", std::process::id()));
    fs::rename(path, &doomed).map_err(Error::io(path))?;
    fs::remove_dir_all(&doomed).map_err(Error::io(&doomed))
}

/// A name in the same folder, so on the same file system, that no other thread or process uses.
fn unfinished(path: &Path) -> Result<PathBuf> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let Some(name) = path.file_name() else {
        return Err(Error::Checkpoint(format!("{} has no file name to write to", path.display())));
    };
    let (pid, n) = (std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    Ok(path.with_file_name(format!("{UNFINISHED}{}-{pid}-{n}", name.to_string_lossy())))
}

fn publish(unfinished: &Path, path: &Path) -> Result<()> {
    fs::rename(unfinished, path).map_err(Error::io(path))?;
    let folder = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    sync(folder)
}

fn sync_all(folder: &Path) -> Result<()> {
    for entry in fs::read_dir(folder).map_err(Error::io(folder))? {
        let path = entry.map_err(Error::io(folder))?.path();
        if path.is_dir() { sync_all(&path)? } else { sync(&path)? }
    }
    sync(folder)
}

fn sync(path: &Path) -> Result<()> {
    File::open(path).and_then(|file| file.sync_all()).map_err(Error::io(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_file_is_replaced_and_nothing_else_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.json");
        write_atomic(&path, b"first, and longer").unwrap();
        write_atomic(&path, b"second").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"second");
        assert_eq!(names(folder.path()), ["a.json"]);
    }

    #[test]
    fn what_is_neither_a_file_nor_a_folder_stays_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let _socket = std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
        fs::create_dir_all(at("full/inside")).unwrap();
        fs::create_dir(at("empty")).unwrap();
        std::os::unix::fs::symlink(at("empty"), at("to-empty")).unwrap();
        std::os::unix::fs::symlink(at("gone"), at("to-nothing")).unwrap();
        for taken in ["socket", "full", "to-nothing"] {
            assert!(free_folder(&at(taken)).unwrap_err().to_string().contains(taken), "{taken}");
        }
        assert_eq!(free_folder(&at("new")).unwrap(), at("new"));
        assert_eq!(free_folder(&at("empty")).unwrap(), at("empty").canonicalize().unwrap());
        assert_eq!(free_folder(&at("to-empty")).unwrap(), at("empty").canonicalize().unwrap());

        let before = names(folder.path()).len();
        assert!(write_folder(&at("socket"), |_| Ok(())).is_err());
        assert!(write_folder(&at("to-empty"), |_| Ok(())).is_err());
        assert!(write_atomic(at("socket"), b"x").is_err() && write_atomic(at("empty"), b"x").is_err());
        assert_eq!(names(folder.path()).len(), before);
        assert!(!fs::symlink_metadata(at("socket")).unwrap().is_file());
    }

    #[test]
    fn an_error_names_the_file_and_leaves_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let error = write_atomic(folder.path().join("missing/a.json"), b"").unwrap_err();
        assert!(error.to_string().contains("missing"), "{error}");

        let target = folder.path().join("step-1");
        let failed = write_folder(&target, |inside| {
            fs::write(inside.join("half"), "half").unwrap();
            Err(Error::Model("disk full".into()))
        });
        assert!(failed.is_err() && names(folder.path()).is_empty());
    }
}
