//! Rotary position embedding (Su et al. 2021), in the half-split layout of Hugging Face checkpoints.

use super::form::Keys;
use serde_json::{Map, Value, json};
use std::f64::consts::TAU;
use tch::{Device, Kind, Tensor};

/// How rotary frequencies are stretched beyond the context a model was first trained on.
#[derive(Debug, Clone, PartialEq)]
pub enum RopeScaling {
    /// All frequencies divided by `factor`.
    Linear {
        /// The stretch.
        factor: f64,
    },
    /// A base that grows with sequences longer than the model's context: within it, nothing.
    Dynamic {
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
    /// YaRN (Peng et al. 2023, arXiv 2309.00071).
    Yarn {
        /// The stretch of waves that turn seldom.
        factor: f64,
        /// The context before stretching.
        original_max_position_embeddings: usize,
        /// Waves that turn more often than this within the context are kept.
        beta_fast: f64,
        /// Waves that turn less often than this are stretched.
        beta_slow: f64,
        /// Whether the borders between them are whole numbers of pairs.
        truncate: bool,
        /// What cosines and sines are multiplied by.
        attention_factor: f64,
    },
    /// LongRoPE (Ding et al. 2024, arXiv 2402.13753): a factor for each pair. The short ones hold within the context before stretching;
    /// beyond, transformers turns whole sequences by the long ones, so that no position has one rotation. Sequences end with that context.
    LongRope {
        /// What each frequency is divided by.
        short: Vec<f64>,
        /// The same beyond the context before stretching.
        long: Vec<f64>,
        /// The context before stretching.
        original_max_position_embeddings: usize,
        /// What cosines and sines are multiplied by.
        attention_factor: f64,
    },
}

/// One rotation of a model.
#[derive(Debug, Clone, PartialEq)]
pub struct RopeSpec {
    /// Base of the frequencies.
    pub theta: f64,
    /// How they are stretched.
    pub scaling: Option<RopeScaling>,
    /// How many of a head's numbers are turned, from the first on.
    pub dims: usize,
}

/// The angular frequencies of each rotation, `[1, dims / 2]` in f32, and what cosines and sines are multiplied by.
#[derive(Debug)]
pub struct Rope {
    tables: Vec<(Tensor, f64)>,
}

/// The rotation of some tokens' positions: cos and sin of each kind, `[tokens, 1, dims / 2]`.
#[derive(Debug)]
pub struct Rotation {
    tables: Vec<(Tensor, Tensor)>,
}

impl Rope {
    /// Frequencies θ^(−2i / dims), scaled as each asks. Angles are computed when positions are known: a
    /// table for 131072 positions would cost 64 MB and save next to nothing.
    pub fn new(specs: &[RopeSpec], device: Device) -> Self {
        let table = |spec: &RopeSpec| {
            let (frequencies, factor) = spec.frequencies();
            let frequencies: Vec<f32> = frequencies.into_iter().map(|frequency| frequency as f32).collect();
            (Tensor::from_slice(&frequencies).unsqueeze(0).to_device(device), factor)
        };
        Self { tables: specs.iter().map(table).collect() }
    }

    /// The rotations of `positions [tokens]` (int64). Angles are f32 whatever the `kind` of what will be rotated.
    pub fn at(&self, positions: &Tensor, kind: Kind) -> Rotation {
        let positions = positions.to_kind(Kind::Float).unsqueeze(1);
        let of = |(frequencies, factor): &(Tensor, f64)| {
            let angles = &positions * frequencies;
            let scaled = |t: Tensor| if *factor == 1.0 { t } else { t * *factor };
            let [cos, sin] = [angles.cos(), angles.sin()];
            (scaled(cos).to_kind(kind).unsqueeze(1), scaled(sin).to_kind(kind).unsqueeze(1))
        };
        Rotation { tables: self.tables.iter().map(of).collect() }
    }
}

impl Rotation {
    /// Rotates `x [tokens, heads, head_dim]` by the rotation of this number: (x₁ cos − x₂ sin, x₂ cos + x₁ sin) for the halves x₁, x₂ of
    /// what is turned; the rest of a head stays.
    pub fn apply(&self, table: usize, x: &Tensor) -> Tensor {
        let (cos, sin) = &self.tables[table];
        let (half, all) = (cos.size()[2], x.size()[2]);
        let (first, second) = (x.narrow(2, 0, half), x.narrow(2, half, half));
        let turned = [&first * cos - &second * sin, &second * cos + &first * sin];
        let rest = (2 * half < all).then(|| x.narrow(2, 2 * half, all - 2 * half));
        Tensor::cat(&turned.into_iter().chain(rest).collect::<Vec<_>>(), -1)
    }
}

impl RopeSpec {
    /// The frequency of each pair, and what cosines and sines are multiplied by.
    fn frequencies(&self) -> (Vec<f64>, f64) {
        let dims = self.dims as f64;
        let plain: Vec<f64> = (0..self.dims / 2).map(|i| self.theta.powf(-2.0 * i as f64 / dims)).collect();
        match &self.scaling {
            None | Some(RopeScaling::Dynamic { .. }) => (plain, 1.0),
            Some(RopeScaling::Linear { factor }) => (plain.into_iter().map(|f| f / factor).collect(), 1.0),
            Some(RopeScaling::Llama3 {
                factor,
                low_freq_factor,
                high_freq_factor,
                original_max_position_embeddings,
            }) => {
                let context = *original_max_position_embeddings as f64;
                // Long waves are slowed by the factor, short ones kept, those between blended.
                let blend = |frequency: f64| {
                    let wavelength = TAU / frequency;
                    if wavelength < context / high_freq_factor {
                        return frequency;
                    }
                    if wavelength > context / low_freq_factor {
                        return frequency / factor;
                    }
                    let smooth =
                        (context / wavelength - low_freq_factor) / (high_freq_factor - low_freq_factor);
                    (1.0 - smooth) * frequency / factor + smooth * frequency
                };
                (plain.into_iter().map(blend).collect(), 1.0)
            }
            Some(RopeScaling::LongRope { short, attention_factor, .. }) => {
                (plain.iter().zip(short).map(|(f, factor)| f / factor).collect(), *attention_factor)
            }
            Some(RopeScaling::Yarn {
                factor,
                original_max_position_embeddings,
                beta_fast,
                beta_slow,
                truncate,
                attention_factor,
            }) => {
                // The pair that turns so often within the context.
                let pair = |turns: f64| {
                    dims * (*original_max_position_embeddings as f64 / (turns * TAU)).ln()
                        / (2.0 * self.theta.ln())
                };
                let (low, high) = (pair(*beta_fast), pair(*beta_slow));
                let (low, high) = if *truncate { (low.floor(), high.ceil()) } else { (low, high) };
                let (low, mut high) = (low.max(0.0), high.min(dims - 1.0));
                if low == high {
                    high += 0.001;
                }
                let blend = |(i, frequency): (usize, f64)| {
                    let stretched = ((i as f64 - low) / (high - low)).clamp(0.0, 1.0);
                    frequency / factor * stretched + frequency * (1.0 - stretched)
                };
                (plain.into_iter().enumerate().map(blend).collect(), *attention_factor)
            }
        }
    }
}

impl RopeScaling {
    /// Tokens beyond which the rotation would be another one.
    pub(super) fn limit(&self) -> Option<usize> {
        match self {
            Self::LongRope { original_max_position_embeddings, .. } => {
                Some(*original_max_position_embeddings)
            }
            _ => None,
        }
    }

    /// From the table under `key` of `config.json`, whose other keys are `model`; `None` where its kind is `default`.
    pub(super) fn parse(
        key: &str,
        table: &Map<String, Value>,
        model: &Map<String, Value>,
        max_position_embeddings: usize,
    ) -> Result<Option<Self>, String> {
        let said = |name: &str| -> Result<Option<f64>, String> {
            Keys(table).number(name).map_err(|why| format!("{key}.{why}"))
        };
        let number = |name: &str| -> Result<f64, String> {
            said(name)?.ok_or_else(|| format!("{key}.{name}: a positive number is needed"))
        };
        // Phi keeps it beside the table, and there it counts.
        let original = || -> Result<usize, String> {
            let beside = Keys(model).whole("original_max_position_embeddings")?;
            let inside = Keys(table)
                .whole("original_max_position_embeddings")
                .map_err(|why| format!("{key}.{why}"))?;
            let original = beside.or(inside).unwrap_or(max_position_embeddings);
            if original < 2 {
                return Err(format!("{key}.original_max_position_embeddings: at least 2 is needed"));
            }
            Ok(original)
        };
        let stretch = |original: usize| -> Result<f64, String> {
            Ok(said("factor")?.unwrap_or(max_position_embeddings as f64 / original as f64))
        };
        let kind = table.get("rope_type").or_else(|| table.get("type")).and_then(Value::as_str);
        match kind.unwrap_or("default") {
            "default" => Ok(None),
            "linear" => Ok(Some(Self::Linear { factor: number("factor")? })),
            "dynamic" => Ok(Some(Self::Dynamic { factor: number("factor")? })),
            "llama3" => Ok(Some(Self::Llama3 {
                factor: number("factor")?,
                low_freq_factor: number("low_freq_factor")?,
                high_freq_factor: number("high_freq_factor")?,
                original_max_position_embeddings: original()?,
            })),
            "yarn" if !table.contains_key("short_factor") => {
                let original = original()?;
                let factor = stretch(original)?;
                // 0.1 · m · ln(factor) + 1, the paper's, or the ratio of two of them.
                let scale = |m: f64| if factor <= 1.0 { 1.0 } else { 0.1 * m * factor.ln() + 1.0 };
                let inferred = match (said("mscale")?, said("mscale_all_dim")?) {
                    (Some(mscale), Some(all)) => scale(mscale) / scale(all),
                    _ => scale(1.0),
                };
                Ok(Some(Self::Yarn {
                    factor,
                    original_max_position_embeddings: original,
                    beta_fast: said("beta_fast")?.unwrap_or(32.0),
                    beta_slow: said("beta_slow")?.unwrap_or(1.0),
                    truncate: Keys(table)
                        .read("truncate")
                        .map_err(|why| format!("{key}.{why}"))?
                        .unwrap_or(true),
                    attention_factor: said("attention_factor")?.unwrap_or(inferred),
                }))
            }
            // Phi's older files say `su` or `yarn`.
            "longrope" | "su" | "yarn" => {
                let factors = |name: &str| -> Result<Vec<f64>, String> {
                    let list: Option<Vec<f64>> =
                        Keys(table).read(name).map_err(|why| format!("{key}.{why}"))?;
                    let list = list.filter(|list| list.iter().all(|f| *f > 0.0 && f.is_finite()));
                    list.ok_or_else(|| format!("{key}.{name}: a list of positive numbers is needed"))
                };
                let original = original()?;
                let factor = stretch(original)?;
                let inferred = match factor <= 1.0 {
                    true => 1.0,
                    false => (1.0 + factor.ln() / (original as f64).ln()).sqrt(),
                };
                Ok(Some(Self::LongRope {
                    short: factors("short_factor")?,
                    long: factors("long_factor")?,
                    original_max_position_embeddings: original,
                    attention_factor: said("attention_factor")?.unwrap_or(inferred),
                }))
            }
            other => Err(format!(
                "{key}: rope_type `{other}` is not supported; known: default, linear, dynamic, llama3, yarn, longrope"
            )),
        }
    }

    pub(super) fn to_json(&self) -> Value {
        match self {
            Self::Linear { factor } => json!({"rope_type": "linear", "factor": factor}),
            Self::Dynamic { factor } => json!({"rope_type": "dynamic", "factor": factor}),
            Self::Llama3 { factor, low_freq_factor, high_freq_factor, original_max_position_embeddings } => {
                json!({
                    "rope_type": "llama3",
                    "factor": factor,
                    "low_freq_factor": low_freq_factor,
                    "high_freq_factor": high_freq_factor,
                    "original_max_position_embeddings": original_max_position_embeddings,
                })
            }
            Self::Yarn {
                factor,
                original_max_position_embeddings,
                beta_fast,
                beta_slow,
                truncate,
                attention_factor,
            } => json!({
                "rope_type": "yarn",
                "factor": factor,
                "original_max_position_embeddings": original_max_position_embeddings,
                "beta_fast": beta_fast,
                "beta_slow": beta_slow,
                "truncate": truncate,
                "attention_factor": attention_factor,
            }),
            Self::LongRope { short, long, original_max_position_embeddings, attention_factor } => json!({
                "rope_type": "longrope",
                "short_factor": short,
                "long_factor": long,
                "original_max_position_embeddings": original_max_position_embeddings,
                "attention_factor": attention_factor,
            }),
        }
    }
}
