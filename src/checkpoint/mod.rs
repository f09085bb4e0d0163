//! What a run leaves on disk to go on from: the run directory, and in it checkpoints that are complete or absent.

use serde::{Deserialize, Serialize};

mod atomic;
mod lock;
mod revision;
mod rundir;
mod saved;
mod tensors;

pub use atomic::write_atomic;
pub use revision::{Git, git};
pub use rundir::{Mode, RunDir};
pub use saved::{CheckpointState, Progress, Saved};
pub use tensors::{load_tensors, save_tensors};

/// Which checkpoints are written and kept: `[checkpoint]`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Checkpoint {
    /// Steps between checkpoints; 0 writes one at the end of the stage only.
    pub every: usize,
    /// How many of the newest are kept; 0 keeps all. The best and each stage's last are kept beside them.
    pub keep_last: usize,
    /// The metric whose best checkpoint is kept too, such as `eval/accuracy`.
    pub best: Option<String>,
    /// Whether a `higher` or a `lower` value of that metric is better.
    pub best_mode: Better,
    /// Whether checkpoints hold the optimiser, without which `--resume` cannot continue exactly.
    pub save_optimizer: bool,
}

/// Which of two values of a metric is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Better {
    /// The larger.
    #[default]
    Higher,
    /// The smaller.
    Lower,
}

impl Default for Checkpoint {
    fn default() -> Self {
        Self { every: 0, keep_last: 2, best: None, best_mode: Better::Higher, save_optimizer: true }
    }
}

impl Checkpoint {
    /// Whether a checkpoint is due once `done` of a stage's `steps` steps are done.
    pub fn due(&self, done: usize, steps: usize) -> bool {
        done == steps || (self.every > 0 && done > 0 && done.is_multiple_of(self.every))
    }
}

impl Better {
    /// Whether `a` is better than `b`.
    pub fn than(self, a: f64, b: f64) -> bool {
        match self {
            Better::Higher => a > b,
            Better::Lower => a < b,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn due_every_n_steps_and_at_the_end() {
        let due = |every| {
            let keep = Checkpoint { every, ..Default::default() };
            (0..=7).filter(|&done| keep.due(done, 7)).collect::<Vec<_>>()
        };
        assert_eq!(due(3), [3, 6, 7]);
        assert_eq!(due(0), [7]);
    }
}
