//! What needs an NVIDIA GPU: `make gpu-check` runs these one by one. Each prints its figure as its last line, or
//! `skip: why` where there is no GPU.

use crate::skip::skip;
use rationale::devices::Devices;
use rationale::engine::{Decoder, Request, Sampler, Sampling, Stops};
use rationale::model::{Config, Grad, Model, Sequence};
use rationale::optim::{AdamW, Optim};
use tch::{Device, Kind, Tensor};

/// The device to test; where there is none, the test of this name is skipped.
fn gpu(test: &str) -> Option<Device> {
    let name = std::env::var("RATIONALE_DEVICE").unwrap_or_else(|_| "cuda:0".into());
    match (Devices { policy: name, ..Devices::default() }).open(rationale::ranks::Local::ALONE) {
        Ok(layout) if layout.policy.is_cuda() => Some(layout.policy),
        other => {
            let reason =
                other.map_or_else(|error| error.to_string(), |_| "RATIONALE_DEVICE names no GPU".into());
            skip(test, &reason);
            None
        }
    }
}

fn shape() -> Config {
    Config {
        vocab_size: 512,
        hidden_size: 128,
        intermediate_size: 256,
        num_hidden_layers: 3,
        num_attention_heads: 4,
        num_key_value_heads: 2,
        head_dim: 32,
        max_position_embeddings: 512,
        ..Config::default()
    }
}

fn sequences() -> Vec<Sequence> {
    let tokens = |n: u32, k: u32| (0..n).map(|i| (i * 37 + k * 101) % 512).collect::<Vec<u32>>();
    [(40, 8), (33, 5), (64, 20), (12, 1)]
        .iter()
        .enumerate()
        .map(|(k, &(n, prompt))| {
            let tokens = tokens(n, k as u32);
            Sequence::new(&tokens[..prompt], &tokens[prompt..])
        })
        .collect()
}

fn on(device: Device, kind: Kind) -> Model {
    Model::init(shape(), kind, device, 5).expect("the shape is consistent")
}

fn values(t: &Tensor) -> Vec<f64> {
    Vec::try_from(t.to_device(Device::Cpu).to_kind(Kind::Double).view(-1)).expect("a vector of doubles")
}

/// max |a − b| / max |b|.
fn distance(a: &Tensor, b: &Tensor) -> f64 {
    let (a, b) = (values(a), values(b));
    assert_eq!(a.len(), b.len());
    let largest = b.iter().fold(0.0f64, |m, x| m.max(x.abs()));
    a.iter().zip(&b).fold(0.0f64, |m, (x, y)| m.max((x - y).abs())) / largest
}

/// Log-probabilities and all gradients of their sum.
fn scored(model: &Model) -> (Tensor, Vec<(String, Tensor)>) {
    model.train_all();
    let scored = model.score(&sequences(), 0.7, Grad::Yes).expect("the sequences fit");
    let logprobs = scored.logprobs.detach().copy();
    let loss = scored.logprobs.sum(Kind::Float);
    scored.backward(&loss).expect("it has a graph");
    (logprobs, model.parameters().into_iter().map(|(name, t)| (name, t.grad())).collect())
}

#[test]
fn gpu_scores_and_gradients_are_the_cpus() {
    let Some(device) = gpu("gpu_scores_and_gradients_are_the_cpus") else { return };
    let (expected, expected_gradients) = scored(&on(Device::Cpu, Kind::Float));
    let (found, gradients) = scored(&on(device, Kind::Float));
    let mut worst = distance(&found, &expected);
    assert_eq!(gradients.len(), expected_gradients.len());
    for ((name, gradient), (_, expected)) in gradients.iter().zip(&expected_gradients) {
        let off = distance(gradient, expected);
        assert!(off < 1e-3, "{name}: {off}");
        worst = worst.max(off);
    }
    assert!(worst < 1e-3);
    println!("greatest relative difference in f32: {worst:.1e}");
}

#[test]
fn gpu_bf16_is_near_f32() {
    let Some(device) = gpu("gpu_bf16_is_near_f32") else { return };
    let (expected, _) = scored(&on(Device::Cpu, Kind::Float));
    let (found, _) = scored(&on(device, Kind::BFloat16));
    // bf16 has 8 bits of mantissa: 0.4 % a rounding, several of which add up over three layers.
    let off = distance(&found, &expected);
    assert!(off < 0.05, "{off}");
    println!("greatest relative difference of a log-probability in bf16: {off:.1e}");
}

#[test]
fn gpu_checkpointing_changes_no_gradient() {
    let Some(device) = gpu("gpu_checkpointing_changes_no_gradient") else { return };
    let (_, plain) = scored(&on(device, Kind::Float));
    let mut model = on(device, Kind::Float);
    model.checkpointing = true;
    let (_, again) = scored(&model);
    assert_eq!(plain.len(), again.len());
    let worst = plain.iter().zip(&again).map(|((_, a), (_, b))| distance(b, a)).fold(0.0, f64::max);
    assert!(worst < 1e-4, "{worst}");
    println!("greatest relative difference: {worst:.1e}");
}

fn decoded(device: Device, temperature: f64) -> Vec<Vec<u32>> {
    let model = on(device, Kind::Float);
    let requests: Vec<Request> = (0..5u64)
        .map(|k| Request {
            prompt: (1..10 + k as u32).collect(),
            seeds: (0..4).map(|s| 10 * k + s).collect(),
        })
        .collect();
    let sampling = Sampling { max_new_tokens: 24, temperature, top_p: 0.95, ..Sampling::default() };
    let mut decoder = Decoder::new(&model, Stops::at(&[0]), 8);
    let generated = decoder.generate(&requests, &sampling, &mut |_| {}).expect("the requests fit");
    generated.completions.into_iter().flatten().map(|c| c.tokens).collect()
}

#[test]
fn gpu_decodes_the_cpus_tokens() {
    let Some(device) = gpu("gpu_decodes_the_cpus_tokens") else { return };
    let same = |temperature| {
        let (ours, theirs) = (decoded(device, temperature), decoded(Device::Cpu, temperature));
        assert_eq!((ours.len(), theirs.len()), (5 * 4, 5 * 4));
        let equal = ours.iter().zip(&theirs).filter(|(a, b)| a == b).count();
        equal as f64 / ours.len() as f64
    };
    let (greedy, sampled) = (same(0.0), same(1.0));
    // A rounding difference may tip a token now and then, and all that follow it.
    assert!(greedy >= 0.9 && sampled >= 0.9, "{greedy} {sampled}");
    println!(
        "completions equal to the CPU's: greedy {:.0} %, sampled {:.0} %",
        100.0 * greedy,
        100.0 * sampled
    );
}

#[test]
fn gpu_training_lowers_the_loss() {
    let Some(device) = gpu("gpu_training_lowers_the_loss") else { return };
    for kind in [Kind::Float, Kind::BFloat16] {
        let model = on(device, kind);
        model.train_all();
        let optim = Optim { lr: Some(1e-3), ..Optim::default() };
        let mut adamw = AdamW::new(model.parameters(), &optim).expect("parameters train");
        let mut losses = Vec::new();
        for _ in 0..30 {
            let scored = model.score(&sequences(), 1.0, Grad::Yes).expect("the sequences fit");
            let loss = -scored.logprobs.mean(Kind::Float);
            losses.push(loss.double_value(&[]));
            scored.backward(&loss).expect("it has a graph");
            adamw.accumulate().expect("gradients");
            adamw.clip(1.0).expect("finite");
            adamw.step(1e-3).expect("a step");
            adamw.zero_grad().expect("no gradients left");
        }
        let (first, last) = (losses[0], losses[29]);
        // The sequences are fixed, so a model that learns at all remembers part of them.
        assert!(last < first - 1.0, "{kind:?}: {first} to {last}");
        println!("{kind:?}: loss {first:.2} to {last:.2} in 30 steps");
    }
}
