//! Token ids that a model reads: which of them are learned, where they stand, and what is dropped while they are.

use crate::error::{Error, Result};
use std::ops::Range;

/// Token ids, and which of them are learned: the others are only read (a prompt, a user's turn, what a tool answered).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sequence {
    /// All of them, in order.
    pub tokens: Vec<u32>,
    /// Where the learned ones stand: spans in order, none empty, none touching the next.
    learned: Vec<Range<usize>>,
    /// The position of each token where some were left out; elsewhere each one's place.
    positions: Option<Vec<u32>>,
    /// The seeds of what dropout drops, one a pass.
    passes: Vec<u64>,
}

/// What tells the tokens of sequences apart that go through a model together: the pass's seed of dropout, position and id. What sequences
/// begin with in common is what they have equal keys in.
pub(super) type Key = (Option<u64>, u32, u32);

/// The keys of tokens of which nothing was left out, and nothing is dropped.
pub(super) fn keys(tokens: &[u32]) -> Vec<Key> {
    (0..).zip(tokens).map(|(position, &token)| (None, position, token)).collect()
}

impl Sequence {
    /// `prompt` and then `completion`, all of which is learned.
    pub fn new(prompt: &[u32], completion: &[u32]) -> Self {
        let tokens = [prompt, completion].concat();
        let span = prompt.len()..tokens.len();
        Self { learned: if span.is_empty() { vec![] } else { vec![span] }, ..Self::read_only(tokens) }
    }

    /// `tokens`, of which those in `spans` are learned; spans that touch become one, empty ones vanish.
    ///
    /// # Errors
    /// [`Error::Data`] where a span overlaps the one before it or ends behind the tokens.
    pub fn of_spans(tokens: Vec<u32>, spans: impl IntoIterator<Item = Range<usize>>) -> Result<Self> {
        let mut learned: Vec<Range<usize>> = Vec::new();
        for span in spans.into_iter().filter(|span| !span.is_empty()) {
            let before = learned.last().map_or(0, |last| last.end);
            if span.start < before || span.end > tokens.len() {
                return Err(Error::Data(format!(
                    "the learned tokens {span:?} of a sequence of {} stand before {before} or behind its end",
                    tokens.len()
                )));
            }
            match learned.last_mut().filter(|last| last.end == span.start) {
                Some(last) => last.end = span.end,
                None => learned.push(span),
            }
        }
        Ok(Self { learned, ..Self::read_only(tokens) })
    }

    /// `tokens` of which none is learned: they are read only.
    pub fn read_only(tokens: Vec<u32>) -> Self {
        Self { tokens, learned: vec![], positions: None, passes: vec![] }
    }

    /// The same without the tokens at the `left_out` places: the others stay at their positions. In a causal model this is what hiding them from
    /// those behind is.
    ///
    /// # Panics
    /// Where a learned token is to be left out.
    pub fn without(self, left_out: impl Fn(usize) -> bool) -> Self {
        assert!(!self.places().any(&left_out), "what is learned is not left out");
        let kept: Vec<usize> = (0..self.tokens.len()).filter(|&place| !left_out(place)).collect();
        if kept.len() == self.tokens.len() {
            return self;
        }
        let before = |place: usize| kept.partition_point(|&other| other < place);
        let spans = self.learned.iter().map(|span| before(span.start)..before(span.end));
        let tokens = kept.iter().map(|&place| self.tokens[place]).collect();
        let positions = Some(kept.iter().map(|&place| self.position(place)).collect());
        let without = Self::of_spans(tokens, spans).expect("spans stay in order");
        Self { positions, passes: self.passes, ..without }
    }

    /// The same under dropout (`policy.dropout`): what is dropped is a function of the seed and of each token's position. With several seeds as many passes
    /// are made, and learned tokens are predicted from the mean of their states.
    pub fn dropping(self, passes: Vec<u64>) -> Self {
        Self { passes, ..self }
    }

    /// How often it goes through a model: once, or once a seed of dropout.
    pub fn passes(&self) -> usize {
        self.passes.len().max(1)
    }

    /// The position of the token at a place.
    pub fn position(&self, place: usize) -> u32 {
        self.positions.as_ref().map_or(place as u32, |positions| positions[place])
    }

    /// Whether tokens were left out before others.
    pub fn has_gaps(&self) -> bool {
        self.positions.as_ref().is_some_and(|all| all.last().is_some_and(|&last| last as usize >= all.len()))
    }

    /// Where the learned tokens stand: spans in order, none empty, none touching the next.
    pub fn spans(&self) -> &[Range<usize>] {
        &self.learned
    }

    /// Places of the learned tokens, in order.
    pub fn places(&self) -> impl Iterator<Item = usize> + '_ {
        self.learned.iter().cloned().flatten()
    }

    /// Places of the states that the learned tokens are predicted from, one each: of a critic, where a value is expected.
    ///
    /// # Panics
    /// Where the first token is learned, which nothing predicts.
    pub fn predicting(&self) -> Vec<usize> {
        self.places().map(|place| place - 1).collect()
    }

    /// How many tokens are learned.
    pub fn learned(&self) -> usize {
        self.learned.iter().map(Range::len).sum()
    }

    /// What stands before the first learned token; all, where none is.
    pub fn prompt(&self) -> &[u32] {
        &self.tokens[..self.begin()]
    }

    /// What stands from the first learned token on.
    pub fn completion(&self) -> &[u32] {
        &self.tokens[self.begin()..]
    }

    pub(super) fn begin(&self) -> usize {
        self.learned.first().map_or(self.tokens.len(), |span| span.start)
    }

    /// How many tokens have to go through a model, so that the learned ones are predicted and the states at `places` are
    /// there: what stands behind them changes nothing.
    pub(super) fn fed(&self, places: &[usize]) -> usize {
        let predicting = self.learned.last().map_or(0, |span| span.end - 1);
        places.iter().map(|place| place + 1).fold(predicting, usize::max)
    }

    /// The keys of the first `fed` tokens in each pass.
    pub(super) fn keys(&self, fed: usize) -> Vec<Vec<Key>> {
        let of = |seed: Option<u64>| (0..fed).map(|at| (seed, self.position(at), self.tokens[at])).collect();
        match self.passes.is_empty() {
            true => vec![of(None)],
            false => self.passes.iter().map(|&seed| of(Some(seed))).collect(),
        }
    }

    /// Positions that a model has to know of.
    pub(super) fn length(&self) -> usize {
        self.tokens.len().checked_sub(1).map_or(0, |last| self.position(last) as usize + 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_leaves_the_others_where_they_are() {
        let whole = Sequence::of_spans((10..18).collect(), [4..6, 7..8]).unwrap();
        let without = whole.clone().without(|place| [1, 2, 6].contains(&place));
        assert_eq!(without.tokens, [10, 13, 14, 15, 17]);
        assert_eq!(without.spans(), [Range { start: 2, end: 5 }]);
        assert_eq!((0..5).map(|at| without.position(at)).collect::<Vec<_>>(), [0, 3, 4, 5, 7]);
        assert!(without.has_gaps() && !whole.has_gaps());
        assert_eq!((without.length(), without.learned()), (8, 3));
        assert_eq!(without.keys(2), [[(None, 0, 10), (None, 3, 13)]]);
        let twice = without.without(|place| place == 0);
        assert_eq!(
            (twice.position(0), twice.dropping(vec![5, 6]).keys(1)),
            (3, vec![vec![(Some(5), 3, 13)], vec![(Some(6), 3, 13)]])
        );
        assert_eq!(whole.clone().without(|_| false), whole);
    }

    #[test]
    #[should_panic(expected = "not left out")]
    fn nothing_learned_is_left_out() {
        let _ = Sequence::new(&[1, 2], &[3]).without(|place| place == 2);
    }
}
