//! Wrong results, planted for the checks' own tests.

use super::Figure;
use tch::{Kind, Tensor};

/// The tensor with its largest number a thousandth off.
pub fn off(right: &Tensor) -> Tensor {
    let wrong = right.detach().copy();
    let flat = wrong.view(-1);
    let largest = flat.abs().argmax(-1, false).int64_value(&[]);
    let mut place = flat.narrow(0, largest, 1);
    let changed = place.to_kind(Kind::Double) * 1.001;
    place.copy_(&changed);
    wrong
}

/// The names of the figures that fail.
pub fn failing(figures: &[Figure]) -> Vec<&str> {
    figures.iter().filter(|figure| !figure.passes()).map(|figure| figure.name.as_str()).collect()
}
