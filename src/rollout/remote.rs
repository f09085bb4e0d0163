//! Completions of a model behind an OpenAI-compatible endpoint, a teacher's for example: `[rollout.remote]`.

mod rows;

use super::{
    Fork, Group, Prompted, Rollout, SamplingContext, Source, SourceSection, Trace, Traits, conversation,
};
use crate::ask::{Samples, TextModel, TextRequest};
use crate::data::conversation::REASONING;
use crate::data::template::Jinja;
use crate::data::{Example, Message, Prompt};
use crate::endpoint::{Choice, Client, Endpoint};
use crate::error::{Error, Result};
use crate::policy::Policy;
use crate::rationale::Format;
use crate::section::{Misfit, under};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Completions of a prompt, at most.
const MOST: usize = 100_000;
const ENDPOINT: &str = "rollout.remote.endpoint";

/// A number of completions of each prompt by another model, each with the reasoning that the server says apart from it
/// (`reasoning_content`, `reasoning`) before it, as the policy's chat template writes reasoning. They are scored and filtered as the policy's own, and tokenised
/// with the policy's tokenizer; there are no log-probabilities of their sampling, so that `loop.sft` and `loop.dpo` learn from them but
/// not `loop.grpo`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
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
    pub user: Option<Jinja>,
    /// The rows are traces of an earlier stage that are to be written anew, which `user` asks for with the trace's
    /// `completion`: what comes back takes the trace's place among the completions of its example, and its path through a
    /// rubric where it has one (so that `path_label` knows it). It is left out where it comes to another answer than the
    /// trace.
    pub rewrite: bool,
    /// Ask about each of a question's `choices` by itself, `size` completions for each: `user` has `choice` and `letter` of it
    /// besides. Where it comes out empty, nothing is asked about that choice.
    pub each_choice: bool,
}

impl Default for RemoteRollout {
    fn default() -> Self {
        Self {
            endpoint: Endpoint::default(),
            size: 1,
            system: None,
            user: None,
            rewrite: false,
            each_choice: false,
        }
    }
}

impl RemoteRollout {
    /// What cannot be used as it is.
    pub fn check(&self) -> Vec<Misfit> {
        let mut found = Vec::new();
        let mut wrong =
            |key: &str, message: &str, remedy: &str| found.push(Misfit::new(key, message, remedy));
        if self.size == 0 {
            wrong("size", "at least one completion of each prompt is needed", "");
        }
        if self.size > MOST {
            wrong("size", "at most 100000 completions of each prompt can be asked for", "");
        }
        if self.size > 1 && self.endpoint.temperature == 0.0 {
            wrong(
                "endpoint.temperature",
                "greedy answers to one prompt are all the same",
                "use a positive temperature, or size = 1",
            );
        }
        let unread = self.user.as_ref().and_then(|user| user.check().err());
        if let Some(error) = unread {
            wrong("user", &format!("its template cannot be read: {error}"), "");
        }
        if self.rewrite && self.user.as_ref().is_none_or(|user| !user.source().contains("completion")) {
            wrong(
                "rewrite",
                "user must show what is to be written anew",
                "give it a user with {{ completion }}",
            );
        }
        if self.each_choice && self.user.is_none() {
            wrong(
                "each_choice",
                "user must say what is asked",
                "give it a user with {{ letter }} or {{ choice }}",
            );
        }
        found.extend(under("endpoint", self.endpoint.check()));
        found
    }

    /// What is asked of a prompt: one question, or one about each choice.
    fn questions(&self, prompted: &Prompted, nonce: usize) -> Result<Vec<TextRequest>> {
        let example = &prompted.example;
        let filled = |choice: Option<usize>| {
            let filled = self.filled(example, choice);
            filled.map_err(|why| Error::Data(format!("{example}: rollout.remote.user {why}")))
        };
        if !self.each_choice {
            return Ok(vec![self.question(prompted, filled(None)?, nonce)]);
        }
        if example.choices.is_empty() {
            return Err(Error::Data(format!(
                "{}: rollout.remote.each_choice asks about each of its `choices`, and it has none",
                example
            )));
        }
        let about = (0..example.choices.len()).map(|choice| filled(Some(choice)));
        let questions: Vec<Option<String>> = about.collect::<Result<_>>()?;
        let questions =
            questions.into_iter().filter(|user| user.as_ref().is_some_and(|user| !user.trim().is_empty()));
        Ok(questions.map(|user| self.question(prompted, user, nonce)).collect())
    }

    fn question(&self, prompted: &Prompted, user: Option<String>, nonce: usize) -> TextRequest {
        let messages = conversation(&prompted.example.prompt, self.system.as_deref(), user);
        let samples = Samples::Count(self.size);
        TextRequest { samples, attempt: nonce, ..TextRequest::new(Prompt::Chat(messages)) }
    }
}

impl SourceSection for RemoteRollout {
    fn traits(&self) -> Traits<'_> {
        // What is written anew keeps the way of the trace whose place it takes.
        let (forks, votes) = (self.rewrite, self.rewrite);
        let each = self.size.max(1).div_ceil(self.endpoint.answers_per_request.unwrap_or(self.size).max(1));
        let requests = (!self.each_choice).then_some([self.endpoint.concurrency, each]);
        let written = Traits::written("remote", Some(self.size));
        Traits { endpoint: Some(ENDPOINT), requests, forks, votes, ..written }
    }

    fn check(&self) -> Vec<Misfit> {
        RemoteRollout::check(self)
    }

    fn check_rows(&self, rows: &[&Example]) -> Vec<Misfit> {
        self.lacking(rows)
    }

    fn build(&self) -> Result<Box<dyn Source>> {
        Ok(Box::new(Remote { section: self.clone(), client: self.endpoint.open(ENDPOINT)? }))
    }
}

/// The section with its endpoint, opened.
struct Remote {
    section: RemoteRollout,
    client: Client,
}

impl Source for Remote {
    fn section(&self) -> &dyn SourceSection {
        &self.section
    }

    fn roll_out(&self, prompts: &[Prompted], context: &mut SamplingContext) -> Result<Vec<Group>> {
        let SamplingContext { policy, format, nonce, .. } = context;
        let (mut groups, left_out) = ask(&self.client, &self.section, policy, prompts, format, *nonce)?;
        left_out.iter().for_each(|share| context.figures.set("remote/other_answer", *share));
        context.report_all("remote", &self.client.figures());
        context.scorer.score(&mut groups)?;
        Ok(groups)
    }
}

/// Asks for `size` completions of each prompt. `nonce` tells apart several requests for the same prompts, of which each has a place
/// of its own in the endpoint's cache. With the groups comes the share of completions that were left out.
fn ask(
    client: &Client,
    section: &RemoteRollout,
    policy: &Policy,
    prompts: &[Prompted],
    format: &Format,
    nonce: usize,
) -> Result<(Vec<Group>, Option<f64>)> {
    let traces =
        if section.rewrite { prompts.iter().map(trace).collect::<Result<Vec<Trace>>>()? } else { vec![] };
    let questions: Vec<Vec<TextRequest>> =
        prompts.iter().map(|prompted| section.questions(prompted, nonce)).collect::<Result<_>>()?;
    let counts: Vec<usize> = questions.iter().map(Vec::len).collect();
    let answers = TextModel::Endpoint(client).ask(&questions.concat(), None, &mut |_| {})?;
    let mut answers = answers.choices.into_iter();
    let group = |(prompted, count): (&Prompted, usize)| {
        let written = |choice: &Choice| {
            let mut said = Message::new("assistant", choice.text.as_str());
            said.more
                .extend(choice.reasoning.clone().map(|thought| (REASONING[0].to_owned(), thought.into())));
            Rollout::written(policy, prompted, &said, choice.truncated, format)
        };
        let choices = answers.by_ref().take(count).flatten();
        let rollouts: Result<Vec<Rollout>> = choices.map(|choice| written(&choice)).collect();
        let rollouts = rollouts.map_err(|error| {
            Error::Data(format!(
                "{}: a completion of {} cannot be tokenised: {}",
                prompted.example,
                section.endpoint.model,
                error.what()
            ))
        })?;
        Ok(Group::of(prompted, rollouts))
    };
    let groups: Vec<Group> = prompts.iter().zip(counts).map(group).collect::<Result<_>>()?;
    if !section.rewrite {
        return Ok((groups, None));
    }
    let (groups, left_out) = rewritten(groups, traces);
    Ok((groups, Some(left_out)))
}

/// The trace that a row is.
fn trace(row: &Prompted) -> Result<Trace> {
    rows::trace(&row.example).map_err(|missing| {
        Error::Data(format!(
            "{}: rollout.remote.rewrite takes traces, as data.train = \"@stage\", and it is none ({missing})",
            row.example
        ))
    })
}

/// Completions of traces in these traces' places, those of one example in one group; and the share that is left out, because it
/// comes to another answer than its trace.
fn rewritten(groups: Vec<Group>, traces: Vec<Trace>) -> (Vec<Group>, f64) {
    let mut together: Vec<Group> = Vec::new();
    let (mut all, mut kept) = (0, 0);
    for (group, trace) in groups.into_iter().zip(traces) {
        let equality = group.example.equality();
        let same = |rollout: &Rollout| {
            let both = [rollout.answer(), trace.predicted.as_deref()];
            both[0].is_some() && equality.classes(&both)[1] == Some(0)
        };
        all += group.rollouts.len();
        let rollouts = group.rollouts.into_iter().filter(same);
        let rollouts: Vec<Rollout> = rollouts.map(|rollout| on_the_way(rollout, &trace.forks)).collect();
        kept += rollouts.len();
        match together.iter_mut().find(|known| known.example.id == trace.example) {
            Some(known) => known.rollouts.extend(rollouts),
            None => {
                let (id, completion) = (trace.example, trace.own_completion);
                let example = Example { id, completion, ..(*group.example).clone() };
                together.push(Group { example: Arc::new(example), rollouts, ..group });
            }
        }
    }
    (together, 1.0 - kept as f64 / all.max(1) as f64)
}

/// The rollout at the end of a trace's way through its tree; all its text is the last node's.
fn on_the_way(rollout: Rollout, way: &[Fork]) -> Rollout {
    let mut forks: Vec<Fork> = way.iter().map(|fork| Fork { tokens: 0, bytes: 0, ..*fork }).collect();
    if let Some(leaf) = forks.last_mut() {
        (leaf.tokens, leaf.bytes) = (rollout.tokens.len(), rollout.text.len());
    }
    Rollout { forks, ..rollout }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn section(keys: &str) -> RemoteRollout {
        toml::from_str(&format!("{keys}\nendpoint = {{ url = 'http://x/v1', model = 'm' }}")).unwrap()
    }

    #[test]
    fn the_section_is_checked() {
        let keys = |section: &RemoteRollout| -> Vec<String> {
            section.check().into_iter().map(|misfit| misfit.key).collect()
        };
        assert_eq!(keys(&section("size = 0\nuser = '{{'")), ["size", "user"]);
        let asks = section("each_choice = true\nrewrite = true").check();
        assert!(asks[0].key == "rewrite" && asks[0].message.contains("user must show"));
        assert!(asks[1].key == "each_choice" && asks[1].message.contains("user must say"));
        assert_eq!(keys(&RemoteRollout::default()), ["endpoint.url", "endpoint.model"]);
        let mut greedy = section("size = 2");
        assert_eq!(greedy.check(), []);
        greedy.endpoint.temperature = 0.0;
        assert_eq!(keys(&greedy), ["endpoint.temperature"]);
    }
}
