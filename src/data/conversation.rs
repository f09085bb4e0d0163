//! Conversations: their turns, and how a row's list of messages is read as turns.

use super::beside::unseen;
use super::columns::{Read, kind};
use super::json;
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

    /// Whether it is learned where it is the assistant's: its `weight` is not 0.
    pub fn is_learned(&self) -> bool {
        self.more.get(WEIGHT).and_then(Value::as_f64) != Some(0.0)
    }

    /// Whether what stands in the turn under `name` is read here, whatever the chat template does.
    fn reads(&self, name: &str) -> bool {
        let thought = || self.more.get(name).and_then(Value::as_str).map(str::trim);
        let same = || thought().is_some_and(|text| self.reasoning().map(str::trim) == Some(text));
        self.role == "assistant" && is_assistants(name) && (!THOUGHTS.contains(&name) || same())
    }

    /// The keys under which it says something that is not read here.
    pub(super) fn unread(&self) -> impl Iterator<Item = &str> {
        let says = |value: &Value| match value {
            Value::Null => false,
            Value::String(text) => !text.trim().is_empty(),
            Value::Array(items) => !items.is_empty(),
            Value::Object(items) => !items.is_empty(),
            _ => true,
        };
        let keys = self.more.iter().filter(move |(name, value)| says(value) && !self.reads(name));
        keys.map(|(name, _)| name.as_str())
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
    /// Plain text, tokenised as it stands; names of special tokens that its row says are text.
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

/// Further names of the same, which are read of the assistant's turns that have none of [`REASONING`].
const THOUGHTS: [&str; 5] = ["thoughts", "thought", "rationale", "reasoning_text", "thinking_content"];

/// What OpenAI's rows call whether an assistant's turn is learned: 1 or 0.
const WEIGHT: &str = "weight";

/// Whether only a turn of the assistant's says something under this name.
pub(super) fn is_assistants(name: &str) -> bool {
    [WEIGHT, "tool_calls"].contains(&name) || REASONING.contains(&name) || THOUGHTS.contains(&name)
}

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
    if let Some(name) = unseen(turn) {
        return Err(format!("has `{name}`; only text can be learned here"));
    }
    // ShareGPT's keys stand for the usual ones where these are absent.
    let mut take = |usual: &str, other: &str| more.shift_remove(usual).or_else(|| more.shift_remove(other));
    let (said_role, content) = (take("role", "from"), take("content", "value"));
    let role = match said_role {
        Some(Value::String(said)) => role(said, roles)?,
        Some(other) => return Err(format!("has a `role` that is {}; it must be a text", kind(&other))),
        None => return Err("has no `role`".to_string()),
    };
    let mut message = Message { role, content: String::new(), more };
    if message.role == "assistant" {
        assistants(&mut message.more)?;
    }
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

/// What else a turn of the assistant has: what it thinks under the usual name, and a weight that is one.
fn assistants(more: &mut Map<String, Value>) -> Read<()> {
    if !REASONING.iter().any(|name| more.contains_key(*name)) {
        let text =
            |name: &&str| more.get(*name).and_then(Value::as_str).filter(|text| !text.trim().is_empty());
        if let Some(thought) = THOUGHTS.iter().find_map(text).map(str::to_string) {
            more.insert(REASONING[0].to_string(), thought.into());
        }
    }
    match more.get(WEIGHT) {
        None => Ok(()),
        Some(weight) if [Some(0.0), Some(1.0)].contains(&weight.as_f64()) => Ok(()),
        Some(other) => Err(format!(
            "has the `{WEIGHT}` {other}; a turn is learned (1) or it is not (0), so write one of these, or leave it out"
        )),
    }
}

/// The conversation up to the last turn of the assistant's that is learned: what follows it changes nothing of that.
pub(super) fn up_to_learned(mut turns: Vec<Message>) -> Read<Vec<Message>> {
    let is_reply = |turn: &Message| turn.role == "assistant";
    if !turns.last().is_some_and(|last| is_reply(last) && !last.is_learned()) {
        return Ok(turns);
    }
    match turns.iter().rposition(|turn| is_reply(turn) && turn.is_learned()) {
        Some(last) => turns.truncate(last + 1),
        None => {
            return Err(format!(
                "all of the assistant's turns in `messages` have the `{WEIGHT}` 0, and nothing is left to learn; leave the row out"
            ));
        }
    }
    Ok(turns)
}

/// Words in other programs' names of the role that answers.
const ANSWERS: [&str; 9] = ["ai", "bot", "chatbot", "gpt", "llm", "agent", "claude", "answer", "response"];

/// The role that one of another name is most likely to be.
fn likely(said: &str) -> &'static str {
    let lower = said.to_lowercase();
    let mut words = lower.split(|c: char| !c.is_alphabetic());
    match nearest(said, ROLES) {
        Some(near) => near,
        None if words.any(|word| ANSWERS.contains(&word)) => "assistant",
        None => "user",
    }
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
    let (near, usual) = (nearest(&said, ROLES), likely(&said));
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
        let wrong = |why| format!("has a call of a tool in whose `arguments` {why}; take one of the two out");
        if let Some(Value::String(text)) = function.get("arguments")
            && text.trim_start().starts_with('{')
            && let Some(read) = json::said(text).map_err(wrong)?
        {
            function["arguments"] = read;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(said: Value) -> Read<Message> {
        turn(&said, &Roles::new())
    }

    #[test]
    fn a_thought_is_read_under_other_names() {
        for name in ["thoughts", "rationale", "reasoning_text", "reasoning", "thinking"] {
            let turn = read(json!({"role": "assistant", name: "two and three", "content": "5"})).unwrap();
            assert_eq!(turn.reasoning(), Some("two and three"), "{name}");
            assert_eq!(turn.text(), "<think>\ntwo and three\n</think>\n\n5");
            assert!(turn.reads(name));
        }
        let both = json!({"role": "assistant", "reasoning": "so", "rationale": "else", "content": "5"});
        let both = read(both).unwrap();
        assert_eq!(
            (both.reasoning(), both.reads("rationale"), both.reads("mood")),
            (Some("so"), false, false)
        );
        let user = read(json!({"role": "user", "rationale": "why", "content": "2+3?"})).unwrap();
        assert_eq!(user.reasoning(), None);
    }

    #[test]
    fn a_call_says_what_the_json_of_its_arguments_does() {
        let call = |arguments: &str| {
            read(json!({"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": arguments}}]}))
                .map(|turn| turn.tool_calls().unwrap()[0]["function"]["arguments"].clone())
        };
        assert_eq!(call(r#"{"a": 1, "b": [2]}"#), Ok(json!({"a": 1, "b": [2]})));
        assert_eq!(call(r#"{"a": 1, "a": 1.0}"#), Ok(json!({"a": 1})));
        for text in ["[1]", "{a}", ""] {
            assert_eq!(call(text), Ok(json!(text)));
        }
        assert_eq!(
            call(r#"{"a": 1, "a": 2}"#).unwrap_err(),
            "has a call of a tool in whose `arguments` the key \"a\" stands twice in one object; take one of the two out"
        );
    }

    #[test]
    fn a_weight_is_one_or_none() {
        let weight = |weight: Value| read(json!({"role": "assistant", "content": "5", "weight": weight}));
        let learned =
            [json!(0), json!(0.0), json!(1), json!(null)].map(|one| weight(one).unwrap().is_learned());
        assert_eq!(learned, [false, false, true, true]);
        for other in [json!(0.5), json!(2), json!(true), json!("1")] {
            assert!(weight(other).unwrap_err().contains("a turn is learned (1) or it is not (0)"));
        }
    }

    #[test]
    fn a_conversation_ends_with_what_is_learned() {
        let turns = |weights: &[u8]| -> Vec<Message> {
            let pair = |weight: &u8| {
                let said = json!({"role": "assistant", "content": "a", "weight": weight});
                [Message::new("user", "q"), read(said).unwrap()]
            };
            weights.iter().flat_map(pair).collect()
        };
        let left = |weights: &[u8]| up_to_learned(turns(weights)).map(|turns| turns.len());
        assert_eq!([left(&[1, 0, 0]), left(&[0, 1]), left(&[1, 0, 1])], [Ok(2), Ok(4), Ok(6)]);
        assert!(left(&[0, 0]).unwrap_err().contains("nothing is left to learn"));
    }

    #[test]
    fn the_likely_role_is_advised() {
        let advice = |role: &str| read(json!({"role": role, "content": "x"})).unwrap_err();
        for role in ["ai", "AI", "chat_bot", "gpt-4"] {
            assert!(
                advice(role).contains(&format!("`roles = {{ {role:?} = \"assistant\" }}` maps it")),
                "{}",
                advice(role)
            );
        }
        assert!(advice("narrator").contains("\"narrator\" = \"user\""));
    }
}
