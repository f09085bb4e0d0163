//! The optimiser and its schedule against PyTorch's and transformers' (tests/fixtures/optim/make.py).

use rationale::optim::{Optim, Optimizer, Schedule};
use serde_json::Value;
use tch::{Device, Kind, Tensor};

fn fixture(name: &str) -> Value {
    let path = format!("{}/tests/fixtures/optim/{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

pub fn numbers(value: &Value) -> Vec<f64> {
    value.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}

pub fn parameter(values: &[f64], shape: &[i64], kind: Kind) -> Tensor {
    Tensor::from_slice(values).reshape(shape).to_kind(kind).set_requires_grad(true)
}

/// d(Σ p · g)/dp = g: the way to hand a tensor a known gradient.
/// The `index`th of some parameters, as the scripts of fixtures begin it.
pub fn start(index: usize, shape: &[i64], kind: Kind) -> Tensor {
    let n: i64 = shape.iter().product();
    let values: Vec<f64> = (0..n).map(|i| (0.5 * index as f64 + 0.17 * i as f64).cos()).collect();
    parameter(&values, shape, kind)
}

pub fn give_gradient(parameter: &Tensor, gradient: &[f64]) {
    let gradient = Tensor::from_slice(gradient).reshape(parameter.size()).to_kind(parameter.kind());
    (parameter * gradient).sum(Kind::Float).backward();
}

pub fn values(tensor: &Tensor) -> Vec<f64> {
    Vec::<f64>::try_from(tensor.detach().to_kind(Kind::Double).flatten(0, -1)).unwrap()
}

fn assert_close(ours: &[f64], theirs: &[f64], what: &str) {
    assert_eq!(ours.len(), theirs.len());
    for (a, b) in ours.iter().zip(theirs) {
        assert!((a - b).abs() <= 1e-6 * b.abs().max(1.0), "{what}: {a} is not {b}");
    }
}

/// Same start, gradients and learning rates as make.py's.
fn train(case: &Value, shapes: &Value) -> (Vec<(String, Tensor)>, Optimizer) {
    let shapes: Vec<(String, Vec<i64>)> = serde_json::from_value::<serde_json::Map<_, _>>(shapes.clone())
        .unwrap()
        .into_iter()
        .map(|(name, shape)| (name, serde_json::from_value(shape).unwrap()))
        .collect();
    let start = |(index, (name, shape)): (usize, &(String, Vec<i64>))| {
        let n: i64 = shape.iter().product();
        let values: Vec<f64> = (0..n).map(|i| (0.5 * index as f64 + 0.17 * i as f64).cos()).collect();
        (name.clone(), parameter(&values, shape, Kind::Float))
    };
    let parameters: Vec<(String, Tensor)> = shapes.iter().enumerate().map(start).collect();
    let cloned = parameters.iter().map(|(name, tensor)| (name.clone(), tensor.shallow_clone())).collect();
    let optim = Optim {
        betas: [0, 1].map(|i| case["betas"][i].as_f64().unwrap()),
        eps: case["eps"].as_f64().unwrap(),
        weight_decay: case["weight_decay"].as_f64().unwrap(),
        ..Optim::default()
    };
    let mut adamw = Optimizer::new(cloned, &optim).unwrap();
    for step in 0..5 {
        adamw.zero_grad().unwrap();
        for (index, (_, tensor)) in parameters.iter().enumerate() {
            let at = |i: usize| {
                (1.0 + index as f64 + 0.7 * step as f64 + 0.31 * i as f64).sin() * (0.1 + step as f64)
            };
            give_gradient(tensor, &(0..tensor.numel()).map(at).collect::<Vec<_>>());
        }
        adamw.step(case["lr"].as_f64().unwrap() * (step + 1) as f64 / 5.0).unwrap();
    }
    (parameters, adamw)
}

#[test]
fn five_steps_equal_pytorchs() {
    let fixture = fixture("adamw");
    for case in fixture["cases"].as_array().unwrap() {
        let (parameters, adamw) = train(case, &fixture["shapes"]);
        assert_eq!(adamw.steps(), 5);
        let state = adamw.state();
        for (name, tensor) in &parameters {
            assert_close(&values(tensor), &numbers(&case["after"][name]), name);
            let square = &state.iter().find(|(key, _)| *key == format!("{name}.exp_avg_sq")).unwrap().1;
            assert_close(&values(square), &numbers(&case["exp_avg_sq"][name]), name);
        }
    }
}

#[test]
fn schedules_equal_transformers() {
    for case in fixture("schedule")["cases"].as_array().unwrap() {
        let number = |key: &str| case[key].as_f64().unwrap();
        let schedule: Schedule = serde_json::from_value(case["schedule"].clone()).unwrap();
        let optim = Optim {
            lr: Some(2.0),
            schedule,
            min_lr_ratio: number("min_lr_ratio"),
            warmup_steps: number("warmup") as usize,
            ..Optim::default()
        };
        let total = number("total") as usize;
        let factors = numbers(&case["factors"]);
        assert_eq!(factors.len(), total + 1);
        for (step, factor) in factors.iter().enumerate() {
            let lr = optim.lr(step, total);
            assert!((lr - 2.0 * factor).abs() < 1e-12, "{case}: step {step}: {lr}");
        }
    }
}

#[test]
fn a_bf16_parameter_keeps_updates_smaller_than_its_spacing() {
    // With a constant gradient every AdamW step is −lr (m̂/√v̂ = 1). bf16 has 8 bits of significand, so below 1 its
    // values are 2⁻⁸ ≈ 0.0039 apart: 1 − 0.001 rounds back to 1, and without a master weight nothing ever moves.
    // With one, 8 steps give 0.992, whose nearest bf16 is 254/256 = 0.9921875.
    let weight = parameter(&[1.0; 4], &[2, 2], Kind::BFloat16);
    let mut adamw = Optimizer::new(vec![("w".into(), weight.shallow_clone())], &Optim::default()).unwrap();
    for step in 0..8 {
        adamw.zero_grad().unwrap();
        give_gradient(&weight, &[1.0; 4]);
        adamw.step(0.001).unwrap();
        if step == 0 {
            assert_eq!(values(&weight), [1.0; 4]);
        }
    }
    assert_eq!(values(&weight), [0.9921875; 4]);
    let state = adamw.state();
    let master = &state.iter().find(|(name, _)| name == "w.master").unwrap().1;
    assert_close(&values(master), &[0.992; 4], "master");
}

#[test]
fn bf16_gradients_of_micro_batches_add_up_in_f32() {
    // 256 + 1 needs 9 bits: in bf16 the sum of the gradients 256 and 1 is 256, in f32 257.
    let weight = parameter(&[0.0], &[1], Kind::BFloat16);
    let mut adamw = Optimizer::new(vec![("w".into(), weight.shallow_clone())], &Optim::default()).unwrap();
    for gradient in [256.0, 1.0] {
        give_gradient(&weight, &[gradient]);
        adamw.accumulate().unwrap();
    }
    assert_eq!(values(&adamw.gradients().unwrap()[0]), [257.0]);
    adamw.zero_grad().unwrap();
    assert_eq!(values(&adamw.gradients().unwrap()[0]), [0.0]);
}

#[test]
fn clip_returns_the_norm_and_scales_to_the_limit() {
    // Gradients (3, 0) and (0, 4): norm 5. Clipped to 1 they become (0.6, 0) and (0, 0.8), up to 1e-6 / 5.
    let tensors = [parameter(&[0.0; 2], &[2], Kind::Float), parameter(&[0.0; 2], &[1, 2], Kind::Float)];
    let named = tensors.iter().enumerate().map(|(i, t)| (format!("p{i}"), t.shallow_clone())).collect();
    let mut adamw = Optimizer::new(named, &Optim::default()).unwrap();
    give_gradient(&tensors[0], &[3.0, 0.0]);
    give_gradient(&tensors[1], &[0.0, 4.0]);
    for (limit, norm, first) in [(0.0, 5.0, 3.0), (10.0, 5.0, 3.0), (1.0, 5.0, 0.6), (0.0, 1.0, 0.6)] {
        assert!((adamw.clip(limit).unwrap() - norm).abs() < 1e-5);
        assert_close(&values(&adamw.gradients().unwrap()[0]), &[first, 0.0], "clipped");
    }
}

#[test]
fn a_gradient_that_is_not_finite_is_named() {
    let good = parameter(&[0.0; 2], &[2], Kind::Float);
    let bad = parameter(&[0.0; 2], &[2], Kind::Float);
    let named = vec![("good".into(), good.shallow_clone()), ("bad".into(), bad.shallow_clone())];
    let mut adamw = Optimizer::new(named, &Optim::default()).unwrap();
    give_gradient(&good, &[1.0, 1.0]);
    give_gradient(&bad, &[1.0, f64::INFINITY]);
    let error = adamw.clip(1.0).unwrap_err().to_string();
    assert!(error.contains("gradient of bad"), "{error}");
}

/// Two parameters, one of them bf16, after `steps` steps from the optimiser's `state` where given.
fn resumed(
    weights: &[Tensor; 2],
    state: Option<Vec<(String, Tensor)>>,
    steps: std::ops::Range<usize>,
) -> Optimizer {
    let named = weights.iter().enumerate().map(|(i, t)| (format!("p{i}"), t.shallow_clone())).collect();
    let mut adamw = Optimizer::new(named, &Optim::default()).unwrap();
    if let Some(state) = state {
        adamw.load_state(state).unwrap();
    }
    for step in steps {
        adamw.zero_grad().unwrap();
        for weight in weights {
            give_gradient(weight, &[0.3 + step as f64, -0.7, 0.11, 1.9]);
        }
        adamw.step(0.01).unwrap();
    }
    adamw
}

#[test]
fn steps_after_a_state_round_trip_are_the_same_to_the_bit() {
    let fresh = || [Kind::Float, Kind::BFloat16].map(|kind| parameter(&[0.1, -0.2, 0.3, 0.4], &[2, 2], kind));
    let whole = fresh();
    let reference = resumed(&whole, None, 0..6);

    let half = fresh();
    let state: Vec<_> = resumed(&half, None, 0..3).state().into_iter().map(|(n, t)| (n, t.copy())).collect();
    let reloaded = half.each_ref().map(|t| t.detach().copy().set_requires_grad(true));
    let continued = resumed(&reloaded, Some(state), 3..6);

    for (a, b) in whole.iter().zip(&reloaded) {
        assert!(a.equal(b));
    }
    for ((name, a), (_, b)) in reference.state().iter().zip(continued.state()) {
        assert!(a.equal(&b), "{name}");
    }
}

#[test]
fn a_state_of_another_model_is_refused() {
    let weight = parameter(&[0.0; 4], &[2, 2], Kind::BFloat16);
    let mut adamw = Optimizer::new(vec![("w".into(), weight)], &Optim::default()).unwrap();
    let names: Vec<_> = adamw.state().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["step", "w.exp_avg", "w.exp_avg_sq", "w.master"]);

    let missing = adamw.state().into_iter().filter(|(name, _)| name != "w.exp_avg").collect();
    assert!(adamw.load_state(missing).unwrap_err().to_string().contains("w.exp_avg is missing"));

    let extra = ("v.exp_avg".to_string(), Tensor::zeros([1], (Kind::Float, Device::Cpu)));
    let too_many = adamw.state().into_iter().chain([extra]).collect();
    assert!(
        adamw.load_state(too_many).unwrap_err().to_string().contains("v.exp_avg belongs to no parameter")
    );

    let reshaped =
        adamw.state().into_iter().map(|(n, t)| if n == "step" { (n, t) } else { (n, t.reshape([4, 1])) });
    assert!(adamw.load_state(reshaped.collect()).unwrap_err().to_string().contains("[4, 1]"));
}
