//! Micro-batches: which sequences go through the model together, within a budget of tokens.

mod forest;

pub use forest::{PrefixForest, Segment};

use std::collections::{HashMap, HashSet};
use std::hash::Hash;

/// What an item costs: the segments of its sequences. One that several items have is computed once for all of them that
/// stand in one micro-batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Size {
    /// The tree that the item belongs to: its first sequence's first segment.
    pub family: usize,
    /// Number and tokens of each segment, by number, each once.
    pub segments: Vec<(usize, usize)>,
}

impl Size {
    /// Tokens of the item alone.
    pub fn tokens(&self) -> usize {
        self.segments.iter().map(|(_, tokens)| tokens).sum()
    }
}

/// What items cost, of whose sequences these are the tokens, or whatever tells tokens apart.
pub fn sizes<T: Copy + Eq + Hash>(items: &[Vec<&[T]>]) -> Vec<Size> {
    let sequences: Vec<&[T]> = items.iter().flatten().copied().collect();
    let forest = PrefixForest::of_keys(&sequences);
    let mut ends = forest.ends.iter();
    let size = |item: &Vec<&[T]>| {
        let paths: Vec<Vec<usize>> = ends.by_ref().take(item.len()).map(|&end| forest.path(end)).collect();
        let mut numbers = paths.concat();
        numbers.sort_unstable();
        numbers.dedup();
        let segments = numbers.iter().map(|&at| (at, forest.segments[at].tokens.len()));
        Size { family: paths.first().map_or(0, |path| path[0]), segments: segments.collect() }
    };
    items.iter().map(size).collect()
}

/// Splits items of these `sizes` into micro-batches of at most `budget` tokens each (a longer item stands alone), as
/// lists of indices. Families stay together as far as the budget goes, in a family those that share more, and families
/// of like length meet, because attention pads to the longest of its neighbours; the split depends on the sizes alone,
/// so a run can be repeated.
///
/// ```
/// use rationale::batch::{Size, micro_batches};
/// let size = |family, segments: &[(usize, usize)]| Size { family, segments: segments.to_vec() };
/// // Two of family 0, which share segment 0, cost 6 + 2 + 1 tokens, and the third has no room beside them.
/// let sizes = [
///     size(0, &[(0, 6), (1, 2)]),
///     size(4, &[(4, 4)]),
///     size(0, &[(0, 6), (2, 1)]),
///     size(0, &[(0, 6), (3, 3)]),
/// ];
/// assert_eq!(micro_batches(&sizes, 11), vec![vec![3, 0], vec![2, 1]]);
/// ```
pub fn micro_batches(sizes: &[Size], budget: usize) -> Vec<Vec<usize>> {
    let mut batches: Vec<Vec<usize>> = Vec::new();
    let mut room = 0;
    for part in parts(sizes, budget) {
        if batches.is_empty() || part.tokens > room {
            batches.push(Vec::new());
            room = budget;
        }
        room = room.saturating_sub(part.tokens);
        batches.last_mut().expect("pushed above").extend(part.items);
    }
    batches
}

/// Tokens that go through the model for the items `batch` of one micro-batch: what they share counts once.
pub fn computed(sizes: &[Size], batch: &[usize]) -> usize {
    let mut all = Part::default();
    batch.iter().for_each(|&item| all.push(item, &sizes[item]));
    all.tokens
}

/// Items of one family that stay together.
#[derive(Default)]
struct Part {
    items: Vec<usize>,
    packed: HashSet<usize>,
    tokens: usize,
}

impl Part {
    /// Tokens that an item adds.
    fn added(&self, size: &Size) -> usize {
        size.segments.iter().filter(|(at, _)| !self.packed.contains(at)).map(|(_, tokens)| tokens).sum()
    }

    fn push(&mut self, item: usize, size: &Size) {
        self.tokens += self.added(size);
        self.packed.extend(size.segments.iter().map(|(at, _)| at));
        self.items.push(item);
    }
}

/// The families, each cut where it outgrows the budget, the longest first.
fn parts(sizes: &[Size], budget: usize) -> Vec<Part> {
    let mut parts: Vec<Part> = Vec::new();
    for index in in_order(sizes) {
        let size = &sizes[index];
        let fits = |part: &&mut Part| {
            sizes[part.items[0]].family == size.family && part.tokens + part.added(size) <= budget
        };
        match parts.last_mut().filter(fits) {
            Some(part) => part.push(index, size),
            None => {
                parts.push(Part::default());
                parts.last_mut().expect("pushed above").push(index, size);
            }
        }
    }
    parts
}

/// The items by family, those with the longest item first; in a family by the segments that they share with others,
/// then by length.
fn in_order(sizes: &[Size]) -> Vec<usize> {
    let mut longest: HashMap<usize, usize> = HashMap::new();
    let mut users: HashMap<usize, usize> = HashMap::new();
    for size in sizes {
        let most = longest.entry(size.family).or_default();
        *most = size.tokens().max(*most);
        size.segments.iter().for_each(|(at, _)| *users.entry(*at).or_default() += 1);
    }
    let mut order: Vec<usize> = (0..sizes.len()).collect();
    order.sort_by_cached_key(|&index| {
        let Size { family, segments } = &sizes[index];
        let shared: Vec<usize> = segments.iter().map(|(at, _)| *at).filter(|at| users[at] > 1).collect();
        let reversed = std::cmp::Reverse;
        (reversed(longest[family]), *family, shared, reversed(sizes[index].tokens()))
    });
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `(family, shared, own)`: a family's shared tokens, and those that are an item's own.
    fn flat(of: &[(usize, usize, usize)]) -> Vec<Size> {
        let size = |(index, &(family, shared, own)): (usize, &(usize, usize, usize))| Size {
            family,
            segments: vec![(family, shared), (100 + index, own)],
        };
        of.iter().enumerate().map(size).collect()
    }

    #[test]
    fn every_sequence_is_in_one_batch_and_budgets_hold() {
        let sizes = flat(&[
            (0, 4, 1),
            (1, 0, 1),
            (0, 4, 3),
            (2, 0, 3),
            (3, 0, 3),
            (0, 4, 16),
            (4, 2, 0),
            (4, 2, 6),
            (0, 4, 2),
        ]);
        for budget in 1..40 {
            let batches = micro_batches(&sizes, budget);
            let mut seen: Vec<usize> = batches.concat();
            seen.sort_unstable();
            assert_eq!(seen, (0..sizes.len()).collect::<Vec<_>>());
            for batch in batches {
                let packed: HashMap<usize, usize> =
                    batch.iter().flat_map(|&i| sizes[i].segments.iter().copied()).collect();
                let tokens: usize = packed.values().sum();
                assert!(tokens <= budget || batch.len() == 1, "{tokens} tokens in {budget}");
                assert_eq!(computed(&sizes, &batch), tokens);
            }
        }
    }

    #[test]
    fn sequences_of_like_length_meet() {
        let alone = flat(&[(0, 0, 3), (1, 0, 9), (2, 0, 4), (3, 0, 2)]);
        assert_eq!(micro_batches(&alone, 9), vec![vec![1], vec![2, 0, 3]]);
    }

    /// A prompt of 40, two nodes of 40 below it with two ends of 10 each: a budget of 100 holds one node's ends (40 + 40 +
    /// 2 · 10), whatever the order; the ends of different nodes would cost 140.
    #[test]
    fn those_that_share_more_stay_together() {
        let path = |node: u32, end: u32| -> Vec<u32> {
            (0..40).chain((0..40).map(|_| node)).chain((0..10).map(|_| end)).collect()
        };
        let paths = [path(100, 1), path(200, 1), path(100, 2), path(200, 2)];
        let sizes = sizes(&paths.iter().map(|path| vec![path.as_slice()]).collect::<Vec<_>>());
        assert_eq!(sizes.iter().map(Size::tokens).collect::<Vec<_>>(), [90; 4]);
        assert_eq!(micro_batches(&sizes, 100), vec![vec![0, 2], vec![1, 3]]);
        assert_eq!(micro_batches(&sizes, 160).len(), 1, "40 + 2 · 40 + 4 · 10");
    }

    #[test]
    fn nothing_gives_nothing() {
        assert!(micro_batches(&[], 8).is_empty());
        assert!(sizes::<u32>(&[]).is_empty());
    }
}
