//! Rotary position embedding (Su et al. 2021), in the half-split layout of Hugging Face checkpoints.

use super::config::{Config, RopeScaling};
use tch::{Device, Kind, Tensor};

/// cos and sin of every position's angles.
#[derive(Debug)]
pub struct Rope {
    cos: Tensor,
    sin: Tensor,
}

/// The rotation of some tokens' positions: cos and sin, `[tokens, 1, head_dim]`.
#[derive(Debug)]
pub struct Rotation {
    cos: Tensor,
    sin: Tensor,
}

impl Rope {
    /// Tables `[max_position_embeddings, head_dim]` in f32: angle = position · θ^(−2i / head_dim).
    pub fn new(config: &Config, device: Device) -> Self {
        let half = config.head_dim / 2;
        let frequencies: Vec<f32> = (0..half)
            .map(|i| {
                let frequency = config.rope_theta.powf(-2.0 * i as f64 / config.head_dim as f64);
                scaled(frequency, config.rope_scaling.as_ref()) as f32
            })
            .collect();
        let positions = Tensor::arange(config.max_position_embeddings as i64, (Kind::Float, device));
        let angles = positions.outer(&Tensor::from_slice(&frequencies).to_device(device));
        let angles = Tensor::cat(&[&angles, &angles], -1);
        Self { cos: angles.cos(), sin: angles.sin() }
    }

    /// The rotation of `positions [tokens]` (int64).
    pub fn at(&self, positions: &Tensor, kind: Kind) -> Rotation {
        let pick = |table: &Tensor| table.index_select(0, positions).to_kind(kind).unsqueeze(1);
        Rotation { cos: pick(&self.cos), sin: pick(&self.sin) }
    }
}

impl Rotation {
    /// Rotates `x [tokens, heads, head_dim]`: x · cos + (−x₂, x₁) · sin.
    pub fn apply(&self, x: &Tensor) -> Tensor {
        let halves = x.chunk(2, -1);
        let turned = Tensor::cat(&[&halves[1].neg(), &halves[0]], -1);
        x * &self.cos + turned * &self.sin
    }
}

/// Llama 3's rule: long waves are slowed by `factor`, short ones kept, those between blended.
fn scaled(frequency: f64, scaling: Option<&RopeScaling>) -> f64 {
    let Some(s) = scaling else { return frequency };
    match s {
        RopeScaling::Linear { factor } => frequency / factor,
        RopeScaling::Llama3 { factor, low_freq_factor, high_freq_factor, original_max_position_embeddings } => {
            let context = *original_max_position_embeddings as f64;
            let wavelength = 2.0 * std::f64::consts::PI / frequency;
            if wavelength < context / high_freq_factor {
                frequency
            } else if wavelength > context / low_freq_factor {
                frequency / factor
            } else {
                let smooth = (context / wavelength - low_freq_factor) / (high_freq_factor - low_freq_factor);
                (1.0 - smooth) * frequency / factor + smooth * frequency
            }
        }
    }
}
