//! How often the clip held, as counts that add up.

use super::policy::PolicyTerms;

/// How often the clip held, over tokens of non-zero weight; with a ratio by sequence, over the sequences that have
/// any. Adds up over micro-batches and ranks. TRL's `clip_ratio/*`: `low_mean` = low / count, `high_mean` = high /
/// count, `region_mean` = (low + high) / count, `low_min`, `high_max`. For `cispo` `high` counts ratios over the cap
/// with A > 0 (TRL's `cispo_clip_ratio`).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Clips {
    /// Number of ratios under 1 − clip_low with A < 0.
    pub low: f64,
    /// Number of ratios over 1 + clip_high with A > 0.
    pub high: f64,
    /// Σ r; over `count` the mean ratio.
    pub ratio: f64,
    /// The greatest ratio.
    pub ratio_max: f64,
    /// Number of ratios.
    pub count: f64,
    /// The least share of low clips in a sequence.
    pub low_min: f64,
    /// The greatest share of high clips in a sequence.
    pub high_max: f64,
}

impl Default for Clips {
    fn default() -> Self {
        Self { low: 0.0, high: 0.0, ratio: 0.0, ratio_max: 0.0, count: 0.0, low_min: 1.0, high_max: 0.0 }
    }
}

impl Clips {
    /// Both together.
    pub fn plus(self, other: Self) -> Self {
        Self {
            low: self.low + other.low,
            high: self.high + other.high,
            ratio: self.ratio + other.ratio,
            ratio_max: self.ratio_max.max(other.ratio_max),
            count: self.count + other.count,
            low_min: self.low_min.min(other.low_min),
            high_max: self.high_max.max(other.high_max),
        }
    }

    /// Of one sequence's (ratio, advantage) pairs.
    pub(super) fn of_sequence(pairs: impl Iterator<Item = (f64, f64)>, low: f64, high: f64) -> Self {
        let mut clips = Self::default();
        for (ratio, advantage) in pairs {
            clips.low += f64::from(ratio < low && advantage < 0.0);
            clips.high += f64::from(ratio > high && advantage > 0.0);
            clips.ratio += ratio;
            clips.ratio_max = clips.ratio_max.max(ratio);
            clips.count += 1.0;
        }
        if clips.count > 0.0 {
            (clips.low_min, clips.high_max) = (clips.low / clips.count, clips.high / clips.count);
        }
        clips
    }
}

impl PolicyTerms {
    /// Calls `add(name, mean, count)` for each figure, under TRL's names; the means of several micro-batches average by
    /// their counts. Nothing where nothing counts.
    pub fn report(&self, mut add: impl FnMut(&str, f64, f64)) {
        let Clips { low, high, ratio, count, .. } = self.clips;
        if count > 0.0 {
            add("clip_ratio/low_mean", low / count, count);
            add("clip_ratio/high_mean", high / count, count);
            add("clip_ratio/region_mean", (low + high) / count, count);
            add("ratio/mean", ratio / count, count);
        }
    }
}
