//! Copies of a model: the reference policy, and weights in another number format.

use super::{Model, Rope};
use tch::{Device, Kind, Tensor};

impl Model {
    /// The same function in `kind` on `device`, in memory of its own and without gradients. Adapters that take part
    /// are merged into the weights, others left out.
    pub fn copy(&self, kind: Kind, device: Device) -> Model {
        let copy = |t: &Tensor| t.detach().to_device_(device, kind, false, true);
        let source = if self.adapted { &self.merged() } else { self };
        Model {
            config: source.config.clone(),
            form: source.form.clone(),
            embedding: copy(&source.embedding),
            layers: source.rebuilt(|linear| copy(&linear.dense()), copy),
            norm: copy(&source.norm),
            head: source.head.as_ref().map(copy),
            score: source.score.as_ref().map(|score| score.map(copy)),
            extractor: source.extractor.as_ref().map(|extractor| extractor.map(copy)),
            thoughts: source.thoughts.as_ref().map(|thoughts| thoughts.map(copy)),
            steering: source.steering.as_ref().map(|steering| steering.map(copy)),
            value: source.value.as_ref().map(|value| value.map(copy)),
            rope: Rope::new(&source.form.ropes, device),
            lora: None,
            inactive: Vec::new(),
            shards: None,
            ..*source
        }
    }
}
