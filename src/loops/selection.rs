//! Rollouts as `[select]` sees them.

use crate::data::Example;
use crate::log::Metrics;
use crate::rationale::number;
use crate::reward::correct;
use crate::rollout::{Group, Rollout};
use crate::select::{Candidate, Select};

/// Which rollouts of `group` the section keeps, with counts of what it drops.
pub fn selected(select: &Select, group: &Group, metrics: &mut Metrics) -> Vec<usize> {
    let candidates = candidates(group);
    let kept = select.keep(&candidates);
    for index in 0..candidates.len() {
        metrics.add("select/kept", f64::from(u8::from(kept.contains(&index))), 1.0);
    }
    kept
}

/// The row's own completion as pair builders see it, which is taken to be right; none where it has none.
pub fn own_completion(example: &Example) -> Option<Candidate<'_>> {
    let text = example.completion.as_deref()?;
    Some(Candidate { gold: true, correct: Some(true), text, ..Candidate::default() })
}

/// The rollouts of a group as filters and pair builders see them.
pub fn candidates(group: &Group) -> Vec<Candidate<'_>> {
    let of = |rollout| candidate(&group.example, rollout);
    group.rollouts.iter().map(of).collect()
}

fn candidate<'a>(example: &Example, rollout: &'a Rollout) -> Candidate<'a> {
    Candidate {
        reward: rollout.reward,
        correct: correct(example, rollout),
        text: &rollout.text,
        truncated: rollout.truncated(),
        unanswered: rollout.rationale.is_none(),
        tokens: &rollout.tokens,
        given: &rollout.given,
        rating: rollout.answer().and_then(number::only).map(number::Number::to_f64),
        gold: false,
        branched_at: rollout.branched_at.map(|place| place.tokens),
        confidence: rollout.confidence(),
    }
}
