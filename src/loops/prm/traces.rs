//! Labels of a trace's steps: from the continuations of its cuts (Math-Shepherd, OmegaPRM), from a judge, or where both agree
//! on the first error (Qwen's advice, Zhang et al. 2025, arXiv 2501.07301).

use super::rows::LabelledSteps;
use super::{Continuations, Labeller, Prm};
use crate::data::columns::Read;
use crate::data::row::Problems;
use crate::data::{Dataset, Example};
use crate::engine::StopReason;
use crate::error::{Error, Result};
use crate::rationale::{Format, steps};
use crate::reward::answer;
use crate::rollout::Rollout;
use crate::rollout::prefix::CutValue;
use serde_json::Value;
use std::ops::Range;

impl Prm {
    /// The rows of which both labellers name the same first error, where there are to be two, and their share.
    pub(super) fn agreeing(&self, rows: Dataset, format: &Format) -> Result<(Dataset, Option<f64>)> {
        if self.labels != Labeller::Consensus {
            return Ok((rows, None));
        }
        let (all, mut kept, mut problems) = (rows.examples.len(), Vec::new(), Problems::default());
        for example in rows.examples {
            match agree(&example, self, format) {
                Ok(agree) => kept.extend(agree.then_some(example)),
                Err(what) => problems.example(&example, what),
            }
        }
        problems.into_result()?;
        if kept.is_empty() {
            return Err(Error::Data(format!(
                "{}: continuations and [reward.{}] agree on the first error of none of {all} rows; see whether the judge \
                 counts steps as its prompt says, or use loop.prm.labels = \"continuations\"",
                rows.name, self.judge
            )));
        }
        tracing::info!("continuations and judge agree on the first error of {} of {all} rows", kept.len());
        let share = kept.len() as f64 / all as f64;
        Ok((Dataset { name: rows.name, examples: kept }, Some(share)))
    }
}

/// What the row says of its steps as a trace; `None` where it is none, or says it in columns of its own.
pub(super) fn read(example: &Example, section: &Prm, format: &Format) -> Read<Option<LabelledSteps>> {
    let Some(text) = completion(example) else { return Ok(None) };
    let spans = steps::split(&format.steps, text, 0..text.len());
    let labels = match section.labels {
        Labeller::Judge => judged(example, section, spans.len())?,
        Labeller::Continuations | Labeller::Consensus => continued(example, section, format, text, &spans)?,
    };
    let texts = spans.into_iter().map(|span| text[span].to_string()).collect();
    let shares = section.labels != Labeller::Judge && section.continuations == Continuations::Soft;
    Ok(Some(LabelledSteps { shares, ..LabelledSteps::new(texts, labels) }))
}

/// Whether both labellers say the same of the first error; a row that is no trace has one labeller, who agrees with himself.
pub(super) fn agree(example: &Example, section: &Prm, format: &Format) -> Read<bool> {
    let of = |labels| read(example, &Prm { labels, ..section.clone() }, format);
    let (Some(continued), Some(judged)) = (of(Labeller::Continuations)?, of(Labeller::Judge)?) else {
        return Ok(true);
    };
    Ok(continued.first_error().is_some() && continued.first_error() == judged.first_error())
}

/// The text of a trace. A row with labels in columns of its own is not read as one, unless its steps were continued.
pub(super) fn completion(example: &Example) -> Option<&str> {
    let has = |name: &str| example.fields.contains_key(name);
    let trace = has("cuts") || (has("completion_ids") && !labelled(example));
    example.fields.get("completion").and_then(Value::as_str).filter(|_| trace)
}

/// Whether the row is read as a trace.
pub(super) fn is_one(example: &Example) -> bool {
    completion(example).is_some()
}

/// Whether the row has labels in columns of its own.
pub(super) fn labelled(example: &Example) -> bool {
    ["labels", "step_labels", "ratings", "first_error"].iter().any(|name| example.fields.contains_key(*name))
}

/// Each label from the continuations of the cut behind the step, the last step's, which no cut follows, from the trace's
/// own answer. A hard label of a step that no cut follows is that of the next one which led to a right answer: the same
/// answer was reached from there.
fn continued(
    example: &Example,
    section: &Prm,
    format: &Format,
    text: &str,
    spans: &[Range<usize>],
) -> Read<Vec<Option<f64>>> {
    let cuts = example.fields.get("cuts").cloned().unwrap_or_else(|| Value::Array(vec![]));
    let cuts: Vec<CutValue> = serde_json::from_value(cuts).map_err(|error| format!("`cuts`: {error}"))?;
    let mut labels = vec![None; spans.len()];
    for cut in &cuts {
        // The last step may go on into the answer's line, behind the cut that follows it.
        let before = spans.iter().filter(|span| span.start < cut.bytes).count();
        if let (Some(label), true) = (labels.get_mut(before.wrapping_sub(1)), cut.continuations > 0) {
            *label = Some(match section.continuations {
                Continuations::Hard => f64::from(u8::from(cut.hard())),
                Continuations::Soft => cut.soft(),
            });
        }
    }
    let rollout = Rollout::new(vec![], text.to_string(), vec![], StopReason::Length, format);
    if let (Some(last @ None), Some(right)) = (labels.last_mut(), answer::correct(example, &rollout)) {
        *last = Some(f64::from(u8::from(right)));
    }
    if section.continuations == Continuations::Hard {
        let good = labels.iter().rposition(|label| *label == Some(1.0)).unwrap_or(0);
        labels[..good].iter_mut().for_each(|label| *label = label.or(Some(1.0)));
    }
    Ok(labels)
}

/// What `[reward.NAME]` said of each step when the trace was written; nothing behind the first error.
fn judged(example: &Example, section: &Prm, steps: usize) -> Read<Vec<Option<f64>>> {
    let name = &section.judge;
    let all = example.fields.get("step_scores").and_then(|all| all.get(name));
    let scores: Option<Vec<f64>> = all.and_then(|scores| serde_json::from_value(scores.clone()).ok());
    let Some(scores) = scores else {
        return Err(format!(
            "no [reward.{name}] judged its steps; collect the traces with that reward and steps = true, or name another \
             in loop.prm.judge"
        ));
    };
    if scores.len() != steps {
        return Err(format!(
            "[reward.{name}] judged {} steps and it has {steps}; let data.format be what it was when the traces were \
             collected",
            scores.len()
        ));
    }
    let wrong = scores.iter().position(|score| *score < 0.5).unwrap_or(steps);
    Ok(scores.into_iter().enumerate().map(|(step, score)| (step <= wrong).then_some(score)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn row(fields: &Value) -> Example {
        let Value::Object(fields) = fields.clone() else { panic!("an object") };
        Example { answer: Some("5".into()), fields, ..Example::text("row:3", "?") }
    }

    fn labels(section: &str, fields: &Value) -> Vec<Option<f64>> {
        let section: Prm = toml::from_str(section).unwrap();
        read(&row(fields), &section, &Format::default()).unwrap().unwrap().labels
    }

    /// Bytes: "a\nb\n#### 5", with steps that end at 1, 3 and 10.
    fn cut(step: usize, bytes: usize, good: usize) -> Value {
        json!({"step": step, "tokens": bytes, "bytes": bytes, "continuations": 4, "good": good, "value": 0.0})
    }

    #[test]
    fn continuations_label_the_steps_of_a_trace() {
        // Of four continuations each, three and none are good.
        let fields = json!({"completion": "a\nb\n#### 5", "cuts": [cut(1, 2, 3), cut(2, 4, 0)]});
        assert_eq!(labels("", &fields), [Some(1.0), Some(0.0), Some(1.0)]);
        assert_eq!(labels("continuations = \"soft\"", &fields), [Some(0.75), Some(0.0), Some(1.0)]);
    }

    #[test]
    fn what_comes_before_a_good_step_is_good() {
        let searched = json!({"completion": "a\nb\nc\n#### 6", "cuts": [cut(2, 4, 1), cut(3, 6, 0)]});
        assert_eq!(labels("", &searched), [Some(1.0), Some(1.0), Some(0.0), Some(0.0)]);
        assert_eq!(labels("continuations = \"soft\"", &searched), [None, Some(0.25), Some(0.0), Some(0.0)]);
        // Not continued at all: its own answer, which every step of a right one leads to.
        assert_eq!(
            labels("", &json!({"completion": "a\n#### 5", "completion_ids": []})),
            [Some(1.0), Some(1.0)]
        );
        assert_eq!(labels("", &json!({"completion": "a\n#### 6", "completion_ids": []})), [None, Some(0.0)]);
    }

    #[test]
    fn a_step_that_some_recover_from_is_no_error() {
        // One of four continuations comes out right behind the first step, none behind the second.
        let fields = json!({"completion": "a\nb\n#### 6", "cuts": [cut(1, 2, 1), cut(2, 4, 0)]});
        let first_error = |keys: &str| {
            let section: Prm = toml::from_str(keys).unwrap();
            let steps = read(&row(&fields), &section, &Format::default()).unwrap().unwrap();
            (steps.first_error(), steps.learned(&section).labels)
        };
        assert_eq!(first_error(""), (Some(Some(1)), vec![Some(1.0), Some(0.0)]));
        assert_eq!(first_error("continuations = \"soft\""), (Some(Some(1)), vec![Some(0.25), Some(0.0)]));
    }

    #[test]
    fn a_judge_labels_up_to_the_first_error() {
        let judged =
            json!({"completion": "a\nb\n#### 5", "completion_ids": [], "step_scores": {"judge": [1, 0, 0]}});
        assert_eq!(labels("labels = \"judge\"", &judged), [Some(1.0), Some(0.0), None]);
        let message = |section: &str, fields: &Value| {
            let section: Prm = toml::from_str(section).unwrap();
            read(&row(fields), &section, &Format::default()).unwrap_err()
        };
        let none = message("labels = \"judge\"\njudge = \"other\"", &judged);
        assert!(
            none.contains("no [reward.other] judged its steps") && none.contains("loop.prm.judge"),
            "{none}"
        );
        let few = json!({"completion": "a\n#### 5", "completion_ids": [], "step_scores": {"judge": [1]}});
        assert!(message("labels = \"judge\"", &few).contains("judged 1 steps and it has 2"));
    }

    #[test]
    fn two_agree_where_they_name_the_same_first_error() {
        let of = |goods: [usize; 2], judged: Value| {
            let cuts = [cut(1, 2, goods[0]), cut(2, 4, goods[1])];
            let fields =
                json!({"completion": "a\nb\n#### 5", "cuts": cuts, "step_scores": {"judge": judged}});
            let section: Prm = toml::from_str("labels = \"consensus\"").unwrap();
            agree(&row(&fields), &section, &Format::default()).unwrap()
        };
        assert!(of([2, 0], json!([1, 0, 0])) && of([1, 1], json!([1, 1, 1])));
        assert!(
            !of([0, 0], json!([1, 0, 0])) && !of([2, 0], json!([1, 1, 1])) && !of([1, 1], json!([0, 0, 0]))
        );
    }
}
