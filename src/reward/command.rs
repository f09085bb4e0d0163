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
/// repeats `n` in each reply, `{"n": 7, "score": 0.5}`: then no line of another's can pass for an answer. A reply may say which tests a
/// completion passes, `{"tests": {"runs": true, "is_right": false}}`: their shares are logged, and without a `score` it is 1 where all are passed.
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
        Ok(Scorer { program: Program::new(self.command, timeout), tests: vec![] })
    }
}

struct Scorer {
    program: Program,
    /// What the completions since the last figures were said to pass: 1 for each that does.
    tests: Vec<(String, f64)>,
}

impl Reward for Scorer {
    fn score(&mut self, group: &Group, _models: &Models) -> anyhow::Result<Vec<Score>> {
        let questions: Vec<Question> =
            group.rollouts.iter().map(|rollout| Question::of(&group.example, rollout)).collect();
        let verdicts = self.program.ask(&questions, &VERDICT)?;
        let score = |Verdict { score, tests }: Verdict| {
            self.tests.extend(tests);
            Score::from(score)
        };
        Ok(verdicts.into_iter().map(score).collect())
    }

    fn figures(&mut self) -> Vec<(String, f64)> {
        std::mem::take(&mut self.tests)
    }

    fn wants(&self) -> Wants {
        Wants::default().command("command", self.program.command())
    }

    fn independent(&self) -> bool {
        true
    }
}

/// What it answers.
struct Verdict {
    score: f64,
    /// Its tests by name, 1 for those that are passed.
    tests: Vec<(String, f64)>,
}

const VERDICT: Form<Verdict> = Form { written: "{\"score\": NUMBER} or NUMBER", read: verdict };

fn verdict(reply: &Value) -> Option<Verdict> {
    let passed =
        |(name, passed): (&String, &Value)| Some((name.clone(), f64::from(u8::from(passed.as_bool()?))));
    let tests: Vec<(String, f64)> = match reply.get("tests") {
        None => vec![],
        Some(tests) => tests.as_object()?.iter().map(passed).collect::<Option<_>>()?,
    };
    let all = || tests.iter().map(|(_, passed)| *passed).fold(1.0, f64::min);
    let score = match reply.get("score") {
        None if !tests.is_empty() => Some(all()),
        None => reply.as_f64(),
        Some(score) => score.as_f64(),
    };
    Some(Verdict { score: score.filter(|score| score.is_finite())?, tests })
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

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_verdict_has_a_score_or_tests() {
        let of = |reply: Value| verdict(&reply).map(|verdict| (verdict.score, verdict.tests));
        let tests = |runs: f64, right: f64| vec![("runs".to_owned(), runs), ("right".to_owned(), right)];
        assert_eq!(of(json!(0.5)), Some((0.5, vec![])));
        assert_eq!(of(json!({"score": 2})), Some((2.0, vec![])));
        assert_eq!(of(json!({"tests": {"runs": true, "right": false}})), Some((0.0, tests(1.0, 0.0))));
        assert_eq!(of(json!({"tests": {"runs": true, "right": true}})), Some((1.0, tests(1.0, 1.0))));
        assert_eq!(
            of(json!({"score": 0.25, "tests": {"runs": true, "right": true}})),
            Some((0.25, tests(1.0, 1.0)))
        );
        for wrong in [
            json!({}),
            json!({"tests": {}}),
            json!({"tests": {"runs": 1}}),
            json!({"tests": true}),
            json!("1"),
        ] {
            assert_eq!(of(wrong), None);
        }
    }
}
