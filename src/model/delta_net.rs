//! The layer around the gated delta rule, as Qwen3-Next and Qwen3.5 have it in the place of attention: projections, gates, and an RMS norm of what each head finds, gated by
//! what the token itself says.

use super::block::{Part, Parts, Rows, Weight};
use super::delta::{DeltaInputs, DeltaSpec};
use super::{Config, Linear, init, rms_norm};
use crate::Result;
use rand_chacha::ChaCha8Rng;
use tch::{Kind, Tensor};

/// Such a layer without its norms and MLP.
#[derive(Debug)]
pub(super) struct DeltaNet {
    spec: DeltaSpec,
    eps: f64,
    projections: Projections,
    /// The convolution, `[channels, 1, kernel]`; ln A and the bias of Δ, `[value_heads]`; the norm's weight, `[value_dim]`.
    weights: [Weight; 4],
    output: Linear,
}

/// What makes queries, keys and values, the gate z, β and Δ.
#[derive(Debug)]
enum Projections {
    /// Query, key and value together; z; β; Δ.
    Apart([Linear; 4]),
    /// Key head by key head its query, key, values and z; its β and Δ.
    Fused([Linear; 2]),
}

impl DeltaNet {
    pub fn new(config: &Config, spec: DeltaSpec, parts: &mut Parts<'_>) -> Result<Self> {
        let (hidden, heads) = (config.hidden_size, spec.value_heads);
        let (channels, values) = (spec.channels(), heads * spec.value_dim);
        let fused = parts.names("linear_attn.in_proj_qkvz");
        let mut linear =
            |name: &str, out: usize| parts.linear(&format!("linear_attn.{name}"), out, hidden, false);
        let projections = match fused {
            true => Projections::Fused([
                linear("in_proj_qkvz", channels + values)?,
                linear("in_proj_ba", 2 * heads)?,
            ]),
            false => Projections::Apart([
                linear("in_proj_qkv", channels)?,
                linear("in_proj_z", values)?,
                linear("in_proj_b", heads)?,
                linear("in_proj_a", heads)?,
            ]),
        };
        let mut weight = |name: &str, shape: &[usize]| parts.weight(&format!("linear_attn.{name}"), shape);
        let weights = [
            weight("conv1d.weight", &[channels, 1, spec.kernel])?,
            weight("A_log", &[heads])?,
            weight("dt_bias", &[heads])?,
            weight("norm.weight", &[spec.value_dim])?,
        ];
        let output = parts.linear("linear_attn.out_proj", hidden, values, false)?;
        Ok(Self { spec, eps: config.rms_norm_eps, projections, weights, output })
    }

    /// `h [tokens, hidden]` to `[tokens, hidden]`.
    pub fn forward(&self, h: &Tensor, rows: &mut Rows<'_>) -> Tensor {
        let [mixed, z, strength, step] = match &self.projections {
            Projections::Apart(linears) => linears.each_ref().map(|linear| rows.linear(linear, h)),
            Projections::Fused(linears) => {
                self.by_head(linears.each_ref().map(|linear| rows.linear(linear, h)))
            }
        };
        let [kernel, log_rate, bias, norm] = self.weights.each_ref().map(|weight| &weight.tensor);
        let float = |x: &Tensor| x.to_kind(Kind::Float);
        // ln γ = −A · softplus(Δ + bias).
        let decay = (float(&step) + float(bias)).softplus() * float(log_rate).exp().neg();
        let strength = float(&strength).sigmoid();
        let found = rows.recur(&self.spec, &DeltaInputs { mixed, decay, strength, kernel });
        let found = rms_norm(&found.reshape([-1, self.spec.value_dim as i64]), norm, self.eps);
        let gated = float(&found) * float(&z).reshape(found.size()).silu();
        rows.linear(&self.output, &gated.to_kind(h.kind()).reshape(z.size()))
    }

    /// Queries, keys and values of all heads, z, β and Δ of what is fused by key head.
    fn by_head(&self, [all, gates]: [Tensor; 2]) -> [Tensor; 4] {
        let [heads, key] = [self.spec.key_heads, self.spec.key_dim].map(|n| n as i64);
        let each = self.spec.value_heads as i64 / heads;
        let values = each * self.spec.value_dim as i64;
        let split = |x: &Tensor, sizes: &[i64]| -> Vec<Tensor> {
            let parts = x.reshape([x.size()[0], heads, -1]).split_with_sizes(sizes, 2);
            parts.into_iter().map(|part| part.reshape([x.size()[0], -1])).collect()
        };
        let mut parts = split(&all, &[key, key, values, values]);
        let z = parts.remove(3);
        let mut gates = split(&gates, &[each, each]);
        let (step, strength) = (gates.remove(1), gates.remove(0));
        [Tensor::cat(&parts, 1), z, strength, step]
    }

    pub fn parts(&self) -> Vec<Part<'_>> {
        let linears = self.linears().into_iter().map(Part::Linear);
        linears.chain(self.weights.iter().map(Part::Weight)).collect()
    }

    fn linears(&self) -> Vec<&Linear> {
        let projections = match &self.projections {
            Projections::Apart(linears) => linears.as_slice(),
            Projections::Fused(linears) => linears.as_slice(),
        };
        projections.iter().chain([&self.output]).collect()
    }

    pub fn linears_mut(&mut self) -> Vec<&mut Linear> {
        let projections = match &mut self.projections {
            Projections::Apart(linears) => linears.as_mut_slice(),
            Projections::Fused(linears) => linears.as_mut_slice(),
        };
        projections.iter_mut().chain([&mut self.output]).collect()
    }
}

/// What a new model's tensor of this name begins with where it is one that only such layers have: A uniform in (0, 16), the others of one dimension 1.
pub(super) fn start(name: &str, shape: &[i64], stream: impl FnOnce() -> ChaCha8Rng) -> Option<Tensor> {
    let (_, own) = name.split_once(".linear_attn.")?;
    match own {
        "A_log" => Some((init::uniform(shape, 8.0, stream()) + 8.0).clamp_min(1e-4).log()),
        "dt_bias" | "norm.weight" => Some(Tensor::ones(shape, (Kind::Float, tch::Device::Cpu))),
        _ => None,
    }
}
