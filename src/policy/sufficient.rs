//! Which few tokens of a context are enough for what a model predicts behind it: greedy rationalization (Vafa et al. 2021, arXiv 2109.06387).

use super::Policy;
use crate::batch::micro_batches;
use crate::error::Result;
use crate::model::layout::sizes;
use crate::model::{Grad, Sequence};
use std::slice::from_ref;
use tch::Device;

/// States whose logits are held together.
const TOGETHER: i64 = 256;

/// A prediction that is to be explained.
#[derive(Debug, Clone, PartialEq)]
pub struct Prediction {
    /// What is read before it.
    pub context: Vec<u32>,
    /// How many of the context's first tokens may be left out. The others, at least the last, are always read.
    pub free: usize,
    /// The token that is predicted.
    pub token: u32,
    /// The log p that it has to have at least; −∞ where it is enough that it is the likeliest.
    pub least: f32,
}

/// Tokens of a context that were added until they were enough, or until there were as many as may be.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Subset {
    /// Their places, in the order in which they were added.
    pub places: Vec<usize>,
    /// Whether behind them, and what is always read, the predicted token is the likeliest, and likely enough.
    pub enough: bool,
}

impl Prediction {
    /// The prediction behind the tokens at `places` and those that are always read, all at their positions.
    fn behind(&self, places: &[usize]) -> Sequence {
        let whole = Sequence::new(&self.context, &[self.token]);
        whole.without(|place| place < self.free && !places.contains(&place))
    }

    /// Whether what a model says behind some tokens is what it says behind all.
    fn holds(&self, (token, logprob): (u32, Option<f32>)) -> bool {
        token == self.token && logprob.is_some_and(|logprob| logprob >= self.least)
    }
}

impl Policy {
    /// The token that is likeliest behind what each of `sequences` has before its learned token, or behind all of it; in passes of `budget` tokens.
    pub fn next_tokens(&self, sequences: &[Sequence], budget: usize) -> Result<Vec<u32>> {
        Ok(self.likeliest(sequences, budget)?.into_iter().map(|(token, _)| token).collect())
    }

    /// The same with log p of the one learned token, where there is one.
    fn likeliest(&self, sequences: &[Sequence], budget: usize) -> Result<Vec<(u32, Option<f32>)>> {
        let last: Vec<Vec<usize>> =
            sequences.iter().map(|sequence| vec![sequence.prompt().len() - 1]).collect();
        let items = sequences.iter().zip(&last).map(|(sequence, last)| (from_ref(sequence), from_ref(last)));
        let sizes = sizes(items);
        let mut found = vec![(0, None); sequences.len()];
        for indices in micro_batches(&sizes, budget) {
            let picked: Vec<Sequence> = indices.iter().map(|&at| sequences[at].clone()).collect();
            let places: Vec<&[usize]> = indices.iter().map(|&at| last[at].as_slice()).collect();
            let scored = self.model.score_and_read(&picked, &places, 1.0, Grad::No)?;
            let mut tokens: Vec<i64> = Vec::with_capacity(indices.len());
            for some in scored.states.split(TOGETHER, 0) {
                let likeliest = tch::no_grad(|| self.model.logits(&some).argmax(-1, false));
                tokens.extend(Vec::<i64>::try_from(&likeliest.to_device(Device::Cpu))?);
            }
            let logprobs = Vec::<f32>::try_from(&scored.logprobs.to_device(Device::Cpu))?;
            let mut logprobs = logprobs.into_iter();
            for ((at, sequence), token) in indices.into_iter().zip(&picked).zip(tokens) {
                assert!(sequence.learned() < 2, "one token is predicted");
                let logprob = if sequence.learned() == 1 { logprobs.next() } else { None };
                found[at] = (token as u32, logprob);
            }
        }
        Ok(found)
    }

    /// For each of `predictions` the tokens S that greedy search adds, `most` at most: S begins with none, and the token k is added that makes p(token | S ∪ k)
    /// greatest, until the token is the likeliest and has its least log p. All candidates of a step are asked together.
    ///
    /// # Errors
    /// A model whose attention slides, which has no room for gaps.
    pub fn sufficient(&self, predictions: &[Prediction], most: usize, budget: usize) -> Result<Vec<Subset>> {
        let mut found = vec![Subset::default(); predictions.len()];
        for added in 0..=most {
            let open: Vec<usize> = (0..found.len()).filter(|&at| !found[at].enough).collect();
            let sequences: Vec<Sequence> =
                open.iter().map(|&at| predictions[at].behind(&found[at].places)).collect();
            for (at, said) in open.into_iter().zip(self.likeliest(&sequences, budget)?) {
                found[at].enough = predictions[at].holds(said);
            }
            if added < most {
                self.add_best(predictions, &mut found, budget)?;
            }
        }
        Ok(found)
    }

    /// Adds to each subset that is not enough the token that helps most, where one is left.
    fn add_best(&self, predictions: &[Prediction], found: &mut [Subset], budget: usize) -> Result<()> {
        let mut candidates: Vec<(usize, usize)> = Vec::new();
        for (at, subset) in found.iter().enumerate().filter(|(_, subset)| !subset.enough) {
            let left = (0..predictions[at].free).filter(|place| !subset.places.contains(place));
            candidates.extend(left.map(|place| (at, place)));
        }
        let with = |&(at, place): &(usize, usize)| {
            predictions[at].behind(&[found[at].places.as_slice(), &[place]].concat())
        };
        let sequences: Vec<Sequence> = candidates.iter().map(with).collect();
        let logprobs = self.logprobs(&sequences, 1.0, budget)?;
        let mut best: Vec<Option<(f32, usize)>> = vec![None; found.len()];
        for ((at, place), logprob) in candidates.into_iter().zip(logprobs) {
            // Of equals the first stays.
            if best[at].is_none_or(|(known, _)| logprob[0] > known) {
                best[at] = Some((logprob[0], place));
            }
        }
        for (subset, best) in found.iter_mut().zip(best) {
            subset.places.extend(best.map(|(_, place)| place));
        }
        Ok(())
    }

    /// For each of `predictions` the first tokens of its order in `orders`, `most` at most, that are enough: how [`sufficient`](Self::sufficient) tells it, of
    /// tokens that something else has ranked.
    ///
    /// # Errors
    /// As there.
    pub fn sufficient_of(
        &self,
        predictions: &[Prediction],
        orders: &[Vec<usize>],
        most: usize,
        budget: usize,
    ) -> Result<Vec<Subset>> {
        assert_eq!(predictions.len(), orders.len(), "an order for each prediction");
        let lengths = |order: &Vec<usize>| 0..=most.min(order.len());
        let mut sequences = Vec::new();
        for (prediction, order) in predictions.iter().zip(orders) {
            sequences.extend(lengths(order).map(|length| prediction.behind(&order[..length])));
        }
        let mut said = self.likeliest(&sequences, budget)?.into_iter();
        let of = |(prediction, order): (&Prediction, &Vec<usize>)| {
            let own: Vec<_> = said.by_ref().take(lengths(order).count()).collect();
            let enough = own.iter().position(|said| prediction.holds(*said));
            let length = enough.unwrap_or(own.len() - 1);
            Subset { places: order[..length].to_vec(), enough: enough.is_some() }
        };
        Ok(predictions.iter().zip(orders).map(of).collect())
    }
}

/// Against a second computation in plain Python (tests/fixtures/states/make.py).
#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Model;
    use crate::policy::tests::tiny;
    use serde::Deserialize;
    use std::path::Path;
    use tch::Kind;

    #[derive(Deserialize)]
    struct Expected {
        greedy: Vec<Case>,
    }

    #[derive(Deserialize)]
    struct Case {
        context: Vec<u32>,
        free: usize,
        token: u32,
        greedy: Vec<usize>,
        last: Vec<usize>,
        /// Those after which the token is 0.9 times as likely as behind the whole context.
        likely: Vec<usize>,
        /// log p of that.
        least: f32,
    }

    impl Case {
        fn prediction(&self, least: f32) -> Prediction {
            Prediction { context: self.context.clone(), free: self.free, token: self.token, least }
        }
    }

    fn llama() -> Policy {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/models/llama");
        let model = Model::load(&folder, Kind::Float, Device::Cpu).unwrap();
        let policy = tiny(1, 1, 3);
        Policy { model, ..policy }
    }

    fn cases() -> Vec<Case> {
        let text = include_str!("../../tests/fixtures/states/states.json");
        serde_json::from_str::<Expected>(text).unwrap().greedy
    }

    #[test]
    fn subsets_are_those_of_a_second_computation() {
        let (policy, cases) = (llama(), cases());
        let longer = cases.iter().filter(|case| case.likely.len() > case.greedy.len()).count();
        assert!(longer > 0 && cases.iter().any(|case| case.greedy.len() > 1), "of all kinds some");
        let of = |case: &Case| case.prediction(f32::NEG_INFINITY);
        let predictions: Vec<Prediction> = cases.iter().map(of).collect();
        let likely: Vec<Prediction> = cases.iter().map(|case| case.prediction(case.least)).collect();
        let whole: Vec<Sequence> =
            cases.iter().map(|case| Sequence::read_only(case.context.clone())).collect();
        let tokens: Vec<u32> = cases.iter().map(|case| case.token).collect();
        assert_eq!(policy.next_tokens(&whole, 16).unwrap(), tokens);
        // In one pass and in many.
        for budget in [4096, 8] {
            let found = policy.sufficient(&predictions, 16, budget).unwrap();
            for (case, subset) in cases.iter().zip(found) {
                assert_eq!(subset, Subset { places: case.greedy.clone(), enough: true });
            }
            for (case, subset) in cases.iter().zip(policy.sufficient(&likely, 16, budget).unwrap()) {
                assert_eq!(subset, Subset { places: case.likely.clone(), enough: true });
            }
            let orders: Vec<Vec<usize>> = cases.iter().map(|case| (0..case.free).rev().collect()).collect();
            let found = policy.sufficient_of(&predictions, &orders, 16, budget).unwrap();
            for (case, subset) in cases.iter().zip(found) {
                assert_eq!(subset, Subset { places: case.last.clone(), enough: true });
            }
        }
    }

    /// The same up to the bound, and said not to be enough.
    #[test]
    fn there_are_no_more_than_may_be() {
        let (policy, cases) = (llama(), cases());
        let case = cases.iter().find(|case| case.greedy.len() > 1 && case.last.len() > 1).unwrap();
        let prediction = [case.prediction(f32::NEG_INFINITY)];
        let one = |places: &[usize]| vec![Subset { places: places[..1].to_vec(), enough: false }];
        assert_eq!(policy.sufficient(&prediction, 1, 64).unwrap(), one(&case.greedy));
        let order: Vec<Vec<usize>> = vec![(0..case.free).rev().collect()];
        assert_eq!(policy.sufficient_of(&prediction, &order, 1, 64).unwrap(), one(&case.last));
        assert!(policy.sufficient(&[], 4, 64).unwrap().is_empty());
    }
}
