//! Whether the answer is the gold one.

use super::{OfRow, Reward, Wanting, Wants};
use crate::data::Example;
use crate::rationale::equality::{answered, choice, plain};
use crate::rationale::number;
use crate::rollout::{Group, Rollout, Score};
use anyhow::Context;
use schemars::JsonSchema;
use serde::Deserialize;
use std::cell::LazyCell;

/// `[reward.answer]`: compares the answer that the rationale ends in with the example's gold answer.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Answer {
    /// How answers are compared: `auto`, `numeric`, `exact` or `choice`.
    #[serde(rename = "match")]
    pub how: Match,
    /// The score of a correct answer.
    pub correct: f64,
    /// The score of a wrong one.
    pub wrong: f64,
    /// The score where no answer could be read.
    pub missing: f64,
}

/// How an answer is compared with the gold one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Match {
    /// As the gold answer asks for: as a choice where it is one of the example's choices, as a letter, as yes or no, as a number, an expression,
    /// a list or an interval of equal value, else as text; what copies the question in another form than the gold answer's is wrong.
    /// docs/answers.md says what is right.
    Auto,
    /// Equal as numbers, exactly: `$1,200.00` is `1200`. Units and labels are left out: `72 clips` is 72, `\sqrt{72}` and `72 or 73` are not.
    Numeric,
    /// Equal as text; letter case, white space and punctuation at the ends aside.
    Exact,
    /// The same choice, given by its letter (`B`, `(b)`, `B) Paris`) or its text; who names two names none.
    Choice,
}

impl Default for Answer {
    fn default() -> Self {
        Self { how: Match::Auto, correct: 1.0, wrong: 0.0, missing: 0.0 }
    }
}

impl Answer {
    /// The reward, its section checked.
    pub fn checked(self) -> anyhow::Result<impl Reward> {
        for (key, score) in [("correct", self.correct), ("wrong", self.wrong), ("missing", self.missing)] {
            anyhow::ensure!(score.is_finite(), "{key} = {score}: must be a finite number");
        }
        let reward = move |group: &Group| -> anyhow::Result<Vec<Score>> {
            let example = &*group.example;
            // What was asked is read once a group.
            let asked = LazyCell::new(|| {
                let equality = example.equality();
                let gold = equality.gold(example.gold().unwrap_or_default());
                (equality, gold)
            });
            let score = |rollout: &Rollout| -> anyhow::Result<Score> {
                let gold = example.gold().context(
                    "it has no gold answer to compare with; add an `answer` column, or take [reward.answer] out",
                )?;
                let Some(answer) = rollout.answer() else { return Ok(Score::from(self.missing)) };
                let auto = || asked.0.right(&asked.1, &asked.0.read(answer));
                let right = agree(self.how, answer, gold, &example.choices, auto)?;
                Ok(Score::from(if right { self.correct } else { self.wrong }))
            };
            group.rollouts.iter().map(score).collect()
        };
        Ok(Wanting { wants: self.wants(), idle: vec![], reward })
    }
}

impl Answer {
    fn wants(&self) -> Wants {
        let otherwise = "mend these rows, or set match = \"auto\" in [reward.answer]";
        match self.how {
            Match::Auto | Match::Exact => {
                Wants::default().gold("add an `answer` column, or take [reward.answer] out")
            }
            Match::Numeric => Wants::default().row("match", OfRow::GoldNumber, otherwise),
            Match::Choice => Wants::default().row("match", OfRow::GoldChoice, otherwise),
        }
    }
}

/// Whether a rollout's answer is its example's gold answer, compared as [`Match::Auto`] says; one without an answer
/// is not. `None` where the example has no gold answer.
pub fn correct(example: &Example, rollout: &Rollout) -> Option<bool> {
    agrees(example, rollout.answer())
}

/// [`correct`] of an answer, where there is one.
pub fn agrees(example: &Example, answer: Option<&str>) -> Option<bool> {
    let gold = example.gold()?;
    Some(answer.is_some_and(|answer| example.equality().same(gold, answer)))
}

/// Whether an answer is the gold one, where `auto` says so for [`Match::Auto`].
fn agree(
    how: Match,
    answer: &str,
    gold: &str,
    choices: &[String],
    auto: impl FnOnce() -> bool,
) -> anyhow::Result<bool> {
    match how {
        Match::Auto => Ok(auto()),
        Match::Exact => Ok(plain(answer) == plain(gold)),
        Match::Numeric => {
            let gold = number::only(gold).with_context(|| {
                format!("its gold answer `{gold}` is no number; set match = \"exact\" or \"auto\" in [reward.answer]")
            })?;
            Ok(number::only(answer) == Some(gold))
        }
        Match::Choice => {
            let gold = choice(gold, choices).with_context(|| {
                format!(
                    "its gold answer `{gold}` is none of its {} choices, by letter or text",
                    choices.len()
                )
            })?;
            Ok(answered(answer, choices) == Some(gold))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{group, scores};
    use super::*;

    /// The scores of one answer after `####` against a gold one.
    fn agrees(how: &str, answer: &str, gold: &str, choices: &[&str]) -> bool {
        let group = group(Some(gold), choices, &[&format!("#### {answer}")]);
        let scores = scores(&format!("[answer]\nmatch = \"{how}\"\nwrong = -1"), group).unwrap();
        scores == [1.0]
    }

    #[test]
    fn answers_agree_as_the_recipe_says() {
        let capitals = ["Rome", "Paris", "a dog"];
        let cases: [(&str, &str, &str, &[&str], bool); 29] = [
            ("auto", "72", "72", &[], true),
            ("auto", "$1,200.00 in all", "1200", &[], true),
            ("auto", "72 or 73", "72", &[], false),
            ("auto", "3/4", "0.75", &[], true),
            ("auto", "yes", "Yes.", &[], true),
            ("auto", "no", "yes", &[], false),
            ("auto", "10", "#### 10", &[], true),
            ("auto", "72", "48/2 = 24\n48+24 = 72\n#### 72", &[], true),
            ("auto", "24", "48/2 = 24\n48+24 = 72\n#### 72", &[], false),
            ("auto", "5", "So $\\boxed{5}$.", &[], true),
            ("numeric", "7.0", "7", &[], true),
            ("numeric", "seven", "7", &[], true),
            ("exact", "7.0", "7", &[], false),
            ("exact", "\"New  York\"", "new york", &[], true),
            ("choice", "B", "B", &capitals, true),
            ("choice", "(b)", "B", &capitals, true),
            ("choice", "B. Paris", "Paris", &capitals, true),
            ("choice", "paris", "B", &capitals, true),
            ("choice", "A", "B", &capitals, false),
            ("choice", "a dog", "C", &capitals, true),
            ("choice", "a dog", "A", &capitals, false),
            ("choice", "E", "B", &capitals, false),
            ("auto", "Paris", "B", &capitals, true),
            ("auto", "21", "A", &["A)21", "B)21.5"], true),
            ("auto", "B", "21.5", &["A)21", "B)21.5"], true),
            ("auto", "yes", "yes", &["yes", "no"], true),
            ("auto", "no", "yes", &["yes", "no"], false),
            // A gold answer that is no choice is compared for itself.
            ("auto", "12", "12", &capitals, true),
            ("auto", "12", "13", &capitals, false),
        ];
        for (how, answer, gold, choices, expected) in cases {
            assert_eq!(
                agrees(how, answer, gold, choices),
                expected,
                "{how}: {answer} against {gold} of {choices:?}"
            );
        }
    }

    #[test]
    fn correct_wrong_and_missing_have_their_scores() {
        let recipe = "[answer]\ncorrect = 2\nwrong = -1.0\nmissing = -2";
        assert_eq!(
            scores(recipe, group(Some("1"), &[], &["#### 1", "#### 2", "1"])),
            Ok(vec![2.0, -1.0, -2.0])
        );
        assert!(scores("[answer]\nwrong = inf", group(None, &[], &[])).unwrap_err().contains("wrong = inf"));
        assert!(
            scores("[answer]\nmatch = \"fuzzy\"", group(None, &[], &[])).unwrap_err().contains("`numeric`")
        );
    }

    #[test]
    fn a_row_that_cannot_be_compared_is_named() {
        let message = |recipe: &str, gold, choices: &[&str]| {
            scores(recipe, group(gold, choices, &["#### 1"])).unwrap_err()
        };
        let none = message("[answer]", None, &[]);
        assert!(none.contains("example row:7: it has no gold answer"), "{none}");
        assert!(message("[answer]", Some("  "), &[]).contains("no gold answer"));
        assert!(message("[answer]\nmatch = \"numeric\"", Some("yes"), &[]).contains("`yes` is no number"));
        assert!(
            message("[answer]\nmatch = \"choice\"", Some("C"), &["x", "y"]).contains("none of its 2 choices")
        );
    }

    #[test]
    fn evaluation_asks_the_same_question() {
        let of = |gold: Option<&str>, text: &str| {
            let group = group(gold, &[], &[text]);
            correct(&group.example, &group.rollouts[0])
        };
        assert_eq!(of(Some("7"), "#### 7.0"), Some(true));
        assert_eq!(of(Some("7"), "#### 8"), Some(false));
        assert_eq!(of(Some("7"), "7"), Some(false));
        assert_eq!(of(None, "#### 7"), None);
    }
}
