//! What a stage takes of memory on each rank, by phase: the most of each, as its timeline measures it (`devices.trace`).

use super::plan::{count, in_flight, size};
use crate::devices::{Shard, machine};
use crate::loops::ReferenceKind;
use crate::model::Config;
use crate::model::memory::{
    Division, State, Trained, activations, cached, logits, outside, quantised, remembered,
};
use crate::optim::TOGETHER;
use crate::ranks::{Local, resident, sums_under_way};
use crate::recipe::Stage;
use std::sync::LazyLock;
use tch::{Device, Kind};

/// The most ranks of a layout that is proposed.
const MOST: usize = 1024;

/// What kernels have of memory once they have run, beside what the program has when it starts: a run of a model of hardly any weights.
const KERNELS: usize = 20_000_000;

/// Bytes by what holds them.
type Parts = Vec<(&'static str, usize)>;

/// Bytes of a rank by phase.
struct Footprint(Vec<(&'static str, Parts)>);

/// What does not depend on how the model is divided.
#[derive(Clone, Copy)]
struct Setting {
    /// Ranks in all, of which those of a division are some.
    ranks: usize,
    /// What the program and its libraries take where models are.
    program: usize,
    /// Whether the C library gives memory to tensors, and keeps some.
    on_cpu: bool,
}

impl Setting {
    fn of(stage: &Stage, ranks: usize) -> Self {
        let on_cpu = stage.devices.find(Local::ALONE).is_ok_and(|layout| layout.policy == Device::Cpu);
        // This process is one, and has done nothing yet; looked at once, so that equal plans are equal.
        static PROGRAM: LazyLock<usize> =
            LazyLock::new(|| resident::now().map_or(0, |bytes| bytes as usize + KERNELS));
        let program = *PROGRAM;
        Self { ranks, program: if on_cpu { program } else { 0 }, on_cpu }
    }
}

impl Footprint {
    fn of(stage: &Stage, shape: &Config, setting: Setting, division: Division) -> Self {
        let (kind, needs) = (kind(stage), stage.needs());
        let (width, all) = (kind.elt_size_in_bytes(), shape.size());
        let learned = trained(stage, shape);
        let mut state = State::of(shape, kind, learned, division);
        let trained = learned.weights;
        let layer = width * (all - outside(shape)) / shape.num_hidden_layers.max(1);
        // Of what is in four bits a matrix at a time is read in full, and a layer while the model is opened; a new model is there in full first.
        let (mut opened, mut in_full, mut on_its_way) = (width * all, 0, 0);
        if stage.policy.quantize.is_some() {
            [state.weights, in_full] = quantised(shape, kind);
            if stage.policy.init.is_none() {
                (opened, on_its_way) = (state.weights, layer);
            }
        }
        let divided = state.whole > 0;
        let reference = reference(stage, shape, division);
        let tokens = stage.optim.tokens_per_microbatch;
        let looked_at = if needs.rows_alone { 0 } else { state.whole + reference.whole };
        let mut phases = Vec::new();
        let mut phase = |name, parts: Parts| {
            phases.push((name, [vec![("program and libtorch", setting.program)], parts].concat()));
        };
        // A new model's weights are drawn in f32, twice; those that are read are copied once.
        let drawn = if stage.policy.init.is_some() { 8 } else { width } * largest(shape);
        phase(
            "opening",
            vec![
                ("weights", opened),
                ("reference policy", reference.weights + reference.whole),
                ("a tensor on its way", drawn + on_its_way),
            ],
        );
        let samples = needs.rollouts && stage.rollout.traits().endpoint.is_none();
        if samples || !needs.rows_alone || stage.eval.is_some() {
            let [cache, drawn] = if samples { decoding(stage, shape) } else { [0, 0] };
            let scored = if needs.reference.is_some() {
                activations(shape, kind, true) * tokens + logits(shape, kind, tokens)
            } else {
                0
            };
            phase(
                "sampling",
                vec![
                    ("weights", state.weights + state.whole),
                    ("a matrix in full", in_full),
                    ("optimiser", state.optimizer),
                    ("reference policy", reference.weights + reference.whole),
                    ("KV cache", cache),
                    ("logits", drawn.max(scored)),
                ],
            );
        }
        if !needs.trains {
            return Self(phases);
        }
        let per_token = activations(shape, kind, stage.policy.gradient_checkpointing);
        let computed = per_token * tokens + logits(shape, kind, tokens);
        // Those of a micro-batch are there beside the sums of the ones before it, unless they are added to in place.
        let fresh = if kind == Kind::Float || divided { 0 } else { trained * width };
        let learning = state.gradients + state.optimizer;
        let kept = if setting.on_cpu && !divided { kept(shape, kind, tokens, per_token * tokens) } else { 0 };
        phase(
            "learning",
            vec![
                ("weights", state.weights),
                ("a matrix in full", in_full),
                ("gradients and optimiser", learning + fresh),
                ("activations", computed),
                ("layers gathered", state.learning(computed) - state.weights - learning - computed),
                ("reference policy", reference.weights),
                ("kept by the C library", kept),
            ],
        );
        // Slices are sums already, but for those of other copies.
        let summed = match division.shard {
            Shard::Parameters => setting.ranks > division.ranks,
            _ => setting.ranks > 1,
        };
        let under_way = if summed { sums_under_way(4 * trained / division.parts()) } else { 0 };
        let spread = match division.shard {
            Shard::Optimizer if division.ranks > 1 => 3 * width * trained.min(TOGETHER as usize),
            _ => 0,
        };
        phase(
            "update",
            vec![
                ("weights", state.weights),
                ("gradients and optimiser", learning),
                ("under way", under_way + spread),
                ("reference policy", reference.weights),
            ],
        );
        let copied = match (divided, &stage.policy.lora) {
            // Two that are gathered, what libtorch has of one on its way, the one that is written and what goes into its file.
            (true, _) => 5 * layer.max(width * outside(shape)),
            // A matrix with which its adapter is merged, as its turn comes: what is added, to what, and their sum, in f32.
            (false, Some(_)) => in_full + 12 * largest_of_layers(shape),
            (false, None) => 0,
        };
        phase(
            "saving",
            vec![
                ("weights", state.weights + looked_at.min(state.whole)),
                ("optimiser", state.optimizer),
                ("reference policy", reference.weights + looked_at.min(reference.whole)),
                ("copies", copied + width * largest(shape) + under_way / 2),
            ],
        );
        Self(phases)
    }

    fn peak(&self) -> usize {
        self.0.iter().map(|(_, parts)| sum(parts)).max().unwrap_or(0)
    }

    /// What has most of the phase that has most.
    fn most(&self) -> &'static str {
        let phase = self.0.iter().max_by_key(|(_, parts)| sum(parts));
        let part = phase.and_then(|(_, parts)| parts.iter().max_by_key(|(_, bytes)| *bytes));
        part.map_or("", |(name, _)| name)
    }
}

/// A reference policy is divided as the policy is, with nothing to learn; one that mixes has f32 masters.
fn reference(stage: &Stage, shape: &Config, division: Division) -> State {
    let (kind, wanted) = (kind(stage), stage.needs().reference);
    let fixed = wanted == Some(ReferenceKind::Fixed);
    if wanted.is_none() || (fixed && stage.policy.lora.is_some()) {
        return State::default();
    }
    let mut reference = State::of(shape, kind, Trained::default(), division);
    if wanted == Some(ReferenceKind::Mixes) && kind != Kind::Float {
        let masters = State::of(shape, Kind::Float, Trained::default(), division);
        reference.weights += masters.weights;
        reference.whole += masters.whole;
    }
    reference
}

/// Keys, values and states, and the logits of a step: in f32, divided, as log-probabilities and added up in f64.
fn decoding(stage: &Stage, shape: &Config) -> [usize; 2] {
    let Some((completions, longest)) = in_flight(stage) else { return [0, 0] };
    let slots = stage.policy.decode_slots.min(completions);
    let prompt = stage.data.max_prompt_tokens.unwrap_or(256).min(shape.max_position_embeddings);
    let prompts = slots.div_ceil(stage.rollout.traits().size.unwrap_or(1).max(1));
    // What several completions begin with is there once.
    let tokens = slots * longest.min(shape.max_position_embeddings) + prompts * prompt;
    let states = (slots + prompts) * remembered(shape, kind(stage));
    [tokens * cached(shape, kind(stage)) + states, 24 * slots * shape.vocab_size]
}

/// Holes between tensors that come and go, where they are too small to have pages of their own: what was measured on glibc 2.36.
fn kept(shape: &Config, kind: Kind, tokens: usize, activations: usize) -> usize {
    let tensor = tokens * shape.hidden_size.max(shape.mlp_width() as usize) * kind.elt_size_in_bytes();
    if tensor > OWN_PAGES { 0 } else { activations * 3 / 10 }
}

/// Tensors of at least so many bytes have pages of their own, whatever was freed before (M_MMAP_THRESHOLD of mallopt(3)).
const OWN_PAGES: usize = 32 << 20;

/// The largest tensor's number of elements.
fn largest(shape: &Config) -> usize {
    largest_of_layers(shape).max(shape.hidden_size * shape.vocab_size)
}

/// That of a linear map of a layer.
fn largest_of_layers(shape: &Config) -> usize {
    let queries =
        shape.num_attention_heads * shape.head_dim * if shape.family.attention_gate { 2 } else { 1 };
    let delta = shape.form().ok().and_then(|form| form.delta);
    let delta = delta.map_or(0, |spec| spec.channels() + spec.value_heads * spec.value_dim);
    shape.hidden_size * shape.intermediate_size.max(queries).max(delta)
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
    let (footprint, setting) = planned(stage, shape, ranks);
    let format = if kind(stage) == Kind::Float { "f32" } else { "bf16" };
    let packed = if stage.policy.quantize.is_some() { ", the layers' matrices in nf4" } else { "" };
    let mut lines = vec![format!(
        "memory: about {} for {} parameters in {format}{packed}",
        size(footprint.peak()),
        count(shape.size())
    )];
    for (phase, parts) in &footprint.0 {
        let listed = parts.iter().filter(|(_, bytes)| *bytes > 0);
        let listed: Vec<String> = listed.map(|(name, bytes)| format!("{name} {}", size(*bytes))).collect();
        lines.push(format!("{phase} {}: {}", size(sum(parts)), listed.join(", ")));
    }
    lines.extend(excess(stage, shape, &footprint, setting).map(|misfit| format!("that {misfit}")));
    lines
}

/// That a stage takes more than this machine has, and what would take less; nothing where it fits.
pub(super) fn too_large(stage: &Stage, shape: &Config, ranks: usize) -> Option<String> {
    let (footprint, setting) = planned(stage, shape, ranks);
    let misfit = excess(stage, shape, &footprint, setting)?;
    Some(format!("the memory of about {} that it takes {misfit}", size(footprint.peak())))
}

fn planned(stage: &Stage, shape: &Config, ranks: usize) -> (Footprint, Setting) {
    let setting = Setting::of(stage, ranks);
    let among = (ranks / stage.devices.replicas).max(1);
    (Footprint::of(stage, shape, setting, Division { shard: stage.devices.shard, ranks: among }), setting)
}

fn excess(stage: &Stage, shape: &Config, footprint: &Footprint, setting: Setting) -> Option<String> {
    let there = there(setting).filter(|there| footprint.peak() > *there)?;
    let undivided = stage.needs().undivided;
    let peak = |layout: Division| match layout.shard {
        Shard::Parameters if undivided => usize::MAX,
        _ => Footprint::of(stage, shape, Setting { ranks: layout.ranks, ..setting }, layout).peak(),
    };
    Some(misfit(nearest(setting.ranks, there, peak), there, setting.ranks, footprint.most()))
}

/// What there is for each of the ranks that this machine would run, where their device is its processor.
fn there(setting: Setting) -> Option<usize> {
    let all = machine::bytes("MemTotal").filter(|_| setting.on_cpu)?;
    Some(all / setting.ranks)
}

/// The nearest layout that fits: less whole on every rank, then more ranks with as much each; with what it takes.
fn nearest(ranks: usize, there: usize, peak: impl Fn(Division) -> usize) -> Option<(Division, usize)> {
    let more = std::iter::successors(Some(ranks), |ranks| Some(2 * ranks)).take_while(|n| *n <= MOST);
    let layouts = more.flat_map(|ranks| Shard::ALL.map(|shard| Division { shard, ranks }));
    layouts.map(|layout| (layout, peak(layout))).find(|(_, peak)| *peak <= there)
}

/// That it does not fit, what takes most of it, and which layout would fit.
fn misfit(nearest: Option<(Division, usize)>, there: usize, ranks: usize, most: &str) -> String {
    let place = if ranks > 1 { "which each rank has here" } else { "of this machine" };
    let less = match most {
        "activations" | "kept by the C library" => {
            "policy.gradient_checkpointing = true or a lower optim.tokens_per_microbatch"
        }
        "KV cache" | "logits" => "a lower policy.decode_slots",
        "gradients and optimiser" | "optimiser" => "[policy.lora] or optim.moments = \"8bit\"",
        _ => "a smaller model",
    };
    let divided = match nearest {
        Some((Division { shard, ranks }, peak)) => format!(
            "devices.shard = \"{}\" on {ranks} rank(s) with as much each takes {}",
            shard.name(),
            size(peak)
        ),
        None => format!("no layout of up to {MOST} ranks fits"),
    };
    format!(
        "does not fit the {} {place}; most of it is {most}, which {less} would lower; {divided}",
        size(there)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 16 bytes a parameter, of which 12 are divided by the optimiser's share and all by the parameters'.
    #[test]
    fn the_nearest_layout_divides_before_it_takes_more_ranks() {
        let peak = |Division { shard, ranks }: Division| match shard {
            Shard::None => 1600,
            Shard::Optimizer => 400 + 1200 / ranks,
            Shard::Parameters => 100 + 1600 / ranks,
        };
        let found = |ranks, there| {
            nearest(ranks, there, peak).map(|(layout, peak)| (layout.shard, layout.ranks, peak))
        };
        assert_eq!(found(2, 1000), Some((Shard::Optimizer, 2, 1000)));
        assert_eq!(found(2, 999), Some((Shard::Parameters, 2, 900)));
        // On four ranks the optimiser's share alone would take 700.
        assert_eq!(found(2, 800), Some((Shard::Optimizer, 4, 700)));
        assert_eq!(found(2, 150), Some((Shard::Parameters, 32, 150)));
        assert_eq!(found(2, 100), None);
    }

    #[test]
    fn what_does_not_fit_is_said_with_what_would() {
        let layout = Division { shard: Shard::Parameters, ranks: 8 };
        let said = misfit(Some((layout, 2_000_000_000)), 3_000_000_000, 2, "gradients and optimiser");
        assert_eq!(
            said,
            "does not fit the 3.0 GB which each rank has here; most of it is gradients and optimiser, which [policy.lora] or optim.moments = \
             \"8bit\" would lower; devices.shard = \"parameters\" on 8 rank(s) with as much each takes 2.0 GB"
        );
        let said = misfit(None, 3_000_000_000, 1, "weights");
        assert_eq!(
            said,
            "does not fit the 3.0 GB of this machine; most of it is weights, which a smaller model would lower; no layout of up to 1024 ranks fits"
        );
    }
}
