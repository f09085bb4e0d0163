//! The assistant's turns in a row's conversations: that they take turns with others and say something, and which one is the completion.

use super::columns::Read;
use super::{Message, Prompt};

/// Whether a conversation begins with what a row has as its prompt, as UltraChat's rows do.
pub(super) fn opens(prompt: &Prompt, messages: &[Message]) -> bool {
    let same = |(one, other): (&Message, &Message)| {
        one.role == other.role && one.content.trim() == other.content.trim()
    };
    match prompt {
        Prompt::Text(text) => messages
            .iter()
            .find(|turn| turn.role == "user")
            .is_some_and(|turn| turn.content.trim() == text.trim()),
        Prompt::Chat(turns) => turns.len() <= messages.len() && turns.iter().zip(messages).all(same),
    }
}

/// A conversation's last assistant turn is the completion, everything before it the prompt.
pub(super) fn split(mut messages: Vec<Message>) -> Read<(Vec<Message>, Option<Message>)> {
    take_turns("messages", &messages)?;
    say_something("messages", &messages)?;
    let last = messages.pop_if(|last| is_reply(last));
    if messages.is_empty() {
        return Err("`messages` has no turn before the assistant's; a prompt needs one".to_string());
    }
    Ok((messages, last))
}

fn is_reply(turn: &Message) -> bool {
    turn.role == "assistant"
}

/// Refuses two turns of the assistant in a row.
pub(super) fn take_turns(name: &str, turns: &[Message]) -> Read<()> {
    match turns.windows(2).position(|turns| turns.iter().all(is_reply)) {
        None => Ok(()),
        Some(at) => Err(format!(
            "turns {} and {} of `{name}` are both the assistant's, and a template would write two replies to one question; make them \
             one turn",
            at + 1,
            at + 2
        )),
    }
}

/// Refuses a turn of the assistant that says nothing.
pub(super) fn say_something(name: &str, turns: &[Message]) -> Read<()> {
    let says_nothing = |turn: &Message| {
        is_reply(turn)
            && turn.content.trim().is_empty()
            && turn.tool_calls().is_none()
            && turn.reasoning().is_none()
    };
    match turns.iter().position(says_nothing) {
        None => Ok(()),
        Some(at) => Err(format!(
            "turn {} of `{name}` is the assistant's and says nothing; take it out, or leave the row out",
            at + 1
        )),
    }
}
