//! Parts of a row's text that one of its columns marks.

use super::Example;
use std::ops::Range;

/// The column `name` of a row, `[[start, end], …]` in bytes of its `text`; none where the row has no such column.
///
/// # Errors
/// What is wrong with it, in words that go on from the row's place.
pub fn spans(
    example: &Example,
    name: &str,
    text: &str,
) -> std::result::Result<Option<Vec<Range<usize>>>, String> {
    let Some(column) = example.fields.get(name) else { return Ok(None) };
    let read: Vec<[usize; 2]> = serde_json::from_value(column.clone())
        .map_err(|_| format!("its `{name}` are no list of [start, end], in bytes of its text"))?;
    let marks = |[start, end]: &[usize; 2]| text.get(*start..*end).is_some_and(|part| !part.is_empty());
    match read.iter().find(|span| !marks(span)) {
        Some([start, end]) => Err(format!(
            "the span [{start}, {end}] of its `{name}` is empty or leaves its text of {} bytes, or cuts a character",
            text.len()
        )),
        None => Ok(Some(read.into_iter().map(|[start, end]| start..end).collect())),
    }
}
