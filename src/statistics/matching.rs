//! How many sentences of one text are those of another, in any order or in theirs: WikiWhy's measures of explanations (Ho et al. 2023, arXiv 2210.12152).

use super::spans::Agreement;
use std::ops::AddAssign;

/// Sentences held against a reference's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Matched {
    /// Sentences.
    pub sentences: usize,
    /// Sentences of the reference.
    pub references: usize,
    /// Sentences that are one of the reference's.
    pub matched: usize,
    /// Different sentences of the reference that some sentence is.
    pub covered: usize,
    /// Sentences of the longest series that stands in both in the same order.
    pub in_order: usize,
}

impl Matched {
    /// By how alike each sentence is to each of the `references` sentences of the reference. A sentence is the one that it is most like, where that is at least
    /// `least`, and each of several that it is equally like.
    ///
    /// ```
    /// use rationale::statistics::matching::Matched;
    /// // The first of three sentences is the first of the reference, the second the last, the third the middle one.
    /// let found = Matched::of(&[vec![0.9, 0.1, 0.2], vec![0.2, 0.3, 0.7], vec![0.1, 0.8, 0.2]], 3, 0.6);
    /// assert_eq!((found.matched, found.covered, found.in_order), (3, 3, 2));
    /// assert_eq!((found.unordered().f1(), found.ordered().f1()), (1.0, 2.0 / 3.0));
    /// ```
    ///
    /// # Panics
    /// Where a row is not of as many numbers as the reference has sentences.
    pub fn of(likeness: &[Vec<f64>], references: usize, least: f64) -> Self {
        let is = |row: &Vec<f64>| -> Vec<bool> {
            assert_eq!(row.len(), references, "a number for each sentence of the reference");
            let most = row.iter().copied().fold(least, f64::max);
            // Equal sentences may differ in the last digits of what was computed of them.
            row.iter().map(|&alike| alike >= least && alike >= most - 1e-9).collect()
        };
        let pairs: Vec<Vec<bool>> = likeness.iter().map(is).collect();
        let some = |row: &Vec<bool>| row.contains(&true);
        Self {
            sentences: likeness.len(),
            references,
            matched: pairs.iter().filter(|row| some(row)).count(),
            covered: (0..references).filter(|&at| pairs.iter().any(|row| row[at])).count(),
            in_order: common_subsequence(&pairs, references),
        }
    }

    /// The shares of the text's and of the reference's sentences that are in the other, in any order.
    pub fn unordered(self) -> Agreement {
        self.shares(self.matched, self.covered)
    }

    /// The shares that the longest common subsequence has of both.
    pub fn ordered(self) -> Agreement {
        self.shares(self.in_order, self.in_order)
    }

    fn shares(self, right: usize, found: usize) -> Agreement {
        let share = |of: usize, all: usize| if all == 0 { 0.0 } else { of as f64 / all as f64 };
        Agreement { precision: share(right, self.sentences), recall: share(found, self.references) }
    }
}

impl AddAssign for Matched {
    fn add_assign(&mut self, other: Self) {
        self.sentences += other.sentences;
        self.references += other.references;
        self.matched += other.matched;
        self.covered += other.covered;
        self.in_order += other.in_order;
    }
}

/// The length of the longest common subsequence, where `pairs` says which two are the same: L(i, j) = L(i − 1, j − 1) + 1 of a pair, max(L(i − 1, j), L(i, j − 1)) else.
fn common_subsequence(pairs: &[Vec<bool>], references: usize) -> usize {
    let mut row = vec![0; references + 1];
    for own in pairs {
        let mut diagonal = 0;
        for (at, same) in own.iter().enumerate() {
            let above = row[at + 1];
            row[at + 1] = if *same { diagonal + 1 } else { above.max(row[at]) };
            diagonal = above;
        }
    }
    row[references]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seed::{derive, uniform};

    /// By hand: the first is the second of two, the second too, the third none. 2 of 3 and 1 of 2; in order 1 of 3 and 1 of 2.
    #[test]
    fn sentences_that_cover_the_same_count_once_there() {
        let found = Matched::of(&[vec![0.2, 0.7], vec![0.5, 0.65], vec![0.5, 0.59]], 2, 0.6);
        let all = Matched { sentences: 3, references: 2, matched: 2, covered: 1, in_order: 1 };
        assert_eq!(found, all);
        let near =
            |found: f64, expected: f64| assert!((found - expected).abs() < 1e-12, "{found} {expected}");
        near(found.unordered().f1(), 4.0 / 7.0);
        near(found.ordered().f1(), 2.0 / 5.0);
        // A sentence that the reference says twice is both.
        let twice = Matched::of(&[vec![0.9, 0.9], vec![0.9, 0.9]], 2, 0.6);
        assert_eq!((twice.matched, twice.covered, twice.in_order), (2, 2, 2));
        let mut sum = found;
        sum += twice;
        assert_eq!((sum.sentences, sum.references, sum.matched, sum.in_order), (5, 4, 4, 3));
        assert_eq!(Matched::of(&[], 2, 0.6).ordered().f1(), 0.0);
        assert_eq!(Matched::of(&[vec![]], 0, 0.6).unordered().f1(), 0.0);
    }

    /// Every way to let each sentence be one of those that it is equally like, or none, and of it the places in their order.
    fn enumerated(likeness: &[Vec<f64>], least: f64, behind: usize) -> usize {
        let Some((first, rest)) = likeness.split_first() else { return 0 };
        let most = first.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let own = (behind..first.len()).filter(|&at| first[at] == most && most >= least);
        let with = own.map(|at| 1 + enumerated(rest, least, at + 1)).max().unwrap_or(0);
        with.max(enumerated(rest, least, behind))
    }

    #[test]
    fn what_is_in_order_is_what_enumeration_finds() {
        for seed in 0..50 {
            // Few values, so that many are alike.
            let value = |i: u64, j: u64| (4.0 * uniform(derive(&[seed, i, j]))).floor() / 4.0;
            let likeness: Vec<Vec<f64>> = (0..5).map(|i| (0..4).map(|j| value(i, j)).collect()).collect();
            let found = Matched::of(&likeness, 4, 0.5);
            assert_eq!(found.in_order, enumerated(&likeness, 0.5, 0), "{likeness:?}");
            assert!(found.in_order <= found.covered.min(found.matched));
        }
    }
}
