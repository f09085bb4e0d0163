//! Signals: the first lets the step end and be saved, the second ends the process at once.
//!
//! A thread of its own waits for them. What is on disk is whole at any moment, so that it may end the process wherever that
//! loses nothing but what was being computed.

use crate::checkpoint::{abandon, has_begun, release};
use crate::error::{Error, Result};
use crate::log::terminal::{say, typed};
use crate::program::MARK;
use crate::ranks::Ranks;
use crate::section::secret;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What the thread that waits for signals goes by.
struct State {
    /// The signal that came.
    signal: Option<i32>,
    /// What is being done, where ending now loses nothing but that.
    cut: Option<&'static str>,
    /// The run's directory, behind it that of the trial under way, and of each whether it was made for this run.
    folders: Vec<(PathBuf, bool)>,
    /// The command that goes on with the run, and the one that began it.
    commands: Option<[String; 2]>,
    /// The processes that do the work, where this one only starts them: what comes is theirs.
    ranks: Vec<i32>,
    /// Whether nothing is said, because another rank says it.
    silent: bool,
}

static STATE: Mutex<State> = Mutex::new(State {
    signal: None,
    cut: None,
    folders: Vec::new(),
    commands: None,
    ranks: Vec::new(),
    silent: false,
});

fn state() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Listens from here on: to SIGINT, SIGTERM and SIGUSR1, and to SIGHUP unless this process was started so as to ignore it (nohup).
pub(super) fn listen() {
    state().commands = Some(commands(std::env::args().collect()));
    // A file that may not grow is an error that names it.
    // SAFETY: to ignore a signal runs nothing.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
    let hangs_up = (!ignored(SIGHUP)).then_some(SIGHUP);
    let wanted = SIGNALS.into_iter().chain(hangs_up);
    let signals = Signals::new(wanted);
    // A rank that was started here has them kept for it until somebody listens.
    mask(libc::SIG_UNBLOCK);
    let Ok(mut signals) = signals else { return };
    std::thread::spawn(move || signals.forever().for_each(received));
}

const SIGNALS: [i32; 3] = [SIGINT, SIGTERM, SIGUSR1];

/// Has the signals that may be listened to kept for later, or has those come that were kept. It may be called between fork and exec.
pub(super) fn mask(how: i32) {
    // SAFETY: a set of signals is any bits; the calls touch nothing else.
    unsafe {
        let mut set: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        for signal in SIGNALS.into_iter().chain([SIGHUP]) {
            libc::sigaddset(&mut set, signal);
        }
        libc::pthread_sigmask(how, &set, std::ptr::null_mut());
    }
}

/// Whether a signal has asked any of the ranks to stop, all of which go by the same one then.
pub(super) fn asked(ranks: &dyn Ranks) -> Result<bool> {
    let mut signal = [f64::from(state().signal.unwrap_or(0))];
    ranks.max(&mut signal)?;
    let asked = signal[0] > 0.0;
    if asked {
        state().signal = Some(signal[0] as i32);
    }
    Ok(asked)
}

/// Says nothing of signals from here on: another rank does.
pub(super) fn silence() {
    state().silent = true;
}

/// Hands on what comes from here on, and what has come, to these processes, which do the work.
pub(super) fn hand_on(ranks: Vec<i32>) {
    let mut state = state();
    state.ranks = ranks;
    if let Some(signal) = state.signal {
        send(&state.ranks, signal);
    }
}

fn send(ranks: &[i32], signal: i32) {
    for &rank in ranks {
        // SAFETY: kill(2) touches no memory. Who has ended and has not been waited for is a zombie, which it does nothing to.
        unsafe { libc::kill(rank, signal) };
    }
}

/// The run's directory, or one in it, for what ends the process while it opens.
pub(super) fn of_run(folder: PathBuf, made: bool) {
    let mut state = state();
    state.folders.retain(|(around, _)| folder.starts_with(around) && folder != *around);
    state.folders.push((folder, made));
}

/// Says that ending now would lose nothing but what `doing` says (none: that it would), and ends where that was asked for already.
pub(super) fn may_cut(doing: Option<&'static str>) {
    let mut state = state();
    state.cut = doing;
    if let (Some(signal), Some(doing)) = (state.signal, doing) {
        end(&state, signal, doing);
    }
}

/// A signal's name, where it is one that this program knows.
pub(super) fn name_of(signal: i32) -> String {
    match signal {
        libc::SIGKILL => "SIGKILL".into(),
        libc::SIGSEGV => "SIGSEGV".into(),
        libc::SIGABRT => "SIGABRT".into(),
        libc::SIGBUS => "SIGBUS".into(),
        SIGINT | SIGTERM | SIGUSR1 | SIGHUP => name(signal).into(),
        other => format!("signal {other}"),
    }
}

/// What a sentence ends with that says what is saved: the command that goes on with it, or begins it again where nothing of it will be left.
pub(super) fn next() -> String {
    state().next().map_or(String::new(), |command| format!(". Go on with:\n  {command}"))
}

impl State {
    fn next(&self) -> Option<&String> {
        let [resume, begin] = self.commands.as_ref()?;
        Some(if self.begun() { resume } else { begin })
    }

    fn begun(&self) -> bool {
        self.folders.first().is_some_and(|(folder, _)| has_begun(folder))
    }
}

/// The error of a run that was asked to stop where no stage is under way.
pub(super) fn stopped_between(folder: &Path) -> Error {
    stopped(match has_begun(folder) {
        true => "it is between two stages",
        false => "before it had begun, so that nothing of it is left",
    })
}

/// The error of a run that was asked to stop and has saved what `done` says.
pub(super) fn stopped(done: &str) -> Error {
    let signal = state().signal.unwrap_or(SIGTERM);
    let next = next();
    Error::Stopped { signal, words: format!("stopped by {}: {done}{next}", name(signal)) }
}

fn received(signal: i32) {
    let mut state = state();
    if !state.ranks.is_empty() {
        send(&state.ranks, signal);
        return;
    }
    let silent = state.silent;
    let words = |text: &str| {
        if !silent {
            say(&format!("{}{text}", name(signal)));
        }
    };
    if state.signal.is_some() {
        words(" again: ending at once");
        leave(128 + signal);
    }
    if let Some(doing) = state.cut {
        state.signal = Some(signal);
        end(&state, signal, doing);
    }
    match state.folders.is_empty() {
        true => words(": ending as soon as can be; once more ends at once"),
        false => words(": ending this step, then saving; once more ends at once"),
    }
    state.signal = Some(signal);
}

fn end(state: &State, signal: i32, doing: &str) -> ! {
    // Before anything is taken away, or a run comes back that was to be replaced.
    let next = state.next();
    let kept = match state.begun() {
        true => "all that was done is saved",
        false => "it had not begun, so that nothing of it is left",
    };
    for (folder, made) in state.folders.iter().rev() {
        let _ = abandon(folder, *made);
        release(folder);
    }
    say(&format!("stopped by {} while {doing}: {kept}", name(signal)));
    if let Some(command) = next {
        say(&format!("Go on with:\n  {command}"));
    }
    leave(128 + signal)
}

/// Ends this process with the programs that it started, without waiting for what it computes.
pub(super) fn leave(code: i32) -> ! {
    end_children();
    // SAFETY: nothing of this process is needed any more; its destructors would wait for threads that compute.
    unsafe { libc::_exit(code) }
}

/// Ends the processes that this one started, each with its group where it leads one.
fn end_children() {
    let own = std::process::id();
    let all = fs::read_dir("/proc").into_iter().flatten().flatten();
    for pid in all.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok()) {
        let Ok(stat) = fs::read_to_string(format!("/proc/{pid}/stat")) else { continue };
        // proc(5): behind the name in parentheses stand the state, the parent and the group.
        let Some((_, rest)) = stat.rsplit_once(')') else { continue };
        let mut fields = rest.split_whitespace().skip(1).map(|field| field.parse::<i64>().unwrap_or(0));
        // Who ends what reward programs started does so when this process is gone.
        let watches = || {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            line.windows(MARK.len()).any(|part| part == MARK.as_bytes())
        };
        if fields.next() == Some(i64::from(own)) && !watches() {
            let whom = if fields.next() == Some(i64::from(pid)) { -pid } else { pid };
            // SAFETY: kill(2) touches no memory.
            unsafe { libc::kill(whom, libc::SIGKILL) };
        }
    }
}

fn ignored(signal: i32) -> bool {
    // SAFETY: sigaction(2) without a new action only fills in the old one, which all zeros is a value of.
    unsafe {
        let mut now: libc::sigaction = std::mem::zeroed();
        libc::sigaction(signal, std::ptr::null(), &mut now) == 0 && now.sa_sigaction == libc::SIG_IGN
    }
}

fn name(signal: i32) -> &'static str {
    match signal {
        SIGINT => "SIGINT",
        SIGTERM => "SIGTERM",
        SIGUSR1 => "SIGUSR1",
        _ => "SIGHUP",
    }
}

/// This program as it was called, for a command that is shown.
pub(super) fn program() -> String {
    std::env::args_os().next().map_or_else(|| "train".into(), |name| typed(&name.to_string_lossy()))
}

/// The command that this process was started by, without secrets, as a shell reads it.
pub(super) fn command() -> String {
    let words: Vec<String> = std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
    let [_, begin] = commands(secret::told(&words));
    begin
}

/// The command that goes on with a run, and the one that begins it, as a shell reads them.
fn commands(arguments: Vec<String>) -> [String; 2] {
    let quote = |argument: &String| typed(argument);
    let begin = arguments.iter().map(quote).collect::<Vec<_>>().join(" ");
    let kept = arguments.iter().filter(|argument| *argument != "--overwrite");
    let mut resume: Vec<String> = kept.map(quote).collect();
    if !arguments.iter().any(|argument| argument == "--resume") {
        resume.push("--resume".into());
    }
    [resume.join(" "), begin]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_that_goes_on_is_one_to_be_typed() {
        let words = |text: &str| text.split('|').map(str::to_string).collect::<Vec<_>>();
        let [resume, begin] =
            commands(words("./train|--recipe|my recipe.toml|--set|a.b=[\"x\"]|--overwrite"));
        assert_eq!(resume, r#"./train --recipe 'my recipe.toml' --set 'a.b=["x"]' --resume"#);
        assert_eq!(begin, r#"./train --recipe 'my recipe.toml' --set 'a.b=["x"]' --overwrite"#);
        assert_eq!(commands(words("train|--resume|it's"))[0], r"train --resume 'it'\''s'");
    }
}
