//! What tests of losses hold against fixtures that other programs wrote.

use crate::model::Model;
use crate::near::far;
use serde_json::Value;
use tch::Tensor;

/// Asserts that the model's gradients are those expected of its parameters, by name, each as a flat list; as near as a share of the largest of it.
#[track_caller]
pub(super) fn gradients_agree(model: &Model, expected: &Value) {
    let parameters = model.parameters();
    for (name, values) in expected.as_object().unwrap() {
        let (_, tensor) = parameters.iter().find(|(known, _)| known == name).unwrap();
        let values: Vec<f32> = serde_json::from_value(values.clone()).unwrap();
        let expected = Tensor::from_slice(&values).view(tensor.size().as_slice());
        let most = expected.abs().max().double_value(&[]);
        let far = far(&tensor.grad(), &expected);
        assert!(far < 1e-4 * most + 1e-6, "{name}: {far} of {most}");
    }
}
