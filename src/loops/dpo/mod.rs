//! Preference optimisation: DPO (Rafailov et al. 2023, arXiv 2305.18290) and its relatives, which differ in the loss
//! ([`PreferenceLoss`]) and in where their pairs come from ([`Pairs`]).
//!
//! [`PreferenceLoss`]: crate::loss::PreferenceLoss
//! [`Pairs`]: crate::select::Pairs

mod alarm;
mod answers;
mod chain;
mod first_error;
mod flow;
mod item;
mod kto;
mod section;
mod source;

pub use flow::{Flow, WRITER};
pub use item::Item;
pub use section::{About, Dpo, Mask, Weigh};
pub use source::Counts;

use super::{Batch, Lesson, Pass, Update, Worker, figures};
use crate::error::{Error, Result};
use crate::log::Metrics;
use crate::loss::preference::{PairShape, PairTokens};
use crate::model::{Scored, Sequence};
use crate::rollout::Group;
use alarm::Falling;
use std::collections::HashMap;
use tch::{Kind, Tensor};

/// What the loop works out as it goes.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct State {
    /// What became of the traces.
    counts: Counts,
    /// Reference log-probabilities of the chosen and the rejected completion of each row, where they are precomputed.
    reference: HashMap<usize, Vec<Vec<f32>>>,
    /// KTO's baseline in this step.
    kl: f64,
    falling: Falling,
}

/// What a step learns from, before it is scored.
#[derive(Default)]
struct Taken {
    items: Vec<Item>,
    /// The row of each item.
    rows: Vec<usize>,
    groups: Vec<(Group, Vec<Option<f64>>)>,
    sampled_tokens: usize,
}

impl Dpo {
    /// The items of the step's rows.
    fn offline(&self, worker: &Worker, step: usize, metrics: &mut Metrics) -> Result<Taken> {
        let mut taken = Taken::default();
        for row in worker.questions.of_step(step) {
            let feedback = row.example.feedback.as_ref().ok_or_else(|| no_feedback(&row.example.id))?;
            let items = self.items(worker, &row.tokens, feedback, metrics)?;
            taken.rows.extend(std::iter::repeat_n(row.example.index, items.len()));
            taken.items.extend(items);
        }
        Ok(taken)
    }

    /// Rolls out the step's questions and pairs what comes back.
    fn fresh(&self, worker: &mut Worker, step: usize, metrics: &mut Metrics) -> Result<Taken> {
        let prompts = worker.questions.of_step(step);
        let groups = worker.roll_out(&prompts, step, 0, metrics)?;
        figures::describe(&groups, metrics);
        let (feedback, counts) = self.feedback(&groups, &worker.select);
        report_counts(&counts, metrics);
        let mut taken = Taken::default();
        for (group, all) in groups.iter().zip(&feedback) {
            for one in all {
                let items = self.items(worker, &group.prompt, one, metrics)?;
                taken.rows.extend(std::iter::repeat_n(group.example.index, items.len()));
                taken.items.extend(items);
            }
        }
        taken.sampled_tokens = groups.iter().flat_map(|g| &g.rollouts).map(|r| r.tokens.len()).sum();
        taken.groups = groups
            .into_iter()
            .map(|group| {
                let credit = vec![None; group.rollouts.len()];
                (group, credit)
            })
            .collect();
        Ok(taken)
    }

    fn pair_loss(&self, items: &[&Item], logprobs: &Tensor, metrics: &mut Metrics) -> Tensor {
        let pairs: Vec<PairShape> = items.iter().map(|item| item.shape()).collect();
        let counted: Vec<bool> = items.iter().flat_map(|item| item.counted()).collect();
        let terms = self.loss.sum(&PairTokens {
            logprobs,
            ref_logprobs: self.reference_of(items, logprobs).as_ref(),
            counted: &counted,
            pairs: &pairs,
        });
        for i in 0..pairs.len() {
            let (chosen, rejected) = (terms.chosen_rewards[i], terms.rejected_rewards[i]);
            metrics.add("rewards/chosen", chosen, 1.0);
            metrics.add("rewards/rejected", rejected, 1.0);
            metrics.add("rewards/margins", chosen - rejected, 1.0);
            metrics.add("rewards/accuracies", f64::from(u8::from(chosen > rejected)), 1.0);
            metrics.add("logps/chosen", terms.chosen_logps[i], 1.0);
            metrics.add("logps/rejected", terms.rejected_logps[i], 1.0);
        }
        terms.loss
    }

    fn reference_of(&self, items: &[&Item], logprobs: &Tensor) -> Option<Tensor> {
        let flat: Vec<f32> = items.iter().flat_map(|item| item.reference()).collect();
        self.loss.needs_reference().then(|| Tensor::from_slice(&flat).to_device(logprobs.device()))
    }
}

fn no_feedback(id: &str) -> Error {
    Error::Data(format!("example {id}: it has no `chosen` and `rejected`, or `completion` and `label`"))
}

fn report_counts(counts: &Counts, metrics: &mut Metrics) {
    metrics.set("pairs/built", counts.built as f64);
    if counts.synthetic > 0 {
        metrics.set("pairs/synthetic", counts.synthetic as f64);
    }
    for (reason, count) in &counts.dropped {
        metrics.set(&format!("pairs/dropped/{reason}"), *count as f64);
    }
}

impl Lesson for Dpo {
    type Item = Item;

    /// Scores all rows under the policy as it is, where the recipe says so and no earlier start has.
    fn begin(&mut self, worker: &mut Worker, kept: Option<Tensor>) -> Result<Option<Tensor>> {
        if !self.precompute_reference || !self.loss.needs_reference() {
            return Ok(None);
        }
        let (mut rows, mut sequences) = (Vec::new(), Vec::new());
        for row in &worker.questions.all {
            let feedback = row.example.feedback.as_ref().ok_or_else(|| no_feedback(&row.example.id))?;
            for item in self.items(worker, &row.tokens, feedback, &mut Metrics::default())? {
                rows.push(row.example.index);
                sequences.extend_from_slice(item.compared());
            }
        }
        let total: usize = sequences.iter().map(Sequence::learned).sum();
        let kept = kept.and_then(|kept| Vec::<f32>::try_from(kept).ok()).filter(|kept| kept.len() == total);
        let known = kept.is_some();
        let flat = match kept {
            Some(flat) => flat,
            None => worker.policy.logprobs(&sequences, 1.0, worker.tokens_per_microbatch)?.concat(),
        };
        let mut rest = flat.as_slice();
        for (row, pair) in rows.into_iter().zip(sequences.chunks(2)) {
            let mut cut = |sequence: &Sequence| {
                let (own, others) = rest.split_at(sequence.learned());
                rest = others;
                own.to_vec()
            };
            self.state.reference.insert(row, pair.iter().map(&mut cut).collect());
        }
        Ok((!known).then(|| Tensor::from_slice(&flat)))
    }

    fn batch(&mut self, worker: &mut Worker, step: usize, metrics: &mut Metrics) -> Result<Batch<Item>> {
        let sampled = self.online && worker.source.traits().sampled;
        let temperature = if sampled { worker.sampling.scoring_temperature() } else { 1.0 };
        let taken = match &self.flow {
            Some(flow) => flow.taken(worker, step, metrics)?,
            None if self.online => self.fresh(worker, step, metrics)?,
            None => self.offline(worker, step, metrics)?,
        };
        let Taken { mut items, rows, groups, sampled_tokens } = taken;
        if step == 1 && self.state.counts != Counts::default() {
            report_counts(&self.state.counts, metrics);
        }
        metrics.set("pairs", items.len() as f64);
        self.refer(worker, &mut items, &rows, temperature)?;
        self.state.kl = self.baseline(worker, &items, temperature)?;
        if self.loss.unpaired() {
            metrics.set("kl", self.state.kl);
        }
        let chosen: Vec<usize> = items.iter().map(|item| item.shape().chosen).collect();
        for (item, weight) in items.iter_mut().zip(self.loss.nll_weights(&chosen)) {
            item.nll_weight = weight;
        }
        let all = Update { items: (0..items.len()).collect(), weight: items.len() as f64 };
        let updates = if items.is_empty() { Vec::new() } else { vec![all] };
        Ok(Batch { items, updates, groups, sampled_tokens, temperature })
    }

    fn sequences<'a>(&self, item: &'a Item) -> &'a [Sequence] {
        &item.sequences
    }

    fn adapter(&self, item: &Item) -> Option<&'static str> {
        item.adapter
    }

    fn learn(&self, pass: Pass<Item>) -> Result<f64> {
        pass.by_scores(self, &[], Self::loss)
    }

    fn finish(&mut self, worker: &mut Worker, step: usize, metrics: &Metrics) -> Result<()> {
        worker.refresh_reference(&self.reference, step);
        if self.flow.is_some() {
            worker.policy.model.turn_to(WRITER)?;
        }
        if let (Some(chosen), Some(rejected)) =
            (metrics.get("rewards/chosen"), metrics.get("rewards/rejected"))
            && self.state.falling.push(chosen, rejected, self.alarm_after)
        {
            tracing::warn!(
                "step {step}: chosen and rejected completions have both become less likely over the last {} steps, so \
                 the loss is won by unlearning; a lower optim.lr, a higher loop.dpo.loss.beta or loop.dpo.loss.nll = 1.0 \
                 helps",
                self.alarm_after
            );
        }
        Ok(())
    }
}

impl Dpo {
    fn loss(&self, items: &[&Item], scored: &Scored, metrics: &mut Metrics) -> Result<Tensor> {
        let Scored { logprobs, entropy, .. } = scored;
        metrics.add("entropy", entropy.mean(Kind::Float).double_value(&[]), logprobs.size()[0] as f64);
        Ok(if self.loss.unpaired() {
            self.label_loss(items, logprobs, metrics)
        } else {
            self.pair_loss(items, logprobs, metrics)
        })
    }
}
