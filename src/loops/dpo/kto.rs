//! KTO (Ethayarajh et al. 2024, arXiv 2402.01306) within the loop: its baseline and the loss of labelled completions.

use super::item::{GOOD, PLACE, WEIGHT};
use super::{DpoMethod, Item, Worker};
use crate::error::Result;
use crate::log::Metrics;
use crate::loops::item::{REF_LOGPROBS, stacked};
use crate::loss::preference::LabelledTokens;
use crate::model::Sequence;
use crate::ranks::gathered;
use std::ops::Range;
use tch::Tensor;

impl DpoMethod {
    /// KTO's baseline, over mismatched prompts and completions.
    pub(super) fn baseline(&self, worker: &mut Worker, items: &[Item], temperature: f64) -> Result<f64> {
        if !self.dpo.loss.has_baseline() {
            return Ok(0.0);
        }
        let sides = |item: &Item| {
            let sequence = &item.sequences[0];
            let begin = sequence.prompt().len();
            let learned = sequence.spans().iter().map(|span| span.start - begin..span.end - begin).collect();
            let sides: Sides = (sequence.prompt().to_vec(), sequence.completion().to_vec(), learned);
            (item.number(PLACE) as usize, sides)
        };
        let ranks = gathered(&*worker.ranks, items.iter().map(sides).collect())?.into_iter().enumerate();
        let mut all: Vec<(usize, usize, Sides)> = ranks
            .flat_map(|(rank, of)| of.into_iter().map(move |(place, sides)| (place, rank, sides)))
            .collect();
        // As they stood before they were shared out.
        all.sort_by_key(|(place, ..)| *place);
        let mine: Vec<usize> = (0..all.len()).filter(|&at| all[at].1 == worker.ranks.rank()).collect();
        let all: Vec<Sides> = all.into_iter().map(|(.., sides)| sides).collect();
        let mismatched = mismatched(&all, mine, worker.policy.context());
        let policy = worker.policy.logprobs(&mismatched, temperature, worker.tokens_per_microbatch)?;
        let reference = worker.reference_logprobs(&mismatched, temperature)?;
        let sum = |logprobs: &Vec<f32>| logprobs.iter().copied().map(f64::from).sum::<f64>();
        let ratios: Vec<f64> = policy.iter().zip(&reference).map(|(p, r)| sum(p) - sum(r)).collect();
        worker.over_ranks(|sum| self.dpo.loss.kl_baseline(&ratios, sum))
    }

    pub(super) fn label_loss(&self, items: &[&Item], logprobs: &Tensor, metrics: &mut Metrics) -> Tensor {
        let lengths: Vec<usize> = items.iter().map(|item| item.sequences[0].learned()).collect();
        let good: Vec<bool> = items.iter().map(|item| item.number(GOOD) > 0.0).collect();
        let weights: Vec<f64> = items.iter().map(|item| item.number(WEIGHT)).collect();
        let terms = self.dpo.loss.sum_unpaired(&LabelledTokens {
            logprobs,
            ref_logprobs: &stacked(items, REF_LOGPROBS, logprobs.device()).expect("kto has a reference"),
            lengths: &lengths,
            good: &good,
            weights: &weights,
            kl: self.kl,
        });
        for (i, good) in good.iter().enumerate() {
            let side = if *good { "chosen" } else { "rejected" };
            metrics.add(&format!("rewards/{side}"), terms.rewards[i], 1.0);
            metrics.add(&format!("logps/{side}"), terms.logps[i], 1.0);
        }
        terms.loss
    }
}

/// Prompt, completion, and where its learned tokens stand.
type Sides = (Vec<u32>, Vec<u32>, Vec<Range<usize>>);

/// Each prompt of those that are `mine` with the completion of the nearest item before it (in a circle of all ranks' items) that
/// has another prompt, so that items of one question do not count as mismatched; those that fit into `limit` tokens.
fn mismatched(all: &[Sides], mine: impl IntoIterator<Item = usize>, limit: usize) -> Vec<Sequence> {
    let pair = |index: usize| {
        let prompt = &all[index].0;
        let mut before = (1..all.len()).map(|back| (index + all.len() - back) % all.len());
        let other = before.find(|&other| all[other].0 != *prompt)?;
        let (_, completion, learned) = &all[other];
        let spans = learned.iter().map(|span| span.start + prompt.len()..span.end + prompt.len());
        Some(Sequence::of_spans([&prompt[..], completion].concat(), spans).expect("spans of a completion"))
    };
    mine.into_iter().filter_map(pair).filter(|sequence| sequence.tokens.len() <= limit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mismatched_completions_belong_to_another_prompt() {
        let item = |prompt: u32, completion: u32| {
            (vec![prompt], vec![completion], std::iter::once(0..1).collect::<Vec<_>>())
        };
        let of = |items: &[Sides], mine: std::ops::Range<usize>, limit| {
            mismatched(items, mine, limit).into_iter().map(|s| s.tokens).collect::<Vec<_>>()
        };
        let tokens = |items: &[Sides]| of(items, 0..items.len(), 2);
        // The second item's neighbour has its own prompt, so the one before that counts; the first meets the last.
        let items = [item(1, 10), item(1, 11), item(2, 12)];
        assert_eq!(tokens(&items), [[1, 12], [1, 12], [2, 11]]);
        // One question alone has nothing to be mismatched with.
        assert_eq!(tokens(&items[..2]), Vec::<Vec<u32>>::new());
        assert!(of(&items, 0..3, 1).is_empty());
        // What was given in a completion is read only there too.
        let given = [item(1, 10), (vec![2], vec![11, 12, 13], vec![0..1, 2..3])];
        assert_eq!(mismatched(&given, 0..1, 9)[0].spans(), [1..2, 3..4]);
        // A rank has its own part of all ranks' items.
        assert_eq!(of(&items, 1..3, 2), [[1, 12], [2, 11]]);
    }
}
