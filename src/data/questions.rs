//! The questions of a dataset, tokenised, and which of them a step asks: a pure function of a seed.

use super::row::Problems;
use super::threads::each;
use super::tokenizer::Reply;
use super::turns;
use super::{Dataset, Example, Prompt, Tokenizer, order};
use crate::error::{Error, Result};
use crate::ranks::Ranks;
use crate::seed;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// An example with its prompt as token ids.
#[derive(Debug, Clone)]
pub struct Prompted {
    /// The example.
    pub example: Arc<Example>,
    /// Its prompt, rendered and tokenised once.
    pub tokens: Vec<u32>,
    /// Its completion's ids where the chat template writes them, the turn with the token that ends it; or where the row's columns name special tokens
    /// in it, which are text.
    pub reply: Option<Vec<u32>>,
    /// Where it stands among the questions that are asked together, on whatever rank.
    pub place: usize,
    /// How often the same example stands before it there.
    pub occurrence: usize,
}

impl Prompted {
    /// An example that is asked alone.
    pub fn new(example: Arc<Example>, tokens: Vec<u32>) -> Self {
        Self { example, tokens, reply: None, place: 0, occurrence: 0 }
    }

    /// An example with its prompt's tokens, and its completion as the chat template writes it.
    ///
    /// # Errors
    /// [`Error::Data`] of a prompt without tokens, and of what the model's chat template does not take; it does not say which
    /// example.
    pub fn of(example: &Arc<Example>, tokenizer: &Tokenizer) -> Result<Self> {
        let tokens = tokenizer.render_example(example)?;
        // A text alone is learned from its second token on, where nothing begins it.
        let text_alone =
            matches!(&example.prompt, Prompt::Text(text) if text.is_empty()) && example.completion.is_some();
        if tokens.is_empty() && !text_alone {
            return Err(Error::Data("its prompt has no tokens".to_string()));
        }
        let compared = turns::compared(tokenizer, example)?.map(Arc::new);
        let example = compared.as_ref().unwrap_or(example);
        let (example, reply) = match turns::reply(tokenizer, example)? {
            None => (example.clone(), tokenizer.made(example)?),
            Some(Reply { text, ids }) => {
                let completions = match example.completions.as_slice() {
                    [_] => vec![text.clone()],
                    others => others.to_vec(),
                };
                let example = Example { completion: Some(text), completions, ..(**example).clone() };
                (Arc::new(example), Some(ids))
            }
        };
        Ok(match turns::thinking_once(tokenizer, &example)? {
            None => Self { reply, ..Self::new(example, tokens) },
            Some(example) => Self::new(Arc::new(example), tokens),
        })
    }

    /// The ids of `text` behind the prompt, and of what ends it: as the chat template writes them where it is the row's own turn.
    ///
    /// # Errors
    /// A text that the tokenizer refuses.
    pub fn completion(&self, tokenizer: &Tokenizer, text: &str) -> Result<Vec<u32>> {
        match &self.reply {
            Some(ids) if self.example.completion.as_deref() == Some(text) => Ok(ids.clone()),
            _ => tokenizer.completion(&self.example.prompt, text),
        }
    }
}

/// The questions of a dataset, tokenised, in the order of a seed.
#[derive(Debug, Default)]
pub struct Questions {
    /// All that fit, by position in the dataset.
    pub all: Vec<Prompted>,
    /// Rows left out because their prompt is longer than the limit.
    pub dropped: Vec<Arc<Example>>,
    seed: u64,
    per_step: usize,
    shuffle: bool,
    ranks: Option<Arc<dyn Ranks>>,
}

impl Questions {
    /// Renders and tokenises every prompt; drops those longer than `limit` tokens.
    pub fn new(
        dataset: &Dataset,
        tokenizer: &Tokenizer,
        limit: usize,
        per_step: usize,
        shuffle: bool,
        seed: u64,
    ) -> Result<Self> {
        let (mut all, mut dropped, mut problems) = (Vec::new(), Vec::new(), Problems::default());
        let prompted = each(&dataset.examples, |example| Prompted::of(example, tokenizer))?;
        for (example, prompted) in dataset.examples.iter().zip(prompted) {
            match prompted {
                Ok(prompted) if prompted.tokens.len() > limit => dropped.push(example.clone()),
                Ok(prompted) => all.push(prompted),
                Err(error) => problems.of(example, error)?,
            }
        }
        problems.into_result()?;
        if all.is_empty() {
            return Err(Error::Data(format!(
                "{}: every prompt is longer than {limit} tokens; raise data.max_prompt_tokens or use a model with a \
                 longer context",
                dataset.name
            )));
        }
        Ok(Self { all, dropped, seed, per_step, shuffle, ranks: None })
    }

    /// Leaves out the rows that do not fit, and gives them.
    pub fn leave_out(&mut self, fits: impl Fn(&Prompted) -> Result<bool> + Sync) -> Result<Vec<Prompted>> {
        let (mut kept, mut left) = (Vec::with_capacity(self.all.len()), Vec::new());
        let mut problems = Problems::default();
        let fit = each(&self.all, fits)?;
        for (row, fits) in std::mem::take(&mut self.all).into_iter().zip(fit) {
            match fits {
                Ok(true) => kept.push(row),
                Ok(false) => left.push(row),
                Err(error) => problems.of(&row.example, error)?,
            }
        }
        problems.into_result()?;
        self.all = kept;
        Ok(left)
    }

    /// The same questions, of which each of several ranks asks its share.
    pub fn shared(self, ranks: Arc<dyn Ranks>) -> Self {
        Self { ranks: Some(ranks), ..self }
    }

    /// This rank's questions of `step`, counted from 1: each of the dataset's comes once in a pass, whose last step has what is left.
    pub fn of_step(&self, step: usize) -> Vec<Prompted> {
        let seed = self.shuffle.then_some(self.seed);
        self.mine(&order::of_step(self.all.len(), self.per_step, step - 1, seed))
    }

    /// The `count` questions (all, where none is said) of `round`, counted from 1, of all ranks: each once, and the rounds take
    /// turns with them.
    pub fn of_round(&self, count: Option<usize>, round: usize) -> Vec<Prompted> {
        let count = count.unwrap_or(self.all.len()).min(self.all.len());
        let mut order = order::endless(self.all.len(), count, round - 1, self.shuffle.then_some(self.seed));
        let mut seen = HashSet::new();
        order.retain(|index| seen.insert(*index));
        order.into_iter().map(|index| self.all[index].clone()).collect()
    }

    /// Further questions, for the `attempt`-th resampling of `step`: another order, so that they differ, where the steps keep to the
    /// data's order too.
    pub fn resample(&self, step: usize, attempt: usize) -> Vec<Prompted> {
        let seed = seed::derive(&[self.seed, seed::of_text("spare"), attempt as u64]);
        self.mine(&order::endless(self.all.len(), self.per_step, step - 1, Some(seed)))
    }

    /// All questions, by their place in `all`, in an order of `step`'s (and `attempt`'s) own.
    pub fn shuffled(&self, step: usize, attempt: usize) -> Vec<usize> {
        let seed = seed::derive(&[self.seed, seed::of_text("curriculum"), attempt as u64]);
        order::of_epoch(self.all.len(), step, Some(seed))
    }

    /// This rank's share of the questions at `places` of `all`, which are asked together.
    pub fn mine(&self, places: &[usize]) -> Vec<Prompted> {
        let mut asked: HashMap<usize, usize> = HashMap::new();
        let of = |(place, &index): (usize, &usize)| {
            let before = asked.entry(index).and_modify(|times| *times += 1).or_insert(0);
            Prompted { place, occurrence: *before, ..self.all[index].clone() }
        };
        self.share(places.iter().enumerate().map(of).collect())
    }

    /// This rank's share of what is the same on all ranks: every n-th.
    pub fn share<T>(&self, all: Vec<T>) -> Vec<T> {
        let Some(ranks) = &self.ranks else { return all };
        all.into_iter().skip(ranks.rank()).step_by(ranks.count()).collect()
    }

    /// A number for the prompts of a `step` and its `attempt`-th sampling, by which an endpoint's cache tells several
    /// requests for one prompt apart: 0 throughout the first pass, whatever the order, so that another run finds what it asked.
    pub fn nonce(&self, step: usize, attempt: usize) -> usize {
        let first_pass = attempt == 0 && step <= self.steps_per_epoch();
        if first_pass { 0 } else { step * 1024 + attempt }
    }

    /// Questions of a step.
    pub fn per_step(&self) -> usize {
        self.per_step
    }

    /// Steps in one pass over the questions.
    pub fn steps_per_epoch(&self) -> usize {
        order::steps_per_epoch(self.all.len(), self.per_step)
    }
}
