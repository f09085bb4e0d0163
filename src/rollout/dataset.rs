//! The rows' own completions as rollouts: `[rollout.dataset]`.

use super::{Group, Prompted, Rollout, SamplingContext, Source, SourceSection, Traits};
use crate::data::row::need;
use crate::data::{Example, given};
use crate::engine::{Sampling, StopReason};
use crate::error::{Error, Result};
use crate::model::Sequence;
use crate::policy::Policy;
use crate::rationale::{Format, Given};
use crate::section::Misfit;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// Every completion that a row brings (`completions`, or `completion`), scored under the policy; of a row that has a `rationale` instead, the one
/// that `data.template` writes.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct DatasetRollout {}

impl SourceSection for DatasetRollout {
    fn traits(&self) -> Traits<'_> {
        Traits { reads_rows: true, ..Traits::written("dataset", None) }
    }

    fn check_rows(&self, rows: &[&Example]) -> Vec<Misfit> {
        let none: Vec<&Example> = rows.iter().copied().filter(|row| own(row).is_empty()).collect();
        if none.is_empty() {
            return vec![];
        }
        let remedy = "add a `completion`, `completions` or `rationale` column, or use [rollout.group]";
        vec![Misfit::new("", need("a completion of each row's own", &none, rows.len()), remedy)]
    }

    fn build(&self) -> Result<Box<dyn Source>> {
        Ok(Box::new(self.clone()))
    }
}

impl Source for DatasetRollout {
    fn section(&self) -> &dyn SourceSection {
        self
    }

    fn roll_out(&self, prompts: &[Prompted], context: &mut SamplingContext) -> Result<Vec<Group>> {
        let SamplingContext { policy, sampling, format, tokens_per_microbatch, .. } = context;
        let mut groups = read(policy, prompts, sampling, format, *tokens_per_microbatch)?;
        context.scorer.score(&mut groups)?;
        Ok(groups)
    }
}

/// A row's own completions: those that it brings, or the one that is written of its rationale.
fn own(row: &Example) -> &[String] {
    match row.completions.as_slice() {
        [] if row.fields.contains_key("rationale") => row.completion.as_slice(),
        brought => brought,
    }
}

/// The rows' completions with the policy's log-probabilities at the sampling temperature. One that the model's context
/// has no room for is cut there and counts as truncated; any other ends with the tokenizer's end-of-sequence id.
pub fn read(
    policy: &Policy,
    prompts: &[Prompted],
    sampling: &Sampling,
    format: &Format,
    tokens_per_microbatch: usize,
) -> Result<Vec<Group>> {
    let (mut sequences, mut read) = (Vec::new(), Vec::new());
    for (group, prompted) in prompts.iter().enumerate() {
        let own = own(&prompted.example);
        if own.is_empty() {
            return Err(Error::Data(format!(
                "{}: it has no completion of its own, which rollout.dataset scores; \
                 add a `completion`, `completions` or `rationale` column, or use [rollout.group]",
                prompted.example
            )));
        }
        for text in own {
            let mut tokens = prompted.completion(&policy.tokenizer, text)?;
            let wrong = |what: String| Error::Data(format!("{}: {what}", prompted.example));
            let bytes = given::of_row(&prompted.example, text).map_err(wrong)?;
            let places = given::holding(&policy.tokenizer, &tokens, text, &bytes).map_err(wrong)?;
            tokens.truncate(policy.context().saturating_sub(prompted.tokens.len()));
            let kept = tokens.len();
            let there = places.into_iter().zip(bytes).filter(|(tokens, _)| tokens.start < kept);
            let part = |(tokens, bytes): (Range<usize>, _)| Given {
                tokens: tokens.start..tokens.end.min(kept),
                bytes,
            };
            let given: Vec<Given> = there.map(part).collect();
            sequences.push(Sequence::of_completion(
                &prompted.tokens,
                &tokens,
                given.iter().map(|part| part.tokens.clone()),
            ));
            read.push((group, tokens, given));
        }
    }
    let logprobs = policy.logprobs(&sequences, sampling.scoring_temperature(), tokens_per_microbatch)?;
    let mut groups: Vec<Group> = prompts.iter().map(|prompted| Group::of(prompted, vec![])).collect();
    for ((owner, tokens, given), logprobs) in read.into_iter().zip(logprobs) {
        let stop = match tokens.last() {
            Some(&last) if policy.eos.contains(&last) => StopReason::Eos(last),
            _ => StopReason::Length,
        };
        let rollout = Rollout::decoded(tokens, logprobs, stop, &policy.tokenizer, format);
        groups[owner].rollouts.push(Rollout { given, ..rollout });
    }
    Ok(groups)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rationale_is_a_completion_where_the_row_brings_none() {
        let mut row = Example { completion: Some("1 + 1\n#### 2".into()), ..Example::text("x", "1+1?") };
        // An answer alone explains nothing.
        assert!(own(&row).is_empty());
        row.fields.insert("rationale".into(), "1 + 1".into());
        assert_eq!(own(&row), ["1 + 1\n#### 2"]);
        row.completions = vec!["2".into(), "3".into()];
        assert_eq!(own(&row), ["2", "3"]);
    }
}
