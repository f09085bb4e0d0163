//! The policy losses against TRL's own code: values, gradients and clip ratios (tests/fixtures/loss/make.py).

use rationale::loss::kl::Estimator;

use rationale::loss::{Clips, PolicyLoss, PolicyTokens};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::ops::Range;
use tch::{Kind, Tensor};

#[derive(Deserialize)]
struct Fixture {
    lengths: Vec<usize>,
    advantages: Vec<f32>,
    max_new_tokens: usize,
    logprobs: Vec<f32>,
    old_logprobs: Vec<f32>,
    ref_logprobs: Vec<f32>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    recipe: PolicyLoss,
    beta: f64,
    loss: f64,
    gradient: Vec<f64>,
    metrics: BTreeMap<String, f64>,
}

struct Outcome {
    loss: f64,
    gradient: Vec<f64>,
    clips: Clips,
    kl: f64,
}

impl Fixture {
    fn read() -> Self {
        serde_json::from_str(include_str!("../fixtures/loss/policy.json")).unwrap()
    }

    /// The loss of one optimiser step, its sequences in micro-batches of `size`: each is a sum, divided by the
    /// step's total, and gradients add up.
    fn step(&self, case: &Case, size: usize) -> Outcome {
        case.recipe.validate().unwrap();
        let logprobs = Tensor::from_slice(&self.logprobs).set_requires_grad(true);
        let total = case.recipe.total(self.lengths.len(), self.logprobs.len(), self.max_new_tokens);
        let mut outcome = Outcome { loss: 0.0, gradient: vec![], clips: Clips::default(), kl: 0.0 };
        for first in (0..self.lengths.len()).step_by(size) {
            let sequences = first..(first + size).min(self.lengths.len());
            let loss = self.micro_batch(case, &logprobs, sequences, &mut outcome) / total;
            loss.backward();
            outcome.loss += loss.double_value(&[]);
        }
        outcome.gradient = Vec::try_from(logprobs.grad().to_kind(Kind::Double)).unwrap();
        outcome
    }

    fn micro_batch(
        &self,
        case: &Case,
        logprobs: &Tensor,
        sequences: Range<usize>,
        outcome: &mut Outcome,
    ) -> Tensor {
        let lengths = &self.lengths[sequences.clone()];
        let start = self.lengths[..sequences.start].iter().sum::<usize>() as i64;
        let size = lengths.iter().sum::<usize>() as i64;
        let part = |values: &[f32]| Tensor::from_slice(values).narrow(0, start, size);
        let per_token = |values: Vec<f32>| {
            let spread = values.iter().zip(lengths).flat_map(|(value, length)| vec![*value; *length]);
            Tensor::from_slice(&spread.collect::<Vec<_>>())
        };
        let logprobs = logprobs.narrow(0, start, size);
        let weights = per_token(case.recipe.weights(lengths).iter().map(|weight| *weight as f32).collect());
        let terms = case.recipe.sum(&PolicyTokens {
            logprobs: &logprobs,
            old_logprobs: &part(&self.old_logprobs),
            advantages: &per_token(self.advantages[sequences].to_vec()),
            weights: &weights,
            lengths,
        });
        let kl = Estimator::K3.tokens(&logprobs, &part(&self.ref_logprobs));
        outcome.clips = outcome.clips.plus(terms.clips);
        outcome.kl += kl.sum(Kind::Double).double_value(&[]);
        terms.loss + case.beta * (kl * weights).sum(Kind::Float)
    }
}

fn assert_near(found: f64, expected: f64, what: &str) {
    assert!(
        (found - expected).abs() <= 1e-5 * expected.abs().max(1.0),
        "{what}: {found}, TRL has {expected}"
    );
}

#[test]
fn values_gradients_and_clip_ratios_are_trls() {
    let fixture = Fixture::read();
    for case in &fixture.cases {
        let outcome = fixture.step(case, fixture.lengths.len());
        let what = format!("{:?}", case.recipe);
        assert_near(outcome.loss, case.loss, &what);
        assert_eq!(outcome.gradient.len(), case.gradient.len());
        for (found, expected) in outcome.gradient.iter().zip(&case.gradient) {
            assert_near(*found, *expected, &what);
        }
        let clips = outcome.clips;
        for (name, expected) in &case.metrics {
            let found = match name.as_str() {
                "clip_ratio/low_mean" => clips.low / clips.count,
                "clip_ratio/high_mean" | "cispo_clip_ratio" => clips.high / clips.count,
                "clip_ratio/region_mean" => (clips.low + clips.high) / clips.count,
                "clip_ratio/low_min" => clips.low_min,
                "clip_ratio/high_max" => clips.high_max,
                "kl" => outcome.kl / fixture.logprobs.len() as f64,
                other => panic!("the fixture has an unknown metric {other}"),
            };
            assert_near(found, *expected, &format!("{name} of {what}"));
        }
    }
}

#[test]
fn micro_batches_change_nothing() {
    let fixture = Fixture::read();
    for case in &fixture.cases {
        let whole = fixture.step(case, fixture.lengths.len());
        for size in 1..fixture.lengths.len() {
            let cut = fixture.step(case, size);
            assert_near(cut.loss, whole.loss, "loss");
            assert_eq!(cut.gradient.len(), whole.gradient.len());
            for (found, expected) in cut.gradient.iter().zip(&whole.gradient) {
                assert_near(*found, *expected, "gradient");
            }
            assert_eq!(
                (cut.clips.low, cut.clips.high, cut.clips.count),
                (whole.clips.low, whole.clips.high, whole.clips.count)
            );
        }
    }
}

#[test]
fn the_fixture_reaches_every_branch() {
    // Without clipped tokens on both sides the comparison above would say little.
    let fixture = Fixture::read();
    let reached = |name: &str| {
        fixture.cases.iter().filter(|case| case.metrics.get(name).is_some_and(|x| *x > 0.0)).count()
    };
    assert!(reached("clip_ratio/low_mean") >= 5 && reached("clip_ratio/high_mean") >= 5);
    assert!(reached("cispo_clip_ratio") >= 1 && reached("kl") >= 5);
}
