//! What an episode came to, as its environment says.

use super::{Models, Reward, Wants};
use crate::rollout::{Group, Score};
use anyhow::Context;
use schemars::JsonSchema;
use serde::Deserialize;

/// `[reward.environment]`: the sum of what the environment of `[rollout.environment]` said that the steps of an episode were worth. It goes with that
/// rollout alone.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Environment {}

impl Environment {
    /// The reward.
    pub fn checked(self) -> anyhow::Result<impl Reward> {
        Ok(Scorer)
    }
}

struct Scorer;

impl Reward for Scorer {
    fn score(&mut self, group: &Group, _models: &Models) -> anyhow::Result<Vec<Score>> {
        let none = "it was no episode of an environment; use [rollout.environment]";
        group.rollouts.iter().map(|rollout| Ok(Score::from(rollout.episode.context(none)?))).collect()
    }

    fn wants(&self) -> Wants {
        Wants { episodes: true, ..Wants::default() }
    }

    fn independent(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{group, scores};

    #[test]
    fn an_episode_is_worth_what_its_environment_says() {
        let mut played = group(None, &[], &["left", "right"]);
        played
            .rollouts
            .iter_mut()
            .zip([0.5, -1.0])
            .for_each(|(rollout, worth)| rollout.episode = Some(worth));
        assert_eq!(scores("[environment]", played.clone()), Ok(vec![0.5, -1.0]));
        played.rollouts[1].episode = None;
        let error = scores("[environment]", played).unwrap_err();
        assert!(
            error.contains("[reward.environment] failed on example row:7") && error.contains("no episode"),
            "{error}"
        );
    }
}
