//! How well a selected part of a text agrees with the part that people marked: ERASER's measures of plausibility (DeYoung et al. 2020,
//! arXiv 1911.03429). Places are words, in order.

use std::ops::Range;

/// How much of what is selected is right, and how much of what is right is selected.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Agreement {
    /// Of what is selected; 0 where nothing is.
    pub precision: f64,
    /// Of what is marked; 0 where nothing is.
    pub recall: f64,
}

impl Agreement {
    fn of(selected: usize, right: usize, marked: usize, found: usize) -> Self {
        let share = |of: usize, all: usize| if all == 0 { 0.0 } else { of as f64 / all as f64 };
        Self { precision: share(right, selected), recall: share(found, marked) }
    }

    /// Their harmonic mean; 0 where both are.
    pub fn f1(self) -> f64 {
        let sum = self.precision + self.recall;
        if sum == 0.0 { 0.0 } else { 2.0 * self.precision * self.recall / sum }
    }
}

/// Place by place.
///
/// # Panics
/// Where the two are not of one length.
pub fn places(selected: &[bool], marked: &[bool]) -> Agreement {
    assert_eq!(selected.len(), marked.len(), "of the same places");
    let both = selected.iter().zip(marked).filter(|(s, m)| **s && **m).count();
    let count = |which: &[bool]| which.iter().filter(|yes| **yes).count();
    Agreement::of(count(selected), both, count(marked), both)
}

/// Span by span, a span being neighbouring places: one is found where another covers at least half of what the two cover together. Each
/// marked span counts once, where ERASER's code counts it for each selected span that finds it.
pub fn spans(selected: &[bool], marked: &[bool]) -> Agreement {
    let [selected, marked] = [selected, marked].map(runs);
    let meets = |one: &Range<usize>, other: &Range<usize>| {
        let common = one.end.min(other.end).saturating_sub(one.start.max(other.start));
        2 * common >= one.len() + other.len() - common
    };
    let found = |of: &[Range<usize>], among: &[Range<usize>]| {
        of.iter().filter(|one| among.iter().any(|other| meets(one, other))).count()
    };
    Agreement::of(selected.len(), found(&selected, &marked), marked.len(), found(&marked, &selected))
}

/// Neighbouring places that are set.
pub fn runs(set: &[bool]) -> Vec<Range<usize>> {
    let mut found: Vec<Range<usize>> = Vec::new();
    for (place, _) in set.iter().enumerate().filter(|(_, yes)| **yes) {
        match found.last_mut().filter(|last| last.end == place) {
            Some(last) => last.end = place + 1,
            None => found.push(place..place + 1),
        }
    }
    found
}

/// The area under precision over recall, by the trapezium rule from a precision of 1 at a recall of 0, as scikit-learn's curve has it; NaN
/// where nothing is marked.
///
/// # Panics
/// Where the two are not of one length.
pub fn area(scores: &[f64], marked: &[bool]) -> f64 {
    assert_eq!(scores.len(), marked.len(), "of the same places");
    let all = marked.iter().filter(|yes| **yes).count() as f64;
    if all == 0.0 {
        return f64::NAN;
    }
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
    let (mut area, mut found, mut last) = (0.0, 0.0, (0.0, 1.0));
    for (at, &place) in order.iter().enumerate() {
        found += f64::from(u8::from(marked[place]));
        // Equal scores are selected together.
        if order.get(at + 1).is_some_and(|&next| scores[next] == scores[place]) {
            continue;
        }
        let (recall, precision) = (found / all, found / (at + 1) as f64);
        area += (recall - last.0) * (precision + last.1) / 2.0;
        last = (recall, precision);
    }
    area
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;

    fn set(text: &str) -> Vec<bool> {
        text.chars().map(|c| c == '1').collect()
    }

    #[test]
    fn literal_numbers() {
        // Three are selected, four are marked, two are both.
        let (selected, marked) = (set("0111000000"), set("0011110000"));
        let found = places(&selected, &marked);
        assert_eq!((found.precision, found.recall), (2.0 / 3.0, 0.5));
        assert!((found.f1() - 4.0 / 7.0).abs() < 1e-12);
        // They have 2 of 5 places in common: not half.
        assert_eq!(spans(&selected, &marked).f1(), 0.0);
        // 2 of 4, which is; and one that meets nothing.
        let found = spans(&set("0111000010"), &set("0011100000"));
        assert_eq!((found.precision, found.recall), (0.5, 1.0));
        // Two halves of a marked span: both are right, and it is found once.
        let found = spans(&set("1101100000"), &set("1111000000"));
        assert_eq!((found.precision, found.recall), (0.5, 1.0));
        assert_eq!(runs(&set("1100101")), [0..2, 4..5, 6..7]);
        assert_eq!((places(&set("00"), &set("10")).f1(), spans(&set("00"), &set("00")).f1()), (0.0, 0.0));
    }

    /// Against scikit-learn's `auc(recall, precision)` of its precision-recall curve (tests/fixtures/statistics/areas.py).
    #[test]
    fn areas_agree_with_scikit_learn() {
        let cases: Value =
            serde_json::from_str(include_str!("../../tests/fixtures/statistics/areas.json")).unwrap();
        for case in cases.as_array().unwrap() {
            let scores: Vec<f64> = serde_json::from_value(case["scores"].clone()).unwrap();
            let marked: Vec<bool> = serde_json::from_value(case["marked"].clone()).unwrap();
            let expected = case["area"].as_f64().unwrap();
            assert!((area(&scores, &marked) - expected).abs() < 1e-9, "{scores:?}");
        }
        assert!(area(&[0.5], &[false]).is_nan());
        assert_eq!(area(&[0.9, 0.1], &[true, false]), 1.0);
    }
}
