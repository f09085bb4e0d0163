//! What a stage takes of memory on each rank, by phase: the most of each, as its timeline measures it (`devices.trace`).

use super::beside::{Beside, On};
use super::plan::in_flight;
use crate::devices::{DeviceMap, Shard, kind_beside};
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

/// What kernels have of memory once they have run, beside what the program has when it starts: a run of a model of hardly any weights.
const KERNELS: usize = 20_000_000;

/// Bytes by what holds them.
pub(super) type Parts = Vec<(&'static str, usize)>;

/// Bytes of a rank by phase.
pub(super) struct Footprint(pub Vec<(&'static str, Parts)>);

/// What does not depend on how the model is divided.
#[derive(Clone, Copy)]
pub(super) struct Setting {
    /// Ranks that train in all, of which those of a division are some.
    pub ranks: usize,
    /// Those that are set apart.
    pub serving: usize,
    /// Where models lie.
    pub devices: DeviceMap,
    /// What the program and its libraries take where models are.
    pub program: usize,
    /// Whether the C library gives memory to tensors, and keeps some.
    pub on_cpu: bool,
}

impl Setting {
    pub fn of(stage: &Stage, ranks: usize) -> Self {
        let devices = devices(stage);
        let on_cpu = devices.policy == Device::Cpu;
        // This process is one, and has done nothing yet; looked at once, so that equal plans are equal.
        static PROGRAM: LazyLock<usize> =
            LazyLock::new(|| resident::now().map_or(0, |bytes| bytes as usize + KERNELS));
        let program = *PROGRAM;
        let serving = stage.devices.reward_ranks;
        Self { ranks, serving, devices, program: if on_cpu { program } else { 0 }, on_cpu }
    }
}

impl Footprint {
    pub fn of(
        stage: &Stage,
        shape: &Config,
        beside: &[Beside],
        setting: Setting,
        division: Division,
    ) -> Self {
        let (needs, devices) = (stage.needs(), setting.devices);
        let kind = kind(stage, &devices);
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
        let reference = match devices.reference == devices.policy {
            true => reference(stage, shape, division, &devices),
            false => State::default(),
        };
        let tokens = stage.optim.tokens_per_microbatch;
        let with_policy: Vec<&Beside> =
            beside.iter().filter(|one| one.on(&devices) == On::Rank(devices.policy)).collect();
        let asked: usize = with_policy.iter().map(|one| one.weights(kind, &devices).1).sum();
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
            let [cache, drawn] = if samples { decoding(stage, shape, kind) } else { [0, 0] };
            let scored = if needs.reference.is_some() && devices.reference == devices.policy {
                activations(shape, kind, true) * tokens + logits(shape, kind, tokens)
            } else {
                0
            };
            let scored =
                with_policy.iter().map(|one| one.passing(kind, &devices, tokens)).fold(scored, usize::max);
            phase(
                "sampling",
                vec![
                    ("weights", state.weights + state.whole),
                    ("a matrix in full", in_full),
                    ("optimiser", state.optimizer),
                    ("reference policy", reference.weights + reference.whole),
                    ("models of rewards", asked),
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
                ("models of rewards", asked),
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
                ("models of rewards", asked),
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
                ("models of rewards", asked),
                ("copies", copied + width * largest(shape) + under_way / 2),
            ],
        );
        Self(phases)
    }

    pub fn peak(&self) -> usize {
        self.0.iter().map(|(_, parts)| sum(parts)).max().unwrap_or(0)
    }

    /// What has most of the phase that has most.
    pub fn most(&self) -> &'static str {
        let phase = self.0.iter().max_by_key(|(_, parts)| sum(parts));
        let part = phase.and_then(|(_, parts)| parts.iter().max_by_key(|(_, bytes)| *bytes));
        part.map_or("", |(name, _)| name)
    }
}

/// A reference policy is divided as the policy is, with nothing to learn; one that mixes has f32 masters.
fn reference(stage: &Stage, shape: &Config, division: Division, devices: &DeviceMap) -> State {
    let wanted = stage.needs().reference;
    let kind = kind_beside(kind(stage, devices), devices.policy, devices.reference);
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
fn decoding(stage: &Stage, shape: &Config, kind: Kind) -> [usize; 2] {
    let Some((completions, longest)) = in_flight(stage) else { return [0, 0] };
    let slots = stage.policy.decode_slots.min(completions);
    let prompt = stage.data.max_prompt_tokens.unwrap_or(256).min(shape.max_position_embeddings);
    let prompts = slots.div_ceil(stage.rollout.traits().size.unwrap_or(1).max(1));
    // What several completions begin with is there once.
    let tokens = slots * longest.min(shape.max_position_embeddings) + prompts * prompt;
    let states = (slots + prompts) * remembered(shape, kind);
    [tokens * cached(shape, kind) + states, 24 * slots * shape.vocab_size]
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

pub(super) fn kind(stage: &Stage, devices: &DeviceMap) -> Kind {
    stage.policy.dtype.kind(devices.policy)
}

/// Where this machine has a stage's models; those that it has not are refused elsewhere.
fn devices(stage: &Stage) -> DeviceMap {
    let none = DeviceMap { policy: Device::Cpu, reference: Device::Cpu, reward: Device::Cpu };
    stage.devices.find(Local::ALONE).unwrap_or(none)
}

/// What holds memory, and its bytes.
type Part = (String, usize);

/// What lies elsewhere than the policy, by where: each with its bytes, behind them what comes and goes while it reads.
pub(super) fn apart(
    stage: &Stage,
    shape: &Config,
    beside: &[Beside],
    setting: Setting,
    division: Division,
) -> Vec<(On, Vec<Part>)> {
    let (devices, tokens) = (setting.devices, stage.optim.tokens_per_microbatch);
    let kind = kind(stage, &devices);
    let mut found: Vec<(On, Vec<Part>, usize)> = Vec::new();
    let mut put = |on: On, part: Part, passing: usize| {
        let at = found.iter().position(|(other, ..)| *other == on).unwrap_or(found.len());
        if at == found.len() {
            found.push((on, vec![], 0));
        }
        found[at].1.push(part);
        found[at].2 = found[at].2.max(passing);
    };
    let reference = reference(stage, shape, division, &devices);
    if devices.reference != devices.policy && reference.weights > 0 {
        let kind = kind_beside(kind, devices.policy, devices.reference);
        let passing = activations(shape, kind, true) * tokens + logits(shape, kind, tokens);
        let bytes = reference.weights + reference.whole;
        put(On::Rank(devices.reference), ("reference policy".into(), bytes), passing);
    }
    for one in beside.iter().filter(|one| one.on(&devices) != On::Rank(devices.policy)) {
        put(one.on(&devices), one.weights(kind, &devices), one.passing(kind, &devices, tokens));
    }
    let whole = |(on, mut parts, passing): (On, Vec<Part>, usize)| {
        parts.push(("what they read".into(), passing));
        (on, parts)
    };
    found.into_iter().map(whole).collect()
}

pub(super) fn sum(parts: &[(&str, usize)]) -> usize {
    parts.iter().map(|(_, bytes)| bytes).sum()
}
