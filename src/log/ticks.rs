//! Axes whose ticks stand at round numbers, with as many digits as tell them apart.

use plotters::coord::ranged1d::{DefaultFormatting, KeyPointHint, Ranged};
use std::ops::Range;

/// An axis from its least to its greatest value.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Axis {
    low: f64,
    high: f64,
    step: f64,
    ticks: Vec<f64>,
}

impl Axis {
    /// With about so many ticks.
    pub fn new((low, high): (f64, f64), about: usize) -> Self {
        Self::by_step((low, high), round_step((high - low) / about as f64))
    }

    /// The same with ticks at whole numbers alone.
    pub fn whole((low, high): (f64, f64), about: usize) -> Self {
        Self::by_step((low, high), round_step((high - low) / about as f64).max(1.0))
    }

    fn by_step((low, high): (f64, f64), step: f64) -> Self {
        // A tick that rounding alone has put outside is one.
        let (first, last) = ((low / step - 1e-9).ceil() as i64, (high / step + 1e-9).floor() as i64);
        let ticks = (first..=last).map(|count| count as f64 * step).collect();
        Self { low, high, step, ticks }
    }

    /// What stands at a tick.
    pub fn label(&self, tick: &f64) -> String {
        if tick.abs() < 0.5 * self.step {
            return "0".to_string();
        }
        let place = |value: f64| (value.abs().log10() + 1e-9).floor() as i32;
        let greatest = self.ticks.iter().fold(0.0_f64, |most, tick| most.max(tick.abs()));
        if !(1e-3..1e5).contains(&greatest) {
            let digits = (place(*tick) - place(self.step)).max(0) as usize;
            let text = format!("{tick:.digits$e}");
            let (mantissa, power) = text.split_once('e').unwrap_or((&text, "0"));
            let short = match mantissa.contains('.') {
                true => mantissa.trim_end_matches('0').trim_end_matches('.'),
                false => mantissa,
            };
            return format!("{short}e{power}");
        }
        let digits = (-place(self.step)).max(0) as usize;
        format!("{tick:.digits$}")
    }
}

impl Ranged for Axis {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        let share = (value - self.low) / (self.high - self.low);
        limit.0 + (f64::from(limit.1 - limit.0) * share).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        if hint.weight().allow_light_points() { vec![] } else { self.ticks.clone() }
    }

    fn range(&self) -> Range<f64> {
        self.low..self.high
    }
}

/// 1, 2 or 5 times a power of ten, near `rough`.
fn round_step(rough: f64) -> f64 {
    let power = 10.0_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 5.0, 10.0].into_iter().map(|count| count * power).find(|step| *step >= 0.7 * rough);
    step.filter(|step| step.is_finite() && *step > 0.0).unwrap_or(1.0)
}

/// The least and the greatest of what is finite, with a margin of this share; never the same. A share stays within 0 to 1, and has all of
/// that where it is always the same.
pub(super) fn range(values: impl Iterator<Item = f64>, margin: f64, share: bool) -> (f64, f64) {
    let (low, high) = values
        .filter(|value| value.is_finite())
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| (low.min(value), high.max(value)));
    let within = share && low >= 0.0 && high <= 1.0;
    match (low <= high, high - low) {
        (false, _) => (0.0, 1.0),
        (true, size) if size > f64::EPSILON * high.abs() => {
            let (low, high) = (low - margin * size, high + margin * size);
            if within { (low.max(0.0), high.min(1.0)) } else { (low, high) }
        }
        (true, _) if within || high == 0.0 => (0.0, 1.0),
        (true, _) => (low - 0.5 * low.abs(), high + 0.5 * high.abs()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(low: f64, high: f64) -> Vec<String> {
        let axis = Axis::new((low, high), 5);
        axis.ticks.iter().map(|tick| axis.label(tick)).collect()
    }

    #[test]
    fn ticks_are_round_and_told_apart() {
        assert_eq!(labels(-0.045, 0.044), ["-0.04", "-0.02", "0", "0.02", "0.04"]);
        assert_eq!(labels(1.195, 1.34), ["1.20", "1.25", "1.30"]);
        assert_eq!(labels(5e-5, 1.5e-4), ["6e-5", "8e-5", "1e-4", "1.2e-4", "1.4e-4"]);
        assert_eq!(labels(0.0, 1.0), ["0", "0.2", "0.4", "0.6", "0.8", "1.0"]);
        assert_eq!(labels(0.0, 250_000.0), ["0", "5e4", "1e5", "1.5e5", "2e5", "2.5e5"]);
        assert_eq!(labels(120.0, 480.0), ["200", "300", "400"]);
        assert_eq!(labels(0.1231, 0.12332), ["0.12310", "0.12315", "0.12320", "0.12325", "0.12330"]);
        for (low, high) in [(1e-9, 3e-9), (-7.0, 1e7), (0.123, 0.1231), (-24.4, -21.0)] {
            let mut found = labels(low, high);
            let count = found.len();
            assert!(count >= 2, "{found:?}");
            found.dedup();
            assert_eq!(found.len(), count, "{found:?}");
        }
    }

    #[test]
    fn steps_are_counted_in_whole_numbers() {
        let ticks = |low, high| Axis::whole((low, high), 5).ticks;
        assert_eq!(ticks(0.0, 2.0), [0.0, 1.0, 2.0]);
        assert_eq!(ticks(1.0, 10.0), [2.0, 4.0, 6.0, 8.0, 10.0]);
        assert_eq!(ticks(0.5, 1.5), [1.0]);
    }

    #[test]
    fn a_scale_is_never_empty() {
        assert_eq!(range([].into_iter(), 0.1, false), (0.0, 1.0));
        assert_eq!(range([2.0, 2.0].into_iter(), 0.1, false), (1.0, 3.0));
        assert_eq!(range([0.0, f64::NAN, 10.0].into_iter(), 0.1, false), (-1.0, 11.0));
        assert_eq!(range([0.0].into_iter(), 0.1, false), (0.0, 1.0));
    }

    #[test]
    fn a_share_is_between_none_and_all() {
        assert_eq!(range([0.0, 0.0].into_iter(), 0.06, true), (0.0, 1.0));
        assert_eq!(range([0.5].into_iter(), 0.06, true), (0.0, 1.0));
        assert_eq!(range([0.0, 0.5].into_iter(), 0.1, true), (0.0, 0.55));
        assert_eq!(range([0.5, 1.0].into_iter(), 0.1, true), (0.45, 1.0));
        // What is called a share and is more than all is shown as it is.
        assert_eq!(range([0.0, 2.0].into_iter(), 0.5, true), (-1.0, 3.0));
    }
}
