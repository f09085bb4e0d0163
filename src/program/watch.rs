//! Who ends what a program started: a shell that waits for the trainer to let go of it, or to die in whatever way.

use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The environment variable by which a program's processes are known, those too that have left its group and session.
pub const MARK: &str = "RATIONALE_PROGRAM";

/// How long ending all of them may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Waits until its input ends, then ends the group and all that have the mark, until there is none.
const SCRIPT: &str = r#"
read _
kill -s KILL -- "-$2"
n=0
while [ $n -lt 200 ]; do
    files=$(grep -lsF "$1" /proc/[0-9]*/environ)
    [ -n "$files" ] || break
    for file in $files; do
        process=${file#/proc/}
        kill -s KILL "${process%/environ}"
    done
    n=$((n + 1))
done
"#;

/// The shell.
pub(super) struct Watch {
    shell: Option<Child>,
}

impl Watch {
    /// A mark that no other program has.
    pub fn mark() -> String {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        format!("{}-{now}-{};", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
    }

    /// Over the program with this mark and process number.
    pub fn over(mark: &str, process: u32) -> Self {
        let mut shell = Command::new("sh");
        shell.args(["-c", SCRIPT, "sh", &format!("{MARK}={mark}"), &process.to_string()]);
        shell.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null());
        // What ends the trainer from its terminal must not end the shell before its work.
        std::os::unix::process::CommandExt::process_group(&mut shell, 0);
        let shell = shell.spawn().inspect_err(|error| {
            tracing::warn!("no `sh` that ends a program's children if this process dies: {error}");
        });
        Self { shell: shell.ok() }
    }

    /// Ends them now.
    pub fn end(self) {
        let Some(mut shell) = self.shell else { return };
        drop(shell.stdin.take());
        let deadline = Instant::now() + PATIENCE;
        while let Ok(None) = shell.try_wait() {
            if Instant::now() > deadline {
                let _ = shell.kill();
                let _ = shell.wait();
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
