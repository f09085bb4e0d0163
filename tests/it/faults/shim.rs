//! What makes a run's calls to the file system fail: `shim.c`, compiled once and preloaded.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// What happens at a run's n-th call that changes its folder.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// SIGKILL, in the middle of it where it is a write.
    Kill,
    /// From there on the disk is full.
    Full,
    /// That call alone fails, as on a disk that is broken.
    Broken,
}

/// A call that a run made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Its number, from 1.
    pub number: usize,
    /// `write`, `rename`, …
    pub name: String,
    /// What it was about, seen from the run's folder.
    pub path: String,
}

/// The numbers of calls that are alike.
pub fn kinds(calls: &[Call]) -> Vec<Vec<usize>> {
    let mut kinds: BTreeMap<String, Vec<usize>> = BTreeMap::new();
    for call in calls {
        kinds.entry(call.kind()).or_default().push(call.number);
    }
    kinds.into_values().collect()
}

impl Call {
    /// Which calls are alike: the same on files that differ in numbers alone.
    pub fn kind(&self) -> String {
        let path: String = self.path.chars().filter(|c| !c.is_ascii_digit()).collect();
        match path.find("events.out") {
            Some(at) => format!("{} {}", self.name, &path[..at]),
            None => format!("{} {path}", self.name),
        }
    }
}

/// The compiled library.
///
/// # Panics
/// Where there is no C compiler, without which nothing here could have been built.
pub fn library() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR"));
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/faults/shim.c");
        let built = folder.join(format!("faults-{}.so", std::process::id()));
        let compiler = std::env::var("CC").unwrap_or_else(|_| "cc".into());
        let mut command = Command::new(compiler);
        command.args(["-O1", "-shared", "-fPIC", "-o"]).arg(&built).arg(source).arg("-ldl");
        let ended = command.output().expect("a C compiler");
        assert!(ended.status.success(), "shim.c: {}", String::from_utf8_lossy(&ended.stderr));
        built
    })
}

/// The calls that were noted in the file `log`.
pub fn calls(log: &Path) -> Vec<Call> {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let call = |line: &str| {
        let mut parts = line.splitn(3, ' ');
        let number = parts.next()?.parse().ok()?;
        Some(Call {
            number,
            name: parts.next()?.to_string(),
            path: parts.next().unwrap_or_default().to_string(),
        })
    };
    text.lines().filter_map(call).collect()
}
