//! Answers that are chosen and not written: of each question the choice that is likeliest behind its rationale, argmax_c s_c.

use crate::engine::StopReason;
use crate::error::{Error, Result};
use crate::policy::Policy;
use crate::policy::choices::{Choosing, behind};
use crate::rationale::Format;
use crate::rollout::{Group, Prompted, Rollout};
use crate::statistics::mean;

/// The answers, as completions with the rationale that each rests on.
pub(super) fn groups(
    policy: &Policy,
    questions: &[Prompted],
    choosing: &Choosing,
    format: &Format,
    budget: usize,
) -> Result<Vec<Group>> {
    let (mut all, mut sequences) = (Vec::new(), Vec::new());
    for question in questions {
        let read = choosing.read(&question.example);
        let (rationales, _) = read.map_err(|what| Error::Data(format!("{}: {what}", question.example)))?;
        let choices =
            behind(&policy.tokenizer, &question.tokens, &rationales, &question.example.choices, format)?;
        sequences.extend(choices.iter().map(|choice| choice.sequence.clone()));
        all.push(choices);
    }
    let logprobs = policy.logprobs(&sequences, 1.0, budget)?;
    let mut logprobs = logprobs.iter();
    let of = |(question, choices): (&Prompted, Vec<_>)| {
        let own: Vec<&Vec<f32>> = logprobs.by_ref().take(choices.len()).collect();
        let scores: Vec<f64> =
            own.iter().map(|own| mean(own.iter().map(|&logprob| f64::from(logprob)))).collect();
        let likeliest = (0..scores.len()).rev().max_by(|&a, &b| scores[a].total_cmp(&scores[b]));
        let chosen = likeliest.unwrap_or(0);
        let choice: &crate::policy::choices::Choice = &choices[chosen];
        let eos = policy.tokenizer.eos();
        let mut tokens = choice.sequence.tokens[question.tokens.len()..].to_vec();
        // What is read has no log-probabilities.
        let mut known = vec![0.0; tokens.len() - own[chosen].len()];
        known.extend(own[chosen]);
        tokens.push(eos);
        known.push(0.0);
        let rollout = Rollout::new(tokens, choice.text.clone(), known, StopReason::Eos(eos), format);
        Group::of(question, vec![rollout])
    };
    Ok(questions.iter().zip(all).map(of).collect())
}
