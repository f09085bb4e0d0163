//! What recurrent layers remember of the sequences in flight: a state a slot and layer, whatever the sequence's length.

use crate::model::{DeltaInputs, DeltaSpec, DeltaState, Model};
use tch::{Device, Kind, Tensor};

/// Per layer that recurs the state of each slot.
pub struct States {
    layers: Vec<DeltaState>,
    spec: Option<DeltaSpec>,
    slots: i64,
    kind: Kind,
    device: Device,
}

impl States {
    /// Of no slot yet. Of a model without recurrent layers it stays empty.
    pub fn new(model: &Model) -> Self {
        let (kind, device) = (model.kind(), model.device());
        let spec = model.form.delta;
        let empty = |_| spec.map(|spec| spec.empty(0, kind, device));
        let layers = (0..model.config.recurrent_layers()).filter_map(empty).collect();
        Self { layers, spec, slots: 0, kind, device }
    }

    /// Makes room for `slots` sequences.
    pub fn allow(&mut self, slots: usize) {
        let more = slots as i64 - self.slots;
        let Some(spec) = self.spec.filter(|_| more > 0) else { return };
        for held in &mut self.layers {
            let new = spec.empty(more, self.kind, self.device);
            let both = |old: &Tensor, new: &Tensor| Tensor::cat(&[old, new], 0);
            *held = DeltaState {
                recent: both(&held.recent, &new.recent),
                memory: both(&held.memory, &new.memory),
            };
        }
        self.slots = slots as i64;
    }

    /// `count` sequences from slot `first` on begin behind what `states`, one a layer, are of.
    pub fn seat(&mut self, states: &[DeltaState], first: usize, count: usize) {
        for (held, new) in self.layers.iter().zip(states) {
            for (held, new) in [(&held.recent, &new.recent), (&held.memory, &new.memory)] {
                held.narrow(0, first as i64, count as i64).copy_(new);
            }
        }
    }

    /// What a token of each of the first sequences finds in `layer`, `[rows, value_heads · value_dim]`; it is remembered from here on.
    pub fn step(&mut self, layer: usize, spec: &DeltaSpec, inputs: &DeltaInputs<'_>) -> Tensor {
        let rows = inputs.mixed.size()[0];
        let held = self.layers[layer].map(|x| x.narrow(0, 0, rows));
        let (found, new) = spec.run(&inputs.map(|x| x.unsqueeze(1)), None, &held);
        for (mut held, new) in [(held.recent, new.recent), (held.memory, new.memory)] {
            held.copy_(&new);
        }
        found.reshape([rows, -1])
    }

    /// That of the sequence in `slot`, a layer each, in memory of its own.
    pub fn slot(&self, slot: usize) -> Vec<DeltaState> {
        self.layers.iter().map(|held| held.of(slot).map(Tensor::copy)).collect()
    }

    /// Copies slots `from` over slots `to`, which are other ones.
    pub fn relocate(&mut self, from: &Tensor, to: &Tensor) {
        for held in &self.layers {
            for held in [&held.recent, &held.memory] {
                let moved = held.index_select(0, from);
                let _ = held.shallow_clone().index_copy_(0, to, &moved);
            }
        }
    }
}
