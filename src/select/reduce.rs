//! Which sentences of a rationale a model can do without: Verbosity-Aware Rationale Reduction (arXiv 2412.21006). Pure.

use crate::rationale::Rationale;
use crate::section::{Misfit, broken};
use crate::seed;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// How rationales are shortened while they are learned: `[loop.sft.reduce]`.
///
/// The steps of `[data.format]` are the sentences. At each visit of a row the walk begins anew from its whole
/// rationale, front to back: a sentence goes if the gold answer is at least as likely without it, and the next is
/// weighed in the rationale that is left. Every pass over the data begins with a fresh optimiser, since the rationales
/// are no longer the same, unless `loop.sft.fresh_optimizer` says otherwise.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Reduce {
    /// The first share of the steps learns whole rationales: early likelihoods say little.
    pub warmup_ratio: f64,
    /// VARR+: a sentence goes only if, besides, losing it does not help the wrong answers more than the gold one, on
    /// average over so many answers of other rows of the step. 0 does not ask.
    pub wrong_answers: usize,
    /// How much likelier the gold answer must be without a sentence for it to go, in nats a token of the answer: log p
    /// without it less log p with it. 0 is the paper's. Where answers are as good as certain, differences are noise
    /// around 0, of which this takes a part: below 0 it lets sentences go that cost no more than so much.
    pub least: f64,
    /// From which end sentences are weighed, and whether they are weighed at all.
    pub order: Order,
    /// A column that says of each sentence of the row whether it is needed: a list of true and false, a value a step. It
    /// is not learned from: what goes is measured by it (`select/removed/precision`, `select/removed/recall`,
    /// `select/removed/needed`).
    pub needed_from: Option<String>,
}

/// In which order sentences are weighed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// From the first sentence on, the paper's.
    #[default]
    Front,
    /// From the last sentence on.
    Back,
    /// A control: as many sentences go as would from the front, and which ones is drawn.
    Random,
}

impl Default for Reduce {
    fn default() -> Self {
        Self { warmup_ratio: 0.1, wrong_answers: 0, least: 0.0, order: Order::Front, needed_from: None }
    }
}

impl Reduce {
    /// What cannot be used as it is.
    pub fn check(&self) -> Vec<Misfit> {
        let share = (0.0..1.0).contains(&self.warmup_ratio);
        broken(&[
            (share, "warmup_ratio", "it must be from 0 up to, not including, 1"),
            (self.least.is_finite(), "least", "it must be a finite number of nats a token"),
        ])
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
    /// Tokens of the gold answer.
    pub tokens: usize,
}

impl Likelihood {
    /// Whether a sentence is verbose, from the likelihoods `without` it and with it: verbosity(y) = log p(y | without)
    /// − log p(y | with) is at least `least` a token for the gold answer, and no greater for the wrong ones on average.
    fn verbose(&self, without: &Self, least: f64) -> bool {
        let gold = without.gold - self.gold;
        let goes = gold >= least * self.tokens as f64;
        if self.wrong.is_empty() {
            return goes;
        }
        let differences = without.wrong.iter().zip(&self.wrong).map(|(without, with)| without - with);
        let wrong = differences.sum::<f64>() / self.wrong.len() as f64;
        goes && wrong - gold <= 0.0
    }
}

/// A walk over the sentences of one rationale, from one end to the other.
#[derive(Debug, Clone, PartialEq)]
pub struct Walk {
    removed: Vec<bool>,
    seen: usize,
    left: usize,
    least: f64,
    backwards: bool,
    current: Likelihood,
}

impl Walk {
    /// Before the first sentence that is weighed; at most `limit` may go. `whole` is the likelihood after the whole
    /// rationale.
    pub fn new(reduce: &Reduce, sentences: usize, limit: usize, whole: Likelihood) -> Self {
        let backwards = reduce.order == Order::Back;
        let removed = vec![false; sentences];
        Self { removed, seen: 0, left: limit, least: reduce.least, backwards, current: whole }
    }

    /// The place of the next sentence; `None` at the end, and where no more may go.
    fn next(&self) -> Option<usize> {
        let count = self.removed.len();
        let place = || if self.backwards { count - 1 - self.seen } else { self.seen };
        (self.left > 0 && self.seen < count).then(place)
    }

    /// The sentences that would be gone if the next one went too; `None` at the end.
    pub fn proposal(&self) -> Option<Vec<bool>> {
        self.next().map(|next| {
            let mut removed = self.removed.clone();
            removed[next] = true;
            removed
        })
    }

    /// Decides over the [`proposal`](Self::proposal) from the likelihood after what it leaves.
    pub fn decide(&mut self, without: Likelihood) {
        let Some(next) = self.next() else { return };
        if self.current.verbose(&without, self.least) {
            self.removed[next] = true;
            self.left -= 1;
            self.current = without;
        }
        self.seen += 1;
    }

    /// Which sentences are gone.
    pub fn removed(&self) -> &[bool] {
        &self.removed
    }
}

/// As many sentences as are gone of `removed`, drawn by `seed`.
pub fn drawn(removed: &[bool], seed: u64) -> Vec<bool> {
    let mut places: Vec<usize> = (0..removed.len()).collect();
    places.sort_by_key(|&place| seed::derive(&[seed, place as u64]));
    let mut drawn = vec![false; removed.len()];
    let count = removed.iter().filter(|gone| **gone).count();
    places[..count].iter().for_each(|&place| drawn[place] = true);
    drawn
}

/// How many sentences went, held against whether they were `needed`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Removal {
    /// Sentences that the answer needs.
    pub needed: usize,
    /// Those of them that went.
    pub needed_gone: usize,
    /// Sentences that it does not need.
    pub redundant: usize,
    /// Those of them that went.
    pub redundant_gone: usize,
}

impl Removal {
    /// Of one rationale. What nothing is said of is not counted.
    pub fn of(removed: &[bool], needed: &[bool]) -> Self {
        let mut found = Self::default();
        for (&gone, &needed) in removed.iter().zip(needed) {
            let (all, went) = match needed {
                true => (&mut found.needed, &mut found.needed_gone),
                false => (&mut found.redundant, &mut found.redundant_gone),
            };
            *all += 1;
            *went += usize::from(gone);
        }
        found
    }

    /// Its figures as name, value and weight: the share of what went that was redundant, the share of what is redundant
    /// that went, and that of what is needed; none of nothing.
    pub fn figures(&self) -> Vec<(&'static str, f64, f64)> {
        let gone = self.needed_gone + self.redundant_gone;
        let shares = [
            ("precision", self.redundant_gone, gone),
            ("recall", self.redundant_gone, self.redundant),
            ("needed", self.needed_gone, self.needed),
        ];
        let of = |(name, part, all): (_, usize, usize)| (name, part as f64 / all as f64, all as f64);
        shares.into_iter().filter(|(_, _, all)| *all > 0).map(of).collect()
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
        Likelihood { gold, wrong: vec![], tokens: 2 }
    }

    /// Walks with a table of likelihoods by what is gone, such as "100" for the first of three.
    fn walk(sentences: usize, limit: usize, table: &[(&str, Likelihood)]) -> String {
        walk_as(&Reduce::default(), sentences, limit, table)
    }

    fn walk_as(reduce: &Reduce, sentences: usize, limit: usize, table: &[(&str, Likelihood)]) -> String {
        let show = |removed: &[bool]| removed.iter().map(|r| if *r { '1' } else { '0' }).collect::<String>();
        let of = |key: String| table.iter().find(|(known, _)| *known == key).expect("asked for").1.clone();
        let mut walk = Walk::new(reduce, sentences, limit, of("0".repeat(sentences)));
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
    fn from_the_back_the_last_sentence_is_weighed_first() {
        let back = Reduce { order: Order::Back, ..Reduce::default() };
        // The third goes (−0.5), the second is then needed (−0.75), the first goes too (−0.5).
        let table = [("000", gold(-1.0)), ("001", gold(-0.5)), ("011", gold(-0.75)), ("101", gold(-0.5))];
        assert_eq!(walk_as(&back, 3, 3, &table), "101");
        assert_eq!(walk_as(&back, 3, 1, &table[..2]), "001");
        assert_eq!(walk_as(&back, 0, 1, &[("", gold(-1.0))]), "");
    }

    /// Answers have two tokens here: of −1 a gain of 0.25 is 0.125 a token.
    #[test]
    fn the_least_gain_is_one_a_token() {
        let least = |least| Reduce { least, ..Reduce::default() };
        let table = [("0", gold(-1.0)), ("1", gold(-0.75))];
        assert_eq!([0.0, 0.125, 0.126].map(|nats| walk_as(&least(nats), 1, 1, &table)), ["1", "1", "0"]);
        // A loss of 0.25 is let pass from −0.125 a token on.
        let table = [("0", gold(-1.0)), ("1", gold(-1.25))];
        assert_eq!([0.0, -0.124, -0.125].map(|nats| walk_as(&least(nats), 1, 1, &table)), ["0", "0", "1"]);
    }

    #[test]
    fn as_many_are_drawn_and_all_places_have_their_turn() {
        let removed = [true, false, true, false];
        let all: Vec<Vec<bool>> = (0..200).map(|seed| drawn(&removed, seed)).collect();
        assert!(all.iter().all(|drawn| drawn.iter().filter(|gone| **gone).count() == 2));
        let counts = [0, 1, 2, 3].map(|place| all.iter().filter(|drawn| drawn[place]).count());
        assert!(counts.iter().all(|count| (60..=140).contains(count)), "{counts:?}");
        assert_eq!(drawn(&removed, 7), drawn(&removed, 7));
        assert_eq!((drawn(&[false; 3], 1), drawn(&[true; 3], 1)), (vec![false; 3], vec![true; 3]));
        assert!(drawn(&[], 1).is_empty());
    }

    /// Five sentences, two of them redundant, of which one goes, with one that is needed.
    #[test]
    fn what_goes_is_held_against_the_truth() {
        let found = Removal::of(&[true, true, false, false, false], &[true, false, false, true, true]);
        assert_eq!(found, Removal { needed: 3, needed_gone: 1, redundant: 2, redundant_gone: 1 });
        assert_eq!(
            found.figures(),
            [("precision", 0.5, 2.0), ("recall", 0.5, 2.0), ("needed", 1.0 / 3.0, 3.0)]
        );
        // Nothing went, and nothing was redundant: there is no precision and no recall.
        assert_eq!(Removal::of(&[false], &[true]).figures(), [("needed", 0.0, 1.0)]);
        assert!(Removal::default().figures().is_empty());
    }

    #[test]
    fn the_plus_also_asks_about_wrong_answers() {
        let both = |gold, wrong: &[f64]| Likelihood { gold, wrong: wrong.to_vec(), tokens: 1 };
        let whole = both(-1.0, &[-3.0, -5.0]);
        // Gold +0.2; wrong (+0.1, +0.3) on average +0.2: 0.2 − 0.2 ≤ 0 (in eighths, to be exact): it goes.
        assert!(whole.verbose(&both(-0.75, &[-2.875, -4.625]), 0.0));
        // Gold +0.25, wrong +0.375 on average: the wrong ones gain more.
        assert!(!whole.verbose(&both(-0.75, &[-2.75, -4.5]), 0.0));
        // The wrong ones lose, but so does gold.
        assert!(!whole.verbose(&both(-1.125, &[-9.0, -9.0]), 0.0));
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
        let found = Reduce { least: f64::NAN, ..Reduce::default() }.check();
        assert!(matches!(&found[..], [one] if one.key == "least"), "{found:?}");
        assert_eq!(Reduce::default().check(), []);
    }
}
