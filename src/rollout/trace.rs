//! A trace: a rollout as a JSONL line, what stages hand on and people read.
//!
//! `prompt`, `completion`, `answer` and `choices` are the columns that `[data]` reads, so a file of traces is a
//! dataset: `data.train = "@stage"` trains on an earlier stage's rollouts.

use super::{CutValue, Fork, Group, Place, Rollout, Score};
use crate::data::row::Problems;
use crate::data::tree::finite;
use crate::data::{Example, Prompt};
use crate::engine::StopReason;
use crate::model::Sequence;
use crate::rationale::{Format, Given, given};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// One rollout.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Trace {
    /// `example-id/step-sample`, unique within a stage.
    pub id: String,
    /// The example's id.
    pub example: String,
    /// The step that sampled it, counted from 1.
    pub step: usize,
    /// What the policy was asked.
    pub prompt: Prompt,
    /// What it wrote.
    pub completion: String,
    /// The gold answer.
    pub answer: Option<String>,
    /// The options of a multiple-choice question.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub choices: Vec<String>,
    /// The parsed steps.
    pub steps: Vec<String>,
    /// The parsed answer.
    pub predicted: Option<String>,
    /// Why the completion ended.
    pub stop: StopReason,
    /// Scores by reward name, before weights.
    pub scores: BTreeMap<String, f64>,
    /// What rewards say of each step, by their names, where they do.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub step_scores: BTreeMap<String, Vec<f64>>,
    /// Σ weight · score.
    pub reward: f64,
    /// The credit it got, where it was trained on.
    pub advantage: Option<f64>,
    /// The credit of each of its sampled tokens, where steps have credit of their own.
    #[serde(default, skip_serializing_if = "Vec::is_empty", deserialize_with = "finite")]
    pub advantages: Vec<f32>,
    /// Why nothing of its group was learned, where the group was dropped: `zero_variance`, `surplus`. Stages that learn from traces pass over it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dropped: Option<String>,
    /// The prompt's token ids.
    pub prompt_ids: Vec<u32>,
    /// The completion's token ids.
    pub completion_ids: Vec<u32>,
    /// log p of each sampled token when it was sampled (or scored), in nats.
    #[serde(deserialize_with = "finite")]
    pub logprobs: Vec<f32>,
    /// What of the completion was given and not sampled, by tokens and bytes.
    #[serde(default, rename = "given_spans", skip_serializing_if = "Vec::is_empty")]
    pub given: Vec<Given>,
    /// What its environment says that it is worth, where it is an episode of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub episode_reward: Option<f64>,
    /// What continuations from cuts between its steps say of them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cuts: Vec<CutValue>,
    /// Where another completion of its group was cut that it goes on from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub branched_at: Option<Place>,
    /// The nodes of its tree that lead up to it, where it is a leaf of one; `example` and `step` name the tree.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub forks: Vec<Fork>,
    /// The completion that the row brought itself, beside which this one is another.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own_completion: Option<String>,
    /// The row's other columns.
    #[serde(flatten)]
    pub columns: Map<String, Value>,
}

/// Columns of a row that a trace has under its own name, or (`messages`, …) in another form.
pub const OWN: [&str; 28] = [
    "id",
    "example",
    "step",
    "prompt",
    "messages",
    "text",
    "completion",
    "completions",
    "answer",
    "choices",
    "steps",
    "predicted",
    "stop",
    "scores",
    "step_scores",
    "reward",
    "advantage",
    "advantages",
    "dropped",
    "prompt_ids",
    "completion_ids",
    "logprobs",
    given::COLUMN,
    "episode_reward",
    "cuts",
    "branched_at",
    "forks",
    "own_completion",
];

impl Trace {
    /// The rollout `sample` of `group`.
    pub fn of(group: &Group, sample: usize, step: usize, advantage: Option<f64>) -> Self {
        let (example, rollout) = (&group.example, &group.rollouts[sample]);
        let steps = rollout
            .rationale
            .iter()
            .flat_map(|r| &r.steps)
            .map(|span| rollout.text[span.clone()].to_string());
        let others = example.fields.iter().filter(|(name, _)| !OWN.contains(&name.as_str()));
        Self {
            id: format!("{}/{step}-{sample}", example.id),
            example: example.id.clone(),
            step,
            prompt: example.prompt.clone(),
            completion: rollout.text.clone(),
            answer: example.answer.clone(),
            choices: example.choices.clone(),
            steps: steps.collect(),
            predicted: rollout.answer().map(str::to_string),
            stop: rollout.stop.clone(),
            scores: rollout.scores.iter().map(|(name, score)| (name.clone(), score.value)).collect(),
            step_scores: rollout.scores.iter().filter_map(of_steps).collect(),
            reward: rollout.reward,
            advantage,
            advantages: Vec::new(),
            dropped: None,
            prompt_ids: group.prompt.clone(),
            completion_ids: rollout.tokens.clone(),
            logprobs: rollout.logprobs.clone(),
            given: rollout.given.clone(),
            episode_reward: rollout.episode,
            cuts: rollout.cuts.clone(),
            branched_at: rollout.branched_at,
            forks: rollout.forks.clone(),
            own_completion: example.completion.clone().filter(|own| *own != rollout.text),
            columns: others.map(|(name, value)| (name.clone(), value.clone())).collect(),
        }
    }
}

fn of_steps((name, score): (&String, &Score)) -> Option<(String, Vec<f64>)> {
    Some((name.clone(), score.steps.as_ref()?.iter().map(|step| step.value).collect()))
}

/// Rows that are not all traces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoTraces {
    /// Those that are none, by their places, each with what it lacks.
    pub rows: Vec<(usize, String)>,
    /// Others are traces, or have been: token ids are no column of ordinary rows.
    pub mixed: bool,
}

impl NoTraces {
    /// The same as problems of `rows`, as `said` puts what one of them lacks.
    pub fn problems(&self, rows: &[Arc<Example>], said: impl Fn(&str) -> String) -> Problems {
        let mut problems = Problems::default();
        self.rows.iter().for_each(|(row, lacks)| problems.example(&rows[*row], said(lacks)));
        problems
    }
}

/// The groups that the rows are traces of: the rollouts of one example together, in the order of the rows, whatever
/// step sampled them.
///
/// # Errors
/// [`NoTraces`], where some row is none.
pub fn groups(rows: &[Arc<Example>], format: &Format) -> Result<Vec<Group>, NoTraces> {
    let read = |row: &Arc<Example>| serde_json::from_value::<Trace>(Value::Object(row.fields.clone()));
    let (mut traces, mut none) = (Vec::with_capacity(rows.len()), Vec::new());
    for (row, example) in rows.iter().enumerate() {
        match read(example) {
            Ok(trace) => traces.push(Some(trace)),
            Err(error) => none.push((row, error.to_string())),
        }
    }
    if !none.is_empty() {
        let was_one = |row: &Arc<Example>| row.fields.contains_key("completion_ids");
        return Err(NoTraces { rows: none, mixed: !traces.is_empty() || rows.iter().any(was_one) });
    }
    let group = |(index, places): (usize, Vec<usize>)| {
        let own: Vec<Trace> = places.iter().filter_map(|&at| traces[at].take()).collect();
        let (id, completion) = (own[0].example.clone(), own[0].own_completion.clone());
        let example = Example { id, index, completion, ..(*rows[places[0]]).clone() };
        let prompt = own[0].prompt_ids.clone();
        let rollouts = own.into_iter().map(|trace| trace.rollout(format)).collect();
        Group { example: Arc::new(example), prompt, rollouts, place: 0 }
    };
    Ok(places(rows).into_iter().enumerate().map(group).collect())
}

/// Of the same rows, those of each group, by their places.
pub fn places(rows: &[Arc<Example>]) -> Vec<Vec<usize>> {
    let mut places: Vec<Vec<usize>> = Vec::new();
    let mut known = HashMap::new();
    for (at, row) in rows.iter().enumerate() {
        let group = *known.entry(row.fields.get("example")).or_insert(places.len());
        if group == places.len() {
            places.push(Vec::new());
        }
        places[group].push(at);
    }
    places
}

impl Trace {
    /// How many tokens of its completion were sampled.
    pub fn sampled(&self) -> usize {
        given::sampled_before(&self.given, self.completion_ids.len())
    }

    /// Its prompt and completion, of which what was sampled is learned.
    pub fn sequence(&self) -> Sequence {
        let given = self.given.iter().map(|part| part.tokens.clone());
        Sequence::of_completion(&self.prompt_ids, &self.completion_ids, given)
    }

    /// Of values of its sampled tokens, such as `logprobs`, one a token: 0 at those that were given.
    pub fn by_token(&self, values: &[f32]) -> Vec<f32> {
        given::spread(values, &self.given, self.completion_ids.len(), 0.0)
    }

    fn rollout(self, format: &Format) -> Rollout {
        let rollout = Rollout::new(self.completion_ids, self.completion, self.logprobs, self.stop, format);
        let scores = self.scores.into_iter().map(|(name, value)| (name, Score::from(value)));
        Rollout {
            given: self.given,
            episode: self.episode_reward,
            scores: scores.collect(),
            reward: self.reward,
            cuts: self.cuts,
            branched_at: self.branched_at,
            forks: self.forks,
            ..rollout
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use std::ops::Range;

    /// `2*3=` and `.` were sampled, `6` was given: a token a character.
    fn rollout() -> Rollout {
        let tokens: Vec<u32> = "2*3=6.".bytes().map(u32::from).collect();
        let logprobs = vec![-0.1, -0.2, -0.3, -0.4, -0.6];
        let whole = Rollout::new(tokens, "2*3=6.".into(), logprobs, StopReason::Length, &Format::default());
        Rollout { given: vec![Given { tokens: 4..5, bytes: 4..5 }], ..whole }
    }

    #[test]
    fn what_was_given_comes_back_from_a_trace() {
        let prompt = vec![7, 8];
        let example = Arc::new(Example::text("row:1", "?"));
        let group = Group { example: example.clone(), prompt, rollouts: vec![rollout()], place: 0 };
        let trace = Trace::of(&group, 0, 1, None);
        let Value::Object(fields) = serde_json::to_value(&trace).unwrap() else { panic!("an object") };
        assert_eq!(fields["given_spans"][0]["tokens"], serde_json::json!({"start": 4, "end": 5}));
        let row = Arc::new(Example { fields, ..(*example).clone() });
        let read = groups(std::slice::from_ref(&row), &Format::default()).unwrap().remove(0);
        assert_eq!(read.rollouts[0].given, rollout().given);
        assert_eq!((read.rollouts[0].sampled(), read.rollouts[0].logprobs.len()), (5, 5));
        let sequence = trace.sequence();
        assert_eq!(sequence, read.rollouts[0].sequence(&read.prompt));
        assert_eq!(sequence.spans(), [2..6, 7..8]);
        assert_eq!(trace.by_token(&trace.logprobs), [-0.1, -0.2, -0.3, -0.4, 0.0, -0.6]);
        // A row that is a trace is learned by its text: the same bytes are left out.
        assert_eq!(crate::data::given::of_row(&row, "2*3=6."), Ok(vec![Range { start: 4, end: 5 }]));
    }

    /// -1e308 is a number of JSON, and no number of 32 bits: log p = -inf would be learned from.
    #[test]
    fn a_log_probability_that_is_too_large_makes_no_trace() {
        let row = |logprob: f64| {
            let fields = json!({"id": "q/1-0", "example": "q", "step": 1, "prompt": "1+1", "completion": "2", "answer": "2",
                "steps": [], "predicted": null, "stop": "length", "scores": {}, "reward": 1.0, "advantage": null,
                "prompt_ids": [1], "completion_ids": [2], "logprobs": [logprob]});
            let fields = fields.as_object().unwrap().clone();
            [Arc::new(Example { fields, ..Example::text("q", "1+1") })]
        };
        assert_eq!(groups(&row(-0.5), &Format::default()).unwrap()[0].rollouts[0].logprobs, [-0.5]);
        let refused = groups(&row(-1e308), &Format::default()).unwrap_err();
        assert_eq!(refused.rows[0].0, 0);
        assert!(refused.rows[0].1.contains("larger than any of 32 bits"), "{}", refused.rows[0].1);
    }
}
