//! How the states of a rationale move from stretch to stretch: latent-trajectory signals, which tell chains that come out right from others
//! without a judge.

use super::{Models, Reward, Wants};
use crate::policy::Policy;
use crate::policy::embedding::stretches;
use crate::rollout::{Group, Rollout, Score};
use crate::statistics::mean;
use crate::statistics::trajectory::trajectory;
use schemars::JsonSchema;
use serde::Deserialize;
use std::ops::Range;
use tch::{Device, Kind};

/// `[reward.trajectory]`: how far, and how straight, the model's states move while it reasons. The reasoning is read in stretches of so
/// many tokens, each as its mean state h₁ … h_N, averaged over layers. A rationale of one stretch has no way; it gets the mean of the
/// others of its question, and `undefined` counts it.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Trajectory {
    /// What the score is.
    pub measure: Measure,
    /// Tokens of a stretch; the last may have fewer.
    pub segment: usize,
    /// Which layers' outputs are averaged, counted from 1; all by default.
    pub layers: Vec<usize>,
}

/// What the score is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// ‖h_N − h₁‖ / (N − 1); high in chains that come out right.
    Net,
    /// Σ ‖hₙ − hₙ₋₁‖; low in chains that come out right.
    Cum,
    /// The mean of cos(hₙ − hₙ₋₁, h_N − h₁); high in chains that come out right.
    Aligned,
}

impl Default for Trajectory {
    fn default() -> Self {
        Self { measure: Measure::Aligned, segment: 500, layers: vec![] }
    }
}

impl Trajectory {
    /// The reward, its section checked.
    pub fn checked(self) -> anyhow::Result<impl Reward> {
        anyhow::ensure!(self.segment > 0, "segment = 0: at least one token is needed");
        anyhow::ensure!(!self.layers.contains(&0), "layers: they are counted from 1");
        Ok(Walker { section: self, undefined: (0, 0) })
    }
}

struct Walker {
    section: Trajectory,
    /// Rationales of one stretch, and all.
    undefined: (usize, usize),
}

impl Reward for Walker {
    fn wants(&self) -> Wants {
        let layers = self.section.layers.iter();
        layers.fold(Wants::default(), |wants, layer| wants.layer("layers", *layer))
    }

    fn score(&mut self, group: &Group, models: &Models) -> anyhow::Result<Vec<Score>> {
        let policy = models.policy()?;
        let values = self.values(policy, group, models.budget)?;
        self.undefined.0 += values.iter().filter(|value| value.is_none()).count();
        self.undefined.1 += values.len();
        let known = mean(values.iter().flatten().copied());
        let known = if known.is_nan() { 0.0 } else { known };
        Ok(values.into_iter().map(|value| Score::from(value.unwrap_or(known))).collect())
    }

    fn figures(&mut self) -> Vec<(String, f64)> {
        let (undefined, all) = std::mem::take(&mut self.undefined);
        if all == 0 { vec![] } else { vec![("undefined".into(), undefined as f64 / all as f64)] }
    }
}

impl Walker {
    fn values(&self, policy: &Policy, group: &Group, budget: usize) -> anyhow::Result<Vec<Option<f64>>> {
        let depth = policy.model.layers.len();
        let beyond = self.section.layers.iter().find(|layer| **layer > depth);
        anyhow::ensure!(beyond.is_none(), "layers: there is no layer {} of {depth}", beyond.unwrap_or(&0));
        let layers: Vec<usize> = match self.section.layers.is_empty() {
            true => (1..=depth).collect(),
            false => self.section.layers.clone(),
        };
        let prompt = group.prompt.len();
        let sequences: Vec<Vec<u32>> =
            group.rollouts.iter().map(|rollout| [&group.prompt[..], &rollout.tokens].concat()).collect();
        let spans: Vec<Vec<Range<usize>>> =
            group.rollouts.iter().map(|rollout| self.segments(policy, rollout, prompt)).collect();
        let lengths: Vec<usize> = sequences.iter().map(Vec::len).collect();
        let mut found = Vec::new();
        for stretch in stretches(&lengths, budget) {
            let own: Vec<&[u32]> = sequences[stretch.clone()].iter().map(Vec::as_slice).collect();
            let parts: Vec<&[Range<usize>]> = spans[stretch.clone()].iter().map(Vec::as_slice).collect();
            let means = policy.model.segment_means(&own, &parts)?.to_device(Device::Cpu);
            let chosen: Vec<tch::Tensor> =
                layers.iter().map(|&layer| means.select(0, layer as i64)).collect();
            let states = tch::Tensor::stack(&chosen, 0).mean_dim([0i64].as_slice(), false, Kind::Double);
            let states: Vec<Vec<f64>> = Vec::try_from(states)?;
            let mut start = 0;
            for part in parts {
                let way = trajectory(&states[start..start + part.len()]);
                start += part.len();
                found.push(way.map(|way| match self.section.measure {
                    Measure::Net => way.net,
                    Measure::Cum => way.cumulative,
                    Measure::Aligned => way.aligned,
                }));
            }
        }
        Ok(found)
    }

    /// The stretches of a completion's reasoning behind a prompt of so many tokens; of all of it, where it has no answer.
    fn segments(&self, policy: &Policy, rollout: &Rollout, prompt: usize) -> Vec<Range<usize>> {
        let span = match &rollout.rationale {
            Some(rationale) => rationale.reasoning(),
            None => 0..rollout.text.len(),
        };
        let tokens = policy.tokenizer.tokens_of(&rollout.tokens, span);
        let starts = tokens.clone().step_by(self.section.segment);
        starts.map(|start| prompt + start..prompt + (start + self.section.segment).min(tokens.end)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{group, rewards};
    use super::*;
    use crate::policy::tests::tiny;
    use crate::reward::Registry;

    #[test]
    fn a_rationale_walks_by_its_stretches() {
        let policy = tiny(2, 1, 3);
        let mut group = group(None, &[], &["abcdefgh\n#### 1", "abc\n#### 1"]);
        group.prompt = policy.tokenizer.encode("q:").unwrap();
        for rollout in &mut group.rollouts {
            rollout.tokens = policy.tokenizer.encode(&rollout.text).unwrap();
        }
        // Bytes are tokens: "abc", "def", "gh" behind two of the prompt, averaged over the first layer alone.
        let tokens = [&group.prompt[..], &group.rollouts[0].tokens].concat();
        let means = policy.model.segment_means(&[&tokens], &[&[2..5, 5..8, 8..10]]).unwrap();
        let states: Vec<Vec<f64>> = Vec::try_from(means.select(0, 1).to_kind(Kind::Double)).unwrap();
        let way = trajectory(&states).unwrap();
        for (measure, expected) in [("net", way.net), ("cum", way.cumulative), ("aligned", way.aligned)] {
            let section = format!("[trajectory]\nsegment = 3\nlayers = [1]\nmeasure = \"{measure}\"");
            let mut rewards = rewards(&Registry::default(), &section).unwrap();
            let mut groups = [group.clone()];
            rewards.score(&mut groups, &Models::of(&policy, 8)).unwrap();
            let found = groups[0].rewards();
            assert!((found[0] - expected).abs() < 1e-5, "{measure}: {found:?} {expected}");
            // "abc" is one stretch: it has no way of its own.
            assert_eq!(found[1], found[0]);
            assert_eq!(rewards.figures(), [("trajectory/undefined".to_string(), 0.5)]);
        }
    }
}
