//! A program of the user's that is started once and lives as long as it is asked: JSON lines in, JSON lines out.

mod asked;
mod child;
mod rpc;
mod startable;
mod watch;

pub use asked::Asked;
pub use rpc::Server;
pub use startable::startable;
pub use watch::MARK;

use crate::section::secret;
use child::{Child, Said};
use serde::Serialize;
use serde_json::Value;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

/// The longest time that a program may be given.
const LONGEST_TIMEOUT: f64 = 604_800.0;

/// A program, started when it is first asked and again after it has failed. It is sent a line a question, a JSON object with the line's
/// number `n`, from 1, and writes a line for each, in order, with or without that `n`.
pub struct Program {
    command: Vec<String>,
    timeout: Duration,
    /// Variables of the environment that it is not to see.
    without: Vec<String>,
    child: Option<Child>,
    /// Lines that were sent.
    asked: u64,
    /// Whether it says which line each of its own answers.
    repeats: bool,
}

/// What a program is to answer.
pub struct Form<A> {
    /// How it is written, in words that follow `it must write`.
    pub written: &'static str,
    /// Reads it; none where it is something else.
    pub read: fn(&Value) -> Option<A>,
}

/// The time that a program may take, where it can be asked at all.
///
/// # Errors
/// A command that names nothing or holds a secret; no time, or more than a week; in words that begin with the key, `command` or `timeout_s`.
pub fn checked(command: &[String], timeout_s: f64) -> Result<Duration, String> {
    if command.first().is_none_or(|program| program.is_empty()) {
        return Err("command = []: name a program, such as [\"python3\", \"score.py\"]".to_owned());
    }
    if let Some(at) = secret::in_a_command(command) {
        return Err(format!(
            "command: its word {} holds a password or a key, which would stand in the run's folder and in reports; export it as a variable of \
             the environment, which the program reads (a tool or an environment sees those that `variables` names)",
            at + 1
        ));
    }
    if !(1e-3..=LONGEST_TIMEOUT).contains(&timeout_s) {
        return Err(format!(
            "timeout_s = {timeout_s}: must be above 0 and a week ({LONGEST_TIMEOUT}) at most, such as 60"
        ));
    }
    Ok(Duration::from_secs_f64(timeout_s))
}

impl Program {
    /// A program and its arguments, and the time that each call of [`ask`](Self::ask) may take.
    pub fn new(command: Vec<String>, timeout: Duration) -> Self {
        Self { command, timeout, without: vec![], child: None, asked: 0, repeats: false }
    }

    /// The same, which sees no variable of the environment that may be a secret by its name or value, but for those `kept`.
    pub fn without_secrets(self, kept: &[String]) -> Self {
        // What is no text is looked at by its name alone, and what has no readable name is left as it is.
        let told = |(name, value): (std::ffi::OsString, std::ffi::OsString)| {
            let name = name.into_string().ok()?;
            let is_secret = secret::in_a_variable(&name, value.to_str());
            (is_secret && !kept.contains(&name)).then_some(name)
        };
        Self { without: std::env::vars_os().filter_map(told).collect(), ..self }
    }

    /// The program and its arguments.
    pub fn command(&self) -> &[String] {
        &self.command
    }

    /// What it answers to each of `questions`, in order.
    ///
    /// # Errors
    /// A program that cannot be started, ends, closes its output, writes anything else, or takes longer than it may; with the command and
    /// the last lines of its standard error. The next call starts it anew.
    pub fn ask<Q: Serialize, A>(&mut self, questions: &[Q], form: &Form<A>) -> anyhow::Result<Vec<A>> {
        let mut child = match self.child.take() {
            Some(child) => child,
            None => Child::start(&self.command, &self.without)?,
        };
        // A child that failed is not put back, and so is ended here.
        let answers = self.exchange(&mut child, questions, form).map_err(|problem| {
            anyhow::anyhow!("`{}` {problem}{}", called(&self.command), child.last_words())
        })?;
        self.child = Some(child);
        Ok(answers)
    }

    fn exchange<Q: Serialize, A>(
        &mut self,
        child: &mut Child,
        questions: &[Q],
        form: &Form<A>,
    ) -> Result<Vec<A>, String> {
        surplus(child)?;
        let (timeout, first) = (self.timeout, self.asked + 1);
        let deadline = Instant::now() + timeout;
        let count = questions.len();
        self.asked += count as u64;
        let lines = questions.iter().zip(first..).map(|(question, n)| Numbered { n, question }.line());
        child.send(lines.collect::<String>().into_bytes());
        let answers = (1..=count).map(|number| {
            let place = format!("line {number} of {count}");
            let line = match child.line(deadline) {
                Said::Line(line) => line,
                Said::Ended(how) => return Err(format!("{how} before it answered {place}")),
                Said::Nothing => return Err(late(&place, number, timeout)),
            };
            let (answer, n) = read(&line, form).ok_or_else(|| {
                format!("answered {place} with `{}`; it must write {}", shortened(&line), form.written)
            })?;
            let asked = first + number as u64 - 1;
            self.repeats |= n.is_some();
            match n {
                Some(n) if n != asked => Err(format!("answered {place} as if it were n = {n}, and it is n = {asked}")),
                None if self.repeats => Err(format!(
                    "answered {place} with `{}`, without the n that it wrote before; every reply has to have it, or none",
                    shortened(&line)
                )),
                _ => Ok(answer),
            }
        });
        answers.collect()
    }
}

/// What `work` makes of each of `programs`, with its place, all beside each other; in their order.
pub fn beside<P: Send, T: Send>(programs: &mut [P], work: impl Fn(usize, &mut P) -> T + Sync) -> Vec<T> {
    let work = &work;
    thread::scope(|scope| {
        let programs = programs.iter_mut().enumerate();
        let working: Vec<_> = programs.map(|(at, program)| scope.spawn(move || work(at, program))).collect();
        let done = |working: thread::ScopedJoinHandle<'_, T>| {
            working.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        };
        working.into_iter().map(done).collect()
    })
}

/// A command as messages call it: the program, and the file that it is given to run. What else it is given may be nobody else's business.
fn called(command: &[String]) -> String {
    let script = command.get(1).filter(|word| Path::new(word).is_file());
    let shown: Vec<&str> = command.first().into_iter().chain(script).map(String::as_str).collect();
    let rest = if shown.len() < command.len() { " …" } else { "" };
    shown.join(" ") + rest
}

/// A question with its number.
#[derive(Serialize)]
struct Numbered<'a, Q> {
    n: u64,
    #[serde(flatten)]
    question: &'a Q,
}

impl<Q: Serialize> Numbered<'_, Q> {
    fn line(&self) -> String {
        let mut line = serde_json::to_string(self).expect("texts, numbers and JSON values");
        line.push('\n');
        line
    }
}

/// An answer, and the line that it is to, where it says so.
fn read<A>(line: &str, form: &Form<A>) -> Option<(A, Option<u64>)> {
    let reply: Value = serde_json::from_str(line).ok()?;
    let answer = (form.read)(&reply)?;
    let n = match reply.get("n") {
        None => None,
        Some(n) => Some(n.as_u64()?),
    };
    Some((answer, n))
}

/// Refuses what was written without being asked for.
fn surplus(child: &Child) -> Result<(), String> {
    child.unasked().map_or(Ok(()), |line| {
        Err(format!("wrote more lines than it was sent; the first of these is `{}`", shortened(&line)))
    })
}

fn late(place: &str, number: usize, timeout: Duration) -> String {
    // What stands in a buffer of the program's own looks as if nothing were said.
    let hint = match number {
        1 => {
            ", and wrote nothing at all; it has to flush each line (in Python print(…, flush=True), or python3 -u)"
        }
        _ => "",
    };
    format!("did not answer {place} within timeout_s = {}{hint}", timeout.as_secs_f64())
}

fn shortened(line: &str) -> String {
    let mut characters = line.trim_end().chars();
    let start: String = characters.by_ref().take(200).collect();
    if characters.next().is_some() { start + "…" } else { start }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const TEXT: Form<String> = Form { written: "a TEXT", read: |reply| reply.as_str().map(str::to_owned) };

    fn shell(script: &str) -> Program {
        let command = ["sh", "-c", script].map(str::to_owned).to_vec();
        Program::new(command, Duration::from_secs(20))
    }

    /// Lines are numbered on from call to call; what fails is ended, and what comes next is a program of its own.
    #[test]
    fn a_program_is_asked_line_by_line_and_again_after_it_failed() {
        let mut program = shell(
            "while read -r line; do case $line in *stop*) exit 3;; *:2,*) echo '\"two\"';; *) echo '\"one\"';; esac; done",
        );
        let ask = |program: &mut Program, words: &[&str]| {
            let questions: Vec<Value> = words.iter().map(|word| json!({ "word": word, "z": 0 })).collect();
            program.ask(&questions, &TEXT).map_err(|error| error.to_string())
        };
        assert_eq!(ask(&mut program, &["a"]), Ok(vec!["one".to_owned()]));
        assert_eq!(ask(&mut program, &["a"]), Ok(vec!["two".to_owned()]));
        let failed = ask(&mut program, &["stop"]).unwrap_err();
        assert!(failed.contains("ended (exit status: 3) before it answered line 1 of 1"), "{failed}");
        assert_eq!(ask(&mut program, &["a"]), Ok(vec!["one".to_owned()]));
        let other = shell("read -r line; echo 5").ask(&[json!({})], &TEXT).unwrap_err().to_string();
        assert!(other.contains("answered line 1 of 1 with `5`; it must write a TEXT"), "{other}");
    }

    #[test]
    fn secrets_of_the_environment_are_left_out() {
        let program = shell("true").without_secrets(&[]);
        assert!(!program.without.iter().any(|name| name == "PATH"));
        let secrets: Vec<String> = std::env::vars()
            .filter(|(name, value)| secret::in_a_variable(name, Some(value)))
            .map(|(name, _)| name)
            .collect();
        assert!(secrets.iter().all(|name| program.without.contains(name)));
        assert!(shell("true").without_secrets(&secrets).without.iter().all(|name| !secrets.contains(name)));
        // What is to be left out is not there when the program starts.
        let mut blind = shell("read -r line; echo \"\\\"$HOME\\\"\"");
        blind.without.push("HOME".to_owned());
        assert_eq!(blind.ask(&[json!({})], &TEXT).unwrap(), [""]);
    }

    #[test]
    fn commands_and_times_are_checked() {
        let command = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
        assert_eq!(checked(&command(&["sh"]), 0.5), Ok(Duration::from_millis(500)));
        assert!(checked(&command(&[]), 1.0).unwrap_err().starts_with("command = []"));
        assert!(checked(&command(&[""]), 1.0).is_err());
        assert!(checked(&command(&["sh"]), 0.0).unwrap_err().starts_with("timeout_s = 0"));
        let refused = checked(&command(&["sh", "--api-key", "hunter2hunter2"]), 1.0).unwrap_err();
        assert!(
            refused.starts_with("command: its word 3 holds") && !refused.contains("hunter2"),
            "{refused}"
        );
    }

    #[test]
    fn a_command_is_called_by_its_program_and_script() {
        let called =
            |words: &[&str]| super::called(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
        assert_eq!(called(&["sh"]), "sh");
        assert_eq!(called(&["sh", "-c", "echo hunter2"]), "sh …");
        assert_eq!(called(&["sh", "Cargo.toml"]), "sh Cargo.toml");
        assert_eq!(called(&["sh", "Cargo.toml", "hunter2"]), "sh Cargo.toml …");
    }
}
