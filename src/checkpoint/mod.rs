//! What a run leaves on disk to go on from: the run directory, and in it checkpoints that are complete or absent.

use crate::section::Misfit;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

mod atomic;
mod extent;
mod fingerprint;
mod fork;
mod ledger;
mod lock;
mod names;
mod owner;
mod prune;
mod ranges;
mod revision;
mod rundir;
mod saved;
mod sealed;
mod starts;
mod takeover;
mod tensors;
mod trials;

pub use atomic::{free_folder, try_to_write, write_atomic, write_folder};
pub use extent::{Extent, Extents};
pub use fingerprint::{Fingerprint, differences};
pub use fork::fork;
pub use ledger::{Done, Ledger, StageRecord};
pub use lock::is_in_use;
pub use names::{label, names_folder, recipes};
pub use ranges::{Ranges, part_name};
pub use revision::{Git, git};
pub use rundir::RunDir;
pub use saved::{CheckpointState, OptimizerPart, Progress, Saved, no_such_folder};
pub use sealed::sealed;
pub use takeover::{MACHINE, Mode, abandon, could_create, goes_with, has_begun, is_run, only_files, release};
pub use tensors::{load_tensors, save_tensors};
pub use trials::{TrialRecord, Trials};

/// Which checkpoints are written and kept: `[checkpoint]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Checkpoint {
    /// Steps between checkpoints; 0 goes by time, `minutes`. One is written before every evaluation, at the end of the stage and
    /// when the run is told to stop, too.
    pub every: usize,
    /// Minutes between checkpoints where `every` is 0; 0 for none in between.
    pub minutes: f64,
    /// How many of the newest are kept, beside the one that is written next; 0 keeps all. The best and each stage's last are kept
    /// beside them.
    pub keep_last: usize,
    /// The metric whose best checkpoint is kept too, such as `eval/accuracy`.
    pub best: Option<String>,
    /// Whether a `higher` or a `lower` value of that metric is better.
    pub best_mode: Better,
    /// Whether checkpoints keep the optimiser once the run has gone on from them. The newest of a stage that is not done has it in any case, so that `--resume` can
    /// go on; what is done cannot be given more steps without it.
    pub save_optimizer: bool,
}

/// Which of two values of a metric is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
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
        Self {
            every: 0,
            minutes: 15.0,
            keep_last: 2,
            best: None,
            best_mode: Better::Higher,
            save_optimizer: true,
        }
    }
}

impl Checkpoint {
    /// What cannot be used as it is.
    pub fn check(&self) -> Vec<Misfit> {
        let usable = self.minutes >= 0.0 && self.minutes.is_finite();
        let remedy = "give 0 for none in between";
        let wrong = (!usable).then(|| Misfit::new("minutes", "it must be 0 or more minutes", remedy));
        let loss = |metric: &str| metric.ends_with("loss") || metric.ends_with("perplexity");
        let upside_down = self.best.as_deref().is_some_and(loss) && self.best_mode == Better::Higher;
        let lower = "set best_mode = \"lower\"";
        let mode = upside_down
            .then(|| Misfit::new("best_mode", "of a loss the lower value is the better one", lower));
        wrong.into_iter().chain(mode).collect()
    }

    /// Whether a checkpoint is due once `done` of a stage's `steps` steps are done.
    pub fn due(&self, done: usize, steps: usize) -> bool {
        done == steps || (self.every > 0 && done > 0 && done.is_multiple_of(self.every))
    }

    /// Whether a checkpoint is due so long after the last one.
    pub fn due_by_time(&self, since: Duration) -> bool {
        self.every == 0 && self.minutes > 0.0 && since.as_secs_f64() >= 60.0 * self.minutes
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

    #[test]
    fn due_by_time_where_no_number_of_steps_is_given() {
        let keep = Checkpoint::default();
        let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
        assert!(!keep.due_by_time(minutes(14)) && keep.due_by_time(minutes(15)));
        assert!(!Checkpoint { every: 100, ..keep.clone() }.due_by_time(minutes(900)));
        assert!(!Checkpoint { minutes: 0.0, ..keep }.due_by_time(minutes(900)));
        assert_eq!(Checkpoint { minutes: f64::NAN, ..Checkpoint::default() }.check().len(), 1);
    }
}
