//! AdamW whose means are bytes, against bitsandbytes' algorithm (tests/fixtures/optim/make_adamw8.py), resumed, divided among ranks, and beside AdamW in f32.

use crate::optim::{self, numbers, start, values};
use crate::program::{Program, apart, lines, number};
use crate::recipes::Tiny;
use rationale::optim::{Moments, Optim, Optimizer};
use serde_json::Value;
use tch::{Kind, Tensor};

fn give_gradient(parameter: &Tensor, index: usize, step: usize) {
    let at = |i: usize| {
        let place = (i * i % 1009) as f64;
        (1.0 + index as f64 + 0.7 * step as f64 + 0.31 * place).sin()
            * 10f64.powi((i % 7) as i32 - 5)
            * (1.0 + step as f64)
    };
    optim::give_gradient(parameter, &(0..parameter.numel()).map(at).collect::<Vec<f64>>());
}

/// A matrix that is remembered in bytes, and one of fewer than 4096 elements, which is not.
fn parameters(kind: Kind) -> Vec<(String, Tensor)> {
    [("large", [65, 67]), ("small", [9, 11])]
        .iter()
        .enumerate()
        .map(|(index, (name, shape))| (name.to_string(), start(index, shape, kind)))
        .collect()
}

fn stepped(
    parameters: &[(String, Tensor)],
    optim: &Optim,
    state: Option<Vec<(String, Tensor)>>,
    steps: std::ops::Range<usize>,
    lr: impl Fn(usize) -> f64,
) -> Optimizer {
    let shared = parameters.iter().map(|(name, tensor)| (name.clone(), tensor.shallow_clone())).collect();
    let mut optimizer = Optimizer::new(shared, optim).unwrap();
    if let Some(state) = state {
        optimizer.load_state(state).unwrap();
    }
    for step in steps {
        optimizer.zero_grad().unwrap();
        for (index, (_, tensor)) in parameters.iter().enumerate() {
            give_gradient(tensor, index, step);
        }
        optimizer.step(lr(step)).unwrap();
    }
    optimizer
}

fn eight_bit() -> Optim {
    Optim { moments: Moments::EightBit, weight_decay: 0.1, ..Optim::default() }
}

/// Rounding in another order sends a mean that lies between two bytes' numbers to the other one now and then: few bytes, and by one.
#[test]
fn six_steps_equal_the_algorithms() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/optim/adamw8.json");
    let fixture: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let every = fixture["every"].as_u64().unwrap() as usize;
    let sampled = |tensor: &Tensor| values(tensor).into_iter().step_by(every).collect::<Vec<_>>();
    for case in fixture["cases"].as_array().unwrap() {
        let number = |key: &str| case[key].as_f64().unwrap();
        let optim = Optim {
            betas: [0, 1].map(|i| case["betas"][i].as_f64().unwrap()),
            eps: number("eps"),
            weight_decay: number("weight_decay"),
            ..eight_bit()
        };
        let (parameters, lr) = (parameters(Kind::Float), number("lr"));
        let optimizer = stepped(&parameters, &optim, None, 0..6, |step| lr * (step + 1) as f64 / 6.0);
        for (name, tensor) in &parameters {
            let theirs = numbers(&case["after"][name]);
            let far: Vec<f64> = sampled(tensor).iter().zip(&theirs).map(|(a, b)| (a - b).abs()).collect();
            // A byte that is off by one moves a weight by a part of a learning rate.
            let off = far.iter().filter(|far| **far > 1e-5).count();
            assert!(off <= far.len() / 50, "{name}: {off} of {}", far.len());
            assert!(far.iter().all(|far| *far < 0.2 * lr), "{name}: {far:?}");
        }
        let state = optimizer.state();
        let of = |name: &str| &state.iter().find(|(key, _)| key == name).unwrap().1;
        for (which, name) in ["exp_avg", "exp_avg_sq"].into_iter().enumerate() {
            let theirs = numbers(&case[name]);
            let codes = sampled(of(&format!("large.{name}")));
            let off = codes.iter().zip(&theirs).filter(|(a, b)| a != b).count();
            assert!(off <= codes.len() / 50, "{name}: {off} of {}", codes.len());
            let absmax = values(of(&format!("large.{name}.absmax")));
            let theirs = numbers(&case["absmax"][which]);
            assert_eq!(absmax.len(), theirs.len());
            let far = absmax.iter().zip(&theirs).map(|(a, b)| (a / b - 1.0).abs()).fold(0.0, f64::max);
            assert!(far < 1e-2, "{name}: {far}");
        }
        assert_eq!(of("small.exp_avg").kind(), Kind::Float);
    }
}

#[test]
fn steps_after_a_state_round_trip_are_the_same_to_the_bit() {
    for kind in [Kind::Float, Kind::BFloat16] {
        let whole = parameters(kind);
        let reference = stepped(&whole, &eight_bit(), None, 0..6, |_| 0.01);
        let half = parameters(kind);
        let state = stepped(&half, &eight_bit(), None, 0..3, |_| 0.01).state();
        let state: Vec<_> = state.into_iter().map(|(name, tensor)| (name, tensor.copy())).collect();
        let reloaded: Vec<_> =
            half.iter().map(|(name, t)| (name.clone(), t.detach().copy().set_requires_grad(true))).collect();
        let continued = stepped(&reloaded, &eight_bit(), Some(state), 3..6, |_| 0.01);
        assert!(whole.iter().zip(&reloaded).all(|((_, a), (_, b))| a.equal(b)));
        for ((name, a), (_, b)) in reference.state().iter().zip(continued.state()) {
            assert!(a.equal(&b), "{name}");
        }
    }
}

#[test]
fn a_state_of_the_other_kind_is_refused_by_name() {
    let of = |optim: &Optim| stepped(&parameters(Kind::Float), optim, None, 0..1, |_| 0.01);
    let mut bytes = of(&eight_bit());
    let error = bytes.load_state(of(&Optim::default()).state()).unwrap_err().to_string();
    assert!(error.contains("large.exp_avg is Float, not Uint8: optim.moments says"), "{error}");
}

const RECIPE: &str = "[data]\nprompts_per_step = 16\ntemplate.chat = false\n[data.task.addition]\ndigits = [1]\n\
    [optim]\nlr = 1e-2\nmoments = \"8bit\"\n[run]\nsteps = 40\n[checkpoint]\nevery = 20\nkeep_last = 2\n[loop.sft]\n";

fn train(program: &Program, out: &str, sets: &[&str]) -> std::path::PathBuf {
    let out = program.out().with_file_name(out);
    let sets: Vec<&str> = sets.iter().flat_map(|set| ["--set", set]).collect();
    program.train_into("recipe.toml", &out, &[&["--quiet"][..], &sets].concat()).success();
    out
}

/// It learns as AdamW in f32 does; what was cut at half comes to the same weights; whole blocks are divided, so that any number of ranks goes on with
/// them, and comes to what one does but for rounding.
#[test]
fn runs_learn_resume_and_divide() {
    // Matrices of 64 · 64 = 4096 elements and more.
    let program = Program::new(&Tiny { hidden_size: 64, ..Tiny::SUMS }.recipe(RECIPE));
    let whole = train(&program, "whole", &[]);
    let full = train(&program, "full", &["optim.moments=f32"]);
    let losses = |run: &std::path::Path| -> Vec<f64> {
        lines(&run.join("metrics.jsonl")).iter().map(|line| number(line, "loss")).collect()
    };
    let [ours, theirs] = [&whole, &full].map(|run| losses(run));
    let last = |losses: &[f64]| losses[losses.len() - 10..].iter().sum::<f64>() / 10.0;
    assert!(
        last(&ours) < 0.6 * ours[0] && (last(&ours) / last(&theirs) - 1.0).abs() < 0.1,
        "{ours:?} {theirs:?}"
    );

    let half = train(&program, "half", &["run.steps=20"]);
    program.train_into("recipe.toml", &half, &["--quiet", "--resume"]).success();
    assert_eq!(apart(&whole.join("sft-step-000040"), &half.join("sft-step-000040")), 0.0);

    let small = ["run.steps=4", "optim.lr=1e-4"];
    let alone = train(&program, "alone", &small);
    let shards = ["none", "optimizer"].map(|shard| {
        let sets = ["devices.ranks=2", "devices.threads=2", &format!("devices.shard={shard}")];
        let out = train(&program, shard, &[&sets[..], &small].concat());
        // At most a whole learning rate each step, the other way.
        let far = apart(&alone.join("sft-step-000004"), &out.join("sft-step-000004"));
        assert!(far < 8e-4, "{shard}: {far}");
        out
    });
    let [none, divided] = shards.each_ref().map(|out| out.join("sft-step-000004"));
    assert_eq!(apart(&none, &divided), 0.0);
    let again = "--quiet --resume --set devices.ranks=3 --set devices.threads=3 --set optim.lr=1e-4 --set run.steps=5";
    for out in shards {
        program.train_into("recipe.toml", &out, &again.split(' ').collect::<Vec<_>>()).success();
    }
    let sets = ["--dry-run", "--set", "devices.ranks=2", "--set", "devices.shard=parameters"];
    let said = program.train(&sets).code(2);
    assert!(said.contains("keeps blocks of 256 numbers") && said.contains("\"optimizer\" divides"), "{said}");
}
