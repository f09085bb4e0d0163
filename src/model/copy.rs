//! Copies of a model: the reference policy, and weights in another number format.

use super::{Layer, Linear, Model, Rope};
use tch::{Device, Kind, Tensor};

impl Model {
    /// The same function in `kind` on `device`, in memory of its own and without gradients. Adapters that take part
    /// are merged into the weights, others left out.
    pub fn copy(&self, kind: Kind, device: Device) -> Model {
        let copy = |t: &Tensor| t.detach().to_device_(device, kind, false, true);
        let source = if self.adapted { &self.merged() } else { self };
        Model {
            config: source.config.clone(),
            embedding: copy(&source.embedding),
            layers: source.layers.iter().map(|layer| layer.copy(&copy)).collect(),
            norm: copy(&source.norm),
            head: source.head.as_ref().map(copy),
            score: source.score.as_ref().map(|score| score.map(copy)),
            rope: Rope::new(&source.config, device),
            lora: None,
            resting: Vec::new(),
            ..*source
        }
    }
}

impl Layer {
    fn copy(&self, copy: &dyn Fn(&Tensor) -> Tensor) -> Layer {
        let linear =
            |l: &Linear| Linear { weight: copy(&l.weight), bias: l.bias.as_ref().map(copy), adapter: None };
        Layer {
            input_norm: copy(&self.input_norm),
            query: linear(&self.query),
            key: linear(&self.key),
            value: linear(&self.value),
            output: linear(&self.output),
            head_norms: self.head_norms.as_ref().map(|(query, key)| (copy(query), copy(key))),
            mlp_norm: copy(&self.mlp_norm),
            gate: linear(&self.gate),
            up: linear(&self.up),
            down: linear(&self.down),
        }
    }
}
