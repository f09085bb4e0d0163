//! How long a stage's rows may be, and the sentences about those that are longer.

use crate::data::row::some;
use crate::data::{Example, Prompted, Tokenizer};
use crate::error::Result;
use crate::recipe::Stage;

/// A bound in tokens and the key that sets it, as users know it.
struct Bound {
    what: &'static str,
    key: String,
    tokens: usize,
}

/// The bounds on a stage's prompts and on what it learns of a row as it stands.
pub(super) struct Lengths<'a> {
    stage: &'a Stage,
    prompt: Bound,
    learned: Bound,
}

/// Why a row is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TooLong {
    Prompt,
    Learned,
}

impl<'a> Lengths<'a> {
    /// Those of a stage whose model has so long a context.
    pub(super) fn of(stage: &'a Stage, context: usize) -> Self {
        let own = stage.method.longest();
        let of_loop = |key| format!("loop.{}.{key}", stage.method.name());
        let prompt = Bound {
            what: "their prompts",
            key: match stage.data.max_prompt_tokens {
                Some(_) => "data.max_prompt_tokens".to_owned(),
                None => "the model's context less one".to_owned(),
            },
            tokens: stage.data.max_prompt_tokens.unwrap_or(context.saturating_sub(1)),
        };
        let learned = Bound {
            what: "prompt and completion",
            key: own.map_or("the model's context".to_owned(), |(key, _)| of_loop(key)),
            tokens: own.map_or(context, |(_, tokens)| tokens.min(context)),
        };
        Self { stage, prompt, learned }
    }

    /// Tokens of the longest prompt that is asked.
    pub(super) fn longest_prompt(&self) -> usize {
        self.prompt.tokens
    }

    /// Tokens of the longest sequence that is learned of a row, as far as it is known before rollouts.
    pub(super) fn longest_learned(&self, tokenizer: &Tokenizer, row: &Prompted) -> Result<Option<usize>> {
        let learned = self.stage.method.learned_of(tokenizer, row)?;
        Ok(learned.iter().map(|learned| learned.sequence.tokens.len()).max())
    }

    /// Whether what is learned of a row fits: of a pair neither is learned where the longer one does not.
    pub(super) fn fits(&self, tokenizer: &Tokenizer, row: &Prompted) -> Result<bool> {
        Ok(self.too_long(row.tokens.len(), self.longest_learned(tokenizer, row)?).is_none())
    }

    /// Why a row with a prompt of so many tokens, of which as many are learned, is left out.
    pub(super) fn too_long(&self, prompt: usize, learned: Option<usize>) -> Option<TooLong> {
        match learned {
            _ if prompt > self.prompt.tokens => Some(TooLong::Prompt),
            Some(learned) if learned > self.learned.tokens => Some(TooLong::Learned),
            _ => None,
        }
    }

    /// That `rows`, of so many, are too long.
    pub(super) fn sentence(&self, rows: &[&Example], why: TooLong, of: &str) -> String {
        let Bound { what, key, tokens } = match why {
            TooLong::Prompt => &self.prompt,
            TooLong::Learned => &self.learned,
        };
        let are = if rows.len() == 1 { "is" } else { "are" };
        format!("{} of {of} {are} longer ({what}) than {key} = {tokens} tokens: {}", rows.len(), some(rows))
    }
}

/// That no row fits.
pub(super) fn none_is_left(sentences: &[String]) -> String {
    format!(
        "no row is left to use: {}; raise the limit, or use a model with a longer context",
        sentences.join("; ")
    )
}
