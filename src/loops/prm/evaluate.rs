//! How well the reward model judges held-out rows.

use super::item::{RowItem, SeenSteps, TARGETS};
use super::{PrmMethod, rows};
use crate::data::row::{Problems, named};
use crate::error::{Error, Result};
use crate::eval::process::{Judged, Process};
use crate::eval::{Eval, Report};
use crate::loops::Item;
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
            let won = in_turn(gathered(ranks, won)?);
            let (all, won) = (won.len(), won.into_iter().filter(|won| *won).count());
            Process { steps: all, accuracy: won as f64 / all.max(1) as f64, ..Process::default() }
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
        for row in held_out {
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
            let last = labels.len() - one.places.len();
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
        judged.iter_mut().zip(scores).for_each(|(judged, scores)| judged.scores = scores);
        Ok(judged)
    }

    /// Which comparisons the better one wins; of lists, those whose best is scored best. A tie is not won, as in RewardBench
    /// (arXiv 2403.13787) and TRL.
    fn compare(
        &self,
        policy: &Policy,
        held_out: &[Prompted],
        format: &Format,
        budget: usize,
    ) -> Result<Vec<bool>> {
        let (mut rows, mut items, mut problems) = (Vec::new(), Vec::new(), Problems::default());
        for row in held_out {
            match self.item(policy, row, format, &mut SeenSteps::default())? {
                RowItem::Item(item) => {
                    rows.push(row);
                    items.push(item);
                }
                RowItem::Bad(what) => problems.example(&row.example, what),
                RowItem::TooLong | RowItem::Cut(_) | RowItem::Unlabelled => {}
            }
        }
        problems.into_result()?;
        let mut scores = Vec::with_capacity(items.len());
        for item in &mut items {
            let tokenized =
                std::mem::take(&mut item.sequences).into_iter().zip(std::mem::take(&mut item.places));
            let tokenized: Vec<TokenizedSteps> = tokenized
                .map(|(sequence, places)| TokenizedSteps {
                    prompt: sequence.prompt().len(),
                    tokens: sequence.tokens,
                    places,
                })
                .collect();
            scores.push(self.score_format().scores(&policy.model, &tokenized, budget)?.concat());
        }
        finite(rows.into_iter(), &scores)?;
        let won = |(scores, item): (&Vec<f64>, &Item)| best(scores) == best(item.list(TARGETS));
        Ok(scores.iter().zip(&items).map(won).collect())
    }
}

/// Where the greatest value stands; the last of equals.
fn best(values: &[f64]) -> Option<usize> {
    (0..values.len()).max_by(|&a, &b| values[a].total_cmp(&values[b]))
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
