//! Experts: a router sends each token through some of many small MLPs, whose results are summed by the router's weights (Shazeer et al.
//! 2017; Jiang et al. 2024). Tokens are sorted by expert, so that each expert is one product over its tokens.

use super::block::{Part, Parts, Weight};
use super::form::ExpertsForm;
use super::mlp::Activation;
use super::{Config, linear};
use crate::Result;
use std::cell::RefCell;
use tch::{Kind, Tensor};

/// The experts of a layer, with their router.
#[derive(Debug)]
pub(super) struct Experts {
    per_token: i64,
    normalised: bool,
    activation: Activation,
    /// `[experts, hidden]`.
    router: Weight,
    /// `[experts, width, hidden]` each, and the last `[experts, hidden, width]`.
    gate: Weight,
    up: Weight,
    down: Weight,
    /// Tokens that each expert has had since this was last asked for, `[experts]` in f32.
    load: RefCell<Option<Tensor>>,
}

impl Experts {
    pub fn new(config: &Config, form: &ExpertsForm, parts: &mut Parts<'_>) -> Result<Self> {
        let ExpertsForm { count, width, .. } = *form;
        let hidden = config.hidden_size;
        Ok(Self {
            per_token: form.per_token as i64,
            normalised: form.normalised,
            activation: Activation::of(config),
            router: parts.weight("mlp.gate.weight", &[count, hidden])?,
            gate: parts.weight("mlp.experts.*.gate_proj.weight", &[count, width, hidden])?,
            up: parts.weight("mlp.experts.*.up_proj.weight", &[count, width, hidden])?,
            down: parts.weight("mlp.experts.*.down_proj.weight", &[count, hidden, width])?,
            load: RefCell::default(),
        })
    }

    /// `h [tokens, hidden]` to `[tokens, hidden]`.
    pub fn forward(&self, h: &Tensor) -> Tensor {
        let (weights, chosen) = self.route(h);
        // The places of the choices `[tokens · per_token]`, those of the first expert first.
        let chosen = chosen.reshape([-1]);
        let order = chosen.argsort_stable(true, 0, false);
        let counts = chosen.bincount::<&Tensor>(None, self.router.tensor.size()[0]);
        self.note(&counts);
        let sizes: Vec<i64> = Vec::try_from(&counts).expect("counts are whole numbers");
        let token = order.divide_scalar_mode(self.per_token, "floor");
        let [gate, up, down] = [&self.gate, &self.up, &self.down].map(|stack| stack.tensor.unbind(0));
        let found: Vec<Tensor> = h
            .index_select(0, &token)
            .split_with_sizes(&sizes, 0)
            .iter()
            .zip(gate.iter().zip(&up).zip(&down))
            .filter(|(own, _)| own.size()[0] > 0)
            .map(|(own, ((gate, up), down))| {
                let gated =
                    self.activation.apply(&linear::product(own, gate, None)) * linear::product(own, up, None);
                linear::product(&gated, down, None)
            })
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
        let shares = linear::product(h, &self.router.tensor, None).softmax(-1, Kind::Float);
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

    pub fn parts(&self) -> [Part<'_>; 4] {
        [&self.router, &self.gate, &self.up, &self.down].map(Part::Weight)
    }
}
