//! Muon against PyTorch's (tests/fixtures/optim/make_muon.py), beside AdamW, resumed, and divided among ranks.

use crate::optim::{self, numbers, start, values};
use crate::program::{Program, apart, lines, number};
use crate::recipes::Tiny;
use rationale::devices::native_kind;
use rationale::optim::{AdjustLr, Muon, Optim, Optimizer};
use serde_json::Value;
use std::collections::BTreeSet;
use tch::{Device, Kind, Tensor};

fn fixture() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/optim/muon.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn give_gradient(parameter: &Tensor, at: impl Fn(usize) -> f64) {
    optim::give_gradient(parameter, &(0..parameter.numel()).map(at).collect::<Vec<f64>>());
}

fn apart_at_most(ours: &[f64], theirs: &[f64]) -> f64 {
    assert_eq!(ours.len(), theirs.len());
    ours.iter().zip(theirs).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
}

/// Products are in bf16 where the processor multiplies it; a sum in another order may then end at the neighbouring number, 2⁻⁸ of its size
/// away, in each of the five steps and iterations. Elements of a direction are at most about 1.2, and are taken lr · factor times.
#[test]
fn five_steps_equal_pytorchs() {
    let fixture = fixture();
    let bf16 = native_kind(Device::Cpu) == Kind::BFloat16;
    let mut seen = 0;
    for case in fixture["cases"].as_array().unwrap() {
        if (case["precision"] == "bf16") != bf16 {
            continue;
        }
        seen += 1;
        let (lr, number) = (case["lr"].as_f64().unwrap(), |key: &str| case[key].as_f64().unwrap());
        let muon = Muon {
            momentum: number("momentum"),
            nesterov: case["nesterov"].as_bool().unwrap(),
            ns_steps: number("ns_steps") as usize,
            adjust_lr: serde_json::from_value::<AdjustLr>(case["adjust_lr_fn"].clone()).unwrap(),
            ..Muon::default()
        };
        let optim = Optim { weight_decay: number("weight_decay"), muon: Some(muon), ..Optim::default() };
        let shapes = ["wide", "tall", "square", "row"];
        let parameter = |(index, name): (usize, &&str)| {
            let shape: Vec<i64> = serde_json::from_value(fixture["shapes"][name].clone()).unwrap();
            (name.to_string(), start(index, &shape, Kind::Float))
        };
        let parameters: Vec<(String, Tensor)> = shapes.iter().enumerate().map(parameter).collect();
        let shared = parameters.iter().map(|(name, tensor)| (name.clone(), tensor.shallow_clone())).collect();
        let mut optimizer = Optimizer::new(shared, &optim).unwrap();
        for step in 0..5 {
            optimizer.zero_grad().unwrap();
            for (index, (_, tensor)) in parameters.iter().enumerate() {
                give_gradient(tensor, |i| {
                    (1.0 + index as f64 + 0.7 * step as f64 + 0.31 * (i * i) as f64).sin()
                        * (0.1 + step as f64)
                });
            }
            optimizer.step(lr * (step + 1) as f64 / 5.0).unwrap();
        }
        let state = optimizer.state();
        for (name, tensor) in &parameters {
            let most = if bf16 { 0.02 * lr } else { 2e-6 };
            let far = apart_at_most(&values(tensor), &numbers(&case["after"][name]));
            assert!(far <= most, "{name}: {far}");
            let own = &state.iter().find(|(key, _)| *key == format!("{name}.momentum_buffer")).unwrap().1;
            let far = apart_at_most(&values(own), &numbers(&case["momentum_buffer"][name]));
            assert!(far < 1e-6, "{name}: {far}");
        }
    }
    assert_eq!(seen, 3);
}

/// A matrix of a layer, an embedding of the same shape and a norm, in `kind`; what both rules make of them.
fn mixed(kind: Kind) -> Vec<(String, Tensor)> {
    let names = [("layer", &[4, 6][..]), ("embedding", &[4, 6]), ("norm", &[6])];
    names.iter().enumerate().map(|(at, (name, shape))| (name.to_string(), start(at, shape, kind))).collect()
}

fn stepped(
    parameters: &[(String, Tensor)],
    optim: &Optim,
    state: Option<Vec<(String, Tensor)>>,
    steps: std::ops::Range<usize>,
) -> Optimizer {
    let shared = parameters.iter().map(|(name, tensor)| (name.clone(), tensor.shallow_clone())).collect();
    let matrices = BTreeSet::from(["layer".to_string()]);
    let mut optimizer = Optimizer::new(shared, optim.rules(&matrices)).unwrap();
    if let Some(state) = state {
        optimizer.load_state(state).unwrap();
    }
    for step in steps {
        optimizer.zero_grad().unwrap();
        for (index, (_, tensor)) in parameters.iter().enumerate() {
            give_gradient(tensor, |i| (1.3 * i as f64 + 0.7 * step as f64 + index as f64).sin());
        }
        optimizer.clip(1.0).unwrap();
        optimizer.step(0.01).unwrap();
    }
    optimizer
}

fn with_muon() -> Optim {
    Optim { muon: Some(Muon::default()), weight_decay: 0.1, ..Optim::default() }
}

#[test]
fn what_is_no_matrix_of_a_layer_moves_by_adamw() {
    let (both, adamw) = (mixed(Kind::Float), mixed(Kind::Float));
    let optimizer = stepped(&both, &with_muon(), None, 0..3);
    stepped(&adamw, &Optim { muon: None, ..with_muon() }, None, 0..3);
    for (at, equal) in [(0, false), (1, true), (2, true)] {
        assert_eq!(both[at].1.equal(&adamw[at].1), equal, "{}", both[at].0);
    }
    let names: Vec<String> = optimizer.state().into_iter().map(|(name, _)| name).collect();
    let wanted =
        ["step", "layer.momentum_buffer", "embedding.exp_avg", "embedding.exp_avg_sq", "norm.exp_avg"];
    assert_eq!(names[..5], wanted);
}

#[test]
fn steps_after_a_state_round_trip_are_the_same_to_the_bit() {
    for kind in [Kind::Float, Kind::BFloat16] {
        let whole = mixed(kind);
        let reference = stepped(&whole, &with_muon(), None, 0..6);
        let half = mixed(kind);
        let state = stepped(&half, &with_muon(), None, 0..3).state();
        let state: Vec<_> = state.into_iter().map(|(name, tensor)| (name, tensor.copy())).collect();
        let reloaded: Vec<_> =
            half.iter().map(|(name, t)| (name.clone(), t.detach().copy().set_requires_grad(true))).collect();
        let continued = stepped(&reloaded, &with_muon(), Some(state), 3..6);
        assert!(whole.iter().zip(&reloaded).all(|((_, a), (_, b))| a.equal(b)));
        for ((name, a), (_, b)) in reference.state().iter().zip(continued.state()) {
            assert!(a.equal(&b), "{name}");
        }
    }
}

/// Its own learning rate is to the other what the two keys are to each other: twice as much moves twice as far (no decay).
#[test]
fn its_learning_rate_follows_the_other() {
    let moved = |lr: Option<f64>| {
        let muon = Muon { lr, ..Muon::default() };
        let optim = Optim { lr: Some(0.01), muon: Some(muon), ..Optim::default() };
        let parameters = mixed(Kind::Float);
        let before = parameters[0].1.detach().copy();
        stepped(&parameters, &optim, None, 0..1);
        let norm = |tensor: Tensor| tensor.norm().double_value(&[]);
        (norm(parameters[0].1.detach() - before), values(&parameters[1].1))
    };
    let ((same, embedding), (own, again), (none, _)) = (moved(None), moved(Some(0.02)), moved(Some(0.0)));
    assert!((own / same - 2.0).abs() < 1e-4 && none == 0.0, "{same} {own} {none}");
    assert_eq!(embedding, again);
}

const RECIPE: &str = "[data]\nprompts_per_step = 16\ntemplate.chat = false\n[data.task.addition]\ndigits = [1]\n\
    [optim]\nlr = 1e-2\nmuon = {}\n[run]\nsteps = 30\n[checkpoint]\nevery = 15\nkeep_last = 2\n[loop.sft]\n";

fn train(program: &Program, out: &str, sets: &[&str]) -> std::path::PathBuf {
    let out = program.out().with_file_name(out);
    let sets: Vec<&str> = sets.iter().flat_map(|set| ["--set", set]).collect();
    program.train_into("recipe.toml", &out, &[&["--quiet"][..], &sets].concat()).success();
    out
}

/// AdamW makes a step of a whole learning rate of a gradient that is nothing but rounding: here the matrices alone move far.
const MATRICES: [&str; 3] = ["run.steps=5", "optim.lr=1e-7", "optim.muon.lr=1e-2"];

/// A run learns, and one that was cut at half comes to the same weights; divided ones come near, whichever way they are.
#[test]
fn runs_learn_resume_and_divide() {
    let program = Program::new(&Tiny::SUMS.recipe(RECIPE));
    let whole = train(&program, "whole", &[]);
    let losses = |run: &std::path::Path| -> Vec<f64> {
        lines(&run.join("metrics.jsonl")).iter().map(|line| number(line, "loss")).collect()
    };
    let found = losses(&whole);
    assert!(found[29] < 0.6 * found[0], "{found:?}");

    let half = train(&program, "half", &["run.steps=15"]);
    program.train_into("recipe.toml", &half, &["--quiet", "--resume"]).success();
    assert_eq!(apart(&whole.join("sft-step-000030"), &half.join("sft-step-000030")), 0.0);

    let alone = train(&program, "alone", &MATRICES);
    for shard in ["none", "optimizer", "parameters"] {
        let shards = format!("devices.shard={shard}");
        let out = train(
            &program,
            shard,
            &[&["devices.ranks=2", "devices.threads=2", &shards][..], &MATRICES].concat(),
        );
        // What lies in a gradient at the size of rounding, in bf16 that of the products, is brought near to the size of all else: weights end
        // elsewhere, as good ones.
        for (one, other) in losses(&alone).iter().zip(losses(&out)) {
            assert!((one - other).abs() < 0.05, "{shard}: {one} {other}");
        }
        // Any number of ranks goes on with what another wrote.
        let sets = "--quiet --resume --set devices.ranks=3 --set devices.threads=3 --set run.steps=6 \
            --set optim.lr=1e-7 --set optim.muon.lr=1e-2";
        let sets: Vec<&str> = sets.split(' ').collect();
        program.train_into("recipe.toml", &out, &sets).success();
    }
    // Of the same gradients what is divided makes the same step.
    let [none, optimizer] =
        ["none", "optimizer"].map(|shard| program.out().with_file_name(shard).join("sft-step-000005"));
    assert_eq!(apart(&none, &optimizer), 0.0);
}
