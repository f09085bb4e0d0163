//! Rotary position embedding (Su et al. 2021), in the half-split layout of Hugging Face checkpoints.

use super::Config;
use serde_json::{Map, Value, json};
use tch::{Device, Kind, Tensor};

/// How rotary frequencies are stretched beyond the context a model was first trained on.
#[derive(Debug, Clone, PartialEq)]
pub enum RopeScaling {
    /// All frequencies divided by `factor`.
    Linear {
        /// The stretch.
        factor: f64,
    },
    /// Llama 3.1's rule.
    Llama3 {
        /// The stretch of long waves.
        factor: f64,
        /// Waves longer than context / this are stretched.
        low_freq_factor: f64,
        /// Waves shorter than context / this are kept.
        high_freq_factor: f64,
        /// The context before stretching.
        original_max_position_embeddings: usize,
    },
}

/// The angular frequencies of a head's pairs, `[1, head_dim / 2]` in f32.
#[derive(Debug)]
pub struct Rope {
    frequencies: Tensor,
}

/// The rotation of some tokens' positions: cos and sin, `[tokens, 1, head_dim / 2]`.
#[derive(Debug)]
pub struct Rotation {
    cos: Tensor,
    sin: Tensor,
}

impl Rope {
    /// Frequencies θ^(−2i / head_dim), scaled as the model asks. Angles are computed when positions are known: a
    /// table for 131072 positions would cost 64 MB and save next to nothing.
    pub fn new(config: &Config, device: Device) -> Self {
        let frequencies: Vec<f32> = (0..config.head_dim / 2)
            .map(|i| {
                let frequency = config.rope_theta.powf(-2.0 * i as f64 / config.head_dim as f64);
                config.rope_scaling.as_ref().map_or(frequency, |s| s.scale(frequency)) as f32
            })
            .collect();
        Self { frequencies: Tensor::from_slice(&frequencies).unsqueeze(0).to_device(device) }
    }

    /// The rotation of `positions [tokens]` (int64). Angles are f32 whatever the `kind` of what will be rotated.
    pub fn at(&self, positions: &Tensor, kind: Kind) -> Rotation {
        let angles = positions.to_kind(Kind::Float).unsqueeze(1) * &self.frequencies;
        Rotation {
            cos: angles.cos().to_kind(kind).unsqueeze(1),
            sin: angles.sin().to_kind(kind).unsqueeze(1),
        }
    }
}

impl Rotation {
    /// Rotates `x [tokens, heads, head_dim]`: (x₁ cos − x₂ sin, x₂ cos + x₁ sin) for its halves x₁, x₂.
    pub fn apply(&self, x: &Tensor) -> Tensor {
        let halves = x.chunk(2, -1);
        let (first, second) = (&halves[0], &halves[1]);
        Tensor::cat(&[first * &self.cos - second * &self.sin, second * &self.cos + first * &self.sin], -1)
    }
}

impl RopeScaling {
    /// From the table under `key`; `None` where its kind is `default`.
    pub(super) fn parse(key: &str, table: &Map<String, Value>) -> Result<Option<Self>, String> {
        let kind = table.get("rope_type").or_else(|| table.get("type")).and_then(Value::as_str);
        let number = |name: &str| {
            let value = table.get(name).and_then(Value::as_f64).filter(|v| *v > 0.0);
            value.ok_or_else(|| format!("{key}.{name}: a positive number is needed"))
        };
        if table.get("partial_rotary_factor").and_then(Value::as_f64).is_some_and(|f| f != 1.0) {
            return Err(format!("{key}.partial_rotary_factor: only 1.0 is supported"));
        }
        match kind.unwrap_or("default") {
            "default" => Ok(None),
            "linear" => Ok(Some(Self::Linear { factor: number("factor")? })),
            "llama3" => Ok(Some(Self::Llama3 {
                factor: number("factor")?,
                low_freq_factor: number("low_freq_factor")?,
                high_freq_factor: number("high_freq_factor")?,
                original_max_position_embeddings: number("original_max_position_embeddings")? as usize,
            })),
            other => {
                Err(format!("{key}: rope_type `{other}` is not supported; known: default, linear, llama3"))
            }
        }
    }

    pub(super) fn to_json(&self) -> Value {
        match self {
            Self::Linear { factor } => json!({"rope_type": "linear", "factor": factor}),
            Self::Llama3 { factor, low_freq_factor, high_freq_factor, original_max_position_embeddings } => {
                json!({
                    "rope_type": "llama3",
                    "factor": factor,
                    "low_freq_factor": low_freq_factor,
                    "high_freq_factor": high_freq_factor,
                    "original_max_position_embeddings": original_max_position_embeddings,
                })
            }
        }
    }

    /// Llama 3's rule: long waves are slowed by `factor`, short ones kept, those between blended.
    fn scale(&self, frequency: f64) -> f64 {
        match self {
            Self::Linear { factor } => frequency / factor,
            Self::Llama3 { factor, low_freq_factor, high_freq_factor, original_max_position_embeddings } => {
                let context = *original_max_position_embeddings as f64;
                let wavelength = 2.0 * std::f64::consts::PI / frequency;
                if wavelength < context / high_freq_factor {
                    return frequency;
                }
                if wavelength > context / low_freq_factor {
                    return frequency / factor;
                }
                let smooth = (context / wavelength - low_freq_factor) / (high_freq_factor - low_freq_factor);
                (1.0 - smooth) * frequency / factor + smooth * frequency
            }
        }
    }
}
