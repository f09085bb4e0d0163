//! What labels from continuations cost, against labelling each of these steps by itself.

use super::Place;
use crate::engine::Statistics;
use crate::rollout::Figures;

/// Labels, and the tokens that they took.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Cost {
    labels: f64,
    read: f64,
    written: f64,
    naive_read: f64,
    naive_written: f64,
}

impl Cost {
    /// Counts what a call for continuations computed: prompts and prefixes read once each, and tokens written.
    pub fn spent(&mut self, statistics: &Statistics) {
        self.read += statistics.prefill_tokens as f64;
        self.written += statistics.decoded_tokens as f64;
    }

    /// Counts the labels of a completion of `tokens` tokens: those of `places` of which `known` (counted from 1) says what
    /// the continuations were, and those before the last good one, since what leads on to a right answer from a longer
    /// prefix does so from a shorter one. The first `before` places have their labels from elsewhere.
    ///
    /// The naive way asks for `count` continuations of each label by itself: each reads prompt and prefix again and
    /// writes, by estimate, as much as the completion has left.
    pub fn labelled(
        &mut self,
        places: &[Place],
        known: impl Fn(usize) -> Option<bool>,
        before: usize,
        [count, prompt, tokens]: [usize; 3],
    ) {
        let last_good = (1..=places.len()).rev().find(|&number| known(number) == Some(true)).unwrap_or(0);
        for (place, number) in places.iter().zip(1..).skip(before) {
            if known(number).is_some() || number < last_good {
                self.labels += 1.0;
                self.naive_read += (count * (prompt + place.tokens)) as f64;
                self.naive_written += (count * (tokens - place.tokens)) as f64;
            }
        }
    }

    /// Adds tokens a label: all of them and those written, and what the naive way would have taken.
    pub fn report(&self, figures: &mut dyn Figures) {
        figures.count("labels/count", self.labels);
        if self.labels > 0.0 {
            let mut add = |name: &str, tokens: f64| {
                figures.add(&format!("labels/{name}"), tokens / self.labels, self.labels);
            };
            add("tokens", self.read + self.written);
            add("written", self.written);
            add("naive_tokens", self.naive_read + self.naive_written);
            add("naive_written", self.naive_written);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::Metrics;

    #[test]
    fn a_search_labels_more_steps_than_it_continues() {
        // Steps end at tokens 2, 4, 6 and 8 of 10, the prompt has 5, two continuations each. Known: after step 2 good, after
        // step 3 not. Labels 1 (before a good one), 2 and 3: naive 2 · (7 + 9 + 11) = 54 read, 2 · (8 + 6 + 4) = 36 written.
        let places: Vec<Place> =
            (1..=4).map(|step| Place { step, tokens: 2 * step, bytes: 2 * step }).collect();
        let known = |number: usize| [None, Some(true), Some(false), None][number - 1];
        let mut cost = Cost::default();
        cost.spent(&Statistics { prefill_tokens: 11, decoded_tokens: 19, ..Statistics::default() });
        cost.labelled(&places, known, 0, [2, 5, 10]);
        let mut metrics = Metrics::default();
        cost.report(&mut metrics);
        let of = |name: &str| metrics.get(&format!("labels/{name}")).unwrap();
        assert_eq!([of("count"), of("tokens"), of("written")], [3.0, 10.0, 19.0 / 3.0]);
        assert_eq!([of("naive_tokens"), of("naive_written")], [30.0, 12.0]);
        // The first two have their labels from elsewhere.
        let mut cost = Cost::default();
        cost.labelled(&places, known, 2, [2, 5, 10]);
        assert_eq!(cost.labels, 1.0);
    }
}
