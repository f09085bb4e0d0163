//! The preference losses against TRL's own code, and where TRL has none against a second writing of the formula:
//! values, gradients and what is reported (tests/fixtures/preference/make.py says which is which).

use rationale::loss::PreferenceLoss;
use rationale::loss::preference::{LabelledTokens, PairShape, PairTokens};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::ops::Range;
use tch::{Kind, Tensor};

#[derive(Deserialize)]
struct Fixture {
    chosen: Vec<usize>,
    rejected: Vec<usize>,
    rationale: Vec<usize>,
    prefix: Vec<usize>,
    weights: Vec<f64>,
    margins: Vec<f64>,
    good: Vec<bool>,
    mismatched: Vec<f64>,
    logprobs: Vec<f32>,
    ref_logprobs: Vec<f32>,
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    recipe: PreferenceLoss,
    source: String,
    weighted: bool,
    masked: bool,
    loss: f64,
    gradient: Vec<f64>,
    metrics: BTreeMap<String, f64>,
}

#[derive(Default)]
struct Outcome {
    loss: f64,
    gradient: Vec<f64>,
    /// Per pair or completion, by metric.
    reported: BTreeMap<&'static str, Vec<f64>>,
}

impl Fixture {
    fn read() -> Self {
        serde_json::from_str(include_str!("../fixtures/preference/losses.json")).unwrap()
    }

    fn size(&self, pair: usize) -> usize {
        self.chosen[pair] + self.rejected[pair] + self.rationale[pair]
    }

    /// The loss of one update, its pairs in micro-batches of `size`.
    fn update(&self, case: &Case, size: usize) -> Outcome {
        case.recipe.validate().unwrap();
        let logprobs = Tensor::from_slice(&self.logprobs).set_requires_grad(true);
        let pairs = self.chosen.len();
        let mut outcome = Outcome::default();
        for first in (0..pairs).step_by(size) {
            let part = first..(first + size).min(pairs);
            let loss = if case.recipe.unpaired() {
                self.completions(case, &logprobs, part, &mut outcome)
            } else {
                self.pairs(case, &logprobs, part, &mut outcome)
            };
            let loss = loss / pairs as f64;
            loss.backward();
            outcome.loss += loss.double_value(&[]);
        }
        outcome.gradient = Vec::try_from(logprobs.grad().to_kind(Kind::Double)).unwrap();
        outcome
    }

    fn pairs(&self, case: &Case, logprobs: &Tensor, part: Range<usize>, outcome: &mut Outcome) -> Tensor {
        let start: usize = (0..part.start).map(|pair| self.size(pair)).sum();
        let tokens: usize = part.clone().map(|pair| self.size(pair)).sum();
        let cut = |values: &Tensor| values.narrow(0, start as i64, tokens as i64);
        let nll_weights = case.recipe.nll_weights(&self.chosen, &mut rationale::statistics::alone);
        let shapes: Vec<PairShape> = part
            .clone()
            .map(|pair| PairShape {
                chosen: self.chosen[pair],
                rejected: self.rejected[pair],
                rationale: self.rationale[pair],
                weight: if case.weighted { self.weights[pair] } else { 1.0 },
                margin: if case.weighted { self.margins[pair] } else { 0.0 },
                nll_weight: nll_weights[pair],
            })
            .collect();
        let side = |pair: usize, length: usize| {
            (0..length).map(move |token| !case.masked || token >= self.prefix[pair])
        };
        let counted: Vec<bool> = part
            .flat_map(|pair| {
                side(pair, self.chosen[pair]).chain(side(pair, self.rejected[pair])).chain(vec![
                    true;
                    self.rationale
                        [pair]
                ])
            })
            .collect();
        let reference = cut(&Tensor::from_slice(&self.ref_logprobs));
        let terms = case.recipe.sum(&PairTokens {
            logprobs: &cut(logprobs),
            ref_logprobs: case.recipe.needs_reference().then_some(&reference),
            counted: &counted,
            pairs: &shapes,
        });
        for (name, values) in [
            ("rewards/chosen", terms.chosen_rewards),
            ("rewards/rejected", terms.rejected_rewards),
            ("logps/chosen", terms.chosen_logps),
            ("logps/rejected", terms.rejected_logps),
        ] {
            outcome.reported.entry(name).or_default().extend(values);
        }
        terms.loss
    }

    /// The chosen completions, each with its label.
    fn completions(
        &self,
        case: &Case,
        logprobs: &Tensor,
        part: Range<usize>,
        outcome: &mut Outcome,
    ) -> Tensor {
        let start = |pair: usize| (0..pair).map(|before| self.size(before)).sum::<usize>() as i64;
        let cut = |values: &Tensor| {
            let cuts: Vec<Tensor> =
                part.clone().map(|pair| values.narrow(0, start(pair), self.chosen[pair] as i64)).collect();
            Tensor::cat(&cuts, 0)
        };
        let good = &self.good[part.clone()];
        let terms = case.recipe.sum_unpaired(&LabelledTokens {
            logprobs: &cut(logprobs),
            ref_logprobs: &cut(&Tensor::from_slice(&self.ref_logprobs)),
            lengths: &self.chosen[part.clone()],
            good,
            weights: &vec![1.0; good.len()],
            kl: case.recipe.kl_baseline(&self.mismatched, &mut rationale::statistics::alone),
        });
        for (i, &good) in good.iter().enumerate() {
            let names = if good {
                ["rewards/chosen", "logps/chosen"]
            } else {
                ["rewards/rejected", "logps/rejected"]
            };
            outcome.reported.entry(names[0]).or_default().push(terms.rewards[i]);
            outcome.reported.entry(names[1]).or_default().push(terms.logps[i]);
        }
        terms.loss
    }
}

impl Outcome {
    fn mean(&self, name: &str) -> f64 {
        let values = &self.reported[name];
        values.iter().sum::<f64>() / values.len() as f64
    }

    fn metric(&self, name: &str) -> f64 {
        match name {
            "rewards/margins" => self.mean("rewards/chosen") - self.mean("rewards/rejected"),
            "rewards/accuracies" => {
                let (chosen, rejected) =
                    (&self.reported["rewards/chosen"], &self.reported["rewards/rejected"]);
                chosen.iter().zip(rejected).filter(|(c, r)| c > r).count() as f64 / chosen.len() as f64
            }
            name => self.mean(name),
        }
    }
}

fn assert_near(found: f64, expected: f64, largest: f64, what: &str) {
    assert!((found - expected).abs() <= 1e-5 * largest, "{what}: {found}, expected {expected}");
}

#[test]
fn values_gradients_and_reports_are_trls() {
    let fixture = Fixture::read();
    for case in &fixture.cases {
        let outcome = fixture.update(case, fixture.chosen.len());
        let what = format!("{:?} of {}", case.recipe, case.source);
        assert_near(outcome.loss, case.loss, case.loss.abs(), &what);
        assert_eq!(outcome.gradient.len(), case.gradient.len());
        let largest = case.gradient.iter().fold(0.0_f64, |most, g| most.max(g.abs()));
        assert!(largest > 1e-3, "{what}: a gradient of nothing proves nothing");
        for (found, expected) in outcome.gradient.iter().zip(&case.gradient) {
            assert_near(*found, *expected, largest, &format!("gradient of {what}"));
        }
        for (name, expected) in &case.metrics {
            assert_near(
                outcome.metric(name),
                *expected,
                expected.abs().max(0.1),
                &format!("{name} of {what}"),
            );
        }
    }
}

#[test]
fn micro_batches_change_nothing() {
    let fixture = Fixture::read();
    for case in &fixture.cases {
        let whole = fixture.update(case, fixture.chosen.len());
        for size in 1..fixture.chosen.len() {
            let cut = fixture.update(case, size);
            assert_near(cut.loss, whole.loss, whole.loss.abs(), "loss");
            for (found, expected) in cut.gradient.iter().zip(&whole.gradient) {
                assert_near(*found, *expected, 0.1, "gradient");
            }
        }
    }
}

#[test]
fn a_masked_prefix_gets_no_preference_gradient() {
    let fixture = Fixture::read();
    let masked = fixture.cases.iter().filter(|case| case.masked && case.recipe.nll == 0.0);
    for case in masked {
        let gradient = fixture.update(case, 4).gradient;
        let mut start = 0;
        for pair in 0..fixture.chosen.len() {
            for side in [0, fixture.chosen[pair]] {
                let prefix = &gradient[start + side..start + side + fixture.prefix[pair]];
                assert!(prefix.iter().all(|g| *g == 0.0), "{:?}", case.recipe);
            }
            start += fixture.size(pair);
        }
    }
}
