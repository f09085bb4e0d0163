//! How much a step follows from the steps before it rather than from any: the contrast of ReasonFlux-PRM (Zou et al. 2025, arXiv 2506.18896), by log p in place of
//! embeddings.

use super::{Models, Reward, Wants};
use crate::policy::Policy;
use crate::rollout::{Group, Rollout, Score, StepScore};
use crate::statistics::mean;
use schemars::JsonSchema;
use serde::Deserialize;
use std::ops::Range;

/// `[reward.coherence]`: how much likelier each step is behind the steps before it than behind other ones. Of a step s behind c, l(s | c) is the mean log p of its tokens; its
/// score is l(s | own) − log mean_j e^l(s | c_j) in nats, over places c_j in this and the other completions of the question that read otherwise and have not said s. 0 where there are none.
/// A completion's score is the mean of its steps'.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Coherence {
    /// So many other places at most, those that come next in the completions of the question, round and round.
    pub others: usize,
    /// A frozen model, as a folder, a hub id or `"@stage"`, that is asked in the policy's place.
    pub model: Option<String>,
}

impl Default for Coherence {
    fn default() -> Self {
        Self { others: 4, model: None }
    }
}

impl Coherence {
    /// The reward, its section checked. A frozen model is loaded when there is first something to score.
    pub fn checked(self) -> anyhow::Result<impl Reward> {
        anyhow::ensure!(self.others > 0, "others = 0: a step is held against at least one other place");
        Ok(Contrast { section: self, model: None })
    }
}

/// log p of a step behind its own place, and behind others, each the mean of its tokens: how much it belongs there.
fn contrast(own: f64, others: &[f64]) -> f64 {
    if others.is_empty() {
        return 0.0;
    }
    let most = others.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    own - most - mean(others.iter().map(|other| (other - most).exp())).ln()
}

/// What stands before each step of the completions of a question.
struct Places<'a> {
    before: Vec<&'a str>,
}

impl<'a> Places<'a> {
    fn of(rollouts: &'a [Rollout]) -> Self {
        let before =
            rollouts.iter().flat_map(|rollout| spans(rollout).map(move |step| &rollout.text[..step.start]));
        Self { before: before.collect() }
    }

    /// At most `count` places behind `at`, where `step` stands, round and round: each reads otherwise than it and than the others, and has not said the step.
    fn others(&self, at: usize, step: &str, count: usize) -> Vec<&'a str> {
        let (all, mut found) = (self.before.len(), Vec::<&str>::new());
        for other in (1..all).map(|ahead| self.before[(at + ahead) % all]) {
            let differs = other != self.before[at] && !other.contains(step);
            if found.len() < count && differs && !found.contains(&other) {
                found.push(other);
            }
        }
        found
    }
}

fn spans(rollout: &Rollout) -> impl Iterator<Item = Range<usize>> + '_ {
    rollout.rationale.iter().flat_map(|rationale| rationale.steps.iter().cloned())
}

struct Contrast {
    section: Coherence,
    model: Option<Policy>,
}

impl Reward for Contrast {
    fn wants(&self) -> Wants {
        self.section.model.iter().fold(Wants::default(), |wants, name| wants.model("model", name))
    }

    fn score(&mut self, group: &Group, models: &Models) -> anyhow::Result<Vec<Score>> {
        models.load(&mut self.model, self.section.model.as_deref())?;
        let (policy, judge) = (models.policy()?, models.judge(self.model.as_ref())?);
        let prompt = match &self.model {
            None => group.prompt.clone(),
            // Another model may have other tokens.
            Some(model) => model.tokenizer.render_example(&group.example)?,
        };
        let places = Places::of(&group.rollouts);
        let steps =
            || group.rollouts.iter().flat_map(|rollout| spans(rollout).map(move |step| &rollout.text[step]));
        let (mut sequences, mut counts) = (Vec::new(), Vec::new());
        for (at, step) in steps().enumerate() {
            sequences.push(judge.after(&prompt, places.before[at], step)?);
            let own = sequences.len();
            for before in places.others(at, step, self.section.others) {
                let other = judge.after(&prompt, before, step)?;
                // What stands before a step elsewhere may be too long for this one.
                if other.tokens.len() <= judge.context() {
                    sequences.push(other);
                }
            }
            counts.push(sequences.len() - own);
        }
        let scored = judge.logprobs(&sequences, 1.0, models.budget)?;
        let mut likelihoods = scored.iter().map(|of| mean(of.iter().map(|&logprob| f64::from(logprob))));
        let mut values = counts.into_iter().map(|count| {
            let own = likelihoods.next().unwrap_or_default();
            contrast(own, &likelihoods.by_ref().take(count).collect::<Vec<_>>())
        });
        let mut score = |rollout: &Rollout| {
            let step = |span: Range<usize>| StepScore {
                value: values.next().unwrap_or_default(),
                tokens: policy.tokenizer.tokens_of(&rollout.tokens, span),
            };
            let steps: Vec<StepScore> = spans(rollout).map(step).collect();
            let value = if steps.is_empty() { 0.0 } else { mean(steps.iter().map(|step| step.value)) };
            Score { value, steps: Some(steps) }
        };
        Ok(group.rollouts.iter().map(&mut score).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{group, rewards};
    use super::*;
    use crate::policy::tests::tiny;
    use crate::reward::Registry;

    /// ln 1/2 against the mean of 1/4 and 1/8, which is 3/16: ln (8/3).
    #[test]
    fn a_step_is_held_against_the_mean_of_the_others() {
        let ln = |share: f64| share.ln();
        let near =
            |found: f64, expected: f64| assert!((found - expected).abs() < 1e-12, "{found} {expected}");
        near(contrast(ln(0.5), &[ln(0.25), ln(0.125)]), ln(8.0 / 3.0));
        near(contrast(ln(0.25), &[ln(0.25)]), 0.0);
        // Far below what e can be raised to.
        near(contrast(-2000.0, &[-2001.0, -2001.0]), 1.0);
        assert_eq!(contrast(-3.0, &[]), 0.0);
    }

    #[test]
    fn other_places_read_otherwise() {
        let group = group(None, &[], &["a\nb\n#### 1", "a\nc\nd\n#### 2", "nothing"]);
        let places = Places::of(&group.rollouts);
        assert_eq!(places.before, ["", "a\n", "", "a\n", "a\nc\n"]);
        assert_eq!(places.others(0, "x", 9), ["a\n", "a\nc\n"]);
        assert_eq!(places.others(3, "c", 9), [""]);
        assert_eq!(places.others(4, "d", 1), [""]);
        // Behind what has said it, a step is only said again.
        assert!(places.others(0, "a", 9).is_empty());
    }

    #[test]
    fn steps_are_scored_by_what_a_model_says_of_them() {
        let policy = tiny(1, 1, 3);
        let mut group = group(None, &[], &["ab\nc\n#### 1", "d\ne\n#### 1", "none"]);
        group.prompt = policy.tokenizer.encode("q:").unwrap();
        for rollout in &mut group.rollouts {
            rollout.tokens = policy.tokenizer.encode(&rollout.text).unwrap();
        }
        let of = |before: &str, step: &str| {
            let sequence = policy.after(&group.prompt, before, step).unwrap();
            mean(policy.logprobs(&[sequence], 1.0, 64).unwrap()[0].iter().map(|&logprob| f64::from(logprob)))
        };
        // Behind nothing, and behind the other completion's step.
        let of_two = |step: &str| ((of("", step).exp() + of("d\n", step).exp()) / 2.0).ln();
        let expected = [of("", "ab") - of("d\n", "ab"), of("ab\n", "c") - of_two("c")];
        let mut groups = [group.clone()];
        let mut rewards = rewards(&Registry::default(), "[coherence]").unwrap();
        rewards.score(&mut groups, &Models::of(&policy, 64)).unwrap();
        let found = &groups[0].rollouts[0].scores["coherence"];
        let steps = found.steps.as_ref().unwrap();
        for (step, expected) in steps.iter().zip(expected) {
            assert!((step.value - expected).abs() < 1e-4, "{steps:?} {expected}");
        }
        assert_eq!((steps[0].tokens.clone(), steps[1].tokens.clone()), (0..2, 3..4));
        assert!((found.value - (expected[0] + expected[1]) / 2.0).abs() < 1e-4);
        assert_eq!(groups[0].rollouts[2].scores["coherence"].value, 0.0);
        let refused = Coherence { others: 0, model: None }.checked().err().unwrap().to_string();
        assert!(refused.contains("others = 0"), "{refused}");
    }
}
