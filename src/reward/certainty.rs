//! How sure the policy was while it wrote: self-certainty (Shop-R1, arXiv 2507.17842) and entropy.

use super::{Models, Reward};
use crate::model::Sequence;
use crate::policy::Policy;
use crate::rollout::{Group, Rollout, Score};
use schemars::JsonSchema;
use serde::Deserialize;
use std::ops::Range;

/// `[reward.self_certainty]`, `[reward.entropy]`: how sure, or how undecided, the policy is over the rationale's tokens. The means of
/// log |V| − H and of H, with H the entropy in nats of the policy's distribution at temperature 1 and |V| the vocabulary. 0 without a
/// rationale.
///
/// log |V| − H is Σ p log(p |V|), the divergence of the policy from the uniform distribution U, KL(p ‖ U): Shop-R1's
/// self-certainty, not that of arXiv 2502.18581, which is KL(U ‖ p). What is printed there also divides by |V|, which the weight can
/// do here. It pays for being sure, right or wrong: keep its weight small.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[derive(Default)]
pub struct Certainty {
    /// Over all of the completion's tokens, not the rationale's alone.
    pub whole: bool,
}

impl Certainty {
    /// `[reward.self_certainty]`.
    pub fn certainty(self) -> anyhow::Result<impl Reward> {
        Ok(Scorer { whole: self.whole, of: |entropy, vocabulary| vocabulary.ln() - entropy })
    }

    /// `[reward.entropy]`.
    pub fn entropy(self) -> anyhow::Result<impl Reward> {
        Ok(Scorer { whole: self.whole, of: |entropy, _| entropy })
    }
}

struct Scorer {
    whole: bool,
    of: fn(f64, f64) -> f64,
}

impl Reward for Scorer {
    fn score(&mut self, group: &Group, models: &Models) -> anyhow::Result<Vec<Score>> {
        let policy = models.policy()?;
        let sequences: Vec<Sequence> =
            group.rollouts.iter().map(|rollout| rollout.sequence(&group.prompt)).collect();
        let entropies = policy.entropies(&sequences, 1.0, models.budget)?;
        let vocabulary = policy.model.config.vocab_size as f64;
        let score = |(rollout, entropies): (&Rollout, &Vec<f32>)| {
            let span = match self.whole {
                true => 0..entropies.len(),
                false => rollout.sampled_in(reasoning(policy, rollout)),
            };
            let values = &entropies[span];
            let mean = values.iter().map(|&h| f64::from(h)).sum::<f64>() / values.len() as f64;
            Score::from(if values.is_empty() { 0.0 } else { (self.of)(mean, vocabulary) })
        };
        Ok(group.rollouts.iter().zip(&entropies).map(score).collect())
    }
}

/// The tokens that the reasoning is written in.
fn reasoning(policy: &Policy, rollout: &Rollout) -> Range<usize> {
    let Some(span) = rollout.rationale.as_ref().map(crate::rationale::Rationale::reasoning) else {
        return 0..0;
    };
    let decode = |tokens: &[u32]| policy.tokenizer.decode(tokens).len();
    tokens_of(&rollout.tokens, span, decode)
}

/// The tokens whose text lies in the byte range `span`, `length` being that of the text of the first so many.
fn tokens_of(tokens: &[u32], span: Range<usize>, length: impl Fn(&[u32]) -> usize) -> Range<usize> {
    let until =
        |byte: usize| (0..=tokens.len()).find(|&n| length(&tokens[..n]) >= byte).unwrap_or(tokens.len());
    // The first token is the one that writes the span's first byte.
    let start = if span.is_empty() { 0 } else { until(span.start + 1) - 1 };
    start..if span.is_empty() { start } else { until(span.end) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_of_text_is_written_by_these_tokens() {
        // Tokens of as many bytes as their number: "aa|b|ccc|d".
        let length = |tokens: &[u32]| tokens.iter().sum::<u32>() as usize;
        let of = |span| tokens_of(&[2, 1, 3, 1], span, length);
        assert_eq!(of(0..7), 0..4);
        assert_eq!(of(2..3), 1..2);
        assert_eq!(of(1..4), 0..3);
        assert_eq!(of(3..6), 2..3);
        assert_eq!(of(0..0), 0..0);
    }
}
