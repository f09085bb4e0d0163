//! How well the reward model judges held-out rows.

use super::item::{RowItem, SeenSteps, TARGETS};
use super::{Learns, PrmMethod, rows, traces};
use crate::data::row::{Problems, named};
use crate::error::{Error, Result};
use crate::eval::process::{Judged, Process};
use crate::eval::{Eval, Report};
use crate::policy::Policy;
use crate::policy::reward_model::TokenizedSteps;
use crate::ranks::{Ranks, agreed, gathered, in_turn};
use crate::rationale::Format;
use crate::reward::column;
use crate::rollout::Prompted;

impl PrmMethod {
    /// Scores the steps of `held_out`, each rank those of its share, in micro-batches of `budget` tokens, and compares them with their
    /// labels.
    pub(super) fn report(
        &self,
        policy: &Policy,
        held_out: &[Prompted],
        eval: &Eval,
        format: &Format,
        (budget, ranks): (usize, &dyn Ranks),
    ) -> Result<Report> {
        let own: Vec<Prompted> = held_out.iter().skip(ranks.rank()).step_by(ranks.count()).cloned().collect();
        let process = if self.prm.compares() {
            let won = agreed(ranks, self.compare(policy, &own, format, budget))?;
            compared(held_out, &in_turn(gathered(ranks, won)?), ranks.is_first())?
        } else {
            let judged = agreed(ranks, self.judge(policy, &own, eval, format, budget))?;
            Process::of(&in_turn(gathered(ranks, judged)?), self.prm.threshold)
        };
        Ok(Report {
            questions: held_out.len(),
            accuracy: process.accuracy,
            interval: (process.accuracy, process.accuracy),
            process: Some(process),
            ..Report::default()
        })
    }

    fn judge(
        &self,
        policy: &Policy,
        held_out: &[Prompted],
        eval: &Eval,
        format: &Format,
        budget: usize,
    ) -> Result<Vec<Judged>> {
        let (mut tokenized, mut judged, mut problems) = (Vec::new(), Vec::new(), Problems::default());
        let trajectory = self.prm.learns == Learns::Trajectory;
        for row in held_out {
            if trajectory && traces::is_one(&row.example) {
                problems.example(
                    &row.example,
                    "it is a trace, of which nobody says which steps are right; name rows with labels in data.eval, or leave [eval] out",
                );
                continue;
            }
            let steps = match rows::read(&row.example, &self.prm, format) {
                Ok(steps) => steps,
                Err(what) => {
                    problems.example(&row.example, what);
                    continue;
                }
            };
            let one = self.score_format().tokenize_steps(&policy.tokenizer, &row.tokens, &steps.texts)?;
            if one.tokens.len() > policy.context() {
                let what = format!(
                    "its {} tokens are more than the model's context of {}; leave it out of data.eval",
                    one.tokens.len(),
                    policy.context()
                );
                problems.example(&row.example, what);
            }
            let class = match &eval.by {
                Some(by) => Some(
                    column::text(&row.example, by)
                        .map_err(|problem| Error::Data(format!("{}: eval.by: {problem}", row.example)))?,
                ),
                None => None,
            };
            let labels: Vec<Option<bool>> =
                steps.labels.iter().map(|label| label.map(|label| steps.is_right(label))).collect();
            // The score of a whole trajectory stands behind those of its steps, and is held against nothing.
            let places = one.places.len() - usize::from(trajectory && !labels.is_empty());
            let last = labels.len() - places;
            let first_error = steps.first_error().filter(|_| last == 0);
            let mut lengths: Vec<usize> = steps.texts.iter().map(String::len).collect();
            if last > 0 {
                lengths = vec![lengths.iter().sum()];
            }
            let labels = labels[last..].to_vec();
            judged.push(Judged { scores: vec![], lengths, labels, first_error, class });
            tokenized.push(one);
        }
        problems.into_result()?;
        let scores = self.score_format().scores(&policy.model, &tokenized, budget)?;
        finite(held_out.iter(), &scores)?;
        for (judged, mut scores) in judged.iter_mut().zip(scores) {
            scores.truncate(judged.labels.len());
            judged.scores = scores;
        }
        Ok(judged)
    }

    /// Which comparisons the better one wins, as [`wins`] says; none of what is too long to be read.
    fn compare(
        &self,
        policy: &Policy,
        held_out: &[Prompted],
        format: &Format,
        budget: usize,
    ) -> Result<Vec<Option<bool>>> {
        let (mut items, mut problems) = (Vec::new(), Problems::default());
        let reading = self.reading(policy);
        for row in held_out {
            items.push(match reading.item(row, format, &mut SeenSteps::default())? {
                RowItem::Item(item) => Some(item),
                RowItem::Bad(what) => {
                    problems.example(&row.example, what);
                    None
                }
                RowItem::TooLong | RowItem::Cut(_) | RowItem::Unlabelled => None,
            });
        }
        problems.into_result()?;
        let (mut rows, mut scores, mut won) = (Vec::new(), Vec::new(), Vec::with_capacity(items.len()));
        for (row, item) in held_out.iter().zip(items) {
            let Some(mut item) = item else {
                won.push(None);
                continue;
            };
            let tokenized =
                std::mem::take(&mut item.sequences).into_iter().zip(std::mem::take(&mut item.places));
            let tokenized: Vec<TokenizedSteps> = tokenized
                .map(|(sequence, places)| TokenizedSteps {
                    prompt: sequence.prompt().len(),
                    tokens: sequence.tokens,
                    places,
                })
                .collect();
            let found = self.score_format().scores(&policy.model, &tokenized, budget)?.concat();
            won.push(wins(&found, item.list(TARGETS)));
            rows.push(row);
            scores.push(found);
        }
        finite(rows.into_iter(), &scores)?;
        Ok(won)
    }
}

/// The share of the held-out comparisons that were won. Those that are left out are no part of it, and are told.
fn compared(held_out: &[Prompted], won: &[Option<bool>], tells: bool) -> Result<Process> {
    let left_out = held_out.iter().zip(won).filter(|(_, won)| won.is_none());
    let left_out: Vec<&str> = left_out.map(|(row, _)| row.example.id.as_str()).collect();
    let (all, right) = (won.len() - left_out.len(), won.iter().filter(|won| **won == Some(true)).count());
    let words = || {
        let count = won.len();
        let why = "too long for loop.prm.max_tokens, or without a better and a worse one";
        format!(
            "{} of {count} held-out comparisons are left out, {why}: {}",
            left_out.len(),
            named(&left_out)
        )
    };
    if all == 0 && !won.is_empty() {
        return Err(Error::Data(format!("{}; there is none to judge by", words())));
    }
    if !left_out.is_empty() && tells {
        tracing::warn!("{}", words());
    }
    Ok(Process { steps: all, accuracy: right as f64 / all.max(1) as f64, ..Process::default() })
}

/// Whether one of the best by their `worth` is scored above all others; a tie is not won, as in RewardBench (arXiv 2403.13787) and TRL.
/// None where all are worth the same.
fn wins(scores: &[f64], worth: &[f64]) -> Option<bool> {
    let best = most(worth.iter().copied());
    let scored = |are_best: bool| {
        let of = scores.iter().zip(worth).filter(move |(_, worth)| (**worth == best) == are_best);
        most(of.map(|(score, _)| *score))
    };
    let others = worth.iter().any(|worth| *worth < best);
    others.then(|| scored(true) > scored(false))
}

fn most(of: impl Iterator<Item = f64>) -> f64 {
    of.fold(f64::NEG_INFINITY, f64::max)
}

fn finite<'a>(rows: impl Iterator<Item = &'a Prompted>, scores: &[Vec<f64>]) -> Result<()> {
    let sums = rows.zip(scores).map(|(row, scores)| (row.example.id.as_str(), scores.iter().sum()));
    not_finite(sums).map_or(Ok(()), Err)
}

/// The error that names all whose score is no number; `None` where there is none.
pub(super) fn not_finite<'a>(scored: impl Iterator<Item = (&'a str, f64)>) -> Option<Error> {
    let mut ids: Vec<&str> = scored.filter(|(_, score)| !score.is_finite()).map(|(id, _)| id).collect();
    ids.dedup();
    (!ids.is_empty()).then(|| {
        Error::Model(format!(
            "{}: the reward model's score is not a finite number; its weights have broken in training: take an earlier \
             checkpoint, and a lower optim.lr",
            named(&ids)
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comparison_is_won_by_any_of_the_best_and_by_no_tie() {
        for (scores, worth, won) in [
            (&[2.0, 1.0][..], &[1.0, 0.0][..], Some(true)),
            (&[1.0, 1.0], &[1.0, 0.0], Some(false)),
            // A scorer that says the same of all wins nowhere, wherever the best stands.
            (&[1.0, 1.0, 1.0], &[0.0, 1.0, 5.0], Some(false)),
            // Two are best, and either may be the one.
            (&[0.0, 3.0, 2.0], &[1.0, 5.0, 5.0], Some(true)),
            (&[0.0, 2.0, 3.0], &[1.0, 5.0, 5.0], Some(true)),
            (&[4.0, 2.0, 3.0], &[1.0, 5.0, 5.0], Some(false)),
            (&[1.0, 2.0], &[3.0, 3.0], None),
        ] {
            assert_eq!(wins(scores, worth), won, "{scores:?} {worth:?}");
        }
    }
}
