//! Preference optimisation: DPO (Rafailov et al. 2023, arXiv 2305.18290) and its relatives, which differ in the loss
//! ([`PreferenceLoss`]) and in where their pairs come from ([`Pairs`]).
//!
//! [`PreferenceLoss`]: crate::loss::PreferenceLoss
//! [`Pairs`]: crate::select::Pairs

pub mod alarm;
mod answers;
mod chain;
mod first_error;
mod flow;
mod held_out;
mod item;
mod kto;
mod section;
mod source;

pub use flow::{Flow, WRITER};
pub use section::{About, Dpo, Mask, Weigh};
pub use source::Counts;

use super::item::{REF_LOGPROBS, stacked};
use super::{
    Batch, Item, LearnedOf, Method, Needs, Output, ReferenceKind, Section, Selects, Setup, StageView, Worker,
    figures, without_credit,
};
use crate::data::{Example, Feedback, FeedbackCompletion, Prompted, Tokenizer};
use crate::error::{Error, Result};
use crate::eval::RowFigures;
use crate::log::Metrics;
use crate::loss::preference::{PairShape, PairTokens};
use crate::model::Sequence;
use crate::ranks::agreed;
use crate::rollout::Group;
use crate::section::{Idle, Misfit};
use crate::seed;
use crate::select::pairs;
use alarm::Falling;
use item::{NLL_WEIGHT, PLACE, compared, counted, shape};
use std::collections::HashMap;
use tch::{Kind, Tensor};

/// The method at work.
#[derive(Default)]
struct DpoMethod {
    dpo: Dpo,
    /// What became of the traces.
    counts: Counts,
    /// Reference log-probabilities of the chosen and the rejected completion of each row, where they are precomputed.
    reference: HashMap<usize, Vec<Vec<f32>>>,
    /// The same of held-out rows, by their place.
    held_out_reference: HashMap<usize, Vec<Vec<f32>>>,
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

impl DpoMethod {
    /// The items of the step's rows.
    fn offline(&self, worker: &Worker, step: usize, metrics: &mut Metrics) -> Result<Taken> {
        let mut taken = Taken::default();
        for row in worker.questions.of_step(step) {
            let feedback = row.example.feedback.as_ref().ok_or_else(|| no_feedback(&row.example))?;
            let items = self.dpo.items(worker, &row.example.prompt, &row.tokens, feedback, metrics)?;
            taken.rows.extend(std::iter::repeat_n(row.example.index, items.len()));
            taken.items.extend(items.into_iter().map(|item| item.with(PLACE, row.place as f64)));
        }
        Ok(taken)
    }

    /// Rolls out the step's questions and pairs what comes back.
    fn fresh(&self, worker: &mut Worker, step: usize, metrics: &mut Metrics) -> Result<Taken> {
        let prompts = worker.questions.of_step(step);
        let sampled = worker.roll_out(&prompts, step, 0, metrics);
        let groups = agreed(&*worker.ranks, sampled)?;
        figures::describe(&groups, metrics);
        let (mut feedback, counts) = self.dpo.feedback(&groups, &worker.select);
        self.dpo.weigh(&groups, &mut feedback, Some(worker))?;
        report_counts(&counts, |name, count| metrics.count(name, count));
        let mut taken = Taken::default();
        for (group, all) in groups.iter().zip(&feedback) {
            for one in all {
                let items = self.dpo.items(worker, &group.example.prompt, &group.prompt, one, metrics)?;
                taken.rows.extend(std::iter::repeat_n(group.example.index, items.len()));
                taken.items.extend(items.into_iter().map(|item| item.with(PLACE, group.place as f64)));
            }
        }
        taken.sampled_tokens = groups.iter().flat_map(|g| &g.rollouts).map(|r| r.sampled()).sum();
        taken.groups = without_credit(groups);
        Ok(taken)
    }

    fn pair_loss(&self, items: &[&Item], logprobs: &Tensor, metrics: &mut Metrics) -> Tensor {
        let pairs: Vec<PairShape> = items.iter().map(|item| shape(item)).collect();
        let counted: Vec<bool> = items.iter().flat_map(|item| counted(item)).collect();
        let terms = self.dpo.loss.sum(&PairTokens {
            logprobs,
            ref_logprobs: stacked(items, REF_LOGPROBS, logprobs.device()).as_ref(),
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
}

fn no_feedback(example: &Example) -> Error {
    Error::Data(format!("{example}: it has no `chosen` and `rejected`, or `completion` and `label`"))
}

/// Reports counts by `tell`: those of the whole data are the same on all ranks, those of a step's rollouts add up.
fn report_counts(counts: &Counts, mut tell: impl FnMut(&str, f64)) {
    tell("pairs/built", counts.built as f64);
    if counts.synthetic > 0 {
        tell("pairs/synthetic", counts.synthetic as f64);
    }
    for (reason, count) in &counts.dropped {
        tell(&format!("pairs/dropped/{reason}"), *count as f64);
    }
}

impl Section for Dpo {
    fn check(&self) -> Vec<Misfit> {
        Dpo::check(self)
    }

    fn needs(&self, stage: &StageView) -> Needs {
        let needs = Needs {
            trains: true,
            rows: true,
            rollouts: self.online,
            leaves_given: true,
            formless: !self.online && self.about != About::Answers,
            reference: self.needs_reference().then(|| ReferenceKind::of(&self.reference)),
            selects: if self.loss.unpaired() { Selects::Rollouts } else { Selects::Pairs },
            of_traces: self.of_traces(stage.select.pairs.kind),
            ..Needs::default()
        };
        let Some(flow) = &self.flow else { return needs };
        let prompts = stage.data.prompts_per_step;
        Needs {
            of_traces: None,
            unused: Some((
                &["rollout", "reward", "select"],
                "loop.dpo.flow writes, judges and pairs completions itself",
            )),
            // Other ways start from each chunk and each decision behind one that is not the last.
            in_flight: Some((2 * flow.chunks - 1, flow.chunks * flow.chunk_tokens)),
            step: Some(format!(
                "a step takes {prompts} completions of at most {} chunks of {} tokens, and from each of their nodes one other way \
                 to its end",
                flow.chunks, flow.chunk_tokens
            )),
            ..needs
        }
    }

    fn idle(&self) -> Vec<Idle> {
        let (loss, mut idle) = (&self.loss, Vec::new());
        if !loss.needs_reference() {
            let why = "with a loss.kind that has no reference policy";
            idle.extend([("precompute_reference", why), ("reference", why)]);
        } else if self.reference.every == 0 {
            idle.push(("reference.mix", "without reference.every"));
        }
        if loss.nll == 0.0 {
            idle.push(("loss.nll_mean", "without loss.nll"));
        }
        if loss.rationale == 0.0 {
            idle.push(("loss.rationale_form", "without loss.rationale"));
        }
        if !loss.unpaired() {
            let why = "with a loss.kind that learns from pairs";
            idle.extend([("loss.desirable_weight", why), ("loss.undesirable_weight", why)]);
        }
        idle
    }

    fn fits(&self, stage: &StageView) -> Vec<Misfit> {
        if !self.online {
            return vec![];
        }
        let single = stage.rollout.size == Some(1) && !self.loss.unpaired();
        let margins = stage.select.pairs.kind == pairs::PairKind::ScoreMargin && stage.rewards.is_empty();
        let all = [
            self.flow.as_ref().and_then(|_| flow::no_base(stage.policy.lora.is_some())),
            single.then(|| {
                Misfit::new(
                    "rollout.group.size",
                    "a single completion of a question makes no pair",
                    "use at least 2",
                )
            }),
            (stage.policy.sampling.temperature == 0.0).then(|| {
                Misfit::new(
                    "policy.sampling.temperature",
                    "greedy samples of one prompt are all the same and make no pair",
                    "use a positive temperature, such as 1.0",
                )
            }),
            (stage.rollout.gives && self.about == About::Answers).then(|| {
                Misfit::new(
                    "loop.dpo.about",
                    item::ANSWERS_GIVEN,
                    "learn about whole completions, or use [rollout.group]",
                )
            }),
            margins.then(|| {
                Misfit::new(
                    "select.pairs.kind",
                    "there is no reward to tell the better from the worse",
                    "add [reward.answer] or another reward, or use kind = \"correct_wrong\"",
                )
            }),
        ];
        all.into_iter().flatten().collect()
    }

    fn learned_of(&self, tokenizer: &Tokenizer, row: &Prompted) -> Result<Vec<LearnedOf>> {
        let completions = match &row.example.feedback {
            // What is learned of answers alone is shorter than what is written here.
            Some(Feedback::Pair { .. }) if self.about == About::Answers => vec![],
            Some(Feedback::Pair { chosen, rejected, .. }) => vec![("chosen", chosen), ("rejected", rejected)],
            Some(Feedback::Label { completion, good: true, .. }) => vec![("good", completion)],
            Some(Feedback::Label { completion, good: false, .. }) => vec![("bad", completion)],
            None => vec![],
        };
        let learned = |(called, completion): (&'static str, &FeedbackCompletion)| {
            let sequence = match &completion.tokens {
                Some(ids) => item::sampled(&row.tokens, ids, completion),
                None => {
                    let ids = row.completion(tokenizer, &completion.text)?;
                    item::written(tokenizer, &row.tokens, &ids, completion)?
                }
            };
            Ok(LearnedOf { called: called.into(), sequence })
        };
        completions.into_iter().map(learned).collect()
    }

    fn figures(&self) -> &'static [&'static str] {
        match (&self.flow, self.loss.unpaired()) {
            (Some(_), _) => &[],
            (None, false) => held_out::OF_PAIRS,
            (None, true) => held_out::OF_LABELS,
        }
    }

    fn measures(&self, row: &Example) -> bool {
        self.flow.is_none() && self.states(row)
    }

    fn notes(&self, rows: &[&Example]) -> Vec<String> {
        self.of_one_class(rows.iter().copied()).into_iter().collect()
    }

    fn longest(&self) -> Option<(&'static str, usize)> {
        self.max_tokens.map(|tokens| ("max_tokens", tokens))
    }

    fn build(&self, setup: &mut Setup) -> Result<Box<dyn Method>> {
        let mut counts = Counts::default();
        if !self.online {
            let rows = std::mem::take(&mut setup.rows);
            (setup.rows, counts) = self.prepare(rows, setup.select, setup.format)?;
        }
        Ok(Box::new(DpoMethod { dpo: self.clone(), counts, ..DpoMethod::default() }))
    }
}

impl Method for DpoMethod {
    /// Scores all rows under the policy as it is, where the recipe says so and no earlier start has.
    fn begin(&mut self, worker: &mut Worker, kept: Option<Tensor>) -> Result<Option<Tensor>> {
        if self.dpo.flow.is_some() {
            let seed = seed::derive(&[worker.seed, seed::of_text("init")]);
            Flow::attach_adapter(&mut worker.policy, seed)?;
        }
        self.dpo.look_at_rows(worker)?;
        if !self.dpo.precompute_reference || !self.dpo.loss.needs_reference() {
            return Ok(None);
        }
        let (mut rows, mut sequences) = (Vec::new(), Vec::new());
        for row in &worker.questions.all {
            let feedback = row.example.feedback.as_ref().ok_or_else(|| no_feedback(&row.example))?;
            for item in
                self.dpo.items(worker, &row.example.prompt, &row.tokens, feedback, &mut Metrics::default())?
            {
                rows.push(row.example.index);
                sequences.extend_from_slice(compared(&item));
            }
        }
        let held_out = self.held_out_compared(worker)?;
        let own = sequences.len();
        sequences.extend(held_out.iter().flat_map(|(_, sequences)| sequences).cloned());
        let total: usize = sequences.iter().map(Sequence::learned).sum();
        let kept = kept.and_then(|kept| Vec::<f32>::try_from(kept).ok()).filter(|kept| kept.len() == total);
        let known = kept.is_some();
        let flat = match kept {
            Some(flat) => flat,
            None => worker.policy.logprobs(&sequences, 1.0, worker.tokens_per_microbatch)?.concat(),
        };
        let mut rest = flat.as_slice();
        let mut cut = |sequence: &Sequence| {
            let (own, others) = rest.split_at(sequence.learned());
            rest = others;
            own.to_vec()
        };
        for (row, pair) in rows.into_iter().zip(sequences[..own].chunks(2)) {
            self.reference.insert(row, pair.iter().map(&mut cut).collect());
        }
        for (place, pair) in held_out {
            self.held_out_reference.insert(place, pair.iter().map(&mut cut).collect());
        }
        Ok((!known).then(|| Tensor::from_slice(&flat)))
    }

    fn batch(&mut self, worker: &mut Worker, step: usize, metrics: &mut Metrics) -> Result<Batch> {
        let sampled = self.dpo.online && worker.source.traits().sampled;
        let temperature = if sampled { worker.sampling.scoring_temperature() } else { 1.0 };
        let taken = match &self.dpo.flow {
            Some(flow) => {
                let taken = flow.taken(worker, step, metrics);
                agreed(&*worker.ranks, taken)?
            }
            None if self.dpo.online => self.fresh(worker, step, metrics)?,
            None => agreed(&*worker.ranks, self.offline(worker, step, metrics))?,
        };
        let Taken { items, rows, groups, sampled_tokens } = taken;
        if step == 1 && self.counts != Counts::default() {
            report_counts(&self.counts, |name, count| metrics.set(name, count));
        }
        metrics.count("pairs", items.len() as f64);
        let items = self.refer(worker, items, &rows, &self.reference, temperature)?;
        self.kl = self.baseline(worker, &items, temperature)?;
        if self.dpo.loss.unpaired() {
            metrics.set("kl", self.kl);
        }
        let chosen: Vec<usize> = items.iter().map(|item| shape(item).chosen).collect();
        let weights = worker.over_ranks(|sum| self.dpo.loss.nll_weights(&chosen, sum))?;
        let weighted = items.into_iter().zip(weights).map(|(item, weight)| item.with(NLL_WEIGHT, weight));
        let items: Vec<Item> = weighted.collect();
        let weight = items.len() as f64;
        Ok(Batch { groups, sampled_tokens, temperature, ..Batch::whole(items, weight) })
    }

    fn loss(&self, items: &[&Item], output: &Output, metrics: &mut Metrics) -> Result<Tensor> {
        let (logprobs, entropy) = (&output.scored.logprobs, &output.scored.entropy);
        metrics.add("entropy", entropy.mean(Kind::Float).double_value(&[]), logprobs.size()[0] as f64);
        Ok(if self.dpo.loss.unpaired() {
            self.label_loss(items, logprobs, metrics)
        } else {
            self.pair_loss(items, logprobs, metrics)
        })
    }

    fn held_out(&self, worker: &mut Worker, rows: &[Prompted]) -> Result<(Vec<(usize, RowFigures)>, usize)> {
        if self.dpo.flow.is_some() {
            return Ok(Default::default());
        }
        self.of_held_out(worker, rows)
    }

    fn after(&mut self, worker: &mut Worker, step: usize, metrics: &Metrics) -> Result<bool> {
        worker.refresh_reference(&self.dpo.reference, step);
        if let (Some(chosen), Some(rejected)) =
            (metrics.get("rewards/chosen"), metrics.get("rewards/rejected"))
            && self.falling.push(chosen, rejected, self.dpo.alarm_after)
        {
            tracing::warn!("{}", alarm::sentence(step as u64, self.dpo.alarm_after));
        }
        Ok(false)
    }
}
