//! How sure the policy is of the answers that it gave.

use super::calibration::Confidence;
use super::statistics::majority;
use crate::error::Result;
use crate::policy::Policy;
use crate::rationale::equality::choice;
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
    let tokens = policy.tokenizer.tokens_of(&rollout.tokens, span);
    Some(rollout.logprobs[tokens].iter().map(|&logprob| f64::from(logprob)).sum::<f64>().exp())
}

/// The chosen option's softmax among all options, each put in the answer's place the way the answer was written: as a
/// letter or as its text.
fn of_choice(policy: &Policy, group: &Group, rollout: &Rollout) -> Result<Option<f64>> {
    let choices = &group.example.choices;
    let Some(span) = rollout.rationale.as_ref().map(|r| r.answer.clone()) else { return Ok(None) };
    let written = &rollout.text[span.clone()];
    let Some(chosen) = choice(written, choices) else { return Ok(None) };
    let by_letter = written.chars().filter(|c| c.is_alphanumeric()).count() == 1;
    let before = &rollout.text[..span.start];
    let options = choices.iter().enumerate().map(|(index, text)| {
        let option = if by_letter { crate::data::columns::letter(index) } else { text.clone() };
        policy.after(&group.prompt, before, &option)
    });
    let options = options.collect::<Result<Vec<_>>>()?;
    let logprobs = policy.logprobs(&options, 1.0, TOGETHER)?;
    let means: Vec<f64> =
        logprobs.iter().map(|l| super::statistics::mean(l.iter().map(|&l| f64::from(l)))).collect();
    Ok(Some(softmax(&means)[chosen]))
}

fn softmax(values: &[f64]) -> Vec<f64> {
    let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let powers: Vec<f64> = values.iter().map(|value| (value - most).exp()).collect();
    let sum: f64 = powers.iter().sum();
    powers.iter().map(|power| power / sum).collect()
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

    #[test]
    fn a_softmax_is_a_distribution() {
        // e^0 : e^−ln 3 = 3 : 1, however large the values are.
        for shift in [0.0, 1000.0] {
            let found = softmax(&[shift, shift - 3.0_f64.ln()]);
            assert!((found[0] - 0.75).abs() < 1e-9 && (found[1] - 0.25).abs() < 1e-9, "{found:?}");
        }
    }
}
