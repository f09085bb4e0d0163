//! How likely held-out text is with thoughts and without them: of all tokens, of those that are hardest, of the answer.

use super::window::{Window, numbers, said};
use super::{ThinkMethod, text};
use crate::batch::micro_batches;
use crate::error::Result;
use crate::eval::RowFigures;
use crate::loops::{Item, Worker};
use crate::model::layout::sizes;
use crate::model::{Grad, Sequence};
use crate::ranks::{agreed, gathered};
use crate::rollout::Prompted;
use crate::seed;
use std::collections::BTreeMap;
use std::ops::Range;

/// Mean −log p of a token without thoughts, of all tokens, of the hardest quarter (of all held-out tokens, without thoughts), of the
/// answer; the same after a thought each.
pub const FIGURES: &[&str] = &[
    "loss",
    "perplexity",
    "loss/hard",
    "loss/answer",
    "thoughts/loss",
    "thoughts/loss/hard",
    "thoughts/loss/answer",
];

/// A row's window and where its answer stands in it.
struct Held<'a> {
    row: &'a Prompted,
    window: Window,
    answer: Range<usize>,
}

/// −log p of each token of a window but the first: without thoughts and, where there are any, with one.
type Nll = (Vec<f32>, Vec<f32>);

impl ThinkMethod {
    pub(super) fn measured(
        &self,
        worker: &mut Worker,
        rows: &[Prompted],
    ) -> Result<(Vec<(usize, RowFigures)>, usize)> {
        let ranks = worker.ranks.clone();
        let own = self.held(worker, rows).and_then(|held| {
            let found = self.likelihoods(worker, &held)?;
            Ok((held, found))
        });
        let (held, found) = agreed(&*ranks, own)?;
        let mut all: Vec<f32> = found.iter().flat_map(|(base, _)| base).copied().collect();
        if ranks.count() > 1 {
            all = gathered(&*ranks, all.into_iter().map(f64::from).collect::<Vec<f64>>())?
                .concat()
                .into_iter()
                .map(|nll| nll as f32)
                .collect();
        }
        let least = hardest(all);
        let figures = held.iter().zip(&found).map(|(held, nll)| {
            let figures = figures(nll, least, &held.answer);
            (
                held.row.place,
                RowFigures { row: held.row.example.id.clone(), figures, ..RowFigures::default() },
            )
        });
        Ok((figures.collect(), 0))
    }

    fn held<'a>(&self, worker: &Worker, rows: &'a [Prompted]) -> Result<Vec<Held<'a>>> {
        let mut all = Vec::new();
        for row in rows {
            let (Some(tokens), Some(completion)) =
                (text(&worker.policy.tokenizer, row)?, row.example.completion.as_ref())
            else {
                continue;
            };
            let window = Window::last(&tokens, self.think.window);
            let cut = tokens.len() - window.tokens.len();
            let before = row.tokens.len();
            let answer = match worker.format.parse(completion).map(|rationale| rationale.answer) {
                None => 0..0,
                Some(span) => {
                    let span = worker.policy.tokenizer.tokens_of(&tokens[before..], span);
                    (before + span.start).saturating_sub(cut)..(before + span.end).saturating_sub(cut)
                }
            };
            if window.tokens.len() > 1 {
                all.push(Held { row, window, answer });
            }
        }
        Ok(all)
    }

    fn likelihoods(&self, worker: &mut Worker, held: &[Held]) -> Result<Vec<Nll>> {
        let thinks = self.think.positions != Some(0);
        let windows: Vec<Window> = held.iter().map(|held| held.window.clone()).collect();
        let thoughts = match thinks {
            false => vec![vec![]; windows.len()],
            true => {
                let of = [worker.seed, seed::of_text("held out")];
                let place = |at: usize| held[at].row.place as u64;
                self.thoughts(worker, &windows, 1, |at, token, pass| {
                    seed::derive(&[&of[..], &[place(at), token, pass]].concat())
                })?
            }
        };
        let model = &worker.policy.model;
        let item = |(held, thoughts): (&Held, &Vec<Vec<Vec<u32>>>)| {
            let places = if thinks { held.window.places.clone() } else { vec![] };
            let window = Window { places, ..held.window.clone() };
            window.item(&held.row.example.id, thoughts, model.marks(), 1)
        };
        let items: Vec<Item> = held.iter().zip(&thoughts).map(item).collect();
        let sizes = sizes(items.iter().map(|item| (&item.sequences[..], &item.places[..])));
        let mut found: Vec<Nll> = vec![Default::default(); items.len()];
        for indices in micro_batches(&sizes, worker.tokens_per_microbatch) {
            let picked: Vec<&Item> = indices.iter().map(|&index| &items[index]).collect();
            let sequences: Vec<Sequence> = picked.iter().flat_map(|item| &item.sequences).cloned().collect();
            let places: Vec<&[usize]> =
                picked.iter().flat_map(|item| &item.places).map(Vec::as_slice).collect();
            let scored = model.score_and_read(&sequences, &places, 1.0, Grad::No)?;
            let mut base = numbers(&scored.logprobs).into_iter().map(|logprob| -logprob);
            let mixed = tch::no_grad(|| said(model, &picked, &scored, 1.0));
            let mut mixed = mixed.map_or(vec![], |said| numbers(&said.tokens().mixed)).into_iter();
            for (index, item) in indices.into_iter().zip(&picked) {
                let take = |nll: &mut dyn Iterator<Item = f32>| nll.take(item.learned()).collect();
                found[index] = (take(&mut base), if thinks { take(&mut mixed) } else { vec![] });
            }
        }
        Ok(found)
    }
}

/// What a token has at least that is of the hardest quarter.
fn hardest(mut nll: Vec<f32>) -> f32 {
    nll.sort_by(f32::total_cmp);
    nll.get(nll.len() * 3 / 4).copied().unwrap_or(f32::INFINITY)
}

/// A row's figures; those of no token are left out. `answer` counts from the window's first token, of which nothing is predicted.
fn figures((base, mixed): &Nll, least: f32, answer: &Range<usize>) -> BTreeMap<String, (f64, f64)> {
    let of = |name: &str, values: &[f32], picks: &dyn Fn(usize) -> bool| {
        let picked: Vec<f64> =
            values.iter().enumerate().filter(|(at, _)| picks(*at)).map(|(_, nll)| f64::from(*nll)).collect();
        let count = picked.len() as f64;
        (count > 0.0).then(|| (name.to_string(), (picked.iter().sum::<f64>() / count, count)))
    };
    let hard = |at: usize| base[at] >= least;
    let answered = |at: usize| answer.contains(&(at + 1));
    [
        of("loss", base, &|_| true),
        of("loss/hard", base, &hard),
        of("loss/answer", base, &answered),
        of("thoughts/loss", mixed, &|_| true),
        of("thoughts/loss/hard", mixed, &hard),
        of("thoughts/loss/answer", mixed, &answered),
    ]
    .into_iter()
    .flatten()
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hard_tokens_are_the_last_quarter_and_an_answers_are_its_own() {
        assert_eq!(hardest(vec![4.0, 1.0, 3.0, 2.0]), 4.0);
        assert_eq!(hardest(vec![]), f32::INFINITY);
        // Tokens 1 to 4 of a window of five; the answer is its last two.
        let nll = (vec![1.0, 2.0, 3.0, 4.0], vec![1.0, 1.0, 1.0, 2.0]);
        let found = figures(&nll, 4.0, &(3..5));
        let expected = [
            ("loss", (2.5, 4.0)),
            ("loss/answer", (3.5, 2.0)),
            ("loss/hard", (4.0, 1.0)),
            ("thoughts/loss", (1.25, 4.0)),
            ("thoughts/loss/answer", (1.5, 2.0)),
            ("thoughts/loss/hard", (2.0, 1.0)),
        ];
        assert_eq!(found, expected.map(|(name, figure)| (name.to_string(), figure)).into());
        let without = figures(&(nll.0, vec![]), 4.0, &(0..0));
        assert_eq!(without.keys().collect::<Vec<_>>(), ["loss", "loss/hard"]);
    }
}
