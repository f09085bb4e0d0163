//! What the arms of a comparison come to, each by itself and against the base.

use super::arm::Arm;
use super::measured::{Measured, Question};
use crate::eval::statistics::{
    Bootstrap, bootstrap_interval, bootstrap_of_differences, weighted_bootstrap, weighted_interval,
    weighted_mean,
};
use crate::eval::{Verdict, Weighed};
use crate::statistics::difference::{holm, paired, sign_test, welch};
use crate::statistics::efficiency::{Outcome, efficiency};
use crate::statistics::{deviation, mean};
use serde::Serialize;
use std::collections::BTreeMap;

/// One run.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RunFigures {
    /// As it was asked for.
    pub run: String,
    /// Its seed.
    pub seed: i64,
    /// The stage that was evaluated.
    pub stage: String,
    /// Its steps by then.
    pub step: usize,
    /// Share of completions that is right, over questions.
    pub accuracy: f64,
    /// Mean tokens of a completion.
    pub tokens: f64,
    /// Share that the token limit cut off.
    pub cut_off: f64,
}

/// An arm by itself. Means are over runs of each run's mean.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ArmFigures {
    /// What it is called.
    pub name: String,
    /// Its runs.
    pub runs: Vec<RunFigures>,
    /// Questions that any of them was asked.
    pub questions: usize,
    /// Share of completions that is right.
    pub accuracy: f64,
    /// Bootstrap interval of it (95 %), over questions.
    pub interval: (f64, f64),
    /// Standard deviation of the runs' accuracies (n − 1); none of one run.
    pub deviation: Option<f64>,
    /// The lowest accuracy of a run.
    pub worst: f64,
    /// Mean tokens of a completion.
    pub tokens: f64,
    /// Of the right ones; none where none is.
    pub tokens_right: Option<f64>,
    /// Of the wrong ones.
    pub tokens_wrong: Option<f64>,
    /// Share that the token limit cut off.
    pub cut_off: f64,
    /// Share without an answer that could be read.
    pub unanswered: f64,
    /// Means of what `[eval.measures]` says and of the method's own figures on held-out rows, where all its runs have them.
    pub measures: BTreeMap<String, MeasureFigures>,
}

/// A measure of an arm.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct MeasureFigures {
    /// The mean over runs of each run's mean.
    pub mean: f64,
    /// Bootstrap interval of it (95 %), over questions or rows.
    pub interval: (f64, f64),
    /// Standard deviation of the runs' means (n − 1); none of one run.
    pub deviation: Option<f64>,
    /// Each run's mean.
    pub runs: Vec<f64>,
}

/// An arm against the base.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Against {
    /// The arm.
    pub arm: String,
    /// Questions that both were asked: what the differences are over.
    pub questions: usize,
    /// Accuracy less the base's.
    pub difference: f64,
    /// Paired bootstrap by question.
    pub bootstrap: Bootstrap,
    /// Its probability as it counts among all arms (Holm 1979).
    pub p_of_all: f64,
    /// Questions that it answers better than the base, and worse.
    pub better_worse: (usize, usize),
    /// Exact sign test of these; with one completion a question, McNemar's exact test. NaN, as all figures here, of no question.
    pub sign_p: f64,
    /// The difference over seeds, where both have several.
    pub seeds: Option<SeedNoise>,
    /// Mean tokens as a multiple of the base's, on the same questions.
    pub tokens: f64,
    /// E3: accuracy and brevity in one, above 1 where better than the base.
    pub e3: f64,
    /// Of E3, the ratio of the odds of being right, and of tokens.
    pub e3_parts: (f64, f64),
    /// Of each measure that both have, the difference.
    pub measures: BTreeMap<String, Gain>,
    /// Whether the difference is more than noise; none where no question was asked of both.
    pub verdict: Option<Noise>,
}

/// A measure less the base's, on the questions that both were asked.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Gain {
    /// The mean difference.
    pub difference: f64,
    /// Paired bootstrap by question or row.
    pub bootstrap: Bootstrap,
    /// The difference over seeds, where both have several.
    pub seeds: Option<SeedNoise>,
}

/// A difference of means over seeds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct SeedNoise {
    /// Whether runs of one seed were held against each other (both arms have the same seeds), or each arm's mean (Welch).
    pub paired: bool,
    /// The mean difference.
    pub difference: f64,
    /// Its interval (95 %, Student's).
    pub interval: (f64, f64),
    /// Its two-sided probability.
    pub p: f64,
    /// The difference in standard deviations of a seed, √((s₁² + s₂²)/2); none where no run differs.
    pub effect: Option<f64>,
}

/// What a difference is more than.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Noise {
    /// Of nothing that is known.
    Within,
    /// Than what other questions would have made; seeds are not known.
    BeyondQuestions,
    /// Than that, and not more than what other seeds would have made.
    BeyondQuestionsWithinSeeds,
    /// Than what other seeds would have made, and not more than other questions.
    BeyondSeedsWithinQuestions,
    /// Than both.
    Beyond,
}

impl Noise {
    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Noise::Within => "within noise",
            Noise::BeyondQuestions => "beyond the noise of questions; that of seeds is not known",
            Noise::BeyondQuestionsWithinSeeds => "beyond the noise of questions, within that of seeds",
            Noise::BeyondSeedsWithinQuestions => "beyond the noise of seeds, within that of questions",
            Noise::Beyond => "beyond the noise of questions and of seeds",
        }
    }
}

/// The figures of an arm; intervals by so many resamples.
pub fn of_arm(arm: &Arm, resamples: usize) -> ArmFigures {
    let runs: Vec<RunFigures> = arm.runs.iter().map(of_run).collect();
    let accuracies: Vec<f64> = runs.iter().map(|run| run.accuracy).collect();
    let questions: Vec<f64> = arm.by_question(Measured::accuracies).into_values().collect();
    let over_runs = |of: &dyn Fn(&RunFigures) -> f64| mean(runs.iter().map(of));
    let length = |right: bool| {
        let means = arm.runs.iter().map(|run| {
            let of = run.verdicts.iter().filter(|verdict| verdict.right == right);
            mean(of.map(|verdict| verdict.tokens as f64))
        });
        let length = mean(means.filter(|length| !length.is_nan()));
        (!length.is_nan()).then_some(length)
    };
    ArmFigures {
        name: arm.name.clone(),
        questions: questions.len(),
        accuracy: mean(accuracies.iter().copied()),
        interval: bootstrap_interval(&questions, 0.95, resamples, 0),
        deviation: (runs.len() > 1).then(|| deviation(&accuracies)),
        worst: accuracies.iter().copied().fold(f64::INFINITY, f64::min),
        tokens: over_runs(&|run| run.tokens),
        tokens_right: length(true),
        tokens_wrong: length(false),
        cut_off: over_runs(&|run| run.cut_off),
        unanswered: mean(arm.runs.iter().map(|run| share(run, |verdict| verdict.answer.is_none()))),
        measures: measured(arm)
            .into_iter()
            .map(|name| (name.clone(), measure(arm, &name, resamples)))
            .collect(),
        runs,
    }
}

/// The names of what all of the arm's runs have measured.
fn measured(arm: &Arm) -> Vec<String> {
    let names = arm.runs[0].measured();
    names.into_iter().filter(|name| arm.runs[1..].iter().all(|run| run.measured().contains(name))).collect()
}

fn measure(arm: &Arm, name: &str, resamples: usize) -> MeasureFigures {
    let runs: Vec<f64> = arm.runs.iter().map(|run| weighted_mean(&values(&run.measure(name)))).collect();
    MeasureFigures {
        mean: mean(runs.iter().copied()),
        interval: weighted_interval(&values(&of_arm_by_question(arm, name)), 0.95, resamples, 0),
        deviation: (runs.len() > 1).then(|| deviation(&runs)),
        runs,
    }
}

/// By question, the mean over the arm's runs of a measure and of its weight.
fn of_arm_by_question(arm: &Arm, name: &str) -> BTreeMap<Question, Weighed> {
    let (value, weight) = (
        arm.by_question(|run| run.measure(name).into_iter().map(|(at, (value, _))| (at, value)).collect()),
        arm.by_question(|run| run.measure(name).into_iter().map(|(at, (_, weight))| (at, weight)).collect()),
    );
    value.into_iter().map(|(at, value)| (at.clone(), (value, weight[&at]))).collect()
}

fn values(of: &BTreeMap<Question, Weighed>) -> Vec<Weighed> {
    of.values().copied().collect()
}

/// A measure less the base's, by questions and by seeds; none where they have no question in common.
fn gain(base: &Arm, arm: &Arm, name: &str, resamples: usize) -> Option<Gain> {
    let (theirs, own) = (of_arm_by_question(base, name), of_arm_by_question(arm, name));
    // A row weighs as much on both sides, unless it became other tokens.
    let differences: Vec<Weighed> = theirs
        .iter()
        .filter_map(|(at, (first, weight))| {
            own.get(at).map(|(second, other)| (second - first, (weight + other) / 2.0))
        })
        .collect();
    if differences.is_empty() {
        return None;
    }
    let of_run = |run: &Measured| weighted_mean(&values(&run.measure(name)));
    Some(Gain {
        difference: weighted_mean(&differences),
        bootstrap: weighted_bootstrap(&differences, resamples, 0),
        seeds: seed_noise(base, arm, &of_run),
    })
}

fn of_run(run: &Measured) -> RunFigures {
    RunFigures {
        run: run.given.clone(),
        seed: run.seed,
        stage: run.evaluation.stage.clone(),
        step: run.evaluation.step,
        accuracy: share(run, |verdict| verdict.right),
        tokens: mean(run.verdicts.iter().map(|verdict| verdict.tokens as f64)),
        cut_off: share(run, |verdict| verdict.truncated),
    }
}

fn share(run: &Measured, fits: impl Fn(&Verdict) -> bool) -> f64 {
    mean(run.verdicts.iter().map(|verdict| f64::from(u8::from(fits(verdict)))))
}

/// Each of `arms` but the base against it, by so many resamples.
pub fn against(arms: &[Arm], base: usize, resamples: usize) -> Vec<Against> {
    let others = arms.iter().enumerate().filter(|(at, _)| *at != base);
    let mut found: Vec<Against> = others.map(|(_, arm)| of_pair(&arms[base], arm, resamples)).collect();
    let all: Vec<f64> = found.iter().map(|against| against.bootstrap.p).collect();
    found.iter_mut().zip(holm(&all)).for_each(|(against, p)| against.p_of_all = p);
    found
}

fn of_pair(base: &Arm, arm: &Arm, resamples: usize) -> Against {
    let pairs = in_both(&base.by_question(Measured::accuracies), &arm.by_question(Measured::accuracies));
    let differences: Vec<f64> = pairs.iter().map(|(base, arm)| arm - base).collect();
    let bootstrap = bootstrap_of_differences(&differences, resamples, 0);
    // Means over runs may differ in their last digits where the questions were answered alike.
    let count = |sign: f64| differences.iter().filter(|difference| sign * **difference > 1e-9).count();
    let (better, worse) = (count(1.0), count(-1.0));
    let right = |run: &Measured| share(run, |verdict| verdict.right);
    // Runs that were asked nothing in common differ in their questions.
    let asked = !pairs.is_empty();
    let seeds = if asked { seed_noise(base, arm, &right) } else { None };
    let tokens = |run: &Measured| run.by_question(|verdict| verdict.tokens as f64);
    let lengths = in_both(&base.by_question(tokens), &arm.by_question(tokens));
    let of = |side: fn(&(f64, f64)) -> f64, pairs: &[(f64, f64)]| mean(pairs.iter().map(side));
    let outcome = |side: fn(&(f64, f64)) -> f64| Outcome {
        accuracy: of(side, &pairs),
        of: pairs.len(),
        tokens: of(side, &lengths),
    };
    let (first, second) = (outcome(|pair| pair.0), outcome(|pair| pair.1));
    let e3 = efficiency(second, first);
    let known = measured(base);
    let gains = measured(arm)
        .into_iter()
        .filter(|name| known.contains(name))
        .filter_map(|name| Some((name.clone(), gain(base, arm, &name, resamples)?)))
        .collect();
    let by_questions = bootstrap.interval.0 > 0.0 || bootstrap.interval.1 < 0.0;
    let by_seeds = seeds.map(|seeds| seeds.interval.0 > 0.0 || seeds.interval.1 < 0.0);
    let verdict = match (by_questions, by_seeds) {
        (true, Some(true)) => Noise::Beyond,
        (true, Some(false)) => Noise::BeyondQuestionsWithinSeeds,
        (true, None) => Noise::BeyondQuestions,
        (false, Some(true)) => Noise::BeyondSeedsWithinQuestions,
        (false, _) => Noise::Within,
    };
    Against {
        arm: arm.name.clone(),
        questions: pairs.len(),
        difference: mean(differences),
        bootstrap,
        p_of_all: bootstrap.p,
        better_worse: (better, worse),
        sign_p: if asked { sign_test(better, worse) } else { f64::NAN },
        seeds,
        tokens: second.tokens / first.tokens,
        e3: e3.score,
        e3_parts: (e3.odds, e3.brevity),
        measures: gains,
        verdict: asked.then_some(verdict),
    }
}

/// What both have a value of, side by side.
fn in_both(base: &BTreeMap<Question, f64>, arm: &BTreeMap<Question, f64>) -> Vec<(f64, f64)> {
    base.iter().filter_map(|(question, first)| Some((*first, *arm.get(question)?))).collect()
}

/// What the seeds say of a figure of the runs.
fn seed_noise(base: &Arm, arm: &Arm, of: &dyn Fn(&Measured) -> f64) -> Option<SeedNoise> {
    let by_seed = |arm: &Arm| {
        let mut runs: Vec<(i64, f64)> = arm.runs.iter().map(|run| (run.seed, of(run))).collect();
        runs.sort_by_key(|(seed, _)| *seed);
        let (seeds, accuracies): (Vec<i64>, Vec<f64>) = runs.into_iter().unzip();
        (seeds, accuracies)
    };
    let ((seeds, first), (others, second)) = (by_seed(base), by_seed(arm));
    let distinct = seeds.windows(2).all(|pair| pair[0] != pair[1]);
    let pairs = seeds == others && distinct;
    if first.iter().chain(&second).any(|value| value.is_nan()) {
        return None;
    }
    let found = match pairs {
        true => paired(&first.iter().zip(&second).map(|(first, second)| second - first).collect::<Vec<_>>()),
        false => welch(&first, &second),
    }?;
    let pooled = ((deviation(&first).powi(2) + deviation(&second).powi(2)) / 2.0).sqrt();
    Some(SeedNoise {
        paired: pairs,
        difference: found.mean,
        interval: found.interval,
        p: found.p,
        effect: (pooled > 0.0).then(|| found.mean / pooled),
    })
}
