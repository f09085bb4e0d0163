//! Where the assistant's turns stand in a conversation's tokens, so that supervised training can learn all of them.

use super::conversation::{REASONING, is_assistants};
use super::row::some;
use super::tokenizer::Reply;
use super::{Example, Feedback, Message, Prompt, THINKING, Tokenizer};
use crate::error::{Error, Result};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

/// Where the turns that are learned stand in the ids of the example's prompt: what is said, with the token that ends the turn
/// where the template writes one.
///
/// # Errors
/// [`Error::Data`] where the template does not write what a turn says once others follow it, or then writes otherwise what stands before
/// it: what would be learned is then not what is sampled.
pub fn learned_turns(tokenizer: &Tokenizer, example: &Example) -> Result<Vec<Range<usize>>> {
    let (Prompt::Chat(messages), false) = (&example.prompt, example.learned_turns.is_empty()) else {
        return Ok(vec![]);
    };
    let marked = tokenizer.conversation(messages, &example.variables, true)?;
    let (text, tokens) = (&marked.text, tokenizer.places_of(&marked)?);
    let span = |&turn: &usize| -> Result<Range<usize>> {
        let before = tokenizer.conversation(&messages[..turn], &example.variables, true)?.text;
        let wrong = |does: &str, how: &str| {
            Error::Data(format!(
                "{example}: the model's chat template {does} turn {} {how}once other turns follow it, so that what is \
                 learned would not be what is sampled; give the last turn alone as `prompt` and `completion`",
                turn + 1,
            ))
        };
        let said = &messages[turn];
        let rest = text
            .strip_prefix(before.as_str())
            .ok_or_else(|| wrong("writes what stands before", "otherwise "))?;
        let alone = tokenizer.conversation(&messages[..=turn], &example.variables, false);
        let alone = alone.ok().and_then(|alone| alone.text.strip_prefix(before.as_str()).map(str::to_owned));
        let alone =
            alone.as_deref().map(|alone| tokenizer.without_end(alone)).filter(|alone| !alone.is_empty());
        let length = match alone.filter(|alone| rest.starts_with(alone)) {
            Some(alone) => alone.len(),
            // Written otherwise than where it is the last: it goes up to the token that ends it, or is what is said.
            None => {
                let ends = tokenizer.turn_ends(&marked, before.len()).map(|end| end - before.len());
                let forms = [said.content.as_str(), said.content.trim_end(), said.content.trim()];
                let forms = || forms.into_iter().find(|said| rest.starts_with(said)).map(str::len);
                ends.or_else(forms).ok_or_else(|| wrong("writes", "otherwise "))?
            }
        };
        let written = &rest[..length];
        if !written.contains(said.content.trim()) {
            return Err(wrong("writes", "otherwise "));
        }
        if let Some(what) = lacks(written, said) {
            return Err(wrong(&format!("leaves out the {what} of"), ""));
        }
        let (from, to) = (before.len(), before.len() + length);
        // A token that holds any part of what is said.
        let begin = tokens.partition_point(|(_, place)| place.end <= from);
        let end = tokens.partition_point(|(_, place)| place.start < to).max(begin);
        let ends = tokens.get(end).is_some_and(|(id, _)| tokenizer.ends_turn(*id));
        Ok(begin..end + usize::from(ends))
    };
    example.learned_turns.iter().map(span).collect()
}

/// The turn that an example learns, as the chat template writes it: with its reasoning and its calls. None where it is the
/// completion as it stands.
///
/// # Errors
/// [`Error::Data`] where the template leaves out calls of tools, or the prompt ends with a turn that they cannot go on in.
pub fn reply(tokenizer: &Tokenizer, example: &Example) -> Result<Option<Reply>> {
    match &example.reply {
        Some(turn) => written(tokenizer, example, turn),
        None => Ok(None),
    }
}

/// The example with the turns that it compares or labels as the chat template writes them, as their like are learned alone; none where
/// they are their texts.
///
/// # Errors
/// [`Error::Data`] where the template refuses a turn.
pub fn compared(tokenizer: &Tokenizer, example: &Example) -> Result<Option<Example>> {
    let Some(mut feedback) = example.feedback.clone() else { return Ok(None) };
    let mut changed = false;
    for completion in feedback.completions_mut() {
        // What is labelled is the row's own completion.
        let own = || example.reply.clone().filter(|turn| turn.text() == completion.text);
        let Some(turn) = completion.turn.clone().or_else(own) else { continue };
        let Some(Reply { text, ids }) = written(tokenizer, example, &turn)? else { continue };
        (completion.text, completion.tokens, completion.turn) = (text, Some(ids), Some(turn));
        changed = true;
    }
    Ok(changed.then(|| Example { feedback: Some(feedback), ..example.clone() }))
}

/// A turn behind an example's prompt as the chat template writes it, where it writes all of it; none where it is its text, as what goes
/// on in a turn of the assistant's that the prompt has begun.
fn written(tokenizer: &Tokenizer, example: &Example, turn: &Message) -> Result<Option<Reply>> {
    let Prompt::Chat(prompt) = &example.prompt else { return Ok(None) };
    if !tokenizer.has_chat() {
        return Ok(None);
    }
    if prompt.last().is_some_and(|last| last.role == "assistant") {
        return match turn.tool_calls() {
            None => Ok(None),
            Some(_) => Err(Error::Data(
                "its prompt ends with a turn of the assistant's that the completion goes on with as text, and the completion calls \
                 tools; make them one turn"
                    .to_string(),
            )),
        };
    }
    let written = tokenizer.reply(prompt, turn, &example.variables)?;
    let whole =
        |Reply { text, .. }: &Reply| lacks(text, turn).is_none() && text.contains(turn.content.trim());
    match written.filter(whole) {
        Some(written) => Ok(Some(written)),
        // The reasoning stands in tags then, which need no template.
        None if turn.tool_calls().is_none() => Ok(None),
        None => Err(Error::Data(
            "the model's chat template leaves out the tool calls of its last turn; use a model whose template writes them, \
             or write them as the turn's content"
                .to_string(),
        )),
    }
}

/// The example without the tag that its completions begin with, where the chat template has opened it already; none where nothing
/// changes.
///
/// # Errors
/// [`Error::Data`] where the template has closed it, and a completion thinks all the same.
pub fn thinking_once(tokenizer: &Tokenizer, example: &Example) -> Result<Option<Example>> {
    let [open, close] = THINKING;
    let thinks = |text: &str| text.trim_start().starts_with(open);
    let all = || {
        example
            .completion
            .iter()
            .chain(&example.completions)
            .chain(example.feedback.iter().flat_map(Feedback::texts))
    };
    let Prompt::Chat(messages) = &example.prompt else { return Ok(None) };
    if !tokenizer.has_chat() || !all().any(|text| thinks(text)) {
        return Ok(None);
    }
    let asked = tokenizer.conversation(messages, &example.variables, true)?.text;
    let begun = asked.trim_end();
    if begun.ends_with(close) {
        return Err(Error::Data(format!(
            "the model's chat template ends the prompt with `{close}`, so that nothing is thought, and the row's completion thinks; take \
             enable_thinking = false out of data.template.variables, or the reasoning out of the row"
        )));
    }
    if !begun.ends_with(open) {
        return Ok(None);
    }
    let spaced = begun.len() < asked.len();
    let rest = |text: &str| match text.trim_start().strip_prefix(open) {
        Some(rest) if spaced => rest.trim_start_matches(['\n', ' ']).to_owned(),
        Some(rest) => rest.to_owned(),
        None => text.to_owned(),
    };
    let mut example = example.clone();
    example.completion = example.completion.as_deref().map(rest);
    example.completions = example.completions.iter().map(|text| rest(text)).collect();
    for text in example.feedback.iter_mut().flat_map(Feedback::texts_mut) {
        *text = rest(text);
    }
    Ok(Some(example))
}

/// Rows that are written with a key and without it, to see whether the chat template reads it.
const TRIED: usize = 20;

/// Keys that are named where several are read by nothing.
const NAMED: usize = 4;

/// Keys of turns that neither this program nor the chat template reads, in a sentence; those that most rows have are named.
pub fn unread<'a>(rows: impl IntoIterator<Item = &'a Example>, tokenizer: &Tokenizer) -> Option<String> {
    let (mut count, mut found) = (0, BTreeMap::<(&str, &str), Vec<&Example>>::new());
    for row in rows.into_iter().filter(|_| tokenizer.has_chat()) {
        count += 1;
        let keys = turns(row).flat_map(|turn| turn.unread().map(|name| (turn.role.as_str(), name)));
        for key in keys.collect::<BTreeSet<_>>() {
            found.entry(key).or_default().push(row);
        }
    }
    found.retain(|key, rows| !rows.iter().take(TRIED).any(|row| is_written(tokenizer, row, *key)));
    let mut found: Vec<_> = found.into_iter().collect();
    found.sort_by_key(|(_, rows)| Reverse(rows.len()));
    let of = |(role, name): (&str, &str)| format!("`{name}` of the {role}'s turns");
    let told = match &found[..] {
        [] => return None,
        [(key, rows)] => format!(
            "{} is read by nothing, not by the model's chat template either, and {} of {count} rows have it: {}",
            of(*key),
            rows.len(),
            some(rows)
        ),
        several => {
            let each = |(key, rows): &((&str, &str), Vec<&Example>)| {
                format!("{} ({} of {count} rows: {})", of(*key), rows.len(), some(rows))
            };
            let named: Vec<String> = several.iter().take(NAMED).map(each).collect();
            let more = several.len() - named.len();
            format!(
                "{} keys of turns are read by nothing, not by the model's chat template either: {}{}",
                several.len(),
                named.join(", "),
                if more > 0 { format!(" and {more} more") } else { String::new() }
            )
        }
    };
    let thinks = found.iter().any(|((role, _), _)| *role == "assistant");
    let thinks = thinks.then(|| format!("; what a turn thinks is read as `{}`", REASONING[0]));
    let others = found.iter().map(|(key, _)| *key).filter(|(role, _)| *role != "assistant");
    let alone: BTreeSet<&str> = others.map(|(_, name)| name).filter(|name| is_assistants(name)).collect();
    let alone = alone.iter().map(|name| format!("; `{name}` says something of the assistant's turns alone"));
    Some(told + &thinks.into_iter().chain(alone).collect::<String>())
}

/// A row's turns, with the one that is its completion.
fn turns(row: &Example) -> impl Iterator<Item = &Message> {
    let prompt = if let Prompt::Chat(turns) = &row.prompt { turns.as_slice() } else { &[] };
    prompt.iter().chain(row.reply.as_deref())
}

/// Whether the chat template writes a row otherwise where turns of this role lack this key.
fn is_written(tokenizer: &Tokenizer, row: &Example, (role, name): (&str, &str)) -> bool {
    let text = |turns: &[Message]| tokenizer.conversation(turns, &row.variables, false).map(|said| said.text);
    let whole: Vec<Message> = turns(row).cloned().collect();
    let mut without = whole.clone();
    for turn in without.iter_mut().filter(|turn| turn.role == role) {
        turn.more.shift_remove(name);
    }
    // Without a key that it asks for, a template may refuse the conversation.
    text(&whole).is_ok_and(|whole| text(&without).ok().as_ref() != Some(&whole))
}

/// What a turn has and leaves out as it is written.
fn lacks(written: &str, turn: &Message) -> Option<&'static str> {
    if turn.reasoning().is_some_and(|thought| !written.contains(thought.trim())) {
        return Some("reasoning");
    }
    turn.tool_calls().is_some_and(|calls| !has_names(written, calls)).then_some("tool calls")
}

/// Whether a turn names all the functions that are called.
fn has_names(written: &str, calls: &serde_json::Value) -> bool {
    let name = |call: &serde_json::Value| {
        let name = call["function"]["name"].as_str().or(call["name"].as_str());
        name.is_some_and(|name| written.contains(name))
    };
    calls.as_array().is_some_and(|calls| calls.iter().all(name))
}
