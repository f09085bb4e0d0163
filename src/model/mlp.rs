//! Gated MLPs (Shazeer 2020): down(activation(gate(h)) · up(h)).

use super::block::{Parts, Rows};
use super::{Config, Linear};
use crate::Result;
use tch::Tensor;

/// What a gate passes through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Activation {
    /// x · σ(x).
    Silu,
    /// GELU by its tanh approximation.
    GeluTanh,
}

impl Activation {
    /// That of the family's models.
    pub fn of(config: &Config) -> Self {
        match config.family.block.activations.first() {
            Some(&"gelu_pytorch_tanh") => Self::GeluTanh,
            _ => Self::Silu,
        }
    }

    pub fn apply(self, x: &Tensor) -> Tensor {
        match self {
            Self::Silu => x.silu(),
            Self::GeluTanh => x.gelu("tanh"),
        }
    }
}

/// The MLP of a layer.
#[derive(Debug)]
pub(super) struct Mlp {
    rise: Rise,
    down: Linear,
    activation: Activation,
}

/// What makes the gate and what it gates.
#[derive(Debug)]
enum Rise {
    Apart([Linear; 2]),
    /// The upper rows of one matrix, and its lower ones.
    Fused(Linear),
}

impl Mlp {
    pub fn new(config: &Config, parts: &mut Parts<'_>) -> Result<Self> {
        Self::named("mlp", config.intermediate_size, config, parts)
    }

    /// That which is called `name` within the layer, of so many numbers between its maps.
    pub fn named(name: &str, middle: usize, config: &Config, parts: &mut Parts<'_>) -> Result<Self> {
        let (hidden, bias) = (config.hidden_size, config.mlp_bias);
        let of = |map: &str| format!("{name}.{map}");
        let rise = match parts.names(&of("gate_up_proj")) {
            true => Rise::Fused(parts.linear(&of("gate_up_proj"), 2 * middle, hidden, bias)?),
            false => Rise::Apart([
                parts.linear(&of("gate_proj"), middle, hidden, bias)?,
                parts.linear(&of("up_proj"), middle, hidden, bias)?,
            ]),
        };
        let down = parts.linear(&of("down_proj"), hidden, middle, bias)?;
        Ok(Self { rise, down, activation: Activation::of(config) })
    }

    pub fn forward(&self, h: &Tensor, rows: &Rows<'_>) -> Tensor {
        let [gate, up] = match &self.rise {
            Rise::Apart(linears) => linears.each_ref().map(|linear| rows.linear(linear, h)),
            Rise::Fused(linear) => {
                let all = rows.linear(linear, h);
                let width = all.size()[1] / 2;
                [0, width].map(|start| all.narrow(1, start, width))
            }
        };
        rows.linear(&self.down, &(self.activation.apply(&gate) * up))
    }

    pub fn linears(&self) -> Vec<&Linear> {
        let rise = match &self.rise {
            Rise::Apart(linears) => linears.as_slice(),
            Rise::Fused(linear) => std::slice::from_ref(linear),
        };
        rise.iter().chain([&self.down]).collect()
    }

    pub fn linears_mut(&mut self) -> Vec<&mut Linear> {
        let rise = match &mut self.rise {
            Rise::Apart(linears) => linears.as_mut_slice(),
            Rise::Fused(linear) => std::slice::from_mut(linear),
        };
        rise.iter_mut().chain([&mut self.down]).collect()
    }
}
