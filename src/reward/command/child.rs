//! A child process that is talked to line by line and cannot block its parent.

use anyhow::Context;
use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, bounded, unbounded};
use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child as Process, ChildStderr, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How long a child that is done may take to end.
const GRACE: Duration = Duration::from_millis(500);
/// A line longer than this is cut: it is no score, and must not fill the memory.
const LONGEST_LINE: u64 = 1 << 16;
const LAST_LINES: usize = 20;

/// A running program. Its input, output and standard error each have a thread, so that neither side waits for the
/// other however much is written; when it is dropped the process and those that it started are ended.
pub struct Child {
    process: Process,
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
    /// Starts `command`: a program and its arguments.
    pub fn start(command: &[String]) -> anyhow::Result<Self> {
        let mut building = Command::new(&command[0]);
        building.args(&command[1..]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        // A group of its own, so that what it starts can be ended with it.
        #[cfg(unix)]
        std::os::unix::process::CommandExt::process_group(&mut building, 0);
        let mut process = building.spawn().with_context(|| {
            format!("cannot start `{}` (relative paths begin at the working directory)", command[0])
        })?;
        let taken = "its pipes were asked for just above";
        let input = write_to(process.stdin.take().expect(taken));
        let output = read_lines(process.stdout.take().expect(taken));
        let (errors, errors_ended) = keep_last(process.stderr.take().expect(taken));
        Ok(Self { process, input: Some(input), output, errors, errors_ended })
    }

    /// Has `lines` written to it, without waiting.
    pub fn send(&self, lines: Vec<u8>) {
        // A child that has ended is noticed when it is read from.
        let _ = self.input.as_ref().map(|input| input.send(lines));
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
            Err(RecvTimeoutError::Disconnected) => Said::Ended(match self.wait(GRACE) {
                Some(status) => format!("ended ({status})"),
                None => "closed its output".to_owned(),
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
        lines.iter().fold("; the end of its standard error:".to_owned(), |text, line| text + "\n  " + line)
    }

    fn wait(&mut self, patience: Duration) -> Option<std::process::ExitStatus> {
        let deadline = Instant::now() + patience;
        loop {
            match self.process.try_wait() {
                Ok(Some(status)) => return Some(status),
                Ok(None) if Instant::now() < deadline => thread::sleep(Duration::from_millis(5)),
                _ => return None,
            }
        }
    }

    fn kill(&mut self) {
        // Once waited for, its number may belong to another process.
        if let Ok(None) = self.process.try_wait() {
            #[cfg(unix)]
            kill_group(self.process.id());
            let _ = self.process.kill();
            let _ = self.process.wait();
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        // The end of its input tells a program that it is done.
        self.input = None;
        if self.wait(GRACE).is_none() {
            self.kill();
        }
    }
}

#[cfg(unix)]
fn kill_group(process: u32) {
    unsafe extern "C" {
        fn kill(process: i32, signal: i32) -> i32;
    }
    const SIGKILL: i32 = 9;
    if let Ok(group) = i32::try_from(process) {
        // SAFETY: kill(2) touches no memory; the group is that of a child which has not been waited for.
        unsafe { kill(-group, SIGKILL) };
    }
}

fn write_to(mut pipe: ChildStdin) -> Sender<Vec<u8>> {
    let (sender, receiver) = unbounded::<Vec<u8>>();
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
