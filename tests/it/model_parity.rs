//! The forward pass, scores and gradients against transformers' own, on tiny models of every family
//! (`fixtures/models/make.py` made them and says what each number is).

use crate::recipes::saved_model;
use crate::skip::python_for;
use rationale::model::attention::Packed;
use rationale::model::family::{Bias, Window};
use rationale::model::{Config, FAMILIES, Grad, Lora, Model, Sequence};
use serde_json::json;
use std::collections::HashMap;
use std::path::Path;
use tch::{Device, Kind, Tensor};

const MODELS: [&str; 26] = [
    "llama",
    "llama3",
    "mistral",
    "qwen2",
    "qwen3",
    "sharded",
    "dynamic",
    "mistral_window",
    "qwen2_window",
    "smollm3",
    "smollm3_window",
    "gemma2",
    "gemma3",
    "gemma3_images",
    "mistral3",
    "phi3",
    "olmo2",
    "olmo3",
    "granite",
    "mixtral",
    "qwen3_moe",
    "gpt_oss",
    "qwen3_next",
    "qwen3_5",
    "qwen3_5_images",
    "qwen3_5_moe",
];
const PROMPT: usize = 5;
const TEMPERATURE: f64 = 0.7;

fn load(name: &str, kind: Kind) -> Model {
    Model::load(&saved_model(name), kind, Device::Cpu).unwrap()
}

/// What transformers computed.
struct Expected(HashMap<String, Tensor>);

impl Expected {
    fn of(name: &str) -> Self {
        let path = saved_model(name).join("expected.safetensors");
        Self(Tensor::read_safetensors(path).unwrap().into_iter().collect())
    }

    fn get(&self, name: &str) -> &Tensor {
        &self.0[name]
    }

    fn tokens(&self) -> Vec<u32> {
        ids(self.get("tokens"))
    }

    fn sequence(&self) -> Sequence {
        learned_from(self.tokens(), PROMPT)
    }

    fn gradients(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.0.iter().filter_map(|(name, grad)| Some((name.strip_prefix("grad.")?, grad)))
    }
}

fn ids(tokens: &Tensor) -> Vec<u32> {
    Vec::<i64>::try_from(tokens).unwrap().into_iter().map(|t| t as u32).collect()
}

/// ‖a − b‖ / ‖b‖, in f32.
fn error(ours: &Tensor, theirs: &Tensor) -> f64 {
    assert_eq!(ours.size(), theirs.size());
    let distance = (ours.to_kind(Kind::Float) - theirs).norm() / theirs.norm();
    distance.double_value(&[])
}

/// The largest |a − b| over the largest |b|: no single element may hide in the norm.
fn worst(ours: &Tensor, theirs: &Tensor) -> f64 {
    let distance = (ours.to_kind(Kind::Float) - theirs).abs().max() / theirs.abs().max();
    distance.double_value(&[])
}

fn logits(model: &Model, tokens: &[u32]) -> Tensor {
    let inputs: Vec<i64> = tokens.iter().map(|&t| i64::from(t)).collect();
    let mut packed = Packed::new(&[tokens.len()], Device::Cpu);
    let positions = packed.positions();
    tch::no_grad(|| model.logits(&model.hidden(&Tensor::from_slice(&inputs), &positions, &mut packed)))
}

/// The fixtures' scalar: Σ w · logprob + 0.3 Σ w · entropy.
fn gradients(model: &Model, sequences: &[Sequence], weights: &Tensor) -> HashMap<String, Tensor> {
    for (_, mut parameter) in model.parameters() {
        parameter.zero_grad();
    }
    let scored = model.score(sequences, TEMPERATURE, Grad::Yes).unwrap();
    let loss = (weights * &scored.logprobs).sum(None) + (weights * &scored.entropy).sum(None) * 0.3;
    scored.backward(&loss).unwrap();
    model.parameters().into_iter().map(|(name, p)| (name, p.grad().copy())).collect()
}

/// The same by the checkpoint's names: experts one by one.
fn by_checkpoint(grads: HashMap<String, Tensor>) -> HashMap<String, Tensor> {
    let experts = |(name, grad): (String, Tensor)| match name.split_once(".*.") {
        Some((before, behind)) => {
            let each = grad.unbind(0).into_iter().enumerate();
            each.map(|(number, grad)| (format!("{before}.{number}.{behind}"), grad)).collect()
        }
        None => vec![(name, grad)],
    };
    grads.into_iter().flat_map(experts).collect()
}

fn close(name: &str, ours: &Tensor, theirs: &Tensor, tolerance: f64) {
    let (norm, element) = (error(ours, theirs), worst(ours, theirs));
    assert!(norm <= tolerance && element <= tolerance, "{name}: {norm:.1e}, worst element {element:.1e}");
}

// f32: both sides sum the same terms in another order, a few hundred roundings of 6e-8; 1e-4 leaves room for
// kernels of other CPUs, and no wrong formula comes near it.

#[test]
fn logits_are_transformers_logits() {
    for name in MODELS {
        let expected = Expected::of(name);
        let ours = logits(&load(name, Kind::Float), &expected.tokens());
        close(name, &ours, expected.get("logits"), 1e-4);
    }
}

#[test]
fn scores_are_transformers_log_softmax() {
    for name in MODELS {
        let (model, expected) = (load(name, Kind::Float), Expected::of(name));
        let score = |temperature| model.score(&[expected.sequence()], temperature, Grad::No).unwrap();
        close(name, &score(1.0).logprobs, expected.get("logprobs"), 1e-4);
        close(name, &score(TEMPERATURE).logprobs, expected.get("tempered"), 1e-4);
        close(name, &score(TEMPERATURE).entropy, expected.get("entropy"), 1e-4);
    }
}

#[test]
fn gradients_are_autograds() {
    for name in MODELS {
        let (mut model, expected) = (load(name, Kind::Float), Expected::of(name));
        model.train_all();
        // All logits at once, a few positions at a time (35 positions, 4 each), and layers computed twice.
        for (chunk, checkpointing) in
            [(usize::MAX, false), (4 * 64, false), (usize::MAX, true), (4 * 64, true)]
        {
            (model.chunk, model.checkpointing) = (chunk, checkpointing);
            let ours = by_checkpoint(gradients(&model, &[expected.sequence()], expected.get("weights")));
            for (parameter, theirs) in expected.gradients() {
                close(&format!("{name} {parameter}"), &ours[parameter], theirs, 1e-4);
            }
        }
        assert!(expected.gradients().count() >= 5, "{name}: the fixture holds gradients");
    }
}

#[test]
fn greedy_tokens_are_transformers_tokens() {
    for name in MODELS {
        let (model, expected) = (load(name, Kind::Float), Expected::of(name));
        let mut tokens = expected.tokens()[..PROMPT].to_vec();
        for _ in 0..20 {
            let last = logits(&model, &tokens).get(-1).argmax(0, false);
            tokens.push(last.int64_value(&[]) as u32);
        }
        assert_eq!(tokens[PROMPT..], ids(expected.get("greedy")), "{name}");
    }
}

/// What `fixtures/models/bf16.py` prints: transformers' own bf16 against its f32, medians for logits, log-
/// probabilities and gradients.
const MEASURED: [(&str, [f64; 3]); 26] = [
    ("llama", [0.0264, 0.0058, 0.0500]),
    ("llama3", [0.0204, 0.0080, 0.0389]),
    ("mistral", [0.0250, 0.0081, 0.0519]),
    ("qwen2", [0.0233, 0.0060, 0.0447]),
    ("qwen3", [0.0202, 0.0070, 0.0373]),
    ("sharded", [0.0182, 0.0074, 0.0305]),
    ("dynamic", [0.0208, 0.0072, 0.0487]),
    ("mistral_window", [0.0247, 0.0089, 0.0601]),
    ("qwen2_window", [0.0319, 0.0099, 0.0687]),
    ("smollm3", [0.0228, 0.0062, 0.0432]),
    ("smollm3_window", [0.0206, 0.0072, 0.0498]),
    ("gemma2", [0.0147, 0.0042, 0.0361]),
    ("gemma3", [0.0150, 0.0045, 0.0399]),
    ("gemma3_images", [0.0161, 0.0038, 0.0492]),
    ("mistral3", [0.0267, 0.0073, 0.0614]),
    ("phi3", [0.0252, 0.0089, 0.0573]),
    ("olmo2", [0.0150, 0.0052, 0.0390]),
    ("olmo3", [0.0166, 0.0058, 0.0411]),
    ("granite", [0.0169, 0.0035, 0.0256]),
    ("mixtral", [0.0289, 0.0089, 0.0567]),
    ("qwen3_moe", [0.0267, 0.0081, 0.0374]),
    ("gpt_oss", [0.0198, 0.0059, 0.0539]),
    ("qwen3_next", [0.0203, 0.0087, 0.0448]),
    ("qwen3_5", [0.0277, 0.0070, 0.0522]),
    ("qwen3_5_images", [0.0326, 0.0086, 0.0651]),
    ("qwen3_5_moe", [0.0339, 0.0082, 0.0585]),
];

/// bf16 rounds to 8 bits, 2⁻⁹ = 0.2 % at a time; these weights, chosen large, amplify it. The measure is transformers
/// itself: how far its bf16 is off its f32 on the same 8 sequences, as the median over all of them (and, for
/// gradients, over all parameters; single ones are off by up to 39 %), and as the lower quartile for models with experts. Ours, off the f32 that the tests above hold
/// to transformers, may be 1.5 times that: the same rounding in another order.
#[test]
fn bf16_is_as_exact_as_transformers_is() {
    for (name, limits) in MEASURED {
        let (full, mut half) = (load(name, Kind::Float), load(name, Kind::BFloat16));
        let expected = Expected::of(name);
        full.train_all();
        half.train_all();
        let mut off: [Vec<f64>; 3] = Default::default();
        for turn in 0..8u32 {
            // Another sequence each time: the fixture's ids (3 to 63) moved on around their circle.
            let tokens: Vec<u32> = expected.tokens().iter().map(|t| 3 + (t - 3 + 7 * turn) % 61).collect();
            let sequence = [learned_from(tokens, PROMPT)];
            half.chunk = if turn % 2 == 0 { usize::MAX } else { 4 * 64 };
            let scores = |model: &Model| model.score(&sequence, TEMPERATURE, Grad::No).unwrap().logprobs;
            assert_eq!(scores(&half).kind(), Kind::Float);
            let all = &sequence[0].tokens;
            off[0].push(error(&logits(&half, all), &logits(&full, all)));
            off[1].push(error(&scores(&half), &scores(&full)));
            let theirs = gradients(&full, &sequence, expected.get("weights"));
            let ours = gradients(&half, &sequence, expected.get("weights"));
            off[2].extend(ours.iter().map(|(parameter, grad)| error(grad, &theirs[parameter])));
        }
        for ((what, distances), limit) in ["logits", "logprobs", "gradients"].iter().zip(&mut off).zip(limits)
        {
            distances.sort_by(f64::total_cmp);
            // Where rounding lets a token pass through another expert, which it does in about half of the sequences, distances are those of
            // another function.
            let part = if full.form.experts.is_some() { 4 } else { 2 };
            let typical = distances[distances.len() / part];
            assert!(typical < 1.5 * limit, "{name} {what}: {typical:.4}, transformers {limit}");
        }
    }
}

/// A sequence's scores do not depend on what it is batched with, nor on the order, and the gradient of a sum is the
/// sum of the gradients.
#[test]
fn batches_change_nothing() {
    for name in MODELS {
        let (model, expected) = (load(name, Kind::Float), Expected::of(name));
        model.train_all();
        let tokens = expected.tokens();
        let cut = |from: usize, to: usize, prompt| learned_from(tokens[from..to].to_vec(), prompt);
        let batch = [cut(0, 40, 5), cut(7, 20, 3), cut(3, 9, 6), cut(30, 31, 1), cut(10, 12, 1)];
        let lengths: Vec<i64> = batch.iter().map(|s| s.learned() as i64).collect();
        assert_eq!(lengths, [35, 10, 0, 0, 1], "one empty completion, one prompt alone");

        let together = model.score(&batch, TEMPERATURE, Grad::No).unwrap().logprobs;
        let mut summed: HashMap<String, Tensor> = HashMap::new();
        for (sequence, part) in batch.iter().zip(together.split_with_sizes(lengths, 0)) {
            let one = std::slice::from_ref(sequence);
            let alone = model.score(one, TEMPERATURE, Grad::No).unwrap().logprobs;
            assert!(alone.allclose(&part, 1e-5, 1e-5, false), "{name}");
            if sequence.learned() > 0 {
                for (parameter, grad) in gradients(&model, one, &alone.ones_like()) {
                    let sum = summed.remove(&parameter).map_or(grad.copy(), |sum| sum + grad);
                    summed.insert(parameter, sum);
                }
            }
        }
        let turned: Vec<Sequence> = batch.iter().rev().cloned().collect();
        for order in [&batch[..], &turned] {
            for (parameter, grad) in gradients(&model, order, &together.ones_like()) {
                // What a recurrent layer remembers goes through exponentials and a system of equations, whose roundings grow.
                let most = if is_recurrent(name) { 5e-4 } else { 1e-5 };
                close(&format!("{name} {parameter}"), &grad, &summed[&parameter], most);
            }
        }
    }
}

fn is_recurrent(name: &str) -> bool {
    name.starts_with("qwen3_next") || name.starts_with("qwen3_5")
}

/// A prompt that sequences share is computed once; what each scores, and the gradient, are those of the sequence alone.
#[test]
fn a_shared_prompt_changes_nothing() {
    for name in MODELS {
        let (mut model, expected) = (load(name, Kind::Float), Expected::of(name));
        model.train_all();
        let tokens = expected.tokens();
        let (one, other) = (&tokens[..33], &tokens[2..37]);
        let batch = [
            Sequence::new(one, &tokens[10..16]),
            Sequence::new(other, &tokens[3..5]),
            Sequence::new(one, &tokens[20..21]),
            Sequence::new(&tokens[4..7], &tokens[7..9]),
            Sequence::new(one, &[]),
            Sequence::new(one, &tokens[1..4]),
            Sequence::new(other, &tokens[3..4]),
        ];
        let weights = |n: usize| Tensor::arange(n as i64, (Kind::Float, Device::Cpu)) + 1.0;
        let mut alone: HashMap<String, Tensor> = HashMap::new();
        let mut logprobs = Vec::new();
        for sequence in batch.iter().filter(|s| s.learned() > 0) {
            let sequence = std::slice::from_ref(sequence);
            logprobs.push(model.score(sequence, TEMPERATURE, Grad::No).unwrap().logprobs);
            for (parameter, grad) in gradients(&model, sequence, &weights(sequence[0].learned())) {
                let sum = alone.remove(&parameter).map_or(grad.copy(), |sum| sum + grad);
                alone.insert(parameter, sum);
            }
        }
        let logprobs = Tensor::cat(&logprobs, 0);
        let slopes: Vec<Tensor> = batch.iter().map(|s| weights(s.learned())).collect();
        for checkpointing in [false, true] {
            model.checkpointing = checkpointing;
            let together = model.score(&batch, TEMPERATURE, Grad::Yes).unwrap().logprobs;
            close(name, &together.detach(), &logprobs, 5e-5);
            for (parameter, grad) in gradients(&model, &batch, &Tensor::cat(&slopes, 0)) {
                close(&format!("{name} {parameter}"), &grad, &alone[&parameter], 5e-5);
            }
        }
    }
}

#[test]
fn what_is_saved_loads_bit_for_bit() {
    for name in MODELS {
        for kind in [Kind::Float, Kind::BFloat16] {
            let model = load(name, kind);
            let dir = tempfile::tempdir().unwrap();
            model.save(dir.path()).unwrap();
            let again = Model::load(dir.path(), kind, Device::Cpu).unwrap();
            for ((a, ours), (b, theirs)) in model.tensors().iter().zip(&again.tensors()) {
                assert!(a == b && ours.equal(theirs), "{name} {a}");
            }
            let without = |mut config: Config| {
                // The one key that saving may change: the weights' kind.
                config.original.retain(|key, _| key != "dtype" && key != "torch_dtype");
                config
            };
            assert_eq!(without(again.config), without(model.config), "{name}");
        }
    }
}

#[test]
fn adapters_train_alone_and_merge() {
    for (name, maps) in [
        ("qwen2", 7 + 7),
        ("phi3", 4 + 4),
        ("gemma3", 7 + 7),
        ("qwen3_moe", 7 + 4),
        ("gpt_oss", 4 + 4),
        ("qwen3_next", 3 + 3 + 4 + 3),
        ("qwen3_5", 5 + 3 + 4 + 3),
    ] {
        trains_alone_and_merges(name, maps);
    }
}

/// `maps`: the linear maps of its two layers.
fn trains_alone_and_merges(name: &str, maps: usize) {
    let (mut model, expected) = (load(name, Kind::Float), Expected::of(name));
    let lora = Lora { rank: 4, alpha: 8.0, ..Lora::default() };
    model.add_lora(&lora, 1).unwrap();
    let tokens = expected.tokens();
    close("B = 0 changes nothing", &logits(&model, &tokens), expected.get("logits"), 1e-4);

    // A and B of each.
    assert_eq!(model.parameters().len(), maps * 2);
    for (_, mut tensor) in model.parameters() {
        let _ = tch::no_grad(|| tensor.g_add_(&(Tensor::randn_like(&tensor) * 0.1)));
    }
    let adapted = logits(&model, &tokens);
    assert!(error(&adapted, expected.get("logits")) > 0.01, "adapters matter");
    close("merged", &logits(&model.merged(), &tokens), &adapted, 1e-4);

    model.adapted = false;
    close("off, it is the base", &logits(&model, &tokens), expected.get("logits"), 1e-4);
    model.adapted = true;

    let plain = gradients(&model, &[expected.sequence()], expected.get("weights"));
    assert!(plain.values().all(|grad| grad.norm().double_value(&[]) > 0.0), "every adapter learns");
    assert!(model.tensors().iter().all(|(_, t)| !t.grad().defined()), "the base does not");
    model.checkpointing = true;
    for (name, grad) in gradients(&model, &[expected.sequence()], expected.get("weights")) {
        close(&name, &grad, &plain[&name], 1e-5);
    }
}

#[test]
fn adapters_are_saved_as_peft_does_and_merged_where_a_plain_folder_is_wanted() {
    let (mut model, tokens) = (load("llama", Kind::Float), Expected::of("llama").tokens());
    let lora = Lora { rank: 2, alpha: 3.0, targets: vec!["q_proj".into(), "down_proj".into()] };
    model.add_lora(&lora, 1).unwrap();
    for (_, mut tensor) in model.parameters() {
        let _ = tch::no_grad(|| tensor.g_add_(&(Tensor::randn_like(&tensor) * 0.1)));
    }
    let (adapters, plain) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    model.save_adapters(adapters.path()).unwrap();
    model.save(plain.path()).unwrap();

    let file = Tensor::read_safetensors(adapters.path().join("adapter_model.safetensors")).unwrap();
    let name = "base_model.model.model.layers.1.mlp.down_proj.lora_B.weight";
    assert!(file.iter().any(|(n, t)| n == name && t.size() == [32, 2]), "peft's name, [out, rank]");

    let mut again = load("llama", Kind::Float);
    again.load_adapters(adapters.path()).unwrap();
    assert!(logits(&again, &tokens).equal(&logits(&model, &tokens)));
    let merged = Model::load(plain.path(), Kind::Float, Device::Cpu).unwrap();
    close("merged", &logits(&merged, &tokens), &logits(&model, &tokens), 1e-4);
}

/// Set RATIONALE_PYTHON to a python with transformers to run this.
#[test]
fn transformers_loads_what_is_saved() {
    let Some(python) = python_for("transformers_loads_what_is_saved") else { return };
    let dir = tempfile::tempdir().unwrap();
    for name in MODELS {
        load(name, Kind::Float).save(&dir.path().join(name)).unwrap();
    }
    // One that thinks is to others the model that does not.
    let thinks = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/thoughts");
    let thinks = Model::load(&thinks, Kind::Float, Device::Cpu).unwrap();
    assert!(thinks.thoughts.is_some());
    thinks.save(&dir.path().join("fresh-thinks")).unwrap();
    assert!(dir.path().join("fresh-thinks/thoughts.safetensors").exists());
    let few = [3u32, 7, 19, 4, 11];
    let ours = logits(&thinks, &few);
    let few = Tensor::from_slice(&few.map(i64::from));
    let said = [("ours".to_string(), ours), ("tokens".to_string(), few)];
    Tensor::write_safetensors(&said, dir.path().join("fresh-thinks.safetensors")).unwrap();
    // New models too, with the keys that we write.
    let tokens = Expected::of("llama").tokens();
    for family in FAMILIES {
        let name = format!("fresh-{}", family.model_type);
        let qkv_bias = family.qkv_bias == Bias::Always;
        // transformers takes no `null` for those that have a window by default.
        let sliding_window = matches!(family.window, Window::Given(Some(_))).then_some(8);
        let (qkv_bias, output_bias) = (qkv_bias || family.sinks, family.sinks);
        let rope_scaling = (family.rope_scaling)();
        // Hundreds of experts by default.
        let many = ["qwen3_next", "qwen3_5_moe_text"].contains(&family.model_type);
        let few = many.then(|| json!({"num_experts": 4, "num_experts_per_tok": 2}));
        let original = few.and_then(|keys| keys.as_object().cloned()).unwrap_or_default();
        let fresh = Config {
            family,
            original,
            qkv_bias,
            output_bias,
            sliding_window,
            rope_scaling,
            vocab_size: 64,
            ..Config::default()
        };
        let fresh = Model::init(fresh, Kind::Float, Device::Cpu, 1).unwrap();
        fresh.save(&dir.path().join(&name)).unwrap();
        let ours = [("ours".to_string(), logits(&fresh, &tokens))];
        Tensor::write_safetensors(&ours, dir.path().join(format!("{name}.safetensors"))).unwrap();
    }

    let output = std::process::Command::new(python)
        .args([saved_model("load.py").as_os_str(), dir.path().as_os_str(), saved_model("").as_os_str()])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stdout).lines().count(), MODELS.len() + FAMILIES.len() + 1);
}

fn learned_from(tokens: Vec<u32>, prompt: usize) -> Sequence {
    Sequence::new(&tokens[..prompt], &tokens[prompt..])
}
