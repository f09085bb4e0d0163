//! Which words of a question an answer hangs on: by leaving each out, or by the gradient times the input.

use super::Policy;
use super::belief::{Context, Norm};
use crate::data::{Example, Prompt};
use crate::error::Result;
use crate::text::words::words;
use std::ops::Range;

/// A word of a question, in a prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Word {
    /// As it is written.
    pub text: String,
    /// The prompt's tokens that it is written in; those that it shares with what stands beside it too.
    pub tokens: Range<usize>,
}

/// What is asked for behind a prompt.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The text up to where the answer begins.
    pub before: &'a str,
    /// The answer.
    pub answer: &'a str,
}

/// What a row asks: the last turn, without the solved rows that a plain text shows before it.
pub fn question(example: &Example) -> &str {
    match &example.prompt {
        Prompt::Text(text) if !example.shots.is_empty() => {
            text.rsplit_once("\n\n").map_or(text.as_str(), |(_, last)| last)
        }
        prompt => prompt.question(),
    }
}

impl Policy {
    /// The words of `question` in the `prompt` that it ends, in order; none where the prompt does not hold it as it is.
    pub fn words_of(&self, prompt: &[u32], question: &str) -> Vec<Word> {
        let (text, question) = (self.tokenizer.decode(prompt), question.trim());
        let Some(start) = text.rfind(question) else { return vec![] };
        let word = |span: Range<usize>| Word {
            text: question[span.clone()].to_string(),
            tokens: self.tokenizer.tokens_of(prompt, start + span.start..start + span.end),
        };
        words(question).into_iter().map(word).collect()
    }

    /// Of each of `words`, log p(answer | prompt) − log p(answer | prompt without its tokens), in nats; in passes of `budget` tokens.
    pub fn missed(&self, prompt: &[u32], words: &[Word], asked: Asked, budget: usize) -> Result<Vec<f64>> {
        let without = |word: &Word| [&prompt[..word.tokens.start], &prompt[word.tokens.end..]].concat();
        let prompts: Vec<Vec<u32>> =
            std::iter::once(prompt.to_vec()).chain(words.iter().map(without)).collect();
        let context = |prompt| Context { prompt, before: asked.before.to_string() };
        let contexts: Vec<Context> = prompts.iter().map(|prompt| context(prompt.as_slice())).collect();
        let weights = self.weights(&contexts, &[asked.answer.to_string()], Norm::Sum, budget)?;
        Ok(weights[1..].iter().map(|without| weights[0][0] - without[0]).collect())
    }

    /// Of each of `words`, Σ over its tokens of gradient times input ([`input_gradients`](crate::model::Model::input_gradients)).
    pub fn moving(&self, prompt: &[u32], words: &[Word], asked: Asked) -> Result<Vec<f64>> {
        let sequence = self.after(prompt, asked.before, asked.answer)?;
        let of_tokens = self.model.input_gradients(sequence.prompt(), sequence.completion())?;
        Ok(words.iter().map(|word| of_tokens[word.tokens.clone()].iter().sum()).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data::shots::Shot;
    use crate::policy::tests::tiny;

    fn policy() -> Policy {
        tiny(2, 1, 3)
    }

    /// Bytes are tokens.
    #[test]
    fn words_are_found_in_the_prompts_tokens() {
        let policy = policy();
        let prompt = policy.tokenizer.encode("be brief\n\nhip low, ok?\n").unwrap();
        let found = policy.words_of(&prompt, "hip low, ok?\n");
        let expected = [("hip", 10..13), ("low", 14..17), ("ok", 19..21)];
        assert_eq!(found.len(), 3);
        for (word, (text, tokens)) in found.iter().zip(expected) {
            assert_eq!((word.text.as_str(), word.tokens.clone()), (text, tokens));
        }
        assert!(policy.words_of(&prompt, "elsewhere").is_empty());
        let shot = Shot { user: "a?".into(), assistant: "b".into(), said: vec![] };
        let shown = Example { shots: vec![shot.into()], ..Example::text("row:1", "a?b\n\nc?") };
        assert_eq!((question(&shown), question(&Example::text("row:2", "a\n\nb?"))), ("c?", "a\n\nb?"));
    }

    /// Against log-probabilities that are asked for one by one, and, of a word of several tokens, the sum of theirs.
    #[test]
    fn an_answer_misses_the_words_that_are_left_out() {
        let policy = policy();
        let prompt = policy.tokenizer.encode("hip low?").unwrap();
        let words = policy.words_of(&prompt, "hip low?");
        let asked = Asked { before: "\n#### ", answer: "ash" };
        let logprob = |prompt: &str| -> f64 {
            let prompt = policy.tokenizer.encode(prompt).unwrap();
            let sequence = policy.after(&prompt, asked.before, asked.answer).unwrap();
            policy.logprobs(&[sequence], 1.0, 64).unwrap()[0].iter().map(|&logprob| f64::from(logprob)).sum()
        };
        let whole = logprob("hip low?");
        let expected = [whole - logprob(" low?"), whole - logprob("hip ?")];
        let found = policy.missed(&prompt, &words, asked, 32).unwrap();
        assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-4), "{found:?} {expected:?}");
        let moving = policy.moving(&prompt, &words, asked).unwrap();
        let sequence = policy.after(&prompt, asked.before, asked.answer).unwrap();
        let of_tokens = policy.model.input_gradients(sequence.prompt(), sequence.completion()).unwrap();
        assert_eq!(of_tokens.len(), 8 + asked.before.len());
        assert_eq!(moving, [of_tokens[..3].iter().sum::<f64>(), of_tokens[4..7].iter().sum()]);
    }
}
