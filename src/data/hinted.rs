//! Questions as they are asked again with a hint: with another user turn over the same rows.

use super::row::Problems;
use super::template::Jinja;
use super::threads::each;
use super::{Data, Example, Hub, Prompted, Split, Tokenizer};
use crate::error::{Error, Result};
use std::sync::Arc;

/// The training rows, rendered again with a hint in the place of the user turn.
#[derive(Debug)]
pub struct Hinted {
    examples: Vec<Arc<Example>>,
}

impl Hinted {
    /// Reads and renders them, with the `hint` in few-shot examples too.
    ///
    /// # Errors
    /// As [`Data::load`].
    pub fn load(data: &Data, hint: &Jinja, hub: &Hub, seed: u64) -> Result<Self> {
        let mut data = data.clone();
        data.template.user = hint.clone();
        Ok(Self { examples: data.load(Split::Train, hub, seed)?.examples })
    }

    /// The prompts with the hint of questions that are asked without it, in their order; they are of the same rows.
    ///
    /// # Errors
    /// Those that cannot be asked with it, all of them: a prompt that is ready-made, one with what the tokenizer refuses, one that fills the
    /// `context`.
    pub fn of(&self, questions: &[Prompted], tokenizer: &Tokenizer, context: usize) -> Result<Vec<Prompted>> {
        let (mut found, mut problems) = (Vec::with_capacity(questions.len()), Problems::default());
        let prompts = each(questions, |question| self.prompt(&question.example, tokenizer, context))?;
        for (question, prompt) in questions.iter().zip(prompts) {
            match prompt {
                Ok(prompt) => found.push(prompt),
                Err(error) => problems.of(&question.example, error)?,
            }
        }
        problems.into_result()?;
        Ok(found)
    }

    fn prompt(&self, plain: &Example, tokenizer: &Tokenizer, context: usize) -> Result<Prompted> {
        let example = self.examples[plain.index].clone();
        let refused = |what: &str| Err(Error::Data(what.to_owned()));
        if example.prompt == plain.prompt {
            return refused(
                "it brings its prompt ready-made, so rollout.hint.hint cannot put the answer into it; give the row \
                 `question` and `answer` columns, or use [rollout.group]",
            );
        }
        let tokens = tokenizer.render_example(&example)?;
        if tokens.len() >= context {
            return refused(
                "with its hint the prompt is longer than the model's context; set data.max_prompt_tokens or a shorter \
                 rollout.hint.hint",
            );
        }
        Ok(Prompted::new(example, tokens))
    }
}
