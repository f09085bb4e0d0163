//! `[rollout.environment]`: its keys, their defaults and which values they may have.

use crate::data::Example;
use crate::program::Asked;
use crate::section::{Misfit, broken, under};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Where what the environment says stands in `observation`.
pub(super) const OBSERVATION: &str = "{observation}";

/// A number of episodes of each question in an environment: the policy acts, the environment says what it sees then and what that is worth, in turns.
/// What it says is never learned. Held-out questions are asked in the same environment. `[reward.environment]` is what an episode came to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct EnvironmentRollout {
    /// Episodes of each question.
    pub size: usize,
    /// Turns of the policy in an episode, at most.
    pub turns: usize,
    /// Texts that end a turn, such as `"\n"`, beside the end of what the policy says (of a conversation the end of its turn).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub until: Vec<String>,
    /// What is put behind a turn, with `{observation}` in the place of what the environment says. By default, in a conversation, what the chat template
    /// writes up to where the policy's next turn begins, with the observation as a user's turn; else `"\n{observation}\n"`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observation: Option<String>,
    /// The environment, a program that reads a line and writes one, in order, and flushes it; both are JSON objects, with `n`, the line's number.
    ///
    /// * `{"do": "reset", "episode": 17, "id": "row:3", "seed": 5, "columns": {…}}` begins an episode: `{"observation": "…"}` is put behind the row's
    ///   prompt, and nothing where it is null. Episodes of a group have one seed and have to begin with one observation.
    /// * `{"do": "step", "episode": 17, "action": "…"}`: `{"observation": "…", "reward": 0.5, "done": false}`. Rewards add up; 0 and false need not be said.
    /// * `{"do": "close", "episode": 17}` ends one that is not done, for want of turns or tokens: `{"reward": 0}`.
    ///
    /// Of several `programs` each has episodes of its own. `timeout_s` is for all lines that one is sent together. What fails ends the run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub program: Option<Asked>,
}

impl Default for EnvironmentRollout {
    fn default() -> Self {
        Self { size: 8, turns: 8, until: vec![], observation: None, program: None }
    }
}

impl EnvironmentRollout {
    /// What cannot be used as it is.
    pub fn check(&self) -> Vec<Misfit> {
        let placed = self.observation.as_ref().is_none_or(|text| text.contains(OBSERVATION));
        let mut found = broken(&[
            (self.size > 0, "size", "at least one episode of each question is needed"),
            (self.turns > 0, "turns", "at least one is needed"),
            (self.until.iter().all(|text| !text.is_empty()), "until", "a turn cannot end with nothing"),
            (
                placed,
                "observation",
                "it has no {observation}, so that nothing that is said would be put there",
            ),
        ]);
        if self.program.is_none() {
            let remedy = "add [rollout.environment.program] with a command";
            found.push(Misfit::new("program", "there is no environment", remedy));
        }
        found.extend(under("program", self.program.iter().flat_map(Asked::check)));
        found
    }

    /// What rows lack of what the environment is told.
    pub fn check_rows(&self, rows: &[&Example]) -> Vec<Misfit> {
        under("program", self.program.iter().flat_map(|program| program.check_rows(rows)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_environment_is_a_program() {
        let keys = |text: &str| {
            let section: EnvironmentRollout = toml::from_str(text).unwrap();
            assert_eq!(
                toml::from_str::<EnvironmentRollout>(&toml::to_string(&section).unwrap()).unwrap(),
                section
            );
            section.check().into_iter().map(|misfit| misfit.key).collect::<Vec<_>>()
        };
        assert!(keys("program.command = ['sh']").is_empty());
        assert_eq!(keys(""), ["program"]);
        let wrong = "size = 0\nturns = 0\nuntil = ['']\nobservation = 'x'\nprogram.command = []";
        assert_eq!(keys(wrong), ["size", "turns", "until", "observation", "program.command"]);
    }
}
