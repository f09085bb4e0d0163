//! A verdict on each sentence of a completion in place of one score (DCR, Cui et al. 2024, arXiv 2401.02132).

use super::LoadedJudge;
use super::said::{concluded, last_list};
use crate::ask::TextRequest;
use crate::data::Tokenizer;
use crate::rationale::{Format, StepUnit};
use crate::rollout::{Group, Rollout, Score, StepScore};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use std::ops::Range;

/// What the reasons are called that a second question is asked with.
pub(super) const REASONS: &str = "reasons";

/// What there is a verdict on, one by one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Each {
    /// A sentence, whatever steps are.
    Sentence,
    /// A step, as `data.format.steps` has it.
    Step,
}

impl Each {
    fn unit(self, format: &Format) -> StepUnit {
        match self {
            Each::Sentence => StepUnit::Sentence,
            Each::Step => format.steps.clone(),
        }
    }
}

impl LoadedJudge {
    /// Scores by a verdict on each: of +1 and −1 (mean + 1)/2, which is the share that is consistent.
    pub(super) fn score_each(
        &self,
        each: Each,
        group: &Group,
        tokenizer: &Tokenizer,
    ) -> anyhow::Result<Vec<Score>> {
        let unit = each.unit(&self.format);
        let found: Vec<(Vec<bool>, Vec<Range<usize>>)> = match &self.section.convert {
            None => self.asked(
                group,
                &unit,
                |_, said, count| verdicts(concluded(said)?, count),
                "JSON list of objects with `consistent`, one for each text judged,",
            )?,
            Some(convert) => {
                let reasons = self.asked(
                    group,
                    &unit,
                    |_, said, count| reasons(concluded(said)?, count),
                    "JSON list of objects with `reason`, one for each text judged,",
                )?;
                let question =
                    |((reasons, spans), rollout): (&(Vec<String>, Vec<Range<usize>>), &Rollout)| {
                        self.section.filled(convert, group, rollout, spans, Some(reasons))
                    };
                let questions: Vec<TextRequest> =
                    reasons.iter().zip(&group.rollouts).map(question).collect::<anyhow::Result<_>>()?;
                let signs = self.found(
                    &questions,
                    |at, said| last_list(concluded(said)?, reasons[at].0.len(), truth),
                    "JSON list of 1 and -1, one for each reason,",
                )?;
                signs.into_iter().zip(reasons).map(|(signs, (_, spans))| (signs, spans)).collect()
            }
        };
        let score = |((verdicts, spans), rollout): ((Vec<bool>, Vec<Range<usize>>), &Rollout)| {
            let consistent = verdicts.iter().filter(|yes| **yes).count();
            let value = consistent as f64 / verdicts.len().max(1) as f64;
            let steps = spans.into_iter().zip(verdicts).map(|(span, yes)| StepScore {
                value: f64::from(u8::from(yes)),
                tokens: tokenizer.tokens_of(&rollout.tokens, span),
            });
            Score { value, steps: Some(steps.collect()) }
        };
        Ok(found.into_iter().zip(&group.rollouts).map(score).collect())
    }
}

/// The verdicts of an answer about `count` texts.
fn verdicts(said: &str, count: usize) -> Option<Vec<bool>> {
    last_list(said, count, |item| truth(item.get("consistent")?))
}

/// The reasons of an answer about `count` texts.
fn reasons(said: &str, count: usize) -> Option<Vec<String>> {
    last_list(said, count, |item| Some(item.get("reason")?.as_str()?.to_string()))
}

/// What is said as a truth value: itself, 1 against 0 and −1, yes and no.
fn truth(value: &Value) -> Option<bool> {
    match value {
        Value::Bool(yes) => Some(*yes),
        Value::Number(number) => match number.as_f64()? {
            1.0 => Some(true),
            0.0 | -1.0 => Some(false),
            _ => None,
        },
        Value::String(word) => match word.trim().to_lowercase().as_str() {
            "yes" | "true" => Some(true),
            "no" | "false" => Some(false),
            _ => None,
        },
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verdicts_are_read_or_there_are_none() {
        let said = "As [1] says:\n```json\n[{\"sentence\": \"a [b]\", \"consistent\": true}, {\"consistent\": \"No\"}]\n```";
        assert_eq!(verdicts(said, 2), Some(vec![true, false]));
        // Three were judged, or some not at all.
        assert_eq!(verdicts(said, 3), None);
        assert_eq!(verdicts("[{\"consistent\": true}, {\"reason\": \"x\"}]", 2), None);
        assert_eq!(verdicts("[{\"consistent\": \"perhaps\"}]", 1), None);
        // The last that fits, in an object too.
        let twice = "[{\"consistent\": true}] no: {\"all\": [{\"consistent\": false}]} [";
        assert_eq!(verdicts(twice, 1), Some(vec![false]));
        assert_eq!(verdicts("nothing to say", 0), Some(vec![]));
    }

    #[test]
    fn reasons_and_their_signs_are_read() {
        let said = "[{\"reason\": \"it is there\"}, {\"reason\": \"\"}]";
        assert_eq!(reasons(said, 2), Some(vec!["it is there".to_string(), String::new()]));
        assert_eq!(last_list("[1, -1, 0]", 3, truth), Some(vec![true, false, false]));
        assert_eq!(last_list("[1, 2]", 2, truth), None);
    }
}
