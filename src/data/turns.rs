//! Where the assistant's turns stand in a conversation's tokens, so that supervised training can learn all of them.

use super::{Example, Prompt, Tokenizer};
use crate::error::{Error, Result};
use std::ops::Range;

/// Where the turns that are learned stand in the ids of the example's prompt: what is said, with the token that ends the turn
/// where the template writes one.
///
/// # Errors
/// [`Error::Data`] where the template writes an earlier turn otherwise than it wrote it when it was the last: what would be
/// learned is then not what is sampled.
pub fn learned_turns(tokenizer: &Tokenizer, example: &Example) -> Result<Vec<Range<usize>>> {
    let (Prompt::Chat(messages), false) = (&example.prompt, example.learned_turns.is_empty()) else {
        return Ok(vec![]);
    };
    let text = tokenizer.render_chat(messages, true)?;
    let tokens = tokenizer.encode_with_places(&text)?;
    let span = |&turn: &usize| -> Result<Range<usize>> {
        let before = tokenizer.render_chat(&messages[..turn], true)?;
        let said = text.strip_prefix(before.as_str()).map(|rest| rest.starts_with(&messages[turn].content));
        if said != Some(true) {
            return Err(Error::Data(format!(
                "example {}: the model's chat template writes turn {} otherwise once other turns follow it, so that what is \
                 learned would not be what is sampled; give the last turn alone as `prompt` and `completion`",
                example.id,
                turn + 1
            )));
        }
        let (from, to) = (before.len(), before.len() + messages[turn].content.len());
        // A token that holds any part of what is said.
        let begin = tokens.partition_point(|(_, place)| place.end <= from);
        let end = tokens.partition_point(|(_, place)| place.start < to).max(begin);
        let ends = tokens.get(end).is_some_and(|(id, _)| tokenizer.decode(&[*id]).is_empty());
        Ok(begin..end + usize::from(ends))
    };
    example.learned_turns.iter().map(span).collect()
}
