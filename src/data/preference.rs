//! The columns of a preference: `chosen`, `rejected`, `weight` and `margin`.

use super::columns::{Columns, Read, kind, text};
use super::conversation::{Roles, messages};
use super::replies::{opens, say_something, take_turns};
use super::row::Row;
use super::{FeedbackCompletion, Message, Prompt};
use serde_json::Value;
use std::sync::Arc;

/// The columns of a preference.
#[derive(Debug, Clone, PartialEq)]
pub struct Preference {
    /// The text of `chosen`.
    pub chosen: String,
    /// The text of `rejected`.
    pub rejected: String,
    /// `weight`, or 1.
    pub weight: f64,
    /// `margin`, or 0.
    pub margin: f64,
    /// The turns that the two are the texts of, where they are given as messages.
    pub turns: Option<[Arc<Message>; 2]>,
}

impl Preference {
    /// The two as completions: the chosen one, then the rejected one.
    pub fn completions(&self) -> [FeedbackCompletion; 2] {
        let turn = |at: usize| self.turns.as_ref().map(|turns| turns[at].clone());
        let of = |text: &str, at: usize| FeedbackCompletion { turn: turn(at), ..text.into() };
        [of(&self.chosen, 0), of(&self.rejected, 1)]
    }
}

/// Reads `chosen` and `rejected`, each a text or a conversation that ends with an assistant's turn. Where a conversation has
/// turns before it, the turns that both begin with are the prompt (TRL's implicit prompt), and a prompt beside them is what they begin with.
pub fn read(row: &Row, roles: &Roles, columns: &mut Columns) -> Read<()> {
    let mut turns = None;
    let [chosen, rejected] = match (row.fields.get("chosen"), row.fields.get("rejected")) {
        (None, None) => return Ok(()),
        (Some(_), None) => return Err("`chosen` without a `rejected`; a preference needs both".to_string()),
        (None, Some(_)) => return Err("`rejected` without a `chosen`; a preference needs both".to_string()),
        (Some(Value::Array(_)), Some(_)) => {
            let said = conversations(row, roles, columns)?;
            let texts = [0, 1].map(|at: usize| said[at].text());
            turns = Some(said.map(Arc::new));
            texts
        }
        (Some(_), Some(_)) => [text(row, "chosen")?, text(row, "rejected")?].map(Option::unwrap_or_default),
    };
    let says_nothing =
        chosen.trim().is_empty() && turns.as_ref().is_none_or(|[better, _]| better.reasoning().is_none());
    if says_nothing {
        return Err(
            "`chosen` is empty, and to say nothing would be learned; fill it in, or leave the row out"
                .to_string(),
        );
    }
    if chosen == rejected {
        return Err("`chosen` and `rejected` are the same; leave the row out".to_string());
    }
    let [weight, margin] = [number(row, "weight", 1.0)?, number(row, "margin", 0.0)?];
    if weight < 0.0 {
        return Err(format!(
            "`weight` is {weight}, which would make the rejected one the better; exchange the two, and give a weight of 0 or more"
        ));
    }
    columns.preference = Some(Preference { chosen, rejected, weight, margin, turns });
    Ok(())
}

fn conversations(row: &Row, roles: &Roles, columns: &mut Columns) -> Read<[Message; 2]> {
    let [mut chosen, mut rejected] =
        [messages(row, "chosen", roles)?, messages(row, "rejected", roles)?].map(Option::unwrap_or_default);
    take_turns("chosen", &chosen)?;
    let apart =
        "`chosen` and `rejected` must be the same conversation but for the assistant's turn at the end";
    let (Some(better), Some(worse)) = (chosen.pop(), rejected.pop()) else { return Err(apart.to_string()) };
    if chosen != rejected || better.role != "assistant" || worse.role != "assistant" {
        return Err(apart.to_string());
    }
    if let Some(name) =
        ["chosen", "rejected"].iter().zip([&better, &worse]).find(|(_, turn)| turn.tool_calls().is_some())
    {
        return Err(format!(
            "`{}` calls tools, which are learned of `messages` alone; write the call as its text",
            name.0
        ));
    }
    say_something("chosen", &chosen)?;
    match &columns.prompt {
        _ if chosen.is_empty() => {}
        // It was made of the turns before.
        Some(_) if row.is_traced() => {}
        Some(prompt) if !opens(prompt, &chosen) => {
            return Err(
                "it has `prompt`, and `chosen` and `rejected` do not begin with it; take the prompt (data.columns.unused = \"prompt\") \
                 or those turns out"
                    .to_string(),
            );
        }
        _ => columns.prompt = Some(Prompt::Chat(chosen)),
    }
    Ok([better, worse])
}

/// The `weight` of a completion that is judged good or bad, or 1.
pub fn weight_of_label(row: &Row) -> Read<f64> {
    match number(row, "weight", 1.0)? {
        weight if weight < 0.0 => Err(format!(
            "`weight` is {weight}, which would turn its `label` about; give the other label, and a weight of 0 or more"
        )),
        weight => Ok(weight),
    }
}

fn number(row: &Row, name: &str, default: f64) -> Read<f64> {
    match row.fields.get(name) {
        None => Ok(default),
        Some(value) => {
            value.as_f64().ok_or_else(|| format!("`{name}` must be a number, not {}", kind(value)))
        }
    }
}
