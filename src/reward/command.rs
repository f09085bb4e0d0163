//! A reward that is a program of the user's: JSON lines in, JSON lines out.

use super::{Models, Reward, Wants};
use crate::data::Example;
use crate::program::{Form, Program, checked};
use crate::rollout::{Group, Rollout, Score};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// `[reward.command]`: scores by a program that is started once and lives as long as the run.
///
/// For each group it reads one line a rollout, a JSON object of `n` (the line's number, from 1), `id` (the example's), `prompt` (text or messages),
/// `completion` (text), `steps` (texts), `answer` (text or null), `gold`, `choices`, `truncated`, `tokens` (the
/// number of those sampled) and `fields` (all columns of the row). For each line it writes one line, in order: `{"score": 0.5}` or
/// `0.5`; and flushes it. Its standard error is free for messages. A program that may write other lines, from threads or libraries,
/// repeats `n` in each reply, `{"n": 7, "score": 0.5}`: then no line of another's can pass for an answer.
///
/// The run stops with an error when the program ends, closes its output, writes anything else, or takes longer than
/// `timeout_s` for a group; the error shows the last lines of its standard error. With the run end all processes that the program
/// started, however the run ends: they are known by their group and by the environment variable `RATIONALE_PROGRAM`.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Command {
    /// The program and its arguments, such as `["python3", "score.py"]`; no shell reads them.
    pub command: Vec<String>,
    /// Seconds that a group may take.
    #[serde(default = "one_minute")]
    pub timeout_s: f64,
}

fn one_minute() -> f64 {
    60.0
}

impl Command {
    /// The reward, its section checked. The program is started when it first has something to score.
    pub fn checked(self) -> anyhow::Result<impl Reward> {
        let timeout = checked(&self.command, self.timeout_s).map_err(anyhow::Error::msg)?;
        Ok(Scorer { program: Program::new(self.command, timeout) })
    }
}

struct Scorer {
    program: Program,
}

impl Reward for Scorer {
    fn score(&mut self, group: &Group, _models: &Models) -> anyhow::Result<Vec<Score>> {
        let questions: Vec<Question> =
            group.rollouts.iter().map(|rollout| Question::of(&group.example, rollout)).collect();
        let scores = self.program.ask(&questions, &SCORE)?;
        Ok(scores.into_iter().map(Score::from).collect())
    }

    fn wants(&self) -> Wants {
        Wants::default().command("command", self.program.command())
    }

    fn independent(&self) -> bool {
        true
    }
}

/// What it answers.
const SCORE: Form<f64> = Form { written: "{\"score\": NUMBER} or NUMBER", read: score };

fn score(reply: &Value) -> Option<f64> {
    reply.get("score").unwrap_or(reply).as_f64().filter(|score| score.is_finite())
}

/// What the program reads of a rollout.
#[derive(Serialize)]
struct Question<'a> {
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
    fn of(example: &'a Example, rollout: &'a Rollout) -> Self {
        let steps = rollout.rationale.iter().flat_map(|rationale| &rationale.steps);
        Self {
            id: &example.id,
            prompt: &example.prompt,
            completion: &rollout.text,
            steps: steps.map(|step| &rollout.text[step.clone()]).collect(),
            answer: rollout.answer(),
            gold: example.answer.as_deref(),
            choices: &example.choices,
            truncated: rollout.truncated(),
            tokens: rollout.sampled(),
            fields: &example.fields,
        }
    }
}
