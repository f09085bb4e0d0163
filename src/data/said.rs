//! What rows write in a prompt of plain text, and in a completion that is made of their columns: names of special tokens in it are text, as in conversations; only what a template writes itself are
//! tokens.
//!
//! A prompt does not say which of it came from where, and traces hand on no more than it. So what a row says is looked for in it: each line of its
//! columns that names a special token. Ready-made prompts and completions are their own templates.

use super::Example;
use super::row::TRACED;
use regex::Regex;
use serde_json::Value;
use std::ops::Range;

/// The column of a ready-made prompt; that of a trace was made by a template.
const PROMPT: &str = "prompt";

/// Columns of ready-made completions.
const COMPLETIONS: [&str; 2] = ["completion", "text"];

/// Whether a row's completion was made of its columns.
pub fn is_made(row: &Example, completion: &str) -> bool {
    let is = |column: &&str| row.fields.get(*column).and_then(Value::as_str) == Some(completion);
    !COMPLETIONS.iter().any(is)
}

/// The bytes of `text`, a prompt or a completion, as `what` says, that was made of the row, in which names of special tokens are none: in order, none overlapping.
///
/// # Errors
/// A column that is such a name and nothing else, where the text has it, so that nobody can tell whose it is; in words that follow the row's place.
pub fn plain(
    row: &Example,
    (what, text): (&str, &str),
    special: &Regex,
) -> Result<Vec<Range<usize>>, String> {
    let ready = row.fields.get(PROMPT).and_then(Value::as_str) == Some(text);
    if !special.is_match(text) || (ready && !row.fields.contains_key(TRACED)) {
        return Ok(Vec::new());
    }
    let mut said = Vec::new();
    for (column, value) in row.fields.iter().filter(|(column, _)| *column != PROMPT) {
        texts(value, &mut |text| said.push((column.as_str(), text)));
    }
    let shown = row.shots.iter().flat_map(|shot| &shot.said);
    said.extend(shown.map(|text| ("a column of a solved row", text.as_str())));
    let (mut found, mut alone) = (Vec::new(), Vec::new());
    for (column, said) in said {
        for line in said.lines().map(str::trim) {
            match special.find(line) {
                None => {}
                Some(name) if name.as_str() == line => alone.push((column, line)),
                Some(_) => found.extend(text.match_indices(line).map(|(at, _)| at..at + line.len())),
            }
        }
    }
    let found = joined(found);
    let free = |name: &str| {
        let inside = |at: usize| found.iter().any(|range| range.start < at + name.len() && at < range.end);
        text.match_indices(name).any(|(at, _)| !inside(at))
    };
    match alone.into_iter().find(|(_, name)| free(name)) {
        None => Ok(found),
        Some((column, name)) => Err(format!(
            "`{column}` is the name of a special token and nothing else, {name:?}, and the {what} has it: nobody can tell whether the row \
             writes it, as text, or the template; leave the row out, or make the whole {what} a column `{what}`"
        )),
    }
}

/// All texts in a value.
pub fn texts<'v>(value: &'v Value, found: &mut impl FnMut(&'v str)) {
    match value {
        Value::String(text) => found(text),
        Value::Array(items) => items.iter().for_each(|item| texts(item, found)),
        Value::Object(items) => items.values().for_each(|item| texts(item, found)),
        _ => {}
    }
}

fn joined(mut ranges: Vec<Range<usize>>) -> Vec<Range<usize>> {
    ranges.sort_by_key(|range| range.start);
    let mut joined: Vec<Range<usize>> = Vec::new();
    for range in ranges {
        match joined.last_mut() {
            Some(last) if range.start < last.end => last.end = last.end.max(range.end),
            _ => joined.push(range),
        }
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn row(fields: Value) -> Example {
        Example { fields: fields.as_object().unwrap().clone(), ..Example::text("a", "") }
    }

    fn found(fields: Value, text: &str) -> Result<Vec<&str>, String> {
        let special = Regex::new(r"<eos>|<pad>").unwrap();
        plain(&row(fields), ("prompt", text), &special)
            .map(|all| all.into_iter().map(|range| &text[range]).collect())
    }

    #[test]
    fn what_the_row_says_is_told_from_what_the_template_says() {
        let of = |question: &str, text: &'static str| found(json!({"question": question}), text).unwrap();
        assert_eq!(of("is <eos> text?", "Q: is <eos> text?<eos>"), ["is <eos> text?"]);
        // A line by itself, and its ends taken off.
        assert_eq!(of("a\n  b <pad> ", "a / b <pad><eos>"), ["b <pad>"]);
        assert_eq!(of("nothing", "Q: nothing<eos>"), [""; 0]);
        let listed = json!({"choices": ["x<eos>", "y"], "meta": {"hint": "z<pad>"}});
        assert_eq!(found(listed, "(A) x<eos> (B) y z<pad> <pad>").unwrap(), ["x<eos>", "z<pad>"]);
    }

    #[test]
    fn a_ready_made_prompt_writes_tokens_and_a_trace_knows_its_columns() {
        let text = "<pad>is <eos> text?<eos>";
        let both = json!({"prompt": text, "question": "is <eos> text?"});
        assert_eq!(found(both, text).unwrap(), [""; 0]);
        let traced = json!({"prompt": text, "question": "is <eos> text?", "prompt_ids": [1]});
        assert_eq!(found(traced, text).unwrap(), ["is <eos> text?"]);
    }

    #[test]
    fn a_name_alone_is_refused_where_nobody_can_tell_whose_it_is() {
        let error = found(json!({"end": "<eos>", "question": "q"}), "q<eos>").unwrap_err();
        assert!(
            error.starts_with("`end` is the name of a special token and nothing else, \"<eos>\""),
            "{error}"
        );
        assert_eq!(found(json!({"end": "<eos>", "question": "q"}), "q<pad>").unwrap(), [""; 0]);
    }
}
