//! How surprising a completion is to a model: which of several teachers writes as the learner would.

use super::{Models, Reward, Wants};
use crate::data::given;
use crate::model::Sequence;
use crate::policy::Policy;
use crate::rollout::{Group, Rollout, Score};
use crate::statistics::mean;
use schemars::JsonSchema;
use serde::Deserialize;

/// `[reward.perplexity]`: how surprising the completion is to the policy. exp(−mean log p) of the completion's tokens behind its
/// prompt, at temperature 1. On `[rollout.dataset]`, or as a measure, it tells how well rows fit the policy; with the policy's own
/// right answers as solved rows (`data.template.few_shot_from`) it is self-aligned perplexity.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Perplexity {
    /// A frozen model, as a folder, a hub id or `"@stage"`, that is asked in the policy's place.
    pub model: Option<String>,
}

impl Perplexity {
    /// The reward. A frozen model is loaded when there is first something to score.
    pub fn checked(self) -> anyhow::Result<impl Reward> {
        Ok(Reader { section: self, model: None })
    }
}

struct Reader {
    section: Perplexity,
    model: Option<Policy>,
}

impl Reward for Reader {
    fn wants(&self) -> Wants {
        self.section.model.iter().fold(Wants::default(), |wants, name| wants.model("model", name))
    }

    fn score(&mut self, group: &Group, models: &Models) -> anyhow::Result<Vec<Score>> {
        models.load(&mut self.model, self.section.model.as_deref())?;
        let sequence = |rollout: &Rollout| -> anyhow::Result<Sequence> {
            Ok(match &self.model {
                None => rollout.sequence(&group.prompt),
                // Another model may have other tokens.
                Some(model) => {
                    let written = model.completion(&rollout.text)?;
                    let bytes = rollout.given.iter().map(|part| &part.bytes);
                    let given = given::holding(&model.tokenizer, &written, &rollout.text, bytes)
                        .map_err(anyhow::Error::msg)?;
                    Sequence::of_completion(&model.tokenizer.render_example(&group.example)?, &written, given)
                }
            })
        };
        let judge = models.judge(self.model.as_ref())?;
        let sequences = group.rollouts.iter().map(sequence).collect::<anyhow::Result<Vec<_>>>()?;
        let logprobs = judge.logprobs(&sequences, 1.0, models.budget)?;
        let perplexity = |of: &Vec<f32>| {
            let mean = mean(of.iter().map(|&logprob| f64::from(logprob)));
            // Of no tokens nothing is surprising.
            Score::from(if mean.is_nan() { 1.0 } else { (-mean).exp() })
        };
        Ok(logprobs.iter().map(perplexity).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{group, rewards};
    use super::*;
    use crate::policy::tests::tiny;
    use crate::reward::Registry;

    #[test]
    fn perplexity_is_that_of_the_completions_tokens() {
        let policy = tiny(1, 1, 3);
        let mut group = group(None, &[], &["ab", ""]);
        group.prompt = policy.tokenizer.encode("q:").unwrap();
        for rollout in &mut group.rollouts {
            rollout.tokens = policy.tokenizer.encode(&rollout.text).unwrap();
        }
        let sequence = Sequence::new(&group.prompt, &group.rollouts[0].tokens);
        let logprobs = policy.logprobs(&[sequence], 1.0, 64).unwrap();
        let expected = f64::from(-(logprobs[0][0] + logprobs[0][1]) / 2.0).exp();
        let mut groups = [group];
        let mut rewards = rewards(&Registry::default(), "[perplexity]").unwrap();
        rewards.score(&mut groups, &Models::of(&policy, 64)).unwrap();
        let found = groups[0].rewards();
        assert!((found[0] - expected).abs() < 1e-4 * expected && found[1] == 1.0, "{found:?} {expected}");
    }
}
