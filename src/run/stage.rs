//! A stage opened: its data read, its policy loaded, its rewards built.

use crate::data::hub::Hub;
use crate::data::{Dataset, Split};
use crate::engine::Progress;
use crate::error::Result;
use crate::loops::{Context, Loop, Questions};
use crate::policy::{Policy, Reference};
use crate::recipe::Stage;
use crate::reward::{Registry, Rewards};
use crate::rollout::Prompted;
use crate::seed;
use std::path::{Path, PathBuf};
use tch::Device;

/// A stage with everything that it works on.
pub struct Opened {
    /// Its name.
    pub name: String,
    /// The pass over the list of stages, counted from 1.
    pub round: usize,
    /// Its sections.
    pub stage: Stage,
    /// Where its checkpoints go.
    pub dir: PathBuf,
    /// What its lesson works with.
    pub context: Context,
    /// The held-out questions.
    pub held_out: Vec<Prompted>,
    /// Where the reference policy lives.
    pub reference_device: Device,
    /// Steps in all.
    pub steps: usize,
    /// Tokens learned from so far.
    pub tokens: usize,
}

impl Opened {
    /// Reads the data first, because that is where users err, then loads the policy.
    pub fn open(
        name: &str,
        round: usize,
        stage: Stage,
        run_seed: u64,
        dir: &Path,
        hub: &Hub,
        registry: &Registry,
        progress: Box<dyn FnMut(&Progress)>,
    ) -> Result<Self> {
        let data = &stage.data;
        let train = match &stage.lesson {
            Loop::Evaluate(_) => None,
            _ => Some(data.load(Split::Train, hub, run_seed)?),
        };
        let eval = stage.eval.as_ref().map(|_| data.load(Split::Eval, hub, run_seed)).transpose()?;
        let rewards = Rewards::build(&stage.reward, registry, &data.format)?;
        let layout = stage.devices.open()?;

        let stage_seed = seed::derive(&[run_seed, seed::of_text(name), round as u64]);
        let policy = Policy::open(&stage.policy, hub, layout.policy, seed::derive(&[stage_seed, seed::of_text("init")]))?;
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
        let held_out = eval.as_ref().map(&questions).transpose()?.map_or_else(Vec::new, |q| q.all);
        let questions = train.as_ref().map(&questions).transpose()?.unwrap_or_default();
        if questions.dropped > 0 {
            tracing::warn!("{name}: {} prompts are longer than data.max_prompt_tokens and are left out", questions.dropped);
        }
        let steps = steps(&stage, &questions);
        let reference = match &stage.lesson {
            Loop::Grpo(grpo) if grpo.needs_reference() => Some(Reference::of(&policy, layout.reference)),
            _ => None,
        };
        let context = Context {
            policy,
            reference,
            questions,
            rewards,
            rollout: stage.rollout.clone(),
            select: stage.select.clone(),
            sampling: stage.policy.sampling.clone(),
            format: data.format.clone(),
            seed: stage_seed,
            tokens_per_microbatch: stage.optim.tokens_per_microbatch,
            progress,
        };
        Ok(Self {
            name: name.to_string(),
            round,
            stage,
            dir: dir.to_path_buf(),
            context,
            held_out,
            reference_device: layout.reference,
            steps,
            tokens: 0,
        })
    }

    /// The stage's folder in a run: its name, and its round where there are several.
    pub fn folder(name: &str, round: usize) -> String {
        if round == 1 { name.to_string() } else { format!("{name}-r{round}") }
    }
}

fn steps(stage: &Stage, questions: &Questions) -> usize {
    let passes = |epochs: f64| ((questions.steps_per_epoch() as f64 * epochs).ceil() as usize).max(1);
    match &stage.lesson {
        Loop::Evaluate(_) => 1,
        _ => stage.run.steps.unwrap_or_else(|| passes(stage.run.epochs)),
    }
}
