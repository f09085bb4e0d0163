//! How good the policy is on held-out questions: `[eval]` inside a training stage, and the `evaluate` loop.

mod answering;
pub mod calibration;
mod choices;
mod confidence;
mod evaluation;
mod greedy;
pub mod lengths;
pub mod marks;
mod metric;
pub mod process;
mod report;
mod rows;
pub mod search;
mod section;
mod shown;
pub mod statistics;
pub mod stopping;
mod verdict;

pub use answering::Answering;
pub use evaluation::{EVALUATIONS, Evaluation, QUESTIONS, VERDICTS};
pub use greedy::Greedy;
pub use metric::Metric;
pub use report::{Measure, OwnSteps, Report};
pub use rows::{Extracted, ExtractedUnit, HeldOut, PERPLEXITY, RowFigures, RowMean, Weighed, with_further};
pub use section::Eval;
pub use shown::Shown;
pub use verdict::{Decoding, Question, Verdict};

use crate::engine::Progress;
use crate::error::{Error, Result};
use crate::ranks::{agreed, gathered, in_turn};
use crate::rationale::Format;
use crate::rollout::{Group, Prompted, Search as Searching};
use calibration::Confidence;
use serde::{Deserialize, Serialize};
use statistics::mean;
use std::collections::BTreeMap;

/// An evaluation: its figures, and what they are of.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Evaluated {
    /// The figures.
    pub report: Report,
    /// Each completion with what became of it; none where no questions are asked, as of a reward model.
    pub verdicts: Vec<Verdict>,
    /// Each held-out row with what the method's own loss says of it, where it says something.
    pub rows: Vec<RowFigures>,
}

/// Asks every question, of several ranks each its share; the same on all of them.
pub fn evaluate(
    answering: &mut Answering,
    questions: &[Prompted],
    config: &Eval,
    run_seed: u64,
    progress: &mut dyn FnMut(&Progress),
) -> Result<Evaluated> {
    let ranks = answering.ranks;
    let own: Vec<Prompted> = questions.iter().skip(ranks.rank()).step_by(ranks.count()).cloned().collect();
    let own = agreed(ranks, ask(answering, &own, config, run_seed, progress))?;
    let asked = in_turn(gathered(ranks, own)?);
    let tokenizer = &answering.policy.tokenizer;
    let shown = asked.iter().zip(questions).take(config.show).map(|(asked, question)| Shown {
        prompt: tokenizer.decode(&question.tokens),
        completion: asked.verdicts[0].completion.clone().unwrap_or_default(),
        answer: question.example.answer.clone().unwrap_or_default(),
        correct: asked.verdicts[0].right,
        wrong_step: asked.verdicts[0].wrong_step,
    });
    let decoding = Decoding {
        sampling: config.sampling(answering.sampling),
        samples: config.samples,
        seeds: config.seeds,
        search: answering.search.map(|search| search.name().to_string()),
    };
    let of_repeat = |(search, repeat): (&dyn Searching, usize)| {
        let searched: Vec<_> = asked.iter().map(|asked| asked.searched[repeat].clone()).collect();
        search::Search::of(search.name(), search.picks().n, &searched)
    };
    let repeats =
        answering.search.into_iter().flat_map(|search| (0..config.seeds).map(move |at| (search, at)));
    let search = search::Search::mean(&repeats.map(of_repeat).collect::<Vec<_>>());
    let mut found = report::report(&asked, config, run_seed);
    found.tell(&gathered(ranks, answering.measures.figures())?.concat());
    let report = Report { search, shown: shown.collect(), decoding: Some(decoding), ..found };
    let mut verdicts: Vec<Verdict> = asked.into_iter().flat_map(|asked| asked.verdicts).collect();
    if !config.keep_text {
        verdicts.iter_mut().for_each(|verdict| verdict.completion = None);
    }
    Ok(Evaluated { report, verdicts, rows: vec![] })
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
        for ((asked, question), group) in asked.iter_mut().zip(questions).zip(&groups) {
            let confidences = match &config.calibration {
                Some(calibration) => {
                    Some((calibration.confidence, confidence::of(calibration.confidence, policy, group)?))
                }
                None => None,
            };
            asked.add(group, question, repeat, confidences, config, answering.format)?;
        }
    }
    Ok(asked)
}

/// What became of one question.
#[derive(Serialize, Deserialize)]
struct Asked {
    class: BTreeMap<String, String>,
    /// The place of the gold answer among `eval.labels`, where there are some.
    gold: Option<usize>,
    /// Each of its completions, repetition by repetition.
    verdicts: Vec<Verdict>,
    /// By repetition, then by sample.
    correct: Vec<Vec<bool>>,
    answers: Vec<Vec<Option<usize>>>,
    /// The places among `eval.labels` of the gold answer and of each completion's.
    labelled: Vec<(usize, Option<usize>)>,
    confidences: Vec<(f64, bool)>,
    /// What a search found, by repetition, where there is one.
    searched: Vec<search::Searched>,
}

impl Asked {
    fn new(question: &Prompted, config: &Eval) -> Result<Self> {
        let example = &question.example;
        let class = verdict::class(example, config)?;
        let gold = example.gold().and_then(config.labels_of(example));
        if gold.is_none() && !config.labels.is_empty() {
            return Err(Error::Data(format!(
                "{}: its answer {:?} is none of eval.labels = {:?}; add it there",
                example, example.answer, config.labels
            )));
        }
        Ok(Self {
            class,
            gold,
            verdicts: Vec::new(),
            correct: Vec::new(),
            answers: Vec::new(),
            labelled: Vec::new(),
            confidences: Vec::new(),
            searched: Vec::new(),
        })
    }

    fn add(
        &mut self,
        group: &Group,
        question: &Prompted,
        repeat: usize,
        confidences: Option<(Confidence, Vec<Option<f64>>)>,
        config: &Eval,
        format: &Format,
    ) -> Result<()> {
        let right = group.rollouts.iter().map(|rollout| search::right(group, rollout));
        let right: Vec<bool> = right.collect::<Result<_>>()?;
        let classes = group.classes();
        let sure = match confidences {
            Some((kind, sure)) => {
                self.confidences.extend(confidence::points(kind, &sure, &classes, &right));
                sure
            }
            None => vec![None; right.len()],
        };
        let judged: Vec<(bool, Option<f64>)> = right.iter().copied().zip(sure).collect();
        let measures: Vec<String> = config.measures.keys().cloned().collect();
        let mut verdicts = Verdict::of(group, question, repeat, &self.class, &judged, &measures);
        if config.own_steps {
            verdict::hold_against_own(&mut verdicts, group, &question.example, format)?;
        }
        self.verdicts.extend(verdicts);
        self.correct.push(right);
        self.answers.push(classes);
        if let Some(gold) = self.gold {
            let place = config.labels_of(&group.example);
            self.labelled
                .extend(group.rollouts.iter().map(|rollout| (gold, rollout.answer().and_then(&place))));
        }
        Ok(())
    }

    fn accuracy(&self) -> f64 {
        mean(self.verdicts.iter().map(|verdict| f64::from(u8::from(verdict.right))))
    }
}
