//! What OpenAI's completions and chat completions answer, at once or in pieces.

use super::asked::Asked;
use super::pieces::Pieces;
use crate::data::Tokenizer;
use crate::engine::{StopReason, Token};
use crate::policy::Told;
use serde_json::{Map, Value, json};

/// A completion, as far as it has come.
#[derive(Default)]
pub(super) struct Choice {
    /// The place of its prompt.
    pub prompt: usize,
    pieces: Pieces,
    tokens: Vec<Written>,
    /// Bytes of its text and tokens that were told.
    told: (usize, usize),
    stop: Option<StopReason>,
}

/// A token and where its text begins, in characters.
#[derive(Clone)]
struct Written {
    token: Token,
    /// Whether it has a log-probability: the first of a prompt has none.
    behind: bool,
    at: usize,
}

impl Choice {
    pub fn of(prompt: usize) -> Self {
        Self { prompt, ..Self::default() }
    }

    /// Takes the next token.
    pub fn push(&mut self, token: Token, tokenizer: &Tokenizer) {
        let at = self.pieces.characters();
        self.pieces.push(token.id, tokenizer);
        self.tokens.push(Written { token, behind: true, at });
    }

    /// Nothing more is written.
    pub fn end(&mut self, stop: StopReason) {
        self.stop = Some(stop);
    }

    /// Tokens that were written.
    pub fn written(&self) -> usize {
        self.tokens.len()
    }

    /// The whole text, without the one that ended it.
    fn text(&self, tokenizer: &Tokenizer) -> String {
        let mut text = tokenizer.decode(self.pieces.ids());
        if let Some(StopReason::StopString(stop)) = &self.stop
            && let Some(at) = text.find(stop.as_str())
        {
            text.truncate(at);
        }
        text
    }

    fn finish_reason(&self) -> &'static str {
        if matches!(self.stop, Some(StopReason::Length) | None) { "length" } else { "stop" }
    }

    /// What is new of the text, and the number of the first of its tokens; none where nothing is, unless it has ended.
    fn news(&mut self, asked: &Asked, tokenizer: &Tokenizer) -> Option<(String, usize)> {
        let (told, first) = self.told;
        let behind = |text: &str| text.get(told..).unwrap_or_default().to_owned();
        let new = match &self.stop {
            Some(_) => behind(&self.text(tokenizer)),
            None => behind(self.pieces.sure(&asked.sampling.stop)),
        };
        if new.is_empty() && self.stop.is_none() {
            return None;
        }
        self.told = (told + new.len(), self.tokens.len());
        Some((new, first))
    }
}

/// What an answer is called, and of what.
pub(super) struct Answer<'a> {
    pub asked: &'a Asked,
    pub tokenizer: &'a Tokenizer,
    pub number: u64,
    pub created: u64,
    /// What was found of the prompts, where they are told.
    pub told: &'a [Option<Told>],
}

impl Answer<'_> {
    /// All at once.
    pub fn whole(&self, choices: &[Choice]) -> Value {
        let of = |(at, choice): (usize, &Choice)| self.choice(at, choice);
        let mut answer = self.frame(choices.iter().enumerate().map(of).collect(), false);
        answer["usage"] = self.usage(choices);
        answer
    }

    /// The events that begin an answer in pieces: who speaks, or the prompts that are told again.
    pub fn first(&self, choices: &[Choice]) -> Vec<Value> {
        let event = |(at, choice): (usize, &Choice)| {
            if self.asked.chat {
                let said = json!({ "role": "assistant", "content": "" });
                let mut event =
                    json!({ "index": at, "delta": said, "logprobs": null, "finish_reason": null });
                self.ids(&mut event, choice.prompt, &[], true);
                return Some(event);
            }
            let (text, written) = self.echo(choice.prompt)?;
            let all: Vec<&Written> = written.iter().collect();
            let mut event = json!({ "index": at, "text": text, "logprobs": self.logprobs(&all, 0), "finish_reason": null });
            self.ids(&mut event, choice.prompt, &[], true);
            Some(event)
        };
        choices.iter().enumerate().filter_map(event).map(|event| self.frame(vec![event], true)).collect()
    }

    /// The next event of a completion, where there is something new of it.
    pub fn next(&self, at: usize, choice: &mut Choice) -> Option<Value> {
        let (text, first) = choice.news(self.asked, self.tokenizer)?;
        let echo = self.asked.logprobs.and_then(|_| self.echoed(choice.prompt));
        let offset = echo.map_or(0, |text| text.chars().count());
        let tokens: Vec<&Written> = choice.tokens[first..].iter().collect();
        let ended = choice.stop.is_some();
        let reason = if ended { json!(choice.finish_reason()) } else { Value::Null };
        let mut event =
            json!({ "index": at, "logprobs": self.logprobs(&tokens, offset), "finish_reason": reason });
        if self.asked.chat {
            event["delta"] = if text.is_empty() { json!({}) } else { json!({ "content": text }) };
        } else {
            event["text"] = text.into();
        }
        let begins = first == 0 && !self.asked.chat && !self.asked.echo;
        self.ids(&mut event, choice.prompt, &tokens, begins);
        Some(self.frame(vec![event], true))
    }

    /// The event that tells how many tokens there were.
    pub fn last(&self, choices: &[Choice]) -> Value {
        let mut event = self.frame(vec![], true);
        event["usage"] = self.usage(choices);
        event
    }

    fn frame(&self, choices: Vec<Value>, piece: bool) -> Value {
        let (object, kind) = match (self.asked.chat, piece) {
            (true, true) => ("chat.completion.chunk", "chatcmpl"),
            (true, false) => ("chat.completion", "chatcmpl"),
            (false, _) => ("text_completion", "cmpl"),
        };
        let mut frame = json!({
            "id": format!("{kind}-{}", self.number), "object": object, "created": self.created, "model": self.asked.model,
            "choices": choices,
        });
        if piece && self.asked.usage {
            frame["usage"] = Value::Null;
        }
        frame
    }

    fn usage(&self, choices: &[Choice]) -> Value {
        let prompt: usize = self.asked.prompts.iter().map(|text| text.ids.len()).sum();
        let completion: usize = choices.iter().map(Choice::written).sum();
        json!({ "prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion })
    }

    fn choice(&self, at: usize, choice: &Choice) -> Value {
        let (echo, before) = self.echo(choice.prompt).unwrap_or_default();
        let text = choice.text(self.tokenizer);
        let mut answer = json!({ "index": at, "finish_reason": choice.finish_reason() });
        let tokens: Vec<&Written> = choice.tokens.iter().collect();
        if self.asked.chat {
            answer["message"] = json!({ "role": "assistant", "content": text, "refusal": null });
            answer["logprobs"] = self.logprobs(&tokens, 0);
        } else {
            let offset = echo.chars().count();
            let moved = |written: &&Written| Written { at: written.at + offset, ..(*written).clone() };
            let all: Vec<Written> = before.into_iter().chain(tokens.iter().map(moved)).collect();
            answer["text"] = format!("{echo}{text}").into();
            answer["logprobs"] = self.logprobs(&all.iter().collect::<Vec<_>>(), 0);
        }
        self.ids(&mut answer, choice.prompt, &tokens, true);
        answer
    }

    /// The text of a prompt that is told again.
    fn echoed(&self, prompt: usize) -> Option<String> {
        let text = &self.asked.prompts[prompt];
        let decoded = || self.tokenizer.decode(&text.ids);
        self.asked.echo.then(|| text.given.clone().unwrap_or_else(decoded))
    }

    /// The same, and its tokens where they are told.
    fn echo(&self, prompt: usize) -> Option<(String, Vec<Written>)> {
        let given = self.echoed(prompt)?;
        let Some(told) = self.told.get(prompt).and_then(Option::as_ref) else { return Some((given, vec![])) };
        let first = Token { id: self.asked.prompts[prompt].ids[0], ..Token::default() };
        let mut pieces = Pieces::default();
        let written = |(number, token): (usize, &Token)| {
            let at = pieces.characters();
            pieces.push(token.id, self.tokenizer);
            Written { token: token.clone(), behind: number > 0, at }
        };
        let all = std::iter::once(&first).chain(&told.tokens).enumerate().map(written).collect();
        Some((given, all))
    }

    /// Token ids, where they are asked for; those of the prompt where a completion `begins`.
    fn ids(&self, answer: &mut Value, prompt: usize, written: &[&Written], begins: bool) {
        if !self.asked.token_ids {
            return;
        }
        answer["token_ids"] = written.iter().map(|written| written.token.id).collect();
        if begins {
            answer["prompt_token_ids"] = json!(self.asked.prompts[prompt].ids);
        }
    }

    /// Of tokens whose text begins `offset` characters further on than they say.
    fn logprobs(&self, written: &[&Written], offset: usize) -> Value {
        let Some(top) = self.asked.logprobs else { return Value::Null };
        let name = |id: u32| self.tokenizer.written(id);
        if self.asked.chat {
            let one = |id: u32, logprob: f32| {
                let name = name(id);
                // The bytes of a part of a character are not known.
                let bytes = (!name.contains(char::REPLACEMENT_CHARACTER)).then(|| name.as_bytes().to_vec());
                json!({ "token": name, "logprob": logprob, "bytes": bytes })
            };
            let entry = |written: &&Written| {
                let Token { id, logprob, top } = &written.token;
                let mut entry = one(*id, *logprob);
                entry["top_logprobs"] = top.iter().map(|(id, logprob)| one(*id, *logprob)).collect();
                entry
            };
            return json!({ "content": written.iter().map(entry).collect::<Vec<_>>(), "refusal": null });
        }
        let names: Vec<String> = written.iter().map(|written| name(written.token.id)).collect();
        let logprobs: Vec<Option<f32>> =
            written.iter().map(|written| written.behind.then_some(written.token.logprob)).collect();
        let likeliest: Vec<Value> = written.iter().map(|written| self.likeliest(written)).collect();
        let offsets: Vec<usize> = written.iter().map(|written| written.at + offset).collect();
        json!({
            "tokens": names, "token_logprobs": logprobs, "text_offset": offsets,
            "top_logprobs": if top == 0 { Value::Null } else { likeliest.into() },
        })
    }

    /// The likeliest tokens in one's place by name, and the one itself.
    fn likeliest(&self, written: &Written) -> Value {
        if !written.behind {
            return Value::Null;
        }
        let own = (written.token.id, written.token.logprob);
        let mut all = Map::new();
        for (id, logprob) in written.token.top.iter().copied().chain([own]) {
            let text = self.tokenizer.written(id);
            if all.get(&text).is_some_and(|there| *there != json!(logprob)) {
                // Another token that reads the same, such as a part of a character.
                all.insert(self.tokenizer.name_of(id), json!(logprob));
            } else {
                all.insert(text, json!(logprob));
            }
        }
        Value::Object(all)
    }
}
