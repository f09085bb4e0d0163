//! Word dropout with true positions: contexts of which words are missing become texts that the model has seen, so that parts of a context can be asked
//! what they tell (greedy rationalization's compatibility, Vafa et al. 2021, arXiv 2109.06387).

use crate::data::order::shuffle;
use crate::model::Sequence;
use crate::section::{Misfit, broken};
use crate::seed;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;

/// Leave out tokens of what is read before what is learned; the others keep their positions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Words {
    /// The share of rows that lose tokens, each time that they are learned: of the n of their prompt but its last, m ~ U{1 … n} of them.
    pub share: f64,
}

impl Default for Words {
    fn default() -> Self {
        Self { share: 0.5 }
    }
}

impl Words {
    /// What cannot be used as it is.
    pub fn check(&self) -> Vec<Misfit> {
        broken(&[(self.share > 0.0 && self.share <= 1.0, "share", "it must be above 0 and at most 1")])
    }

    /// The sequence as it is learned once, drawn by `seed`. What is learned stays; so does the token before it, which predicts its first.
    pub fn of(&self, sequence: Sequence, seed: u64) -> Sequence {
        let n = sequence.prompt().len().saturating_sub(1);
        if n == 0 || seed::uniform(seed::derive(&[seed, 0])) >= self.share {
            return sequence;
        }
        let m = 1 + (seed::derive(&[seed, 1]) % n as u64) as usize;
        let mut places: Vec<usize> = (0..n).collect();
        shuffle(&mut places, seed::derive(&[seed, 2]));
        let gone: HashSet<usize> = places.into_iter().take(m).collect();
        sequence.without(|place| gone.contains(&place))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of a prompt of five, four may go: each number from 1 to 4 a quarter of the time that any do, which is half; each of the four as often as
    /// the others. 4000 draws are within five standard deviations: √(p (1 − p) / n).
    #[test]
    fn numbers_and_places_are_uniform() {
        let (words, whole) = (Words::default(), Sequence::new(&[10, 11, 12, 13, 14], &[15, 16]));
        let (mut numbers, mut gone) = ([0; 5], [0; 5]);
        for seed in 0..4000 {
            let seen = words.of(whole.clone(), seed);
            assert_eq!((seen.completion(), seen.prompt().last()), (&[15, 16][..], Some(&14)));
            numbers[5 - seen.prompt().len()] += 1;
            (0..5).filter(|at| !seen.tokens.contains(&(10 + at))).for_each(|at| gone[at as usize] += 1);
            // True positions: a token's id is its place and 10.
            assert!((0..seen.tokens.len()).all(|at| seen.tokens[at] == 10 + seen.position(at)));
        }
        let near = |count: i32, share: f64| {
            (f64::from(count) / 4000.0 - share).abs() < 5.0 * (share * (1.0 - share) / 4000.0).sqrt()
        };
        assert!(near(numbers[0], 0.5) && numbers[1..].iter().all(|&count| near(count, 0.125)), "{numbers:?}");
        // (1 + 2 + 3 + 4) / 4 of 4, half of the time.
        assert!(gone[..4].iter().all(|&count| near(count, 0.3125)) && gone[4] == 0, "{gone:?}");
        assert_eq!(words.of(whole.clone(), 7), words.of(whole, 7));
        let short = Sequence::new(&[1], &[2]);
        assert_eq!(Words { share: 1.0 }.of(short.clone(), 3), short);
    }
}
