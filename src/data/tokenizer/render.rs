//! Prompts as text and tokens: conversations by way of the chat template.

use super::Tokenizer;
use crate::data::marked::{Marked, mark, unmark};
use crate::data::{Example, Message, Prompt};
use crate::error::{Error, Result};
use serde_json::{Map, Value};

impl Tokenizer {
    /// A prompt's ids: a conversation through the chat template, up to where the assistant begins; plain text as it
    /// stands, after the beginning token if this tokenizer adds one.
    pub fn render(&self, prompt: &Prompt) -> Result<Vec<u32>> {
        self.render_with(prompt, &Map::new())
    }

    /// The same of an example, whose chat template may ask for variables.
    pub fn render_example(&self, example: &Example) -> Result<Vec<u32>> {
        self.render_with(&example.prompt, &example.variables)
    }

    fn render_with(&self, prompt: &Prompt, variables: &Map<String, Value>) -> Result<Vec<u32>> {
        match prompt {
            Prompt::Chat(messages) => self.ids_of(&self.conversation(messages, variables, true)?),
            // The token stands beside the text: written before it, it would take the space that some tokenizers put before a first word.
            Prompt::Text(text) => match &self.bos {
                Some((bos, id)) if !text.starts_with(bos) => Ok([vec![*id], self.encode(text)?].concat()),
                _ => self.encode(text),
            },
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
                "this model has no chat template and the prompt is a conversation; where it is made of `question`s, \
                 data.template.chat = false makes plain-text prompts; rows of `messages` need a model with a template"
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

    /// What the chat template writes of an assistant's turn behind a prompt, the token that ends the turn left out; none where the
    /// template writes the prompt otherwise once the turn follows.
    ///
    /// # Errors
    /// The template refuses the conversation.
    pub fn reply(
        &self,
        prompt: &[Message],
        turn: &Message,
        variables: &Map<String, Value>,
    ) -> Result<Option<String>> {
        let before = self.conversation(prompt, variables, true)?.text;
        let whole = self.conversation(&[prompt, std::slice::from_ref(turn)].concat(), variables, false)?.text;
        let Some(written) = whole.strip_prefix(before.as_str()) else { return Ok(None) };
        Ok(Some(self.without_end(written).to_string()))
    }

    /// A turn without the white space and the special token at its end, and without the end of sequence that some templates write behind that.
    pub(in crate::data) fn without_end<'t>(&self, written: &'t str) -> &'t str {
        let trimmed = written.trim_end();
        let Some((rest, last)) = self.before_special(trimmed) else { return trimmed };
        let id = |token: &str| self.token_to_id(token);
        match self.before_special(rest) {
            Some((turn, own)) if id(last) == Some(self.eos) && own != last && id(own) == self.turn.1 => turn,
            _ => rest,
        }
    }

    /// A text that ends with a special token without it and the white space before it, and the token.
    fn before_special<'t>(&self, text: &'t str) -> Option<(&'t str, &'t str)> {
        let last = self.special.as_ref()?.find_iter(text).last().filter(|last| last.end() == text.len())?;
        Some((text[..last.start()].trim_end(), last.as_str()))
    }

    /// How the chat template writes a turn, tried out on one; nothing where it refuses so short a conversation.
    pub(super) fn turn_as_written(&self) -> (String, Option<u32>) {
        const SAID: &str = "zq7";
        let none = || (String::new(), None);
        if self.chat.is_none() {
            return none();
        }
        let turns = [Message::new("user", "a"), Message::new("assistant", SAID)];
        let (Ok(before), Ok(whole)) = (self.render_chat(&turns[..1], true), self.render_chat(&turns, false))
        else {
            return none();
        };
        let written = whole.strip_prefix(before.as_str()).and_then(|rest| rest.split_once(SAID));
        let Some((lead, tail)) = written else { return none() };
        let ends = self.special.as_ref().and_then(|special| special.find(tail.trim_start()));
        let end = ends.filter(|end| end.start() == 0).and_then(|end| self.token_to_id(end.as_str()));
        let lead = if lead.trim().is_empty() { lead } else { "" };
        (lead.to_string(), end)
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
