//! How good the policy is on held-out questions: `[eval]` inside a training stage, and the `evaluate` loop.

mod answering;
pub mod calibration;
mod confidence;
pub mod lengths;
pub mod marks;
pub mod process;
pub mod search;
mod section;
mod shown;
pub mod statistics;

pub use answering::Answering;
pub use section::Eval;
pub use shown::Shown;

use crate::engine::Progress;
use crate::error::{Error, Result};
use crate::log::number_or_nan;
use crate::ranks::{agreed, gathered, in_turn};
use crate::rollout::{Group, Prompted, Search as Searching};
use calibration::{Reliability, reliability};
use marks::{Agreement, agreement};
use serde::{Deserialize, Serialize};
use statistics::{
    bootstrap_interval, by_class, counted, figures, interval, majority_correct, mean, pass_at_k,
};
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
    /// Accuracy and number of questions by the column `eval.by`.
    #[serde(deserialize_with = "counted")]
    pub classes: BTreeMap<String, (f64, usize)>,
    /// The first questions, for reading.
    pub shown: Vec<Shown>,
}

impl Report {
    /// The most important figures in words.
    pub fn sentence(&self) -> String {
        let percent = |share: f64| format!("{:.1} %", 100.0 * share);
        match &self.process {
            Some(process) => process.sentence(),
            None => format!(
                "accuracy {} [{:.1}, {:.1}] of {} questions, {}mean length {:.1}",
                percent(self.accuracy),
                100.0 * self.interval.0,
                100.0 * self.interval.1,
                self.questions,
                self.agreement.map_or_else(String::new, |agreement| agreement.words()),
                self.length
            ),
        }
    }

    /// The figures under their names in `metrics.jsonl`.
    pub fn metrics(&self) -> Vec<(String, f64)> {
        if let Some(process) = &self.process {
            return process.metrics();
        }
        let mut out = vec![
            ("eval/accuracy".to_string(), self.accuracy),
            ("eval/accuracy_low".to_string(), self.interval.0),
            ("eval/accuracy_high".to_string(), self.interval.1),
            ("eval/completions/mean_length".to_string(), self.length),
            ("eval/completions/clipped_ratio".to_string(), self.truncated),
            ("eval/unanswered".to_string(), self.unanswered),
        ];
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
        out.extend(self.search.iter().flat_map(search::Search::metrics));
        out.extend(self.classes.iter().map(|(class, (v, _))| (format!("eval/accuracy/{class}"), *v)));
        out
    }
}

/// Asks every question, of several ranks each its share; the same on all of them.
pub fn evaluate(
    answering: &mut Answering,
    questions: &[Prompted],
    config: &Eval,
    run_seed: u64,
    progress: &mut dyn FnMut(&Progress),
) -> Result<Report> {
    let ranks = answering.ranks;
    let own: Vec<Prompted> = questions.iter().skip(ranks.rank()).step_by(ranks.count()).cloned().collect();
    let own = agreed(ranks, ask(answering, &own, config, run_seed, progress))?;
    let asked = in_turn(gathered(ranks, own)?);
    let tokenizer = &answering.policy.tokenizer;
    let shown = asked.iter().zip(questions).take(config.show).map(|(asked, question)| Shown {
        prompt: tokenizer.decode(&question.tokens),
        completion: asked.first.clone(),
        answer: question.example.answer.clone().unwrap_or_default(),
        correct: asked.correct[0][0],
    });
    let of_repeat = |(search, repeat): (&dyn Searching, usize)| {
        let searched: Vec<_> = asked.iter().map(|asked| asked.searched[repeat].clone()).collect();
        search::Search::of(search.name(), search.picks().n, &searched)
    };
    let repeats =
        answering.search.into_iter().flat_map(|search| (0..config.seeds).map(move |at| (search, at)));
    let search = search::Search::mean(&repeats.map(of_repeat).collect::<Vec<_>>());
    Ok(Report { search, ..report(&asked, config, run_seed, shown.collect()) })
}

fn ask(
    answering: &mut Answering,
    questions: &[Prompted],
    config: &Eval,
    run_seed: u64,
    progress: &mut dyn FnMut(&Progress),
) -> Result<Vec<Asked>> {
    let policy = answering.policy;
    let mut asked: Vec<Asked> = questions.iter().map(|q| Asked::new(q, config)).collect::<Result<_>>()?;
    // Of more ranks than questions some have none.
    for repeat in (0..config.seeds).filter(|_| !questions.is_empty()) {
        let (groups, searched) = answering.groups(questions, config, [run_seed, repeat as u64], progress)?;
        asked.iter_mut().zip(searched).for_each(|(asked, searched)| asked.searched.push(searched));
        for (asked, group) in asked.iter_mut().zip(&groups) {
            asked.add(group, repeat, config)?;
            if let Some(calibration) = &config.calibration {
                let answers = (&asked.answers[repeat][..], &asked.correct[repeat][..]);
                asked.confidences.extend(confidence::points(calibration.confidence, policy, group, answers)?);
            }
        }
    }
    Ok(asked)
}

/// What became of one question: by repeat, then by sample.
#[derive(Serialize, Deserialize)]
struct Asked {
    class: Option<String>,
    /// The place of the gold answer among `eval.labels`, where there are some.
    gold: Option<usize>,
    correct: Vec<Vec<bool>>,
    answers: Vec<Vec<Option<usize>>>,
    /// The places among `eval.labels` of the gold answer and of each completion's.
    labelled: Vec<(usize, Option<usize>)>,
    lengths: Vec<(usize, bool)>,
    truncated: usize,
    first: String,
    confidences: Vec<(f64, bool)>,
    /// What a search found, by repeat, where there is one.
    searched: Vec<search::Searched>,
}

impl Asked {
    fn new(question: &Prompted, config: &Eval) -> Result<Self> {
        let example = &question.example;
        let class = match &config.by {
            None => None,
            Some(column) => Some(match example.fields.get(column) {
                Some(serde_json::Value::String(text)) => text.clone(),
                Some(value) => value.to_string(),
                None => {
                    let known: Vec<&str> = example.fields.keys().map(String::as_str).collect();
                    return Err(Error::Data(format!(
                        "example {}: eval.by = \"{column}\" names a column it does not have; known: {}",
                        example.id,
                        known.join(", ")
                    )));
                }
            }),
        };
        let gold = example.gold().and_then(config.labels_of(example));
        if gold.is_none() && !config.labels.is_empty() {
            return Err(Error::Data(format!(
                "example {}: its answer {:?} is none of eval.labels = {:?}; add it there",
                example.id, example.answer, config.labels
            )));
        }
        Ok(Self {
            class,
            gold,
            correct: Vec::new(),
            answers: Vec::new(),
            labelled: Vec::new(),
            lengths: Vec::new(),
            truncated: 0,
            first: String::new(),
            confidences: Vec::new(),
            searched: Vec::new(),
        })
    }

    fn add(&mut self, group: &Group, repeat: usize, config: &Eval) -> Result<()> {
        let mut correct = Vec::with_capacity(group.rollouts.len());
        for rollout in &group.rollouts {
            let right = search::right(group, rollout)?;
            correct.push(right);
            self.lengths.push((rollout.tokens.len(), right));
            self.truncated += usize::from(rollout.truncated());
        }
        if repeat == 0 {
            self.first.clone_from(&group.rollouts[0].text);
        }
        self.correct.push(correct);
        self.answers.push(group.classes());
        if let Some(gold) = self.gold {
            let place = config.labels_of(&group.example);
            self.labelled
                .extend(group.rollouts.iter().map(|rollout| (gold, rollout.answer().and_then(&place))));
        }
        Ok(())
    }

    fn accuracy(&self) -> f64 {
        mean(self.correct.iter().flatten().map(|&right| f64::from(u8::from(right))))
    }
}

fn report(asked: &[Asked], config: &Eval, run_seed: u64, shown: Vec<Shown>) -> Report {
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
    let lengths: Vec<(usize, bool)> = asked.iter().flat_map(|a| a.lengths.iter().copied()).collect();
    let length_of = |wanted: Option<bool>| {
        let picked: Vec<f64> =
            lengths.iter().filter(|(_, r)| wanted.is_none_or(|w| w == *r)).map(|(l, _)| *l as f64).collect();
        (!picked.is_empty()).then(|| mean(picked.iter().copied()))
    };
    let completions = lengths.len().max(1) as f64;
    let confidences: Vec<(f64, bool)> = asked.iter().flat_map(|a| a.confidences.iter().copied()).collect();
    let labelled: Vec<_> = asked.iter().flat_map(|a| a.labelled.iter().copied()).collect();
    let unanswered = asked.iter().flat_map(|a| a.answers.iter().flatten()).filter(|a| a.is_none()).count();
    Report {
        questions: asked.len(),
        accuracy: mean(accuracies.iter().copied()),
        interval: bootstrap_interval(&accuracies, 0.95, 2000, run_seed),
        pass_at: pass_at.collect(),
        majority_at: majority_at.collect(),
        length: length_of(None).unwrap_or(0.0),
        length_correct: length_of(Some(true)),
        length_wrong: length_of(Some(false)),
        truncated: asked.iter().map(|a| a.truncated).sum::<usize>() as f64 / completions,
        unanswered: unanswered as f64 / completions,
        agreement: agreement(&labelled, config.labels.len()),
        calibration: config.calibration.as_ref().and_then(|c| reliability(&confidences, c.bins)),
        search: None,
        process: None,
        classes: by_class(asked.iter().filter_map(|a| Some((a.class.as_deref()?, a.accuracy())))),
        shown,
    }
}
