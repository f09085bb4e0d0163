//! The reference policy: what the KL penalty keeps the policy near to.

use super::Policy;
use crate::devices::kind_beside;
use crate::error::Result;
use crate::model::{Model, Sequence};
use crate::section::Misfit;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::Path;
use tch::{Device, Kind, Tensor};

/// How the reference policy follows the policy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
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
    /// Weights of its own.
    Copy {
        /// What is asked for log-probabilities.
        model: Box<Model>,
        /// What follows the policy by a mix where `model` is not in f32, whose rounded copy `model` then is: steps smaller than
        /// the spacing of its numbers add up instead of being lost.
        masters: Option<Box<Model>>,
    },
}

impl Reference {
    /// The policy as it is now, on `device`, in the policy's number format where that is multiplied there. One that `moves` has weights of its own under LoRA too: the base stays where it
    /// is.
    pub fn of(policy: &Policy, device: Device, moves: bool) -> Self {
        if policy.model.lora.is_some() && !moves {
            Self::Base
        } else {
            let kind = kind_beside(policy.model.kind(), policy.model.device(), device);
            Self::Copy { model: Box::new(policy.model.copy(kind, device)), masters: None }
        }
    }

    /// The models of its own that it has.
    pub fn models(&mut self) -> Vec<&mut Model> {
        match self {
            Self::Base => vec![],
            Self::Copy { model, masters } => {
                [Some(model), masters.as_mut()].into_iter().flatten().map(|model| &mut **model).collect()
            }
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
            Self::Copy { model, .. } => super::logprobs(model, sequences, temperature, budget),
        }
    }

    /// Moves the reference towards the policy: reference ← mix · policy + (1 − mix) · reference (TR-DPO's soft
    /// update; 1 replaces it), adapters merged. The base under an adapter stays as it is.
    pub fn refresh(&mut self, policy: &Policy, mix: f64) {
        let Self::Copy { model, masters } = self else { return };
        let policy = policy.model.merged();
        if mix >= 1.0 || model.kind() == Kind::Float {
            *masters = None;
        } else if masters.is_none() {
            *masters = Some(Box::new(model.copy(Kind::Float, model.device())));
        }
        tch::no_grad(|| {
            for (mut target, source) in paired(masters.as_ref().unwrap_or(model), &policy) {
                let source = source.to_device(target.device()).to_kind(target.kind());
                let _ = target.lerp_(&source, mix);
            }
            for (mut rounded, master) in masters.iter().flat_map(|masters| paired(model, masters)) {
                rounded.copy_(&master);
            }
        });
        self.models().into_iter().for_each(|model| model.weights_written());
    }

    /// Writes weights of its own into the model folder `dir`, every bit that its further way depends on: in f32 where it has
    /// masters. The policy's base writes nothing.
    pub fn save(&self, dir: &Path) -> Result<()> {
        match self {
            Self::Base => Ok(()),
            Self::Copy { model, masters } => masters.as_ref().unwrap_or(model).save(dir),
        }
    }

    /// Takes weights of its own from where [`save`](Self::save) left them.
    pub fn restore(&mut self, dir: &Path) -> Result<()> {
        let Self::Copy { model, masters } = self else { return Ok(()) };
        let stored = Model::load(dir, Kind::Float, model.device())?;
        if model.kind() == Kind::Float {
            (**model, *masters) = (stored, None);
            return Ok(());
        }
        **model = stored.copy(model.kind(), model.device());
        // Masters that are their own rounded copy say nothing further, and are made anew when they are needed.
        let finer = paired(&stored, model)
            .into_iter()
            .any(|(stored, rounded)| stored != rounded.to_kind(Kind::Float));
        *masters = finer.then(|| Box::new(stored));
        Ok(())
    }
}

/// The weights of two models of one shape, side by side.
fn paired(a: &Model, b: &Model) -> Vec<(Tensor, Tensor)> {
    let (a, b) = (a.tensors(), b.tensors());
    let names = |all: &[(String, Tensor)]| all.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&a), names(&b), "a reference has the policy's shape");
    a.into_iter().map(|(_, a)| a).zip(b.into_iter().map(|(_, b)| b)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::Init;

    /// A policy a tenth of the way from `start` to other weights of their size, and a reference that starts where it did.
    fn ahead_of_its_reference(kind: Kind) -> (Policy, Model, Reference) {
        let init = Init { hidden_size: 32, layers: 1, heads: 2, kv_heads: 2, ..Init::default() };
        let [policy, other] = [7, 8].map(|seed| init.make(kind, Device::Cpu, seed, 1).unwrap());
        let start = policy.model.copy(Kind::Float, Device::Cpu);
        let reference = Reference::of(&policy, Device::Cpu, true);
        tch::no_grad(|| {
            for (mut weight, other) in paired(&policy.model, &other.model) {
                let _ = weight.lerp_(&other, 0.1);
            }
        });
        (policy, start, reference)
    }

    /// How much of the way from `start` to the policy the reference has come: the projection onto it, in which rounding averages
    /// out.
    fn share(policy: &Policy, start: &Model, reference: &Reference) -> f64 {
        let Reference::Copy { model, .. } = reference else { panic!("it has no weights of its own") };
        let (mut along, mut whole) = (0.0, 0.0);
        for ((start, end), (_, at)) in paired(start, &policy.model).into_iter().zip(model.tensors()) {
            let way = end.to_kind(Kind::Double) - start.to_kind(Kind::Double);
            along += ((at.to_kind(Kind::Double) - start.to_kind(Kind::Double)) * &way)
                .sum(Kind::Double)
                .double_value(&[]);
            whole += way.square().sum(Kind::Double).double_value(&[]);
        }
        along / whole
    }

    #[test]
    fn small_mixes_add_up_in_bf16_too() {
        // 1 − 0.99⁶⁰ = 0.4528 of the way. A step is about 0.1 % of a weight, and bf16's numbers lie 0.4 to 0.8 % apart: added to
        // the rounded weights, most steps would be lost.
        for kind in [Kind::Float, Kind::BFloat16] {
            let (policy, start, mut reference) = ahead_of_its_reference(kind);
            (0..60).for_each(|_| reference.refresh(&policy, 0.01));
            let share = share(&policy, &start, &reference);
            assert!((share / (1.0 - 0.99_f64.powi(60)) - 1.0).abs() < 0.01, "{kind:?}: {share}");
        }
    }

    #[test]
    fn a_mix_of_one_replaces_it_and_needs_no_masters() {
        let (policy, start, mut reference) = ahead_of_its_reference(Kind::BFloat16);
        reference.refresh(&policy, 0.5);
        reference.refresh(&policy, 1.0);
        assert_eq!(share(&policy, &start, &reference), 1.0);
        assert!(matches!(reference, Reference::Copy { masters: None, .. }));
    }

    #[test]
    fn a_restored_reference_goes_on_bit_for_bit() {
        for kind in [Kind::Float, Kind::BFloat16] {
            let (policy, _, mut whole) = ahead_of_its_reference(kind);
            (0..30).for_each(|_| whole.refresh(&policy, 0.01));
            let dir = tempfile::tempdir().unwrap();
            whole.save(dir.path()).unwrap();
            let mut resumed = Reference::of(&policy, Device::Cpu, true);
            resumed.restore(dir.path()).unwrap();
            let same = |a: &Reference, b: &Reference| {
                let weights = |reference: &Reference| match reference {
                    Reference::Copy { model, masters } => {
                        (model.tensors(), masters.as_ref().map(|m| m.tensors()))
                    }
                    Reference::Base => panic!("it has no weights of its own"),
                };
                assert!(weights(a) == weights(b), "{kind:?}");
            };
            same(&whole, &resumed);
            (0..30)
                .for_each(|_| [&mut whole, &mut resumed].into_iter().for_each(|r| r.refresh(&policy, 0.01)));
            same(&whole, &resumed);
        }
    }
}
