//! What OpenAI's completions and chat completions ask and answer.

use crate::data::{Message, Prompt};
use crate::engine::{Completion, Request, Sampling, StopReason};
use crate::policy::Policy;
use crate::seed;
use serde::Deserialize;
use serde_json::{Value, json};

/// Completions of one request, at most.
const MOST: usize = 1024;

/// Why a request is refused: the status, and what is wrong.
pub(super) type Refused = (u16, String);

/// The keys of a request that are read. Others change nothing of what is written, but for those that are refused.
#[derive(Debug, Deserialize)]
pub(super) struct Body {
    model: Option<String>,
    prompt: Option<Texts>,
    messages: Option<Vec<Turn>>,
    n: Option<usize>,
    max_tokens: Option<usize>,
    max_completion_tokens: Option<usize>,
    temperature: Option<f64>,
    top_p: Option<f64>,
    top_k: Option<i64>,
    min_p: Option<f64>,
    repetition_penalty: Option<f64>,
    stop: Option<OneOrMany>,
    seed: Option<i64>,
    /// A number for completions, true or false for chats.
    logprobs: Option<Value>,
    return_token_ids: Option<bool>,
    stream: Option<bool>,
    echo: Option<bool>,
    suffix: Option<String>,
    tools: Option<Value>,
    logit_bias: Option<Value>,
    top_logprobs: Option<usize>,
    best_of: Option<usize>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Texts {
    One(String),
    Many(Vec<String>),
    Tokens(Vec<u32>),
    ManyTokens(Vec<Vec<u32>>),
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

#[derive(Debug, Deserialize)]
struct Turn {
    role: String,
    content: Content,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Content {
    Text(String),
    Parts(Vec<Part>),
}

#[derive(Debug, Deserialize)]
struct Part {
    text: Option<String>,
}

/// A request that can be answered.
pub(super) struct Asked {
    chat: bool,
    model: String,
    /// What is sampled, a request a prompt.
    pub requests: Vec<Request>,
    /// How.
    pub sampling: Sampling,
    logprobs: bool,
    token_ids: bool,
}

impl Asked {
    /// Reads the body of the `number`th request to `name`, whose own settings are `usual`.
    ///
    /// # Errors
    /// What cannot be answered as it is asked.
    pub fn read(
        body: &[u8],
        chat: bool,
        (name, policy): (&str, &Policy),
        usual: &Sampling,
        number: u64,
    ) -> Result<Self, Refused> {
        let refused = |what: &str| (400, what.to_owned());
        let body: Body = serde_json::from_slice(body)
            .map_err(|error| (400, format!("the body cannot be read: {error}")))?;
        if let Some(model) = body.model.as_ref().filter(|model| *model != name) {
            return Err((404, format!("there is no model `{model}` here; this is `{name}`")));
        }
        let given = [
            (body.stream == Some(true), "stream"),
            (body.echo == Some(true), "echo"),
            (body.suffix.is_some(), "suffix"),
            (
                body.tools.as_ref().is_some_and(|tools| tools.as_array().is_none_or(|all| !all.is_empty())),
                "tools",
            ),
            (
                body.logit_bias
                    .as_ref()
                    .is_some_and(|bias| bias.as_object().is_none_or(|all| !all.is_empty())),
                "logit_bias",
            ),
            (body.top_logprobs.is_some_and(|top| top > 0), "top_logprobs"),
            (body.best_of.is_some_and(|best| best > body.n.unwrap_or(1)), "best_of"),
        ];
        if let Some((_, key)) = given.iter().find(|(given, _)| *given) {
            return Err(refused(&format!("`{key}` is not served here; leave it out")));
        }
        let prompts = if chat { vec![conversation(&body, policy)?] } else { texts(&body, policy)? };
        let n = body.n.unwrap_or(1);
        if n == 0 || n.saturating_mul(prompts.len()) > MOST || prompts.is_empty() {
            return Err(refused(&format!("1 to {MOST} completions are written for a request")));
        }
        let longest = prompts.iter().map(Vec::len).max().unwrap_or(0);
        if longest >= policy.context() {
            let context = policy.context();
            return Err(refused(&format!(
                "a prompt of {longest} tokens leaves no room in the model's context of {context}"
            )));
        }
        let sampling = sampling(&body, usual, policy.context() - longest);
        sampling.validate().map_err(|error| (400, error.to_string()))?;
        let drawn =
            body.seed.map_or_else(|| seed::derive(&[1, number]), |given| seed::derive(&[0, given as u64]));
        let request = |(at, prompt): (usize, Vec<u32>)| {
            let seeds = (0..n as u64).map(|sample| seed::derive(&[drawn, at as u64, sample])).collect();
            Request { prompt, seeds }
        };
        let logprobs = body.logprobs.as_ref().is_some_and(|asked| !asked.is_null() && *asked != false);
        Ok(Self {
            chat,
            model: name.to_owned(),
            requests: prompts.into_iter().enumerate().map(request).collect(),
            sampling,
            logprobs,
            token_ids: body.return_token_ids == Some(true),
        })
    }

    /// The answer of what was written, a list a prompt.
    pub fn answer(&self, written: &[Vec<Completion>], policy: &Policy, number: u64, created: u64) -> Value {
        let all = self
            .requests
            .iter()
            .zip(written)
            .flat_map(|(request, all)| all.iter().map(move |one| (request, one)));
        let choices: Vec<Value> =
            all.enumerate().map(|(at, (request, one))| self.choice(at, request, one, policy)).collect();
        let prompt: usize = self.requests.iter().map(|request| request.prompt.len()).sum();
        let completion: usize = written.iter().flatten().map(|one| one.tokens.len()).sum();
        let (object, kind) =
            if self.chat { ("chat.completion", "chatcmpl") } else { ("text_completion", "cmpl") };
        json!({
            "id": format!("{kind}-{number}"), "object": object, "created": created, "model": self.model, "choices": choices,
            "usage": { "prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion },
        })
    }

    fn choice(&self, at: usize, request: &Request, written: &Completion, policy: &Policy) -> Value {
        let text = text(written, policy);
        let reason = if written.stop == StopReason::Length { "length" } else { "stop" };
        let mut choice = json!({ "index": at, "finish_reason": reason });
        if self.chat {
            choice["message"] = json!({ "role": "assistant", "content": text });
        } else {
            choice["text"] = text.into();
        }
        choice["logprobs"] = if self.logprobs { self.logprobs(written, policy) } else { Value::Null };
        if self.token_ids {
            choice["token_ids"] = json!(written.tokens);
            choice["prompt_token_ids"] = json!(request.prompt);
        }
        choice
    }

    fn logprobs(&self, written: &Completion, policy: &Policy) -> Value {
        let names: Vec<String> = written.tokens.iter().map(|&id| policy.tokenizer.written(id)).collect();
        if self.chat {
            let one = |(name, logprob): (&String, &f32)| json!({ "token": name, "logprob": logprob, "bytes": name.as_bytes(), "top_logprobs": [] });
            return json!({ "content": names.iter().zip(&written.logprobs).map(one).collect::<Vec<_>>() });
        }
        let offset = |at: usize| policy.tokenizer.decode(&written.tokens[..at]).chars().count();
        let offsets: Vec<usize> = (0..names.len()).map(offset).collect();
        json!({ "tokens": names, "token_logprobs": written.logprobs, "top_logprobs": null, "text_offset": offsets })
    }
}

fn conversation(body: &Body, policy: &Policy) -> Result<Vec<u32>, Refused> {
    let turns = body.messages.as_ref().filter(|turns| !turns.is_empty());
    let turns =
        turns.ok_or((400, "`messages` is missing: a list of turns with `role` and `content`".to_owned()))?;
    let turn = |turn: &Turn| {
        let text = match &turn.content {
            Content::Text(text) => text.clone(),
            Content::Parts(parts) => {
                let texts: Option<Vec<&str>> = parts.iter().map(|part| part.text.as_deref()).collect();
                texts
                    .ok_or((400, "only texts are read: a part of a message has no `text`".to_owned()))?
                    .concat()
            }
        };
        Ok(Message::new(turn.role.clone(), text))
    };
    let turns = turns.iter().map(turn).collect::<Result<Vec<_>, Refused>>()?;
    policy.tokenizer.render(&Prompt::Chat(turns)).map_err(|error| (400, error.to_string()))
}

fn texts(body: &Body, policy: &Policy) -> Result<Vec<Vec<u32>>, Refused> {
    let render = |text: &String| {
        policy.tokenizer.render(&Prompt::Text(text.clone())).map_err(|error| (400, error.to_string()))
    };
    let prompts = match &body.prompt {
        None => return Err((400, "`prompt` is missing".to_owned())),
        Some(Texts::One(text)) => vec![render(text)?],
        Some(Texts::Many(all)) => all.iter().map(render).collect::<Result<_, _>>()?,
        Some(Texts::Tokens(ids)) => vec![ids.clone()],
        Some(Texts::ManyTokens(all)) => all.clone(),
    };
    let known = policy.model.config.vocab_size as u32;
    if prompts.iter().any(|ids| ids.is_empty() || ids.iter().any(|&id| id >= known)) {
        return Err((400, format!("a prompt is empty, or has an id that is none of the model's {known}")));
    }
    Ok(prompts)
}

fn sampling(body: &Body, usual: &Sampling, room: usize) -> Sampling {
    let mut sampling = usual.clone();
    let most = body.max_completion_tokens.or(body.max_tokens).unwrap_or(sampling.max_new_tokens);
    sampling.max_new_tokens = most.min(room);
    sampling.temperature = body.temperature.unwrap_or(sampling.temperature);
    sampling.top_p = body.top_p.unwrap_or(sampling.top_p);
    // Other servers say -1 for all.
    sampling.top_k = body.top_k.map_or(sampling.top_k, |top| usize::try_from(top).unwrap_or(0));
    sampling.min_p = body.min_p.unwrap_or(sampling.min_p);
    sampling.repetition_penalty = body.repetition_penalty.unwrap_or(sampling.repetition_penalty);
    match &body.stop {
        None => {}
        Some(OneOrMany::One(text)) => sampling.stop = vec![text.clone()],
        Some(OneOrMany::Many(all)) => sampling.stop.clone_from(all),
    }
    sampling
}

/// What was written, without the text that ended it.
fn text(written: &Completion, policy: &Policy) -> String {
    let mut text = policy.tokenizer.decode(&written.tokens);
    if let StopReason::StopString(stop) = &written.stop
        && let Some(at) = text.rfind(stop.as_str())
    {
        text.truncate(at);
    }
    text
}
