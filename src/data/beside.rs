//! Columns that say something to the model beside what a row asks: the system turn, and what is to be seen or heard.

use super::columns::{Columns, Read, kind};
use super::row::Row;
use super::{Message, Prompt};
use serde_json::{Map, Value};

/// What rows call the system turn of their question or conversation.
pub(super) const SYSTEM: [&str; 2] = ["system", "system_prompt"];

/// What rows and turns call that which is seen or heard beside a text.
pub(super) const UNSEEN: [&str; 6] = ["image", "images", "video", "videos", "audio", "audios"];

/// The one of a row's columns, or of a turn's keys, that is seen or heard: only texts are learned here.
pub(super) fn unseen(fields: &Map<String, Value>) -> Option<&'static str> {
    let says = |name: &&str| match fields.get(*name) {
        // A table's cell may have an empty list as its text.
        Some(Value::String(text)) => !["", "[]", "None", "null"].contains(&text.trim()),
        Some(Value::Array(items)) => items.iter().any(|value| !value.is_null()),
        Some(Value::Object(items)) => items.values().any(|value| !value.is_null()),
        _ => false,
    };
    UNSEEN.iter().copied().find(says)
}

/// Gives what a row has as its system turn that place: in front of its conversation, or, where the prompt is yet to be made of
/// columns, in that.
///
/// # Errors
/// A conversation that has another system turn, and a text, which has no turns.
pub(super) fn system(row: &Row, columns: &mut Columns) -> Read<()> {
    let says = |name: &&str| match row.fields.get(*name) {
        Some(Value::String(text)) => !text.trim().is_empty(),
        Some(Value::Array(_) | Value::Object(_)) => matches!(columns.prompt, Some(Prompt::Chat(_))),
        _ => false,
    };
    let all: Vec<(&str, &Value)> =
        SYSTEM.iter().copied().filter(says).map(|name| (name, &row.fields[name])).collect();
    let Some(&(name, said)) = all.first() else { return Ok(()) };
    if all.iter().any(|(_, other)| *other != said) {
        return Err(format!(
            "it has `{}`, which say different things; take one of them out",
            SYSTEM.join("` and `")
        ));
    }
    let Value::String(said) = said else {
        return Err(format!("`{name}` must be a text, not {}", kind(said)));
    };
    match &mut columns.prompt {
        None => columns.system = Some(said.clone()),
        // It was made of the row's columns before.
        Some(_) if row.is_traced() => {}
        Some(Prompt::Chat(turns)) => {
            let own = turns.iter().position(|turn| ["system", "developer"].contains(&turn.role.as_str()));
            match own {
                Some(at) if turns[at].content.trim() != said.trim() => {
                    return Err(format!(
                        "it has `{name}`, and turn {} of its conversation, the {}'s, says something else; take one of the two out, \
                         the column by data.columns.unused = \"{name}\"",
                        at + 1,
                        turns[at].role
                    ));
                }
                Some(_) => {}
                None => {
                    turns.insert(0, Message::new("system", said));
                    columns.learned_turns.iter_mut().for_each(|turn| *turn += 1);
                }
            }
        }
        // A `text` alone is whole, and so is a prompt that was written with it.
        Some(Prompt::Text(text)) if text.is_empty() || text.contains(said.trim()) => {}
        Some(Prompt::Text(_)) => {
            return Err(format!(
                "it has `{name}`, a turn of a conversation, and its `prompt` is a text that stands as it is; ask it as a question, \
                 data.columns.question = \"prompt\", write the prompt as messages, or leave the column out, data.columns.unused = \"{name}\""
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::columns::read;
    use super::*;
    use serde_json::json;

    fn columns(fields: Value) -> Read<Columns> {
        let Value::Object(fields) = fields else { panic!("a row") };
        read(&Row::made("rows", 1, fields), &super::super::conversation::Roles::new())
    }

    fn turn(role: &str, content: &str) -> Value {
        json!({"role": role, "content": content})
    }

    #[test]
    fn a_system_column_is_the_first_turn() {
        let said = [turn("user", "a"), turn("assistant", "b"), turn("user", "c"), turn("assistant", "d")];
        for name in SYSTEM {
            let read = columns(json!({"messages": said, name: "Be brief."})).unwrap();
            let Some(Prompt::Chat(turns)) = read.prompt else { panic!("a conversation") };
            assert_eq!((turns.len(), &turns[0]), (4, &Message::new("system", "Be brief.")));
            assert_eq!(read.learned_turns, [2], "the assistant's turn has moved");
            let asked = columns(json!({"question": "q", name: "Be brief."})).unwrap();
            assert_eq!((asked.prompt, asked.system.as_deref()), (None, Some("Be brief.")));
        }
        let chosen = |text: &str| json!([turn("user", "q"), turn("assistant", text)]);
        let pair = json!({"chosen": chosen("a"), "rejected": chosen("b"), "system": "s"});
        let Some(Prompt::Chat(turns)) = columns(pair).unwrap().prompt else { panic!("a conversation") };
        assert_eq!(turns, [Message::new("system", "s"), Message::new("user", "q")]);
        let nothing = columns(json!({"messages": said, "system": " ", "system_prompt": 3})).unwrap();
        assert_eq!(nothing.prompt.map(|prompt| prompt.text()), Some("a\nb\nc".to_string()));
    }

    #[test]
    fn a_second_system_turn_is_refused() {
        let own = [turn("system", "s"), turn("user", "a"), turn("assistant", "b")];
        let refused = |fields: Value| columns(fields).unwrap_err();
        let said = refused(json!({"messages": own, "system": "t"}));
        assert!(said.contains("turn 1 of its conversation, the system's, says something else"), "{said}");
        assert!(columns(json!({"messages": own, "system": "s "})).is_ok(), "the same is said twice");
        let said = refused(json!({"question": "q", "system": "s", "system_prompt": "t"}));
        assert!(said.contains("`system` and `system_prompt`, which say different things"), "{said}");
        let said = refused(json!({"prompt": [turn("user", "a")], "system": [{"type": "text", "text": "s"}]}));
        assert!(said.contains("`system` must be a text, not a list"), "{said}");
        let said = refused(json!({"prompt": "a", "completion": "b", "system": "s"}));
        assert!(said.contains("data.columns.question = \"prompt\""), "{said}");
        for mut whole in
            [json!({"prompt": "s\n\na"}), json!({"text": "a"}), json!({"prompt": "a", "prompt_ids": [1]})]
        {
            whole["system"] = "s".into();
            assert!(columns(whole.clone()).is_ok(), "{whole}");
        }
    }

    #[test]
    fn what_is_seen_or_heard_is_refused() {
        let row = |name: &str, value: Value| columns(json!({"question": "<image>What is it?", name: value}));
        for (name, value) in [
            ("images", json!(["cat.png"])),
            ("image", json!("cat.png")),
            ("video", json!({"bytes": null, "path": "a.mp4"})),
            ("audios", json!([[0.5]])),
        ] {
            let said = row(name, value).unwrap_err();
            assert!(
                said.starts_with(&format!("it has `{name}`, and only text"))
                    && said.contains(&format!("data.columns.unused = {name:?}")),
                "{said}"
            );
        }
        for nothing in [json!([]), json!(" "), json!("[]"), json!({"bytes": null, "path": null}), json!(0)] {
            assert!(row("image", nothing.clone()).is_ok(), "{nothing}");
        }
        let said = columns(
            json!({"messages": [{"role": "user", "content": "a", "images": ["x"]}, turn("assistant", "b")]}),
        );
        assert!(
            said.unwrap_err().starts_with("turn 1 of `messages` has `images`; only text can be learned here")
        );
    }
}
