//! Sequences as a prefix forest: what several of them begin with stands there once.

use std::collections::HashMap;
use std::hash::Hash;
use std::ops::Range;

/// A beginning is shared if that saves at least so many tokens: attending to branches costs a call of its own, which
/// the tokens saved have to pay for.
const LEAST_SAVED: usize = 32;

/// Tokens that follow each other in some sequences.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Segment {
    /// The segment before it; none where the sequences begin.
    pub parent: Option<usize>,
    /// One of its sequences, the first.
    pub of: usize,
    /// Where it stands in that sequence, and so in each of them.
    pub tokens: Range<usize>,
}

/// The prefix trees of some sequences. A parent's number is less than its children's, and the segments of a tree follow each
/// other.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PrefixForest {
    /// The segments.
    pub segments: Vec<Segment>,
    /// The last segment of each sequence.
    pub ends: Vec<usize>,
}

/// Sequences that agree in their first `known` tokens, of which `packed` stand in `parent` and the segments before it.
struct Bundle {
    members: Vec<usize>,
    known: usize,
    packed: usize,
    parent: Option<usize>,
}

impl PrefixForest {
    /// The forest of `sequences`.
    ///
    /// ```
    /// use rationale::batch::PrefixForest;
    /// let [a, b] = [40, 41].map(|last| (0..40).chain([last]).collect::<Vec<u32>>());
    /// let forest = PrefixForest::of(&[&a, &b, &[7, 8]]);
    /// let tokens: Vec<_> = forest.segments.iter().map(|segment| segment.tokens.clone()).collect();
    /// assert_eq!(tokens, [0..40, 40..41, 40..41, 0..2]);
    /// assert_eq!((forest.tokens(), forest.ends), (44, vec![1, 2, 3]));
    /// ```
    pub fn of(sequences: &[&[u32]]) -> Self {
        Self::grown(sequences, false)
    }

    /// The same of whatever tells tokens apart, such as their ids and positions.
    pub fn of_keys<T: Copy + Eq + Hash>(sequences: &[&[T]]) -> Self {
        Self::grown(sequences, false)
    }

    /// The same of prompts that will be gone on from: where a whole one of them is what others begin with, that is
    /// shared however short it is.
    pub fn of_prompts(prompts: &[&[u32]]) -> Self {
        Self::grown(prompts, true)
    }

    fn grown<T: Copy + Eq + Hash>(sequences: &[&[T]], whole: bool) -> Self {
        let mut forest = Self { segments: Vec::new(), ends: vec![0; sequences.len()] };
        let all = Bundle { members: (0..sequences.len()).collect(), known: 0, packed: 0, parent: None };
        let mut open = if sequences.is_empty() { Vec::new() } else { vec![all] };
        while let Some(bundle) = open.pop() {
            let below = forest.grow(bundle, sequences, whole);
            // The first of them is taken up next.
            open.extend(below.into_iter().rev());
        }
        forest
    }

    /// Packs what the bundle has in common, if that pays; what remains to be packed.
    fn grow<T: Copy + Eq + Hash>(
        &mut self,
        mut bundle: Bundle,
        sequences: &[&[T]],
        whole: bool,
    ) -> Vec<Bundle> {
        let first = bundle.members[0];
        let common = bundle.members.iter().map(|&other| {
            let rest = |of: usize| sequences[of][bundle.known..].iter();
            bundle.known + rest(first).zip(rest(other)).take_while(|(a, b)| a == b).count()
        });
        let known = common.min().unwrap_or(bundle.known);
        bundle.known = known;
        let ends = whole && bundle.members.iter().any(|&index| sequences[index].len() == known);
        let saved = (bundle.members.len() - 1) * (known - bundle.packed);
        if saved >= LEAST_SAVED || (ends && saved > 0) {
            bundle.parent = Some(self.push(bundle.parent, first, bundle.packed..known));
            bundle.packed = known;
        }
        let mut below: Vec<Bundle> = Vec::new();
        let mut by_token: HashMap<T, usize> = HashMap::new();
        let alone = bundle.members.len() == 1;
        for index in bundle.members {
            let ends_here = alone || sequences[index].len() == known;
            match (ends_here, bundle.parent) {
                (true, Some(parent)) if sequences[index].len() == bundle.packed => self.ends[index] = parent,
                (true, parent) => {
                    self.ends[index] = self.push(parent, index, bundle.packed..sequences[index].len());
                }
                (false, parent) => {
                    let at = *by_token.entry(sequences[index][known]).or_insert(below.len());
                    if at == below.len() {
                        let (known, packed) = (bundle.known, bundle.packed);
                        below.push(Bundle { members: Vec::new(), known, packed, parent });
                    }
                    below[at].members.push(index);
                }
            }
        }
        below
    }

    fn push(&mut self, parent: Option<usize>, of: usize, tokens: Range<usize>) -> usize {
        self.segments.push(Segment { parent, of, tokens });
        self.segments.len() - 1
    }

    /// Tokens of all segments.
    pub fn tokens(&self) -> usize {
        self.segments.iter().map(|segment| segment.tokens.len()).sum()
    }

    /// The segments of the path from the root to `end`.
    pub fn path(&self, end: usize) -> Vec<usize> {
        let up = std::iter::successors(Some(end), |&at| self.segments[at].parent);
        let mut path: Vec<usize> = up.collect();
        path.reverse();
        path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Random sequences over few tokens, in which many share a beginning.
    fn sequences(seed: u64) -> Vec<Vec<u32>> {
        let draw = |i: usize, most: usize| (crate::seed::derive(&[seed, i as u64]) % most as u64) as usize;
        let mut all: Vec<Vec<u32>> = Vec::new();
        for i in 0..30 {
            let mut tokens = match all.len() {
                0 => vec![],
                count => {
                    let other = &all[draw(4 * i, count)];
                    other[..draw(4 * i + 1, other.len() + 1)].to_vec()
                }
            };
            tokens.extend((0..1 + draw(4 * i + 2, 90)).map(|k| draw(1000 + 100 * i + k, 3) as u32));
            all.push(tokens);
        }
        all
    }

    #[test]
    fn a_path_down_reads_its_sequence() {
        for seed in 0..20 {
            let sequences = sequences(seed);
            let slices: Vec<&[u32]> = sequences.iter().map(Vec::as_slice).collect();
            let forest = PrefixForest::of(&slices);
            for (sequence, &end) in slices.iter().zip(&forest.ends) {
                let mut read = Vec::new();
                for at in forest.path(end) {
                    let segment = &forest.segments[at];
                    assert_eq!(segment.tokens.start, read.len());
                    read.extend_from_slice(&slices[segment.of][segment.tokens.clone()]);
                }
                assert_eq!(&read, sequence);
            }
            assert!(forest.tokens() < slices.iter().map(|tokens| tokens.len()).sum::<usize>());
            assert!(forest.segments.iter().enumerate().all(|(at, s)| s.parent.is_none_or(|p| p < at)));
        }
    }

    /// What stands in several trees or branches is less than a shared beginning has to save: with distinct prefixes
    /// counted by a set, each of them is packed once, but for those that would save under 32 tokens.
    #[test]
    fn nothing_worth_sharing_is_packed_twice() {
        for seed in 0..20 {
            let sequences = sequences(seed);
            let slices: Vec<&[u32]> = sequences.iter().map(Vec::as_slice).collect();
            let forest = PrefixForest::of(&slices);
            // How often the token behind each distinct prefix is packed.
            let mut packed: HashMap<&[u32], usize> = HashMap::new();
            for segment in &forest.segments {
                for end in segment.tokens.clone() {
                    *packed.entry(&slices[segment.of][..=end]).or_default() += 1;
                }
            }
            let distinct = packed.len();
            let twice: usize = packed.values().map(|count| count - 1).sum();
            assert_eq!(forest.tokens(), distinct + twice);
            // Every fork costs less than 32 repeated tokens, and there are fewer forks than sequences.
            assert!(twice < LEAST_SAVED * slices.len());
        }
    }

    #[test]
    fn a_short_beginning_of_many_is_shared() {
        // Four sequences save 3 · 11 tokens, three save 22.
        let own: Vec<Vec<u32>> = (0..4).map(|last| (0..11).chain([50 + last, 60 + last]).collect()).collect();
        let slices: Vec<&[u32]> = own.iter().map(Vec::as_slice).collect();
        assert_eq!(PrefixForest::of(&slices).tokens(), 11 + 4 * 2);
        assert_eq!(PrefixForest::of(&slices[1..]).tokens(), 3 * 13);
    }

    #[test]
    fn equal_sequences_are_one() {
        let tokens: Vec<u32> = (0..40).collect();
        let forest = PrefixForest::of(&[&tokens, &tokens, &tokens[..35], &[]]);
        // 0..35 saves twice 35; behind it 35..40 would save only 5 and stands there for each of the two.
        assert_eq!(forest.tokens(), 35 + 2 * 5);
        assert_eq!(forest.segments[forest.ends[2]].tokens, 0..35);
        assert_eq!(forest.segments[forest.ends[3]].tokens, 0..0);
        assert!(PrefixForest::of(&[]).segments.is_empty());
    }
}
