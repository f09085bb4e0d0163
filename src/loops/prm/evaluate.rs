//! How well the reward model judges held-out rows.

use super::item::{Item, Made, Seen};
use super::{Prm, rows};
use crate::error::{Error, Result};
use crate::eval::process::{Judged, Process};
use crate::eval::{Eval, Report};
use crate::policy::Policy;
use crate::policy::reward_model::Laid;
use crate::rationale::Format;
use crate::reward::column;
use crate::rollout::Prompted;

impl Prm {
    /// Scores the steps of `held_out`, in micro-batches of `budget` tokens, and compares them with their labels.
    pub fn evaluate(
        &self,
        policy: &Policy,
        held_out: &[Prompted],
        eval: &Eval,
        format: &Format,
        budget: usize,
    ) -> Result<Report> {
        let process = if self.compares() {
            self.compare(policy, held_out, format, budget)?
        } else {
            Process::of(&self.judge(policy, held_out, eval, format, budget)?, self.threshold)
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
        let (mut laid, mut judged) = (Vec::new(), Vec::new());
        for row in held_out {
            let steps = rows::read(&row.example, self, format)?;
            let one = self.reading().lay(&policy.tokenizer, &row.tokens, &steps.texts)?;
            if one.tokens.len() > policy.context() {
                return Err(Error::Data(format!(
                    "example {}: its {} tokens are more than the model's context of {}; leave it out of data.eval",
                    row.example.id,
                    one.tokens.len(),
                    policy.context()
                )));
            }
            let class = match &eval.by {
                Some(by) => Some(column::text(&row.example, by).map_err(|problem| {
                    Error::Data(format!("example {}: eval.by: {problem}", row.example.id))
                })?),
                None => None,
            };
            let labels: Vec<Option<bool>> =
                steps.labels.iter().map(|label| label.map(|label| label >= 0.5)).collect();
            let last = labels.len() - one.places.len();
            let first_error = steps.first_error().filter(|_| last == 0);
            let mut lengths: Vec<usize> = steps.texts.iter().map(String::len).collect();
            if last > 0 {
                lengths = vec![lengths.iter().sum()];
            }
            let labels = labels[last..].to_vec();
            judged.push(Judged { scores: vec![], lengths, labels, first_error, class });
            laid.push(one);
        }
        let scores = self.reading().scores(&policy.model, &laid, budget)?;
        for ((judged, scores), row) in judged.iter_mut().zip(scores).zip(held_out) {
            if scores.iter().any(|score| !score.is_finite()) {
                return Err(not_finite(&row.example.id));
            }
            judged.scores = scores;
        }
        Ok(judged)
    }

    /// The share of comparisons that the better one wins; of lists, those whose best is scored best.
    fn compare(
        &self,
        policy: &Policy,
        held_out: &[Prompted],
        format: &Format,
        budget: usize,
    ) -> Result<Process> {
        let (mut won, mut all) = (0, 0);
        for row in held_out {
            let Made::Item(Item { sequences, places, targets, .. }) =
                self.item(policy, row, format, &mut Seen::default())?
            else {
                continue;
            };
            let laid: Vec<Laid> = sequences
                .into_iter()
                .zip(places)
                .map(|(sequence, places)| Laid { tokens: sequence.tokens, places, prompt: sequence.prompt })
                .collect();
            let scores = self.reading().scores(&policy.model, &laid, budget)?.concat();
            if scores.iter().any(|score| !score.is_finite()) {
                return Err(not_finite(&row.example.id));
            }
            won += usize::from(best(&scores) == best(&targets));
            all += 1;
        }
        Ok(Process { steps: all, accuracy: won as f64 / all.max(1) as f64, ..Process::default() })
    }
}

/// Where the greatest value stands; the last of equals.
fn best(values: &[f64]) -> Option<usize> {
    (0..values.len()).max_by(|&a, &b| values[a].total_cmp(&values[b]))
}

pub(super) fn not_finite(id: &str) -> Error {
    Error::Model(format!(
        "example {id}: the reward model's score is not a finite number; its weights have broken in training: take an \
         earlier checkpoint, and a lower optim.lr or policy.dtype = \"f32\""
    ))
}
