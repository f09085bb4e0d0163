//! How sequences are packed end to end for one pass: what several of them begin with is packed, and computed, once.

use super::Sequence;
use super::attention::{Branches, Packed};
use super::sequence::{Key, keys};
use crate::batch::{self, PrefixForest, Size};
use std::collections::HashMap;
use std::ops::Range;
use tch::{Device, Tensor};

/// Sequences packed end to end, with the places that are read.
#[derive(Debug)]
pub struct PackedInputs {
    /// Token ids that are fed, `[tokens]`.
    pub inputs: Tensor,
    /// Places among the inputs whose states are read, `[rows]`.
    pub rows: Tensor,
    /// Who sees whom.
    pub packed: Packed,
    /// Of each token that is fed its pass, position and id.
    pub(super) keys: Vec<Key>,
}

/// A packing for learned tokens, with the token that each row predicts: a row for each of them, in their order, but
/// one for all that predict the same token after the same ones. Behind them a row for each place that is only read.
#[derive(Debug)]
pub struct Predicting {
    /// Where the rows stand.
    pub layout: PackedInputs,
    /// The token that each row predicts, `[predicting rows]`.
    pub targets: Tensor,
    /// The row of each learned token, `[learned tokens]`, sequence by sequence; none where it is its own number.
    pub row_of: Option<Tensor>,
    /// How rows are means of several passes, whose further rows stand behind all others; none where each makes one.
    pub voted: Option<Voted>,
}

/// Rows whose states are means over the passes that their sequences make: z̄ = (1/V) Σᵥ zᵥ. The output projection is linear, so that the mean of the
/// states gives the mean of the logits (MC-CoT's vote, Tan et al. 2024, arXiv 2311.14109).
#[derive(Debug)]
pub struct Voted {
    /// The row that each further one belongs to, `[further rows]`.
    pub rows: Tensor,
    /// 1/V of each row, `[predicting rows, 1]`.
    pub share: Tensor,
}

impl Voted {
    /// The means of `first [predicting rows, hidden]` and the `further` rows.
    pub(super) fn mean(&self, first: &Tensor, further: &Tensor) -> Tensor {
        first.index_add(0, &self.rows, further) * self.share.to_kind(first.kind())
    }

    /// The gradients of both under that of the means.
    pub(super) fn shared_out(&self, by_mean: &Tensor) -> (Tensor, Tensor) {
        let first = by_mean * self.share.to_kind(by_mean.kind());
        let further = first.index_select(0, &self.rows);
        (first, further)
    }
}

impl Predicting {
    /// Packs `sequences`, of each what its learned tokens and its places of `read` need: at least one token.
    pub fn new(sequences: &[&Sequence], read: &[&[usize]], device: Device) -> Self {
        let of = |index: usize| read.get(index).copied().unwrap_or_default();
        let fed: Vec<Vec<Vec<Key>>> =
            sequences.iter().enumerate().map(|(index, s)| s.keys(s.fed(of(index)))).collect();
        let all: Vec<&[Key]> = fed.iter().flatten().map(Vec::as_slice).collect();
        let packed = PackedForest::new(&all);
        let (mut rows, mut targets, mut row_of) = (Vec::new(), Vec::new(), Vec::new());
        let (mut further, mut further_of, mut passes) = (Vec::new(), Vec::new(), Vec::new());
        let mut known: HashMap<(i64, u32), i64> = HashMap::new();
        let firsts: Vec<usize> = fed
            .iter()
            .scan(0, |before, of| {
                *before += of.len();
                Some(*before - of.len())
            })
            .collect();
        for (sequence, &first) in sequences.iter().zip(&firsts) {
            let votes = sequence.passes();
            let all: Vec<Vec<i64>> = (first..first + votes).map(|pass| packed.places(pass)).collect();
            for learned in sequence.places() {
                let (place, target) = (all[0][learned - 1], sequence.tokens[learned]);
                let new = rows.len() as i64;
                let row = match votes {
                    1 => *known.entry((place, target)).or_insert(new),
                    // The passes behind the first may differ.
                    _ => new,
                };
                if row == new {
                    rows.push(place);
                    targets.push(i64::from(target));
                    passes.push(1.0 / votes as f32);
                    further.extend(all[1..].iter().map(|pass| pass[learned - 1]));
                    further_of.extend(std::iter::repeat_n(new, votes - 1));
                }
                row_of.push(row);
            }
        }
        let tensor = |values: &[i64]| Tensor::from_slice(values).to_device(device);
        let row_of = (rows.len() < row_of.len()).then(|| tensor(&row_of));
        for (index, places) in read.iter().enumerate().filter(|(_, places)| !places.is_empty()) {
            let all = packed.places(firsts[index]);
            rows.extend(places.iter().map(|&place| all[place]));
        }
        let share = || Tensor::from_slice(&passes).to_device(device).unsqueeze(1);
        let voted = (!further.is_empty()).then(|| Voted { rows: tensor(&further_of), share: share() });
        rows.extend(further);
        Self { layout: packed.layout(&all, &rows, device), targets: tensor(&targets), row_of, voted }
    }
}

impl PackedInputs {
    /// The position of each token that is fed, `[tokens]`.
    pub fn positions(&self) -> Tensor {
        let positions: Vec<i64> = self.keys.iter().map(|&(_, position, _)| i64::from(position)).collect();
        Tensor::from_slice(&positions).to_device(self.inputs.device())
    }

    /// Packs `sequences`, to be read at the `places` of each, one row a place, sequence by sequence.
    pub fn whole(sequences: &[&[u32]], places: &[&[usize]], device: Device) -> Self {
        let keys: Vec<Vec<Key>> = sequences.iter().map(|tokens| keys(tokens)).collect();
        let sequences: Vec<&[Key]> = keys.iter().map(Vec::as_slice).collect();
        let packed = PackedForest::new(&sequences);
        let rows = places.iter().enumerate().flat_map(|(index, places)| {
            let all = packed.places(index);
            places.iter().map(move |&place| all[place])
        });
        packed.layout(&sequences, &rows.collect::<Vec<_>>(), device)
    }
}

/// Where the segments of a forest stand.
struct PackedForest {
    forest: PrefixForest,
    starts: Vec<usize>,
    roots: Vec<usize>,
    branches: Vec<Vec<usize>>,
}

impl PackedForest {
    /// First what the sequences begin with, then what follows each segment, side by side.
    fn new(sequences: &[&[Key]]) -> Self {
        let forest = PrefixForest::of_keys(sequences);
        let count = forest.segments.len();
        let mut below: Vec<Vec<usize>> = vec![Vec::new(); count];
        let mut roots = Vec::new();
        for (at, segment) in forest.segments.iter().enumerate().filter(|(_, s)| !s.tokens.is_empty()) {
            match segment.parent {
                Some(parent) => below[parent].push(at),
                None => roots.push(at),
            }
        }
        let (mut starts, mut end) = (vec![0; count], 0);
        for &at in roots.iter().chain(below.iter().flatten()) {
            starts[at] = end;
            end += forest.segments[at].tokens.len();
        }
        Self { forest, starts, roots, branches: below }
    }

    fn place(&self, segment: usize) -> Range<usize> {
        self.starts[segment]..self.starts[segment] + self.forest.segments[segment].tokens.len()
    }

    /// The place of each token of sequence `index`.
    fn places(&self, index: usize) -> Vec<i64> {
        let path = self.forest.path(self.forest.ends[index]);
        path.into_iter().flat_map(|at| self.place(at)).map(|place| place as i64).collect()
    }

    fn layout(&self, sequences: &[&[Key]], rows: &[i64], device: Device) -> PackedInputs {
        let length = |at: &usize| self.forest.segments[*at].tokens.len();
        let order = self.roots.iter().chain(self.branches.iter().flatten());
        let segments = order.map(|&at| &self.forest.segments[at]);
        let keys = segments.flat_map(|segment| &sequences[segment.of][segment.tokens.clone()]);
        let keys: Vec<Key> = keys.copied().collect();
        let inputs: Vec<i64> = keys.iter().map(|&(.., token)| i64::from(token)).collect();
        let branch = |(parent, below): (usize, &Vec<usize>)| {
            let before = self.forest.path(parent).into_iter().map(|at| self.place(at));
            Branches { before: before.collect(), lengths: below.iter().map(length).collect() }
        };
        let roots: Vec<usize> = self.roots.iter().map(length).collect();
        let branching = self.branches.iter().enumerate().filter(|(_, below)| !below.is_empty());
        let tensor = |values: &[i64]| Tensor::from_slice(values).to_device(device);
        PackedInputs {
            inputs: tensor(&inputs),
            rows: tensor(rows),
            packed: Packed::branching(&roots, branching.map(branch).collect(), device),
            keys,
        }
    }
}

/// What each item, of one sequence or of several that stay together, costs beside the others, for
/// [`micro_batches`](crate::batch::micro_batches): the tokens that are fed, for the learned ones and for the places that
/// are read of each sequence (none, where a list is shorter).
pub fn sizes<'a>(items: impl IntoIterator<Item = (&'a [Sequence], &'a [Vec<usize>])>) -> Vec<Size> {
    let fed = |(sequences, places): (&'a [Sequence], &'a [Vec<usize>])| -> Vec<Vec<Key>> {
        let of = |index: usize| places.get(index).map_or(&[][..], Vec::as_slice);
        sequences.iter().enumerate().flat_map(|(index, s)| s.keys(s.fed(of(index)))).collect()
    };
    let keys: Vec<Vec<Vec<Key>>> = items.into_iter().map(fed).collect();
    batch::sizes(&keys.iter().map(|item| item.iter().map(Vec::as_slice).collect()).collect::<Vec<_>>())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sequence(prompt: u32, length: u32, completion: &[u32]) -> Sequence {
        Sequence::new(&(prompt..prompt + length).collect::<Vec<_>>(), completion)
    }

    fn numbers(tensor: &Tensor) -> Vec<i64> {
        Vec::try_from(tensor).unwrap()
    }

    /// What each item costs alone, and all of them together.
    fn costs(items: &[&[Sequence]]) -> (Vec<usize>, usize) {
        let sizes = sizes(items.iter().map(|item| (*item, &[][..])));
        let all: HashMap<usize, usize> = sizes.iter().flat_map(|size| size.segments.clone()).collect();
        (sizes.iter().map(Size::tokens).collect(), all.values().sum())
    }

    #[test]
    fn a_long_prompt_is_packed_once() {
        let (a, b, c) = (sequence(0, 32, &[50, 51]), sequence(5, 2, &[60]), sequence(0, 32, &[70]));
        let Predicting { layout, targets, row_of, .. } = Predicting::new(&[&a, &b, &c], &[], Device::Cpu);
        // The shared prompt, all of b but its last token, then a's own tokens but the last, and none of c's.
        let expected: Vec<i64> = (0..32).chain([5, 6]).chain([50]).collect();
        assert_eq!(numbers(&layout.inputs), expected);
        // a: the prompt's end and 50's place; b: its prompt's end; c: the shared prompt's end.
        assert_eq!(numbers(&layout.rows), [31, 34, 33, 31]);
        assert_eq!(numbers(&targets), [50, 51, 60, 70]);
        assert!(row_of.is_none());
        let positions: Vec<i64> = (0..32).chain([0, 1]).chain([32]).collect();
        assert_eq!(numbers(&layout.positions()), positions);
        let [a, b, c] = [a, b, c].map(|sequence| [sequence]);
        // As many tokens as are packed.
        assert_eq!(costs(&[&a, &b, &c]), (vec![32 + 1, 2, 32], 32 + 1 + 2));
        // A pair shares its prompt with itself, whoever else does; a stranger beside it costs all its tokens.
        let pair = [&a[..], &c].concat();
        assert_eq!(costs(&[&b, &pair]), (vec![2, 32 + 1], 35));
        assert_eq!(costs(&[&[&pair[..], &b].concat()]), (vec![32 + 3], 35));
    }

    #[test]
    fn a_short_prompt_is_not_worth_sharing() {
        let (a, b) = (sequence(0, 31, &[50]), sequence(0, 31, &[50]));
        assert_eq!(numbers(&Predicting::new(&[&a, &b], &[], Device::Cpu).layout.inputs).len(), 62);
        assert_eq!(costs(&[&[a], &[b]]).1, 62);
    }

    /// A prompt of 40, completions 200… of 40 and then 1, 2 or 3, 4 for a and b, and c, which leaves at the prompt. The
    /// forest: 40, then 40 and c's [9], then the ends of a and b without their last tokens.
    #[test]
    fn completions_that_go_together_are_packed_and_predicted_once() {
        let middle: Vec<u32> = (200..240).collect();
        let [a, b] = [[1, 2], [3, 4]].map(|end| sequence(0, 40, &[&middle[..], &end].concat()));
        let c = sequence(0, 40, &[9, 8]);
        let packed = Predicting::new(&[&a, &b, &c], &[&[1], &[], &[40]], Device::Cpu);
        let expected: Vec<i64> = (0..40).chain(200..240).chain([9, 1, 3]).collect();
        assert_eq!(numbers(&packed.layout.inputs), expected);
        let positions: Vec<i64> = (0..80).chain([40, 80, 80]).collect();
        assert_eq!(numbers(&packed.layout.positions()), positions);
        // a's 42 tokens; of b's the first 40 are a's rows; c's two.
        let row_of: Vec<i64> = (0..42).chain(0..40).chain(42..46).collect();
        assert_eq!(numbers(packed.row_of.as_ref().unwrap()), row_of);
        // Then the places that are read: the prompt's second token and c's 9.
        let rows: Vec<i64> = (39..80).chain([81, 79, 82, 39, 80]).chain([1, 80]).collect();
        assert_eq!(numbers(&packed.layout.rows), rows);
        assert_eq!(numbers(&packed.targets)[40..], [1, 2, 3, 4, 9, 8]);
    }
    /// b lacks 3 to 9 of what a begins with, so that they share 0 to 2 alone, which is not worth it; behind the gap its tokens stand where a's do.
    /// c makes two passes, and shares nothing with them or with a.
    #[test]
    fn gaps_and_passes_share_nothing_behind_them() {
        let a = sequence(0, 40, &[50, 51]);
        let b = a.clone().without(|place| (3..10).contains(&place));
        let c = a.clone().dropping(vec![8, 9]);
        let packed = Predicting::new(&[&a, &b, &c], &[], Device::Cpu);
        assert_eq!(packed.layout.inputs.size(), [41 + 34 + 2 * 41]);
        let positions = numbers(&packed.layout.positions());
        assert_eq!(positions[41..47], [0, 1, 2, 10, 11, 12]);
        // a's two rows, b's two, the first pass's of c; behind them those of the second.
        assert_eq!(numbers(&packed.layout.rows), [39, 40, 73, 74, 114, 115, 155, 156]);
        let voted = packed.voted.unwrap();
        assert_eq!(numbers(&voted.rows), [4, 5]);
        assert_eq!(Vec::<f32>::try_from(voted.share.squeeze()).unwrap(), [1.0, 1.0, 1.0, 1.0, 0.5, 0.5]);
        let [a, b, c] = [a, b, c].map(|sequence| [sequence]);
        assert_eq!(costs(&[&a, &b, &c]), (vec![41, 34, 82], 41 + 34 + 82));
        // The same seed drops the same: two of them are one.
        let d = [sequence(0, 40, &[50]).dropping(vec![8])];
        assert_eq!(costs(&[&d, &d]).1, 40);
    }
}
