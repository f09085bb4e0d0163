//! Where what was given stands in rows that are traces, and among the tokens of their texts.

use super::row::Problems;
use super::{Example, Tokenizer};
use crate::error::Result;
use crate::rationale::given::{COLUMN, Given};
use std::borrow::Borrow;
use std::ops::Range;
use std::sync::Arc;

/// The bytes of `text` that were given, where it is the completion of a row that is a trace of one; nothing of other rows.
///
/// # Errors
/// A column that says something else; a text that is another than the row's completion, of which nobody knows what was given.
pub fn of_row(row: &Example, text: &str) -> std::result::Result<Vec<Range<usize>>, String> {
    let Some(column) = row.fields.get(COLUMN).filter(|column| !column.is_null()) else { return Ok(vec![]) };
    let given: Vec<Given> = serde_json::from_value(column.clone()).map_err(|error| {
        format!("its `{COLUMN}` must say which tokens and bytes of its completion were given, as traces do: {error}")
    })?;
    if given.is_empty() {
        return Ok(vec![]);
    }
    let completion =
        row.fields.get("completion").and_then(|completion| completion.as_str()).unwrap_or_default();
    // Of a completion that thinks, the tag may stand in the prompt.
    let Some(before) = completion.strip_suffix(text) else {
        return Err(format!(
            "parts of its completion were given by a tool (`{COLUMN}`), and what is to be learned is another text, of which nobody knows \
             what was given; learn the completion as it stands"
        ));
    };
    let moved = given.into_iter().map(|Given { bytes, .. }| {
        bytes.start.saturating_sub(before.len())..bytes.end.saturating_sub(before.len())
    });
    let moved: Vec<Range<usize>> = moved.filter(|bytes| !bytes.is_empty()).collect();
    match moved.iter().find(|bytes| text.get((*bytes).clone()).is_none()) {
        None => Ok(moved),
        Some(bytes) => Err(format!(
            "its `{COLUMN}` names bytes {bytes:?}, which are no part of its completion of {}",
            text.len()
        )),
    }
}

/// The ids that the completion `text` of a row was sampled in, with the tokens that were given, where parts of it were and the ids are this
/// tokenizer's: what stands between turns may have no text. None of other rows.
pub fn sampled(tokenizer: &Tokenizer, row: &Example, text: &str) -> Option<(Vec<u32>, Vec<Range<usize>>)> {
    let given: Vec<Given> = serde_json::from_value(row.fields.get(COLUMN)?.clone()).ok()?;
    let ids: Vec<u32> = serde_json::from_value(row.fields.get("completion_ids")?.clone()).ok()?;
    let inside = |part: &Given| part.tokens.start <= part.tokens.end && part.tokens.end <= ids.len();
    let ours = !given.is_empty() && given.iter().all(inside) && tokenizer.decode(&ids) == text;
    ours.then(|| (ids, given.into_iter().map(|part| part.tokens).collect()))
}

/// Refuses rows of whose completions parts were given, for who learns all of one: `who` begins the reason, as in `loop.think learns`.
///
/// # Errors
/// All such rows.
pub fn refuse(rows: &[Arc<Example>], who: &str) -> Result<()> {
    let mut problems = Problems::default();
    for row in rows {
        let given = of_row(row, row.completion.as_deref().unwrap_or_default());
        if !given.is_ok_and(|given| given.is_empty()) {
            let what = format!(
                "parts of its completion were given by a tool (`{COLUMN}`), and {who} all of a completion; leave it out"
            );
            problems.example(row, what);
        }
    }
    problems.into_result()
}

/// Of each of `spans`, bytes of `text`, the tokens of `ids` that hold any part of it; `ids` are the text and what a template writes around it.
///
/// # Errors
/// Ids that do not give the text back, in words that follow the row's place.
pub fn holding<S: Borrow<Range<usize>>>(
    tokenizer: &Tokenizer,
    ids: &[u32],
    text: &str,
    spans: impl IntoIterator<Item = S>,
) -> std::result::Result<Vec<Range<usize>>, String> {
    let mut spans = spans.into_iter().peekable();
    if spans.peek().is_none() {
        return Ok(vec![]);
    }
    // A conversation's turn may be written with something around it.
    let decoded = tokenizer.decode(ids);
    let Some(begin) = decoded.find(text) else {
        return Err("its tokens do not give its text back, so that spans of it have no tokens".to_owned());
    };
    let tokens = |span: S| {
        let span: &Range<usize> = span.borrow();
        let mut tokens = tokenizer.tokens_of(ids, begin + span.start..begin + span.end);
        // A character may begin in a token before the one that completes it.
        while tokens.start > 0 && tokenizer.decode(&ids[..tokens.start]).ends_with('\u{FFFD}') {
            tokens.start -= 1;
        }
        tokens
    };
    Ok(spans.map(tokens).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn row(completion: &str, given: Value) -> Example {
        let fields = [("completion".to_string(), json!(completion)), (COLUMN.to_string(), given)];
        Example { fields: fields.into_iter().collect(), ..Example::text("row:1", "?") }
    }

    #[test]
    fn a_trace_says_what_of_its_completion_was_given() {
        let part = |bytes: Range<usize>| json!({"tokens": {"start": 0, "end": 1}, "bytes": {"start": bytes.start, "end": bytes.end}});
        let given = json!([part(4..6), part(9..10)]);
        assert_eq!(of_row(&row("2*3=6; 1=1", given.clone()), "2*3=6; 1=1"), Ok(vec![4..6, 9..10]));
        // The text without what stands in the prompt already.
        assert_eq!(of_row(&row("2*3=6; 1=1", given.clone()), "=6; 1=1"), Ok(vec![1..3, 6..7]));
        assert!(of_row(&row("2*3=6; 1=1", given.clone()), "6").unwrap_err().contains("is another text"));
        assert!(of_row(&row("2*3=6", given), "2*3=6").unwrap_err().contains("names bytes"));
        assert!(of_row(&row("x", json!("some")), "x").unwrap_err().contains("as traces do"));
        assert_eq!(of_row(&row("x", json!([])), "another"), Ok(vec![]));
        assert_eq!(of_row(&Example::text("row:1", "?"), "x"), Ok(vec![]));
    }

    #[test]
    fn ids_that_were_sampled_are_taken_where_they_are_this_tokenizers() {
        let tokenizer = Tokenizer::bytes();
        // The end of the first turn has no text.
        let ids =
            [tokenizer.encode("a").unwrap(), vec![tokenizer.eos()], tokenizer.encode("bc").unwrap()].concat();
        let mut trace =
            row("abc", json!([{"tokens": {"start": 2, "end": 3}, "bytes": {"start": 1, "end": 2}}]));
        assert_eq!(sampled(&tokenizer, &trace, "abc"), None);
        trace.fields.insert("completion_ids".into(), json!(ids));
        let found = sampled(&tokenizer, &trace, "abc").unwrap();
        assert_eq!(found, (ids, vec![Range { start: 2, end: 3 }]));
        assert_eq!(sampled(&tokenizer, &trace, "other"), None);
        assert_eq!(sampled(&tokenizer, &Example::text("row:1", "?"), "abc"), None);
    }

    #[test]
    fn a_token_with_any_part_of_a_span_holds_it() {
        let tokenizer = Tokenizer::bytes();
        let ids = [tokenizer.encode("aé=b").unwrap(), vec![tokenizer.eos()]].concat();
        assert_eq!(holding(&tokenizer, &ids, "aé=b", [1..3, 4..5]), Ok(vec![1..3, 4..5]));
        assert_eq!(
            holding(&tokenizer, &ids, "aé=b", std::iter::once(2..3)),
            Ok(vec![Range { start: 1, end: 3 }])
        );
        assert_eq!(holding(&tokenizer, &ids, "other", Vec::<Range<usize>>::new()), Ok(vec![]));
        assert!(
            holding(&tokenizer, &ids, "other", std::iter::once(0..1))
                .unwrap_err()
                .contains("do not give its text back")
        );
    }
}
