//! How sequences are laid end to end for one pass: a prompt that several of them share is laid, and computed, once.

use super::Sequence;
use super::attention::{Branch, Packed};
use crate::batch::Size;
use std::collections::HashMap;
use tch::{Device, Tensor};

/// Shorter prompts are laid once for each sequence: attending to a family costs a call of its own, which the tokens
/// saved have to pay for.
const LEAST_SHARED: usize = 32;

/// Sequences laid end to end, with what is asked of them.
#[derive(Debug)]
pub struct Layout {
    /// Token ids that are fed, `[tokens]`.
    pub inputs: Tensor,
    /// Places among the inputs whose states predict the completion tokens, `[completion tokens]`, in the order of the
    /// sequences.
    pub rows: Tensor,
    /// Who sees whom.
    pub packed: Packed,
}

/// Sequences with the same prompt: their indices.
type Family = Vec<usize>;

impl Layout {
    /// Lays out `sequences`, none of which has an empty completion. A sequence's last token predicts nothing that is
    /// asked for, so it is not fed.
    pub fn new(sequences: &[&Sequence], device: Device) -> Self {
        let (mut inputs, mut stems, mut branches) = (Vec::new(), Vec::new(), Vec::new());
        let mut rows: Vec<Vec<i64>> = vec![Vec::new(); sequences.len()];
        let mut shared: Vec<(&Family, usize)> = Vec::new();
        let families = families(sequences);
        for family in &families {
            let (first, start) = (sequences[family[0]], inputs.len());
            let fed = if family.len() > 1 { first.prompt } else { first.tokens.len() - 1 };
            inputs.extend_from_slice(&first.tokens[..fed]);
            stems.push(fed);
            if family.len() > 1 {
                shared.push((family, start));
            } else {
                rows[family[0]] = places(start + first.prompt - 1, first.completion());
            }
        }
        for (family, stem) in shared {
            let prompt = sequences[family[0]].prompt;
            let mut lengths = Vec::with_capacity(family.len());
            for &index in family {
                let own = &sequences[index].tokens[prompt..sequences[index].tokens.len() - 1];
                rows[index] = places(stem + prompt - 1, 1);
                rows[index].extend(places(inputs.len(), own.len()));
                inputs.extend_from_slice(own);
                lengths.push(own.len());
            }
            branches.push(Branch { start: stem, prompt, lengths });
        }
        let inputs: Vec<i64> = inputs.into_iter().map(i64::from).collect();
        let tensor = |values: &[i64]| Tensor::from_slice(values).to_device(device);
        Self {
            inputs: tensor(&inputs),
            rows: tensor(&rows.concat()),
            packed: Packed::branching(&stems, branches, device),
        }
    }
}

impl Layout {
    /// Lays out `sequences` whole, each by itself, to be read at its `places`.
    pub fn whole(sequences: &[&[u32]], places: &[&[usize]], device: Device) -> Self {
        let (mut inputs, mut rows) = (Vec::new(), Vec::new());
        for (tokens, places) in sequences.iter().zip(places) {
            rows.extend(places.iter().map(|&place| (inputs.len() + place) as i64));
            inputs.extend(tokens.iter().map(|&token| i64::from(token)));
        }
        let lengths: Vec<usize> = sequences.iter().map(|tokens| tokens.len()).collect();
        let tensor = |values: &[i64]| Tensor::from_slice(values).to_device(device);
        Self { inputs: tensor(&inputs), rows: tensor(&rows), packed: Packed::new(&lengths, device) }
    }
}

/// `count` places from `start` on.
fn places(start: usize, count: usize) -> Vec<i64> {
    (start..start + count).map(|place| place as i64).collect()
}

/// The sequences by prompt, in the order of each family's first; a family of one shares nothing.
fn families(sequences: &[&Sequence]) -> Vec<Family> {
    let mut families: Vec<Family> = Vec::new();
    let mut known: HashMap<&[u32], usize> = HashMap::new();
    for (index, sequence) in sequences.iter().enumerate() {
        let prompt = &sequence.tokens[..sequence.prompt];
        let family = match prompt.len() {
            ..LEAST_SHARED => families.len(),
            _ => *known.entry(prompt).or_insert(families.len()),
        };
        if family == families.len() {
            families.push(Vec::new());
        }
        families[family].push(index);
    }
    families
}

/// What each item, of one sequence or of several that stay together, costs beside the others, for
/// [`micro_batches`](crate::batch::micro_batches).
pub fn sizes(items: &[&[Sequence]]) -> Vec<Size> {
    let sequences: Vec<&Sequence> = items.iter().copied().flatten().collect();
    let families = families(&sequences);
    let mut family_of = vec![0; sequences.len()];
    for (number, members) in families.iter().enumerate() {
        members.iter().for_each(|&index| family_of[index] = number);
    }
    let mut start = 0;
    let size = |item: &&[Sequence]| {
        let members = &family_of[start..start + item.len()];
        start += item.len();
        let family = members.first().copied().unwrap_or_default();
        let shared = if families[family].len() > 1 { item[0].prompt } else { 0 };
        let own = item
            .iter()
            .zip(members)
            .map(|(sequence, &of)| sequence.tokens.len() - if of == family { shared } else { 0 });
        Size { family, shared, own: own.sum() }
    };
    items.iter().map(size).collect()
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

    #[test]
    fn a_long_prompt_is_laid_once() {
        let (a, b, c) = (sequence(0, 32, &[50, 51]), sequence(5, 2, &[60]), sequence(0, 32, &[70]));
        let layout = Layout::new(&[&a, &b, &c], Device::Cpu);
        // The shared prompt, all of b but its last token, then a's own tokens but the last, and none of c's.
        let expected: Vec<i64> = (0..32).chain([5, 6]).chain([50]).collect();
        assert_eq!(numbers(&layout.inputs), expected);
        // a: the prompt's end and 50's place; b: its prompt's end; c: the shared prompt's end.
        assert_eq!(numbers(&layout.rows), [31, 34, 33, 31]);
        let positions: Vec<i64> = (0..32).chain([0, 1]).chain([32]).collect();
        assert_eq!(numbers(&layout.packed.positions()), positions);
        let size = |family, shared, own| Size { family, shared, own };
        let [a, b, c] = [a, b, c].map(|sequence| [sequence]);
        assert_eq!(sizes(&[&a, &b, &c]), [size(0, 32, 2), size(1, 0, 3), size(0, 32, 1)]);
        // A pair shares its prompt with itself, whoever else does; a stranger beside it costs all its tokens.
        let pair = [&a[..], &c].concat();
        assert_eq!(sizes(&[&b, &pair]), [size(0, 0, 3), size(1, 32, 3)]);
        assert_eq!(sizes(&[&[&pair[..], &b].concat()]), [size(0, 32, 6)]);
    }

    #[test]
    fn a_short_prompt_is_not_worth_sharing() {
        let (a, b) = (sequence(0, 31, &[50]), sequence(0, 31, &[50]));
        assert_eq!(numbers(&Layout::new(&[&a, &b], Device::Cpu).inputs).len(), 62);
        assert!(sizes(&[&[a], &[b]]).iter().all(|size| size.shared == 0));
    }
}
