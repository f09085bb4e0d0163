//! Rows as other programs' files have them: ShareGPT's conversations, Alpaca's instructions.

use super::columns::kind;
use serde_json::{Map, Value, json};

/// Columns that say what a row is; one that has any of them is taken as it stands.
const OURS: [&str; 8] =
    ["question", "prompt", "messages", "text", "completion", "completions", "chosen", "rationale"];

/// Gives a row of another program's columns those that are read here, where nothing of it is read otherwise:
///
/// * ShareGPT: `conversations`, a list of turns (`from` and `value`), becomes `messages`;
/// * Alpaca: `instruction`, perhaps `input`, and `output` become `question` and `completion`; with turns before it (`history`),
///   `messages`.
///
/// A `system` beside them is read as beside any question or conversation.
///
/// # Errors
/// An `input` or a `history` that is none, and would be lost.
pub fn recognize(fields: &mut Map<String, Value>) -> Result<(), String> {
    if OURS.iter().any(|name| fields.contains_key(*name)) {
        return Ok(());
    }
    if fields.get("conversations").is_some_and(is_conversation) {
        let said = fields.shift_remove("conversations");
        fields.extend(said.map(|said| ("messages".to_string(), said)));
        return Ok(());
    }
    let has_text = |fields: &Map<String, Value>, name: &str| fields.get(name).is_some_and(Value::is_string);
    if !has_text(fields, "instruction") || !(has_text(fields, "output") || has_text(fields, "answer")) {
        return Ok(());
    }
    let mut turns = history(fields)?;
    if let Some(input) = fields.get("input").filter(|input| !input.is_string()) {
        return Err(format!("`input` beside `instruction` must be a text, not {}", kind(input)));
    }
    let take = |fields: &mut Map<String, Value>, name: &str| match fields.shift_remove(name) {
        Some(Value::String(text)) => text,
        _ => String::new(),
    };
    let (instruction, input) = (take(fields, "instruction"), take(fields, "input"));
    let question = match (instruction.trim().is_empty(), input.trim().is_empty()) {
        (_, true) => instruction,
        (true, false) => input,
        (false, false) => format!("{instruction}\n\n{input}"),
    };
    let output = fields.shift_remove("output");
    if turns.is_empty() {
        fields.insert("question".into(), question.into());
        fields.extend(output.map(|output| ("completion".to_string(), output)));
        return Ok(());
    }
    turns.push(json!({"role": "user", "content": question}));
    turns.extend(output.map(|output| json!({"role": "assistant", "content": output})));
    fields.insert("messages".into(), Value::Array(turns));
    Ok(())
}

/// Why a row that has such columns is none of these, where it says nothing else that is read.
pub(super) fn why_not(fields: &Map<String, Value>) -> Option<String> {
    let turns = "a list of turns, [{\"from\": \"human\", \"value\": \"…\"}, …]";
    match (fields.get("conversations"), fields.get("instruction"), fields.get("output")) {
        (Some(Value::Array(list)), _, _) if list.is_empty() => {
            Some(format!("`conversations` has no turn; leave the row out, or give it {turns}"))
        }
        (Some(said @ (Value::String(_) | Value::Array(_) | Value::Object(_))), _, _)
            if !is_conversation(said) =>
        {
            Some(format!(
                "`conversations` is {}, and must be {turns}",
                if said.is_array() { "a list of something else" } else { kind(said) }
            ))
        }
        (_, Some(Value::String(_)), Some(output)) if !output.is_string() => {
            Some(format!("`output` beside `instruction` must be a text, not {}", kind(output)))
        }
        _ => None,
    }
}

/// Takes the turns before an instruction: what was said and what was answered, pair by pair.
fn history(fields: &mut Map<String, Value>) -> Result<Vec<Value>, String> {
    let Some(history) = fields.shift_remove("history") else { return Ok(vec![]) };
    let turns = |pair: &Value| match pair.as_array().map(Vec::as_slice) {
        Some([said @ Value::String(_), answered @ Value::String(_)]) => Some([
            json!({"role": "user", "content": said}),
            json!({"role": "assistant", "content": answered}),
        ]),
        _ => None,
    };
    let all = history.as_array().and_then(|pairs| pairs.iter().map(turns).collect::<Option<Vec<_>>>());
    let all = all.ok_or(
        "`history` beside `instruction` must be a list of pairs of texts, [[\"said\", \"answered\"], …]",
    )?;
    Ok(all.into_iter().flatten().collect())
}

fn is_conversation(turns: &Value) -> bool {
    let is_turn = |turn: &Value| turn.get("from").is_some() || turn.get("role").is_some();
    turns.as_array().is_some_and(|turns| turns.first().is_some_and(is_turn))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(row: Value) -> Value {
        let Value::Object(mut fields) = row else { panic!("a row") };
        recognize(&mut fields).unwrap();
        Value::Object(fields)
    }

    #[test]
    fn a_conversation_of_sharegpt_is_one() {
        let turns = json!([{"from": "human", "value": "1+1"}, {"from": "gpt", "value": "2"}]);
        assert_eq!(read(json!({"id": "a", "conversations": turns})), json!({"id": "a", "messages": turns}));
        // A column that only happens to be called so.
        let other = json!({"conversations": 3, "question": "?"});
        assert_eq!(read(other.clone()), other);
    }

    #[test]
    fn an_instruction_of_alpaca_is_a_question_and_its_completion() {
        let plain = json!({"instruction": "Add.", "input": "", "output": "2"});
        assert_eq!(read(plain), json!({"question": "Add.", "completion": "2"}));
        let with_input = json!({"instruction": "Add.", "input": "1+1", "output": "2", "source": "x"});
        assert_eq!(read(with_input), json!({"source": "x", "question": "Add.\n\n1+1", "completion": "2"}));
        let told = read(json!({"instruction": "And 2+2?", "output": "4", "history": [["1+1?", "2"]]}));
        let roles: Vec<&str> =
            told["messages"].as_array().unwrap().iter().map(|turn| turn["role"].as_str().unwrap()).collect();
        assert_eq!(roles, ["user", "assistant", "user", "assistant"]);
        for none in ["", " \n"] {
            let row = json!({"instruction": none, "input": "1+1?", "output": "2"});
            assert_eq!(read(row), json!({"question": "1+1?", "completion": "2"}));
        }
        // A row that says itself what is asked is left alone.
        let own = json!({"question": "?", "instruction": "Be kind.", "output": "x"});
        assert_eq!(read(own.clone()), own);
    }

    /// What is neither text nor pair would be gone from the question without a word.
    #[test]
    fn what_would_be_lost_of_an_instruction_is_refused() {
        let refused = |name: &str, value: Value| {
            let row = json!({"instruction": "Double it.", "output": "10", name: value});
            recognize(&mut row.as_object().unwrap().clone()).unwrap_err()
        };
        for value in [json!(5), json!(["5"]), json!({"n": 5})] {
            assert!(refused("input", value).contains("`input` beside `instruction` must be a text"));
        }
        for value in [json!("1+1?"), json!([["1+1?"]]), json!([{"user": "1+1?"}]), json!([["1+1?", 2]])] {
            assert!(refused("history", value).contains("must be a list of pairs of texts"));
        }
        let none = json!({"instruction": "Add.", "output": "2", "history": []});
        assert_eq!(read(none), json!({"question": "Add.", "completion": "2"}));
    }

    #[test]
    fn what_is_nearly_one_is_told_what_it_lacks() {
        let told = |row: Value| why_not(row.as_object().unwrap());
        for (row, words) in [
            (json!({"conversations": []}), "`conversations` has no turn"),
            (json!({"conversations": "hi"}), "`conversations` is a text, and must be a list of turns"),
            (json!({"conversations": ["hi"]}), "`conversations` is a list of something else"),
            (
                json!({"instruction": "Add.", "output": 2}),
                "`output` beside `instruction` must be a text, not a number",
            ),
        ] {
            let said = told(row.clone()).unwrap_or_else(|| panic!("{row}"));
            assert!(said.contains(words), "{said}");
        }
        for row in
            [json!({"foo": 1}), json!({"instruction": "Add."}), json!({"conversations": [{"from": "human"}]})]
        {
            assert_eq!(told(row.clone()), None, "{row}");
        }
    }
}
