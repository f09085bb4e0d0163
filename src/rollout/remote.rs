//! Completions of a model behind an OpenAI-compatible endpoint, a teacher's for example: `[rollout.remote]`.

use super::{Group, Prompted, Rollout, conversation};
use crate::data::template::{environment, values};
use crate::endpoint::{Client, Endpoint, Request};
use crate::error::{Error, Result};
use crate::policy::Policy;
use crate::rationale::Format;
use serde::{Deserialize, Serialize};

/// A number of completions of each prompt by another model. They are scored and filtered as the policy's own, and tokenised
/// with the policy's tokenizer; there are no log-probabilities of their sampling, so that they teach `loop.sft` and `loop.dpo` but
/// not `loop.grpo`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RemoteRollout {
    /// Which model is asked, and where: `[rollout.remote.endpoint]`. Its `temperature` and `max_tokens` hold, not those of
    /// `[policy.sampling]`.
    pub endpoint: Endpoint,
    /// Completions of each prompt.
    pub size: usize,
    /// The system turn, in place of the prompt's own.
    pub system: Option<String>,
    /// The last turn, in place of the prompt's own: a Jinja template over the row's columns and `prompt`, that turn. What the
    /// policy learns from stays its own prompt.
    pub user: Option<String>,
}

impl Default for RemoteRollout {
    fn default() -> Self {
        Self { endpoint: Endpoint::default(), size: 1, system: None, user: None }
    }
}

impl RemoteRollout {
    /// Checks the values.
    pub fn validate(&self) -> Result<()> {
        if self.size == 0 {
            return Err(Error::Recipe(
                "rollout.remote.size = 0: at least one completion of each prompt is needed".into(),
            ));
        }
        if self.size > 1 && self.endpoint.temperature == 0.0 {
            return Err(Error::Recipe(
                "rollout.remote.endpoint.temperature = 0: greedy answers to one prompt are all the same; use a positive \
                 temperature, or size = 1"
                    .into(),
            ));
        }
        if let Some(user) = &self.user {
            let read = environment().template_from_str(user).map(|_| ());
            read.map_err(|error| {
                Error::Recipe(format!("rollout.remote.user: its template cannot be read: {error}"))
            })?;
        }
        self.endpoint.validate("rollout.remote.endpoint")
    }

    fn request(&self, prompted: &Prompted, asking: usize) -> Result<Request> {
        let example = &prompted.example;
        let user = self.user.as_ref().map(|user| environment().render_str(user, values(example)));
        let user = user.transpose().map_err(|error| {
            Error::Data(format!("example {}: rollout.remote.user cannot be filled in: {error}", example.id))
        })?;
        let messages = conversation(&example.prompt, self.system.as_deref(), user);
        Ok(Request { messages, n: self.size, seed: None, max_tokens: None, attempt: asking })
    }
}

/// Asks for `size` completions of each prompt. `asking` tells apart several askings of the same prompts, of which each has a place
/// of its own in the endpoint's cache.
pub fn ask(
    client: &Client,
    section: &RemoteRollout,
    policy: &Policy,
    prompts: &[Prompted],
    format: &Format,
    asking: usize,
) -> Result<Vec<Group>> {
    let requests: Vec<Request> =
        prompts.iter().map(|prompted| section.request(prompted, asking)).collect::<Result<_>>()?;
    let answers = client.ask(&requests)?;
    let group = |(prompted, answer): (&Prompted, crate::endpoint::Answer)| {
        let room = policy.context().saturating_sub(prompted.tokens.len());
        let written = |choice: &crate::endpoint::Choice| {
            Rollout::written(policy, &choice.text, choice.truncated, room, format)
        };
        let rollouts: Result<Vec<Rollout>> = answer.choices.iter().map(written).collect();
        let rollouts = rollouts.map_err(|error| {
            Error::Data(format!(
                "example {}: a completion of {} cannot be tokenised: {error}",
                prompted.example.id, section.endpoint.model
            ))
        })?;
        Ok(Group { example: prompted.example.clone(), prompt: prompted.tokens.clone(), rollouts })
    };
    prompts.iter().zip(answers).map(group).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(keys: &str) -> RemoteRollout {
        toml::from_str(&format!("{keys}\nendpoint = {{ url = 'http://x/v1', model = 'm' }}")).unwrap()
    }

    #[test]
    fn the_section_is_checked() {
        let message = |keys: &str| {
            let error = section(keys).validate().unwrap_err();
            assert_eq!(error.exit_code(), 2);
            error.to_string()
        };
        assert!(message("size = 0").contains("rollout.remote.size = 0"));
        assert!(message("user = '{{'").contains("rollout.remote.user"));
        let nowhere = RemoteRollout::default().validate().unwrap_err().to_string();
        assert!(nowhere.contains("rollout.remote.endpoint.url"));
        let mut greedy = section("size = 2");
        assert!(greedy.validate().is_ok());
        greedy.endpoint.temperature = 0.0;
        assert!(greedy.validate().unwrap_err().to_string().contains("endpoint.temperature = 0"));
    }
}
