//! Accuracy over tokens where reasoning is ended early, with fixed cuts of the same mean length beside it.

use super::statistics::mean;
use crate::log::number_or_nan;
use crate::rollout::search::Rule;
use serde::{Deserialize, Serialize};

/// How one question ended by one rule.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Ended {
    /// What ends it.
    pub rule: Rule,
    /// Whether the answer was right.
    pub right: bool,
    /// Tokens of the completion, the answer's among them.
    pub tokens: usize,
    /// Whether it was ended before it ended itself.
    pub stopped: bool,
}

/// What a rule comes to over all questions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Stopping {
    /// What ends reasoning.
    pub rule: Rule,
    /// Share of right answers.
    #[serde(deserialize_with = "number_or_nan")]
    pub accuracy: f64,
    /// Mean tokens of a completion.
    #[serde(deserialize_with = "number_or_nan")]
    pub tokens: f64,
    /// Share of the completions that it ended.
    #[serde(deserialize_with = "number_or_nan")]
    pub stopped: f64,
    /// Of a rule by belief: the accuracy of fixed cuts of the same mean length, between the two that are nearest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fixed: Option<f64>,
}

impl Stopping {
    /// Of all questions, rule by rule; each question has the same rules.
    pub fn of(questions: &[&[Ended]]) -> Vec<Self> {
        let rules = questions.first().map_or(0, |first| first.len());
        let share = |yes: bool| f64::from(u8::from(yes));
        let of_rule = |at: usize| {
            let all = || questions.iter().map(|question| question[at]);
            Self {
                rule: questions[0][at].rule,
                accuracy: mean(all().map(|ended| share(ended.right))),
                tokens: mean(all().map(|ended| ended.tokens as f64)),
                stopped: mean(all().map(|ended| share(ended.stopped))),
                fixed: None,
            }
        };
        beside_fixed((0..rules).map(of_rule).collect())
    }

    /// The mean of several repeats of the same rules.
    pub fn mean(repeats: &[&[Self]]) -> Vec<Self> {
        let rules = repeats.first().map_or(0, |first| first.len());
        let of_rule = |at: usize| {
            let all = |of: &dyn Fn(&Self) -> f64| mean(repeats.iter().map(|repeat| of(&repeat[at])));
            Self {
                rule: repeats[0][at].rule,
                accuracy: all(&|one| one.accuracy),
                tokens: all(&|one| one.tokens),
                stopped: all(&|one| one.stopped),
                fixed: None,
            }
        };
        beside_fixed((0..rules).map(of_rule).collect())
    }

    /// Its figures under their names in `metrics.jsonl`; those of single fixed cuts are in the report alone.
    pub fn metrics(&self) -> Vec<(String, f64)> {
        let name = match self.rule {
            Rule::Whole => "whole".to_string(),
            Rule::Alpha(alpha) => format!("alpha_{alpha}"),
            Rule::Tokens(_) => return vec![],
        };
        let figures = [("accuracy", self.accuracy), ("tokens", self.tokens), ("stopped", self.stopped)];
        let fixed = self.fixed.map(|fixed| ("fixed", fixed));
        let figures = figures.into_iter().chain(fixed);
        figures.map(|(figure, value)| (format!("eval/stopping/{name}/{figure}"), value)).collect()
    }
}

/// Holds each rule by belief against the fixed cuts.
fn beside_fixed(mut all: Vec<Stopping>) -> Vec<Stopping> {
    let mut fixed: Vec<(f64, f64)> = all
        .iter()
        .filter(|one| matches!(one.rule, Rule::Tokens(_)))
        .map(|one| (one.tokens, one.accuracy))
        .collect();
    fixed.sort_by(|a, b| a.0.total_cmp(&b.0));
    for one in all.iter_mut().filter(|one| matches!(one.rule, Rule::Alpha(_))) {
        one.fixed = at(&fixed, one.tokens);
    }
    all
}

/// What the line through `points`, which ascend, is at `x`; beyond the ends it goes on level.
fn at(points: &[(f64, f64)], x: f64) -> Option<f64> {
    let above = points.iter().position(|point| point.0 >= x);
    match above {
        None => points.last().map(|point| point.1),
        Some(0) => points.first().map(|point| point.1),
        Some(above) => {
            let ((x0, y0), (x1, y1)) = (points[above - 1], points[above]);
            Some(y0 + (y1 - y0) * (x - x0) / (x1 - x0))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ended(rule: Rule, right: bool, tokens: usize) -> Ended {
        Ended { rule, right, tokens, stopped: rule != Rule::Whole }
    }

    /// Two questions: stopping by belief takes 10 and 30 tokens, 20 on average; cuts of 10 and 30 on average have accuracies 0 and 1/2, so
    /// halfway between them a fixed cut has 1/4.
    #[test]
    fn belief_is_held_against_a_fixed_cut_of_its_length() {
        let alpha = Rule::Alpha(0.1);
        let question = |right: bool, tokens: usize| {
            vec![
                ended(Rule::Whole, true, 60),
                ended(alpha, true, tokens),
                ended(Rule::Tokens(8), false, 10),
                ended(Rule::Tokens(28), right, 30),
            ]
        };
        let (one, two) = (question(true, 10), question(false, 30));
        let found = Stopping::of(&[&one, &two]);
        assert_eq!((found[0].accuracy, found[0].tokens, found[0].stopped), (1.0, 60.0, 0.0));
        assert_eq!((found[1].accuracy, found[1].tokens, found[1].fixed), (1.0, 20.0, Some(0.25)));
        assert_eq!((found[2].fixed, found[3].accuracy), (None, 0.5));
        let metrics = found[1].metrics();
        assert!(metrics.contains(&("eval/stopping/alpha_0.1/fixed".to_string(), 0.25)));
        assert!(found[2].metrics().is_empty());
        assert_eq!(Stopping::mean(&[&found, &found]), found);
        assert_eq!(at(&[(10.0, 0.2), (20.0, 0.4)], 5.0), Some(0.2));
        assert_eq!(at(&[(10.0, 0.2), (20.0, 0.4)], 25.0), Some(0.4));
        assert_eq!(at(&[], 5.0), None);
    }
}
