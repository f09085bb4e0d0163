//! Reward-conditioned learning from a growing pool: MaRio (Ramnath et al. 2023, arXiv 2311.02805), which is Quark (Lu et
//! al. 2022) with several rewards. Every completion is learned behind control tokens that say in which quantile of the
//! pool each of its scores lies; new ones are sampled, and held-out questions asked, behind the best tokens.

mod pool;
mod section;

pub use pool::{Entry, Pool};
pub use section::Mario;

use super::item::{REF_LOGPROBS, stacked};
use super::{
    Batch, Item, Method, Needs, Output, ReferenceKind, Section, Selects, Setup, StageView, Worker, figures,
    without_credit,
};
use crate::data::order;
use crate::error::{Error, Result};
use crate::log::Metrics;
use crate::loss;
use crate::ranks::{agreed, gathered, in_turn};
use crate::rollout::{Group, Prompted, Trace, dataset};
use crate::section::{Idle, Misfit};
use crate::seed;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::Arc;
use tch::{Kind, Tensor};

/// The method at work.
struct MarioMethod {
    mario: Mario,
    /// What was sampled so far.
    pool: Pool,
}

impl MarioMethod {
    /// The completions that `step` brings into the pool: the first ones, or those of an exploration.
    fn explore(&self, worker: &mut Worker, step: usize, metrics: &mut Metrics) -> Result<Vec<Group>> {
        let mut prompts = self.step_prompts(worker, step);
        if step > 1 {
            let names: Vec<&str> = self.pool.names.iter().map(String::as_str).collect();
            let control = worker.policy.tokenizer.encode(&self.mario.best(names))?;
            prompts.iter_mut().for_each(|prompt| prompt.tokens.extend(&control));
        }
        let mut groups = worker.roll_out(&prompts, step, 0, metrics)?;
        figures::describe(&groups, metrics);
        if step == 1 && self.mario.rows {
            for (group, own) in groups.iter_mut().zip(own_completions(worker, &prompts)?) {
                group.rollouts.splice(0..0, own.map_or_else(Vec::new, |own| own.rollouts));
            }
        }
        Ok(groups)
    }

    /// The questions of an exploration; the first asks all.
    fn step_prompts(&self, worker: &Worker, step: usize) -> Vec<Prompted> {
        let all = &worker.questions.all;
        let count = self.mario.sample_questions.unwrap_or(all.len()).min(all.len());
        if step == 1 {
            return worker.questions.mine(&(0..all.len()).collect::<Vec<_>>());
        }
        let seed = seed::derive(&[worker.seed, seed::of_text("explore")]);
        let mut picked = order::endless(all.len(), count, step / self.mario.sample_every - 1, Some(seed));
        picked.sort_unstable();
        picked.dedup();
        worker.questions.mine(&picked)
    }

    /// Takes completions into the pool, those without an answer left out.
    fn take(&mut self, entries: Vec<Option<Entry>>) -> Result<()> {
        self.pool.entries.extend(entries.into_iter().flatten());
        if self.pool.entries.is_empty() {
            return Err(Error::Data(
                "loop.mario: no completion of the first pool has an answer that data.format reads; train the form \
                 first, as with [loop.sft], or give the rows rationales"
                    .into(),
            ));
        }
        self.pool.sort(&self.mario);
        Ok(())
    }

    /// The entries that `step` learns from: the pool in an order of its own after each exploration.
    fn drawn(&self, worker: &Worker, step: usize) -> Vec<usize> {
        let phase = (step - 1) / self.mario.sample_every;
        let seed = seed::derive(&[worker.seed, seed::of_text("pool"), phase as u64]);
        let within = (step - 1) % self.mario.sample_every;
        order::endless(self.pool.entries.len(), worker.questions.per_step(), within, Some(seed))
    }

    fn items(&self, worker: &mut Worker, drawn: &[usize]) -> Result<Vec<Item>> {
        let (mut sequences, mut bare) = (Vec::new(), Vec::new());
        for &index in drawn {
            let entry = &self.pool.entries[index];
            let prompt = &worker.questions.all[entry.question].tokens;
            let control = worker.policy.tokenizer.encode(&self.mario.control(self.pool.quantiles(index)))?;
            sequences.push(entry.sequence(&[prompt.as_slice(), &control].concat()));
            bare.push(entry.sequence(prompt));
        }
        let items = sequences.into_iter().map(|sequence| Item::of(vec![sequence]));
        if !self.mario.needs_reference() {
            return Ok(items.collect());
        }
        let references = worker.reference_logprobs(&bare, 1.0)?;
        Ok(items.zip(references).map(|(item, reference)| item.with_tokens(REF_LOGPROBS, reference)).collect())
    }

    fn report(&self, drawn: &[usize], step: usize, metrics: &mut Metrics) {
        metrics.set("pool/size", self.pool.entries.len() as f64);
        for &index in drawn {
            metrics.add("pool/age", (step - self.pool.entries[index].step) as f64, 1.0);
            let best =
                self.pool.quantiles(index).all(|(name, quantile)| quantile + 1 == self.mario.tokens(name));
            metrics.add("pool/best", f64::from(u8::from(best)), 1.0);
        }
    }
}

/// The rows' completions as scored groups, for the rows that have one.
fn own_completions(worker: &mut Worker, prompts: &[Prompted]) -> Result<Vec<Option<Group>>> {
    let with_own = |prompted: &Prompted| {
        let mut example = (*prompted.example).clone();
        if example.completions.is_empty() {
            example.completions.extend(example.completion.clone());
        }
        (!example.completions.is_empty()).then(|| Prompted { example: Arc::new(example), ..prompted.clone() })
    };
    let rows: Vec<Option<Prompted>> = prompts.iter().map(with_own).collect();
    let there: Vec<Prompted> = rows.iter().flatten().cloned().collect();
    let (sampling, format, budget) = (&worker.sampling, &worker.format, worker.tokens_per_microbatch);
    let mut groups = dataset::read(&worker.policy, &there, sampling, format, budget)?;
    worker.score(&mut groups)?;
    let mut groups = groups.into_iter();
    Ok(rows.iter().map(|row| row.as_ref().and_then(|_| groups.next())).collect())
}

/// Places of the questions by the ids of their examples.
fn places(worker: &Worker) -> HashMap<&str, usize> {
    worker.questions.all.iter().enumerate().map(|(at, question)| (question.example.id.as_str(), at)).collect()
}

impl Section for Mario {
    fn check(&self) -> Vec<Misfit> {
        Mario::check(self)
    }

    fn needs(&self, stage: &StageView) -> Needs {
        let tokens = stage.policy.sampling.max_new_tokens;
        let step = stage.rollout.size.map(|size| {
            format!(
                "every {} steps {size} completion(s) of each question, of at most {tokens} tokens, join the pool; a step learns {} \
                 of it",
                self.sample_every, stage.data.prompts_per_step
            )
        });
        let reference = self.needs_reference().then_some(ReferenceKind::Fixed);
        Needs {
            trains: true,
            rows: true,
            rollouts: true,
            pooled: true,
            own_samples: true,
            leaves_given: true,
            rewards: true,
            reference,
            traces: true,
            selects: Selects::Nothing,
            step,
            ..Needs::default()
        }
    }

    fn idle(&self) -> Vec<Idle> {
        let free = !self.needs_reference();
        free.then_some(("kl_estimator", "with kl_coefficient = 0")).into_iter().collect()
    }

    fn fits(&self, stage: &StageView) -> Vec<Misfit> {
        let named = |name: &&String| !stage.rewards.contains(&name.as_str());
        let unknown = self.borders.keys().filter(named).map(|name| {
            let key = format!("loop.mario.borders.{name}");
            Misfit::new(key, "there is no such reward", "name one of the [reward] tables")
        });
        let rows = Misfit::new(
            "loop.mario",
            "it samples the policy, and [rollout.dataset] reads others' completions",
            "use [rollout.group]; loop.mario.rows takes the rows' own completions into the pool",
        );
        let episodes = Misfit::new(
            "loop.mario",
            "its pool has completions of the rows' own prompts, and an environment says more behind them",
            "use [rollout.group], or loop.grpo",
        );
        let refused =
            [stage.rollout.size.is_none().then_some(rows), stage.rollout.episodes.then_some(episodes)];
        unknown.chain(refused.into_iter().flatten()).collect()
    }

    /// Quark's (arXiv 2205.13636).
    fn learning_rate(&self) -> f64 {
        1e-5
    }

    fn build(&self, _: &mut Setup) -> Result<Box<dyn Method>> {
        Ok(Box::new(MarioMethod { mario: self.clone(), pool: Pool::default() }))
    }
}

impl Method for MarioMethod {
    /// Held-out questions are asked behind the best control tokens.
    fn begin(&mut self, worker: &mut Worker, _kept: Option<Tensor>) -> Result<Option<Tensor>> {
        let best = self.mario.best(worker.rewards.weights().map(|(name, _)| name));
        let best = worker.policy.tokenizer.encode(&best)?;
        worker.held_out.iter_mut().for_each(|question| question.tokens.extend(&best));
        Ok(None)
    }

    fn load_state_dict(
        &mut self,
        worker: &mut Worker,
        _state: &Value,
        traces: &mut dyn FnMut() -> Result<Vec<Trace>>,
    ) -> Result<()> {
        self.pool.names = worker.rewards.weights().map(|(name, _)| name.to_string()).collect();
        let places = places(worker);
        let entry = |trace: &Trace| {
            trace.predicted.as_ref()?;
            Some(Entry {
                question: *places.get(trace.example.as_str())?,
                step: trace.step,
                tokens: trace.completion_ids.clone(),
                given: trace.given.clone(),
                scores: self
                    .pool
                    .names
                    .iter()
                    .map(|name| trace.scores.get(name).copied())
                    .collect::<Option<_>>()?,
            })
        };
        let entries = traces()?.iter().map(entry).collect();
        self.take(entries)
    }

    fn batch(&mut self, worker: &mut Worker, step: usize, metrics: &mut Metrics) -> Result<Batch> {
        let mut groups = Vec::new();
        if (step - 1).is_multiple_of(self.mario.sample_every) {
            self.pool.names = worker.rewards.weights().map(|(name, _)| name.to_string()).collect();
            let explored = self.explore(worker, step, metrics);
            groups = agreed(&*worker.ranks, explored)?;
            let places = places(worker);
            let of_group = |group: &Group| {
                let question = places[group.example.id.as_str()];
                let entry = |rollout: &crate::rollout::Rollout| {
                    rollout.rationale.as_ref()?;
                    let scores = self.pool.names.iter().map(|name| rollout.scores[name].value).collect();
                    let (tokens, given) = (rollout.tokens.clone(), rollout.given.clone());
                    Some(Entry { question, step, tokens, given, scores })
                };
                group.rollouts.iter().map(entry).collect::<Vec<_>>()
            };
            // Quantiles are those of the pool of all ranks.
            let shares = gathered(&*worker.ranks, groups.iter().map(of_group).collect())?;
            self.take(in_turn(shares).concat())?;
        }
        let drawn = worker.questions.share(self.drawn(worker, step));
        self.report(&drawn, step, metrics);
        let items = self.items(worker, &drawn)?;
        let sampled_tokens = groups.iter().flat_map(|g| &g.rollouts).map(|r| r.sampled()).sum();
        Ok(Batch { groups: without_credit(groups), sampled_tokens, ..Batch::of_completions(items) })
    }

    /// Σ over the completions' tokens of −log p + coefficient · KL − coefficient · entropy; control tokens are not
    /// learned.
    fn loss(&self, items: &[&Item], output: &Output, metrics: &mut Metrics) -> Result<Tensor> {
        let (logprobs, entropy) = (&output.scored.logprobs, &output.scored.entropy);
        let count = logprobs.size()[0] as f64;
        let mut loss = loss::nll(logprobs, &logprobs.ones_like());
        metrics.add("nll", loss.double_value(&[]) / count, count);
        metrics.add("entropy", entropy.mean(Kind::Float).double_value(&[]), count);
        if let Some(reference) = stacked(items, REF_LOGPROBS, logprobs.device()) {
            let kl = self.mario.kl_estimator.tokens(logprobs, &reference).sum(Kind::Float);
            metrics.add("kl", kl.double_value(&[]) / count, count);
            loss += kl * self.mario.kl_coefficient;
        }
        if self.mario.entropy_coefficient != 0.0 {
            loss -= entropy.sum(Kind::Float) * self.mario.entropy_coefficient;
        }
        Ok(loss)
    }
}
