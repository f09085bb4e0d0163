//! Learning-rate schedules, equal to transformers' `get_{constant,linear,cosine}_schedule_with_warmup`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::f64::consts::PI;

/// How the learning rate goes on after the warm-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Schedule {
    /// It stays.
    #[default]
    Constant,
    /// It falls along a straight line.
    Linear,
    /// It falls along half a cosine.
    Cosine,
}

impl Schedule {
    /// The share of the highest learning rate that `step` (from 0) of `steps` gets: `step / warmup` while warming
    /// up (so the very first step of a warm-up has 0, as in transformers), then down from 1 to `floor` at `steps`.
    pub fn factor(self, step: usize, steps: usize, warmup: usize, floor: f64) -> f64 {
        if step < warmup {
            return step as f64 / warmup as f64;
        }
        let progress = ((step - warmup) as f64 / steps.saturating_sub(warmup).max(1) as f64).min(1.0);
        let falling = match self {
            Schedule::Constant => return 1.0,
            // Not 1 - progress: at steps = warmup nothing is left to fall along.
            Schedule::Linear => {
                steps.saturating_sub(step) as f64 / steps.saturating_sub(warmup).max(1) as f64
            }
            Schedule::Cosine => 0.5 * (1.0 + (PI * progress).cos()),
        };
        floor + (1.0 - floor) * falling
    }
}
