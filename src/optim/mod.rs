//! From gradients to better weights: the `[optim]` section, the learning-rate schedule, and the optimiser with its rules, AdamW and Muon.

use crate::section::{Misfit, broken, under};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use slot::Rule;
use std::collections::BTreeSet;
use tch::Kind;

mod blockwise;
mod fused;
mod muon;
mod optimizer;
mod schedule;
mod share;
mod slot;
mod state;

pub use muon::{AdjustLr, Muon};
pub use optimizer::{Optimizer, Sliced};
pub use schedule::Schedule;
pub use share::{Share, TOGETHER};

/// What may help where numbers overflow, of weights of this kind.
pub fn steadier(weights: Kind) -> &'static str {
    match weights {
        Kind::Float => "a lower optim.lr may help",
        _ => "a lower optim.lr, or policy.dtype = \"f32\", may help",
    }
}

/// Which rule moves which parameter.
#[derive(Debug, Clone, Copy)]
pub struct Rules<'a> {
    optim: &'a Optim,
    /// The names of what Muon may move; none: all that has two dimensions, as `torch.optim.Muon` takes it.
    matrices: Option<&'a BTreeSet<String>>,
}

impl<'a> From<&'a Optim> for Rules<'a> {
    fn from(optim: &'a Optim) -> Self {
        Self { optim, matrices: None }
    }
}

impl Rules<'_> {
    fn of(&self, name: &str, size: &[i64]) -> Rule {
        let matrix = self.matrices.map_or(size.len() == 2, |matrices| matrices.contains(name));
        let large = size.iter().product::<i64>() >= blockwise::LEAST;
        match self.optim.moments {
            _ if self.optim.muon.is_some() && matrix => Rule::Muon,
            Moments::EightBit if large => Rule::AdamW8,
            _ => Rule::AdamW,
        }
    }
}

/// As what AdamW keeps its two means.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Moments {
    /// 32-bit floats.
    #[default]
    #[serde(rename = "f32")]
    Full,
    /// Bytes in blocks of 256, of parameters with at least 4096 elements.
    #[serde(rename = "8bit")]
    EightBit,
}

/// Why slices have no blocks.
pub const CUT_BLOCKS: &str = "optim.moments = \"8bit\" keeps blocks of 256 numbers, and devices.shard = \"parameters\" cuts parameters anywhere; \
    \"optimizer\" divides what is remembered by whole blocks";

/// The optimiser of a stage: AdamW under a learning-rate schedule, and Muon beside it where `[optim.muon]` is there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Optim {
    /// The highest learning rate, reached when the warm-up ends. Default: what is usual for the method (2e-5 for sft, star
    /// contrast and think, 1e-5 for prm, extract and mario, 1e-6 for dpo and grpo), ten times that with `[policy.lora]`.
    pub lr: Option<f64>,
    /// Decay rates of the running means of the gradient and of its square.
    pub betas: [f64; 2],
    /// Added to the root of the second mean, so that nothing is divided by zero.
    pub eps: f64,
    /// Decoupled weight decay. Norms and biases (parameters of fewer than two dimensions) never decay.
    pub weight_decay: f64,
    /// How the learning rate goes on after the warm-up: `constant`, `linear` or `cosine`.
    pub schedule: Schedule,
    /// Where `linear` and `cosine` end, as a share of `lr`.
    pub min_lr_ratio: f64,
    /// Steps over which the learning rate rises from 0 to `lr`.
    pub warmup_steps: usize,
    /// The same as a share of the stage's steps, rounded up. Give one of the two.
    pub warmup_ratio: f64,
    /// Gradients whose norm over all parameters is larger are scaled down to it; 0 turns clipping off.
    pub max_grad_norm: f64,
    /// How many tokens go through the model at once. Bounds memory; cannot change the gradient.
    pub tokens_per_microbatch: usize,
    /// As what AdamW keeps its two means: `f32`, or `8bit` as bitsandbytes does, which takes a quarter of the memory. Muon's stays in f32.
    pub moments: Moments,
    /// Move the layers' matrices by Muon, and by AdamW what is left.
    pub muon: Option<Muon>,
}

/// The learning rate that changes a policy least: TRL's and verl's for GRPO, TRL's for DPO.
pub const SMALL_LR: f64 = 1e-6;

impl Default for Optim {
    fn default() -> Self {
        Self {
            lr: None,
            betas: [0.9, 0.999],
            eps: 1e-8,
            weight_decay: 0.0,
            schedule: Schedule::Constant,
            min_lr_ratio: 0.0,
            warmup_steps: 0,
            warmup_ratio: 0.0,
            max_grad_norm: 1.0,
            tokens_per_microbatch: 4096,
            moments: Moments::Full,
            muon: None,
        }
    }
}

impl Optim {
    /// The learning rate of `step` (counted from 0) of a stage of `steps` steps.
    pub fn lr(&self, step: usize, steps: usize) -> f64 {
        let highest = self.lr.unwrap_or(SMALL_LR);
        highest * self.schedule.factor(step, steps, self.warmup(steps), self.min_lr_ratio)
    }

    /// The rules for a model of which these are the layers' matrices, by name.
    pub fn rules<'a>(&'a self, matrices: &'a BTreeSet<String>) -> Rules<'a> {
        Rules { optim: self, matrices: Some(matrices) }
    }

    /// Bytes that are remembered, beside f32 masters, of tensors of so many elements each, which are matrices of the layers or not.
    pub fn remembered(&self, tensors: &[(usize, bool)]) -> usize {
        let of = |&(n, matrix): &(usize, bool)| match self.moments {
            _ if self.muon.is_some() && matrix => 4 * n,
            Moments::EightBit if n >= blockwise::LEAST as usize => {
                2 * (n + 4 * n.div_ceil(blockwise::BLOCK as usize))
            }
            _ => 8 * n,
        };
        tensors.iter().map(of).sum()
    }

    /// Muon's learning rate at AdamW's of 1.
    fn muon_by_adamw(&self) -> f64 {
        match self.muon.as_ref().and_then(|muon| muon.lr) {
            None => 1.0,
            Some(0.0) => 0.0,
            Some(lr) => lr / self.lr.unwrap_or(SMALL_LR),
        }
    }

    /// How many steps of a stage of `steps` steps are warm-up.
    pub fn warmup(&self, steps: usize) -> usize {
        if self.warmup_steps > 0 {
            self.warmup_steps
        } else {
            (self.warmup_ratio * steps as f64).ceil() as usize
        }
    }

    /// Values that cannot train.
    pub fn check(&self) -> Vec<Misfit> {
        let [beta1, beta2] = self.betas;
        let share = |x: f64| (0.0..=1.0).contains(&x);
        let mut found = broken(&[
            (
                self.lr.is_none_or(|lr| lr.is_finite() && lr >= 0.0),
                "lr",
                "it must be a number that is 0 or larger",
            ),
            (
                (0.0..1.0).contains(&beta1) && (0.0..1.0).contains(&beta2),
                "betas",
                "they must be two numbers in [0, 1)",
            ),
            // Below the least number of f32 it would be 0, and a gradient of 0 be divided by 0.
            (self.eps.is_finite() && self.eps >= 1e-30, "eps", "it must be at least 1e-30"),
            (
                self.weight_decay.is_finite() && self.weight_decay >= 0.0,
                "weight_decay",
                "it must be 0 or larger",
            ),
            (share(self.min_lr_ratio), "min_lr_ratio", "it must be between 0 and 1"),
            (share(self.warmup_ratio), "warmup_ratio", "it must be between 0 and 1"),
            (
                self.max_grad_norm.is_finite() && self.max_grad_norm >= 0.0,
                "max_grad_norm",
                "it must be 0 (off) or larger",
            ),
            (self.tokens_per_microbatch > 0, "tokens_per_microbatch", "it must be at least 1"),
        ]);
        if self.warmup_steps > 0 && self.warmup_ratio > 0.0 {
            found.push(Misfit::new(
                "warmup_ratio",
                format!("warmup_steps = {} says the same thing", self.warmup_steps),
                "give one of them",
            ));
        }
        found.extend(under("muon", self.muon.iter().flat_map(|muon| muon.check(self.lr))));
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_names_every_key() {
        assert_eq!(Optim::default().check(), []);
        let keys = |optim: Optim| optim.check().into_iter().map(|found| found.key).collect::<Vec<_>>();
        assert_eq!(
            keys(Optim { lr: Some(f64::NAN), betas: [0.9, 1.0], ..Default::default() }),
            ["lr", "betas"]
        );
        let both = Optim { warmup_steps: 2, warmup_ratio: 0.1, ..Default::default() };
        let twice = Misfit::new("warmup_ratio", "warmup_steps = 2 says the same thing", "give one of them");
        assert_eq!(both.check(), [twice]);
    }

    #[test]
    fn warmup_ratio_rounds_up() {
        // 0.1 · 25 = 2.5 steps; transformers takes the ceiling.
        let optim = Optim { warmup_ratio: 0.1, ..Default::default() };
        assert_eq!(optim.warmup(25), 3);
        assert_eq!(Optim { warmup_steps: 5, ..Default::default() }.warmup(25), 5);
    }

    /// AdamW remembers two f32 numbers of a weight, Muon one; two bytes, and two scales for each 256 of them, are 2 · (5000 + 4 · 20). What is
    /// smaller stays in f32.
    #[test]
    fn what_is_remembered_is_counted() {
        let tensors = [(5000, true), (5000, false), (100, false)];
        let of = |optim: Optim| optim.remembered(&tensors);
        assert_eq!(of(Optim::default()), 8 * 10_100);
        let muon = Optim { muon: Some(Muon::default()), ..Optim::default() };
        assert_eq!(of(muon.clone()), 4 * 5000 + 8 * 5100);
        assert_eq!(of(Optim { moments: Moments::EightBit, ..Optim::default() }), 2 * 10_160 + 800);
        assert_eq!(of(Optim { moments: Moments::EightBit, ..muon }), 4 * 5000 + 10_160 + 800);
    }

    #[test]
    fn unknown_keys_are_refused() {
        let error = toml::from_str::<Optim>("learning_rate = 1.0").unwrap_err().to_string();
        assert!(error.contains("learning_rate"), "{error}");
        let optim: Optim = toml::from_str("schedule = \"cosine\"\nmin_lr_ratio = 0.1").unwrap();
        assert_eq!(optim.schedule, Schedule::Cosine);
    }
}
