//! What a stage takes of memory on each rank, by phase: while it learns, and while it samples or is evaluated.

use super::plan::{count, in_flight, size};
use crate::devices::{Shard, machine};
use crate::loops::ReferenceKind;
use crate::model::Config;
use crate::model::memory::{Division, State, Trained, activations, cached, logits, quantised};
use crate::ranks::Local;
use crate::recipe::Stage;
use tch::{Device, Kind};

/// The most ranks of a layout that is proposed.
const MOST: usize = 1024;

/// Bytes of a rank by what holds them.
struct Footprint {
    learning: Vec<(&'static str, usize)>,
    sampling: Vec<(&'static str, usize)>,
}

impl Footprint {
    fn of(stage: &Stage, shape: &Config, division: Division) -> Self {
        let kind = kind(stage);
        let needs = stage.needs();
        let mut state = State::of(shape, kind, trained(stage, shape), division);
        let mut in_full = 0;
        if stage.policy.quantize.is_some() {
            [state.weights, in_full] = quantised(shape, kind);
        }
        let fixed = needs.reference == Some(ReferenceKind::Fixed);
        let own = needs.reference.is_some() && (!fixed || stage.policy.lora.is_none());
        // A reference is divided as the policy is, with nothing to learn; one that mixes has f32 masters.
        let mut reference =
            if own { State::of(shape, kind, Trained::default(), division) } else { State::default() };
        if own && needs.reference == Some(ReferenceKind::Mixes) && kind != Kind::Float {
            let masters = State::of(shape, Kind::Float, Trained::default(), division);
            reference.weights += masters.weights;
            reference.whole += masters.whole;
        }
        let mut learning = vec![("weights", state.weights)];
        if needs.trains {
            let tokens = stage.optim.tokens_per_microbatch;
            let per_token = activations(shape, kind, stage.policy.gradient_checkpointing);
            let activations = per_token * tokens + logits(shape, kind, tokens);
            learning.push(("gradients and optimiser", state.gradients + state.optimizer));
            learning.push(("activations", activations));
            let parts = sum(&learning);
            learning.push(("layers gathered", state.learning(activations) - parts));
        }
        learning.push(("a matrix in full", in_full));
        learning.push(("reference policy", reference.weights));
        let samples = needs.rollouts && stage.rollout.traits().endpoint.is_none();
        let cache = match in_flight(stage).filter(|_| samples) {
            None => 0,
            Some((completions, longest)) => {
                let slots = stage.policy.decode_slots.min(completions);
                let prompt = stage.data.max_prompt_tokens.unwrap_or(256).min(shape.max_position_embeddings);
                let length = (prompt + longest).min(shape.max_position_embeddings);
                slots * length * cached(shape, kind)
            }
        };
        let mut sampling = vec![("weights", state.weights + state.whole)];
        sampling.push(("a matrix in full", in_full));
        sampling.push(("optimiser", state.optimizer));
        sampling.push(("reference policy", reference.weights + reference.whole));
        sampling.push(("KV cache", cache));
        let looks = samples || !needs.rows_alone || stage.eval.is_some();
        if !looks {
            sampling.clear();
        }
        Self { learning: if needs.trains { learning } else { vec![] }, sampling }
    }

    fn peak(&self) -> usize {
        sum(&self.learning).max(sum(&self.sampling))
    }
}

/// What of the policy the stage trains.
pub(super) fn trained(stage: &Stage, shape: &Config) -> Trained {
    if !stage.needs().trains {
        return Trained::default();
    }
    let tensors = shape.trained(stage.policy.lora.as_ref());
    let weights = tensors.iter().map(|(size, _)| size).sum();
    Trained { weights, remembered: stage.optim.remembered(&tensors) }
}

fn kind(stage: &Stage) -> Kind {
    stage.policy.dtype.kind(Device::Cpu)
}

fn sum(parts: &[(&str, usize)]) -> usize {
    parts.iter().map(|(_, bytes)| bytes).sum()
}

/// The phases in words, and where this machine has less, what would do.
pub(super) fn words(stage: &Stage, shape: &Config, ranks: usize) -> Vec<String> {
    let among = (ranks / stage.devices.replicas).max(1);
    let own = Division { shard: stage.devices.shard, ranks: among };
    let footprint = Footprint::of(stage, shape, own);
    let format = if kind(stage) == Kind::Float { "f32" } else { "bf16" };
    let packed = if stage.policy.quantize.is_some() { ", the layers' matrices in nf4" } else { "" };
    let mut lines = vec![format!(
        "memory: about {} for {} parameters in {format}{packed}",
        size(footprint.peak()),
        count(shape.size())
    )];
    for (phase, parts) in [("learning", &footprint.learning), ("sampling", &footprint.sampling)] {
        let listed = parts.iter().filter(|(_, bytes)| *bytes > 0);
        let listed: Vec<String> = listed.map(|(name, bytes)| format!("{name} {}", size(*bytes))).collect();
        if !listed.is_empty() {
            lines.push(format!("{phase} {}: {}", size(sum(parts)), listed.join(", ")));
        }
    }
    lines.extend(there(stage, ranks).and_then(|there| misfit(stage, shape, own, footprint.peak(), there)));
    lines
}

/// What there is for each of the ranks that this machine would run, where their device is its processor.
fn there(stage: &Stage, ranks: usize) -> Option<usize> {
    let cpu = stage.devices.find(Local::ALONE).is_ok_and(|layout| layout.policy == Device::Cpu);
    cpu.then(|| machine::bytes("MemTotal").map(|bytes| bytes / ranks))?
}

/// That it does not fit, and the nearest layout that does: less whole on every rank, then more ranks with as much each.
fn misfit(stage: &Stage, shape: &Config, own: Division, peak: usize, there: usize) -> Option<String> {
    if peak <= there {
        return None;
    }
    let more = std::iter::successors(Some(own.ranks), |ranks| Some(2 * ranks)).take_while(|n| *n <= MOST);
    let layouts = more.flat_map(|ranks| Shard::ALL.map(|shard| Division { shard, ranks }));
    let mut fitting = layouts.map(|layout| (layout, Footprint::of(stage, shape, layout).peak()));
    let nearest = match fitting.find(|(_, peak)| *peak <= there) {
        Some((Division { shard, ranks }, peak)) => format!(
            "devices.shard = \"{}\" on {ranks} rank(s) with as much each takes {}",
            shard.name(),
            size(peak)
        ),
        None => format!("no layout of up to {MOST} ranks does"),
    };
    Some(format!("that does not fit the {} which each rank has here; {nearest}", size(there)))
}
