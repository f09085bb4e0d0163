//! The work of both benchmarks: a random model of SmolLM2-135M's shape, 4 prompts of 128 tokens with 8 samples of 64
//! tokens each and no end-of-sequence id, so that every engine does the same.

use rationale::engine::{Decoder, Generated, Request, Sampler, Sampling, Stops};
use rationale::model::{Config, Model};
use tch::{Device, Kind};

/// Prompts of a batch.
pub const PROMPTS: usize = 4;
/// Samples of each.
pub const SAMPLES: u64 = 8;
/// Tokens of a prompt.
pub const PROMPT_TOKENS: usize = 128;
/// Tokens of a completion.
pub const NEW_TOKENS: usize = 64;

/// Calls `measure` for each number format that the command line names (both, if none).
pub fn formats(mut measure: impl FnMut(&str, &Model)) {
    let asked: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let policy = std::env::var("RATIONALE_DEVICE").unwrap_or_else(|_| "auto".into());
    let devices = rationale::devices::Devices { policy, ..Default::default() };
    let device =
        devices.open(rationale::ranks::Local::ALONE).unwrap_or_else(|error| panic!("{error}")).policy;
    for (name, kind) in [("f32", Kind::Float), ("bf16", Kind::BFloat16)] {
        if asked.is_empty() || asked.iter().any(|a| a == name) {
            measure(name, &model(kind, device));
        }
    }
}

/// The batch's requests.
pub fn requests() -> Vec<Request> {
    (0..PROMPTS)
        .map(|prompt| Request {
            prompt: (0..PROMPT_TOKENS).map(|i| (100 + prompt * 7919 + i * 104_729) as u32 % 40_000).collect(),
            seeds: (0..SAMPLES).map(|sample| prompt as u64 * SAMPLES + sample).collect(),
        })
        .collect()
}

/// Samples the batch.
pub fn sample(model: &Model, requests: &[Request]) -> Generated {
    let sampling = Sampling { max_new_tokens: NEW_TOKENS, ..Sampling::default() };
    Decoder::new(model, Stops::at(&[]), 64)
        .generate(requests, &sampling, &mut |_| {})
        .expect("the requests are valid")
}

/// What this process has used of processors, which other work on the machine hardly changes; Linux counts in hundredths.
pub fn processor_seconds() -> f64 {
    let status = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // Fields 14 and 15, of which the second may hold spaces and ends with the last bracket.
    let after = status.rsplit(')').next().unwrap_or_default().split_whitespace();
    after.skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
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
        rope_theta: 100_000.0,
        tie_word_embeddings: true,
        ..Config::default()
    };
    Model::init(config, kind, device, 0).expect("the shape is consistent")
}
