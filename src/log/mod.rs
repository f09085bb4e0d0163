//! What a run shows while it works, and the figures that it leaves behind.

pub mod board;
pub mod curves;
pub mod files;
mod growing;
pub mod intervals;
mod legend;
pub mod metrics;
pub mod plot;
pub mod reliability;
pub mod show;
mod silence;
pub mod described;
pub mod table;
pub mod terminal;
mod ticks;
pub mod tree;

pub use board::Board;
pub use files::JsonLines;
pub use metrics::{Metrics, number_or_nan};
pub use show::Show;
pub use table::table;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What a line of `metrics.jsonl` calls the sentences of a step's alarms.
pub const ALARMS: &str = "alarms";

/// What is shown: `[log]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// Steps between tables of sample rollouts; 0 for none.
    pub samples_every: usize,
    /// Rollouts in such a table.
    pub samples: usize,
    /// Whether TensorBoard event files are written.
    pub tensorboard: bool,
    /// Whether the token ids and log-probabilities of every rollout are kept in `traces/`.
    pub traces: bool,
}

impl Default for Log {
    fn default() -> Self {
        Self { samples_every: 10, samples: 2, tensorboard: true, traces: true }
    }
}
