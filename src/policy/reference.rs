//! The reference policy: what the KL penalty keeps the policy near to.

use super::Policy;
use crate::error::Result;
use crate::model::{Model, Sequence};
use crate::section::Misfit;
use serde::{Deserialize, Serialize};
use tch::Device;

/// How the reference policy follows the policy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Refresh {
    /// Steps between refreshes; 0 keeps the reference as it was at the start.
    pub every: usize,
    /// reference ← mix · policy + (1 − mix) · reference.
    pub mix: f64,
}

impl Default for Refresh {
    fn default() -> Self {
        Self { every: 0, mix: 1.0 }
    }
}

impl Refresh {
    /// What cannot be used as it is.
    pub fn check(&self) -> Vec<Misfit> {
        let outside = !(0.0..=1.0).contains(&self.mix);
        outside.then(|| Misfit::new("mix", "it must lie between 0 and 1", "")).into_iter().collect()
    }

    /// Whether the reference is refreshed after `step`.
    pub fn due(&self, step: usize) -> bool {
        self.every > 0 && step.is_multiple_of(self.every)
    }
}

/// A frozen policy: the base under an adapter that is switched off, or a copy of the weights.
#[derive(Debug)]
pub enum Reference {
    /// The policy's own base weights, its adapters off (LoRA): no copy.
    Base,
    /// Weights of their own.
    Copy(Box<Model>),
}

impl Reference {
    /// The policy as it is now, on `device`. One that `moves` has weights of its own under LoRA too: the base stays where it
    /// is.
    pub fn of(policy: &Policy, device: Device, moves: bool) -> Self {
        if policy.model.lora.is_some() && !moves {
            Self::Base
        } else {
            Self::Copy(Box::new(policy.model.copy(policy.model.kind(), device)))
        }
    }

    /// log p of every learned token at `temperature`, sequence by sequence, in micro-batches of `budget` tokens.
    pub fn logprobs(
        &self,
        policy: &mut Policy,
        sequences: &[Sequence],
        temperature: f64,
        budget: usize,
    ) -> Result<Vec<Vec<f32>>> {
        match self {
            Self::Base => {
                policy.model.adapted = false;
                let logprobs = policy.logprobs(sequences, temperature, budget);
                policy.model.adapted = true;
                logprobs
            }
            Self::Copy(model) => super::logprobs(model, sequences, temperature, budget),
        }
    }

    /// Moves the reference towards the policy: reference ← mix · policy + (1 − mix) · reference (TR-DPO's soft
    /// update; 1 replaces it), adapters merged. The base under an adapter stays as it is.
    pub fn refresh(&mut self, policy: &Policy, mix: f64) {
        let Self::Copy(model) = self else { return };
        let policy = policy.model.merged();
        tch::no_grad(|| {
            for ((_, target), (_, source)) in model.tensors().into_iter().zip(policy.tensors()) {
                let mut target = target;
                let source = source.to_device(target.device());
                let _ = target.lerp_(&source, mix);
            }
        });
    }
}
