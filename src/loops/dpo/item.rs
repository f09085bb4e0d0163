//! From feedback to what the loss needs: sequences, reference log-probabilities, which tokens count.

use super::answers::answers;
use super::{About, Dpo, Mask};
use crate::data::{Completion, Feedback};
use crate::error::{Error, Result};
use crate::log::Metrics;
use crate::loops::Worker;
use crate::loss::preference::{PairShape, shared_prefix};
use crate::model::Sequence;
use crate::policy::Policy;

/// A pair, or for KTO a labelled completion, with what its loss needs.
#[derive(Debug, Clone)]
pub struct Item {
    /// Chosen, rejected and, where there is one, the rationale that says why; or the one completion.
    pub(super) sequences: Vec<Sequence>,
    /// Of the chosen and the rejected, or of the one; empty without a reference.
    pub(super) ref_logprobs: Vec<Vec<f32>>,
    /// Leading tokens of the chosen and the rejected that do not count.
    pub(super) prefix: usize,
    pub(super) weight: f64,
    pub(super) margin: f64,
    pub(super) nll_weight: f64,
    /// KTO's label.
    pub(super) good: bool,
    /// Which of several adapters learns from it.
    pub(super) adapter: Option<&'static str>,
}

impl Item {
    pub(super) fn new(sequences: Vec<Sequence>, weight: f64) -> Self {
        Self {
            sequences,
            ref_logprobs: Vec::new(),
            prefix: 0,
            weight,
            margin: 0.0,
            nll_weight: 0.0,
            good: true,
            adapter: None,
        }
    }

    fn tokens(&self, sequence: usize) -> usize {
        self.sequences.get(sequence).map_or(0, Sequence::learned)
    }

    pub(super) fn shape(&self) -> PairShape {
        PairShape {
            chosen: self.tokens(0),
            rejected: self.tokens(1),
            rationale: self.tokens(2),
            weight: self.weight,
            margin: self.margin,
            nll_weight: self.nll_weight,
        }
    }

    /// Which tokens of all its sequences count in the preference.
    pub(super) fn counted(&self) -> impl Iterator<Item = bool> {
        let prefix = self.prefix;
        let side = move |tokens: usize| (0..tokens).map(move |token| token >= prefix);
        side(self.tokens(0)).chain(side(self.tokens(1))).chain(std::iter::repeat_n(true, self.tokens(2)))
    }

    /// log π_ref of all its tokens; a rationale has none, and 0 stands there.
    pub(super) fn reference(&self) -> impl Iterator<Item = f32> {
        let known = self.ref_logprobs.iter().flatten().copied();
        known.chain(std::iter::repeat_n(0.0, self.tokens(2)))
    }
}

impl Dpo {
    /// What one row or rollout pair teaches; for KTO a pair is two completions. Nothing, counted in `metrics`, where it
    /// is too long or no token counts.
    pub(super) fn items(
        &self,
        worker: &Worker,
        prompt: &[u32],
        feedback: &Feedback,
        metrics: &mut Metrics,
    ) -> Result<Vec<Item>> {
        let policy = &worker.policy;
        let completed = |completion: &Completion| -> Result<Sequence> {
            let text = &completion.text;
            // Ids of another model's tokenizer say something else, or nothing.
            let ours = |ids: &&Vec<u32>| policy.tokenizer.decode(ids) == *text;
            match completion.tokens.as_ref().filter(ours) {
                Some(ids) => Ok(Sequence::new(prompt, ids)),
                None => Ok(Sequence::new(prompt, &policy.completion(text)?)),
            }
        };
        let items = match feedback {
            Feedback::Label { completion, good } => {
                vec![Item { good: *good, ..Item::new(vec![completed(completion)?], 1.0) }]
            }
            Feedback::Pair { chosen, rejected, weight, .. } if self.loss.unpaired() => vec![
                Item::new(vec![completed(chosen)?], *weight),
                Item { good: false, ..Item::new(vec![completed(rejected)?], *weight) },
            ],
            Feedback::Pair { chosen, rejected, weight, margin, .. } if self.about == About::Answers => {
                let sequences = answers(policy, &worker.format, prompt, [&chosen.text, &rejected.text])?;
                metrics.add("rows_without_answer", f64::from(u8::from(sequences.is_none())), 1.0);
                let item = |mut sequences: Vec<Sequence>| {
                    sequences.truncate(if self.loss.rationale == 0.0 { 2 } else { 3 });
                    Item { margin: *margin, ..Item::new(sequences, *weight) }
                };
                sequences.map(item).into_iter().collect()
            }
            Feedback::Pair { chosen, rejected, weight, margin, why } => {
                let mut sequences = vec![completed(chosen)?, completed(rejected)?];
                if let Some((question, rationale)) = why.as_ref().filter(|_| self.loss.rationale != 0.0) {
                    let question = policy.tokenizer.render(question)?;
                    sequences.push(Sequence::new(&question, &policy.completion(rationale)?));
                }
                vec![Item { margin: *margin, ..Item::new(sequences, *weight) }]
            }
        };
        Ok(items.into_iter().filter_map(|item| self.usable(item, policy, metrics)).collect())
    }

    fn usable(&self, mut item: Item, policy: &Policy, metrics: &mut Metrics) -> Option<Item> {
        let limit = self.max_tokens.unwrap_or(usize::MAX).min(policy.context());
        let too_long = item.sequences.iter().any(|sequence| sequence.tokens.len() > limit);
        metrics.add("rows_too_long", f64::from(u8::from(too_long)), 1.0);
        if self.mask == Mask::SharedPrefix {
            let [chosen, rejected] = [0, 1].map(|i| item.sequences[i].completion());
            item.prefix = shared_prefix(chosen, rejected);
            let nothing = item.prefix >= chosen.len().min(rejected.len());
            metrics.add("rows_without_suffix", f64::from(u8::from(nothing)), 1.0);
            if nothing {
                return None;
            }
        }
        (!too_long).then_some(item)
    }

    /// Fills in the reference policy's log-probabilities of `items`, which stand at `rows` of the data.
    pub(super) fn refer(
        &self,
        worker: &mut Worker,
        items: &mut [Item],
        rows: &[usize],
        temperature: f64,
    ) -> Result<()> {
        if !self.loss.needs_reference() {
            return Ok(());
        }
        if self.precompute_reference {
            for (item, row) in items.iter_mut().zip(rows) {
                item.ref_logprobs = self.state.reference.get(row).cloned().ok_or_else(|| {
                    Error::Data(format!(
                        "row {row} was not there when reference log-probabilities were computed"
                    ))
                })?;
            }
            return Ok(());
        }
        let sequences: Vec<Sequence> = items.iter().flat_map(Item::compared).cloned().collect();
        let mut logprobs = worker.reference_logprobs(&sequences, temperature)?.into_iter();
        for item in items {
            let count = item.compared().len();
            item.ref_logprobs = logprobs.by_ref().take(count).collect();
        }
        Ok(())
    }
}

impl Item {
    /// The sequences that have a reference.
    pub(super) fn compared(&self) -> &[Sequence] {
        &self.sequences[..self.sequences.len().min(2)]
    }
}
