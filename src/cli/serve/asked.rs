//! What OpenAI's completions and chat completions ask.

use super::body::Body;
use super::reader::Reader;
use super::refused::Refused;
use crate::data::{Message, Prompt};
use crate::engine::{Job, Request, Sampling};
use crate::error::Error;
use crate::seed;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::sync::Arc;

/// Completions of one request, at most.
const MOST: usize = 1024;
/// The likeliest tokens that are told in a token's place, at most.
const LIKELIEST: usize = 20;
/// Texts that end a completion, at most.
const STOPS: usize = 16;

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
    content: Option<Content>,
    #[serde(flatten)]
    more: Map<String, Value>,
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

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct StreamOptions {
    #[serde(default)]
    include_usage: bool,
    /// Other servers' way against those who measure the length of what is streamed.
    #[serde(default, rename = "include_obfuscation")]
    _include_obfuscation: bool,
}

/// A prompt.
pub(super) struct Text {
    /// Its tokens.
    pub ids: Vec<u32>,
    /// As it was given, where it was not given as tokens.
    pub given: Option<String>,
}

/// A request that can be answered.
pub(super) struct Asked {
    /// Whether it is a conversation.
    pub chat: bool,
    /// What it calls the model.
    pub model: String,
    pub prompts: Vec<Text>,
    /// Completions of each prompt.
    pub n: usize,
    /// How they are sampled.
    pub sampling: Arc<Sampling>,
    /// Tokens of a completion, at most; 0 where only the prompt is asked about.
    pub limit: usize,
    /// Whether log-probabilities are told, and of how many of the likeliest tokens beside.
    pub logprobs: Option<usize>,
    pub token_ids: bool,
    /// Whether the prompt is told too.
    pub echo: bool,
    /// Whether the answer comes in pieces, and whether their last one tells the tokens.
    pub stream: bool,
    pub usage: bool,
    drawn: u64,
}

impl Asked {
    /// Reads the body of the `number`th request.
    ///
    /// # Errors
    /// What cannot be answered as it is asked.
    pub fn read(body: &[u8], chat: bool, reader: &Reader, number: u64) -> Result<Self, Refused> {
        let Reader { names, vocabulary, context, usual, .. } = reader;
        let mut body = Body::read(body)?;
        let model: Option<String> = body.take("model", "a name")?;
        if let Some(model) = model.filter(|model| !names.contains(model)) {
            let message = format!("there is no model `{model}` here; this is `{}`", names[0]);
            return Err(Refused {
                status: 404,
                code: Some("model_not_found"),
                ..Refused::key("model", message)
            });
        }
        let prompts = if chat { vec![conversation(&mut body, reader)?] } else { texts(&mut body, reader)? };
        let key = if chat { "messages" } else { "prompt" };
        let fits =
            |text: &Text| !text.ids.is_empty() && text.ids.iter().all(|&id| (id as usize) < *vocabulary);
        if prompts.is_empty() || !prompts.iter().all(fits) {
            let what = format!("a prompt is empty, or has an id that is none of the model's {vocabulary}");
            return Err(Refused::key(key, what));
        }
        let n = body.take("n", "a number of completions")?.unwrap_or(1);
        if n == 0 || prompts.len().saturating_mul(n) > MOST {
            return Err(Refused::key("n", format!("1 to {MOST} completions are written for a request")));
        }
        if body.take("best_of", "a number of completions")?.is_some_and(|best: usize| best > n) {
            return Err(Refused::key("best_of", "`best_of` beyond `n` is not served here; leave it out"));
        }
        if let Some(long) = prompts.iter().map(|text| text.ids.len()).find(|length| length >= context) {
            return Err(no_room(key, &format!("{long} tokens"), *context));
        }
        let echo = !chat && body.flag("echo")?;
        let (sampling, limit) = sampling(&mut body, usual, echo, *context)?;
        let stream = body.flag("stream")?;
        let options: Option<StreamOptions> = body.take("stream_options", "an object with `include_usage`")?;
        if options.is_some() && !stream {
            return Err(Refused::key("stream_options", "`stream_options` goes with `stream`"));
        }
        let drawn = body.take::<i64>("seed", "a whole number")?;
        let asked = Self {
            chat,
            model: names[0].clone(),
            prompts,
            n,
            sampling: Arc::new(sampling),
            limit,
            logprobs: logprobs(&mut body, chat)?,
            token_ids: body.flag("return_token_ids")?,
            echo,
            stream,
            usage: options.is_some_and(|options| options.include_usage),
            drawn: drawn.map_or_else(|| seed::derive(&[1, number]), |given| seed::derive(&[0, given as u64])),
        };
        body.is_empty().map(|()| asked)
    }

    /// What is sampled of the prompt in place `at`.
    pub fn job(&self, at: usize) -> Job {
        let seeds = (0..self.n as u64).map(|sample| seed::derive(&[self.drawn, at as u64, sample]));
        let request = Request { prompt: self.prompts[at].ids.clone(), seeds: seeds.collect() };
        Job { request, sampling: self.sampling.clone(), top: self.logprobs.unwrap_or(0) }
    }

    /// Whether the prompts' own tokens are asked about.
    pub fn tells_prompts(&self) -> bool {
        self.echo && self.logprobs.is_some()
    }

    /// Whether all that is to be written is the one token that is likeliest behind the prompt, which whoever has read the prompt knows.
    pub fn is_read_off(&self) -> bool {
        let Sampling { temperature, repetition_penalty, .. } = *self.sampling;
        self.tells_prompts() && self.limit == 1 && temperature == 0.0 && repetition_penalty == 1.0
    }
}

fn no_room(key: &str, length: &str, context: usize) -> Refused {
    let what = format!("a prompt of {length} leaves no room in the model's context of {context}");
    Refused { code: Some("context_length_exceeded"), ..Refused::key(key, what) }
}

/// Refuses so many bytes of text as no division into tokens makes fit: to tokenise them takes hundreds of times their memory.
fn may_fit(key: &str, bytes: usize, reader: &Reader) -> Result<(), Refused> {
    match bytes > reader.longest {
        true => Err(no_room(key, &format!("{bytes} bytes"), reader.context)),
        false => Ok(()),
    }
}

fn conversation(body: &mut Body, reader: &Reader) -> Result<Text, Refused> {
    let wrong = |what: String| Refused::key("messages", what);
    let turns: Option<Vec<Turn>> = body.take("messages", "a list of turns with `role` and `content`")?;
    let turns = turns.filter(|turns| !turns.is_empty());
    let turns =
        turns.ok_or(wrong("`messages` is missing: a list of turns with `role` and `content`".into()))?;
    let turn = |turn: Turn| {
        let text = match turn.content {
            Some(Content::Text(text)) => text,
            Some(Content::Parts(parts)) => {
                let texts: Option<String> = parts.into_iter().map(|part| part.text).collect();
                texts.ok_or(wrong("only texts are read: a part of a message has no `text`".into()))?
            }
            None => return Err(wrong(format!("the turn of `{}` has no `content`", turn.role))),
        };
        Ok(Message { more: turn.more, ..Message::new(turn.role, text) })
    };
    let turns = turns.into_iter().map(turn).collect::<Result<Vec<_>, Refused>>()?;
    may_fit("messages", turns.iter().map(|turn| turn.content.len()).sum(), reader)?;
    let variables: Option<Map<String, Value>> =
        body.take("chat_template_kwargs", "an object of what the chat template asks for")?;
    if !reader.tokenizer.has_chat() {
        return Err(wrong(
            "this model has no chat template, so it has no conversations; use /v1/completions".into(),
        ));
    }
    let refused = |error: Error| wrong(error.to_string());
    let written =
        reader.tokenizer.conversation(&turns, &variables.unwrap_or_default(), true).map_err(refused)?;
    // A template writes roles and variables too, as often as it likes.
    may_fit("messages", written.text.len(), reader)?;
    let ids = reader.tokenizer.ids_of(&written).map_err(refused)?;
    Ok(Text { ids, given: None })
}

fn texts(body: &mut Body, reader: &Reader) -> Result<Vec<Text>, Refused> {
    let wrong = |what: String| Refused::key("prompt", what);
    let text = |given: String| {
        may_fit("prompt", given.len(), reader)?;
        let rendered = reader.tokenizer.render(&Prompt::Text(given.clone()));
        rendered.map(|ids| Text { ids, given: Some(given) }).map_err(|error| wrong(error.to_string()))
    };
    let tokens = |ids: Vec<u32>| Text { ids, given: None };
    match body.take("prompt", "a text, a list of texts, a list of token ids, or a list of such lists")? {
        None => Err(wrong("`prompt` is missing".into())),
        Some(Texts::One(given)) => Ok(vec![text(given)?]),
        Some(Texts::Many(all)) if all.len() > MOST => {
            Err(wrong(format!("{} prompts are more than the {MOST} completions of a request", all.len())))
        }
        Some(Texts::Many(all)) => all.into_iter().map(text).collect(),
        Some(Texts::Tokens(ids)) => Ok(vec![tokens(ids)]),
        Some(Texts::ManyTokens(all)) => Ok(all.into_iter().map(tokens).collect()),
    }
}

fn logprobs(body: &mut Body, chat: bool) -> Result<Option<usize>, Refused> {
    let count = format!("a number from 0 to {LIKELIEST}");
    let most = |key: &str, top: usize| match top > LIKELIEST {
        true => Err(Refused::key(key, format!("`{key}` has to be {count}"))),
        false => Ok(top),
    };
    if !chat {
        let top = body.take("logprobs", &count)?;
        return top.map(|top| most("logprobs", top)).transpose();
    }
    let asked = body.flag("logprobs")?;
    match body.take("top_logprobs", &count)? {
        Some(top) if top > 0 && !asked => {
            Err(Refused::key("top_logprobs", "`top_logprobs` goes with `logprobs`: true"))
        }
        top => Ok(asked.then_some(most("top_logprobs", top.unwrap_or(0))?)),
    }
}

/// How completions are sampled, and how many tokens they have at most.
fn sampling(
    body: &mut Body,
    usual: &Sampling,
    echo: bool,
    context: usize,
) -> Result<(Sampling, usize), Refused> {
    let mut sampling = usual.clone();
    let tokens = "a number of tokens";
    let older = body.take("max_tokens", tokens)?;
    let limit = body.take("max_completion_tokens", tokens)?.or(older).unwrap_or(sampling.max_new_tokens);
    if limit == 0 && !echo {
        return Err(Refused::key("max_tokens", "`max_tokens` has to be at least 1, or 0 with `echo`"));
    }
    sampling.max_new_tokens = limit.clamp(1, context);
    sampling.temperature = body.take("temperature", "a number")?.unwrap_or(sampling.temperature);
    sampling.top_p = body.take("top_p", "a number")?.unwrap_or(sampling.top_p);
    // Other servers say -1 for all.
    let top_k: Option<i64> = body.take("top_k", "a whole number")?;
    sampling.top_k = top_k.map_or(sampling.top_k, |top| usize::try_from(top).unwrap_or(0));
    sampling.min_p = body.take("min_p", "a number")?.unwrap_or(sampling.min_p);
    let penalty = body.take("repetition_penalty", "a number")?;
    sampling.repetition_penalty = penalty.unwrap_or(sampling.repetition_penalty);
    match body.take("stop", "a text or a list of texts")? {
        None => {}
        Some(OneOrMany::One(text)) => sampling.stop = vec![text],
        Some(OneOrMany::Many(all)) => sampling.stop = all,
    }
    if sampling.stop.len() > STOPS {
        return Err(Refused::key("stop", format!("`stop` has at most {STOPS} texts")));
    }
    match sampling.check().first() {
        Some(misfit) => Err(Refused::key(&misfit.key, format!("`{}`: {}", misfit.key, misfit.sentence()))),
        None => Ok((sampling, limit)),
    }
}
