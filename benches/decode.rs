//! Decoding speed on a random model of SmolLM2-135M's shape: `cargo bench --bench decode [-- f32 bf16]`.
//!
//! The work of `shared/bench/trl_peer.py gen`: 4 prompts of 128 tokens, 8 samples each, 64 new tokens, no end id. A line per
//! number format: prompt tokens and sampled tokens per second, the second of two runs.

use rationale::engine::{Request, Sampling, Stops, generate};
use rationale::model::{Config, Model};
use tch::{Device, Kind};

const PROMPTS: usize = 4;
const SAMPLES: u64 = 8;
const PROMPT_TOKENS: usize = 128;
const NEW_TOKENS: usize = 64;

fn main() {
    let asked: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let device = Device::cuda_if_available();
    for (name, kind) in [("f32", Kind::Float), ("bf16", Kind::BFloat16)] {
        if asked.is_empty() || asked.iter().any(|a| a == name) {
            measure(name, &model(kind, device));
        }
    }
}

fn measure(name: &str, model: &Model) {
    let requests: Vec<Request> = (0..PROMPTS)
        .map(|prompt| Request {
            prompt: (0..PROMPT_TOKENS).map(|i| (100 + prompt * 7919 + i * 104_729) as u32 % 40_000).collect(),
            seeds: (0..SAMPLES).map(|sample| prompt as u64 * SAMPLES + sample).collect(),
        })
        .collect();
    let sampling = Sampling { max_new_tokens: NEW_TOKENS, ..Sampling::default() };
    let stops = Stops { eos: &[], decode: &|_: &[u32]| String::new() };
    for run in 0..2 {
        let start = std::time::Instant::now();
        let generated =
            generate(model, &requests, &sampling, &stops, 64, &mut |_| {}).expect("the requests are valid");
        let (statistics, seconds) = (generated.statistics, start.elapsed().as_secs_f64());
        if run == 1 {
            println!(
                "{name} on {:?}: prefill {:.0} tokens/s, decode {:.0} tokens/s, {:.0} new tokens/s over all {seconds:.2} s",
                model.device(),
                statistics.prefill_tokens as f64 / statistics.prefill_seconds,
                statistics.rows as f64 / statistics.decode_seconds,
                statistics.decoded_tokens as f64 / seconds,
            );
        }
    }
}

fn model(kind: Kind, device: Device) -> Model {
    let config = Config {
        vocab_size: 49152,
        hidden_size: 576,
        intermediate_size: 1536,
        num_hidden_layers: 30,
        num_attention_heads: 9,
        num_key_value_heads: 3,
        head_dim: 64,
        max_position_embeddings: 8192,
        rms_norm_eps: 1e-5,
        rope_theta: 1e5,
        ..Config::default()
    };
    Model::init(config, kind, device, 0).expect("SmolLM2-135M's shape is valid")
}
