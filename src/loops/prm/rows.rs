//! What a row says about steps: the texts, and a label for each as far as it is known.

use super::{Learns, Neutral, Prm, traces, trajectory};
use crate::data::columns::Read;
use crate::data::row::{Problems, named};
use crate::data::{Dataset, Example, Feedback};
use crate::engine::StopReason;
use crate::error::Result;
use crate::rationale::Format;
use crate::reward::answer;
use crate::rollout::Rollout;
use serde_json::Value;
use std::collections::HashSet;
use std::sync::Arc;

impl Prm {
    /// The rows without repetitions, each checked.
    pub(super) fn prepare(&self, rows: Dataset, format: &Format) -> Result<(Dataset, Option<f64>)> {
        let (rows, agreeing) = self.agreeing(rows, format)?;
        let labelled = !self.compares();
        let (mut seen, mut examples, mut problems) = (HashSet::new(), Vec::new(), Problems::default());
        let mut repeated = Vec::new();
        for example in rows.examples {
            let mut key = vec![example.prompt.text()];
            if labelled {
                match read(&example, self, format) {
                    Ok(steps) => key.extend(steps.texts),
                    Err(what) => problems.example(&example, what),
                }
            } else {
                key.extend(example.completions.iter().cloned());
                key.push(format!("{:?}", example.feedback));
            }
            if seen.insert(key) || !self.dedup {
                let index = examples.len();
                examples.push(Arc::new(Example { index, ..(*example).clone() }));
            } else {
                repeated.push(example);
            }
        }
        problems.into_result()?;
        if !repeated.is_empty() {
            let ids: Vec<&str> = repeated.iter().map(|example| example.id.as_str()).collect();
            tracing::warn!(
                "{}: {} of {} rows repeat another and are left out: {}; loop.prm.dedup = false keeps them",
                rows.name,
                ids.len(),
                ids.len() + examples.len(),
                named(&ids)
            );
        }
        Ok((Dataset { name: rows.name, examples }, agreeing))
    }
}

/// The steps of one completion with what is known of each.
#[derive(Debug, Clone, PartialEq)]
pub struct LabelledSteps {
    /// The texts, without separators.
    pub texts: Vec<String>,
    /// How right each step is, in [0, 1]; `None` where that is unknown.
    pub labels: Vec<Option<f64>>,
    /// Labels are shares of continuations that came out right: a step is wrong where none did, since one that some recover from
    /// (1 of 4) is no error (Math-Shepherd's hard estimate).
    pub shares: bool,
    /// What the whole is worth, where that is learned beside the steps.
    pub whole: Option<f64>,
}

impl LabelledSteps {
    /// Steps as a row labels them.
    pub fn new(texts: Vec<String>, labels: Vec<Option<f64>>) -> Self {
        Self { texts, labels, shares: false, whole: None }
    }

    /// Whether a step with this label counts as right.
    pub fn is_right(&self, label: f64) -> bool {
        if self.shares { label > 0.0 } else { label >= 0.5 }
    }

    /// The first step that is known to be wrong; `Some(None)` where all are known to be right, `None` where neither is
    /// known.
    pub fn first_error(&self) -> Option<Option<usize>> {
        let wrong = self.labels.iter().position(|label| label.is_some_and(|label| !self.is_right(label)));
        match wrong {
            Some(at) => Some(Some(at)),
            None => self.labels.iter().all(Option::is_some).then_some(None),
        }
    }

    /// Without the labels that the section leaves out.
    pub fn learned(mut self, section: &Prm) -> Self {
        if section.learns == Learns::Trajectory {
            return self;
        }
        if let (true, Some(Some(error))) = (section.stop_at_error, self.first_error()) {
            self.texts.truncate(error + 1);
            self.labels.truncate(error + 1);
        }
        if section.last_step_only || section.learns == Learns::Outcome {
            let last = self.labels.len().saturating_sub(1);
            self.labels[..last].fill(None);
        }
        self
    }
}

/// Reads the row of a step or outcome reward model.
///
/// # Errors
/// What is wrong with it and the remedy.
pub fn read(example: &Example, section: &Prm, format: &Format) -> Read<LabelledSteps> {
    if section.learns == Learns::Outcome
        && let Some((text, label)) = outcome(example, format)
    {
        return Ok(LabelledSteps::new(vec![text], vec![Some(label)]));
    }
    if section.learns == Learns::Trajectory && traces::is_one(example) {
        return trajectory::read(example, section, format);
    }
    if let Some(steps) = traces::read(example, section, format)? {
        return Ok(steps);
    }
    let labels = labels(example, section)?;
    let texts = texts(example, section, labels.len())?;
    if texts.is_empty() {
        return Err("it has no steps; leave the row out".into());
    }
    let labels = match labels {
        Labels::Each(labels) => labels,
        Labels::FirstError(error) => {
            if let Some(error) = error.filter(|&error| error >= texts.len()) {
                let count = texts.len();
                let apart = match example.fields.contains_key("completions")
                    || example.fields.contains_key("steps")
                {
                    true => String::new(),
                    false => format!("; {:?} stands between steps (loop.prm.separator)", section.separator),
                };
                return Err(format!(
                    "`first_error` = {error} and it has {count} steps; counted from 0, or −1 for none{apart}"
                ));
            }
            let label = |step: usize| match error {
                Some(error) if step > error => None,
                Some(error) if step == error => Some(0.0),
                _ => Some(1.0),
            };
            (0..texts.len()).map(label).collect()
        }
    };
    if labels.len() != texts.len() {
        return Err(format!(
            "it has {} labels for {} steps; give each step one (null where it is unknown)",
            labels.len(),
            texts.len()
        ));
    }
    Ok(LabelledSteps::new(texts, labels))
}

/// A whole completion with its label: stated, or whether its answer is the gold one.
fn outcome(example: &Example, format: &Format) -> Option<(String, f64)> {
    let number = |good: bool| f64::from(u8::from(good));
    if let Some(Feedback::Label { completion, good, .. }) = &example.feedback {
        return Some((completion.text.clone(), number(*good)));
    }
    let [text] = example.completions.as_slice() else { return None };
    // What a row says of its completion goes before what its gold answer does.
    if traces::labelled(example) {
        return None;
    }
    let rollout = Rollout::new(vec![], text.clone(), vec![], StopReason::Length, format);
    Some((text.clone(), number(answer::correct(example, &rollout)?)))
}

enum Labels {
    Each(Vec<Option<f64>>),
    FirstError(Option<usize>),
}

impl Labels {
    fn len(&self) -> Option<usize> {
        match self {
            Labels::Each(labels) => Some(labels.len()),
            Labels::FirstError(_) => None,
        }
    }
}

fn texts(example: &Example, section: &Prm, labels: Option<usize>) -> Read<Vec<String>> {
    for name in ["completions", "steps"] {
        let Some(value) = example.fields.get(name) else { continue };
        let texts = value.as_array().and_then(|items| {
            items.iter().map(|item| item.as_str().map(str::to_string)).collect::<Option<Vec<_>>>()
        });
        return texts.ok_or_else(|| format!("`{name}` must be a list of texts, one a step"));
    }
    let Some(text) = example.fields.get("completion").and_then(Value::as_str) else {
        return Err(
            "it has no steps; give it `completions` or `steps`, a list of texts, or name the column in \
                    [data.columns]"
                .into(),
        );
    };
    let separator = section.separator.as_str();
    let texts: Vec<String> =
        text.split(separator).filter(|step| !step.trim().is_empty()).map(str::to_string).collect();
    if texts.len() == 1 && labels.is_some_and(|labels| labels > 1) {
        return Err(format!(
            "its `completion` has no separator {separator:?} between steps; set loop.prm.separator to what stands \
             there, or give the steps as a list in `completions`"
        ));
    }
    Ok(texts)
}

fn labels(example: &Example, section: &Prm) -> Read<Labels> {
    for name in ["labels", "step_labels"] {
        if let Some(value) = example.fields.get(name) {
            return each(value, name, |label| match label {
                Value::Bool(right) => Ok(Some(f64::from(u8::from(*right)))),
                _ => match label.as_f64() {
                    Some(number) if (0.0..=1.0).contains(&number) => Ok(Some(number)),
                    _ => Err(format!(
                        "`{name}` has {label}: a label is true, false, a number from 0 to 1, or null; ratings of −1, 0 \
                         and 1 belong in a column `ratings` (data.columns.ratings = \"{name}\")"
                    )),
                },
            });
        }
    }
    if let Some(value) = example.fields.get("ratings") {
        return each(value, "ratings", |rating| match (rating.as_i64(), section.neutral) {
            (Some(1), _) | (Some(0), Neutral::Right) => Ok(Some(1.0)),
            (Some(-1), _) | (Some(0), Neutral::Wrong) => Ok(Some(0.0)),
            (Some(0), Neutral::Skip) => Ok(None),
            _ => Err(format!("`ratings` has {rating}: a rating is −1, 0 or 1, or null")),
        });
    }
    match example.fields.get("first_error").map(Value::as_i64) {
        Some(Some(-1)) => Ok(Labels::FirstError(None)),
        Some(Some(error)) if error >= 0 => Ok(Labels::FirstError(Some(error as usize))),
        Some(_) => Err("`first_error` must be the number of a step, counted from 0, or −1 for none".into()),
        None => Err(
            "it says nothing of its steps; give it `labels` (true or false each), `ratings` (−1, 0, 1) or \
                     `first_error`, or name the column in [data.columns]"
                .into(),
        ),
    }
}

fn each(value: &Value, name: &str, read: impl Fn(&Value) -> Read<Option<f64>>) -> Read<Labels> {
    let items =
        value.as_array().ok_or_else(|| format!("`{name}` must be a list with a label for each step"))?;
    let known = |item: &Value| if item.is_null() { Ok(None) } else { read(item) };
    items.iter().map(known).collect::<Read<_>>().map(Labels::Each)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn row(fields: Value) -> Example {
        let Value::Object(fields) = fields else { panic!("an object") };
        Example { fields, ..Example::text("row:3", "?") }
    }

    fn read_with(section: &str, fields: Value) -> Read<LabelledSteps> {
        let section: Prm = toml::from_str(section).unwrap();
        read(&row(fields), &section, &Format::default())
    }

    #[test]
    fn labels_ratings_and_first_errors_are_read() {
        let of = |section: &str, name: &str, value: Value| {
            let mut fields = json!({"completions": ["a", "b", "c"]});
            fields[name] = value;
            read_with(section, fields).unwrap().labels
        };
        let (right, wrong) = (Some(1.0), Some(0.0));
        assert_eq!(of("", "labels", json!([true, false, true])), [right, wrong, right]);
        assert_eq!(of("", "step_labels", json!([1, 0.25, null])), [right, Some(0.25), None]);
        assert_eq!(of("", "ratings", json!([1, 0, -1])), [right, right, wrong]);
        assert_eq!(of("neutral = \"wrong\"", "ratings", json!([1, 0, -1])), [right, wrong, wrong]);
        assert_eq!(of("neutral = \"skip\"", "ratings", json!([1, 0, -1])), [right, None, wrong]);
        assert_eq!(of("", "first_error", json!(1)), [right, wrong, None]);
        assert_eq!(of("", "first_error", json!(-1)), [right, right, right]);
    }

    #[test]
    fn what_follows_an_error_is_left_out() {
        let steps = |section: &str| {
            let fields = json!({"steps": ["a", "b", "c"], "labels": [true, false, true]});
            let section: Prm = toml::from_str(section).unwrap();
            read(&row(fields), &section, &Format::default()).unwrap().learned(&section)
        };
        assert_eq!(steps("").labels, [Some(1.0), Some(0.0)]);
        assert_eq!(steps("").texts, ["a", "b"]);
        assert_eq!(steps("stop_at_error = false").labels.len(), 3);
        assert_eq!(steps("last_step_only = true").labels, [None, Some(0.0)]);
    }

    #[test]
    fn the_first_error_may_be_unknown() {
        let first = |labels: &[Option<f64>]| {
            LabelledSteps::new(vec![String::new(); labels.len()], labels.to_vec()).first_error()
        };
        assert_eq!(first(&[Some(1.0), Some(0.2), None]), Some(Some(1)));
        assert_eq!(first(&[Some(1.0), Some(1.0)]), Some(None));
        assert_eq!(first(&[Some(1.0), None]), None);
    }

    /// The gold answer says nothing where a label is there.
    #[test]
    fn an_outcome_is_what_its_own_label_says() {
        let of = |fields: Value| {
            let answered =
                Example { answer: Some("5".into()), completions: vec!["so 4".into()], ..row(fields) };
            let section: Prm = toml::from_str("learns = 'outcome'").unwrap();
            read(&answered, &section, &Format::default()).unwrap()
        };
        let stated = of(json!({"completion": "so 4", "labels": [0.75]}));
        assert_eq!((stated.texts, stated.labels), (vec!["so 4".to_string()], vec![Some(0.75)]));
        assert_eq!(of(json!({"completion": "so 4"})).labels, [Some(0.0)]);
    }

    #[test]
    fn bad_rows_are_named_with_the_remedy() {
        let message = |fields: Value| read_with("", fields).unwrap_err();
        let counts = message(json!({"steps": ["a", "b"], "labels": [true]}));
        assert!(counts.contains("it has 1 labels for 2 steps; give each step one"), "{counts}");
        let separator = message(json!({"completion": "a. b.", "labels": [true, false]}));
        assert!(
            separator.contains("no separator \"\\n\" between steps; set loop.prm.separator"),
            "{separator}"
        );
        let rating = message(json!({"steps": ["a"], "labels": [-1]}));
        assert!(rating.contains("`labels` has -1") && rating.contains("data.columns.ratings"), "{rating}");
        assert!(message(json!({"steps": ["a"]})).contains("says nothing of its steps"));
        assert!(message(json!({"labels": [true]})).contains("it has no steps; give it `completions`"));
        assert!(
            message(json!({"steps": ["a"], "first_error": 1}))
                .contains("`first_error` = 1 and it has 1 steps")
        );
        assert!(message(json!({"steps": [], "labels": []})).contains("it has no steps"));
    }
}
