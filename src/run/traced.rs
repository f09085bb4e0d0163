//! What of a step goes to its traces.

use crate::loops::{Batch, DroppedGroup};
use crate::rollout::{Group, Trace};

/// This rank's traces, a list a group behind its place. What a method says of no group it says alike on all ranks, so the `first` one writes it.
pub(super) fn traces(batch: &Batch, step: usize, first: bool) -> Vec<(usize, Vec<Trace>)> {
    let of_group = |(number, (group, credit)): (usize, &(Group, Vec<Option<f64>>))| {
        let tokens =
            |i: usize| batch.by_token.get(number).and_then(|of| of.get(i)).cloned().unwrap_or_default();
        let of = |(i, advantage): (usize, &Option<f64>)| Trace {
            advantages: tokens(i),
            ..Trace::of(group, i, step, *advantage)
        };
        (group.place, credit.iter().enumerate().map(of).collect())
    };
    let of_dropped = |DroppedGroup { group, why, attempt }: &DroppedGroup| {
        let of = |sample: usize| {
            let trace = Trace::of(group, sample, step, None);
            // The same question may be asked again, and kept.
            Trace { id: format!("{}-dropped-{attempt}", trace.id), dropped: Some(why.to_string()), ..trace }
        };
        (group.place, (0..group.rollouts.len()).map(of).collect())
    };
    let alike = if first { batch.traces.clone() } else { vec![] };
    let dropped = batch.dropped.iter().map(of_dropped);
    batch.groups.iter().enumerate().map(of_group).chain(dropped).chain([(usize::MAX, alike)]).collect()
}
