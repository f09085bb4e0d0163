//! What the steps of a trajectory and the whole are to be worth (ReasonFlux-PRM, Zou et al. 2025, arXiv 2506.18896): several scores of each step, mixed, and how often answers given its
//! template come out right.

use super::rows::LabelledSteps;
use super::{Prm, traces};
use crate::data::columns::Read;
use crate::data::{Dataset, Example};
use crate::error::Error;
use crate::log::Metrics;
use crate::rationale::{Format, steps};
use crate::section::{Misfit, broken};
use crate::statistics::distribution::softmax;
use crate::statistics::mean;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;
use tch::{Kind, Tensor};

/// The column of a trajectory that says what the whole is worth.
const WHOLE: &str = "whole";

/// `[loop.prm.targets]`: what `learns = "trajectory"` learns of traces, and how much of each. The loss of a trajectory is steps · mean over its steps of
/// (score − target)² + whole · (score of the whole − its target)².
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Targets {
    /// The rewards whose scores r_k of a step are mixed to its target: Σ_k softmax(r)_k r_k, so that the greatest counts most. They have to
    /// have scored each step where the traces were collected.
    pub mix: Vec<String>,
    /// λ of the steps; 0 learns none of them.
    pub steps: f64,
    /// λ of the whole; 0 learns nothing of it. Its target is the mean reward of the traces that answer the trajectory: those of a stage whose rows were these
    /// traces, in `data.train` beside them. A column `whole` says it otherwise.
    pub whole: f64,
}

impl Default for Targets {
    fn default() -> Self {
        Self { mix: ["similarity", "judge", "coherence"].map(String::from).into(), steps: 1.0, whole: 1.0 }
    }
}

impl Targets {
    /// What cannot be used as it is.
    pub(super) fn check(&self) -> Vec<Misfit> {
        let weight = |weight: f64| weight >= 0.0 && weight.is_finite();
        let once = self.mix.iter().collect::<BTreeSet<_>>().len() == self.mix.len();
        broken(&[
            (weight(self.steps), "steps", "it must be a finite number from 0 on, such as 1.0"),
            (weight(self.whole), "whole", "it must be a finite number from 0 on, such as 1.0"),
            (
                self.steps + self.whole > 0.0,
                "steps",
                "nothing is learned where whole is 0 too; give one of them a weight",
            ),
            (
                !self.mix.is_empty() || self.steps == 0.0,
                "mix",
                "it is empty; name a reward that scored the steps",
            ),
            (once, "mix", "a reward is named twice"),
        ])
    }
}

/// The trajectories of `rows`: those that answer none, each with the mean reward of those that answer it.
pub(super) fn answered(rows: &Dataset) -> Dataset {
    let ids: BTreeSet<&str> = rows.examples.iter().map(|row| row.id.as_str()).collect();
    let answers =
        |row: &Example| answered_by(row).filter(|id| ids.contains(id) && *id != row.id).map(str::to_owned);
    let (mut rewards, mut trajectories) = (BTreeMap::<String, Vec<f64>>::new(), Vec::new());
    for row in &rows.examples {
        match (answers(row), row.fields.get("reward").and_then(Value::as_f64)) {
            (Some(id), Some(reward)) => rewards.entry(id).or_default().push(reward),
            _ => trajectories.push(row),
        }
    }
    let trajectory = |(index, row): (usize, &Arc<Example>)| {
        let mut row = Example { index, ..(**row).clone() };
        if let Some(rewards) = rewards.get(&row.id) {
            row.fields.insert(WHOLE.into(), mean(rewards.iter().copied()).into());
        }
        Arc::new(row)
    };
    let examples = trajectories.into_iter().enumerate().map(trajectory).collect();
    Dataset { examples, name: rows.name.clone() }
}

/// What is said of so many traces where the whole is to be learned and is known of none.
pub(super) fn unanswered(traces: usize) -> Error {
    Error::Data(format!(
        "none of {traces} traces is answered by another, and none has a column `{WHOLE}`; collect answers by a stage whose data.train is these traces, and \
         learn both (data.train = [\"@explore\", \"@answers\"]), or set loop.prm.targets.whole = 0.0"
    ))
}

/// The row that a trace was sampled for.
fn answered_by(row: &Example) -> Option<&str> {
    row.fields.get("example")?.as_str()
}

/// The mean squared error over steps, and over wholes.
pub(super) fn tell_errors(scores: &Tensor, targets: &Tensor, whole: &[bool], metrics: &mut Metrics) {
    let errors: Vec<f64> =
        Vec::try_from((scores.detach() - targets).square().to_kind(Kind::Double)).unwrap_or_default();
    for (error, whole) in errors.into_iter().zip(whole) {
        metrics.add(if *whole { "errors/whole" } else { "errors/steps" }, error, 1.0);
    }
}

/// Σ_k softmax(r)_k r_k.
fn mixed(scores: &[f64]) -> f64 {
    softmax(scores).iter().zip(scores).map(|(share, score)| share * score).sum()
}

/// What a trace says of its steps and of the whole.
///
/// # Errors
/// Steps that a reward has not scored.
pub(super) fn read(example: &Example, section: &Prm, format: &Format) -> Read<LabelledSteps> {
    let Some(text) = traces::completion(example) else {
        return Err("it is no trace of a rollout, which loop.prm.learns = \"trajectory\" learns; collect some, or use learns = \"steps\"".into());
    };
    let spans = steps::split(&format.steps, text, 0..text.len());
    let own = format.parse(text).map_or(vec![], |rationale| rationale.steps);
    let mut labels = vec![None; spans.len()];
    if section.targets.steps > 0.0 {
        let first = begin(&spans, &own)?;
        let scores: Vec<Vec<f64>> = section
            .targets
            .mix
            .iter()
            .map(|name| scored(example, name, own.len(), (first, spans.len())))
            .collect::<Read<_>>()?;
        for at in 0..own.len() {
            let of_step: Vec<f64> = scores.iter().map(|of| of[at]).collect();
            labels[first + at] = Some(mixed(&of_step));
        }
    }
    let whole = example.fields.get(WHOLE).filter(|_| section.targets.whole > 0.0);
    let whole = match whole {
        None => None,
        Some(number) => Some(number.as_f64().ok_or_else(|| format!("its `{WHOLE}` is no number"))?),
    };
    let texts = spans.into_iter().map(|span| text[span].to_string()).collect();
    Ok(LabelledSteps { whole, ..LabelledSteps::new(texts, labels) })
}

/// Where the steps of the reasoning begin among those of the text.
fn begin(spans: &[Range<usize>], own: &[Range<usize>]) -> Read<usize> {
    // The last may go on into the answer's line.
    let starts = |of: &[Range<usize>]| of.iter().map(|span| span.start).collect::<Vec<_>>();
    let first = own.first().map_or(Some(0), |first| spans.iter().position(|span| span.start == first.start));
    let first = first.filter(|&first| starts(&spans[first..]).starts_with(&starts(own)));
    first.ok_or_else(|| {
        "its reasoning begins within a step of its text; let data.format.tags stand on lines of their own"
            .into()
    })
}

/// What `[reward.NAME]` said of each of the `own` steps, where it scored these or all `(first, all)` of the text.
fn scored(example: &Example, name: &str, own: usize, (first, all): (usize, usize)) -> Read<Vec<f64>> {
    let scores = example.fields.get("step_scores").and_then(|of| of.get(name));
    let scores: Option<Vec<f64>> = scores.and_then(|scores| serde_json::from_value(scores.clone()).ok());
    match scores {
        Some(scores) if scores.len() == own => Ok(scores),
        Some(scores) if scores.len() == all => Ok(scores[first..first + own].to_vec()),
        Some(scores) => Err(format!(
            "[reward.{name}] scored {} steps and its reasoning has {own}; let data.format be what it was when the traces were collected",
            scores.len()
        )),
        None if own == 0 => Ok(vec![]),
        None => Err(format!(
            "no [reward.{name}] scored its steps; collect the traces with that reward (of similarity with each_step = true, of a judge with steps = true), or leave it out \
             of loop.prm.targets.mix"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn row(id: &str, fields: &Value) -> Example {
        let Value::Object(fields) = fields.clone() else { panic!("an object") };
        Example { fields, ..Example::text(id, "?") }
    }

    fn section(keys: &str) -> Prm {
        toml::from_str(&format!("learns = 'trajectory'\n{keys}")).unwrap()
    }

    /// Of 1 and 0 the greater has e / (e + 1) of the weight; of equal scores the mix is each.
    #[test]
    fn scores_are_mixed_by_their_own_softmax() {
        let near =
            |scores: &[f64], expected: f64| assert!((mixed(scores) - expected).abs() < 1e-12, "{scores:?}");
        near(&[1.0, 0.0], 0.731_058_578_630_004_9);
        near(&[0.5, 0.5, 0.5], 0.5);
        // ln 2 against 0 and 0: 2 : 1 : 1.
        near(&[2f64.ln(), 0.0, 0.0], 2f64.ln() / 2.0);
        near(&[-3.0], -3.0);
    }

    #[test]
    fn steps_have_the_mix_and_the_answers_line_has_nothing() {
        let fields = json!({
            "completion": "a\nb\n#### 5", "completion_ids": [], "whole": 0.25,
            "step_scores": {"similarity": [1.0, 0.5], "judge": [0.0, 0.5, 0.9], "coherence": [7.0, 7.0]},
        });
        let read = |keys: &str| read(&row("a", &fields), &section(keys), &Format::default());
        let found = read("targets.mix = ['similarity', 'judge']").unwrap();
        let labels: Vec<f64> = found.labels.iter().flatten().copied().collect();
        assert_eq!((found.texts.len(), labels.len(), found.labels[2], found.whole), (3, 2, None, Some(0.25)));
        assert!((labels[0] - 0.731_058_578_630_004_9).abs() < 1e-12 && (labels[1] - 0.5).abs() < 1e-12);
        assert_eq!(read("targets.whole = 0.0").unwrap().whole, None);
        let whole = read("targets = { steps = 0.0, mix = [] }").unwrap();
        assert_eq!((whole.labels, whole.whole), (vec![None; 3], Some(0.25)));
        let told = read("targets.mix = ['other']").unwrap_err();
        assert!(
            told.contains("no [reward.other] scored its steps") && told.contains("loop.prm.targets.mix"),
            "{told}"
        );
    }

    #[test]
    fn what_is_scored_otherwise_is_told() {
        let told = |fields: Value| {
            read(&row("a", &fields), &section("targets.mix = ['judge']"), &Format::default()).unwrap_err()
        };
        let few =
            json!({"completion": "a\nb\nc\n#### 5", "completion_ids": [], "step_scores": {"judge": [1.0]}});
        assert!(told(few).contains("scored 1 steps and its reasoning has 3"));
        assert!(told(json!({"completion": "a"})).contains("it is no trace of a rollout"));
        let bad = json!({"completion": "a\n#### 5", "completion_ids": [], "step_scores": {"judge": [1.0]}, "whole": "x"});
        assert!(told(bad).contains("its `whole` is no number"));
    }

    /// Three answers of one trajectory, two of them right, and none of another.
    #[test]
    fn the_whole_is_how_often_its_answers_are_right() {
        let answer = |id: &str, of: &str, reward: f64| row(id, &json!({"example": of, "reward": reward}));
        let rows = |rows: Vec<Example>| Dataset {
            examples: rows.into_iter().map(Arc::new).collect(),
            name: "traces".into(),
        };
        let all = vec![
            answer("q/1-0", "q", 0.0),
            answer("q/1-1", "q", 1.0),
            answer("q/1-0/1-0", "q/1-0", 1.0),
            answer("q/1-0/1-1", "q/1-0", 0.0),
            answer("q/1-0/1-2", "q/1-0", 1.0),
        ];
        let found = answered(&rows(all.clone()));
        let whole = |at: usize| found.examples[at].fields.get("whole").and_then(Value::as_f64);
        assert_eq!(found.examples.iter().map(|row| row.id.as_str()).collect::<Vec<_>>(), ["q/1-0", "q/1-1"]);
        assert_eq!((whole(0), whole(1)), (Some(2.0 / 3.0), None));
        assert_eq!(found.examples.iter().map(|row| row.index).collect::<Vec<_>>(), [0, 1]);
        // Who answers nobody's trajectory is one.
        assert_eq!(answered(&rows(all[2..].to_vec())).examples.len(), 3);
    }

    #[test]
    fn the_section_is_checked() {
        let told = |keys: &str| {
            section(keys).targets.check().into_iter().map(|misfit| misfit.key).collect::<Vec<_>>()
        };
        assert!(told("").is_empty());
        assert_eq!(told("targets.steps = -0.5"), ["steps"]);
        assert_eq!(told("targets = { steps = 0.0, whole = 0.0 }"), ["steps"]);
        assert_eq!(told("targets.mix = []"), ["mix"]);
        assert_eq!(told("targets.mix = ['a', 'a']"), ["mix"]);
    }
}
