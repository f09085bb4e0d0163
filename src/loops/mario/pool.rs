//! The pool of `loop.mario`: every completion sampled so far, its scores, and the quantile of each score.

use super::Mario;
use crate::model::Sequence;
use crate::rationale::Given;
use crate::select::quantile::{between, quantiles};
use serde::{Deserialize, Serialize};

/// Completions that are never evicted, in the order in which they came.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Pool {
    /// The completions.
    pub entries: Vec<Entry>,
    /// Names of the rewards, in the recipe's order.
    pub names: Vec<String>,
    /// By entry, one quantile a reward.
    quantiles: Vec<Vec<usize>>,
}

/// A completion in the pool.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// Place of its question among the training questions.
    pub question: usize,
    /// The step that it came in.
    pub step: usize,
    /// Its token ids.
    pub tokens: Vec<u32>,
    /// What of it was given and not sampled.
    pub given: Vec<Given>,
    /// One score a reward, in the recipe's order.
    pub scores: Vec<f64>,
}

impl Entry {
    /// It behind `prompt`, of which what was sampled is learned.
    pub fn sequence(&self, prompt: &[u32]) -> Sequence {
        Sequence::of_completion(prompt, &self.tokens, self.given.iter().map(|part| part.tokens.clone()))
    }
}

impl Pool {
    /// Sorts the whole pool anew; to be called when entries were added.
    pub fn sort(&mut self, mario: &Mario) {
        let of_reward = |(at, name): (usize, &String)| -> Vec<usize> {
            let scores: Vec<f64> = self.entries.iter().map(|entry| entry.scores[at]).collect();
            match mario.borders.get(name) {
                Some(borders) => scores.iter().map(|score| between(*score, borders)).collect(),
                None => quantiles(&scores, mario.quantiles),
            }
        };
        let by_reward: Vec<Vec<usize>> = self.names.iter().enumerate().map(of_reward).collect();
        self.quantiles =
            (0..self.entries.len()).map(|entry| by_reward.iter().map(|of| of[entry]).collect()).collect();
    }

    /// The rewards and the quantile of an entry in each.
    pub fn quantiles(&self, entry: usize) -> impl Iterator<Item = (&str, usize)> {
        self.names.iter().map(String::as_str).zip(self.quantiles[entry].iter().copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reward_has_quantiles_of_its_own() {
        let mario: Mario = toml::from_str("quantiles = 2\nborders.answer = [0.5]").unwrap();
        let entry = |scores: [f64; 2]| Entry {
            question: 0,
            step: 1,
            tokens: vec![],
            given: vec![],
            scores: scores.to_vec(),
        };
        // Answers right, wrong, right; lengths −1, −3, −2: of three, the two longer ones' middles are 1/6 and 1/2.
        let mut pool = Pool {
            entries: vec![entry([1.0, -1.0]), entry([0.0, -3.0]), entry([1.0, -2.0])],
            names: vec!["answer".into(), "length".into()],
            ..Pool::default()
        };
        pool.sort(&mario);
        let of = |entry| pool.quantiles(entry).collect::<Vec<_>>();
        assert_eq!(of(0), [("answer", 1), ("length", 1)]);
        assert_eq!(of(1), [("answer", 0), ("length", 0)]);
        assert_eq!(of(2), [("answer", 1), ("length", 1)]);
    }
}
