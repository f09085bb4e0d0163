//! A stage opened: its data read, its policy loaded, its rewards built.

use super::wants;
use crate::data::hub::Hub;
use crate::data::{Data, Dataset, Split};
use crate::error::{Error, Result};
use crate::loops::dpo::Flow;
use crate::loops::{Alarms, Context, Loop, Questions};
use crate::model::Model;
use crate::policy::{Policy, Reference};
use crate::recipe::Stage;
use crate::reward::{Registry, Rewards};
use crate::rollout::Prompted;
use crate::seed;
use crate::select::Select;
use serde_json::Value;
use std::path::Path;

const ADAPTER: &str = "adapter";
const REFERENCE: &str = "reference";

/// A stage with everything that it works on.
pub struct Opened {
    /// Its name.
    pub name: String,
    /// The pass over the list of stages, counted from 1.
    pub round: usize,
    /// Its sections.
    pub stage: Stage,
    /// What its lesson works with.
    pub context: Context,
    /// The held-out questions.
    pub held_out: Vec<Prompted>,
    /// Steps in all.
    pub steps: usize,
    /// Tokens learned from so far.
    pub tokens: usize,
    /// The round that the loop itself is in, where it has rounds; 0 is before the first.
    pub loop_round: Option<usize>,
    /// What the loop has to remember beside its step.
    pub position: Value,
}

impl Opened {
    /// Reads the data first, because that is where users err, then loads the policy.
    pub fn open(
        name: &str,
        round: usize,
        mut stage: Stage,
        run_seed: u64,
        hub: &Hub,
        registry: &Registry,
    ) -> Result<Self> {
        let data = &stage.data;
        let train = training_rows(&mut stage.lesson, data, &stage.select, hub, run_seed)?;
        let eval = stage.eval.as_ref().map(|_| data.load(Split::Eval, hub, run_seed)).transpose()?;
        let rewards = Rewards::build(&stage.reward, registry, &data.format)?;
        wants::check_stage(name, &stage, &rewards, train.as_ref(), eval.as_ref())?;
        let needs = stage.rollout.needs()?;
        let layout = stage.devices.open()?;

        let stage_seed = seed::derive(&[run_seed, seed::of_text(name), round as u64]);
        let mut policy = Policy::open(&stage.policy, hub, layout.policy, init_seed(stage_seed))?;
        furnish(&mut policy, &mut stage.lesson, name, init_seed(stage_seed))?;
        let questions = |dataset: &Dataset| {
            Questions::new(
                dataset,
                &policy,
                data.max_prompt_tokens,
                data.prompts_per_step,
                data.shuffle,
                seed::derive(&[stage_seed, seed::of_text("order")]),
            )
        };
        let mut held_out = eval.as_ref().map(&questions).transpose()?.map_or_else(Vec::new, |q| q.all);
        let questions = train.as_ref().map(&questions).transpose()?.unwrap_or_default();
        if questions.dropped > 0 {
            tracing::warn!(
                "{name}: {} prompts are longer than data.max_prompt_tokens and are left out",
                questions.dropped
            );
        }
        if let Loop::Mario(mario) = &stage.lesson {
            let best = policy.tokenizer.encode(&mario.best(rewards.weights().map(|(name, _)| name)))?;
            held_out.iter_mut().for_each(|question| question.tokens.extend(&best));
        }
        let steps = steps(&stage, &questions);
        let moves = stage.lesson.moves_reference();
        let reference =
            stage.lesson.needs_reference().then(|| Reference::of(&policy, layout.reference, moves));
        let context = Context {
            policy,
            reference,
            questions,
            rewards,
            rollout: stage.rollout.clone(),
            needs,
            select: stage.select.clone(),
            sampling: stage.policy.sampling.clone(),
            format: data.format.clone(),
            seed: stage_seed,
            steps,
            tokens_per_microbatch: stage.optim.tokens_per_microbatch,
            alarms: Alarms::default(),
            by: stage.eval.as_ref().and_then(|eval| eval.by.clone()),
            progress: Box::new(|_| {}),
        };
        Ok(Self {
            name: name.to_string(),
            round,
            stage,
            context,
            held_out,
            steps,
            tokens: 0,
            loop_round: None,
            position: Value::Null,
        })
    }

    /// Takes the policy back to what the stage began with.
    pub fn begin_again(&mut self, hub: &Hub) -> Result<()> {
        let device = self.context.policy.model.device();
        self.context.policy = Policy::open(&self.stage.policy, hub, device, init_seed(self.context.seed))?;
        Ok(())
    }

    /// Writes the policy into a checkpoint's folder: the model whole, as others load it; under LoRA the adapters
    /// beside it; and the reference policy where it has moved from where it began.
    pub fn save(&self, folder: &Path) -> Result<()> {
        let policy = &self.context.policy;
        policy.save(folder)?;
        if let Loop::Prm(prm) = &self.stage.lesson {
            prm.reading().save(folder)?;
        }
        if policy.model.lora.is_some() {
            let adapter = folder.join(ADAPTER);
            std::fs::create_dir(&adapter).map_err(Error::io(&adapter))?;
            policy.model.save_adapters(&adapter)?;
        }
        if let (Some(Reference::Copy(model)), true) =
            (&self.context.reference, self.stage.lesson.moves_reference())
        {
            let reference = folder.join(REFERENCE);
            std::fs::create_dir(&reference).map_err(Error::io(&reference))?;
            model.save(&reference)?;
        }
        Ok(())
    }

    /// The policy and its reference as [`save`](Self::save) left them in `folder`.
    pub fn restore(&mut self, folder: &Path) -> Result<()> {
        let model = &mut self.context.policy.model;
        if model.lora.is_some() {
            model.load_adapters(&folder.join(ADAPTER))?;
            model.load_score(folder)?;
        } else {
            let (kind, device, checkpointing) = (model.kind(), model.device(), model.checkpointing);
            *model = Model::load(folder, kind, device)?;
            model.checkpointing = checkpointing;
            model.train_all();
        }
        if let Loop::Prm(prm) = &mut self.stage.lesson {
            prm.furnish(&mut self.context.policy, self.context.seed)?;
        }
        let moves = self.stage.lesson.moves_reference();
        if let (Some(Reference::Copy(reference)), true) = (&mut self.context.reference, moves) {
            **reference = Model::load(&folder.join(REFERENCE), reference.kind(), reference.device())?;
        }
        Ok(())
    }
}

/// The rows that the lesson learns from, as it wants them; none where it learns from none.
fn training_rows(
    lesson: &mut Loop,
    data: &Data,
    select: &Select,
    hub: &Hub,
    seed: u64,
) -> Result<Option<Dataset>> {
    if matches!(lesson, Loop::Evaluate(_)) {
        return Ok(None);
    }
    let rows = data.load(Split::Train, hub, seed)?;
    Ok(Some(match lesson {
        Loop::Dpo(dpo) if !dpo.online => dpo.prepare(rows, select, &data.format)?,
        Loop::Sft(sft) => sft.prepare(rows, select, &data.format)?,
        Loop::Contrast(contrast) => contrast.prepare(rows)?,
        Loop::Prm(prm) => prm.prepare(rows, &data.format)?,
        _ => rows,
    }))
}

/// Gives the policy what its lesson needs beside the model: a head, a second adapter.
fn furnish(policy: &mut Policy, lesson: &mut Loop, name: &str, seed: u64) -> Result<()> {
    match lesson {
        Loop::Prm(prm) => prm.furnish(policy, seed),
        _ if policy.model.score.is_some() => Err(Error::Model(format!(
            "stage `{name}`: policy.model is a reward model, which generates nothing; it belongs in \
             [reward.process], or under [loop.prm] to go on training it"
        ))),
        Loop::Dpo(dpo) if dpo.flow.is_some() => Flow::furnish(policy, seed),
        _ => Ok(()),
    }
}

fn steps(stage: &Stage, questions: &Questions) -> usize {
    let passes = |epochs: f64| ((questions.steps_per_epoch() as f64 * epochs).ceil() as usize).max(1);
    match &stage.lesson {
        Loop::Evaluate(_) => 1,
        Loop::Star(star) => star.rounds,
        _ => stage.run.steps.unwrap_or_else(|| passes(stage.run.epochs)),
    }
}

fn init_seed(stage_seed: u64) -> u64 {
    seed::derive(&[stage_seed, seed::of_text("init")])
}
