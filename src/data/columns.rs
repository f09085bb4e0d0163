//! A row's columns, typed: TRL's names (`prompt`, `completion`, `messages`, `text`, `chosen`, `rejected`, `label`) and
//! ours (`id`, `question`, `system`, `rationale`, `answer`, `choices`, `completions`, `weight`, `margin`).

use super::beside::{system, unseen};
use super::choices;
use super::conversation::{Roles, messages, up_to_learned};
use super::json;
use super::preference::{self, Preference};
use super::replies::{opens, say_something, split, take_turns};
use super::row::Row;
use super::{Message, Prompt};
use regex::Regex;
use serde_json::{Map, Value};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, LazyLock};

/// What the known columns of a row say. Absent and null columns are `None` or empty.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Columns {
    /// `id`, or `stem:line`.
    pub id: String,
    /// `question`; never blank.
    pub question: Option<String>,
    /// `system` or `system_prompt`, where the prompt is to be made of columns; in a conversation it is a turn.
    pub system: Option<String>,
    /// `prompt`, or `messages` up to its last assistant turn, or the empty text where the row has only `text`.
    pub prompt: Option<Prompt>,
    /// The assistant's turns before the last but for those of `weight` 0, where the prompt is that of `messages`.
    pub learned_turns: Vec<usize>,
    /// `completion`, the last assistant turn of `messages`, or `text`.
    pub completion: Option<String>,
    /// The turn that the completion is the text of, where it has more than a text.
    pub reply: Option<Arc<Message>>,
    /// `chat_template_kwargs` and `tools`, for the chat template.
    pub variables: Map<String, Value>,
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
    /// `label`, where it says yes or no: true, 1, "True", "yes".
    pub label: Option<bool>,
    /// How much that weighs.
    pub weight: f64,
}

/// GSM8K's calculator annotations, `<<48/2=24>>`, which are not part of what a person would write.
static CALCULATOR: LazyLock<Regex> =
    LazyLock::new(|| Regex::new("<<[^<>]*>>").expect("the pattern is constant"));

/// A value, or what is wrong in the user's words.
pub type Read<T> = Result<T, String>;

/// Reads one row after another and sees to it that no id occurs twice.
pub struct Reader<'a> {
    roles: &'a Roles,
    first: HashMap<String, &'a Row>,
    /// Ids that rows of several files have: what the file is called tells them apart.
    shared: HashSet<String>,
}

impl<'a> Reader<'a> {
    /// For these rows.
    pub fn new(rows: &'a [Row], roles: &'a Roles) -> Self {
        let (mut files, mut shared) = (HashMap::new(), HashSet::new());
        for row in rows {
            let Ok(id) = id(row) else { continue };
            if files.get(&id).is_some_and(|file| *file != &row.file) {
                shared.insert(id);
            } else {
                files.insert(id, &row.file);
            }
        }
        Self { roles, first: HashMap::new(), shared }
    }

    /// The columns of the next row, or what is wrong with them.
    pub fn read(&mut self, row: &'a Row) -> Read<Columns> {
        let mut columns = read(row, self.roles)?;
        if self.shared.contains(&columns.id) {
            columns.id = format!("{}/{}", row.stem, columns.id);
        }
        match self.first.insert(columns.id.clone(), row) {
            None => Ok(columns),
            Some(other) => {
                let (id, place) = (&columns.id, other.place());
                if place == row.place() {
                    return Err(format!("{place} is read twice; name its file once"));
                }
                Err(format!(
                    "`id` {id:?} is already that of {place}; give every row its own, or leave `id` out"
                ))
            }
        }
    }
}

/// The columns of one row, or what is wrong with them.
pub fn read(row: &Row, roles: &Roles) -> Read<Columns> {
    if let Some(name) = unseen(&row.fields) {
        return Err(format!(
            "it has `{name}`, and only text can be learned here; leave the row out, or, where its text is enough, give the column a name \
             that says nothing: data.columns.unused = {name:?}"
        ));
    }
    let mut columns = Columns {
        id: id(row)?,
        question: not_blank("question", text(row, "question")?)?,
        prompt: prompt(row, roles)?,
        completions: texts(row, "completions")?.unwrap_or_default(),
        rationale: rationale(row)?,
        variables: variables(row)?,
        label: label(row),
        weight: 1.0,
        ..Columns::default()
    };
    completion(row, roles, &mut columns)?;
    preference::read(row, roles, &mut columns)?;
    if columns.label.is_some() && columns.preference.is_none() {
        columns.weight = preference::weight_of_label(row)?;
    }
    if let Some(messages) = messages(row, "messages", roles)? {
        columns.prompt = columns.prompt.take().filter(|prompt| !opens(prompt, &messages));
        if columns.prompt.is_some() {
            return Err(
                "it has `prompt` and `messages`, and the messages do not begin with the prompt; take one of the two out".to_string()
            );
        }
        let (prompt, last) = split(up_to_learned(messages)?)?;
        if columns.prompt.is_none() && columns.completion.is_none() && last.is_some() {
            let learned = |turn: &Message| turn.role == "assistant" && turn.is_learned();
            let earlier = prompt.iter().enumerate().filter(|(_, turn)| learned(turn));
            columns.learned_turns = earlier.map(|(at, _)| at).collect();
        }
        columns.prompt = columns.prompt.or(Some(Prompt::Chat(prompt)));
        match (&columns.completion, last) {
            (None, Some(last)) => columns.reply(last),
            (Some(text), Some(last)) if text.trim() != last.text().trim() => {
                return Err(
                    "it has `completion`, and its `messages` end with another reply of the assistant's; take one of the two out"
                        .to_string(),
                );
            }
            _ => {}
        }
    }
    in_conversation(row, &mut columns);
    if let (None, None, Some(text)) =
        (&columns.prompt, &columns.question, not_blank("text", text(row, "text")?)?)
    {
        columns.prompt = Some(Prompt::Text(String::new()));
        columns.completion = columns.completion.or(Some(text));
    }
    system(row, &mut columns)?;
    answer_and_choices(row, &mut columns)?;
    Ok(columns)
}

impl Columns {
    /// Takes the assistant's last turn as the completion, and what it thinks as the rationale where the row has none.
    fn reply(&mut self, turn: Message) {
        self.completion = Some(turn.text());
        if let (None, Some(thought)) = (&self.rationale, turn.reasoning()) {
            self.rationale = Some(thought.trim().to_string());
        }
        self.reply = Some(Arc::new(turn));
    }
}

/// `id`, or `stem:line`.
pub(super) fn id(row: &Row) -> Read<String> {
    match row.fields.get("id") {
        None => Ok(format!("{}:{}", row.stem, row.line)),
        Some(Value::String(id)) if !id.trim().is_empty() => Ok(id.clone()),
        Some(Value::Number(id)) => Ok(id.to_string()),
        Some(other) => Err(format!("`id` must be a string or a number, not {}", kind(other))),
    }
}

fn prompt(row: &Row, roles: &Roles) -> Read<Option<Prompt>> {
    match row.fields.get("prompt") {
        None => Ok(None),
        Some(Value::String(_)) => Ok(not_blank("prompt", text(row, "prompt")?)?.map(Prompt::Text)),
        Some(_) => {
            let turns = messages(row, "prompt", roles)?;
            if let Some(turns) = turns.as_ref().filter(|_| !row.is_traced()) {
                take_turns("prompt", turns)?;
                say_something("prompt", turns)?;
            }
            Ok(turns.map(Prompt::Chat))
        }
    }
}

/// A prompt that is a text beside a reply that is a message is what the user says: as it stands it would be before the conversation, not in it.
fn in_conversation(row: &Row, columns: &mut Columns) {
    let replied = match &columns.preference {
        Some(preference) => preference.turns.is_some(),
        None => columns.reply.is_some(),
    };
    if let Some(Prompt::Text(text)) = &columns.prompt
        && replied
        && !row.is_traced()
    {
        columns.prompt = Some(Prompt::Chat(vec![Message::new("user", text)]));
    }
}

fn completion(row: &Row, roles: &Roles, columns: &mut Columns) -> Read<()> {
    if !matches!(row.fields.get("completion"), Some(Value::Array(_))) {
        columns.completion = text(row, "completion")?;
        return Ok(());
    }
    let mut turns = messages(row, "completion", roles)?.unwrap_or_default();
    match turns.pop() {
        Some(only) if only.role == "assistant" && turns.is_empty() && !only.is_learned() => {
            return Err("`completion` has the `weight` 0, and nothing is left to learn; leave the row out"
                .to_string());
        }
        Some(only) if only.role == "assistant" && turns.is_empty() => columns.reply(only),
        _ => return Err("`completion` must be a text or exactly one message of role assistant".to_string()),
    }
    Ok(())
}

/// What TRL's rows have for the chat template; `tools` may be written as a text of JSON, as columns of tables are.
fn variables(row: &Row) -> Read<Map<String, Value>> {
    let mut variables = match row.fields.get("chat_template_kwargs") {
        None => Map::new(),
        Some(Value::Object(variables)) => variables.clone(),
        Some(other) => return Err(format!("`chat_template_kwargs` must be an object, not {}", kind(other))),
    };
    let blank = |said: &Value| said.as_str().is_some_and(|text| text.trim().is_empty());
    let said = row.fields.get("tools").filter(|said| !blank(said));
    let tools = match said {
        Some(Value::String(text)) => {
            json::said(text).map_err(|why| format!("in `tools`, {why}; take one of the two out"))?
        }
        other => other.cloned(),
    };
    let is_turns = |name: &str| row.fields.get(name).is_some_and(Value::is_array);
    let conversation =
        row.fields.contains_key("messages") || ["prompt", "completion", "chosen"].into_iter().any(is_turns);
    match (tools, said) {
        (Some(tools @ Value::Array(_)), _) => drop(variables.insert("tools".to_string(), tools)),
        (Some(Value::Null), _) => {}
        (_, Some(said)) if conversation => {
            return Err(format!(
                "`tools` must be a list, or the JSON of one as a text, not {}; mend it, or leave it out",
                kind(said)
            ));
        }
        // Beside a question it may be any column.
        _ => {}
    }
    Ok(variables)
}

/// Yes or no, as datasets write it: true, 1, 1.0, "True", "yes".
fn label(row: &Row) -> Option<bool> {
    match row.fields.get("label")? {
        Value::Bool(yes) => Some(*yes),
        Value::Number(number) => match number.as_f64()? {
            1.0 => Some(true),
            0.0 => Some(false),
            _ => None,
        },
        Value::String(text) => match text.trim().to_ascii_lowercase().as_str() {
            "true" | "1" | "yes" => Some(true),
            "false" | "0" | "no" => Some(false),
            _ => None,
        },
        _ => None,
    }
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
    let (labels, choices) = choices::read(row)?;
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
        Some(at) if choices[at] != answer => named(at, choices),
        _ => answer,
    }
}

/// The letter of a choice; in brackets where it is the text of another, as of O, A, B and AB, which names that one.
pub fn named(index: usize, choices: &[String]) -> String {
    let letter = letter(index);
    let other = |(at, choice): (usize, &String)| at != index && choice.trim().eq_ignore_ascii_case(&letter);
    if choices.iter().enumerate().any(other) { format!("({letter})") } else { letter }
}

/// `A` for 0, `B` for 1, …; numbers from 27 on for those who offer more choices than letters.
pub fn letter(index: usize) -> String {
    match u8::try_from(index) {
        Ok(small) if small < 26 => char::from(b'A' + small).to_string(),
        _ => (index + 1).to_string(),
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
