//! Noise for the reader of rationales (Storek et al. 2023, ACL): words that tell little are replaced by others that tell little, so that what is
//! selected has to be informative.

use super::document::Document;
use crate::data::Tokenizer;
use crate::error::Result;
use crate::seed;
use std::collections::{BTreeMap, BTreeSet};

/// How informative the words of the training texts are.
#[derive(Debug, Default)]
pub struct Lexicon {
    /// ln((1 + texts) / (1 + texts with the word)) + 1.
    rarity: BTreeMap<String, f64>,
    /// Words in the order of the alphabet, each with the sum of (max − Σ tf·idf) up to it.
    cumulative: Vec<(String, f64)>,
}

impl Lexicon {
    /// That of these texts.
    pub fn of<'a>(documents: impl Iterator<Item = &'a Document>) -> Self {
        let (mut texts, mut with, mut count) =
            (0.0, BTreeMap::<&str, f64>::new(), BTreeMap::<&str, f64>::new());
        for document in documents {
            texts += 1.0;
            let words = document.words();
            words.iter().for_each(|word| *count.entry(word).or_default() += 1.0);
            words
                .into_iter()
                .collect::<BTreeSet<_>>()
                .into_iter()
                .for_each(|word| *with.entry(word).or_default() += 1.0);
        }
        let rarity: BTreeMap<String, f64> = with
            .iter()
            .map(|(word, texts_with)| (word.to_string(), ((1.0 + texts) / (1.0 + texts_with)).ln() + 1.0))
            .collect();
        let sums: Vec<(&str, f64)> =
            count.iter().map(|(word, count)| (*word, count * rarity[*word])).collect();
        let most = sums.iter().map(|(_, sum)| *sum).fold(0.0, f64::max);
        let equal = sums.iter().all(|(_, sum)| *sum == most);
        let mut total = 0.0;
        let cumulative = sums.into_iter().map(|(word, sum)| {
            total += if equal { 1.0 } else { most - sum };
            (word.to_string(), total)
        });
        Self { cumulative: cumulative.collect(), rarity }
    }

    /// How much more often than others each word of a text is replaced: max − tf·idf, divided by its mean.
    pub fn doubts(&self, words: &[&str]) -> Vec<f64> {
        let mut tf = BTreeMap::<&str, f64>::new();
        words.iter().for_each(|word| *tf.entry(*word).or_default() += 1.0);
        let weights: Vec<f64> = words
            .iter()
            .map(|word| tf[*word] * self.rarity.get(*word).copied().unwrap_or_default())
            .collect();
        let most = weights.iter().copied().fold(0.0, f64::max);
        let mean = weights.iter().map(|weight| most - weight).sum::<f64>() / words.len().max(1) as f64;
        weights.iter().map(|weight| if mean == 0.0 { 1.0 } else { (most - weight) / mean }).collect()
    }

    /// The text with words replaced, each with probability `share` times its doubt; `draw` gives a seed for each word and purpose. None where
    /// the other words make it longer than `room` tokens.
    pub fn noised(
        &self,
        document: &Document,
        share: f64,
        tokenizer: &Tokenizer,
        room: usize,
        draw: impl Fn(u64, u64) -> u64,
    ) -> Result<Option<Document>> {
        let words = document.words();
        let of = |(at, (word, doubt)): (usize, (&&str, f64))| {
            let replaced = seed::uniform(draw(3, at as u64)) < share * doubt;
            let other = if replaced { self.drawn(seed::uniform(draw(4, at as u64))) } else { None };
            other.unwrap_or(*word).to_string()
        };
        let doubts = self.doubts(&words);
        let written: Vec<String> = words.iter().zip(doubts).enumerate().map(of).collect();
        Ok(Some(document.with_words(&written, tokenizer)?).filter(|noised| noised.tokens.len() <= room))
    }

    fn drawn(&self, at: f64) -> Option<&str> {
        let (_, total) = self.cumulative.last()?;
        let place = self.cumulative.partition_point(|(_, sum)| *sum <= at * total);
        self.cumulative.get(place).map(|(word, _)| word.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::super::section::Extract;
    use super::*;
    use crate::data::Example;

    fn document(text: &str) -> Document {
        Document::of(&Example::text("row:1", text), &Extract::default(), &Tokenizer::bytes())
            .unwrap()
            .unwrap()
    }

    /// "the" is in both texts: idf ln(3/3) + 1 = 1; the others in one: ln(3/2) + 1 = 1.405. Of "the a the": 2, 1.405, 2 → doubts 0, 3, 0.
    #[test]
    fn words_that_tell_little_are_doubted() {
        let all = [document("the a the"), document("the b")];
        let lexicon = Lexicon::of(all.iter());
        let doubts = lexicon.doubts(&all[0].words());
        assert!(doubts.iter().zip([0.0, 3.0, 0.0]).all(|(a, b)| (a - b).abs() < 1e-9), "{doubts:?}");
        // Over all texts "the" tells most, 3 · 1, and so is never drawn.
        let drawn: BTreeSet<&str> = (0..100).filter_map(|at| lexicon.drawn(f64::from(at) / 100.0)).collect();
        assert_eq!(drawn.into_iter().collect::<Vec<_>>(), ["a", "b"]);
        let of = |share: f64, room: usize| {
            let draw = |purpose: u64, at: u64| seed::derive(&[purpose, at]);
            lexicon.noised(&all[0], share, &Tokenizer::bytes(), room, draw).unwrap()
        };
        let noised = of(1.0, 9).unwrap();
        assert_eq!((&noised.text[..4], noised.units.len()), ("the ", 3));
        assert_eq!(of(0.0, 9).unwrap().text, all[0].text);
        // "the a the" and "the b the" are nine bytes, each a token.
        assert_eq!((of(0.0, 8), of(1.0, 8)), (None, None));
    }
}
