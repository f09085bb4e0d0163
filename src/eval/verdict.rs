//! What became of one held-out completion: a line of `evaluations/<stage>-<step>.jsonl`.

use super::Eval;
use crate::data::{Example, Tokenizer};
use crate::engine::Sampling;
use crate::error::{Error, Result};
use crate::rationale::{Format, Rationale};
use crate::rollout::{Group, Prompted, Rollout, Score};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One completion of one question, judged. Lines stand in the order of question, repeat, sample.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    /// The question: its example's id.
    pub question: String,
    /// CRC-32 of the prompt's token ids, eight hex digits: what was asked alike is alike.
    pub prompt: String,
    /// Which repetition of the evaluation (`eval.seeds`), counted from 0.
    pub repeat: usize,
    /// Which of its completions (`eval.samples`), counted from 0.
    pub sample: usize,
    /// Whether the answer is the gold one.
    pub right: bool,
    /// The answer as it was written; none where none could be read.
    pub answer: Option<String>,
    /// The gold answer.
    pub gold: String,
    /// Sampled tokens of the completion.
    pub tokens: usize,
    /// Whether the token limit cut it off.
    pub truncated: bool,
    /// The policy's confidence in the answer, where `[eval.calibration]` measures it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confidence: Option<f64>,
    /// What `[eval.measures]` says of it, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub measures: BTreeMap<String, f64>,
    /// What measures that score steps say of each, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub step_measures: BTreeMap<String, Vec<f64>>,
    /// The first step that is not that of the row's own rationale, counted from 1, where `eval.own_steps` looks and one is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wrong_step: Option<usize>,
    /// The question's class, where `eval.by` names a column: its name and what stands there.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub by: BTreeMap<String, String>,
    /// The completion, unless `eval.keep_text` is off.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub completion: Option<String>,
}

/// What a held-out question is: a line of `evaluations/<stage>-questions.jsonl`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Question {
    /// Its example's id.
    pub question: String,
    /// CRC-32 of the prompt's token ids, as in [`Verdict::prompt`].
    pub prompt: String,
    /// The prompt as the model sees it.
    pub text: String,
}

impl Question {
    /// The question as a model with this tokenizer sees it.
    pub fn of(question: &Prompted, tokenizer: &Tokenizer) -> Self {
        let text = tokenizer.decode(&question.tokens);
        Self { question: question.example.id.clone(), prompt: checksum(question), text }
    }
}

impl Verdict {
    /// Whether it is one of this question, asked in these very tokens.
    pub fn is_of(&self, question: &Prompted) -> bool {
        self.question == question.example.id
            && self.gold == question.example.answer.clone().unwrap_or_default()
            && self.prompt == checksum(question)
    }

    /// Those of a question's completions in one repetition, each with whether it is right and how sure it is.
    pub(super) fn of(
        group: &Group,
        question: &Prompted,
        repeat: usize,
        class: &BTreeMap<String, String>,
        judged: &[(bool, Option<f64>)],
        measures: &[String],
    ) -> Vec<Self> {
        let prompt = checksum(question);
        let of =
            |(sample, (rollout, &(right, confidence))): (usize, (&Rollout, &(bool, Option<f64>)))| Self {
                question: question.example.id.clone(),
                prompt: prompt.clone(),
                repeat,
                sample,
                right,
                answer: rollout.answer().map(str::to_string),
                gold: question.example.answer.clone().unwrap_or_default(),
                tokens: rollout.sampled(),
                truncated: rollout.truncated(),
                confidence,
                measures: scores(rollout, measures).map(|(name, score)| (name, score.value)).collect(),
                step_measures: scores(rollout, measures).filter_map(of_steps).collect(),
                wrong_step: None,
                by: class.clone(),
                completion: Some(rollout.text.clone()),
            };
        group.rollouts.iter().zip(judged).enumerate().map(of).collect()
    }
}

fn checksum(question: &Prompted) -> String {
    let bytes: Vec<u8> = question.tokens.iter().flat_map(|id| id.to_le_bytes()).collect();
    format!("{:08x}", crc32fast::hash(&bytes))
}

/// Notes in the verdicts of a question's completions the first step of each that is not that of the row's own rationale.
///
/// # Errors
/// [`Error::Data`] where the row has none.
pub(super) fn hold_against_own(
    verdicts: &mut [Verdict],
    group: &Group,
    example: &Example,
    format: &Format,
) -> Result<()> {
    let own = example.completion.as_deref().and_then(|text| Some(steps(text, &format.parse(text)?)));
    let own = own.filter(|own| !own.is_empty()).ok_or_else(|| {
        Error::Data(format!(
            "{example}: eval.own_steps holds completions against the row's own rationale, and it has none; give it a `rationale`, or take \
             the key out"
        ))
    })?;
    for (verdict, rollout) in verdicts.iter_mut().zip(&group.rollouts) {
        let written = rollout.rationale.as_ref().map_or(vec![], |rationale| steps(&rollout.text, rationale));
        verdict.wrong_step = first_difference(&written, &own);
    }
    Ok(())
}

fn steps<'t>(text: &'t str, rationale: &Rationale) -> Vec<&'t str> {
    rationale.steps.iter().map(|span| text[span.clone()].trim()).collect()
}

/// The first place, from 1, at which two lists are not the same; a list that ends early differs behind its end.
fn first_difference(written: &[&str], own: &[&str]) -> Option<usize> {
    let longest = written.len().max(own.len());
    (0..longest).find(|&at| written.get(at) != own.get(at)).map(|at| at + 1)
}

/// What each of these measures says of a completion.
fn scores<'a>(rollout: &'a Rollout, measures: &'a [String]) -> impl Iterator<Item = (String, &'a Score)> {
    measures.iter().filter_map(|name| Some((name.clone(), rollout.scores.get(name)?)))
}

fn of_steps((name, score): (String, &Score)) -> Option<(String, Vec<f64>)> {
    Some((name, score.steps.as_ref()?.iter().map(|step| step.value).collect()))
}

/// How the completions of an evaluation were sampled: what a comparison has to have alike.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Decoding {
    /// Temperature, cuts and lengths.
    pub sampling: Sampling,
    /// Completions of a question and repetition.
    pub samples: usize,
    /// Repetitions.
    pub seeds: usize,
    /// The search that picked the answers, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub search: Option<String>,
}

/// The class of a question by the column `eval.by`: the column and what stands there.
///
/// # Errors
/// [`Error::Data`] where the row has no such column.
pub(super) fn class(example: &Example, config: &Eval) -> Result<BTreeMap<String, String>> {
    let Some(column) = &config.by else { return Ok(BTreeMap::new()) };
    let class = match example.fields.get(column) {
        Some(serde_json::Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
        None => {
            let known: Vec<&str> = example.fields.keys().map(String::as_str).collect();
            return Err(Error::Data(format!(
                "{example}: eval.by = \"{column}\" names a column it does not have; known: {}",
                known.join(", ")
            )));
        }
    };
    Ok(BTreeMap::from([(column.clone(), class)]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_is_wrong_where_it_is_another_or_none() {
        let own = ["3+4+0=7: 7", "1+2+0=3: 37"];
        assert_eq!(first_difference(&own, &own), None);
        assert_eq!(first_difference(&["3+4+0=7: 7", "1+2+0=3: 73"], &own), Some(2));
        assert_eq!(first_difference(&own[..1], &own), Some(2));
        assert_eq!(first_difference(&["3+4+0=7: 7", own[1], "0"], &own), Some(3));
        assert_eq!(first_difference(&[], &own), Some(1));
    }
}
