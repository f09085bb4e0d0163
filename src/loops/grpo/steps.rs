//! Credit for single steps: what a reward says of each, beside the advantage of the whole.

use super::Grpo;
use crate::advantage::steps::Scored;
use crate::error::{Error, Result};
use crate::log::Metrics;
use crate::rollout::{Group, Rollout};

impl Grpo {
    /// The advantage of every token of the group's rollouts, where steps are credited.
    pub(super) fn by_token(
        &self,
        group: &Group,
        advantages: &[f64],
        metrics: &mut Metrics,
    ) -> Result<Option<Vec<Vec<f32>>>> {
        let Some(credit) = &self.steps else { return Ok(None) };
        let scored = group
            .rollouts
            .iter()
            .map(|rollout| scored(group, rollout, &credit.reward))
            .collect::<Result<Vec<_>>>()?;
        for rollout in &scored {
            let count = rollout.scores.len() as f64;
            metrics.add("steps/count", count, 1.0);
            metrics.add("steps/sum", rollout.scores.iter().sum(), 1.0);
            if count > 0.0 {
                let tokens: usize = rollout.tokens.iter().map(std::ops::Range::len).sum();
                metrics.add("steps/tokens", tokens as f64 / count, count);
                metrics.add("steps/score", rollout.scores.iter().sum::<f64>() / count, count);
                metrics.add("steps/min", rollout.scores.iter().copied().fold(f64::INFINITY, f64::min), 1.0);
            }
        }
        let of_rollout = |((credits, rollout), advantage): ((Vec<f64>, &Scored), &f64)| {
            let separates = credit.separates(rollout);
            let of_token =
                |(credit, separates): (f64, bool)| if separates { 0.0 } else { (advantage + credit) as f32 };
            credits.into_iter().zip(separates).map(of_token).collect()
        };
        Ok(Some(credit.of(&scored).into_iter().zip(&scored).zip(advantages).map(of_rollout).collect()))
    }
}

fn scored(group: &Group, rollout: &Rollout, reward: &str) -> Result<Scored> {
    let steps = rollout.scores.get(reward).and_then(|score| score.steps.as_ref()).ok_or_else(|| {
        Error::Reward(format!(
            "example {}: loop.grpo.steps credits steps, and [reward.{reward}] says nothing of them; it has to be a \
             reward.process whose model was trained with loop.prm.learns = \"steps\"",
            group.example.id
        ))
    })?;
    Ok(Scored {
        scores: steps.iter().map(|step| step.value).collect(),
        tokens: steps.iter().map(|step| step.tokens.clone()).collect(),
        length: rollout.tokens.len(),
    })
}
