//! Which sentences of a rationale a model can do without: Verbosity-Aware Rationale Reduction (arXiv 2412.21006). Pure.

use crate::rationale::Rationale;
use crate::section::Misfit;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// How rationales are shortened while they are learned: `[loop.sft.reduce]`.
///
/// The steps of `[data.format]` are the sentences. At each visit of a row the walk begins anew from its whole
/// rationale, front to back: a sentence goes if the gold answer is at least as likely without it, and the next is
/// weighed in the rationale that is left.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Reduce {
    /// The first share of the steps learns whole rationales: early likelihoods say little.
    pub warmup_ratio: f64,
    /// VARR+: a sentence goes only if, besides, losing it does not help the wrong answers more than the gold one, on
    /// average over so many answers of other rows of the step. 0 does not ask.
    pub wrong_answers: usize,
    /// Begin every pass over the data with a fresh optimiser, since the rationales are no longer the same.
    pub fresh_optimizer: bool,
}

impl Default for Reduce {
    fn default() -> Self {
        Self { warmup_ratio: 0.1, wrong_answers: 0, fresh_optimizer: true }
    }
}

impl Reduce {
    /// What cannot be used as it is.
    pub fn check(&self) -> Vec<Misfit> {
        let outside = !(0.0..1.0).contains(&self.warmup_ratio);
        let found = || Misfit::new("warmup_ratio", "it must be from 0 up to, not including, 1", "");
        outside.then(found).into_iter().collect()
    }

    /// How many of `sentences` may go at `step` of `steps`, counted from 1: ⌊sentences · step / steps⌋, none during the
    /// warm-up.
    pub fn limit(&self, sentences: usize, step: usize, steps: usize) -> usize {
        let warm = step as f64 > self.warmup_ratio * steps as f64;
        if warm { sentences * step.min(steps) / steps.max(1) } else { 0 }
    }
}

/// log p of the answers after one and the same rationale.
#[derive(Debug, Clone, PartialEq)]
pub struct Likelihood {
    /// Of the gold answer.
    pub gold: f64,
    /// Of wrong answers, always the same ones; none where they are not asked about.
    pub wrong: Vec<f64>,
}

impl Likelihood {
    /// Whether a sentence is verbose, from the likelihoods `without` it and with it: verbosity(y) = log p(y | without)
    /// − log p(y | with) is not negative for the gold answer, and no greater for the wrong ones on average.
    fn verbose(&self, without: &Self) -> bool {
        let gold = without.gold - self.gold;
        if self.wrong.is_empty() {
            return gold >= 0.0;
        }
        let differences = without.wrong.iter().zip(&self.wrong).map(|(without, with)| without - with);
        let wrong = differences.sum::<f64>() / self.wrong.len() as f64;
        gold >= 0.0 && wrong - gold <= 0.0
    }
}

/// A walk over the sentences of one rationale, front to back.
#[derive(Debug, Clone, PartialEq)]
pub struct Walk {
    removed: Vec<bool>,
    next: usize,
    left: usize,
    current: Likelihood,
}

impl Walk {
    /// Before the first sentence; at most `limit` may go. `whole` is the likelihood after the whole rationale.
    pub fn new(sentences: usize, limit: usize, whole: Likelihood) -> Self {
        Self { removed: vec![false; sentences], next: 0, left: limit, current: whole }
    }

    /// The sentences that would be gone if the next one went too; `None` at the end.
    pub fn proposal(&self) -> Option<Vec<bool>> {
        (self.left > 0 && self.next < self.removed.len()).then(|| {
            let mut removed = self.removed.clone();
            removed[self.next] = true;
            removed
        })
    }

    /// Decides over the [`proposal`](Self::proposal) from the likelihood after what it leaves.
    pub fn decide(&mut self, without: Likelihood) {
        if self.current.verbose(&without) {
            self.removed[self.next] = true;
            self.left -= 1;
            self.current = without;
        }
        self.next += 1;
    }

    /// Which sentences are gone.
    pub fn removed(&self) -> &[bool] {
        &self.removed
    }
}

/// `text` without the steps that are `removed`, each with the white space after it, and where its answer is then.
///
/// ```
/// use rationale::{rationale::Format, select::reduce::without};
/// let text = "a\nb\nc\n#### 7";
/// let read = Format::default().parse(text).unwrap();
/// let (shorter, answer) = without(text, &read, &[false, true, false]);
/// assert_eq!((shorter.as_str(), &shorter[answer]), ("a\nc\n#### 7", "7"));
/// ```
pub fn without(text: &str, rationale: &Rationale, removed: &[bool]) -> (String, Range<usize>) {
    let mut shorter = String::new();
    let (mut at, mut answer) = (0, rationale.answer.clone());
    for (step, _) in rationale.steps.iter().zip(removed).filter(|(_, removed)| **removed) {
        let rest = &text[step.end..];
        let end = step.end + (rest.len() - rest.trim_start().len());
        shorter.push_str(&text[at..step.start]);
        at = end;
        answer = answer.start - (end - step.start)..answer.end - (end - step.start);
    }
    shorter.push_str(&text[at..]);
    (shorter, answer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rationale::{Format, StepUnit};

    fn gold(gold: f64) -> Likelihood {
        Likelihood { gold, wrong: vec![] }
    }

    /// Walks with a table of likelihoods by what is gone, such as "100" for the first of three.
    fn walk(sentences: usize, limit: usize, table: &[(&str, Likelihood)]) -> String {
        let show = |removed: &[bool]| removed.iter().map(|r| if *r { '1' } else { '0' }).collect::<String>();
        let of = |key: String| table.iter().find(|(known, _)| *known == key).expect("asked for").1.clone();
        let mut walk = Walk::new(sentences, limit, of("0".repeat(sentences)));
        while let Some(proposal) = walk.proposal() {
            walk.decide(of(show(&proposal)));
        }
        show(walk.removed())
    }

    #[test]
    fn the_walk_weighs_each_sentence_in_what_is_left() {
        // Whole −1. Without the first −0.5: it goes. Without the second too −0.7 < −0.5: it stays, though −0.7 is better
        // than the whole. Without the first and third −0.5: equal, it goes.
        let table = [("000", gold(-1.0)), ("100", gold(-0.5)), ("110", gold(-0.7)), ("101", gold(-0.5))];
        assert_eq!(walk(3, 3, &table), "101");
        // With room for one only, nothing after the first is even asked about.
        assert_eq!(walk(3, 1, &table[..2]), "100");
        assert_eq!(walk(3, 0, &table[..1]), "000");
        assert_eq!(walk(0, 3, &[("", gold(-1.0))]), "");
    }

    #[test]
    fn the_plus_also_asks_about_wrong_answers() {
        let both = |gold, wrong: &[f64]| Likelihood { gold, wrong: wrong.to_vec() };
        let whole = both(-1.0, &[-3.0, -5.0]);
        // Gold +0.2; wrong (+0.1, +0.3) on average +0.2: 0.2 − 0.2 ≤ 0 (in eighths, to be exact): it goes.
        assert!(whole.verbose(&both(-0.75, &[-2.875, -4.625])));
        // Gold +0.25, wrong +0.375 on average: the wrong ones gain more.
        assert!(!whole.verbose(&both(-0.75, &[-2.75, -4.5])));
        // The wrong ones lose, but so does gold.
        assert!(!whole.verbose(&both(-1.125, &[-9.0, -9.0])));
    }

    #[test]
    fn the_share_that_may_go_grows_in_a_line_after_the_warm_up() {
        // ⌊4·t/20⌋, and a tenth of 20 steps is warm-up: steps 1 and 2.
        let reduce = Reduce::default();
        let limits = [1, 2, 3, 5, 9, 10, 15, 19, 20].map(|step| reduce.limit(4, step, 20));
        assert_eq!(limits, [0, 0, 0, 1, 1, 2, 3, 3, 4]);
        let none = Reduce { warmup_ratio: 0.0, ..reduce };
        assert_eq!((none.limit(4, 5, 5), none.limit(4, 1, 4), none.limit(0, 3, 4)), (4, 1, 0));
        let long = Reduce { warmup_ratio: 0.5, ..none };
        assert_eq!((long.limit(8, 10, 20), long.limit(8, 11, 20)), (0, 4));
    }

    #[test]
    fn sentences_are_taken_out_and_the_answer_is_found_again() {
        let format = Format { steps: StepUnit::Sentence, ..Format::default() };
        let text = "It rains. So 1+1 = 2!  Well.\nThe answer is 2.";
        let read = format.parse(text).unwrap();
        let of = |removed: &[bool]| {
            let (shorter, answer) = without(text, &read, removed);
            assert_eq!(&shorter[answer], "2");
            shorter
        };
        assert_eq!(of(&[false; 3]), text);
        assert_eq!(of(&[true, false, true]), "So 1+1 = 2!  The answer is 2.");
        assert_eq!(of(&[true, true, true]), "The answer is 2.");
        // What is left is read as what was left.
        assert_eq!(format.parse(&of(&[true, false, true])).unwrap().steps.len(), 1);
    }

    #[test]
    fn the_section_is_checked() {
        let found = Reduce { warmup_ratio: 1.0, ..Reduce::default() }.check();
        assert!(matches!(&found[..], [one] if one.key == "warmup_ratio"), "{found:?}");
        assert_eq!(Reduce::default().check(), []);
    }
}
