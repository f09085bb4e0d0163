//! Reading what an OpenAI-compatible server replies: which of it is an answer, and what else it says where it is none.

use super::Choice;
use crate::data::THINKING;
use serde_json::Value;

/// A reply that has choices.
#[derive(Debug, PartialEq)]
pub(super) struct Reply {
    /// Those that say something.
    pub choices: Vec<Choice>,
    /// Why the others are no answers; the last of them.
    pub lacking: Option<String>,
    /// How many of the others are refusals.
    pub refusals: u64,
    pub prompt_tokens: u64,
    pub completion_tokens: u64,
}

/// A reply that is no answer at all.
#[derive(Debug, PartialEq)]
pub(super) enum NoAnswer {
    /// The server's trouble, which may pass.
    Passing(String),
    /// It does not answer so many at once, and will not.
    Count(String),
    /// An error in the place of an answer, with the status that it would have had.
    Error(u16, String),
}

/// How words of a reply stand in a message: without the key, and only then [cut](excerpt), so that no part of it is left.
pub(super) type Quote<'a> = &'a dyn Fn(&str) -> String;

/// The `n` choices of a reply.
pub(super) fn read(text: &str, n: usize, quote: Quote) -> Result<Reply, NoAnswer> {
    let none = |what: &str| {
        let whose = "is it an OpenAI-compatible chat endpoint? It says";
        NoAnswer::Passing(format!("its reply {what}; {whose}: {}", quote(text)))
    };
    if text.trim().is_empty() {
        return Err(NoAnswer::Passing("its reply is empty".into()));
    }
    let said: Value = serde_json::from_str(text).map_err(|_| none("is no JSON"))?;
    if let Some(error) = error_of(&said) {
        let message = format!("its reply is an error: {}", quote(&error.to_string()));
        return Err(
            status(error).map_or(NoAnswer::Passing(message.clone()), |code| NoAnswer::Error(code, message))
        );
    }
    let all = said["choices"].as_array().ok_or_else(|| none("has no `choices`"))?;
    if all.is_empty() {
        return Err(none("has an empty list of `choices`"));
    }
    if all.len() != n {
        let count = all.len();
        let remedy = match count < n {
            true => format!("set answers_per_request = {count}, so that each request asks for {count} only"),
            false => "take `n` or `best_of` out of extra".into(),
        };
        return Err(NoAnswer::Count(format!(
            "its reply has {count} choices, not the {n} asked for: {remedy}"
        )));
    }
    let tokens = |name: &str| said["usage"][name].as_u64().unwrap_or(0);
    let mut reply = Reply {
        choices: vec![],
        lacking: None,
        refusals: 0,
        prompt_tokens: tokens("prompt_tokens"),
        completion_tokens: tokens("completion_tokens"),
    };
    for choice in all {
        match read_choice(choice, quote) {
            Ok(choice) => reply.choices.push(choice),
            Err((refused, why)) => {
                reply.refusals += u64::from(refused);
                reply.lacking = Some(why);
            }
        }
    }
    Ok(reply)
}

/// The error that a reply or a choice has.
fn error_of(said: &Value) -> Option<&Value> {
    said.get("error").filter(|error| !(error.is_null() || **error == false || **error == ""))
}

/// What finishes an answer that is not whole, by the words of several servers.
const BROKEN_OFF: [&str; 3] = ["error", "network_error", "abort"];

/// What a choice says; or why it says nothing, and whether that is a refusal.
fn read_choice(choice: &Value, quote: Quote) -> Result<Choice, (bool, String)> {
    let none = |why: String| (false, why);
    let refused = |words: &str| {
        let words = if words.is_empty() { String::new() } else { format!(", and says: {}", quote(words)) };
        (true, format!("the model refuses to answer{words}; leave that question out, or ask another model"))
    };
    if let Some(error) = error_of(choice) {
        return Err(none(format!("a choice of its reply is an error: {}", quote(&error.to_string()))));
    }
    let Some(message) = choice.get("message").filter(|message| message.is_object()) else {
        return Err(none(format!("a choice of its reply has no `message`: {}", quote(&choice.to_string()))));
    };
    let ended = choice["finish_reason"].as_str().unwrap_or_default();
    let content = &message["content"];
    let text = match content {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(parts) => {
            parts.iter().map(part).collect::<Result<_, _>>().map_err(|part| match part {
                Part::Refusal(words) => refused(&words),
                Part::Other(kind) => {
                    let kind = quote(&kind);
                    none(format!("its reply's content has a part of type {kind:?}, which is no text"))
                }
            })?
        }
        other => {
            return Err(none(format!("its reply's content is no text: {}", quote(&other.to_string()))));
        }
    };
    if let Some(words) = message["refusal"].as_str().filter(|words| !words.is_empty()) {
        return Err(refused(words));
    }
    if ended == "content_filter" {
        return Err((
            true,
            "a filter took the answer away (finish_reason is content_filter); leave that question out, or \
                     ask another model"
                .into(),
        ));
    }
    if BROKEN_OFF.contains(&ended) {
        return Err(none(format!(
            "the server broke the answer off (finish_reason is {ended:?}); what there is of it was left out"
        )));
    }
    if says_something(&text) {
        let reasoning = thought(message).filter(|thought| !thought.trim().is_empty());
        return Ok(Choice { text, truncated: ended == "length", reasoning });
    }
    let calls = message["tool_calls"].as_array().is_some_and(|calls| !calls.is_empty());
    let thinks = thought(message).is_some() || text.contains(THINKING[1]);
    Err(none(match (ended, thinks, calls) {
        ("length", ..) => {
            "the answer is empty: its token limit was spent before it said anything; raise max_tokens".into()
        }
        (.., true) => "the answer is empty: the model calls a tool, and none is offered".into(),
        (_, true, _) => {
            "the answer is empty: the model thought and said nothing; raise max_tokens, or have it think less"
                .into()
        }
        _ => format!("the answer is empty (finish_reason is {:?})", quote(ended)),
    }))
}

/// Whether a text has anything that is seen, beside what is thought in tags.
pub(super) fn says_something(text: &str) -> bool {
    let [open, close] = THINKING;
    let seen = |text: &str| text.chars().any(|c| !(c.is_whitespace() || c.is_control() || is_unseen(c)));
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(close) {
        // Where the prompt has opened the tag, the thought begins the text.
        if before.split_once(open).is_some_and(|(said, _)| seen(said)) {
            return true;
        }
        rest = after;
    }
    seen(rest)
}

/// Characters of no width, which are no white space to Unicode: spaces and joiners without width, marks of direction, fillers.
fn is_unseen(c: char) -> bool {
    matches!(c, '\u{AD}' | '\u{34F}' | '\u{61C}' | '\u{115F}' | '\u{1160}' | '\u{17B4}' | '\u{17B5}' | '\u{180B}'..='\u{180F}'
        | '\u{200B}'..='\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{206F}' | '\u{2800}' | '\u{3164}'
        | '\u{FE00}'..='\u{FE0F}' | '\u{FEFF}' | '\u{FFA0}' | '\u{E0000}'..='\u{E0FFF}')
}

/// What a message says that the model thought: beside its content, or as parts of it.
fn thought(message: &Value) -> Option<String> {
    let names = ["reasoning_content", "reasoning", "thinking"];
    let beside = |name: &&str| message[*name].as_str().filter(|text| !text.trim().is_empty());
    if let Some(text) = names.iter().find_map(beside) {
        return Some(text.to_owned());
    }
    let thinks = |part: &&Value| matches!(part["type"].as_str(), Some("thinking" | "reasoning"));
    let parts = message["content"].as_array()?.iter().filter(thinks);
    let text: String = parts
        .filter_map(|part| ["thinking", "reasoning", "text"].iter().find_map(|name| part[*name].as_str()))
        .collect();
    (!text.is_empty()).then_some(text)
}

/// A part of a content that is not its text.
enum Part {
    Refusal(String),
    Other(String),
}

/// The text of a part; nothing of what the model thought.
fn part(part: &Value) -> Result<String, Part> {
    if let Some(text) = part.as_str() {
        return Ok(text.to_owned());
    }
    match part["type"].as_str().unwrap_or_default() {
        "text" | "output_text" if part["text"].is_string() => {
            Ok(part["text"].as_str().unwrap_or_default().to_owned())
        }
        "thinking" | "reasoning" | "redacted_thinking" => Ok(String::new()),
        "refusal" => Err(Part::Refusal(part["refusal"].as_str().unwrap_or_default().to_owned())),
        other => Err(Part::Other(other.to_owned())),
    }
}

/// The status that an error in place of an answer would have, where it says one that no further attempt mends.
fn status(error: &Value) -> Option<u16> {
    let code = [&error["code"], &error["status"], &error["type"]].into_iter().find(|code| !code.is_null())?;
    let number = code.as_u64().or_else(|| code.as_str()?.parse().ok());
    match (number, code.as_str()) {
        (Some(number), _) => u16::try_from(number).ok().filter(|code| (400..600).contains(code)),
        (_, Some("invalid_api_key" | "authentication_error")) => Some(401),
        (_, Some("insufficient_quota")) => Some(402),
        (_, Some("model_not_found")) => Some(404),
        _ => None,
    }
}

/// The beginning of a text, on one line and without signs that a terminal would obey.
pub(super) fn excerpt(text: &str) -> String {
    let mut shown = text.trim().chars().map(|c| if c.is_control() { ' ' } else { c });
    let start: String = shown.by_ref().take(300).collect();
    if shown.next().is_some() { start + "…" } else { start }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(text: &str, n: usize) -> Result<Reply, NoAnswer> {
        super::read(text, n, &excerpt)
    }

    fn one(choice: Value) -> Reply {
        read(&json!({"choices": [choice]}).to_string(), 1).unwrap()
    }

    fn lacks(choice: Value) -> (String, u64) {
        let reply = one(choice);
        assert_eq!(reply.choices, []);
        (reply.lacking.unwrap(), reply.refusals)
    }

    #[test]
    fn choices_and_their_cost_are_read() {
        let said = r#"{"choices": [{"message": {"content": "a"}, "finish_reason": "length"},
            {"message": {"content": null}, "finish_reason": "stop"}], "usage": {"prompt_tokens": 3, "completion_tokens": 4}}"#;
        let reply = read(said, 2).unwrap();
        assert_eq!(reply.choices, [Choice::new("a", true)]);
        assert_eq!((reply.prompt_tokens, reply.completion_tokens, reply.refusals), (3, 4, 0));
        assert!(reply.lacking.unwrap().contains("the answer is empty"));
    }

    #[test]
    fn parts_are_joined() {
        let parts = json!([{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "2+2"}, " = ", {"type": "text", "text": "4"}]);
        let choice = one(json!({"message": {"content": parts}})).choices[0].clone();
        assert_eq!((choice.text.as_str(), choice.reasoning.as_deref()), ("2+2 = 4", Some("hm")));
    }

    #[test]
    fn what_was_thought_is_kept_apart() {
        for name in ["reasoning", "reasoning_content", "thinking"] {
            let choice = one(json!({"message": {"content": "4", name: "two and two"}})).choices[0].clone();
            assert_eq!((choice.text.as_str(), choice.reasoning.as_deref()), ("4", Some("two and two")));
        }
        assert_eq!(one(json!({"message": {"content": "4", "reasoning": " "}})).choices[0].reasoning, None);
    }

    #[test]
    fn what_says_nothing_is_named() {
        for (choice, why, refusals) in [
            (
                json!({"message": {"content": null, "reasoning": "so"}, "finish_reason": "stop"}),
                "thought and said nothing",
                0,
            ),
            (json!({"message": {"content": " \n"}, "finish_reason": "length"}), "raise max_tokens", 0),
            (json!({"message": {"content": null, "tool_calls": [{}]}}), "calls a tool", 0),
            (
                json!({"message": {"content": null, "refusal": "I cannot"}}),
                "refuses to answer, and says: I cannot",
                1,
            ),
            (
                json!({"message": {"content": "half of"}, "finish_reason": "content_filter"}),
                "a filter took",
                1,
            ),
            (json!({"message": {"content": [{"type": "refusal", "refusal": "No."}]}}), "says: No.", 1),
            (json!({"message": {"content": [{"type": "image_url"}]}}), "type \"image_url\"", 0),
            (json!({"message": {"content": 4}}), "no text: 4", 0),
            (json!({"message": {"content": "half"}, "finish_reason": "error"}), "broke the answer off", 0),
            (json!({"message": {"content": "half"}, "error": {"message": "overloaded"}}), "is an error: ", 0),
            (json!({"message": {"content": "<think>hm</think>"}}), "thought and said nothing", 0),
            (json!({"message": {"content": "hm\n</think>\n\n"}}), "thought and said nothing", 0),
            (
                json!({"message": {"content": "<think>a</think> <think>b</think>"}}),
                "thought and said nothing",
                0,
            ),
            (json!({"message": {"content": "\u{200B}\u{FEFF} \u{2060}"}}), "the answer is empty", 0),
            (json!({"text": "a"}), "no `message`", 0),
        ] {
            let said = lacks(choice);
            assert!(said.0.contains(why) && said.1 == refusals, "{said:?}");
        }
    }

    #[test]
    fn what_stands_beside_a_thought_is_an_answer() {
        for text in
            ["<think>hm</think>\n4", "4 <think>so</think>", "hm</think>4", "</think>4", "é", "<think>4"]
        {
            assert_eq!(one(json!({"message": {"content": text}, "error": null})).choices[0].text, text);
        }
    }

    #[test]
    fn what_is_no_answer_is_told_apart() {
        let passing = |text: &str, what: &str| match read(text, 1).unwrap_err() {
            NoAnswer::Passing(said) => assert!(said.contains(what), "{said}"),
            other => panic!("{other:?}"),
        };
        passing("<html>\u{1b}[31m", "is no JSON");
        assert!(!excerpt("a\u{1b}[31m").contains('\u{1b}'));
        passing("", "is empty");
        passing(r#"{"choices": [{"mess"#, "is no JSON");
        passing("{}", "has no `choices`");
        passing(r#"{"choices": []}"#, "an empty list");
        passing(r#"{"error": {"message": "overloaded"}}"#, "its reply is an error");
        passing(r#"{"error": "busy"}"#, "busy");
        let error = |text: &str| match read(text, 1).unwrap_err() {
            NoAnswer::Error(code, _) => code,
            other => panic!("{other:?}"),
        };
        let codes = [
            r#"{"error": {"code": 429}}"#,
            r#"{"error": {"code": "model_not_found"}}"#,
            r#"{"error": {"code": "503"}}"#,
        ];
        assert_eq!(codes.map(error), [429, 404, 503]);
        let two = r#"{"choices": [{"message": {"content": "a"}}]}"#;
        let NoAnswer::Count(said) = read(two, 4).unwrap_err() else { panic!("one of four") };
        assert!(said.contains("has 1 choices, not the 4 asked for: set answers_per_request = 1"), "{said}");
    }
}
