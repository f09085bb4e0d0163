//! What a preference loss says of held-out pairs: its value, how often the chosen completion is preferred, and by how much.

use super::item::{GOOD, NLL_WEIGHT, PLACE, WEIGHT, compared, counted, shape};
use super::{DpoMethod, no_feedback};
use crate::data::Prompted;
use crate::error::Result;
use crate::eval::RowFigures;
use crate::log::Metrics;
use crate::loops::item::{REF_LOGPROBS, stacked};
use crate::loops::{Item, Worker};
use crate::loss::preference::{LabelledTokens, PairTokens};
use crate::model::Sequence;
use crate::ranks::agreed;
use std::collections::BTreeMap;
use tch::Tensor;

/// Of pairs.
pub(super) const OF_PAIRS: &[&str] = &[
    "loss",
    "rewards/accuracies",
    "rewards/margins",
    "rewards/chosen",
    "rewards/rejected",
    "logps/chosen",
    "logps/rejected",
];
/// Of single completions, which nothing is compared with.
pub(super) const OF_LABELS: &[&str] =
    &["loss", "rewards/chosen", "rewards/rejected", "logps/chosen", "logps/rejected"];

impl DpoMethod {
    /// The same figures as of training rows, all held-out rows of all ranks being one update: by the place of each row, and how many were
    /// too long.
    pub(super) fn of_held_out(
        &self,
        worker: &mut Worker,
        rows: &[Prompted],
    ) -> Result<(Vec<(usize, RowFigures)>, usize)> {
        let ranks = worker.ranks.clone();
        let made = self.held_out_items(worker, rows);
        let (items, of, too_long) = agreed(&*ranks, made)?;
        let places: Vec<usize> = of.iter().map(|row| row.place).collect();
        let items = self.refer(worker, items, &places, &self.held_out_reference, 1.0)?;
        let kl = self.baseline(worker, &items, 1.0)?;
        let chosen: Vec<usize> = items.iter().map(|item| shape(item).chosen).collect();
        let weights = worker.over_ranks(|sum| self.dpo.loss.nll_weights(&chosen, sum))?;
        let sequences: Vec<Sequence> = items.iter().flat_map(|item| &item.sequences).cloned().collect();
        let mut logprobs = worker.policy.logprobs(&sequences, 1.0, worker.tokens_per_microbatch)?.into_iter();
        let mut found = Vec::new();
        for ((item, weight), row) in items.into_iter().zip(weights).zip(of) {
            let item = item.with(NLL_WEIGHT, weight);
            let own: Vec<f32> = logprobs.by_ref().take(item.sequences.len()).flatten().collect();
            let figures = self.figures(&item, &own, kl);
            let weighed = figures.into_iter().map(|(name, value)| (name.to_string(), (value, 1.0)));
            found.push((
                row.place,
                RowFigures {
                    row: row.example.id.clone(),
                    figures: weighed.collect(),
                    ..RowFigures::default()
                },
            ));
        }
        Ok((found, too_long))
    }

    /// The items of the rows that state a preference, each with its row.
    pub(super) fn held_out_items<'r>(
        &self,
        worker: &Worker,
        rows: &'r [Prompted],
    ) -> Result<(Vec<Item>, Vec<&'r Prompted>, usize)> {
        let (mut items, mut of, mut too_long) = (Vec::new(), Vec::new(), 0);
        for row in rows.iter().filter(|row| self.dpo.states(&row.example)) {
            let feedback = row.example.feedback.as_ref().ok_or_else(|| no_feedback(&row.example))?;
            let mut left_out = Metrics::default();
            let made = self.dpo.items(worker, &row.example.prompt, &row.tokens, feedback, &mut left_out)?;
            too_long += usize::from(left_out.get("rows_too_long").is_some_and(|share| share > 0.0));
            of.extend(std::iter::repeat_n(row, made.len()));
            items.extend(made.into_iter().map(|item| item.with(PLACE, row.place as f64)));
        }
        Ok((items, of, too_long))
    }

    /// The sequences of which the reference's log-probabilities are wanted, where they are worked out before the first step.
    pub(super) fn held_out_compared(&self, worker: &Worker) -> Result<Vec<(usize, Vec<Sequence>)>> {
        let (items, of, _) = self.held_out_items(worker, &worker.held_out)?;
        Ok(items.iter().zip(of).map(|(item, row)| (row.place, compared(item).to_vec())).collect())
    }

    /// What the loss says of one item, of whose learned tokens these are the log-probabilities.
    fn figures(&self, item: &Item, logprobs: &[f32], kl: f64) -> BTreeMap<&'static str, f64> {
        let logprobs = Tensor::from_slice(logprobs);
        let reference = stacked(&[item], REF_LOGPROBS, logprobs.device());
        if self.dpo.loss.unpaired() {
            let terms = self.dpo.loss.sum_unpaired(&LabelledTokens {
                logprobs: &logprobs,
                ref_logprobs: &reference.expect("kto has a reference"),
                lengths: &[item.sequences[0].learned()],
                good: &[item.number(GOOD) > 0.0],
                weights: &[item.number(WEIGHT)],
                kl,
            });
            let [reward, logp] = match item.number(GOOD) > 0.0 {
                true => ["rewards/chosen", "logps/chosen"],
                false => ["rewards/rejected", "logps/rejected"],
            };
            let loss = terms.loss.double_value(&[]);
            return BTreeMap::from([("loss", loss), (reward, terms.rewards[0]), (logp, terms.logps[0])]);
        }
        let counted: Vec<bool> = counted(item).collect();
        let terms = self.dpo.loss.sum(&PairTokens {
            logprobs: &logprobs,
            ref_logprobs: reference.as_ref(),
            counted: &counted,
            pairs: &[shape(item)],
        });
        let (chosen, rejected) = (terms.chosen_rewards[0], terms.rejected_rewards[0]);
        BTreeMap::from([
            ("loss", terms.loss.double_value(&[])),
            ("rewards/accuracies", f64::from(u8::from(chosen > rejected))),
            ("rewards/margins", chosen - rejected),
            ("rewards/chosen", chosen),
            ("rewards/rejected", rejected),
            ("logps/chosen", terms.chosen_logps[0]),
            ("logps/rejected", terms.rejected_logps[0]),
        ])
    }
}
