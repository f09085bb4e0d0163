//! A sequence that has to contain a hidden one: the didactic task of Rewarding Progress (Setlur et al. 2024, arXiv 2410.08146).

use crate::data::Split;
use crate::data::order::below;
use crate::data::row::Row;
use crate::error::Result;
use crate::section::{Misfit, all_fit, broken};
use crate::seed;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, json};

/// The letters that sequences are made of, and the prompt.
pub const ALPHABET: &str = "abcdefghijklmnopqrstuvwxyz?";

/// One question, over and over: write letters, the hidden sequence among them. `[data.task.planted]`; which one it is, the run's
/// seed decides, and the column `hidden` says. `[reward.planted]` knows what a half-written sequence is worth.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Planted {
    /// Letters to choose from, the first of the alphabet.
    pub letters: usize,
    /// Letters of the hidden sequence.
    pub length: usize,
    /// Training rows, all the same.
    pub train: usize,
    /// Held-out rows, all the same too: there is but one question.
    pub eval: usize,
}

impl Default for Planted {
    fn default() -> Self {
        Self { letters: 15, length: 5, train: 64, eval: 1 }
    }
}

impl Planted {
    /// The rows of a split.
    pub fn rows(&self, split: Split, seed: u64) -> Result<Vec<Row>> {
        all_fit("data.task.planted", self, self.check())?;
        let hidden = self.hidden(seed);
        let row = |index: usize| {
            let fields = [
                ("id", json!(format!("planted-{index}"))),
                ("question", json!("?")),
                ("answer", json!(hidden)),
                ("hidden", json!(hidden)),
            ];
            let fields: Map<_, _> =
                fields.into_iter().map(|(name, value)| (name.to_string(), value)).collect();
            Row { file: "planted".into(), stem: "planted".into(), line: index + 1, fields }
        };
        Ok((0..if split == Split::Train { self.train } else { self.eval }).map(row).collect())
    }

    /// What cannot be used as it is.
    pub fn check(&self) -> Vec<Misfit> {
        broken(&[
            ((2..=26).contains(&self.letters), "letters", "it must be from 2 to 26"),
            (self.length > 0, "length", "it must be at least 1"),
        ])
    }

    /// The hidden sequence of a seed.
    pub fn hidden(&self, seed: u64) -> String {
        let mut rng = ChaCha8Rng::seed_from_u64(seed::derive(&[seed, seed::of_text("planted")]));
        let mut letter = || (b'a' + below(&mut rng, self.letters as u64) as u8) as char;
        (0..self.length).map(|_| letter()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_rows_hide_the_seeds_sequence() {
        let task = Planted { letters: 3, length: 40, ..Planted::default() };
        let hidden = task.hidden(1);
        assert!(
            hidden.len() == 40 && ["a", "b", "c"].iter().all(|letter| hidden.contains(letter)),
            "{hidden}"
        );
        assert!(hidden.chars().all(|letter| "abc".contains(letter)));
        assert_ne!(hidden, task.hidden(2));
        let rows = task.rows(Split::Train, 1).unwrap();
        assert!(rows.len() == 64 && rows.iter().all(|row| row.fields["hidden"] == hidden.as_str()));
        assert_ne!(rows[0].fields["id"], rows[1].fields["id"]);
        assert!(Planted { letters: 27, ..task }.rows(Split::Eval, 0).is_err());
    }
}
