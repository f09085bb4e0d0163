//! The figures that an evaluation comes to.

use super::calibration::{Reliability, reliability};
use super::marks::{Agreement, agreement};
use super::statistics::{
    bootstrap_interval, by_class, counted, figures, interval, majority_correct, mean, pass_at_k,
};
use super::{Asked, Decoding, Eval, HeldOut, Shown, process, search};
use crate::log::number_or_nan;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What an evaluation found.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Questions asked.
    pub questions: usize,
    /// Share of completions whose answer is right, averaged over questions.
    #[serde(deserialize_with = "number_or_nan")]
    pub accuracy: f64,
    /// Bootstrap interval (95 %, over questions) of the accuracy.
    #[serde(deserialize_with = "interval")]
    pub interval: (f64, f64),
    /// Unbiased pass@k (Chen et al. 2021), by k.
    #[serde(deserialize_with = "figures")]
    pub pass_at: BTreeMap<usize, f64>,
    /// Accuracy of the most frequent answer among k completions, by k.
    #[serde(deserialize_with = "figures")]
    pub majority_at: BTreeMap<usize, f64>,
    /// Mean tokens of a completion.
    #[serde(deserialize_with = "number_or_nan")]
    pub length: f64,
    /// Mean tokens of the right ones; none if none is right.
    pub length_correct: Option<f64>,
    /// Mean tokens of the wrong ones.
    pub length_wrong: Option<f64>,
    /// Share cut off by the token limit.
    #[serde(deserialize_with = "number_or_nan")]
    pub truncated: f64,
    /// Share without an answer that could be read.
    #[serde(deserialize_with = "number_or_nan")]
    pub unanswered: f64,
    /// Macro-F1 and quadratic weighted kappa, where `eval.labels` says which answers there are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agreement: Option<Agreement>,
    /// Confidence against accuracy, where `[eval.calibration]` asks for it and there is an answer at all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calibration: Option<Reliability>,
    /// Accuracy against the number of completions, where the recipe searches among several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub search: Option<search::Search>,
    /// Of a reward model: how it judges steps. The accuracy is then that of its judgements.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub process: Option<process::Process>,
    /// What the method's own loss comes to on held-out rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held_out: Option<HeldOut>,
    /// Accuracy and number of questions by the column `eval.by`.
    #[serde(deserialize_with = "counted")]
    pub classes: BTreeMap<String, (f64, usize)>,
    /// What `[eval.measures]` says of the completions, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub measures: BTreeMap<String, Measure>,
    /// How many completions follow the row's own rationale, where `eval.own_steps` looks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub own_steps: Option<OwnSteps>,
    /// What metrics of the program's own come to (`Registry::metric`).
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "figures")]
    pub metrics: BTreeMap<String, f64>,
    /// How the completions were sampled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decoding: Option<Decoding>,
    /// The first questions, for reading.
    pub shown: Vec<Shown>,
}

/// Completions held against the row's own rationale.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct OwnSteps {
    /// Share of completions whose steps are those of the rationale.
    #[serde(deserialize_with = "number_or_nan")]
    pub followed: f64,
    /// Share of the right answers that have a wrong step above them.
    #[serde(deserialize_with = "number_or_nan")]
    pub right_by_wrong_steps: f64,
}

/// A measure over all questions.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Measure {
    /// The mean over questions of the mean of their completions.
    #[serde(deserialize_with = "number_or_nan")]
    pub mean: f64,
    /// Bootstrap interval of it (95 %, over questions).
    #[serde(deserialize_with = "interval")]
    pub interval: (f64, f64),
    /// The mean by the column `eval.by`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub classes: BTreeMap<String, f64>,
    /// Means of its statistics besides scores: shares of gates, times, costs.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub figures: BTreeMap<String, f64>,
}

impl Report {
    /// That of an evaluation that asked nothing: none of its figures is one.
    pub fn unasked() -> Self {
        let nan = f64::NAN;
        let (accuracy, interval, length, truncated, unanswered) = (nan, (nan, nan), nan, nan, nan);
        Self { accuracy, interval, length, truncated, unanswered, ..Self::default() }
    }

    /// Takes in what measures say besides scores, each as `NAME/FIGURE`: the mean of what is said under one name.
    pub(super) fn tell(&mut self, figures: &[(String, f64)]) {
        let named = figures.iter().filter_map(|(name, value)| Some((name.split_once('/')?, *value)));
        let mut all: BTreeMap<(&str, &str), Vec<f64>> = BTreeMap::new();
        named.for_each(|(name, value)| all.entry(name).or_default().push(value));
        for ((name, figure), values) in all {
            if let Some(measure) = self.measures.get_mut(name) {
                measure.figures.insert(figure.to_string(), mean(values));
            }
        }
    }

    /// The most important figures in words.
    pub fn sentence(&self) -> String {
        let percent = |share: f64| format!("{:.1} %", 100.0 * share);
        let held_out = self.held_out.as_ref().map(HeldOut::sentence);
        match (&self.process, held_out) {
            (Some(process), _) => process.sentence(),
            (None, Some(held_out)) if self.questions == 0 => held_out,
            (None, held_out) => format!(
                "accuracy {} [{:.1}, {:.1}] of {} questions, {}mean length {:.1}{}",
                percent(self.accuracy),
                100.0 * self.interval.0,
                100.0 * self.interval.1,
                self.questions,
                self.agreement.map_or_else(String::new, |agreement| agreement.words()),
                self.length,
                held_out.map_or(String::new(), |held_out| format!("; {held_out}"))
            ),
        }
    }

    /// The figures under their names in `metrics.jsonl`.
    pub fn metrics(&self) -> Vec<(String, f64)> {
        if let Some(process) = &self.process {
            return process.metrics();
        }
        let held_out = self.held_out.iter().flat_map(|held_out| &held_out.figures);
        let held_out = held_out.map(|(name, figure)| (format!("eval/{name}"), figure.mean));
        if self.held_out.is_some() && self.questions == 0 {
            return held_out.collect();
        }
        let mut out = vec![
            ("eval/accuracy".to_string(), self.accuracy),
            ("eval/accuracy_low".to_string(), self.interval.0),
            ("eval/accuracy_high".to_string(), self.interval.1),
            ("eval/completions/mean_length".to_string(), self.length),
            ("eval/completions/clipped_ratio".to_string(), self.truncated),
            ("eval/unanswered".to_string(), self.unanswered),
        ];
        out.extend(held_out);
        if let Some(own) = &self.own_steps {
            out.push(("eval/own_steps".to_string(), own.followed));
            // Where nothing is right, there is no share of it.
            let by_wrong = Some(own.right_by_wrong_steps).filter(|share| !share.is_nan());
            out.extend(by_wrong.map(|share| ("eval/right_by_wrong_steps".to_string(), share)));
        }
        out.extend(self.metrics.iter().map(|(name, value)| (format!("eval/{name}"), *value)));
        out.extend(self.length_correct.map(|l| ("eval/completions/mean_length_correct".to_string(), l)));
        out.extend(self.length_wrong.map(|l| ("eval/completions/mean_length_wrong".to_string(), l)));
        if let Some(agreement) = &self.agreement {
            out.push(("eval/macro_f1".to_string(), agreement.macro_f1));
            out.extend(agreement.kappa.map(|kappa| ("eval/qwk".to_string(), kappa)));
        }
        if let Some(reliability) = &self.calibration {
            out.push(("eval/ece".to_string(), reliability.error));
            out.push(("eval/confidence".to_string(), reliability.confidence));
        }
        out.extend(self.pass_at.iter().map(|(k, v)| (format!("eval/pass@{k}"), *v)));
        out.extend(self.majority_at.iter().map(|(k, v)| (format!("eval/maj@{k}"), *v)));
        for (name, measure) in &self.measures {
            out.push((format!("eval/measures/{name}"), measure.mean));
            let figures = measure.figures.iter();
            out.extend(figures.map(|(figure, value)| (format!("eval/measures/{name}/{figure}"), *value)));
        }
        out.extend(self.search.iter().flat_map(search::Search::metrics));
        out.extend(self.classes.iter().map(|(class, (v, _))| (format!("eval/accuracy/{class}"), *v)));
        out
    }
}

/// The figures of all questions.
pub(super) fn report(asked: &[Asked], config: &Eval, run_seed: u64) -> Report {
    let accuracies: Vec<f64> = asked.iter().map(Asked::accuracy).collect();
    let over_repeats = |f: &dyn Fn(&Asked, usize) -> f64| {
        mean(asked.iter().flat_map(|a| (0..config.seeds).map(move |repeat| f(a, repeat))))
    };
    let count = |right: &[bool]| right.iter().filter(|&&r| r).count();
    let pass_at = config
        .at
        .iter()
        .map(|&k| (k, over_repeats(&|a, repeat| pass_at_k(config.samples, count(&a.correct[repeat]), k))));
    let majority_at = config.at.iter().filter(|&&k| k > 1).map(|&k| {
        let vote =
            |a: &Asked, repeat: usize| majority_correct(&a.answers[repeat][..k], &a.correct[repeat][..k]);
        (k, over_repeats(&|a, repeat| f64::from(u8::from(vote(a, repeat)))))
    });
    let verdicts = || asked.iter().flat_map(|a| &a.verdicts);
    let length_of = |wanted: Option<bool>| {
        let picked = verdicts().filter(|verdict| wanted.is_none_or(|wanted| wanted == verdict.right));
        let length = mean(picked.map(|verdict| verdict.tokens as f64));
        (!length.is_nan()).then_some(length)
    };
    let completions = verdicts().count().max(1) as f64;
    let confidences: Vec<(f64, bool)> = asked.iter().flat_map(|a| a.confidences.iter().copied()).collect();
    let labelled: Vec<_> = asked.iter().flat_map(|a| a.labelled.iter().copied()).collect();
    let unanswered = verdicts().filter(|verdict| verdict.answer.is_none()).count();
    Report {
        questions: asked.len(),
        accuracy: mean(accuracies.iter().copied()),
        interval: bootstrap_interval(&accuracies, 0.95, 2000, run_seed),
        pass_at: pass_at.collect(),
        majority_at: majority_at.collect(),
        length: length_of(None).unwrap_or(0.0),
        length_correct: length_of(Some(true)),
        length_wrong: length_of(Some(false)),
        truncated: verdicts().filter(|verdict| verdict.truncated).count() as f64 / completions,
        unanswered: unanswered as f64 / completions,
        agreement: agreement(&labelled, config.labels.len()),
        calibration: config.calibration.as_ref().and_then(|c| reliability(&confidences, c.bins)),
        search: None,
        process: None,
        held_out: None,
        classes: by_class(
            asked.iter().flat_map(|a| a.class.values().map(|class| (class.as_str(), a.accuracy()))),
        ),
        own_steps: config.own_steps.then(|| OwnSteps {
            followed: verdicts().filter(|verdict| verdict.wrong_step.is_none()).count() as f64 / completions,
            right_by_wrong_steps: mean(
                verdicts()
                    .filter(|verdict| verdict.right)
                    .map(|verdict| f64::from(u8::from(verdict.wrong_step.is_some()))),
            ),
        }),
        metrics: BTreeMap::new(),
        measures: config.measures.keys().map(|name| (name.clone(), measure(asked, name, run_seed))).collect(),
        decoding: None,
        shown: Vec::new(),
    }
}

fn measure(asked: &[Asked], name: &str, run_seed: u64) -> Measure {
    let of = |a: &Asked| mean(a.verdicts.iter().filter_map(|verdict| verdict.measures.get(name).copied()));
    let values: Vec<f64> = asked.iter().map(of).collect();
    let classes = asked
        .iter()
        .zip(&values)
        .flat_map(|(a, value)| a.class.values().map(|class| (class.as_str(), *value)));
    Measure {
        mean: mean(values.iter().copied()),
        interval: bootstrap_interval(&values, 0.95, 2000, run_seed),
        classes: by_class(classes).into_iter().map(|(class, (mean, _))| (class, mean)).collect(),
        figures: BTreeMap::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The share of right answers by wrong steps is one of nothing where no answer is right: it is no figure, and a dash in tables.
    #[test]
    fn a_share_of_nothing_is_no_figure() {
        let of = |right_by_wrong_steps| {
            let own_steps = Some(OwnSteps { followed: 0.5, right_by_wrong_steps });
            Report { questions: 2, own_steps, ..Report::default() }.metrics()
        };
        let named = |figures: &[(String, f64)], name: &str| figures.iter().any(|(figure, _)| figure == name);
        let nothing = of(f64::NAN);
        assert!(nothing.iter().all(|(_, value)| value.is_finite()), "{nothing:?}");
        assert!(!named(&nothing, "eval/right_by_wrong_steps") && named(&nothing, "eval/own_steps"));
        assert!(named(&of(0.25), "eval/right_by_wrong_steps"));
    }
}
