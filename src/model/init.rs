//! Weights of a new model.

use super::{Config, Model, delta_net, names};
use crate::{Result, seed};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use tch::{Device, Kind, Tensor};

impl Model {
    /// A new model. Matrices are normal(0, σ = `initializer_range`), those that write into the residual stream
    /// (`o_proj`, `down_proj`; what the block's [`Blueprint`](super::block::Blueprint) says) scaled by 1/√(2 · layers) as in GPT-2, norms such that they
    /// multiply by 1, biases 0; what only recurrent layers have begins as in transformers. Every tensor draws from
    /// its own stream, derived from `seed` and its name: equal seeds give equal weights on every device.
    pub fn init(config: Config, kind: Kind, device: Device, seed: u64) -> Result<Self> {
        let sigma = config.initializer_range;
        let residual = sigma / (2.0 * config.num_hidden_layers.max(1) as f64).sqrt();
        let family = config.family;
        let into_residual: Vec<String> =
            family.block.residual.iter().map(|name| format!(".{}.weight", family.name(name))).collect();
        names::assemble(config, device, None, |name, shape| {
            let start = delta_net::start(name, shape, || stream(seed, name));
            let values = if let Some(start) = start {
                start
            } else if name.ends_with(".bias") || name.ends_with("_bias") {
                Tensor::zeros(shape, (Kind::Float, Device::Cpu))
            } else if shape.len() == 1 {
                Tensor::full(shape, 1.0 - family.norm_offset, (Kind::Float, Device::Cpu))
            } else if into_residual.iter().any(|end| name.ends_with(end)) {
                normal(shape, residual, stream(seed, name))
            } else {
                normal(shape, sigma, stream(seed, name))
            };
            Ok(values.to_device(device).to_kind(kind))
        })
    }
}

/// The stream of the tensor called `name`.
pub(super) fn stream(run: u64, name: &str) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(seed::derive(&[run, seed::of_text(name)]))
}

/// Independent normal(0, σ) values by Box and Muller's pairs, in f32.
pub(super) fn normal(shape: &[i64], sigma: f64, mut rng: ChaCha8Rng) -> Tensor {
    let count = shape.iter().product::<i64>() as usize;
    let mut values = Vec::with_capacity(count + 1);
    while values.len() < count {
        // 1 − [0, 1) keeps the logarithm finite.
        let radius = sigma * (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt();
        let (sin, cos) = (std::f64::consts::TAU * rng.random::<f64>()).sin_cos();
        values.extend([(radius * cos) as f32, (radius * sin) as f32]);
    }
    values.truncate(count);
    shaped(&values, shape)
}

/// Independent values, uniform in ±`bound`.
pub(super) fn uniform(shape: &[i64], bound: f32, mut rng: ChaCha8Rng) -> Tensor {
    let count = shape.iter().product::<i64>();
    let values: Vec<f32> = (0..count).map(|_| rng.random_range(-bound..bound)).collect();
    shaped(&values, shape)
}

/// No view, which would hold what it looks at for as long as it lives, whatever becomes of its own memory.
fn shaped(values: &[f32], shape: &[i64]) -> Tensor {
    let tensor = Tensor::empty(shape, (Kind::Float, Device::Cpu));
    tensor.view(-1).copy_(&Tensor::from_slice(values));
    tensor
}

#[cfg(test)]
impl Model {
    /// A new model of 20 tokens and states of 16 numbers, for tests.
    pub(super) fn tiny(layers: usize) -> Self {
        let config = Config {
            vocab_size: 20,
            hidden_size: 16,
            intermediate_size: 32,
            num_hidden_layers: layers,
            num_attention_heads: 2,
            num_key_value_heads: 2,
            head_dim: 8,
            ..Config::default()
        };
        Self::init(config, Kind::Float, Device::Cpu, 1).unwrap()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Family;

    fn config() -> Config {
        Config {
            family: Family::named("qwen2").unwrap(),
            qkv_bias: true,
            num_hidden_layers: 2,
            ..Config::default()
        }
    }

    fn weights(seed: u64) -> Vec<(String, Tensor)> {
        Model::init(config(), Kind::Float, Device::Cpu, seed).unwrap().tensors()
    }

    #[test]
    fn equal_seeds_give_equal_weights_and_others_do_not() {
        let (a, b, c) = (weights(1), weights(1), weights(2));
        assert!(a.iter().zip(&b).all(|((_, x), (_, y))| x.equal(y)));
        assert!(!a[0].1.equal(&c[0].1));
    }

    #[test]
    fn spread_is_what_the_doc_says() {
        // 384 · 128 = 49152 values: the standard deviation of their standard deviation is σ/√(2·49152) = 0.3 %, so
        // 2 % off is 6 of those. Two layers: down_proj has half (1/√4) of 0.02.
        for (name, tensor) in weights(7) {
            let spread = tensor.std(false).double_value(&[]);
            let close = |expected: f64| (spread / expected - 1.0).abs() < 0.02;
            match name.rsplit('.').nth(1).unwrap() {
                "gate_proj" | "up_proj" => assert!(close(0.02), "{name}: {spread}"),
                "down_proj" => assert!(close(0.01), "{name}: {spread}"),
                "input_layernorm" | "norm" => assert_eq!(tensor.min().double_value(&[]), 1.0),
                _ if name.ends_with("bias") => assert_eq!(tensor.abs().max().double_value(&[]), 0.0),
                _ => {}
            }
        }
    }
}
