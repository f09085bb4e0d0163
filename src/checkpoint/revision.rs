//! Which code a run was made with: this program's version, the git revision of the directory it was started in.

use super::sealed::unsealed;
use crate::{Error, Result, limited};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The longest that git may take: on a disk that does not answer it must not keep a run from its start.
const PATIENCE: Duration = Duration::from_secs(10);

/// A commit, and whether tracked files differed from it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Git {
    /// The commit's full hash.
    pub revision: String,
    /// Whether tracked files had been changed since.
    pub dirty: bool,
}

/// The revision of the repository that `folder` lies in; none where there is no git, repository or commit.
pub fn git(folder: &Path) -> Option<Git> {
    let revision = say(folder, &["rev-parse", "--verify", "HEAD"])?;
    let dirty = !say(folder, &["status", "--porcelain", "--untracked-files=no"])?.is_empty();
    Some(Git { revision, dirty })
}

/// When a run began, as `run.json` has it.
const STARTED: &str = "started";

/// The processes that have worked on it, each with what it says of itself.
pub(super) const STARTS: &str = "starts";

/// The content of `run.json`.
pub(super) fn origin() -> Value {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    serde_json::json!({
        "program": env!("CARGO_PKG_NAME"),
        "version": env!("CARGO_PKG_VERSION"),
        "build": if cfg!(debug_assertions) { "debug" } else { "release" },
        "target": format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS),
        "git": git(Path::new(".")),
        // Seconds since 1970, UTC: what a chat template that asks for the date is told, today and after a resume.
        STARTED: now,
    })
}

/// When a run began; nothing where its `run.json`, which lies in `marker`, does not say.
pub(super) fn started(marker: &Path) -> Result<Option<u64>> {
    let text = limited::notes(marker).map_err(Error::io(marker))?;
    let read = unsealed(&text).map_err(|what| {
        Error::Checkpoint(format!(
            "{} {what}, so it does not say when the run began, which is the date that its prompts are told; put it back as it was, or \
             start another run with policy.model set to one of this run's checkpoints",
            marker.display()
        ))
    })?;
    Ok(read.get(STARTED).and_then(Value::as_u64))
}

fn say(folder: &Path, arguments: &[&str]) -> Option<String> {
    let mut command = Command::new("git");
    command.current_dir(folder).args(arguments).env("GIT_OPTIONAL_LOCKS", "0");
    said_by(command, PATIENCE)
}

/// What a command says; none where it fails, or has not ended in time.
fn said_by(mut command: Command, patience: Duration) -> Option<String> {
    let end = Instant::now() + patience;
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().ok()?;
    let (sender, said) = channel();
    let mut pipe = child.stdout.take()?;
    // Read while it runs, so that a pipe that is full stops nobody.
    thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = sender.send(pipe.read_to_end(&mut bytes).map(|_| bytes));
    });
    let status = loop {
        match child.try_wait().ok()? {
            Some(status) => break status,
            None if Instant::now() < end => thread::sleep(Duration::from_millis(2)),
            None => {
                // It is not waited for: what waits for a dead disk does not end.
                let _ = child.kill();
                return None;
            }
        }
    };
    let bytes = said.recv_timeout(end.saturating_duration_since(Instant::now())).ok()?.ok()?;
    status.success().then(|| String::from_utf8_lossy(&bytes).trim().to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::sealed::write_sealed;

    #[test]
    fn a_folder_outside_any_repository_has_no_revision() {
        assert_eq!(git(tempfile::tempdir().unwrap().path()), None);
    }

    #[test]
    fn the_origin_names_the_version() {
        let origin = origin();
        assert_eq!(origin["version"], env!("CARGO_PKG_VERSION"));
        assert!(origin["git"].is_null() || origin["git"]["revision"].is_string());
    }

    /// Prompts that tell the date have it of the run's start: where that may be another, nothing goes on.
    #[test]
    fn a_start_that_has_changed_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let marker = folder.path().join("run.json");
        write_sealed(&marker, &origin()).unwrap();
        let (text, began) = (std::fs::read_to_string(&marker).unwrap(), started(&marker).unwrap());
        let moment = format!("\"started\": {}", began.expect("a moment"));
        assert!(text.contains(&moment));
        for damaged in [
            text.replace(&moment, "\"started\": 1"),
            text.replace(&format!("{moment},"), ""),
            "{}".to_owned(),
            text[..20].to_owned(),
        ] {
            std::fs::write(&marker, &damaged).unwrap();
            let said = started(&marker).unwrap_err().to_string();
            assert!(said.contains("run.json") && said.contains("put it back as it was"), "{damaged}: {said}");
        }
    }

    #[test]
    fn a_commit_and_a_change_after_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        std::fs::write(path.join("a"), "1").unwrap();
        for arguments in [
            &["init", "-q"][..],
            &["add", "a"],
            &["-c", "user.name=t", "-c", "user.email=t@t", "commit", "-qm", "a"],
        ] {
            say(path, arguments).unwrap();
        }
        let clean = git(path).unwrap();
        assert!(clean.revision.len() == 40 && !clean.dirty);
        std::fs::write(path.join("a"), "22").unwrap();
        assert!(git(path).unwrap().dirty);
    }

    #[test]
    fn what_does_not_end_is_not_waited_for() {
        let shell = |script: &str| {
            let mut command = Command::new("sh");
            command.args(["-c", script]);
            command
        };
        let (long, moment) = (Duration::from_secs(60), Duration::from_millis(50));
        assert_eq!(said_by(shell("echo here"), long).as_deref(), Some("here"));
        assert_eq!(said_by(shell("echo here; exit 1"), long), None);
        assert_eq!(said_by(shell("exec sleep 2"), moment), None);
        // More than a pipe holds.
        assert_eq!(said_by(shell("head -c 300000 /dev/zero | tr '\\0' x"), long).unwrap().len(), 300_000);
    }
}
