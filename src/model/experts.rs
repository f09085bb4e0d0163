//! Experts: a router sends each token through some of many small MLPs, whose results are summed by the router's weights (Shazeer et al.
//! 2017; Jiang et al. 2024). Tokens are sorted by expert, so that each expert is one product over its tokens.

use super::block::{Part, Parts, Rows, Weight};
use super::form::{ClampedGate, ExpertsForm};
use super::mlp::{Activation, Mlp};
use super::{Config, Linear, linear};
use crate::Result;
use std::cell::RefCell;
use tch::{Kind, Tensor};

/// The experts of a layer, with their router.
#[derive(Debug)]
pub(super) struct Experts {
    per_token: i64,
    normalised: bool,
    /// `[experts, hidden]`.
    router: Weight,
    /// `[experts]`, where the router has one.
    router_bias: Option<Weight>,
    stacks: Stacks,
    shared: Option<Box<Shared>>,
    /// Tokens that each expert has had since this was last asked for, `[experts]` in f32.
    load: RefCell<Option<Tensor>>,
}

/// An expert that all tokens pass through, times σ of what its gate says of each.
#[derive(Debug)]
struct Shared {
    mlp: Mlp,
    /// `[1, hidden]`.
    gate: Weight,
}

/// The matrices of all experts, one tensor a kind.
#[derive(Debug)]
enum Stacks {
    /// Gate, up `[experts, width, hidden]` each and down `[experts, hidden, width]`.
    Gated(Activation, [Weight; 3]),
    /// gpt-oss's: gate and up in turn as columns `[experts, hidden, 2 · width]` with a bias `[experts, 2 · width]`, and down `[experts, width,
    /// hidden]` with a bias `[experts, hidden]`.
    Clamped(ClampedGate, [Weight; 4]),
}

impl Stacks {
    fn new(config: &Config, form: &ExpertsForm, parts: &mut Parts<'_>) -> Result<Self> {
        let (count, width, hidden) = (form.count, form.width, config.hidden_size);
        let mut stack = |name: &str, shape: &[usize]| {
            parts.weight(&format!("mlp.experts.{name}"), &[&[count], shape].concat())
        };
        Ok(match form.clamped {
            None => Self::Gated(
                Activation::of(config),
                [
                    stack("*.gate_proj.weight", &[width, hidden])?,
                    stack("*.up_proj.weight", &[width, hidden])?,
                    stack("*.down_proj.weight", &[hidden, width])?,
                ],
            ),
            Some(clamped) => Self::Clamped(
                clamped,
                [
                    stack("gate_up_proj", &[hidden, 2 * width])?,
                    stack("gate_up_proj_bias", &[2 * width])?,
                    stack("down_proj", &[width, hidden])?,
                    stack("down_proj_bias", &[hidden])?,
                ],
            ),
        })
    }

    fn weights(&self) -> &[Weight] {
        match self {
            Self::Gated(_, weights) => weights,
            Self::Clamped(_, weights) => weights,
        }
    }

    /// What the expert of `weights`, one of each stack, makes of `h [tokens, hidden]`.
    fn expert(&self, h: &Tensor, weights: &[Tensor]) -> Tensor {
        match self {
            Self::Gated(activation, _) => {
                let [gate, up] = [0, 1].map(|which| linear::product(h, &weights[which], None));
                linear::product(&(activation.apply(&gate) * up), &weights[2], None)
            }
            Self::Clamped(ClampedGate { alpha, limit }, _) => {
                let both = h.matmul(&weights[0]) + &weights[1];
                let [gate, up] = [0, 1].map(|first| both.slice(1, first, None, 2));
                let gate = gate.clamp_max(*limit);
                let gated = (up.clamp(-limit, *limit) + 1.0) * (&gate * (&gate * *alpha).sigmoid());
                gated.matmul(&weights[2]) + &weights[3]
            }
        }
    }
}

impl Experts {
    pub fn new(config: &Config, form: &ExpertsForm, parts: &mut Parts<'_>) -> Result<Self> {
        let router = parts.weight("mlp.gate.weight", &[form.count, config.hidden_size])?;
        let router_bias = match form.clamped {
            Some(_) => Some(parts.weight("mlp.gate.bias", &[form.count])?),
            None => None,
        };
        let stacks = Stacks::new(config, form, parts)?;
        let mut shared = |width| -> Result<Box<Shared>> {
            let mlp = Mlp::named("mlp.shared_expert", width, config, parts)?;
            let gate = parts.weight("mlp.shared_expert_gate.weight", &[1, config.hidden_size])?;
            Ok(Box::new(Shared { mlp, gate }))
        };
        let shared = form.shared.map(&mut shared).transpose()?;
        let (per_token, normalised) = (form.per_token as i64, form.normalised);
        Ok(Self { per_token, normalised, router, router_bias, stacks, shared, load: RefCell::default() })
    }

    /// `h [tokens, hidden]` to `[tokens, hidden]`.
    pub fn forward(&self, h: &Tensor, rows: &Rows<'_>) -> Tensor {
        let chosen = self.chosen(h);
        match &self.shared {
            None => chosen,
            Some(shared) => {
                let share = linear::product(h, &shared.gate.tensor, None).sigmoid();
                chosen + shared.mlp.forward(h, rows) * share
            }
        }
    }

    /// What the experts that each token is sent through make of it.
    fn chosen(&self, h: &Tensor) -> Tensor {
        let (weights, chosen) = self.route(h);
        // The places of the choices `[tokens · per_token]`, those of the first expert first.
        let chosen = chosen.reshape([-1]);
        let order = chosen.argsort_stable(true, 0, false);
        let counts = chosen.bincount::<&Tensor>(None, self.router.tensor.size()[0]);
        self.note(&counts);
        let sizes: Vec<i64> = Vec::try_from(&counts).expect("counts are whole numbers");
        let token = order.divide_scalar_mode(self.per_token, "floor");
        let stacks: Vec<Vec<Tensor>> =
            self.stacks.weights().iter().map(|stack| stack.tensor.unbind(0)).collect();
        let of = |expert: usize| stacks.iter().map(|stack| stack[expert].shallow_clone()).collect::<Vec<_>>();
        let found: Vec<Tensor> = h
            .index_select(0, &token)
            .split_with_sizes(&sizes, 0)
            .iter()
            .enumerate()
            .filter(|(_, own)| own.size()[0] > 0)
            .map(|(expert, own)| self.stacks.expert(own, &of(expert)))
            .collect();
        if found.is_empty() {
            return h.zeros_like();
        }
        let weights = weights.reshape([-1]).index_select(0, &order).unsqueeze(1);
        // f32 weights make f32 sums.
        let found = Tensor::cat(&found, 0) * weights;
        found
            .new_zeros(h.size(), (found.kind(), found.device()))
            .index_add(0, &token, &found)
            .to_kind(h.kind())
    }

    /// The weights `[tokens, per_token]` of the experts that each token passes through, and which these are.
    fn route(&self, h: &Tensor) -> (Tensor, Tensor) {
        let shares =
            linear::product(h, &self.router.tensor, self.router_bias.as_ref().map(|bias| &bias.tensor))
                .softmax(-1, Kind::Float);
        let (weights, chosen) = shares.topk(self.per_token, -1, true, true);
        let weights = match self.normalised {
            true => &weights / weights.sum_dim_intlist(-1, true, Kind::Float),
            false => weights,
        };
        (weights, chosen)
    }

    fn note(&self, counts: &Tensor) {
        let counts = counts.to_kind(Kind::Float);
        let mut load = self.load.borrow_mut();
        *load = Some(load.take().map_or_else(|| counts.shallow_clone(), |load| load + &counts));
    }

    /// Tokens that each expert has had since the last call, `[experts]`.
    pub fn take_load(&self) -> Tensor {
        let none =
            || Tensor::zeros([self.router.tensor.size()[0]], (Kind::Float, self.router.tensor.device()));
        self.load.borrow_mut().take().unwrap_or_else(none)
    }

    pub fn parts(&self) -> Vec<Part<'_>> {
        let weights = [&self.router].into_iter().chain(&self.router_bias).chain(self.stacks.weights());
        let gate = self.shared.iter().map(|shared| &shared.gate);
        let linears = self.shared.iter().flat_map(|shared| shared.mlp.linears());
        weights.chain(gate).map(Part::Weight).chain(linears.map(Part::Linear)).collect()
    }

    pub fn linears_mut(&mut self) -> Vec<&mut Linear> {
        self.shared.iter_mut().flat_map(|shared| shared.mlp.linears_mut()).collect()
    }
}
