//! The hub's cache on disk, as huggingface_hub lays it out: blobs by their tags, snapshots of links to them, and references.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Models or datasets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Model,
    Dataset,
}

/// One repository's folder in a cache.
pub(super) struct RepoCache {
    root: PathBuf,
}

/// A blob being fetched: nobody else fetches it as long as this lives.
pub(super) struct Fetching {
    /// What there is of it so far.
    pub part: PathBuf,
    blob: PathBuf,
    /// Held until it is closed.
    _lock: Option<File>,
}

impl Kind {
    /// What the hub, in its addresses, and the cache call many of them.
    pub fn plural(self) -> &'static str {
        match self {
            Self::Model => "models",
            Self::Dataset => "datasets",
        }
    }
}

impl RepoCache {
    pub fn new(cache: &Path, kind: Kind, name: &str) -> Self {
        Self { root: cache.join(format!("{}--{}", kind.plural(), name.replace('/', "--"))) }
    }

    pub fn snapshot(&self, commit: &str) -> PathBuf {
        self.root.join("snapshots").join(commit)
    }

    /// The commit that a revision was when it was last asked for.
    pub fn commit(&self, revision: &str) -> Option<String> {
        let commit = fs::read_to_string(self.root.join("refs").join(revision)).ok()?;
        Some(commit.trim().to_owned()).filter(|commit| is_commit(commit))
    }

    /// Notes what commit a revision is.
    pub fn refer(&self, revision: &str, commit: &str) -> io::Result<()> {
        let path = self.root.join("refs").join(revision);
        fs::create_dir_all(path.parent().expect("it is inside refs"))?;
        let unfinished = unique(&path);
        fs::write(&unfinished, commit)?;
        fs::rename(&unfinished, &path)
    }

    /// Waits until nobody else fetches the blob. It may be there then.
    ///
    /// # Panics
    /// If the tag is none ([`is_tag`]).
    pub fn fetch(&self, tag: &str) -> io::Result<Fetching> {
        assert!(is_tag(tag), "a tag is looked at before it names a file");
        let blobs = self.root.join("blobs");
        fs::create_dir_all(&blobs)?;
        let blob = blobs.join(tag);
        let lock = File::create(blobs.join(format!("{tag}.lock")))?;
        // SAFETY: flock(2) touches no memory; the descriptor is open.
        let locked = unsafe { libc::flock(lock.as_raw_fd(), libc::LOCK_EX) } == 0;
        // A file system without locks: a part of one's own, which nobody goes on from.
        let part = if locked { blobs.join(format!("{tag}.part")) } else { unique(&blob) };
        Ok(Fetching { part, blob, _lock: locked.then_some(lock) })
    }

    /// Makes the file `name` of a snapshot the blob.
    pub fn link(&self, fetching: &Fetching, commit: &str, name: &str) -> io::Result<PathBuf> {
        let path = self.snapshot(commit).join(name);
        fs::create_dir_all(path.parent().expect("it is inside the snapshot"))?;
        let up = "../".repeat(2 + name.matches('/').count());
        let tag = fetching.blob.file_name().expect("a tag").to_string_lossy();
        let unfinished = unique(&path);
        // A file system without links has the file itself.
        if std::os::unix::fs::symlink(format!("{up}blobs/{tag}"), &unfinished).is_err() {
            fs::copy(&fetching.blob, &unfinished)?;
        }
        fs::rename(&unfinished, &path)?;
        Ok(path)
    }
}

impl Fetching {
    /// Bytes of the blob, where it is there whole.
    pub fn whole(&self) -> Option<u64> {
        fs::metadata(&self.blob).ok().filter(fs::Metadata::is_file).map(|about| about.len())
    }

    /// The part, to write from its byte `from` on; what is behind it is cut off.
    pub fn open(&self, from: u64) -> io::Result<File> {
        let mut options = OpenOptions::new();
        let mut file = options.create(true).truncate(false).write(true).open(&self.part)?;
        file.set_len(from)?;
        io::Seek::seek(&mut file, io::SeekFrom::Start(from))?;
        Ok(file)
    }

    /// Makes the part the blob.
    pub fn done(&self) -> io::Result<()> {
        fs::rename(&self.part, &self.blob)
    }

    /// Takes away what there is.
    pub fn discard(&self) {
        let _ = fs::remove_file(&self.part);
    }

    /// Takes away a blob that is not what it should be.
    pub fn discard_blob(&self) {
        let _ = fs::remove_file(&self.blob);
    }
}

/// The files in a folder and in those in it, by their paths from it, sorted.
pub(super) fn files_in(folder: &Path) -> Vec<String> {
    fn walk(folder: &Path, prefix: &str, names: &mut Vec<String>) {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
            match entry.path().is_dir() {
                true => walk(&entry.path(), &format!("{name}/"), names),
                false if entry.path().exists() => names.push(name),
                false => {}
            }
        }
    }
    let mut names = Vec::new();
    walk(folder, "", &mut names);
    names.sort();
    names
}

/// A name beside `path` that nobody else uses.
fn unique(path: &Path) -> PathBuf {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let (process, number) = (std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    path.with_file_name(format!("{name}.{process}-{number}.unfinished"))
}

/// A relative path that stays where it is put.
pub(super) fn is_plain(name: &str) -> bool {
    !name.is_empty()
        && !name.contains(['\\', '\0'])
        && name.split('/').all(|part| !part.is_empty() && part != "." && part != "..")
}

/// What may name a blob: letters, digits, and of signs those that are no path.
pub(super) fn is_tag(tag: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    (1..=128).contains(&tag.len()) && tag.chars().all(allowed) && !tag.starts_with('.') && !tag.contains("..")
}

/// What may name a snapshot.
pub(super) fn is_commit(commit: &str) -> bool {
    (1..=64).contains(&commit.len()) && commit.chars().all(|c| c.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_leave_the_cache_are_refused() {
        assert!(!is_plain("../x") && !is_plain("/x") && !is_plain("a/../b") && is_plain("a/b.json"));
        for bad in ["/etc/x", "../../x", "a/b", "..", ".x", "a..b", "", "a\0", &"a".repeat(129)] {
            assert!(!is_tag(bad), "{bad:?}");
        }
        assert!(is_tag("0123abcd") && is_tag("etag-of-x.json"));
        assert!(is_commit(&"a".repeat(40)) && !is_commit("../a") && !is_commit("a/b") && !is_commit(""));
    }

    #[test]
    fn one_at_a_time_fetches_a_blob() {
        let folder = tempfile::tempdir().unwrap();
        let cache = RepoCache::new(folder.path(), Kind::Model, "a/b");
        let write = |text: &str| {
            let fetching = cache.fetch("tag").unwrap();
            if fetching.whole().is_none() {
                io::Write::write_all(&mut fetching.open(0).unwrap(), text.as_bytes()).unwrap();
                std::thread::sleep(std::time::Duration::from_millis(20));
                fetching.done().unwrap();
            }
            cache.link(&fetching, "c0ffee", "deep/er/file").unwrap()
        };
        let paths: Vec<PathBuf> = std::thread::scope(|scope| {
            let threads: Vec<_> = ["one", "two", "three"].map(|text| scope.spawn(move || write(text))).into();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        let text = fs::read_to_string(&paths[0]).unwrap();
        assert!(["one", "two", "three"].contains(&&text[..]) && paths.iter().all(|path| *path == paths[0]));
        assert!(paths[0].starts_with(folder.path().join("models--a--b/snapshots/c0ffee/deep/er")));
    }
}
