//! A child process that is talked to line by line and cannot block its parent.

use super::watch::{MARK, Watch};
use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, bounded};
use std::collections::VecDeque;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child as Process, ChildStderr, ChildStdin, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How long a child that is done may take to end.
const GRACE: Duration = Duration::from_millis(500);
/// A line longer than this is cut: it is no answer, and must not fill the memory.
const LONGEST_LINE: u64 = 1 << 16;
const LAST_LINES: usize = 20;
/// Bytes of those lines that a message shows, the last ones.
const LAST_BYTES: usize = 1 << 13;
/// Pieces of input that may wait for a child to read them. One that asks without reading what it is answered is told no more.
const WAITING: usize = 256;

/// A running program. Its input, output and standard error each have a thread, so that neither side waits for the
/// other however much is written; when it is dropped, or whoever holds it dies, the process and those that it started are ended.
pub struct Child {
    process: Process,
    watch: Option<Watch>,
    input: Option<Sender<Vec<u8>>>,
    output: Receiver<String>,
    errors: Arc<Mutex<VecDeque<String>>>,
    errors_ended: Receiver<()>,
}

/// What came back in time.
pub enum Said {
    /// A line, its end left out.
    Line(String),
    /// No more will come; how it ended, in words.
    Ended(String),
    /// Nothing until the deadline.
    Nothing,
}

impl Child {
    /// Starts `command`: a program and its arguments; `without` are variables of the environment that it is not to see.
    pub fn start(command: &[String], without: &[String]) -> anyhow::Result<Self> {
        let mark = Watch::mark();
        let mut building = Command::new(&command[0]);
        building.args(&command[1..]).env(MARK, &mark);
        for name in without {
            building.env_remove(name);
        }
        building.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // A group of its own, so that what it starts can be ended with it.
        building.process_group(0);
        let mut process = building.spawn().map_err(|error| {
            let why = why_not(&command[0], &error);
            anyhow::anyhow!(
                "cannot start `{}`: {why} (relative paths begin at the working directory)",
                command[0]
            )
        })?;
        let watch = Some(Watch::over(&mark, process.id()));
        let taken = "its pipes were asked for just above";
        let input = write_to(process.stdin.take().expect(taken));
        let output = read_lines(process.stdout.take().expect(taken));
        let (errors, errors_ended) = keep_last(process.stderr.take().expect(taken));
        Ok(Self { process, watch, input: Some(input), output, errors, errors_ended })
    }

    /// Has `lines` written to it, without waiting.
    pub fn send(&self, lines: Vec<u8>) {
        // A child that has ended, or reads nothing, is noticed when it is read from.
        let _ = self.input.as_ref().map(|input| input.try_send(lines));
    }

    /// A line that is there already, if any.
    pub fn unasked(&self) -> Option<String> {
        self.output.try_recv().ok()
    }

    /// Its next line.
    pub fn line(&mut self, deadline: Instant) -> Said {
        match self.output.recv_deadline(deadline) {
            Ok(line) => Said::Line(line),
            Err(RecvTimeoutError::Timeout) => Said::Nothing,
            Err(RecvTimeoutError::Disconnected) => Said::Ended(match self.ends_within(GRACE) {
                true => self.kill().map_or("ended".to_owned(), |status| format!("ended ({status})")),
                false => "closed its output".to_owned(),
            }),
        }
    }

    /// The last lines of its standard error, to stand after a message. Ends it first, so that none is missed.
    pub fn last_words(&mut self) -> String {
        self.kill();
        let _ = self.errors_ended.recv_timeout(GRACE);
        let lines = self.errors.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.is_empty() {
            return "; it wrote nothing to standard error".to_owned();
        }
        last(&lines)
            .iter()
            .fold("; the end of its standard error:".to_owned(), |text, line| text + "\n  " + line)
    }

    /// Whether it has ended by then. It is not waited for, so that its number stays its group's.
    fn ends_within(&self, patience: Duration) -> bool {
        let deadline = Instant::now() + patience;
        loop {
            if has_ended(self.process.id()) {
                return true;
            }
            if Instant::now() >= deadline {
                return false;
            }
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Ends it with all that it started, whether or not it lives itself; how it ended.
    fn kill(&mut self) -> Option<ExitStatus> {
        if let Some(watch) = self.watch.take() {
            if let Ok(group) = i32::try_from(self.process.id()) {
                // SAFETY: kill(2) touches no memory; the group is that of a child which has not been waited for.
                unsafe { libc::kill(-group, libc::SIGKILL) };
            }
            let _ = self.process.kill();
            let _ = self.process.wait();
            watch.end();
        }
        self.process.wait().ok()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // The end of its input tells a program that it is done.
        self.input = None;
        if self.watch.is_some() {
            self.ends_within(GRACE);
        }
        self.kill();
    }
}

/// The last [`LAST_BYTES`] of some lines; the first of these without its begin, if that is too long.
fn last(lines: &VecDeque<String>) -> Vec<String> {
    let mut left = LAST_BYTES;
    let mut shown: Vec<String> = vec![];
    for line in lines.iter().rev() {
        if line.len() > left {
            let from = (line.len() - left..=line.len()).find(|&at| line.is_char_boundary(at));
            shown.push(format!("…{}", &line[from.unwrap_or(line.len())..]));
            break;
        }
        left -= line.len();
        shown.push(line.clone());
    }
    shown.reverse();
    shown
}

/// Whether a child has ended, without waiting for it.
fn has_ended(process: u32) -> bool {
    // SAFETY: waitid(2) writes the one structure that it is given, which is plain numbers.
    unsafe {
        let mut about: libc::siginfo_t = std::mem::zeroed();
        let options = libc::WEXITED | libc::WNOHANG | libc::WNOWAIT;
        libc::waitid(libc::P_PID, process, &mut about, options) != 0 || about.si_pid() != 0
    }
}

/// Why a program could not be started, where the system's word misleads.
fn why_not(program: &str, error: &std::io::Error) -> String {
    let path = Path::new(program);
    match error.kind() {
        _ if path.is_dir() => "it is a folder, not a program".into(),
        ErrorKind::NotFound if path.is_file() => {
            "it is there, and what its first line (#!) names is not".into()
        }
        ErrorKind::PermissionDenied => format!("it is not executable; chmod +x it ({error})"),
        _ if error.raw_os_error() == Some(libc::ENOEXEC) => {
            "it is nothing that this machine runs; a script needs a first line such as #!/usr/bin/env python3"
                .into()
        }
        _ => error.to_string(),
    }
}

fn write_to(mut pipe: ChildStdin) -> Sender<Vec<u8>> {
    let (sender, receiver) = bounded::<Vec<u8>>(WAITING);
    thread::spawn(move || {
        for lines in receiver {
            if pipe.write_all(&lines).and_then(|()| pipe.flush()).is_err() {
                return;
            }
        }
    });
    sender
}

fn read_lines(pipe: ChildStdout) -> Receiver<String> {
    // Bounded: a child that writes without end is made to wait.
    let (sender, receiver) = bounded(1024);
    thread::spawn(move || each_line(pipe, |line| sender.send(line).is_ok()));
    receiver
}

fn keep_last(pipe: ChildStderr) -> (Arc<Mutex<VecDeque<String>>>, Receiver<()>) {
    let kept = Arc::new(Mutex::new(VecDeque::new()));
    let (ended, has_ended) = bounded(1);
    let lines = kept.clone();
    thread::spawn(move || {
        each_line(pipe, |line| {
            let mut lines = lines.lock().unwrap_or_else(PoisonError::into_inner);
            lines.push_back(line);
            if lines.len() > LAST_LINES {
                lines.pop_front();
            }
            true
        });
        let _ = ended.send(());
    });
    (kept, has_ended)
}

/// Calls `take` with each line until it says no more or the pipe ends.
fn each_line(pipe: impl Read, mut take: impl FnMut(String) -> bool) {
    let mut pipe = BufReader::new(pipe);
    let mut bytes = Vec::new();
    while let Ok(1..) = pipe.by_ref().take(LONGEST_LINE).read_until(b'\n', &mut bytes) {
        let line = String::from_utf8_lossy(&bytes).trim_end_matches(['\n', '\r']).to_owned();
        bytes.clear();
        if !take(line) {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Child {
        Child::start(&["sh", "-c", script].map(str::to_owned), &[]).unwrap()
    }

    /// A pipe holds 64 kB, so that all but some of these would wait.
    #[test]
    fn what_waits_for_a_child_that_reads_nothing_is_bounded() {
        let child = shell("exec sleep 20");
        for _ in 0..5000 {
            child.send(vec![b'x'; 1000]);
        }
        assert!(child.input.as_ref().is_some_and(|input| input.len() <= WAITING));
    }

    #[test]
    fn of_standard_error_the_end_is_shown_however_long_its_lines() {
        let mut child = shell("head -c 900000 /dev/zero | tr '\\0' x >&2; echo END >&2");
        assert!(matches!(child.line(Instant::now() + Duration::from_secs(20)), Said::Ended(_)));
        let words = child.last_words();
        assert!(
            words.len() < LAST_BYTES + 100 && words.contains("  …x") && words.ends_with("END"),
            "{}",
            words.len()
        );
        let lines: VecDeque<String> = ["a".into(), "ä".repeat(LAST_BYTES), "b".into()].into();
        assert_eq!(last(&lines), [format!("…{}", "ä".repeat(LAST_BYTES / 2 - 1)), "b".to_owned()]);
    }
}
