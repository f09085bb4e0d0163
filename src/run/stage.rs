//! A stage opened: its data read, its policy loaded, its rewards built.

use super::lengths::{Lengths, TooLong, none_is_left};
use super::preflight::notes;
use super::wants;
use crate::data::hub::Hub;
use crate::data::{Dataset, Example, Questions, Split};
use crate::devices::{self, Shard, name_of};
use crate::error::{Error, Result};
use crate::log::Metrics;
use crate::loops::{Method, ReferenceKind, Steps, Worker};
use crate::model::Model;
use crate::optim::{Optimizer, Sliced};
use crate::policy::{Holder, Policy, Reference};
use crate::ranks::{Carrier, Ranks, timeline};
use crate::recipe::{Registry, Stage};
use crate::reward::Rewards;
use crate::seed;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;
use tch::{Device, Kind};

const ADAPTER: &str = "adapter";
const REFERENCE: &str = "reference";

/// A stage with everything that it works on.
pub struct Opened {
    /// The stage's name.
    pub name: String,
    /// The pass over the list of stages, counted from 1.
    pub round: usize,
    /// Its sections.
    pub stage: Stage,
    /// What its method works with.
    pub worker: Worker,
    /// The ranks among which what is divided is divided.
    pub within: Arc<dyn Ranks>,
    /// Those that hold the same of it, where there are several.
    pub across: Option<Arc<dyn Ranks>>,
    /// Steps in all.
    pub steps: usize,
    /// Tokens learned from so far.
    pub tokens: usize,
    /// Whether a step has changed the weights.
    pub learned: bool,
    /// What the method has to remember beside its step.
    pub state: Value,
    /// What is left to do of the step that its checkpoint was written in.
    pub unsettled: Option<Unsettled>,
    /// Why the checkpoint that it goes on from has no optimiser, where it has none.
    pub without_optimizer: Option<String>,
}

/// What comes after a step's checkpoint: its evaluation, where one is due, then what the method makes of the figures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Unsettled {
    /// The step's figures.
    pub metrics: Metrics,
    /// Whether the evaluation is still to come.
    pub evaluates: bool,
    /// Whether it was a step of a round of the method's own, which alone says when these are over.
    pub of_round: bool,
}

impl Opened {
    /// Says what there is to say of rows that nobody could look at before an earlier stage had written them.
    pub fn tell_of_rows(&self) {
        let rows: Vec<&Example> = self.worker.questions.all.iter().map(|row| &*row.example).collect();
        notes(&self.stage, &rows).iter().for_each(|told| tracing::warn!("stage `{}`: {told}", self.name));
    }

    /// Reads the data first, because that is where users err, then loads the policy.
    pub fn open(
        name: &str,
        round: usize,
        stage: Stage,
        run_seed: u64,
        hub: &Hub,
        registry: &Registry,
        ranks: &Arc<dyn Ranks>,
    ) -> Result<(Self, Box<dyn Method>)> {
        timeline::begin(stage.devices.trace);
        let _opens = timeline::phase("opening");
        let (data, needs) = (&stage.data, stage.needs());
        let rows = if needs.rows { data.load(Split::Train, hub, run_seed)? } else { Dataset::default() };
        let mut setup = stage.setup(rows, hub, run_seed);
        let method = stage.method.build(&mut setup)?;
        tracing::info!("{name}: {} rows of {}", setup.rows.examples.len(), setup.rows.name);
        let train = needs.rows.then_some(setup.rows);
        let eval = stage.eval.as_ref().map(|_| data.load(Split::Eval, hub, run_seed)).transpose()?;
        let mut rewards = Rewards::build(&stage.reward, registry, &data.format)?;
        let mut measures = match &stage.eval {
            Some(eval) => Rewards::measures(&eval.measures, registry, &data.format)?,
            None => Rewards::none(),
        };
        wants::check_stage(name, &stage, [&rewards, &measures], train.as_ref(), eval.as_ref())?;
        let source = stage.rollout.build()?;
        let layout = stage.devices.open(ranks.local())?;
        let served = ranks.served();
        for rewards in [&mut rewards, &mut measures] {
            rewards.place(&stage.devices, ranks.local(), served.as_ref())?;
        }
        if let Some(served) = served.filter(|_| ranks.is_first()) {
            Holder::begin_stage(&served)?;
        }

        let stage_seed = seed::derive(&[run_seed, seed::of_text(name), round as u64]);
        let origin = {
            let (config, hub, device) = (stage.policy.clone(), hub.clone(), layout.policy);
            move || Policy::open(&config, &hub, device, init_seed(stage_seed))
        };
        let began = Instant::now();
        let policy = origin()?;
        tracing::info!(
            "{name}: a model of {} parameters, {}, opened in {:.1} s",
            policy.model.config.size(),
            placed(policy.model.kind(), policy.model.device()),
            began.elapsed().as_secs_f64()
        );
        if policy.model.score.is_some() && !needs.head {
            return Err(Error::Model(format!(
                "stage `{name}`: policy.model is a reward model, which generates nothing; it belongs in \
                 [reward.process], or under [loop.prm] to go on training it"
            )));
        }
        if policy.model.has_windows() && stage.eval.as_ref().is_some_and(|eval| eval.greedy.is_some()) {
            return Err(Error::Model(format!(
                "stage `{name}`: eval.greedy leaves tokens out of prompts, and this model's attention slides over those that are there; use a model \
                 without a sliding window, or take it out"
            )));
        }
        let lengths = Lengths::of(&stage, policy.context());
        let questions = |dataset: &Dataset| {
            Questions::new(
                dataset,
                &policy.tokenizer,
                lengths.longest_prompt(),
                data.prompts_per_step,
                data.shuffle,
                seed::derive(&[stage_seed, seed::of_text("order")]),
            )
        };
        let held_out = eval.as_ref().map(&questions).transpose()?.unwrap_or_default();
        let (mut held_out, held_out_dropped) = (held_out.all, held_out.dropped.len());
        held_out.iter_mut().enumerate().for_each(|(place, question)| question.place = place);
        let mut questions =
            train.as_ref().map(&questions).transpose()?.unwrap_or_default().shared(ranks.clone());
        leave_out(name, &mut questions, &lengths, &policy)?;
        let steps = steps(&stage, &questions);
        let reference = needs
            .reference
            .map(|kind| Reference::of(&policy, layout.reference, kind != ReferenceKind::Fixed));
        let worker = Worker {
            name: name.to_string(),
            ranks: ranks.clone(),
            reference,
            source,
            select: stage.select.clone(),
            sampling: stage.policy.sampling.clone(),
            seed: stage_seed,
            steps,
            tokens_per_microbatch: stage.optim.tokens_per_microbatch,
            by: stage.eval.as_ref().and_then(|eval| eval.by.clone()),
            measures,
            held_out,
            held_out_dropped,
            origin: Box::new(origin),
            ..Worker::new(policy, questions, rewards, data.format.clone())
        };
        let (name, state) = (name.to_string(), Value::Null);
        let (unsettled, without_optimizer) = (None, None);
        let (within, across, tokens) = (ranks.clone(), None, 0);
        let opened = Self {
            name,
            round,
            stage,
            worker,
            within,
            across,
            steps,
            tokens,
            learned: false,
            state,
            unsettled,
            without_optimizer,
        };
        Ok((opened, method))
    }

    /// Settles who carries tensors between ranks, and finds the groups of them that hold what is divided, of which there may be several
    /// copies. All ranks call it.
    pub fn group(&mut self) -> Result<()> {
        let (ranks, replicas) = (&self.worker.ranks, self.stage.devices.replicas);
        if ranks.count() > 1 {
            let device = self.worker.policy.model.device();
            match ranks.carry(device, devices::chip(device))? {
                Carrier::Nccl(version) if ranks.is_first() => {
                    tracing::info!("between ranks tensors travel through NCCL {version}");
                }
                Carrier::Gloo(Some(why)) if ranks.is_first() => {
                    tracing::warn!("between ranks tensors travel through Gloo, by way of the CPU: {why}");
                }
                _ => {}
            }
        }
        if replicas == 1 {
            return Ok(());
        }
        if !ranks.count().is_multiple_of(replicas) {
            let count = ranks.count();
            return Err(Error::Recipe(format!(
                "devices.replicas = {replicas}: it does not divide the {count} rank(s) into equal groups"
            )));
        }
        let [within, across] = ranks.split(ranks.count() / replicas)?;
        (self.within, self.across) = (within, Some(across));
        Ok(())
    }

    /// This rank's optimiser of what is trained now, with nothing remembered.
    pub fn optimizer(&mut self) -> Result<Optimizer> {
        // What never looks at whole weights has none of them beside the optimiser's memory.
        self.shard(!self.stage.needs().rows_alone)?;
        let model = &self.worker.policy.model;
        let matrices = model.matrices();
        let rules = self.stage.optim.rules(&matrices);
        let sliced = Sliced { within: self.within.clone(), across: self.across.clone() };
        match (self.stage.devices.shard, model.slices()) {
            (_, Some(slices)) => Optimizer::of_slices(slices, sliced, rules),
            (Shard::Optimizer, None) => Optimizer::of_share(model.parameters(), rules, self.within.clone()),
            (Shard::None | Shard::Parameters, None) => Optimizer::new(model.parameters(), rules),
        }
    }

    /// Divides the policy and its reference among ranks, where the recipe says so.
    fn shard(&mut self, whole: bool) -> Result<()> {
        if self.stage.devices.shard == Shard::Parameters && self.stage.needs().trains {
            let mut reference = self.worker.reference.iter_mut().flat_map(Reference::models);
            self.worker.policy.model.shard(&self.within, whole)?;
            reference.try_for_each(|model| model.shard(&self.within, whole))?;
        }
        Ok(())
    }

    /// Has the policy and its reference whole on every rank, where they are divided. All ranks call it.
    pub fn gather(&mut self) -> Result<()> {
        let reference = self.worker.reference.iter_mut().flat_map(Reference::models);
        self.worker.policy.model.gather()?;
        reference.into_iter().try_for_each(|model| model.gather())
    }

    /// Leaves each rank its part of the policy and its reference, where they are divided.
    pub fn release(&mut self) -> Result<()> {
        self.shard(false)?;
        let reference = self.worker.reference.iter_mut().flat_map(Reference::models);
        self.worker.policy.model.release()?;
        reference.into_iter().try_for_each(|model| model.release())
    }

    /// Writes the policy into a checkpoint's folder: the model whole, as others load it; under LoRA the adapters
    /// beside it; and the reference policy where it has moved from where it began. Where they are divided, all ranks together.
    pub fn save(&self, folder: &Path) -> Result<()> {
        let policy = &self.worker.policy;
        let moved = self.worker.reference.as_ref().filter(|_| self.moves_reference());
        // What fails of one is said once no other rank waits any more.
        let saved = policy.save(folder);
        let adapters = policy.model.lora.is_some().then(|| policy.model.save_adapters(&folder.join(ADAPTER)));
        let reference = moved.map(|reference| reference.save(&folder.join(REFERENCE)));
        saved.and(adapters.unwrap_or(Ok(()))).and(reference.unwrap_or(Ok(())))
    }

    /// Whether several ranks save the policy together.
    pub fn saves_together(&self) -> bool {
        self.worker.policy.model.shards.is_some()
    }

    /// Whether this rank is one of those that save: of several that hold the same the first.
    pub fn saves(&self) -> bool {
        self.across.as_ref().is_none_or(|across| across.is_first())
    }

    /// The first of the trained weights that hold a number that is none, if any of those that this rank holds do.
    pub fn not_finite(&self) -> Result<Option<String>> {
        let model = &self.worker.policy.model;
        let slices =
            model.slices().map(|slices| slices.into_iter().map(|slice| (slice.name, slice.tensor)).collect());
        for (name, tensor) in slices.unwrap_or_else(|| model.parameters()) {
            if tensor.f_isfinite()?.f_all()?.f_int64_value(&[])? == 0 {
                return Ok(Some(name));
            }
        }
        Ok(None)
    }

    fn moves_reference(&self) -> bool {
        self.stage.needs().reference.is_some_and(|kind| kind != ReferenceKind::Fixed)
    }

    /// The policy and its reference as [`save`](Self::save) left them in `folder`.
    pub fn restore(&mut self, folder: &Path) -> Result<()> {
        let model = &mut self.worker.policy.model;
        let trained: BTreeSet<String> = model.parameters().into_iter().map(|(name, _)| name).collect();
        if model.lora.is_some() {
            model.load_adapters(&folder.join(ADAPTER))?;
            model.load_score(folder)?;
            model.load_thoughts(folder)?;
            model.load_extractor(folder)?;
            model.load_value(folder)?;
        } else {
            let (kind, device) = (model.kind(), model.device());
            // There is never room for two of a model that just fits.
            model.forget()?;
            let before = std::mem::replace(model, Model::load(folder, kind, device)?);
            (model.checkpointing, model.dropout) = (before.checkpointing, before.dropout);
        }
        // What was trained is trained.
        for (name, tensor) in model.all_tensors() {
            let _ = tensor.set_requires_grad(trained.contains(&name));
        }
        self.worker.policy.weights_changed();
        let moves = self.moves_reference();
        if let (Some(reference), true) = (&mut self.worker.reference, moves) {
            reference.restore(&folder.join(REFERENCE))?;
        }
        Ok(())
    }
}

/// Leaves out the rows that are too long, and says which.
fn leave_out(name: &str, questions: &mut Questions, lengths: &Lengths, policy: &Policy) -> Result<()> {
    let tokenizer = &policy.tokenizer;
    let learned = questions.leave_out(|row| lengths.fits(tokenizer, row))?;
    let prompts: Vec<&Example> = questions.dropped.iter().map(|row| &**row).collect();
    let learned: Vec<&Example> = learned.iter().map(|row| &*row.example).collect();
    let of = format!("{} rows", questions.all.len() + prompts.len() + learned.len());
    let found = [(TooLong::Prompt, prompts), (TooLong::Learned, learned)];
    let sentences: Vec<String> = found
        .iter()
        .filter(|(_, rows)| !rows.is_empty())
        .map(|(why, rows)| lengths.sentence(rows, *why, &of))
        .collect();
    if questions.all.is_empty() && !sentences.is_empty() {
        return Err(Error::Data(none_is_left(&sentences)));
    }
    for sentence in sentences {
        tracing::warn!("{name}: {sentence}; they are left out");
    }
    Ok(())
}

fn steps(stage: &Stage, questions: &Questions) -> usize {
    let passes = |epochs: f64| ((questions.steps_per_epoch() as f64 * epochs).ceil() as usize).max(1);
    match stage.needs().steps {
        Steps::Exactly(steps) => steps,
        Steps::OfRun => stage.run.steps.unwrap_or_else(|| passes(stage.run.epochs)),
    }
}

fn init_seed(stage_seed: u64) -> u64 {
    seed::derive(&[stage_seed, seed::of_text("init")])
}

/// The format of weights and where they lie, as recipes call both: `f32 on cpu`.
fn placed(kind: Kind, device: Device) -> String {
    let format = match kind {
        Kind::Float => "f32".to_string(),
        Kind::BFloat16 => "bf16".to_string(),
        Kind::Half => "f16".to_string(),
        other => format!("{other:?}").to_lowercase(),
    };
    format!("{format} on {}", name_of(device))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_lies_where_a_recipe_would_put_it() {
        assert_eq!(placed(Kind::Float, Device::Cpu), "f32 on cpu");
        assert_eq!(placed(Kind::BFloat16, Device::Cuda(1)), "bf16 on cuda:1");
    }
}
