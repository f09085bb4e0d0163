//! Conversations: their turns, and how a row's list of messages is read as turns.

use super::columns::{Read, kind};
use super::row::Row;
use crate::nearest::{did_you_mean, nearest};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// One turn of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Message {
    /// `system`, `user`, `assistant`, `tool` or `developer`, or what `data.template.roles` lets pass.
    pub role: String,
    /// What is said.
    pub content: String,
    /// What else the turn has (`reasoning_content`, `tool_calls`, `name`, …), for the chat template.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

impl Message {
    /// A turn that has nothing but its content.
    pub fn new(role: impl Into<String>, content: impl Into<String>) -> Self {
        Self { role: role.into(), content: content.into(), more: Map::new() }
    }

    /// What the turn thinks before it speaks, under whichever name the row has it.
    pub fn reasoning(&self) -> Option<&str> {
        let text = |name: &&str| self.more.get(*name).and_then(Value::as_str);
        REASONING.iter().find_map(text).filter(|text| !text.trim().is_empty())
    }

    /// The calls of tools that it makes.
    pub fn tool_calls(&self) -> Option<&Value> {
        self.more.get("tool_calls").filter(|calls| calls.as_array().is_some_and(|calls| !calls.is_empty()))
    }

    /// What it says as one text, the reasoning in tags, as thinking models write it.
    pub fn text(&self) -> String {
        match self.reasoning() {
            Some(thought) => {
                let [open, close] = THINKING;
                format!("{open}\n{}\n{close}\n\n{}", thought.trim(), self.content.trim_start())
            }
            None => self.content.clone(),
        }
    }
}

/// What the policy is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Prompt {
    /// Plain text, tokenised as it stands.
    Text(String),
    /// A conversation, rendered by the model's chat template with the generation prompt; one that ends with the assistant
    /// goes on in that turn.
    Chat(Vec<Message>),
}

impl Prompt {
    /// The text of the last turn, but for one of the assistant's that is to be gone on with.
    pub fn question(&self) -> &str {
        match self {
            Prompt::Text(text) => text,
            Prompt::Chat(turns) => {
                let asked = turns.iter().rev().find(|turn| turn.role != "assistant").or(turns.last());
                asked.map_or("", |turn| turn.content.as_str())
            }
        }
    }

    /// What is asked as plain text: the messages' contents, a line each.
    pub fn text(&self) -> String {
        match self {
            Prompt::Text(text) => text.clone(),
            Prompt::Chat(messages) => {
                messages.iter().map(|message| message.content.as_str()).collect::<Vec<_>>().join("\n")
            }
        }
    }
}

/// How models write that they begin to think, and that they have thought.
pub const THINKING: [&str; 2] = ["<think>", "</think>"];

/// The names under which datasets keep what a turn thinks.
pub const REASONING: [&str; 3] = ["reasoning_content", "thinking", "reasoning"];

/// Roles that chat templates know.
pub const ROLES: [&str; 7] = ["system", "user", "assistant", "tool", "developer", "function", "ipython"];

/// ShareGPT's names of the same.
const SHAREGPT: [(&str, &str); 4] =
    [("human", "user"), ("gpt", "assistant"), ("chatgpt", "assistant"), ("model", "assistant")];

/// What `data.template.roles` says: roles of the rows, and what the chat template calls them.
pub type Roles = BTreeMap<String, String>;

/// The conversation in the column `name`, if the row has one.
pub fn messages(row: &Row, name: &str, roles: &Roles) -> Read<Option<Vec<Message>>> {
    let Some(value) = row.fields.get(name) else { return Ok(None) };
    let turns = value.as_array().ok_or_else(|| {
        format!(
            "`{name}` must be a list of messages, each with a text `role` and a text `content`, not {}",
            kind(value)
        )
    })?;
    if turns.is_empty() {
        return Err(format!("`{name}` is an empty list; a conversation needs a turn"));
    }
    let place = |at: usize, what: String| format!("turn {} of `{name}` {what}", at + 1);
    let turn = |(at, value): (usize, &Value)| turn(value, roles).map_err(|what| place(at, what));
    turns.iter().enumerate().map(turn).collect::<Read<Vec<Message>>>().map(Some)
}

fn turn(value: &Value, roles: &Roles) -> Read<Message> {
    let Value::Object(turn) = value else {
        return Err(format!("must be an object with `role` and `content`, not {}", kind(value)));
    };
    let mut more: Map<String, Value> =
        turn.iter().filter(|(_, value)| !value.is_null()).map(|(k, v)| (k.clone(), v.clone())).collect();
    // ShareGPT's keys stand for the usual ones where these are absent.
    let mut take = |usual: &str, other: &str| more.shift_remove(usual).or_else(|| more.shift_remove(other));
    let (said_role, content) = (take("role", "from"), take("content", "value"));
    let role = match said_role {
        Some(Value::String(said)) => role(said, roles)?,
        Some(other) => return Err(format!("has a `role` that is {}; it must be a text", kind(&other))),
        None => return Err("has no `role`".to_string()),
    };
    let mut message = Message { role, content: String::new(), more };
    match content {
        Some(content) => message.content = said(content, &mut message.more)?,
        None if message.reasoning().is_some() || message.tool_calls().is_some() => {}
        None => return Err("has no `content`".to_string()),
    }
    for name in REASONING {
        if let Some(other) = message.more.get(name).filter(|value| !value.is_string()) {
            return Err(format!("has a `{name}` that is {}; it must be a text", kind(other)));
        }
    }
    arguments(&mut message)?;
    Ok(message)
}

fn role(said: String, roles: &Roles) -> Read<String> {
    if let Some(mapped) = roles.get(&said) {
        return Ok(mapped.clone());
    }
    if ROLES.contains(&said.as_str()) {
        return Ok(said);
    }
    if let Some((_, usual)) = SHAREGPT.iter().find(|(theirs, _)| *theirs == said) {
        return Ok((*usual).to_string());
    }
    let near = nearest(&said, ROLES);
    let usual = near.unwrap_or("user");
    Err(format!(
        "has the role {said:?}, which is none of {}{}; in [data.template], `roles = {{ {said:?} = {usual:?} }}` maps it",
        ROLES.join(", "),
        did_you_mean(near)
    ))
}

/// A content as one text: itself, or its parts of text one after another. What a part thinks becomes the turn's reasoning.
fn said(content: Value, more: &mut Map<String, Value>) -> Read<String> {
    let parts = match content {
        Value::String(text) => return Ok(text),
        Value::Array(parts) => parts,
        other => {
            return Err(format!(
                "has a `content` that is {}; it must be a text or a list of parts",
                kind(&other)
            ));
        }
    };
    let (mut text, mut thought) = (String::new(), String::new());
    for (at, part) in parts.iter().enumerate() {
        let field = |name: &str| part.get(name).and_then(Value::as_str);
        match (part, field("type")) {
            (Value::String(part), _) => text.push_str(part),
            (_, None | Some("text" | "input_text" | "output_text")) if field("text").is_some() => {
                text.push_str(field("text").unwrap_or_default());
            }
            (_, Some("thinking" | "reasoning")) => {
                let said = field("thinking").or_else(|| field("reasoning")).or_else(|| field("text"));
                thought.push_str(said.ok_or_else(|| format!("has a part {} that has no text", at + 1))?);
            }
            (_, Some(other)) => {
                return Err(format!(
                    "has a part {} of type {other:?}; only text can be learned here",
                    at + 1
                ));
            }
            (_, None) => return Err(format!("has a part {} that is no text", at + 1)),
        }
    }
    if !thought.is_empty() && !REASONING.iter().any(|name| more.contains_key(*name)) {
        more.insert(REASONING[0].to_string(), thought.into());
    }
    Ok(text)
}

/// OpenAI writes a call's arguments as a text of JSON; chat templates want what it says.
fn arguments(message: &mut Message) -> Read<()> {
    let Some(calls) = message.more.get_mut("tool_calls") else { return Ok(()) };
    let Value::Array(calls) = calls else {
        return Err(format!("has `tool_calls` that are {}; they must be a list", kind(calls)));
    };
    for call in calls {
        let function = if call.get("function").is_some() { &mut call["function"] } else { call };
        if let Some(Value::String(text)) = function.get("arguments")
            && let Ok(read @ Value::Object(_)) = serde_json::from_str(text)
        {
            function["arguments"] = read;
        }
    }
    Ok(())
}
