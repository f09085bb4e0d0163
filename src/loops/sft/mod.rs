//! Supervised fine-tuning: −log p of each row's completion given its prompt, the prompt itself not learned; of a conversation,
//! of all the assistant's turns.

pub mod reduce;

use super::{
    Batch, Item, LearnedOf, Method, Needs, Output, Section, Selects, Setup, StageView, Worker, candidate,
};
use crate::data::row::{Problems, some};
use crate::data::turns::learned_turns;
use crate::data::{Dataset, Example, Tokenizer};
use crate::error::{Error, Result};
use crate::eval::RowFigures;
use crate::log::Metrics;
use crate::model::Sequence;
use crate::rationale::Format;
use crate::rollout::{Prompted, trace};
use crate::section::{Misfit, broken, under};
use crate::select::reduce::Reduce;
use crate::select::{Candidate, Select};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tch::Tensor;

/// `[loop.sft]`: supervised fine-tuning on the rows' completions.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Sft {
    /// Rows whose prompt and completion together are longer are left out, and counted; the model's context by
    /// default.
    pub max_tokens: Option<usize>,
    /// Shorten rationales as they are learned, by what the policy can do without (VARR).
    pub reduce: Option<Reduce>,
}

impl Sft {
    /// What cannot be used as it is.
    pub fn check(&self) -> Vec<Misfit> {
        let mut found =
            broken(&[(!matches!(self.max_tokens, Some(0 | 1)), "max_tokens", "it must be at least 2")]);
        found.extend(under("reduce", self.reduce.iter().flat_map(Reduce::check)));
        found
    }

    /// The rows that `select` keeps, where they are traces of rollouts; other rows stand as they are.
    pub fn prepare(&self, rows: Dataset, select: &Select, format: &Format) -> Result<Dataset> {
        let groups = match trace::groups(&rows.examples, format) {
            Ok(groups) => groups,
            Err(no) if no.mixed => {
                let mut problems = Problems::default();
                for (row, lacks) in no.rows {
                    let what = format!(
                        "it is no trace of a rollout ({lacks}), though other rows are; take it out, or mend the line"
                    );
                    problems.example(&rows.examples[row], what);
                }
                return problems.into_result().map(|()| rows);
            }
            Err(_) if *select != (Select { pairs: select.pairs.clone(), ..Select::default() }) => {
                return Err(Error::Data(format!(
                    "{}: [select] keeps and drops rollouts, and these rows are no traces of any; put [select] into \
                     the stage that samples, or learn from a stage's traces (data.train = \"@stage\")",
                    rows.name
                )));
            }
            Err(_) => return Ok(rows),
        };
        let places = trace::places(&rows.examples);
        let kept = groups.iter().zip(places).flat_map(|(group, places)| {
            let candidates: Vec<Candidate> =
                group.rollouts.iter().map(|rollout| candidate(&group.example, rollout)).collect();
            select.keep(&candidates).into_iter().map(|at| places[at]).collect::<Vec<_>>()
        });
        let mut kept: Vec<usize> = kept.collect();
        kept.sort_unstable();
        if kept.is_empty() {
            return Err(Error::Data(format!(
                "{}: [select] keeps none of its {} traces",
                rows.name,
                rows.examples.len()
            )));
        }
        let renumbered =
            |(index, at): (usize, usize)| Arc::new(Example { index, ..(*rows.examples[at]).clone() });
        Ok(Dataset { examples: kept.into_iter().enumerate().map(renumbered).collect(), name: rows.name })
    }

    /// The row as a training sequence: prompt, completion, end of sequence.
    ///
    /// # Errors
    /// [`Error::Data`] if the row has no completion.
    pub fn sequence(worker: &Worker, row: &Prompted) -> Result<Sequence> {
        let text = row.example.completion.as_deref().ok_or_else(|| {
            Error::Data(format!(
                "{}: it has no completion to learn; give it a `rationale` and `answer`, or a `completion`, \
                 or set data.template.assistant",
                row.example
            ))
        })?;
        Self::learning(worker, row, text)
    }

    /// The same with another completion.
    fn learning(worker: &Worker, row: &Prompted, text: &str) -> Result<Sequence> {
        with_completion(&worker.policy.tokenizer, row, text)
    }
}

impl Section for Sft {
    fn check(&self) -> Vec<Misfit> {
        Sft::check(self)
    }

    fn needs(&self, _: &StageView) -> Needs {
        Needs { trains: true, rows: true, rows_alone: true, selects: Selects::Rollouts, ..Needs::default() }
    }

    /// TRL's for SFT.
    fn learning_rate(&self) -> f64 {
        2e-5
    }

    fn learned_of(&self, tokenizer: &Tokenizer, row: &Prompted) -> Result<Vec<LearnedOf>> {
        let Some(text) = &row.example.completion else { return Ok(vec![]) };
        let sequence = with_completion(tokenizer, row, text)?;
        Ok(vec![LearnedOf { called: "completion", sequence }])
    }

    fn figures(&self) -> &'static [&'static str] {
        &["loss", "perplexity"]
    }

    fn measures(&self, row: &Example) -> bool {
        row.completion.is_some()
    }

    fn longest(&self) -> Option<(&'static str, usize)> {
        self.max_tokens.map(|tokens| ("max_tokens", tokens))
    }

    fn build(&self, setup: &mut Setup) -> Result<Box<dyn Method>> {
        setup.rows = self.prepare(std::mem::take(&mut setup.rows), setup.select, setup.format)?;
        have_completions(&setup.rows)?;
        Ok(Box::new(SftMethod { sft: self.clone() }))
    }
}

/// The row's prompt and then `text`, which is learned, as are the turns before it that the row says.
fn with_completion(tokenizer: &Tokenizer, row: &Prompted, text: &str) -> Result<Sequence> {
    let tokens = [row.tokens.as_slice(), &row.completion(tokenizer, text)?].concat();
    let mut spans = learned_turns(tokenizer, &row.example)?;
    // A text that nothing begins is learned from its second token on.
    spans.push(row.tokens.len().max(1)..tokens.len());
    Sequence::of_spans(tokens, spans)
}

/// All rows must have something to learn.
fn have_completions(rows: &Dataset) -> Result<()> {
    let all = rows.examples.iter().map(|row| &**row);
    let lacking: Vec<&Example> = all.filter(|row| row.completion.is_none()).collect();
    if lacking.is_empty() {
        return Ok(());
    }
    let (count, have) = (lacking.len(), if lacking.len() == 1 { "has" } else { "have" });
    Err(Error::Data(format!(
        "{count} of {} rows {have} no completion to learn: {}; give them a `rationale` and `answer`, or a `completion`, or \
         set data.template.assistant",
        rows.examples.len(),
        some(&lacking)
    )))
}

/// Fine-tuning at work.
struct SftMethod {
    sft: Sft,
}

impl Method for SftMethod {
    /// Conversations whose template cannot be learned from are named before anything is.
    fn begin(&mut self, worker: &mut Worker, _kept: Option<Tensor>) -> Result<Option<Tensor>> {
        let mut problems = Problems::default();
        for row in &worker.questions.all {
            match learned_turns(&worker.policy.tokenizer, &row.example) {
                Err(Error::Data(what)) => problems.everywhere(what),
                other => drop(other?),
            }
        }
        problems.into_result().map(|()| None)
    }

    fn batch(&mut self, worker: &mut Worker, step: usize, metrics: &mut Metrics) -> Result<Batch> {
        let rows = worker.questions.of_step(step);
        let mut sequences =
            rows.iter().map(|row| Sft::sequence(worker, row)).collect::<Result<Vec<Sequence>>>()?;
        let mut fresh_optimizer = false;
        if let Some(reduce) = &self.sft.reduce {
            let texts = reduce::shortened(reduce, worker, &rows, step, metrics)?;
            for ((whole, row), text) in sequences.iter_mut().zip(&rows).zip(texts) {
                let shorter = Sft::learning(worker, row, &text)?;
                let (kept, all) = (shorter.learned() as f64, whole.learned() as f64);
                metrics.add("select/tokens_kept", kept / all, all);
                *whole = shorter;
            }
            let new_pass = step > 1 && (step - 1).is_multiple_of(worker.questions.steps_per_epoch());
            fresh_optimizer = new_pass && reduce.fresh_optimizer;
        }
        let items = sequences.into_iter().map(|sequence| Item::of(vec![sequence])).collect();
        Ok(Batch { fresh_optimizer, ..Batch::of_completions(items) })
    }

    /// −log p of a row's learned tokens, the mean of which it weighs by their number: over all rows it is Σ −log p / Σ tokens.
    fn held_out(&self, worker: &mut Worker, rows: &[Prompted]) -> Result<(Vec<(usize, RowFigures)>, usize)> {
        let limit = self.sft.max_tokens.unwrap_or(usize::MAX).min(worker.policy.context());
        let (mut kept, mut sequences, mut too_long) = (Vec::new(), Vec::new(), 0);
        for row in rows.iter().filter(|row| self.sft.measures(&row.example)) {
            let sequence = Sft::sequence(worker, row)?;
            match sequence.tokens.len() > limit {
                true => too_long += 1,
                false => {
                    kept.push(row);
                    sequences.push(sequence);
                }
            }
        }
        let logprobs = worker.policy.logprobs(&sequences, 1.0, worker.tokens_per_microbatch)?;
        let of = |(row, logprobs): (&&Prompted, &Vec<f32>)| {
            let tokens = logprobs.len() as f64;
            let loss = -logprobs.iter().copied().map(f64::from).sum::<f64>() / tokens;
            let figures = [("loss".to_string(), (loss, tokens))].into();
            (row.place, RowFigures { row: row.example.id.clone(), figures, ..RowFigures::default() })
        };
        Ok((kept.iter().zip(&logprobs).map(of).collect(), too_long))
    }

    fn loss(&self, items: &[&Item], output: &Output, metrics: &mut Metrics) -> Result<Tensor> {
        Ok(Item::imitation(items, output, metrics))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// Four traces, of which the first and the third are right.
    fn traces() -> Vec<Value> {
        let trace = |at: usize| {
            json!({
                "id": format!("q/1-{at}"), "example": "q", "step": 1, "prompt": "2+3?", "answer": "5", "steps": [],
                "completion": format!("#### {}", 5 + at % 2), "predicted": null, "stop": "length", "scores": {},
                "reward": 1.0, "advantage": null, "prompt_ids": [1], "completion_ids": [2], "logprobs": [-0.5],
            })
        };
        (0..4).map(trace).collect()
    }

    fn prepared(rows: Vec<Value>, select: &str) -> Result<usize> {
        let example = |(index, row): (usize, Value)| {
            let Value::Object(fields) = row else { panic!("an object") };
            let answer = fields.get("answer").and_then(Value::as_str).map(str::to_string);
            Arc::new(Example { answer, fields, index, ..Example::text(format!("row:{}", index + 1), "2+3?") })
        };
        let examples = rows.into_iter().enumerate().map(example).collect();
        let rows = Dataset { examples, name: "rows.jsonl".into() };
        let select: Select = toml::from_str(select).unwrap();
        Sft::default().prepare(rows, &select, &Format::default()).map(|rows| rows.examples.len())
    }

    /// One line that is no trace must not turn the filter off for all the others.
    #[test]
    fn rows_are_all_traces_or_none() {
        assert_eq!(prepared(traces(), "correct = true").unwrap(), 2);
        let told = |rows: Vec<Value>| prepared(rows, "correct = true").unwrap_err().to_string();
        for at in 0..4 {
            let (mut without, mut wrong, mut beside) = (traces(), traces(), traces());
            without[at].as_object_mut().unwrap().remove("reward");
            wrong[at]["scores"] = json!("x");
            beside.insert(at, json!({"prompt": "2+3?", "completion": "5"}));
            for (rows, lacks) in
                [(without, "missing field `reward`"), (wrong, "expected a map"), (beside, "missing field")]
            {
                let told = told(rows);
                assert!(
                    told.contains(&format!("row:{}: it is no trace", at + 1)) && told.contains(lacks),
                    "{told}"
                );
            }
        }
        let mut broken = traces();
        broken.iter_mut().for_each(|row| drop(row.as_object_mut().unwrap().remove("reward")));
        assert!(told(broken).contains("row:1"));
    }

    #[test]
    fn a_filter_over_ordinary_rows_is_refused() {
        let rows = || vec![json!({"prompt": "2+3?", "completion": "5"}); 3];
        assert_eq!(prepared(rows(), "").unwrap(), 3);
        let told = prepared(rows(), "correct = true").unwrap_err().to_string();
        assert!(told.contains("rows.jsonl: [select] keeps and drops rollouts"), "{told}");
    }
}
