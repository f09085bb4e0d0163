//! Which rollouts are trained on, and as what: filters and pair builders over a scored group. Pure.

pub mod pairs;

pub use pairs::{Pair, Pairs};

pub mod consistency;
pub mod curriculum;
pub mod quantile;
pub mod reduce;
pub mod vote;

use crate::rationale::Given;
use crate::section::{Misfit, under};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::HashSet;

/// Filters over the rollouts of one example: `[select]`. All are off by default.
///
/// They work in the order of the keys below: on what has no answer, on the group as a whole, then on each rollout by itself,
/// then on what is left of the group.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Select {
    /// Leave out completions of which no answer could be read, before anything is counted: `pass_rate` is then a share of the others.
    pub answered: bool,
    /// Keep a group only if its share of correct rollouts lies in this window, ends included: `[0.1, 0.9]` leaves
    /// out examples that are too hard or too easy to learn from.
    pub pass_rate: Option<[f64; 2]>,
    /// Leave out completions that the token limit cut off.
    pub drop_truncated: bool,
    /// Keep only rollouts whose answer is correct, as STaR does; one whose example has no gold answer is left out.
    pub correct: bool,
    /// Keep only rollouts of at least this reward.
    pub min_reward: Option<f64>,
    /// Of completions with the same text, white space aside, keep the first.
    pub dedup: bool,
    /// Keep at most so many rollouts of an example: those of highest reward, the earlier of equals.
    pub per_example: Option<usize>,
    /// How what is kept becomes pairs, for the loops that learn from pairs.
    pub pairs: Pairs,
}

/// What filters and pair builders see of a rollout.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Candidate<'a> {
    /// Its total reward.
    pub reward: f64,
    /// Whether its answer is the gold one; `None` where there is no gold answer.
    pub correct: Option<bool>,
    /// The completion's text.
    pub text: &'a str,
    /// Whether the token limit cut it off.
    pub truncated: bool,
    /// Whether no answer could be read of it.
    pub unanswered: bool,
    /// The completion's token ids.
    pub tokens: &'a [u32],
    /// What of it was given and not sampled.
    pub given: &'a [Given],
    /// Its answer as a number, where it is one.
    pub rating: Option<f64>,
    /// Whether it is the row's own completion rather than a rollout.
    pub gold: bool,
    /// How many of its tokens it has of another that it goes on from, where that was cut (`[rollout.prefix] keep = "all"`).
    pub branched_at: Option<usize>,
    /// The share of votes for it, where it is a path through a rubric's questions.
    pub confidence: Option<f64>,
}

/// What became of a group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Selection {
    /// Indices of the rollouts kept, in their order.
    pub kept: Vec<usize>,
    /// The others, by reason.
    pub dropped: Dropped,
}

/// How many rollouts each filter left out; a rollout counts for the first that did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Dropped {
    /// No answer could be read.
    pub unanswered: usize,
    /// The group's pass rate lay outside the window.
    pub pass_rate: usize,
    /// Cut off by the token limit.
    pub truncated: usize,
    /// Answer wrong, missing, or without a gold answer to compare with.
    pub not_correct: usize,
    /// Reward too low.
    pub low_reward: usize,
    /// Text seen before in the group.
    pub duplicate: usize,
    /// More than `per_example`.
    pub over_cap: usize,
}

impl Select {
    /// The indices of the rollouts that are trained on, in their order.
    ///
    /// ```
    /// use rationale::select::{Candidate, Select};
    /// let right = Candidate { reward: 1.0, correct: Some(true), text: "2", ..Candidate::default() };
    /// let wrong = Candidate { correct: Some(false), ..right };
    /// let select = Select { correct: true, ..Select::default() };
    /// assert_eq!(select.keep(&[wrong, right]), [1]);
    /// ```
    pub fn keep(&self, group: &[Candidate]) -> Vec<usize> {
        self.sort(group).kept
    }

    /// The same, with how many each filter left out.
    pub fn sort(&self, group: &[Candidate]) -> Selection {
        let mut dropped = Dropped::default();
        let mut kept: Vec<usize> = (0..group.len()).collect();
        dropped.unanswered = drop(&mut kept, |i| self.answered && group[i].unanswered);
        if !self.in_window(group, &kept) {
            dropped.pass_rate = kept.len();
            return Selection { kept: vec![], dropped };
        }
        let mut texts = HashSet::new();
        dropped.truncated = drop(&mut kept, |i| self.drop_truncated && group[i].truncated);
        dropped.not_correct = drop(&mut kept, |i| self.correct && group[i].correct != Some(true));
        dropped.low_reward =
            drop(&mut kept, |i| self.min_reward.is_some_and(|least| group[i].reward < least));
        dropped.duplicate = drop(&mut kept, |i| self.dedup && !texts.insert(words(group[i].text)));
        let best = self.best(group, &kept);
        dropped.over_cap = drop(&mut kept, |i| !best.contains(&i));
        Selection { kept, dropped }
    }

    /// What cannot be used as it is.
    pub fn check(&self) -> Vec<Misfit> {
        let mut found = Vec::new();
        if self.pass_rate.is_some_and(|[low, high]| !(0.0 <= low && low <= high && high <= 1.0)) {
            found.push(Misfit::new("pass_rate", "it must be two shares in order", "such as [0.1, 0.9]"));
        }
        if self.min_reward.is_some_and(|least| !least.is_finite()) {
            found.push(Misfit::new("min_reward", "it must be a finite number", ""));
        }
        if self.per_example == Some(0) {
            found.push(Misfit::new("per_example", "it keeps nothing", "set at least 1, or take it out"));
        }
        found.extend(under("pairs", self.pairs.check()));
        found
    }

    /// Without a gold answer there is no pass rate, and a window cannot hold it.
    fn in_window(&self, group: &[Candidate], kept: &[usize]) -> bool {
        let Some([low, high]) = self.pass_rate else { return true };
        let graded = kept.iter().filter_map(|&index| group[index].correct);
        let (right, all) =
            graded.fold((0_usize, 0_usize), |(right, all), is| (right + usize::from(is), all + 1));
        all > 0 && (low..=high).contains(&(right as f64 / all as f64))
    }

    fn best(&self, group: &[Candidate], kept: &[usize]) -> Vec<usize> {
        let mut best = kept.to_vec();
        // The sort is stable: of equal rewards the earlier stays first.
        best.sort_by(|a, b| group[*b].reward.total_cmp(&group[*a].reward));
        best.truncate(self.per_example.unwrap_or(usize::MAX));
        best
    }
}

/// Takes out what `unwanted` says and counts it.
fn drop<T: Copy>(kept: &mut Vec<T>, mut unwanted: impl FnMut(T) -> bool) -> usize {
    let before = kept.len();
    kept.retain(|item| !unwanted(*item));
    before - kept.len()
}

fn words(text: &str) -> Vec<&str> {
    text.split_whitespace().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(reward: f64, correct: Option<bool>, text: &str) -> Candidate<'_> {
        Candidate { reward, correct, text, ..Candidate::default() }
    }

    fn select(recipe: &str) -> Select {
        let select: Select = toml::from_str(recipe).unwrap();
        assert_eq!(select.check(), []);
        select
    }

    fn group() -> Vec<Candidate<'static>> {
        vec![
            candidate(1.0, Some(true), "a b"),
            candidate(0.0, Some(false), "c"),
            candidate(1.0, Some(true), " a\nb "),
            candidate(2.0, Some(true), "d"),
            Candidate { truncated: true, ..candidate(3.0, Some(true), "e") },
            candidate(0.5, None, "f"),
        ]
    }

    #[test]
    fn nothing_is_left_out_unasked() {
        assert_eq!(
            select("").sort(&group()),
            Selection { kept: (0..6).collect(), dropped: Dropped::default() }
        );
        assert_eq!(select("").keep(&[]), Vec::<usize>::new());
    }

    #[test]
    fn each_filter_keeps_what_it_says() {
        assert_eq!(select("drop_truncated = true").keep(&group()), [0, 1, 2, 3, 5]);
        assert_eq!(select("correct = true").keep(&group()), [0, 2, 3, 4]);
        assert_eq!(select("min_reward = 1.0").keep(&group()), [0, 2, 3, 4]);
        assert_eq!(select("dedup = true").keep(&group()), [0, 1, 3, 4, 5]);
        // Rewards 1, 0, 1, 2, 3, 0.5: the three best are 4, 3 and the earlier of the two ones.
        assert_eq!(select("per_example = 3").keep(&group()), [0, 3, 4]);
        // 4 of 5 graded rollouts are correct.
        assert_eq!(select("pass_rate = [0.0, 0.8]").keep(&group()).len(), 6);
        assert_eq!(select("pass_rate = [0.0, 0.79]").sort(&group()).dropped.pass_rate, 6);
        assert_eq!(select("pass_rate = [0.0, 1.0]").keep(&[candidate(1.0, None, "")]), Vec::<usize>::new());
    }

    /// R-PRM keeps a step if more than a third of its valid critiques agree: 2 of 5, and not 2 of 6.
    #[test]
    fn what_has_no_answer_can_count_nowhere() {
        let critique = |correct, unanswered| Candidate { unanswered, ..candidate(0.0, Some(correct), "") };
        let critiques = |valid: usize| {
            let wrong = (2..8).map(|at| critique(false, at >= valid));
            [critique(true, false), critique(true, false)].into_iter().chain(wrong).collect::<Vec<_>>()
        };
        let strict = select("answered = true\npass_rate = [0.334, 1.0]");
        assert_eq!(strict.keep(&critiques(5)), [0, 1, 2, 3, 4]);
        let dropped = Dropped { unanswered: 2, pass_rate: 6, ..Dropped::default() };
        assert_eq!(strict.sort(&critiques(6)), Selection { kept: vec![], dropped });
        // Counted with those that say nothing, 2 of 8 are too few.
        assert!(select("pass_rate = [0.334, 1.0]").keep(&critiques(5)).is_empty());
        assert_eq!(select("answered = true").keep(&critiques(3)), [0, 1, 2]);
    }

    #[test]
    fn a_rollout_counts_for_the_first_filter_that_drops_it() {
        let all = "pass_rate = [0.1, 0.9]\ndrop_truncated = true\ncorrect = true\nmin_reward = 1.0\ndedup = true\nper_example = 1";
        let expected =
            Dropped { truncated: 1, not_correct: 2, duplicate: 1, over_cap: 1, ..Dropped::default() };
        assert_eq!(select(all).sort(&group()), Selection { kept: vec![3], dropped: expected });
    }

    #[test]
    fn the_section_is_checked() {
        let keys = |recipe: &str| {
            let found = toml::from_str::<Select>(recipe).unwrap().check();
            found.into_iter().map(|misfit| misfit.key).collect::<Vec<_>>()
        };
        let all = "pass_rate = [0.9, 0.1]\nmin_reward = nan\nper_example = 0\npairs.per_rollout = 0";
        assert_eq!(keys(all), ["pass_rate", "min_reward", "per_example", "pairs.per_rollout"]);
    }
}
