//! Which layers of a family slide where `layer_types` does not say.

use crate::model::Config;
use crate::model::form::Sliding;
use serde_json::Value;

/// The layers from `max_window_layers` on.
pub(super) fn from_max_window_layers(config: &Config, index: usize) -> Sliding {
    let from = config.original.get("max_window_layers").and_then(Value::as_u64).unwrap_or(28);
    Sliding::ByType(index as u64 >= from)
}

/// The layers without rotary positions.
pub(super) fn where_nothing_turns(config: &Config, index: usize) -> Sliding {
    let key = |name: &str| config.original.get(name);
    let turned = key("no_rope_layers").and_then(|list| list.get(index)).and_then(Value::as_u64);
    let every = key("no_rope_layer_interval").and_then(Value::as_u64).unwrap_or(4).max(1);
    Sliding::ByType(turned.map_or((index as u64 + 1).is_multiple_of(every), |turned| turned == 0))
}

pub(super) fn all_but_each_sixth(config: &Config, index: usize) -> Sliding {
    let each = config.original.get("sliding_window_pattern").and_then(Value::as_u64).unwrap_or(6).max(1);
    Sliding::ByType(!(index as u64 + 1).is_multiple_of(each))
}
