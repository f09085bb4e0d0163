//! A reward that is a program of the user's: JSON lines in, JSON lines out.

use super::{Models, Reward, Wants};
use crate::data::Example;
use crate::rollout::{Group, Rollout, Score};
use child::Child;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::time::{Duration, Instant};

mod child;
mod watch;

pub use watch::MARK;

/// `[reward.command]`: scores by a program that is started once and lives as long as the run.
///
/// For each group it reads one line a rollout, a JSON object of `n` (the line's number, from 1), `id` (the example's), `prompt` (text or messages),
/// `completion` (text), `steps` (texts), `answer` (text or null), `gold`, `choices`, `truncated`, `tokens` (their
/// number) and `fields` (all columns of the row). For each line it writes one line, in order: `{"score": 0.5}` or
/// `0.5`; and flushes it. Its standard error is free for messages. A program that may write other lines, from threads or libraries,
/// repeats `n` in each reply, `{"n": 7, "score": 0.5}`: then no line of another's can pass for an answer.
///
/// The run stops with an error when the program ends, closes its output, writes anything else, or takes longer than
/// `timeout_s` for a group; the error shows the last lines of its standard error. With the run end all processes that the program
/// started, however the run ends: they are known by their group and by the environment variable `RATIONALE_REWARD_PROGRAM`.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Command {
    /// The program and its arguments, such as `["python3", "score.py"]`; no shell reads them.
    pub command: Vec<String>,
    /// Seconds that a group may take.
    #[serde(default = "one_minute")]
    pub timeout_s: f64,
}

const LONGEST_TIMEOUT: f64 = 604_800.0;

fn one_minute() -> f64 {
    60.0
}

impl Command {
    /// The reward, its section checked. The program is started when it first has something to score.
    pub fn checked(self) -> anyhow::Result<impl Reward> {
        anyhow::ensure!(
            self.command.first().is_some_and(|program| !program.is_empty()),
            "command = []: name a program, such as [\"python3\", \"score.py\"]"
        );
        anyhow::ensure!(
            (1e-3..=LONGEST_TIMEOUT).contains(&self.timeout_s),
            "timeout_s = {}: must be above 0 and a week ({LONGEST_TIMEOUT}) at most, such as 60",
            self.timeout_s
        );
        let timeout = Duration::from_secs_f64(self.timeout_s);
        Ok(Program { command: self.command, timeout, child: None, asked: 0, repeats: false })
    }
}

struct Program {
    command: Vec<String>,
    timeout: Duration,
    child: Option<Child>,
    /// Lines that were sent.
    asked: u64,
    /// Whether it says which line each of its own answers.
    repeats: bool,
}

impl Reward for Program {
    fn score(&mut self, group: &Group, _models: &Models) -> anyhow::Result<Vec<Score>> {
        let mut child = match self.child.take() {
            Some(child) => child,
            None => Child::start(&self.command)?,
        };
        // A child that failed is not put back, and so is ended here.
        let scores = self.ask(&mut child, group).map_err(|problem| {
            anyhow::anyhow!("`{}` {problem}{}", self.command.join(" "), child.last_words())
        })?;
        self.child = Some(child);
        Ok(scores)
    }

    fn wants(&self) -> Wants {
        Wants::default().command("command", &self.command)
    }

    fn independent(&self) -> bool {
        true
    }
}

impl Program {
    fn ask(&mut self, child: &mut Child, group: &Group) -> Result<Vec<Score>, String> {
        surplus(child)?;
        let (timeout, first) = (self.timeout, self.asked + 1);
        let deadline = Instant::now() + timeout;
        let count = group.rollouts.len();
        self.asked += count as u64;
        let lines =
            group.rollouts.iter().zip(first..).map(|(rollout, n)| Question::line(n, &group.example, rollout));
        child.send(lines.collect::<String>().into_bytes());
        let scores = (1..=count).map(|number| {
            let place = format!("line {number} of {count}");
            let line = match child.line(deadline) {
                child::Said::Line(line) => line,
                child::Said::Ended(how) => return Err(format!("{how} before it answered {place}")),
                child::Said::Nothing => return Err(late(&place, number, timeout)),
            };
            let reply = Reply::read(&line).ok_or_else(|| {
                let written = shortened(&line);
                format!("answered {place} with `{written}`; it must write {{\"score\": NUMBER}} or NUMBER")
            })?;
            let asked = first + number as u64 - 1;
            self.repeats |= reply.n.is_some();
            match reply.n {
                Some(n) if n != asked => Err(format!("answered {place} as if it were n = {n}, and it is n = {asked}")),
                None if self.repeats => Err(format!(
                    "answered {place} with `{}`, without the n that it wrote before; every reply has to have it, or none",
                    shortened(&line)
                )),
                _ => Ok(Score::from(reply.score)),
            }
        });
        scores.collect()
    }
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

/// What the program reads of a rollout.
#[derive(Serialize)]
struct Question<'a> {
    n: u64,
    id: &'a str,
    prompt: &'a crate::data::Prompt,
    completion: &'a str,
    steps: Vec<&'a str>,
    answer: Option<&'a str>,
    gold: Option<&'a str>,
    choices: &'a [String],
    truncated: bool,
    tokens: usize,
    fields: &'a Map<String, Value>,
}

impl<'a> Question<'a> {
    fn line(n: u64, example: &'a Example, rollout: &'a Rollout) -> String {
        let steps = rollout.rationale.iter().flat_map(|rationale| &rationale.steps);
        let question = Question {
            n,
            id: &example.id,
            prompt: &example.prompt,
            completion: &rollout.text,
            steps: steps.map(|step| &rollout.text[step.clone()]).collect(),
            answer: rollout.answer(),
            gold: example.answer.as_deref(),
            choices: &example.choices,
            truncated: rollout.truncated(),
            tokens: rollout.tokens.len(),
            fields: &example.fields,
        };
        let mut line = serde_json::to_string(&question).expect("texts, numbers and JSON values");
        line.push('\n');
        line
    }
}

/// What it answers of one.
struct Reply {
    score: f64,
    /// The line that it answers, where it says so.
    n: Option<u64>,
}

impl Reply {
    fn read(line: &str) -> Option<Self> {
        let reply: Value = serde_json::from_str(line).ok()?;
        let score = reply.get("score").unwrap_or(&reply).as_f64().filter(|score| score.is_finite())?;
        let n = match reply.get("n") {
            None => None,
            Some(n) => Some(n.as_u64()?),
        };
        Some(Self { score, n })
    }
}

fn shortened(line: &str) -> String {
    let mut characters = line.trim_end().chars();
    let start: String = characters.by_ref().take(200).collect();
    if characters.next().is_some() { start + "…" } else { start }
}
