//! What `--dry-run` says: the stages, the tokens of a step, and the memory that they need. Nothing heavy is loaded.

use crate::data::hub::Hub;
use crate::devices::Shard;
use crate::loops::ReferenceKind;
use crate::model::Config;
use crate::model::memory::{PerParameter, activations, cached, logits};
use crate::policy::PolicyConfig;
use crate::recipe::Stage;
use std::fmt::Write;
use tch::{Device, Kind};

/// One stage of the plan.
#[derive(Debug)]
pub struct Planned<'a> {
    /// The pass over the list of stages, counted from 1.
    pub round: usize,
    /// The stage's name.
    pub name: &'a str,
    /// Its sections.
    pub stage: &'a Stage,
}

/// The plan as text, for so many ranks.
pub fn describe(plan: &[Planned], hub: &Hub, ranks: usize) -> String {
    let mut out = String::from("# Plan\n");
    if ranks > 1 {
        let _ = writeln!(out, "#\n# {ranks} ranks, which share a step's questions; memory is that of each");
    }
    for (index, Planned { round, name, stage }) in plan.iter().enumerate() {
        let _ = writeln!(
            out,
            "#\n# {}. {name} (round {round}): loop.{}, {}",
            index + 1,
            stage.method.name(),
            work(stage)
        );
        if stage.needs().trains || stage.needs().rollouts {
            let _ = writeln!(out, "#    {}", tokens(stage));
        }
        let shape = shape(plan, index, hub);
        let _ = writeln!(out, "#    {}", shape.map_or_else(unknown, |shape| memory(stage, &shape, ranks)));
    }
    out
}

fn work(stage: &Stage) -> String {
    match (stage.needs().work, stage.run.steps) {
        (Some(work), _) => work,
        (None, Some(steps)) => format!("{steps} steps of {} prompts", stage.data.prompts_per_step),
        (None, None) => format!(
            "{} pass(es) over the data, {} prompts a step",
            stage.run.epochs, stage.data.prompts_per_step
        ),
    }
}

fn tokens(stage: &Stage) -> String {
    let (needs, prompts) = (stage.needs(), sampled_together(stage));
    match (needs.step, stage.rollout.traits().size) {
        (Some(step), _) => step,
        (None, Some(size)) if needs.rollouts && stage.rollout.traits().endpoint.is_some() => {
            format!("a step asks an endpoint for {prompts} × {size} = {} completions", prompts * size)
        }
        (None, Some(size)) if needs.rollouts => format!(
            "a step samples {prompts} × {size} = {} completions of at most {} tokens: {} tokens",
            prompts * size,
            stage.policy.sampling.max_new_tokens,
            prompts * size * stage.policy.sampling.max_new_tokens
        ),
        _ => format!("a step reads {prompts} rows, {} tokens at a time", stage.optim.tokens_per_microbatch),
    }
}

/// Completions that may be under way together, and the tokens of the longest.
fn in_flight(stage: &Stage) -> Option<(usize, usize)> {
    let of_rollout = || Some((stage.rollout.traits().size?, stage.policy.sampling.max_new_tokens));
    let (each, longest) = stage.needs().in_flight.or_else(of_rollout)?;
    Some((sampled_together(stage) * each, longest))
}

fn sampled_together(stage: &Stage) -> usize {
    stage.needs().together.unwrap_or(stage.data.prompts_per_step)
}

fn unknown() -> String {
    "memory: not known before the model is there (an earlier stage makes it, or the hub has it)".into()
}

/// The model's shape where it can be known now: from sizes, or from a config.json at hand; `@stage` is looked up.
fn shape(plan: &[Planned], index: usize, hub: &Hub) -> Option<Config> {
    let config: &PolicyConfig = &plan[index].stage.policy;
    if let Some(init) = &config.init {
        let tokenizer = init.tokenizer().ok()?;
        return Some(init.shape(tokenizer.vocab_size()));
    }
    let model = config.model.as_deref()?;
    match model.strip_prefix('@') {
        Some(name) => {
            let earlier = plan[..index].iter().rposition(|planned| planned.name == name)?;
            shape(plan, earlier, hub)
        }
        None => Config::read(&hub.at_hand(model)?).ok(),
    }
}

/// Bytes by what holds them, on one of so many ranks.
fn memory(stage: &Stage, shape: &Config, ranks: usize) -> String {
    let kind = stage.policy.dtype.kind(Device::Cpu);
    let each = PerParameter::of(kind);
    let parameters = shape.size();
    let trained = stage.policy.lora.as_ref().map_or(parameters, |lora| lora.size(shape));
    let mut parts = vec![("weights", parameters * each.weight)];
    if stage.needs().trains {
        let among = match stage.devices.shard {
            Shard::None => 1,
            Shard::Optimizer => ranks,
        };
        parts.push((
            "gradients and optimiser",
            trained * each.gradient + trained * (each.training() - each.gradient) / among,
        ));
        let per_token = activations(shape, kind, stage.policy.gradient_checkpointing);
        let tokens = stage.optim.tokens_per_microbatch;
        parts.push(("activations", per_token * tokens + logits(shape, kind, tokens)));
    }
    let needs = stage.needs();
    let fixed = needs.reference == Some(ReferenceKind::Fixed);
    if needs.reference.is_some() && (!fixed || stage.policy.lora.is_none()) {
        let master = if needs.reference == Some(ReferenceKind::Mixes) { each.master } else { 0 };
        parts.push(("reference policy", parameters * (each.weight + master)));
    }
    let samples = needs.rollouts && stage.rollout.traits().endpoint.is_none();
    if let (true, Some((completions, longest))) = (samples, in_flight(stage)) {
        let slots = stage.policy.decode_slots.min(completions);
        let prompt = stage.data.max_prompt_tokens.unwrap_or(256).min(shape.max_position_embeddings);
        let length = (prompt + longest).min(shape.max_position_embeddings);
        parts.push(("KV cache", slots * length * cached(shape, kind)));
    }
    let total: usize = parts.iter().map(|(_, bytes)| bytes).sum();
    let listed: Vec<String> = parts.iter().map(|(name, bytes)| format!("{name} {}", size(*bytes))).collect();
    format!(
        "memory: about {} for {} parameters in {}: {}",
        size(total),
        count(parameters),
        if kind == Kind::Float { "f32" } else { "bf16" },
        listed.join(", ")
    )
}

fn size(bytes: usize) -> String {
    match bytes as f64 {
        b if b >= 1e9 => format!("{:.1} GB", b / 1e9),
        b if b >= 1e6 => format!("{:.0} MB", b / 1e6),
        b => format!("{:.0} kB", b / 1e3),
    }
}

fn count(parameters: usize) -> String {
    match parameters as f64 {
        n if n >= 1e9 => format!("{:.1}B", n / 1e9),
        n if n >= 1e6 => format!("{:.1}M", n / 1e6),
        n => format!("{:.0}k", n / 1e3),
    }
}
