//! Which checkpoints of a run go, and what goes of those that stay.

use super::Checkpoint;
use super::atomic::remove;
use super::rundir::RunDir;
use super::saved::{Saved, best};
use crate::Result;
use std::collections::{BTreeMap, BTreeSet};

impl RunDir {
    /// Removes the checkpoints that the section does not keep. Kept are the newest `keep_last`, the best, of each stage that is not
    /// done its newest, and of each stage the newest that ended it, which `"@stage"` may refer to. Where optimisers are not kept, those of the last stage go
    /// once there is a newer checkpoint, or nothing left to do.
    pub fn prune(&self, keep: &Checkpoint) -> Result<()> {
        if keep.keep_last == 0 && keep.save_optimizer {
            return Ok(());
        }
        let (all, mut ledger) = (self.checkpoints()?, self.ledger()?);
        let newest = all.iter().rev().take(keep.keep_last);
        let done = |saved: &&Saved| {
            let progress = &saved.state.progress;
            ledger.of(&progress.stage, progress.round).is_some_and(|record| record.done.is_some())
        };
        let unfinished: BTreeMap<(&str, usize), &Saved> =
            all.iter().filter(|saved| !done(saved)).map(|saved| (saved.of(), saved)).collect();
        let newest_of =
            |saved: &Saved| unfinished.get(&saved.of()).is_some_and(|newest| newest.path == saved.path);
        if let Some(last) = ledger.stages.last().filter(|_| !keep.save_optimizer) {
            let of_last = |saved: &&Saved| saved.of() == (last.stage.as_str(), last.round);
            let mut passed = all.iter().filter(of_last).filter(|saved| !newest_of(saved));
            passed.try_for_each(Saved::drop_optimizer)?;
        }
        if keep.keep_last == 0 {
            return Ok(());
        }
        let mut ended: BTreeMap<&str, &str> = BTreeMap::new();
        for record in &ledger.stages {
            let folder = record.done.as_ref().and_then(|done| done.checkpoint.as_deref());
            ended.extend(folder.map(|folder| (record.stage.as_str(), folder)));
        }
        let kept: BTreeSet<String> = newest
            .chain(best(&all, keep))
            .chain(unfinished.into_values())
            .map(Saved::name)
            .chain(ended.into_values().map(str::to_string))
            .collect();
        let doomed: Vec<&Saved> = all.iter().filter(|saved| !kept.contains(&saved.name())).collect();
        // That a stage is done is noted without its checkpoint before that goes.
        let gone: BTreeSet<String> = doomed.iter().map(|saved| saved.name()).collect();
        let mut lost = false;
        for done in ledger.stages.iter_mut().filter_map(|record| record.done.as_mut()) {
            lost |= done.checkpoint.take_if(|folder| gone.contains(folder)).is_some();
        }
        if lost {
            self.note(&ledger)?;
        }
        doomed.into_iter().try_for_each(|saved| remove(&saved.path))
    }
}
