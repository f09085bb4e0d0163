//! `train chat`: a conversation with a model.

use super::named::{Asking, Found, Model};
use super::verb::Verb;
use crate::data::{Example, Message, Prompt};
use crate::engine::{Request, Sampling, StopReason};
use crate::error::{Error, Result};
use crate::log::terminal::{say, shown, tell};
use crate::policy::Policy;
use crate::recipe::Registry;
use crate::seed;
use clap::Parser;
use std::io::{BufRead, IsTerminal, Write};
use std::sync::Arc;

/// Talk to a model: a line is a turn, and its answer is written as it comes.
#[derive(Debug, Parser)]
#[command(after_help = EXAMPLES)]
pub(super) struct Chat {
    #[command(flatten)]
    model: Model,
    #[command(flatten)]
    asking: Asking,
}

const EXAMPLES: &str = "Each line from standard input is a turn. /new begins anew, /system TEXT changes the system turn and begins anew, /quit or
the end of the input ends; at a terminal, another word behind / is no turn. A model without a chat template has no memory: each line is put to it as the run's rows were.

Examples:
  train chat checkpoints/mine
  train chat HuggingFaceTB/SmolLM2-135M-Instruct --system 'Answer in one sentence.'
  echo 'What is 2+3?' | train chat checkpoints/mine --temperature 0";

/// Tokens between two looks at what has been written.
const PIECE: usize = 8;

impl Verb for Chat {
    fn run(self, registry: &Registry) -> Result<()> {
        let mut found = self.model.find(registry)?;
        let policy = self.model.load(&found, 1)?;
        self.asking.apply(&mut found, &policy)?;
        let input = std::io::stdin();
        let live = input.is_terminal();
        if live {
            say(&format!("{}; /new begins anew, /quit ends", found.folder.display()));
        }
        let mut talk = Talk { policy: &policy, found, turns: vec![], asked: 0, seed: self.asking.seed };
        loop {
            if live {
                let _ = write!(std::io::stderr(), "> ");
            }
            let mut bytes = Vec::new();
            if input.lock().read_until(b'\n', &mut bytes).map_err(Error::io("standard input"))? == 0 {
                return Ok(());
            }
            let Ok(line) = String::from_utf8(bytes) else {
                let what = "a line that is not UTF-8 is no turn; write it as UTF-8";
                if live {
                    say(&format!("error: {what}"));
                    continue;
                }
                return Err(Error::Data(format!("standard input: {what}")));
            };
            match line.trim() {
                "" => {}
                "/quit" | "/exit" => return Ok(()),
                "/new" => talk.turns.clear(),
                line => match (system(line), unknown(line).filter(|_| live)) {
                    (Some(text), _) => talk.system(text),
                    (None, Some(what)) => say(&what),
                    (None, None) => match talk.turn(line) {
                        // What a question is too long for, another may not be.
                        Err(Error::Data(what)) if live => say(&format!("error: {what}")),
                        other => other?,
                    },
                },
            }
        }
    }
}

/// What `/system` says.
fn system(line: &str) -> Option<&str> {
    let text = line.strip_prefix("/system")?;
    (text.is_empty() || text.starts_with(char::is_whitespace)).then(|| text.trim())
}

/// What is said of a line that looks like a command, and is none.
fn unknown(line: &str) -> Option<String> {
    let word = line.split_whitespace().next()?;
    let name = word.strip_prefix('/')?;
    let is_one = !name.is_empty() && name.chars().all(|c| c.is_ascii_alphabetic());
    is_one.then(|| format!("`{word}` is no command; there are /new, /system TEXT and /quit"))
}

/// A conversation so far.
struct Talk<'a> {
    policy: &'a Policy,
    found: Found,
    turns: Vec<Message>,
    asked: u64,
    seed: u64,
}

impl Talk<'_> {
    fn system(&mut self, text: &str) {
        self.found.data.template.system = (!text.is_empty()).then(|| text.into());
        self.turns.clear();
    }

    fn turn(&mut self, text: &str) -> Result<()> {
        let (prompt, row) = self.prompt(text)?;
        self.asked += 1;
        let tokenizer = &self.policy.tokenizer;
        let tokens = match &row {
            Some(row) => tokenizer.render_from(&prompt, row)?,
            None => tokenizer.render(&prompt)?,
        };
        let answer = self.answer(tokens)?;
        if let Prompt::Chat(turns) = prompt {
            self.turns = turns;
            self.turns.push(Message::new("assistant", answer));
        }
        Ok(())
    }

    /// The first turn is put as the run's rows were, and is one; those after it stand as they are.
    fn prompt(&self, text: &str) -> Result<(Prompt, Option<Arc<Example>>)> {
        if !self.turns.is_empty() {
            let turns = self.turns.iter().cloned().chain([Message::new("user", text)]);
            return Ok((Prompt::Chat(turns.collect()), None));
        }
        let asked = self.found.data.of_questions(&[text.to_owned()], &self.found.hub, self.found.run_seed)?;
        Ok((asked[0].prompt.clone(), Some(asked[0].clone())))
    }

    /// Writes the answer to `prompt`, piece by piece.
    fn answer(&self, prompt: Vec<u32>) -> Result<String> {
        let mut sampler = self.policy.sampler();
        sampler.keep_cache(true);
        let (mut written, mut text) = (Vec::new(), String::new());
        // A text that ends a completion may lie across two pieces.
        let piece = if self.found.sampling.stop.is_empty() { PIECE } else { usize::MAX };
        let room = self.policy.context().saturating_sub(prompt.len()).min(self.found.sampling.max_new_tokens);
        while written.is_empty() || written.len() < room {
            let left = room.saturating_sub(written.len()).max(1);
            let sampling = Sampling { max_new_tokens: left.min(piece), ..self.found.sampling.clone() };
            let seeds = vec![seed::derive(&[self.seed, self.asked, written.len() as u64])];
            let request = Request { prompt: [prompt.as_slice(), &written].concat(), seeds };
            let mut generated = sampler.generate(&[request], &sampling, &mut |_| {})?;
            let Some(completion) = generated.completions.pop().and_then(|mut all| all.pop()) else { break };
            written.extend(completion.tokens);
            let whole = self.policy.tokenizer.decode(&written);
            // A character may lie across two tokens: it is written once it is whole.
            let sure = whole.trim_end_matches('\u{fffd}');
            if let Some(new) = sure.strip_prefix(text.as_str()) {
                tell(new).map_err(Error::io("standard output"))?;
                text = sure.to_owned();
            }
            if completion.stop != StopReason::Length {
                break;
            }
        }
        tell("\n").map_err(Error::io("standard output"))?;
        Ok(shown(&text).trim_end().to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_a_command_or_a_turn() {
        assert_eq!(
            ["/system", "/system  Be kind. ", "/systems", "system"].map(system),
            [Some(""), Some("Be kind."), None, None]
        );
        for line in ["/nosuch", "/help me", "/News"] {
            assert!(unknown(line).unwrap().contains("there are /new, /system TEXT and /quit"), "{line}");
        }
        for line in ["/usr/bin is what?", "/", "/ 2", "1/2", "/2", "what is /new?", ""] {
            assert_eq!(unknown(line), None, "{line}");
        }
    }
}
