//! How sure the policy is of the answers that it gave.

use super::calibration::Confidence;
use super::statistics::majority;
use crate::error::Result;
use crate::policy::Policy;
use crate::policy::belief::{Context, Norm};
use crate::rationale::equality::answered;
use crate::rollout::{Group, Rollout};

/// Tokens that go through the model together; without gradients they need little memory.
const TOGETHER: usize = 4096;

/// How sure the policy is of each completion's answer, as `kind` counts it: none for completions without an answer, and for those that
/// choose none of the options where options are asked about.
pub fn of(kind: Confidence, policy: &Policy, group: &Group) -> Result<Vec<Option<f64>>> {
    match kind {
        Confidence::Vote => Ok(shares(&group.classes())),
        Confidence::Answer => Ok(group.rollouts.iter().map(|rollout| of_answer(policy, rollout)).collect()),
        Confidence::Choice => {
            group.rollouts.iter().map(|rollout| of_choice(policy, group, rollout)).collect()
        }
    }
}

/// The `(confidence, right)` of a group's answers: one a completion, and of votes that of the most frequent answer. The answers'
/// classes and whether each is right are one a rollout too.
pub fn points(
    kind: Confidence,
    sure: &[Option<f64>],
    classes: &[Option<usize>],
    right: &[bool],
) -> Vec<(f64, bool)> {
    let point = |at: usize| Some((sure[at]?, right[at]));
    match kind {
        Confidence::Vote => majority(classes).and_then(|(first, _)| point(first)).into_iter().collect(),
        _ => (0..sure.len()).filter_map(point).collect(),
    }
}

/// The share of all completions that gives the same answer as each.
fn shares(answers: &[Option<usize>]) -> Vec<Option<f64>> {
    let of = |answer: &Option<usize>| {
        let alike = answers.iter().filter(|other| *other == answer).count();
        answer.map(|_| alike as f64 / answers.len() as f64)
    };
    answers.iter().map(of).collect()
}

/// exp Σ log p over the tokens that hold the answer, as recorded while sampling.
fn of_answer(policy: &Policy, rollout: &Rollout) -> Option<f64> {
    let span = rollout.rationale.as_ref()?.answer.clone();
    let tokens = rollout.sampled_in(policy.tokenizer.tokens_of(&rollout.tokens, span));
    Some(rollout.logprobs[tokens].iter().map(|&logprob| f64::from(logprob)).sum::<f64>().exp())
}

/// The chosen option's softmax among all options, each put in the answer's place the way the answer was written: as a
/// letter or as its text.
fn of_choice(policy: &Policy, group: &Group, rollout: &Rollout) -> Result<Option<f64>> {
    let choices = &group.example.choices;
    let Some(span) = rollout.rationale.as_ref().map(|r| r.answer.clone()) else { return Ok(None) };
    let written = &rollout.text[span.clone()];
    let Some(chosen) = answered(written, choices) else { return Ok(None) };
    let by_letter = written.chars().filter(|c| c.is_alphanumeric()).count() == 1;
    let before = &rollout.text[..span.start];
    let option = |(index, text): (usize, &String)| match by_letter {
        true => crate::data::columns::letter(index),
        false => text.clone(),
    };
    let options: Vec<String> = choices.iter().enumerate().map(option).collect();
    let context = Context { prompt: &group.prompt, before: before.to_string() };
    let belief = policy.beliefs(&[context], &options, Norm::Mean, TOGETHER)?;
    Ok(Some(belief[0][chosen]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vote_counts_silent_completions_against_itself() {
        // 7 twice, 8 once, one without an answer: 2 of 4, and the first 7 is right.
        let answers = [Some(8), Some(7), None, Some(7)];
        let sure = shares(&answers);
        assert_eq!(sure, [Some(0.25), Some(0.5), None, Some(0.5)]);
        let points = |right: &[bool]| points(Confidence::Vote, &sure, &answers, right);
        assert_eq!(points(&[false, true, false, true]), [(0.5, true)]);
        assert_eq!(super::points(Confidence::Vote, &[None, None], &[None, None], &[false, false]), []);
        let each = super::points(Confidence::Answer, &[Some(0.9), None], &[Some(1), None], &[true, false]);
        assert_eq!(each, [(0.9, true)]);
    }
}
