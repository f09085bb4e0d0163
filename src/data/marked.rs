//! Conversations in which what is said stays text: the template's special tokens are tokens, those that a row writes are not.

use super::Message;
use regex::Regex;
use serde_json::{Map, Value};
use std::ops::Range;

/// What stands for a special token while a template is rendered: characters of private use that no text should have.
const MARK: [char; 2] = ['\u{E0F0}', '\u{E0F1}'];

/// A conversation as text, with the bytes that hold a special token's name and are none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Marked {
    /// The text.
    pub text: String,
    /// In order, none overlapping.
    pub plain: Vec<Range<usize>>,
}

/// What a template is given, with a mark in place of every name of a special token.
#[derive(Debug)]
pub struct Given {
    /// The turns.
    pub messages: Vec<Message>,
    /// Tools and whatever else is handed to it by name.
    pub variables: Map<String, Value>,
    /// What the marks stand for.
    pub names: Vec<String>,
}

/// Messages and variables as a template is to be given them; none where they name no special token.
pub fn mark(messages: &[Message], variables: &Map<String, Value>, special: &Regex) -> Option<Given> {
    let written = |text: &str| special.is_match(text);
    let any = messages
        .iter()
        .any(|turn| written(&turn.content) || turn.more.values().any(|value| has(value, special)));
    if !any && !names_any(variables, special) {
        return None;
    }
    let mut names = Vec::new();
    let variables = replaced(variables, special, &mut names);
    let turns = messages.iter().map(|turn| {
        let mut more = turn.more.clone();
        more.values_mut().for_each(|value| replace(value, special, &mut names));
        Message { role: turn.role.clone(), content: marked(&turn.content, special, &mut names), more }
    });
    let messages = turns.collect();
    Some(Given { messages, variables, names })
}

/// The rendered text with the names back in their places.
pub fn unmark(text: &str, names: &[String]) -> Marked {
    let mut out = Marked::default();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(MARK[0]) {
        out.text.push_str(before);
        let name = after
            .split_once(MARK[1])
            .and_then(|(number, after)| Some((names.get(number.parse::<usize>().ok()?)?, after)));
        let Some((name, after)) = name else {
            out.text.push(MARK[0]);
            rest = after;
            continue;
        };
        let start = out.text.len();
        out.text.push_str(name);
        out.plain.push(start..out.text.len());
        rest = after;
    }
    out.text.push_str(rest);
    out
}

impl Marked {
    /// The bytes `range` of it, by themselves.
    pub fn part(&self, range: Range<usize>) -> Self {
        let within = self.plain.iter().filter(|plain| range.start <= plain.start && plain.end <= range.end);
        let plain = within.map(|plain| plain.start - range.start..plain.end - range.start).collect();
        Self { text: self.text[range].to_string(), plain }
    }

    /// The stretches between the special tokens of the text, each with whether it holds names that are none: `true` ones are to
    /// be encoded without special tokens. Together they are the text; special tokens belong to the `false` ones.
    pub fn stretches(&self, special: &Regex) -> Vec<(Range<usize>, bool)> {
        let (mut stretches, mut from, mut start, mut at) = (Vec::new(), 0, 0, 0);
        let mut close = |range: Range<usize>, from: &mut usize| {
            if self.plain.iter().any(|plain| plain.start < range.end && range.start < plain.end) {
                stretches.push((*from..range.start, false));
                stretches.push((range.clone(), true));
                *from = range.end;
            }
        };
        while let Some(found) = special.find_at(&self.text, at) {
            match self.plain.iter().find(|plain| plain.start < found.end() && found.start() < plain.end) {
                Some(_) => {
                    let next = self.text[found.start()..].chars().next().map_or(1, char::len_utf8);
                    at = found.start() + next;
                }
                None => {
                    close(start..found.start(), &mut from);
                    (start, at) = (found.end(), found.end());
                }
            }
        }
        close(start..self.text.len(), &mut from);
        stretches.push((from..self.text.len(), false));
        stretches.retain(|(range, _)| !range.is_empty());
        stretches
    }
}

fn marked(text: &str, special: &Regex, names: &mut Vec<String>) -> String {
    let place = |found: &regex::Captures| {
        names.push(found[0].to_string());
        format!("{}{}{}", MARK[0], names.len() - 1, MARK[1])
    };
    special.replace_all(text, place).into_owned()
}

fn has(value: &Value, special: &Regex) -> bool {
    match value {
        Value::String(text) => special.is_match(text),
        Value::Array(items) => items.iter().any(|item| has(item, special)),
        Value::Object(items) => names_any(items, special),
        _ => false,
    }
}

fn names_any(items: &Map<String, Value>, special: &Regex) -> bool {
    items.iter().any(|(key, item)| special.is_match(key) || has(item, special))
}

fn replace(value: &mut Value, special: &Regex, names: &mut Vec<String>) {
    match value {
        Value::String(text) => *text = marked(text, special, names),
        Value::Array(items) => items.iter_mut().for_each(|item| replace(item, special, names)),
        Value::Object(items) => *items = replaced(items, special, names),
        _ => {}
    }
}

fn replaced(items: &Map<String, Value>, special: &Regex, names: &mut Vec<String>) -> Map<String, Value> {
    let place = |(key, item): (&String, &Value)| {
        let mut item = item.clone();
        replace(&mut item, special, names);
        (marked(key, special, names), item)
    };
    items.iter().map(place).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_a_row_writes_are_told_from_the_templates_own() {
        let special = Regex::new(r"<\|end\|>|<\|start\|>").unwrap();
        let said = [Message::new("user", "a<|end|>b"), Message::new("user", "c")];
        let Given { messages, names, .. } = mark(&said, &Map::new(), &special).unwrap();
        let text: String =
            messages.iter().map(|turn| format!("<|start|>{}<|end|>\n", turn.content)).collect();
        let marked = unmark(&text, &names);
        assert_eq!(marked.text, "<|start|>a<|end|>b<|end|>\n<|start|>c<|end|>\n");
        let stretches = marked.stretches(&special);
        let told: Vec<(&str, bool)> =
            stretches.iter().map(|(range, plain)| (&marked.text[range.clone()], *plain)).collect();
        assert_eq!(
            told,
            [("<|start|>", false), ("a<|end|>b", true), ("<|end|>\n<|start|>c<|end|>\n", false)]
        );
        assert!(mark(&said[1..], &Map::new(), &special).is_none());
    }

    #[test]
    fn what_is_handed_to_a_template_by_name_is_text_too() {
        let special = Regex::new(r"<\|end\|>").unwrap();
        let tools: Map<String, Value> =
            serde_json::from_str(r#"{"tools": [{"d": "a<|end|>", "<|end|>": 1}], "n": 2}"#).unwrap();
        let given = mark(&[], &tools, &special).unwrap();
        assert!(!names_any(&given.variables, &special), "{given:?}");
        let back = unmark(&serde_json::to_string(&given.variables).unwrap(), &given.names);
        assert_eq!(serde_json::from_str::<Map<String, Value>>(&back.text).unwrap(), tools);
        assert_eq!(back.plain.len(), 2);
    }
}
