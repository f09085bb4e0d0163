//! A stretch of text, the places that are thought at, and the thoughts there: what a model reads of it, and what it says of it.

use super::section::Think;
use crate::data::order::of_epoch;
use crate::engine::Request;
use crate::loops::Item;
use crate::loss::thought::{ThoughtTokens, ThoughtWeights};
use crate::model::{Model, ReadTokens, ScoredTokens, Sequence};
use crate::seed;
use tch::{Kind, Tensor};

/// A window of a text and the places `j` in it, of which thoughts stand behind token `j`.
#[derive(Debug, Clone, PartialEq)]
pub struct Window {
    /// The text.
    pub tokens: Vec<u32>,
    /// In order.
    pub places: Vec<usize>,
}

/// Tokens of the text behind each place, place by place.
const NEXT: &str = "next";
/// Tokens of each thought between its marks, place by place, thought by thought.
const THOUGHTS: &str = "thoughts";
/// Places.
const PLACES: &str = "places";
/// Thoughts of each place.
const PASSES: &str = "passes";
/// Tokens of the text behind each place that a thought is judged by.
const AHEAD: &str = "ahead";

impl Window {
    /// The window of `think` in a text: as long as it may be, from a place that `draw` decides; its places are drawn too.
    pub fn of(text: &[u32], think: &Think, draw: u64) -> Self {
        let length = think.window.min(text.len());
        let start = below(seed::derive(&[draw, 0]), text.len() - length + 1);
        let tokens = text[start..start + length].to_vec();
        let mut places: Vec<usize> = (0..length.saturating_sub(think.ahead)).collect();
        if let Some(wanted) = think.positions.filter(|wanted| *wanted < places.len()) {
            places = of_epoch(places.len(), 0, Some(seed::derive(&[draw, 1])));
            places.truncate(wanted);
            places.sort_unstable();
        }
        Self { tokens, places }
    }

    /// The last of a text, with a thought at every place but the last.
    pub fn last(text: &[u32], longest: usize) -> Self {
        let tokens = text[text.len().saturating_sub(longest)..].to_vec();
        Self { places: (0..tokens.len().saturating_sub(1)).collect(), tokens }
    }

    /// A request for each place: the text up to it and the mark that begins a thought; `seed` of place and pass.
    pub fn requests(&self, start: u32, passes: usize, seed: impl Fn(u64, u64) -> u64) -> Vec<Request> {
        let of = |&place: &usize| Request {
            prompt: [&self.tokens[..=place], &[start]].concat(),
            seeds: (0..passes as u64).map(|pass| seed(place as u64, pass)).collect(),
        };
        self.places.iter().map(of).collect()
    }

    /// What is read and learned of it: the text, of which all tokens but the first are learned, and behind each place each of its
    /// thoughts, as many of as many tokens, then the text as far as `ahead` tokens are predicted.
    pub fn item(&self, id: &str, thoughts: &[Vec<Vec<u32>>], marks: [u32; 2], ahead: usize) -> Item {
        let text = Sequence::of_spans(self.tokens.clone(), std::iter::once(1..self.tokens.len()))
            .expect("one span, in the text");
        let mut read =
            vec![self.places.iter().flat_map(|place| *place..place + ahead).collect::<Vec<usize>>()];
        let mut sequences = vec![text];
        for (&place, thoughts) in self.places.iter().zip(thoughts) {
            for thought in thoughts {
                let fed = &self.tokens[place + 1..place + ahead];
                let tokens = [&self.tokens[..=place], &marks[..1], thought, &marks[1..], fed].concat();
                // The mark that begins it predicts the first of the thought; the one that ends it, the next of the text.
                let (begins, ends) = (place + 1, place + 2 + thought.len());
                read.push((begins..begins + thought.len()).chain(ends..ends + ahead).collect());
                sequences.push(Sequence::read_only(tokens));
            }
        }
        let next = self.places.iter().flat_map(|place| &self.tokens[place + 1..=place + ahead]);
        let sampled = thoughts.iter().flatten().flatten();
        let numbers = |ids: &mut dyn Iterator<Item = &u32>| ids.map(|&id| f64::from(id)).collect();
        Item::of(sequences)
            .named(id)
            .read_at(read)
            .with_list(NEXT, numbers(&mut next.into_iter()))
            .with_list(THOUGHTS, numbers(&mut sampled.into_iter()))
            .with_list(PLACES, self.places.iter().map(|&place| place as f64).collect())
            .with(PASSES, thoughts.first().map_or(0.0, |of| of.len() as f64))
            .with(AHEAD, ahead as f64)
    }
}

/// Thoughts of an item.
pub fn thoughts(item: &Item) -> usize {
    item.list(PLACES).len() * item.number(PASSES) as usize
}

/// What the model says of thoughts.
pub struct Said<'m> {
    /// −log p of the text's next tokens without a thought, `[places, ahead]`.
    base: Tensor,
    /// log p of the same with each thought, `[places, passes, ahead]`.
    mixed: ReadTokens<'m>,
    /// log p of each thought's tokens, `[places, passes, tokens]`.
    predicting: ReadTokens<'m>,
    /// The share that the head gives a thought, `[places, passes, ahead]`.
    pub share: Tensor,
}

impl Said<'_> {
    /// What a loss looks at.
    pub fn tokens(&self) -> ThoughtTokens {
        let logprobs = self.predicting.logprobs.shallow_clone();
        ThoughtTokens { base: self.base.shallow_clone(), mixed: self.mixed.logprobs.neg(), logprobs }
    }

    /// The loss of the thoughts, of which no logits are kept.
    pub fn loss(&self, tokens: &ThoughtTokens, weights: &ThoughtWeights) -> Tensor {
        let loss = tokens.loss(weights);
        let leaves = [&self.mixed.logprobs, &self.predicting.logprobs];
        let by = Tensor::run_backward(&[&loss], &leaves, false, false);
        let surrogate = self.mixed.surrogate(&by[0]) + self.predicting.surrogate(&by[1]);
        loss.detach() + &surrogate - surrogate.detach()
    }
}

/// What `model` says of the thoughts of several items, end to end; thoughts at `temperature`. None where there is no thought.
pub fn said<'m>(
    model: &'m Model,
    items: &[&Item],
    scored: &ScoredTokens,
    temperature: f64,
) -> Option<Said<'m>> {
    let first = items.iter().find(|item| thoughts(item) > 0)?;
    let (ahead, passes) = (first.number(AHEAD) as i64, first.number(PASSES) as i64);
    let sampled = (first.list(THOUGHTS).len() / thoughts(first)) as i64;
    let hidden = model.config.hidden_size as i64;
    let (mut base, mut with, mut predicting, mut at) = (vec![], vec![], vec![], vec![]);
    let (mut row, mut learned) = (0, 0);
    for item in items {
        let places = item.list(PLACES).len() as i64;
        let mut take = |shape: &[i64]| {
            let rows = shape.iter().product::<i64>();
            row += rows;
            scored.states.narrow(0, row - rows, rows).view([shape, &[hidden]].concat().as_slice())
        };
        base.push(take(&[places, ahead]));
        let branches = take(&[places, passes, sampled + ahead]);
        predicting.push(branches.narrow(2, 0, sampled));
        with.push(branches.narrow(2, sampled, ahead));
        // Of the text's learned tokens the one at 0 is its second.
        at.extend(
            item.list(PLACES).iter().flat_map(|&place| (0..ahead).map(move |k| learned + place as i64 + k)),
        );
        learned += item.learned() as i64;
    }
    let ids = |name: &str, shape: &[i64]| {
        let all: Vec<i64> = items.iter().flat_map(|item| item.list(name)).map(|&id| id as i64).collect();
        Tensor::from_slice(&all).to_device(model.device()).view(shape)
    };
    let (base, with, predicting) =
        (Tensor::cat(&base, 0), Tensor::cat(&with, 0), Tensor::cat(&predicting, 0));
    let next = ids(NEXT, &[-1, 1, ahead]).expand([-1, passes, ahead], false);
    let base = base.unsqueeze(1).expand_as(&with);
    let rows = |t: &Tensor| t.reshape([-1, hidden]);
    let share = model.thoughts.as_ref().expect("a model that thinks").weight(&rows(&base), &rows(&with));
    let mixed = rows(&base) * (1.0 - &share) + rows(&with) * &share;
    let at = Tensor::from_slice(&at).to_device(model.device());
    Some(Said {
        base: scored.logprobs.index_select(0, &at).neg().view([-1, ahead]),
        mixed: model.read_tokens(&mixed, &next, 1.0),
        predicting: model.read_tokens(
            &rows(&predicting),
            &ids(THOUGHTS, &[-1, passes, sampled]),
            temperature,
        ),
        share: share.view([-1, passes, ahead]),
    })
}

fn below(seed: u64, most: usize) -> usize {
    ((seed::uniform(seed) * most as f64) as usize).min(most - 1)
}

/// The numbers of a tensor, in order.
pub fn numbers(tensor: &Tensor) -> Vec<f32> {
    Vec::try_from(tensor.to_kind(Kind::Float).contiguous().view([-1])).unwrap_or_default()
}
