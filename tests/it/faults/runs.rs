//! A run of the program in a folder of its own, with what is to happen to it.

use super::recipes::Tried;
use super::shim::{self, Call, Fault};
use std::fs::{self, File};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// The folder of a recipe and its run.
pub struct Trial {
    folder: TempDir,
}

/// How a run ended, and what it said.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub signal: Option<i32>,
    pub said: String,
    pub took: Duration,
}

/// What is sent when the run's folder is so.
type Signal<'a> = Option<(&'a dyn Fn(&Path) -> bool, i32)>;

/// A run that takes longer hangs: they take a second or two.
const LONGEST: Duration = Duration::from_secs(120);

impl Trial {
    /// A folder with the recipe and its rows.
    pub fn new(tried: &Tried) -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("recipe.toml"), &tried.recipe).unwrap();
        fs::write(folder.path().join("rows.jsonl"), &tried.rows).unwrap();
        Self { folder }
    }

    /// The same, with the run's folder as it is in another trial.
    pub fn like(tried: &Tried, other: &Trial) -> Self {
        let trial = Self::new(tried);
        copy(&other.out(), &trial.out());
        trial
    }

    /// Where its run goes.
    pub fn out(&self) -> PathBuf {
        // Paths that the shim compares are those that the system gives.
        self.folder.path().canonicalize().unwrap().join("out")
    }

    /// Runs to the end; goes on with the run that is there, if there is one.
    pub fn run(&self) -> Ended {
        self.wait(self.start(&mut self.command()), None)
    }

    /// Runs to the end and notes the calls that it makes.
    pub fn noted(&self) -> (Ended, Vec<Call>) {
        self.under(None, None)
    }

    /// Runs with a fault at its n-th call.
    pub fn faulty(&self, at: usize, fault: Fault) -> (Ended, Vec<Call>) {
        self.under(Some((at, fault)), None)
    }

    /// Runs until a moment after the start, then sends it a signal.
    pub fn signalled(&self, after: Duration, signal: i32) -> (Ended, Vec<Call>) {
        let began = Instant::now();
        self.signalled_when(&|_| began.elapsed() >= after, signal)
    }

    /// Runs until its folder is so, then sends it a signal.
    pub fn signalled_when(&self, seen: &dyn Fn(&Path) -> bool, signal: i32) -> (Ended, Vec<Call>) {
        self.under(None, Some((seen, signal)))
    }

    /// Runs until some calls behind this one, `rename /rl-step-000004`, and is killed there: reports are written by the clock, so that
    /// a call's number is not the same in every run.
    pub fn killed_behind(&self, call: &str, further: usize) -> Ended {
        let mut command = self.command();
        self.preload(&mut command, further, Fault::Kill).env("FAULT_BEHIND", call);
        self.wait(self.start(&mut command), None)
    }

    fn preload<'a>(&self, command: &'a mut Command, at: usize, fault: Fault) -> &'a mut Command {
        let how = match fault {
            Fault::Kill => "kill",
            Fault::Full => "full",
            Fault::Broken => "eio",
        };
        command.env("LD_PRELOAD", shim::library()).env("FAULT_UNDER", self.out());
        command.env("FAULT_AT", at.to_string()).env("FAULT_HOW", how)
    }

    fn under(&self, fault: Option<(usize, Fault)>, signal: Signal) -> (Ended, Vec<Call>) {
        let log = self.folder.path().join("calls");
        let _ = fs::remove_file(&log);
        let mut command = self.command();
        command.env("LD_PRELOAD", shim::library()).env("FAULT_UNDER", self.out()).env("FAULT_LOG", &log);
        if let Some((at, fault)) = fault {
            self.preload(&mut command, at, fault);
        }
        (self.wait(self.start(&mut command), signal), shim::calls(&log))
    }

    /// Starts a run, or goes on with the one that is there, with these keys set.
    pub fn begin(&self, sets: &[&str]) -> Child {
        let mut command = self.command();
        self.start(command.args(sets.iter().flat_map(|set| ["--set", set])))
    }

    /// Runs with these keys set and 6 GB of addresses; one that takes longer than a while is asked to stop.
    pub fn limited(&self, sets: &[&str]) -> Ended {
        let mut command = self.command();
        command.args(sets.iter().flat_map(|set| ["--set", set]));
        // SAFETY: setrlimit(2) may be called between fork and exec.
        unsafe {
            command.pre_exec(|| {
                let most = libc::rlimit { rlim_cur: 6 << 30, rlim_max: 6 << 30 };
                libc::setrlimit(libc::RLIMIT_AS, &raw const most);
                Ok(())
            });
        }
        let (child, began) = (self.start(&mut command), Instant::now());
        self.wait(child, Some((&|_| began.elapsed() > Duration::from_secs(10), libc::SIGTERM)))
    }

    /// Waits for one that was begun.
    pub fn end(&self, child: Child) -> Ended {
        self.wait(child, None)
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_train"));
        command.current_dir(self.folder.path()).args(["--quiet", "--recipe", "recipe.toml", "--out", "out"]);
        // A start that made no run yet leaves nothing that blocks the next; one that did is gone on with.
        if self.out().join("run.json").is_file() {
            command.arg("--resume");
        }
        command.env("OMP_NUM_THREADS", "1").stdin(Stdio::null());
        command
    }

    fn said(&self) -> PathBuf {
        self.folder.path().join("said")
    }

    fn start(&self, command: &mut Command) -> Child {
        let said = File::create(self.said()).unwrap();
        command.stdout(said.try_clone().unwrap()).stderr(said).spawn().unwrap()
    }

    fn wait(&self, mut child: Child, mut signal: Signal) -> Ended {
        let (began, out) = (Instant::now(), self.out());
        let status = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status;
            }
            if let Some((seen, number)) = signal
                && seen(&out)
            {
                send(&child, number);
                signal = None;
            }
            if began.elapsed() > LONGEST {
                let _ = child.kill();
                panic!("a run hangs; it said:\n{}", fs::read_to_string(self.said()).unwrap_or_default());
            }
            std::thread::sleep(Duration::from_millis(1));
        };
        let said = String::from_utf8_lossy(&fs::read(self.said()).unwrap()).into_owned();
        Ended { code: status.code(), signal: status.signal(), said, took: began.elapsed() }
    }
}

impl Ended {
    /// Whether it died of a panic: a panic that is caught says so.
    pub fn panicked(&self) -> bool {
        self.said.contains("error: internal") || self.said.contains("panicked at")
    }
}

fn send(child: &Child, signal: i32) {
    let ended = Command::new("kill").args([format!("-{signal}"), child.id().to_string()]).output();
    assert!(ended.is_ok(), "kill");
}

/// Copies a folder with all that is in it.
pub fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}
