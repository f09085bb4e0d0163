//! The figures of a step's rollouts: lengths, rewards, and how they differ within groups.

use crate::advantage::zero_variance;
use crate::engine::StopReason;
use crate::log::Metrics;
use crate::reward::{column, correct};
use crate::rollout::Group;
use crate::statistics::deviation;
use std::collections::BTreeSet;

/// Adds what is worth knowing of the rollouts, under TRL's names where TRL has the figure. `reward_std` is not TRL's, though it
/// has its name: it is the mean over groups of the deviation within a group, TRL's the deviation over all rewards of a step.
/// Deviations divide by n − 1.
pub fn describe(groups: &[Group], metrics: &mut Metrics) {
    let rollouts = || groups.iter().flat_map(|g| &g.rollouts);
    let lengths: Vec<f64> = rollouts().map(|r| r.sampled() as f64).collect();
    for (prefix, lengths) in [
        ("", lengths.clone()),
        ("_terminated", rollouts().filter(|r| !r.truncated()).map(|r| r.sampled() as f64).collect()),
    ] {
        if !lengths.is_empty() {
            for length in lengths {
                metrics.add(&format!("completions/mean{prefix}_length"), length, 1.0);
                metrics.min(&format!("completions/min{prefix}_length"), length);
                metrics.max(&format!("completions/max{prefix}_length"), length);
            }
        }
    }
    for group in groups {
        for rollout in &group.rollouts {
            let name = match correct(&group.example, rollout) {
                Some(true) => "completions/mean_length_correct",
                Some(false) => "completions/mean_length_wrong",
                None => continue,
            };
            metrics.add(name, rollout.sampled() as f64, 1.0);
        }
    }
    for rollout in rollouts() {
        metrics.add("completions/clipped_ratio", f64::from(u8::from(rollout.truncated())), 1.0);
        metrics.add(
            "completions/stop_string_ratio",
            f64::from(u8::from(matches!(rollout.stop, StopReason::StopString(_)))),
            1.0,
        );
        metrics.add("completions/unanswered", f64::from(u8::from(rollout.rationale.is_none())), 1.0);
        metrics.add("reward", rollout.reward, 1.0);
    }
    let names: BTreeSet<&String> = rollouts().flat_map(|r| r.scores.keys()).collect();
    for name in names {
        let values: Vec<f64> = rollouts().filter_map(|r| r.scores.get(name)).map(|s| s.value).collect();
        values.iter().for_each(|value| metrics.add(&format!("rewards/{name}/mean"), *value, 1.0));
        metrics.deviation(&format!("rewards/{name}/std"), &values);
    }
    for group in groups {
        let rewards = group.rewards();
        metrics.add("reward_std", deviation(&rewards), 1.0);
        metrics.add("frac_reward_zero_std", f64::from(u8::from(zero_variance(&rewards))), 1.0);
    }
}

/// Adds the accuracy of each class of `by`, a column of the data.
pub fn by_class(groups: &[Group], by: &str, metrics: &mut Metrics) {
    for group in groups {
        let Ok(class) = column::text(&group.example, by) else { continue };
        for correct in group.rollouts.iter().filter_map(|rollout| correct(&group.example, rollout)) {
            metrics.add(&format!("accuracy/{class}"), f64::from(u8::from(correct)), 1.0);
        }
    }
}
