//! What is learned from, for every method: sequences whose tokens each say whether they are learned, with numbers beside them.

use crate::model::Sequence;
use std::collections::BTreeMap;
use tch::{Device, Tensor};

/// log p of a learned token as it was recorded while sampling, in nats.
pub const OLD_LOGPROBS: &str = "old_logprobs";
/// log p of a learned token under the reference policy, in nats.
pub const REF_LOGPROBS: &str = "ref_logprobs";
/// The advantage of a learned token.
pub const ADVANTAGES: &str = "advantages";
/// How much the loss of a learned token counts; 1 where a method gives none.
pub const WEIGHTS: &str = "weights";

/// One sequence, or several that stay together in a micro-batch (the two of a pair), with the numbers that the method's loss
/// asks for by name.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Item {
    /// The example that it is made of, for messages.
    pub id: String,
    /// The tokens.
    pub sequences: Vec<Sequence>,
    /// Where the last layer's states of each sequence are read, by sequence, counted from its first token; nowhere where the list is
    /// shorter.
    pub places: Vec<Vec<usize>>,
    /// Which of the policy's adapters learns from it, where it has several.
    pub adapter: Option<&'static str>,
    /// One number a learned token of all sequences, end to end.
    tokens: BTreeMap<&'static str, Vec<f32>>,
    /// Lists of numbers, such as one a place.
    lists: BTreeMap<&'static str, Vec<f64>>,
    /// Single numbers.
    numbers: BTreeMap<&'static str, f64>,
}

impl Item {
    /// Sequences that stay together.
    pub fn of(sequences: Vec<Sequence>) -> Self {
        Self { sequences, ..Self::default() }
    }

    /// Made of the example `id`.
    pub fn named(self, id: &str) -> Self {
        Self { id: id.to_owned(), ..self }
    }

    /// With the states of each sequence read at its places.
    pub fn read_at(self, places: Vec<Vec<usize>>) -> Self {
        Self { places, ..self }
    }

    /// Learned by one of several adapters.
    pub fn learned_by(self, adapter: &'static str) -> Self {
        Self { adapter: Some(adapter), ..self }
    }

    /// With one number a learned token of all its sequences, end to end; `name` is one of the constants here or the method's own.
    ///
    /// # Panics
    /// Where there are not as many numbers as learned tokens.
    pub fn with_tokens(mut self, name: &'static str, values: Vec<f32>) -> Self {
        assert_eq!(values.len(), self.learned(), "{name}: one a learned token");
        self.tokens.insert(name, values);
        self
    }

    /// With a list of numbers.
    pub fn with_list(mut self, name: &'static str, values: Vec<f64>) -> Self {
        self.lists.insert(name, values);
        self
    }

    /// With a number.
    pub fn with(mut self, name: &'static str, value: f64) -> Self {
        self.numbers.insert(name, value);
        self
    }

    /// Learned tokens of all its sequences.
    pub fn learned(&self) -> usize {
        self.sequences.iter().map(Sequence::learned).sum()
    }

    /// Tokens of all its sequences.
    pub fn size(&self) -> usize {
        self.sequences.iter().map(|sequence| sequence.tokens.len()).sum()
    }

    /// The numbers of its learned tokens; none where the method gave none.
    pub fn tokens(&self, name: &str) -> Option<&[f32]> {
        self.tokens.get(name).map(Vec::as_slice)
    }

    /// A list; empty where the method gave none.
    pub fn list(&self, name: &str) -> &[f64] {
        self.lists.get(name).map_or(&[], Vec::as_slice)
    }

    /// A number; 0 where the method gave none.
    pub fn number(&self, name: &str) -> f64 {
        self.numbers.get(name).copied().unwrap_or(0.0)
    }
}

/// The numbers `name` of the learned tokens of all `items`, end to end, `[learned tokens]`; none where an item has none.
pub fn stacked(items: &[&Item], name: &str, device: Device) -> Option<Tensor> {
    let all: Option<Vec<&[f32]>> = items.iter().map(|item| item.tokens(name)).collect();
    all.map(|all| Tensor::from_slice(&all.concat()).to_device(device))
}

/// As [`stacked`], with `default` for each learned token of the items that have none.
pub fn stacked_or(items: &[&Item], name: &str, default: f32, device: Device) -> Tensor {
    let of = |item: &&Item| item.tokens(name).map_or_else(|| vec![default; item.learned()], <[f32]>::to_vec);
    Tensor::from_slice(&items.iter().flat_map(of).collect::<Vec<f32>>()).to_device(device)
}

/// Learned tokens of each of `items`.
pub fn lengths(items: &[&Item]) -> Vec<usize> {
    items.iter().map(|item| item.learned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_stand_beside_the_learned_tokens_of_all_spans() {
        // Two answers in one conversation, then a pair's other side: 2 + 1 and 1 learned tokens.
        let turns = Sequence::of_spans((0..8).collect(), [2..4, 6..7]).unwrap();
        let item =
            Item::of(vec![turns, Sequence::new(&[1], &[2])]).with_tokens(WEIGHTS, vec![1.0, 2.0, 3.0, 4.0]);
        assert_eq!((item.learned(), item.size()), (4, 10));
        let plain = Item::of(vec![Sequence::new(&[1], &[2])]);
        let stack =
            |items: &[&Item]| stacked(items, WEIGHTS, Device::Cpu).map(|t| Vec::<f32>::try_from(t).unwrap());
        assert_eq!(stack(&[&item, &item]).unwrap(), [1.0, 2.0, 3.0, 4.0, 1.0, 2.0, 3.0, 4.0]);
        assert_eq!(stack(&[&item, &plain]), None);
        let filled = stacked_or(&[&plain, &item], WEIGHTS, 0.5, Device::Cpu);
        assert_eq!(Vec::<f32>::try_from(filled).unwrap(), [0.5, 1.0, 2.0, 3.0, 4.0]);
    }

    #[test]
    #[should_panic(expected = "weights: one a learned token")]
    fn as_many_numbers_as_learned_tokens() {
        let _ = Item::of(vec![Sequence::new(&[1], &[2, 3])]).with_tokens(WEIGHTS, vec![1.0]);
    }
}
