//! Pairs of the first error and the shortest good way on, from rollouts whose cuts were continued.

use crate::data::{Feedback, FeedbackCompletion};
use crate::reward::answer;
use crate::rollout::prefix::{CutValue, Tail};
use crate::rollout::{Group, Rollout};
use crate::select::Candidate;
use crate::select::pairs::{Dropped, StepPair, Unpaired, first_error};

/// One pair of each wrong rollout of `kept`, at most `most`: what both sides begin with, then the shortest good
/// continuation against the steps up to the first cut that no continuation is good from. Fresh attempts are the rollouts
/// of the group. Answers that were forced at cuts are no ways on.
pub fn pairs(group: &Group, kept: &[usize], most: usize) -> (Vec<Feedback>, Dropped) {
    let (mut pairs, mut dropped) = (Vec::new(), Dropped::default());
    let right = |rollout: &Rollout| answer::correct(&group.example, rollout);
    let fresh: Vec<&Rollout> =
        kept.iter().map(|&i| &group.rollouts[i]).filter(|r| right(r) == Some(true)).collect();
    for rollout in kept.iter().map(|&index| &group.rollouts[index]) {
        match right(rollout) {
            Some(true) => continue,
            None => dropped.ungraded += 1,
            Some(false) => match pair(rollout, &fresh) {
                Ok(_) if pairs.len() >= most => dropped.over_cap += 1,
                Ok(pair) => pairs.push(pair),
                Err(Unpaired::Recoverable) => dropped.no_error += 1,
                Err(Unpaired::NoneGood) => dropped.none_good += 1,
            },
        }
    }
    (pairs, dropped)
}

fn pair(rollout: &Rollout, fresh: &[&Rollout]) -> Result<Feedback, Unpaired> {
    // Answers that were forced leave no continuation, and a cut before the first step.
    if rollout.cuts.iter().any(|cut| cut.step == 0 && cut.best.is_none()) {
        return Err(Unpaired::NoneGood);
    }
    let behind_steps: Vec<&CutValue> = rollout.cuts.iter().filter(|cut| cut.step > 0).collect();
    let good = |tokens| Candidate { correct: Some(true), tokens, ..Candidate::default() };
    let fresh_tokens = fresh.iter().map(|rollout| good(rollout.tokens.as_slice())).collect();
    // Of a cut only its shortest good continuation is kept, which is the one to be chosen.
    let after = |cut: &'_ Option<Tail>| cut.iter().map(|tail| tail.tokens.clone()).collect::<Vec<_>>();
    let tails: Vec<Vec<Vec<u32>>> = behind_steps.iter().map(|cut| after(&cut.shortest)).collect();
    let continued = tails.iter().map(|tails| tails.iter().map(|tail| good(tail.as_slice())).collect());
    let cuts: Vec<Vec<Candidate>> = std::iter::once(fresh_tokens).chain(continued).collect();
    let StepPair { step, chosen } = first_error(&cuts.iter().map(Vec::as_slice).collect::<Vec<_>>())?;
    let failed = behind_steps[step];
    let chosen = match step.checked_sub(1).map(|before| behind_steps[before]) {
        None => completion(&fresh[chosen].text, &fresh[chosen].tokens),
        Some(cut) => {
            let tail = cut.shortest.as_ref().ok_or(Unpaired::NoneGood)?;
            completion(
                &format!("{}{}", &rollout.text[..cut.bytes], tail.text),
                &[&rollout.tokens[..cut.tokens], &tail.tokens].concat(),
            )
        }
    };
    let rejected = completion(&rollout.text[..failed.bytes], &rollout.tokens[..failed.tokens]);
    Ok(Feedback::Pair { chosen, rejected, weight: 1.0, margin: 0.0, why: None })
}

fn completion(text: &str, tokens: &[u32]) -> FeedbackCompletion {
    FeedbackCompletion { text: text.to_string(), tokens: Some(tokens.to_vec()), given: vec![], turn: None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reward::tests::group;

    /// "ab" + "cd" + "#### 8": from after "ab" one of two came out right, from after "cd" none.
    fn wrong() -> Group {
        let mut group = group(Some("7"), &[], &["a\nb\n#### 8", "zzzzzzzzzz\n#### 7", "z\n#### 7"]);
        for rollout in &mut group.rollouts {
            rollout.tokens = rollout.text.bytes().map(u32::from).collect();
        }
        let cut = |step: usize, good: usize| CutValue {
            step,
            tokens: 2 * step,
            bytes: 2 * step,
            continuations: 2,
            good,
            value: good as f64 / 2.0,
            shortest: (good > 0).then(|| Tail {
                text: "#### 7".into(),
                tokens: b"#### 7".map(u32::from).to_vec(),
                reward: 1.0,
            }),
            best: None,
        };
        group.rollouts[0].cuts = vec![cut(1, 1), cut(2, 0)];
        group
    }

    fn texts(feedback: &Feedback) -> (&str, &str) {
        let Feedback::Pair { chosen, rejected, .. } = feedback else { panic!("a pair") };
        for side in [chosen, rejected] {
            let bytes: Vec<u32> = side.text.bytes().map(u32::from).collect();
            assert_eq!(side.tokens.as_deref(), Some(bytes.as_slice()));
        }
        (&chosen.text, &rejected.text)
    }

    #[test]
    fn the_failing_step_meets_the_shortest_way_on_from_before_it() {
        let mut group = wrong();
        let (pairs_made, dropped) = pairs(&group, &[0, 1, 2], 9);
        assert_eq!(pairs_made.iter().map(texts).collect::<Vec<_>>(), [("a\n#### 7", "a\nb\n")]);
        assert_eq!(dropped, Dropped::default());
        assert_eq!(pairs(&group, &[0, 1, 2], 0).1.over_cap, 1);
        // Where the first step fails, the shortest right rollout of the group is the way to be preferred.
        group.rollouts[0].cuts[0].shortest = None;
        assert_eq!(texts(&pairs(&group, &[0, 1, 2], 9).0[0]), ("z\n#### 7", "a\n"));
        assert_eq!(pairs(&group, &[0], 9).1.none_good, 1);
        // A rollout that was not cut, or that is never lost, has no error to learn from.
        group.rollouts[0].cuts.clear();
        assert_eq!(pairs(&group, &[0, 1], 9).1.no_error, 1);
    }

    /// Continuations from before the first step are fresh attempts beside the group's, and say nothing of a step.
    #[test]
    fn a_cut_before_the_first_step_is_passed_over() {
        let mut group = wrong();
        let before = CutValue {
            step: 0,
            tokens: 0,
            bytes: 0,
            good: 0,
            shortest: None,
            ..group.rollouts[0].cuts[0].clone()
        };
        let best = group.rollouts[0].cuts[0].shortest.clone();
        group.rollouts[0].cuts.insert(0, CutValue { best, ..before });
        assert_eq!(texts(&pairs(&group, &[0, 1, 2], 9).0[0]), ("a\n#### 7", "a\nb\n"));
    }

    /// With a right rollout in the group, the cut before the first step would otherwise give it for nothing at all.
    #[test]
    fn forced_answers_make_no_pairs() {
        let mut group = wrong();
        let cuts = &mut group.rollouts[0].cuts;
        cuts.insert(0, CutValue { step: 0, tokens: 0, bytes: 0, good: 0, ..cuts[0].clone() });
        cuts.iter_mut().for_each(|cut| cut.shortest = None);
        let (made, dropped) = pairs(&group, &[0, 1, 2], 9);
        assert_eq!((made.len(), dropped.none_good), (0, 1));
    }
}
