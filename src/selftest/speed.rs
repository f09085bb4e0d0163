//! How fast the device is: matrix products, sampling at several batch sizes, a training step. For the reader; nothing here fails.

use super::{Bench, Figure, tiny};
use crate::Result;
use crate::devices::{cuda, native_kind};
use crate::engine::{Decoder, Request, Sampler, Sampling, Stops};
use crate::model::{Config, Grad, Model, Sequence};
use crate::optim::{Optim, Optimizer};
use crate::scale::qwen3_600m;
use std::time::Instant;
use tch::{Cuda, Device, Kind, Tensor};

/// What is measured with: small enough for a CPU's minute, or large enough to keep a GPU busy.
struct Load {
    name: &'static str,
    shape: fn() -> Config,
    /// Rows and columns of the products.
    side: i64,
    /// Sequences sampled at once.
    batches: &'static [usize],
    new_tokens: usize,
    /// Sequences of a training step, and their tokens.
    sequences: usize,
    length: usize,
}

const CPU: Load = Load {
    name: "SmolLM2-135M's shape",
    shape: smollm2_135m,
    side: 1536,
    batches: &[1, 8, 32],
    new_tokens: 32,
    sequences: 4,
    length: 128,
};
const GPU: Load = Load {
    name: "Qwen3-0.6B's shape",
    shape: qwen3_600m,
    side: 8192,
    batches: &[1, 32, 256],
    new_tokens: 128,
    sequences: 8,
    length: 1024,
};

/// Dense bf16 products of tensor cores in FLOP/s, by what the device's name contains: the makers' data sheets, SXM modules.
const PEAKS: [(&str, f64); 8] = [
    ("B200", 2250e12),
    ("H200", 989e12),
    ("H100", 989e12),
    ("A100", 312e12),
    ("L40S", 362e12),
    ("L4", 121e12),
    ("A10", 125e12),
    ("RTX 4090", 165e12),
];

/// As the first line says.
pub fn check(bench: &Bench) -> Result<Vec<Figure>> {
    let load = if bench.device.is_cuda() { &GPU } else { &CPU };
    let kind = native_kind(bench.device);
    let mut figures = Vec::new();
    let mut fastest: f64 = 0.0;
    for (name, format) in [("f32", Kind::Float), ("bf16", Kind::BFloat16)] {
        if format == Kind::BFloat16 && kind != Kind::BFloat16 {
            continue;
        }
        let flops = products(load.side, format, bench.device);
        fastest = fastest.max(flops);
        figures.push(Figure::plain(format!("{name} products, GFLOP/s"), flops / 1e9));
    }
    let model = Model::init((load.shape)(), kind, bench.device, 0)?;
    let format = if kind == Kind::Float { "f32" } else { "bf16" };
    for &batch in load.batches {
        let speed = sampling(&model, batch, load.new_tokens)?;
        figures.push(Figure::plain(
            format!("sampling {batch} at once, {}, {format}, tokens/s", load.name),
            speed,
        ));
    }
    let tokens = training(&model, load)?;
    figures.push(Figure::plain(format!("training, {}, {format}, tokens/s", load.name), tokens));
    let flops = tokens * flops_per_token(&model.config);
    figures.push(Figure::plain("training, share of the products above, %", 100.0 * flops / fastest));
    if let Some(peak) = peak(bench.device) {
        figures.push(Figure::plain("training, share of the device's peak (MFU), %", 100.0 * flops / peak));
    }
    Ok(figures)
}

/// 6 a weight: a multiplication and an addition forward, twice that backward. Attention's own products are left out, and so is an
/// embedding that is only looked up.
fn flops_per_token(shape: &Config) -> f64 {
    let looked_up = if shape.tie_word_embeddings { 0 } else { shape.vocab_size * shape.hidden_size };
    6.0 * (shape.size() - looked_up) as f64
}

fn peak(device: Device) -> Option<f64> {
    let Device::Cuda(index) = device else { return None };
    let name = cuda::device_name(index)?;
    PEAKS.iter().find(|(part, _)| name.contains(part)).map(|&(_, peak)| peak)
}

fn products(side: i64, kind: Kind, device: Device) -> f64 {
    let factor =
        || (Tensor::arange(side * side, (Kind::Float, device)) * 0.7).sin().view([side, side]).to_kind(kind);
    let (a, b) = (factor(), factor());
    let seconds = best_of(3, device, || drop(a.matmul(&b)));
    2.0 * (side as f64).powi(3) / seconds
}

fn sampling(model: &Model, batch: usize, new_tokens: usize) -> Result<f64> {
    let request = |at: usize| Request { prompt: tiny::tokens(at as u64, 64), seeds: vec![at as u64] };
    let requests: Vec<Request> = (0..batch).map(request).collect();
    let sampling = Sampling { max_new_tokens: new_tokens, ..Sampling::default() };
    let mut decoder = Decoder::new(model, Stops::at(&[]), batch);
    // A first call makes kernels and buffers ready.
    let short = Sampling { max_new_tokens: 2, ..sampling.clone() };
    decoder.generate(&requests, &short, &mut |_| {})?;
    let start = Instant::now();
    let generated = decoder.generate(&requests, &sampling, &mut |_| {})?;
    Ok(generated.statistics.decoded_tokens as f64 / start.elapsed().as_secs_f64())
}

fn training(model: &Model, load: &Load) -> Result<f64> {
    model.train_all();
    let mut optim = Optimizer::new(model.parameters(), &Optim::default())?;
    let sequence = |at: usize| {
        Sequence::new(&tiny::tokens(at as u64, 1), &tiny::tokens(at as u64 + 1000, load.length as u64))
    };
    let sequences: Vec<Sequence> = (0..load.sequences).map(sequence).collect();
    let mut done = Ok(());
    let seconds = best_of(1, model.device(), || {
        if done.is_ok() {
            done = update(model, &mut optim, &sequences);
        }
    });
    done.map(|()| (load.sequences * load.length) as f64 / seconds)
}

fn update(model: &Model, optim: &mut Optimizer, sequences: &[Sequence]) -> Result<()> {
    let scored = model.score(sequences, 1.0, Grad::Yes)?;
    let loss = -scored.logprobs.mean(Kind::Float);
    scored.backward(&loss)?;
    optim.accumulate()?;
    optim.clip(1.0)?;
    optim.step(1e-5)?;
    optim.zero_grad()
}

/// Seconds of the fastest of `times`, after one that is not counted.
fn best_of(times: usize, device: Device, mut work: impl FnMut()) -> f64 {
    let mut once = || {
        let start = Instant::now();
        work();
        if let Device::Cuda(index) = device {
            Cuda::synchronize(index as i64);
        }
        start.elapsed().as_secs_f64()
    };
    once();
    (0..times).map(|_| once()).fold(f64::INFINITY, f64::min)
}

fn smollm2_135m() -> Config {
    Config {
        vocab_size: 49152,
        hidden_size: 576,
        intermediate_size: 1536,
        num_hidden_layers: 30,
        num_attention_heads: 9,
        num_key_value_heads: 3,
        head_dim: 64,
        max_position_embeddings: 8192,
        ..Config::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 134.5 million weights, as its model card says, and an embedding that is the output projection too.
    #[test]
    fn the_shape_is_the_one_that_it_is_called_after() {
        assert_eq!(smollm2_135m().size(), 134_515_008);
        assert_eq!(flops_per_token(&smollm2_135m()), 6.0 * 134_515_008.0);
    }

    #[test]
    fn the_longest_name_that_fits_is_not_a_shorter_ones() {
        let of =
            |name: &str| PEAKS.iter().find(|(part, _)| name.contains(part)).map(|&(_, peak)| peak / 1e12);
        assert_eq!(of("NVIDIA L40S"), Some(362.0));
        assert_eq!(of("NVIDIA L4"), Some(121.0));
        assert_eq!(of("NVIDIA A100-SXM4-80GB"), Some(312.0));
        assert_eq!(of("NVIDIA GeForce GTX 1080"), None);
    }
}
