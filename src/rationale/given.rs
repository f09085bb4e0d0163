//! What of a completion was given and not sampled: what a tool answered, what an environment said. It is read and never learned. Pure.

use serde::{Deserialize, Serialize};
use std::ops::Range;

/// The column of a trace that says which parts of its completion were given.
pub const COLUMN: &str = "given_spans";

/// A part of a completion that its policy read and did not write.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Given {
    /// Its tokens, counted from the completion's first.
    pub tokens: Range<usize>,
    /// Its bytes of the completion's text.
    pub bytes: Range<usize>,
}

/// How many of the first `place` tokens of a completion were sampled.
pub fn sampled_before(given: &[Given], place: usize) -> usize {
    let read = |part: &Given| part.tokens.end.min(place).saturating_sub(part.tokens.start);
    place.saturating_sub(given.iter().map(read).sum())
}

/// Of `values`, one a sampled token of a completion of `tokens`, one a token: `empty` at those that were given. Nothing where there are no values.
pub fn spread<T: Copy>(values: &[T], given: &[Given], tokens: usize, empty: T) -> Vec<T> {
    if values.is_empty() {
        return vec![];
    }
    let mut values = values.iter().copied();
    let is_given = |token: usize| given.iter().any(|part| part.tokens.contains(&token));
    (0..tokens).map(|token| if is_given(token) { empty } else { values.next().unwrap_or(empty) }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of seven tokens the third, fourth and sixth were given.
    fn given() -> Vec<Given> {
        [2..4, 5..6].map(|tokens| Given { bytes: tokens.clone(), tokens }).into()
    }

    #[test]
    fn sampled_tokens_are_counted_without_what_was_given() {
        let counts: Vec<usize> = (0..=7).map(|place| sampled_before(&given(), place)).collect();
        assert_eq!(counts, [0, 1, 2, 2, 2, 3, 3, 4]);
        assert_eq!(sampled_before(&[], 5), 5);
    }

    #[test]
    fn numbers_of_sampled_tokens_stand_at_their_tokens() {
        assert_eq!(spread(&[1, 2, 3, 4], &given(), 7, 0), [1, 2, 0, 0, 3, 0, 4]);
        assert_eq!(spread(&[1.5, 2.5], &[], 2, 0.0), [1.5, 2.5]);
        assert!(spread::<f32>(&[], &given(), 7, 0.0).is_empty());
    }
}
