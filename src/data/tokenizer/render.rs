//! Prompts as text and tokens: conversations by way of the chat template.

use super::Tokenizer;
use crate::data::marked::{Marked, mark, unmark};
use crate::data::{Example, Message, Prompt, said};
use crate::error::{Error, Result};
use serde_json::{Map, Value};

/// What texts are called in messages.
const PROMPT: &str = "prompt";
const COMPLETION: &str = "completion";

impl Tokenizer {
    /// A prompt's ids: a conversation through the chat template, up to where the assistant begins; plain text as it
    /// stands, special tokens in it too, after the beginning token if this tokenizer adds one.
    pub fn render(&self, prompt: &Prompt) -> Result<Vec<u32>> {
        match prompt {
            Prompt::Chat(messages) => self.ids_of(&self.conversation(messages, &Map::new(), true)?),
            Prompt::Text(text) => self.text_ids(Marked { text: text.clone(), plain: Vec::new() }),
        }
    }

    /// The same of an example, whose chat template may ask for variables, and what it says of special tokens is text.
    ///
    /// # Errors
    /// A text of which nobody can tell whether the row says it.
    pub fn render_example(&self, example: &Example) -> Result<Vec<u32>> {
        match &example.prompt {
            Prompt::Chat(messages) => self.ids_of(&self.conversation(messages, &example.variables, true)?),
            prompt => self.render_from(prompt, example),
        }
    }

    /// The same of another prompt that was made of the row.
    ///
    /// # Errors
    /// As [`render_example`](Self::render_example).
    pub fn render_from(&self, prompt: &Prompt, row: &Example) -> Result<Vec<u32>> {
        let (Prompt::Text(text), Some(special)) = (prompt, &self.special) else { return self.render(prompt) };
        let plain = said::plain(row, (PROMPT, text), special).map_err(Error::Data)?;
        self.text_ids(Marked { text: text.clone(), plain })
    }

    /// The ids of a row's completion behind plain text and of the end of sequence, where the completion was made of the row's columns and these name
    /// special tokens, which are text there; else none.
    ///
    /// # Errors
    /// As [`render_example`](Self::render_example).
    pub(in crate::data) fn made(&self, row: &Example) -> Result<Option<Vec<u32>>> {
        let (Prompt::Text(before), Some(text), Some(special)) = (&row.prompt, &row.completion, &self.special)
        else {
            return Ok(None);
        };
        if before.is_empty() || !said::is_made(row, text) {
            return Ok(None);
        }
        let plain = said::plain(row, (COMPLETION, text), special).map_err(Error::Data)?;
        if plain.is_empty() {
            return Ok(None);
        }
        let mut ids = self.ids_after(&Marked { text: text.clone(), plain })?;
        // The template may write what ends it.
        if ids.last() != Some(&self.eos) {
            ids.push(self.eos);
        }
        Ok(Some(ids))
    }

    fn text_ids(&self, marked: Marked) -> Result<Vec<u32>> {
        let begins = |bos: &str| {
            marked.text.starts_with(bos) && marked.plain.first().is_none_or(|said| said.start >= bos.len())
        };
        // The token stands beside the text: written before it, it would take the space that some tokenizers put before a first word.
        match &self.bos {
            Some((bos, id)) if !begins(bos) => Ok([vec![*id], self.ids_of(&marked)?].concat()),
            _ => self.ids_of(&marked),
        }
    }

    /// A conversation as text; with `generate`, up to where the assistant's next turn begins, or goes on where the last turn is the
    /// assistant's.
    pub fn render_chat(&self, messages: &[Message], generate: bool) -> Result<String> {
        self.conversation(messages, &Map::new(), generate).map(|marked| marked.text)
    }

    /// A conversation as text, with what rows write of special tokens marked.
    pub(crate) fn conversation(
        &self,
        messages: &[Message],
        variables: &Map<String, Value>,
        generate: bool,
    ) -> Result<Marked> {
        let chat = self.chat.as_ref().ok_or_else(|| {
            Error::Data(
                "this model has no chat template and the prompt is a conversation: rows of `messages` need a model with a template, and \
                 those of `question`s are asked in plain text with data.template.chat = false"
                    .to_string(),
            )
        })?;
        let given = self.special.as_ref().and_then(|special| mark(messages, variables, special));
        let (turns, variables, names) = match &given {
            Some(given) => (given.messages.as_slice(), &given.variables, given.names.as_slice()),
            None => (messages, variables, &[][..]),
        };
        let text = match turns.split_last() {
            Some((last, before)) if generate && last.role == "assistant" => {
                let (last, space) = up_to_here(last);
                begun(
                    &chat.render_with(&[before, std::slice::from_ref(&last)].concat(), variables, false)?,
                    &space,
                )?
            }
            _ => chat.render_with(turns, variables, generate)?,
        };
        Ok(match names.is_empty() {
            true => Marked { text, plain: Vec::new() },
            false => unmark(&text, names),
        })
    }

    /// What the chat template writes of an assistant's turn behind a prompt; none where it writes the prompt otherwise once the turn
    /// follows.
    ///
    /// # Errors
    /// The template refuses the conversation.
    pub fn reply(
        &self,
        prompt: &[Message],
        turn: &Message,
        variables: &Map<String, Value>,
    ) -> Result<Option<Reply>> {
        let before = self.conversation(prompt, variables, true)?.text;
        let whole = self.conversation(&[prompt, std::slice::from_ref(turn)].concat(), variables, false)?;
        let Some(written) = whole.text.strip_prefix(before.as_str()) else { return Ok(None) };
        let (turn, from) = (self.without_end(written), before.len());
        let end = self.special.as_ref().and_then(|special| special.find(&written[turn.len()..]));
        let end = end.filter(|end| end.start() == 0).and_then(|end| self.token_to_id(end.as_str()));
        let mut ids = self.ids_after(&whole.part(from..from + turn.len()))?;
        ids.push(end.or(self.turn.end).unwrap_or(self.eos));
        let said = turn.strip_prefix(self.turn.lead.as_str()).unwrap_or(turn);
        let said = said.strip_suffix(self.turn.tail.as_str()).unwrap_or(said);
        Ok(Some(Reply { text: said.to_string(), ids }))
    }

    /// A turn without the special token at its end, and without the end of sequence that some templates write behind that; where no
    /// token ends it, without the white space at its end.
    pub(in crate::data) fn without_end<'t>(&self, written: &'t str) -> &'t str {
        let trimmed = written.trim_end();
        let Some((rest, last)) = self.before_special(trimmed) else { return trimmed };
        let id = |token: &str| self.token_to_id(token);
        match self.before_special(rest.trim_end()) {
            Some((turn, own)) if id(last) == Some(self.eos) && own != last && id(own) == self.turn.end => {
                turn
            }
            _ => rest,
        }
    }

    /// A text that ends with a special token without it, and the token.
    fn before_special<'t>(&self, text: &'t str) -> Option<(&'t str, &'t str)> {
        let last = self.special.as_ref()?.find_iter(text).last().filter(|last| last.end() == text.len())?;
        Some((&text[..last.start()], last.as_str()))
    }

    /// Where the first token behind `from` stands that ends a turn, and that the template wrote.
    pub(in crate::data) fn turn_ends(&self, conversation: &Marked, from: usize) -> Option<usize> {
        let Marked { text, plain } = conversation;
        let said = |at: usize| plain.iter().any(|range| range.contains(&at));
        let all = self.special.as_ref()?.find_iter(&text[from..]);
        all.filter(|found| self.token_to_id(found.as_str()).is_some_and(|id| self.ends_turn(id)))
            .map(|found| from + found.start())
            .find(|at| !said(*at))
    }

    /// Whether a token ends what the assistant says: the one behind a turn, or the end of sequence.
    pub(in crate::data) fn ends_turn(&self, id: u32) -> bool {
        id == self.eos || Some(id) == self.turn.end
    }

    /// How the chat template writes a turn, tried out on some; nothing where it refuses so short a conversation.
    pub(super) fn turn_as_written(&self) -> Turn {
        const SAID: &str = "zq7";
        if self.chat.is_none() {
            return Turn::default();
        }
        let asked = Message::new("user", "a");
        let Ok(before) = self.render_chat(std::slice::from_ref(&asked), true) else { return Turn::default() };
        let around = |said: &str| {
            let turns = [asked.clone(), Message::new("assistant", said)];
            let whole = self.render_chat(&turns, false).ok()?;
            let (lead, tail) = whole.strip_prefix(before.as_str())?.split_once(SAID)?;
            Some((lead.to_owned(), tail.to_owned()))
        };
        let Some((lead, tail)) = around(SAID) else { return Turn::default() };
        let mut turn = Turn::default();
        for space in [' ', '\n', '\t'] {
            let Some(spaced) = around(&format!("{space}{SAID}{space}")) else { continue };
            turn.trims[0].extend((spaced.0 == lead).then_some(space));
            turn.trims[1].extend((spaced.1 == tail).then_some(space));
        }
        let ends = self.special.as_ref().and_then(|special| special.find(&tail));
        let ends = ends.filter(|end| tail[..end.start()].trim().is_empty());
        turn.end = ends.and_then(|end| self.token_to_id(end.as_str()));
        turn.tail = ends.map_or_else(String::new, |end| tail[..end.start()].to_owned());
        turn.lead = if lead.trim().is_empty() { lead } else { String::new() };
        turn
    }
}

/// A turn of the assistant as the chat template writes it.
#[derive(Debug, Clone, PartialEq)]
pub struct Reply {
    /// What stands there, but for what stands around every turn.
    pub text: String,
    /// The ids of all of it, with the token that ends the turn.
    pub ids: Vec<u32>,
}

/// How the chat template writes an assistant's turn around what it says.
#[derive(Debug, Clone, Default)]
pub(super) struct Turn {
    /// The white space that it writes before that.
    pub lead: String,
    /// The white space that it writes between that and the token that ends the turn.
    pub tail: String,
    /// The special token that ends the turn.
    pub end: Option<u32>,
    /// Characters of white space that it takes off the beginning and the end of what is said.
    pub trims: [Vec<char>; 2],
}

impl Turn {
    /// What is said as the template writes it; `begun` where it goes on in a turn that stands there already.
    pub fn written(&self, text: &str, begun: bool) -> String {
        let [start, end] = &self.trims;
        let text = text.trim_end_matches(end.as_slice());
        match begun {
            true => format!("{text}{}", self.tail),
            false => format!("{}{}{}", self.lead, text.trim_start_matches(start.as_slice()), self.tail),
        }
    }
}

/// Stands behind what the last turn says while it is rendered: a character of private use that no text should have.
const HERE: char = '\u{E0F2}';

/// The turn with that mark behind what it says, and the white space that follows the mark.
fn up_to_here(turn: &Message) -> (Message, String) {
    let (core, space) = turn.content.split_at(turn.content.trim_end().len());
    let content = if core.is_empty() { String::new() } else { format!("{core}{HERE}{space}") };
    (Message { content, ..turn.clone() }, space.to_owned())
}

/// A conversation up to the end of what its last turn, the assistant's, says, from where it goes on.
fn begun(text: &str, space: &str) -> Result<String> {
    let (said, behind) = text.rsplit_once(HERE).ok_or_else(|| {
        Error::Data(
            "the prompt ends with an assistant's turn, and the model's chat template does not write what it says; end the \
             prompt with the user's turn"
                .to_string(),
        )
    })?;
    // White space at its end stays where the template keeps it.
    let kept = if behind.starts_with(space) { space } else { "" };
    Ok(said.replace(HERE, "") + kept)
}
