//! A row's columns, typed: TRL's names (`prompt`, `completion`, `messages`, `text`, `chosen`, `rejected`, `label`) and
//! ours (`id`, `question`, `rationale`, `answer`, `choices`, `completions`, `weight`, `margin`).

use super::preference::{self, Preference};
use super::row::Row;
use super::{Message, Prompt};
use regex::Regex;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::LazyLock;

/// What the known columns of a row say. Absent and null columns are `None` or empty.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Columns {
    /// `id`, or `stem:line`.
    pub id: String,
    /// `question`; never blank.
    pub question: Option<String>,
    /// `prompt`, or `messages` up to its last assistant turn, or the empty text where the row has only `text`.
    pub prompt: Option<Prompt>,
    /// The assistant's turns before the last, where the prompt is that of `messages`.
    pub learned_turns: Vec<usize>,
    /// `completion`, the last assistant turn of `messages`, or `text`.
    pub completion: Option<String>,
    /// `completions`.
    pub completions: Vec<String>,
    /// `rationale`, or what stands before GSM8K's `#### ` in an `answer` that has one, calculator annotations left out.
    pub rationale: Option<String>,
    /// `answer`; a choice's label becomes its letter.
    pub answer: Option<String>,
    /// The texts of `choices`.
    pub choices: Vec<String>,
    /// `chosen` and `rejected`.
    pub preference: Option<Preference>,
    /// `label`, where it is true or false.
    pub label: Option<bool>,
}

/// GSM8K's calculator annotations, `<<48/2=24>>`, which are not part of what a person would write.
static CALCULATOR: LazyLock<Regex> =
    LazyLock::new(|| Regex::new("<<[^<>]*>>").expect("the pattern is constant"));

/// A value, or what is wrong in the user's words.
pub type Read<T> = Result<T, String>;

/// Reads one row after another and sees to it that no id occurs twice.
#[derive(Default)]
pub struct Reader<'a> {
    first: HashMap<String, &'a Row>,
}

impl<'a> Reader<'a> {
    /// The columns of the next row, or what is wrong with them.
    pub fn read(&mut self, row: &'a Row) -> Read<Columns> {
        let columns = read(row)?;
        match self.first.insert(columns.id.clone(), row) {
            None => Ok(columns),
            Some(other) => {
                let (id, place) = (&columns.id, other.place());
                Err(format!(
                    "`id` {id:?} is already that of {place}; give every row its own, or leave `id` out"
                ))
            }
        }
    }
}

/// The columns of one row, or what is wrong with them.
pub fn read(row: &Row) -> Read<Columns> {
    let mut columns = Columns {
        id: id(row)?,
        question: not_blank("question", text(row, "question")?)?,
        prompt: prompt(row)?,
        completion: completion(row)?,
        completions: texts(row, "completions")?.unwrap_or_default(),
        rationale: rationale(row)?,
        label: row.fields.get("label").and_then(Value::as_bool),
        ..Columns::default()
    };
    preference::read(row, &mut columns)?;
    if let Some(messages) = messages(row, "messages")? {
        let (prompt, completion) = split_conversation(messages)?;
        if columns.prompt.is_none() && columns.completion.is_none() && completion.is_some() {
            let earlier = turns(&prompt).iter().enumerate().filter(|(_, turn)| turn.role == "assistant");
            columns.learned_turns = earlier.map(|(at, _)| at).collect();
        }
        columns.prompt = columns.prompt.or(Some(prompt));
        columns.completion = columns.completion.or(completion);
    }
    if let (None, None, Some(text)) =
        (&columns.prompt, &columns.question, not_blank("text", text(row, "text")?)?)
    {
        columns.prompt = Some(Prompt::Text(String::new()));
        columns.completion = columns.completion.or(Some(text));
    }
    answer_and_choices(row, &mut columns)?;
    Ok(columns)
}

fn id(row: &Row) -> Read<String> {
    match row.fields.get("id") {
        None => Ok(format!("{}:{}", row.stem, row.line)),
        Some(Value::String(id)) if !id.trim().is_empty() => Ok(id.clone()),
        Some(Value::Number(id)) => Ok(id.to_string()),
        Some(other) => Err(format!("`id` must be a string or a number, not {}", kind(other))),
    }
}

fn prompt(row: &Row) -> Read<Option<Prompt>> {
    match row.fields.get("prompt") {
        None => Ok(None),
        Some(Value::String(_)) => Ok(not_blank("prompt", text(row, "prompt")?)?.map(Prompt::Text)),
        Some(_) => Ok(messages(row, "prompt")?.map(Prompt::Chat)),
    }
}

fn completion(row: &Row) -> Read<Option<String>> {
    if !matches!(row.fields.get("completion"), Some(Value::Array(_))) {
        return text(row, "completion");
    }
    match messages(row, "completion")?.as_deref() {
        Some([only]) if only.role == "assistant" => Ok(Some(only.content.clone())),
        _ => Err("`completion` must be a text or exactly one message of role assistant".to_string()),
    }
}

fn turns(prompt: &Prompt) -> &[Message] {
    match prompt {
        Prompt::Chat(turns) => turns,
        Prompt::Text(_) => &[],
    }
}

/// A conversation's last assistant turn is the completion, everything before it the prompt.
fn split_conversation(mut messages: Vec<Message>) -> Read<(Prompt, Option<String>)> {
    let completion = messages.pop_if(|last| last.role == "assistant").map(|last| last.content);
    if messages.is_empty() {
        return Err("`messages` has no turn before the assistant's; a prompt needs one".to_string());
    }
    Ok((Prompt::Chat(messages), completion))
}

pub(super) fn messages(row: &Row, name: &str) -> Read<Option<Vec<Message>>> {
    let Some(value) = row.fields.get(name) else { return Ok(None) };
    let wrong = || {
        format!(
            "`{name}` must be a list of messages, each with a text `role` and a text `content`, not {}",
            kind(value)
        )
    };
    let turns = value.as_array().ok_or_else(wrong)?;
    if turns.is_empty() {
        return Err(format!("`{name}` is an empty list; a conversation needs a turn"));
    }
    let turn = |turn: &Value| {
        let part = |key| turn.get(key).and_then(Value::as_str).map(str::to_string);
        Some(Message { role: part("role")?, content: part("content")? })
    };
    turns
        .iter()
        .enumerate()
        .map(|(i, value)| turn(value).ok_or_else(|| format!("{}; turn {} is not one", wrong(), i + 1)))
        .collect::<Read<_>>()
        .map(Some)
}

fn rationale(row: &Row) -> Read<Option<String>> {
    match row.fields.get("rationale") {
        Some(Value::Array(_)) => Ok(texts(row, "rationale")?.map(|steps| steps.join("\n"))),
        _ => Ok(text(row, "rationale")?.filter(|text| !text.trim().is_empty())),
    }
}

fn answer_and_choices(row: &Row, columns: &mut Columns) -> Read<()> {
    let answer = match row.fields.get("answer") {
        Some(Value::Bool(yes)) => Some(yes.to_string()),
        Some(Value::Number(number)) => Some(number.to_string()),
        _ => not_blank("answer", text(row, "answer")?)?,
    };
    let (labels, choices) = choices(row)?;
    columns.answer = answer.map(|answer| lettered(answer, &labels, &choices));
    columns.choices = choices;
    if let (None, Some(answer)) = (&columns.rationale, &columns.answer)
        && let Some((rationale, gold)) = answer.rsplit_once("\n####")
    {
        let rationale = CALCULATOR.replace_all(rationale, "").into_owned();
        (columns.rationale, columns.answer) = (Some(rationale), Some(gold.trim().to_string()));
    }
    Ok(())
}

/// Questions show their choices as (A), (B) …, so a gold label such as `1` becomes the letter shown in its place.
fn lettered(answer: String, labels: &[String], choices: &[String]) -> String {
    match labels.iter().position(|label| *label == answer) {
        Some(at) if choices[at] != answer => letter(at),
        _ => answer,
    }
}

/// `A` for 0, `B` for 1, …; numbers from 27 on for those who offer more choices than letters.
pub fn letter(index: usize) -> String {
    match u8::try_from(index) {
        Ok(small) if small < 26 => char::from(b'A' + small).to_string(),
        _ => (index + 1).to_string(),
    }
}

/// Labels (none for plain lists) and texts.
pub(super) fn choices(row: &Row) -> Read<(Vec<String>, Vec<String>)> {
    let wrong = || {
        "`choices` must be a list of texts, a list of {\"label\", \"text\"}, or {\"label\": […], \"text\": […]}"
            .to_string()
    };
    let list =
        |value: Option<&Value>| -> Option<Vec<String>> { value?.as_array()?.iter().map(plain).collect() };
    let (labels, texts) = match row.fields.get("choices") {
        None => return Ok(Default::default()),
        Some(value @ Value::Array(items)) if items.iter().all(|item| !item.is_object()) => {
            (Vec::new(), list(Some(value)).ok_or_else(wrong)?)
        }
        Some(Value::Array(items)) => {
            let column = |key| items.iter().map(|item| plain(item.get(key)?)).collect::<Option<Vec<_>>>();
            (column("label").ok_or_else(wrong)?, column("text").ok_or_else(wrong)?)
        }
        Some(value) => {
            (list(value.get("label")).ok_or_else(wrong)?, list(value.get("text")).ok_or_else(wrong)?)
        }
    };
    if !labels.is_empty() && labels.len() != texts.len() {
        return Err(format!("`choices` has {} labels for {} texts", labels.len(), texts.len()));
    }
    Ok((labels, texts))
}

fn plain(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

pub(super) fn text(row: &Row, name: &str) -> Read<Option<String>> {
    match row.fields.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(other) => Err(format!("`{name}` must be a text, not {}", kind(other))),
    }
}

fn texts(row: &Row, name: &str) -> Read<Option<Vec<String>>> {
    let Some(value) = row.fields.get(name) else { return Ok(None) };
    let items =
        value.as_array().and_then(|items| items.iter().map(|x| x.as_str().map(str::to_string)).collect());
    items.map(Some).ok_or_else(|| format!("`{name}` must be a list of texts, not {}", kind(value)))
}

fn not_blank(name: &str, text: Option<String>) -> Read<Option<String>> {
    match text {
        Some(text) if text.trim().is_empty() => {
            Err(format!("`{name}` is empty; fill it in or leave the row out"))
        }
        text => Ok(text),
    }
}

pub(super) fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}
