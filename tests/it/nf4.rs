//! Weights of four bits against bitsandbytes' in transformers' models (tests/fixtures/models/make_nf4.py): what they compute, what adapters beside them learn,
//! what is saved, and whole runs.

use crate::near::far;
use crate::program::{Program, apart, lines, number, weights};
use crate::recipes::{Tiny, saved_model};
use rationale::model::{Grad, Lora, Model, Quantize, Sequence};
use std::collections::HashMap;
use std::path::Path;
use tch::{Device, Kind, Tensor};

const PROMPT: usize = 5;

fn load(name: &str) -> Model {
    Model::load_quantised(&saved_model(name), Kind::Float, Device::Cpu, Quantize::Nf4).unwrap()
}

fn read(name: &str, file: &str) -> HashMap<String, Tensor> {
    Tensor::read_safetensors(saved_model(name).join(file)).unwrap().into_iter().collect()
}

fn tokens(name: &str) -> Vec<u32> {
    let tokens = Vec::<i64>::try_from(&read(name, "expected.safetensors")["tokens"]).unwrap();
    tokens.into_iter().map(|token| token as u32).collect()
}

/// log p of all tokens but the first.
fn logprobs(model: &Model, tokens: &[u32]) -> Tensor {
    model.score(&[Sequence::new(&tokens[..1], &tokens[1..])], 1.0, Grad::No).unwrap().logprobs
}

/// What make_nf4.py fills adapters with.
fn fixed(like: &Tensor, salt: f64) -> Tensor {
    let value = |i: i64| (0.3 * (salt + 0.37 * (i * i % 1009) as f64).sin()) as f32;
    Tensor::from_slice(&(0..like.numel() as i64).map(value).collect::<Vec<_>>()).reshape(like.size())
}

/// Adapters of rank 2 and scale 2 at every linear map, by the order of these in a layer of transformers' models.
fn adapt(model: &mut Model) {
    model.add_lora(&Lora { rank: 2, alpha: 4.0, ..Lora::default() }, 1).unwrap();
    let order = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"];
    for (name, mut tensor) in model.adapters() {
        let parts: Vec<&str> = name.split('.').collect();
        let layer: usize =
            parts[parts.iter().position(|part| *part == "layers").unwrap() + 1].parse().unwrap();
        let place = order.iter().position(|linear| parts.contains(linear)).unwrap();
        let half = if name.contains("lora_B") { 0.5 } else { 0.0 };
        tch::no_grad(|| tensor.copy_(&fixed(&tensor, (7 * layer + place) as f64 + half)));
    }
}

#[test]
fn logits_equal_transformers_of_the_same_weights() {
    for name in ["llama", "qwen3"] {
        let (model, tokens) = (load(name), tokens(name));
        let theirs = read(name, "nf4.safetensors")["logits"].log_softmax(-1, Kind::Float);
        let next: Vec<i64> = tokens[1..].iter().map(|&token| i64::from(token)).collect();
        let theirs =
            theirs.narrow(0, 0, next.len() as i64).gather(1, &Tensor::from_slice(&next).unsqueeze(1), false);
        let far = far(&logprobs(&model, &tokens), &theirs.squeeze_dim(1));
        assert!(far < 1e-4, "{name}: {far}");
        assert!(model.is_quantised() && !model.parameters().iter().any(|(name, _)| name.contains("layers")));
    }
}

/// The gradient of adapters goes through weights that are read anew, with the graphs kept or computed again, and so does what is below them.
#[test]
fn adapters_learn_what_they_do_in_transformers() {
    for (name, checkpointing) in [("llama", false), ("qwen3", true)] {
        let mut model = load(name);
        adapt(&mut model);
        model.checkpointing = checkpointing;
        let (tokens, theirs) = (tokens(name), read(name, "nf4.safetensors"));
        let sequence = Sequence::new(&tokens[..PROMPT], &tokens[PROMPT..]);
        let scored = model.score(&[sequence], 1.0, Grad::Yes).unwrap();
        assert!(far(&scored.logprobs.detach(), &theirs["adapted"]) < 1e-4, "{name}");
        let loss = (&scored.logprobs * &read(name, "expected.safetensors")["weights"]).sum(Kind::Float);
        scored.backward(&loss).unwrap();
        let adapters: HashMap<String, Tensor> = model.adapters().into_iter().collect();
        let mut seen = 0;
        for (key, gradient) in &theirs {
            let Some((map, which)) = key.strip_prefix("grad.").and_then(|key| key.rsplit_once('.')) else {
                continue;
            };
            let own = adapters[&format!("base_model.model.{map}.lora_{which}.weight")].grad();
            let error = ((&own - gradient).norm() / gradient.norm()).double_value(&[]);
            assert!(error < 1e-4, "{name}: {key}: {error}");
            seen += 1;
        }
        assert_eq!(seen, 4);
        assert_eq!(model.parameters().len(), adapters.len());
    }
}

/// What is saved is in full: another load of it computes what the model did, adapters and all; without them the rounded base.
#[test]
fn what_is_saved_is_merged_and_whole() {
    let (mut model, tokens) = (load("llama"), tokens("llama"));
    let base = logprobs(&model, &tokens);
    adapt(&mut model);
    for (adapted, expected) in [(true, logprobs(&model, &tokens)), (false, base)] {
        let dir = tempfile::tempdir().unwrap();
        model.adapted = adapted;
        model.save(dir.path()).unwrap();
        let again = Model::load(dir.path(), Kind::Float, Device::Cpu).unwrap();
        assert!(!again.is_quantised());
        assert!(far(&logprobs(&again, &tokens), &expected) < 1e-5, "{adapted}");
        // A copy is in full as well.
        let copy = model.copy(Kind::Float, Device::Cpu);
        assert!(far(&logprobs(&copy, &tokens), &expected) < 1e-5, "{adapted}");
    }
}

#[test]
fn experts_are_refused() {
    let error = Model::load_quantised(&saved_model("mixtral"), Kind::Float, Device::Cpu, Quantize::Nf4);
    let error = error.unwrap_err().to_string();
    assert!(error.contains("most weights of a") && error.contains("experts'"), "{error}");
}

const TASK: &str = "[data]\nprompts_per_step = 16\ntemplate.chat = false\n[data.task.addition]\ndigits = [1]\ntrain = 80\n\
    [checkpoint]\nkeep_last = 2\n";

/// The head of a recipe whose policy is at `model`.
fn of(model: &Path, keys: &str) -> String {
    format!(
        "[policy]\nmodel = {model:?}\ndtype = \"f32\"\n{keys}\n[devices]\npolicy = \"cpu\"\nthreads = 1\n[log]\ntensorboard = false\n{TASK}"
    )
}

const QLORA: &str = "quantize = \"nf4\"\nlora = { rank = 4 }";

/// A model is warmed up; adapters beside its weights in four bits take the loss further down; what was cut at half comes to the same weights; it samples;
/// a stage behind it goes on with what was merged.
#[test]
fn runs_learn_resume_and_sample() {
    let program = Program::new(
        &Tiny::SUMS.recipe(&format!("{TASK}[optim]\nlr = 1e-2\n[run]\nsteps = 40\n[loop.sft]\n")),
    );
    program.train(&["--quiet"]).success();
    let warm = program.checkpoint("000040");
    let learn = "[optim]\nlr = 1e-2\n[run]\nsteps = 30\n[loop.sft]\n";
    program.write("learn.toml", &format!("{}{learn}", of(&warm, QLORA)));
    let out = |name: &str| program.out().with_file_name(name);
    program.train_into("learn.toml", &out("whole"), &["--quiet"]).success();
    let losses: Vec<f64> =
        lines(&out("whole").join("metrics.jsonl")).iter().map(|line| number(line, "loss")).collect();
    let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len() as f64;
    assert!(mean(&losses[25..]) < 0.9 * mean(&losses[..5]), "{losses:?}");

    program.train_into("learn.toml", &out("half"), &["--quiet", "--set", "run.steps=15"]).success();
    program.train_into("learn.toml", &out("half"), &["--quiet", "--resume"]).success();
    let [whole, half] = ["whole", "half"].map(|run| out(run).join("sft-step-000030"));
    assert_eq!(apart(&whole, &half), 0.0);
    // What lies outside of the layers' matrices is as it was.
    let (before, after) = (weights(&warm), weights(&whole));
    assert!(before["model.embed_tokens.weight"].equal(&after["model.embed_tokens.weight"]));
    assert!(!before["model.layers.0.mlp.up_proj.weight"].equal(&after["model.layers.0.mlp.up_proj.weight"]));

    let sample = "[run]\nsteps = 2\n[policy.sampling]\nmax_new_tokens = 8\n[loop.grpo]\nkl.coefficient = 0.1\n\
        [rollout.group]\nsize = 4\n[reward.answer]\n";
    program.write("sample.toml", &format!("{}{sample}", of(&whole, QLORA)));
    program.train_into("sample.toml", &out("sampled"), &["--quiet"]).success();
    for line in lines(&out("sampled").join("metrics.jsonl")) {
        // The sampler and the trainer read the same weights.
        let far = number(&line, "sampling/sampling_logp_difference/max");
        assert!(far < 1e-4, "{far}");
    }
}

#[test]
fn what_does_not_fit_is_refused_before_the_run() {
    let program = Program::new(&Tiny::SUMS.recipe(&format!("{TASK}[run]\nsteps = 1\n[loop.sft]\n")));
    let said = program.train(&["--dry-run", "--set", "policy.quantize=nf4"]).code(2);
    assert!(said.contains("weights of four bits are frozen") && said.contains("add [policy.lora]"), "{said}");
    let divided =
        ["policy.quantize=nf4", "policy.lora.rank=4", "devices.ranks=2", "devices.shard=parameters"];
    let sets: Vec<&str> = divided.iter().flat_map(|set| ["--set", set]).collect();
    let said = program.train(&[&["--dry-run"][..], &sets].concat()).code(2);
    assert!(said.contains("divides weights in full"), "{said}");
    let plan = program
        .train(&["--dry-run", "--set", "policy.quantize=nf4", "--set", "policy.lora.rank=4"])
        .success();
    assert!(plan.contains("the layers' matrices in nf4") && plan.contains("a matrix in full"), "{plan}");
}
