//! A model family and a kind of layer that the crate does not know, written as a new file of `model/` would be: loading, saving,
//! adapting, shared beginnings, decoding and gradients work for it.

mod parallel;

use crate::near::far;
use parallel::{NEW, PARALLEL, Parallel, attends};
use rationale::Result;
use rationale::engine::{Decoder, Request, Sampler, Sampling, Stops};
use rationale::model::attention::Packed;
use rationale::model::block::{Block, Blueprint, Part, Rows};
use rationale::model::{Config, FAMILIES, Family, Grad, Linear, Lora, Model, Sequence};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::path::Path;
use tch::{Device, Kind, Tensor};

fn shape() -> Config {
    let original = json!({"attention_every": 2}).as_object().unwrap().clone();
    Config {
        family: &NEW[0],
        vocab_size: 29,
        hidden_size: 16,
        intermediate_size: 24,
        num_hidden_layers: 4,
        num_attention_heads: 4,
        num_key_value_heads: 2,
        head_dim: 6,
        max_position_embeddings: 96,
        initializer_range: 0.3,
        original,
        ..Config::default()
    }
}

/// Random weights throughout: norms and scales that are 1 and biases that are 0 would hide their being left out.
fn model() -> Model {
    tch::manual_seed(3);
    let model = Model::init(shape(), Kind::Float, Device::Cpu, 5).unwrap();
    for (_, mut tensor) in model.tensors().into_iter().filter(|(_, t)| t.dim() == 1) {
        let _ = tensor.g_add_(&(tensor.randn_like() * 0.3));
    }
    model
}

fn load(dir: &Path) -> Result<Model> {
    Model::load_among(NEW, dir, Kind::Float, Device::Cpu)
}

fn logits(model: &Model, tokens: &[u32]) -> Tensor {
    let ids: Vec<i64> = tokens.iter().map(|&id| i64::from(id)).collect();
    let mut packed = Packed::new(&[ids.len()], Device::Cpu);
    let positions = packed.positions();
    tch::no_grad(|| model.logits(&model.hidden(&Tensor::from_slice(&ids), &positions, &mut packed)))
}

fn by_name(tensors: Vec<(String, Tensor)>) -> HashMap<String, Tensor> {
    tensors.into_iter().collect()
}

/// The layers written out from the tensors of a checkpoint, one head and one position at a time.
fn by_hand(model: &Model, tokens: &[u32]) -> Tensor {
    let weights = by_name(model.tensors());
    let of = |name: &str| weights[name].shallow_clone();
    let count = tokens.len() as i64;
    let norm = |x: &Tensor, w: &Tensor| x / (x.square().mean_dim(-1, true, Kind::Float) + 1e-6).sqrt() * w;
    // Positions turn the pair (i, i + 3) of a head's 6 numbers by position · 10000^(−i/3).
    let turned = |x: &Tensor| {
        let rows: Vec<Tensor> = (0..count)
            .map(|at| {
                let angles: Vec<f32> =
                    (0..3).map(|i| (at as f64 * 10_000f64.powf(-f64::from(i) / 3.0)) as f32).collect();
                let (angles, row) = (Tensor::from_slice(&angles), x.get(at));
                let (a, b) = (row.narrow(0, 0, 3), row.narrow(0, 3, 3));
                Tensor::cat(
                    &[&a * angles.cos() - &b * angles.sin(), &b * angles.cos() + &a * angles.sin()],
                    0,
                )
            })
            .collect();
        Tensor::stack(&rows, 0)
    };
    let ids: Vec<i64> = tokens.iter().map(|&id| i64::from(id)).collect();
    let embedding = of("model.embedding.weight");
    let mut x = embedding.index_select(0, &Tensor::from_slice(&ids));
    for layer in 0..4 {
        let of = |name: &str| of(&format!("model.layers.{layer}.{name}"));
        let h = norm(&x, &of("norm.weight"));
        let rise = h.matmul(&of("ff.w1.weight").tr()).relu();
        let fall = (&rise * &rise).matmul(&of("mlp.fall.weight").tr()) + of("mlp.fall.bias");
        x += fall * of("ff.scale");
        if layer % 2 == 1 {
            continue;
        }
        let [q, k, v] = ["q", "k", "v"].map(|which| h.matmul(&of(&format!("attn.{which}_proj.weight")).tr()));
        let v = v + of("attn.v_proj.bias");
        let heads: Vec<Tensor> = (0..4)
            .map(|head| {
                let q = turned(&q.narrow(1, head * 6, 6));
                let k = turned(&k.narrow(1, head / 2 * 6, 6));
                let v = v.narrow(1, head / 2 * 6, 6);
                let rows: Vec<Tensor> = (0..count)
                    .map(|at| {
                        let seen = k.narrow(0, 0, at + 1).mv(&q.get(at)) / 6f64.sqrt();
                        v.narrow(0, 0, at + 1).tr().mv(&seen.softmax(-1, Kind::Float))
                    })
                    .collect();
                Tensor::stack(&rows, 0)
            })
            .collect();
        x += Tensor::cat(&heads, 1).matmul(&of("attn.out_proj.weight").tr());
    }
    norm(&x, &of("model.norm.weight")).matmul(&embedding.tr())
}

#[test]
fn a_new_block_computes_what_it_says() {
    let (model, tokens) = (model(), [3, 1, 4, 1, 5, 9, 2, 6]);
    let expected = by_hand(&model, &tokens);
    assert!(expected.abs().max().double_value(&[]) > 1.0);
    // f32 sums in two orders.
    assert!(far(&logits(&model, &tokens), &expected) < 1e-4);
    // Embedding and last norm; 4 MLPs with norms and scales; 2 attentions.
    let mlp = 2 * 16 * 24 + 16 + 2 * 16;
    let attention = (4 + 2 + 2 + 4) * 6 * 16 + 2 * 6;
    assert_eq!(model.config.size(), 29 * 16 + 16 + 4 * mlp + 2 * attention);
    assert_eq!(model.size(), model.config.size());
    assert_eq!(model.config.attention_layers(), 2);
}

#[test]
fn a_new_family_is_saved_and_loaded_under_its_own_names() {
    let (model, dir) = (model(), tempfile::tempdir().unwrap());
    model.save(dir.path()).unwrap();
    let again = load(dir.path()).unwrap();
    let (before, after) = (by_name(model.tensors()), by_name(again.tensors()));
    assert_eq!(before.len(), after.len());
    assert!(before.iter().all(|(name, tensor)| tensor.equal(&after[name])));
    assert!(
        before.contains_key("model.layers.3.ff.w1.weight") && before.contains_key("model.embedding.weight")
    );
    assert!(!before.contains_key("model.layers.3.attn.q_proj.weight"));
    let config: Value =
        serde_json::from_str(&std::fs::read_to_string(dir.path().join("config.json")).unwrap()).unwrap();
    let expected = (json!("parallel"), json!(["ParallelForCausalLM"]), json!("relu2"), json!(2));
    let [name, class, activation, every] =
        ["model_type", "architectures", "hidden_act", "attention_every"].map(|key| config[key].clone());
    assert_eq!((name, class, activation, every), expected);
    let why = Model::load(dir.path(), Kind::Float, Device::Cpu).unwrap_err().to_string();
    let known: Vec<&str> = FAMILIES.iter().map(|family| family.model_type).collect();
    assert!(why.contains(&format!("`parallel` is not supported; known: {}", known.join(", "))), "{why}");
    // In 16 bits and back, with every tensor taken along.
    let copy = model.copy(Kind::BFloat16, Device::Cpu);
    assert!(copy.tensors().iter().all(|(name, t)| t.equal(&before[name].to_kind(Kind::BFloat16))));
    assert_eq!(copy.tensors().len(), before.len());
}

/// A row alone makes a family: its model is a Llama's with the same weights under other names.
#[test]
fn a_new_family_of_the_same_block_is_a_row() {
    let keys = json!({"model_type": "seed_oss", "vocab_size": 29, "hidden_size": 16, "intermediate_size": 24,
        "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "attention_bias": true});
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("config.json"), keys.to_string()).unwrap();
    let config = Config::read_among(NEW, dir.path()).unwrap();
    assert_eq!((config.head_dim, config.qkv_bias, config.output_bias), (128, true, false));
    let new =
        Model::init(Config { original: Default::default(), ..config.clone() }, Kind::Float, Device::Cpu, 1)
            .unwrap();
    new.save(dir.path()).unwrap();
    let new = load(dir.path()).unwrap();
    assert_eq!(new.config, Config { original: new.config.original.clone(), ..config.clone() });
    assert_eq!(new.config.original["attention_out_bias"], json!(false));

    let theirs = by_name(new.tensors());
    let llama = Config { family: Family::named("llama").unwrap(), original: Default::default(), ..config };
    let llama = Model::init(llama, Kind::Float, Device::Cpu, 2).unwrap();
    let tensors = llama.tensors();
    assert_eq!(tensors.len(), theirs.len());
    tch::no_grad(|| {
        for (name, mut tensor) in tensors {
            let name = name.replace("lm_head", "output").replace("mlp.gate_proj", "mlp.w1");
            tensor.copy_(&theirs[&name]);
        }
    });
    assert!(logits(&new, &[1, 2, 3]).equal(&logits(&llama, &[1, 2, 3])));
}

fn lora() -> Lora {
    Lora { rank: 2, alpha: 6.0, targets: ["q_proj", "w1", "fall"].map(String::from).to_vec() }
}

/// Adapters whose B is no longer zero.
fn adapted() -> Model {
    let mut model = model();
    model.add_lora(&lora(), 7).unwrap();
    for (_, mut b) in model.parameters().into_iter().filter(|(name, _)| name.contains("lora_B")) {
        tch::no_grad(|| b.copy_(&(b.randn_like() * 0.2)));
    }
    model
}

#[test]
fn adapters_find_the_linear_maps_of_a_new_block() {
    let mut plain = model();
    let why = plain.add_lora(&Lora { targets: vec!["o_proj".into()], ..lora() }, 1).unwrap_err().to_string();
    let known = "no such linear map: o_proj; known: all-linear, q_proj, k_proj, v_proj, out_proj, w1, fall";
    assert!(why.contains(known), "{why}");

    let tokens = [3, 1, 4, 1, 5, 9];
    let mut model = adapted();
    let names: Vec<String> = model.parameters().into_iter().map(|(name, _)| name).collect();
    // Four layers with two targets, two of which attend; A and B of each.
    assert_eq!(names.len(), 2 * (4 * 2 + 2));
    assert!(names.contains(&"base_model.model.model.layers.1.ff.w1.lora_A.weight".to_string()));
    let size: usize = model.parameters().iter().map(|(_, t)| t.numel()).sum();
    assert_eq!(lora().size(&model.config), size);

    let expected = logits(&model, &tokens);
    assert!(far(&expected, &logits(&plain, &tokens)) > 0.1);
    assert!(far(&expected, &logits(&model.merged(), &tokens)) < 1e-4);
    let dir = tempfile::tempdir().unwrap();
    model.save(dir.path()).unwrap();
    assert!(far(&expected, &logits(&load(dir.path()).unwrap(), &tokens)) < 1e-4);
    model.save_adapters(dir.path()).unwrap();
    plain.load_adapters(dir.path()).unwrap();
    assert!(logits(&plain, &tokens).equal(&expected));
    model.adapted = false;
    plain.adapted = false;
    assert!(logits(&model, &tokens).equal(&logits(&plain, &tokens)));

    model.adapted = true;
    model.add_inactive_adapter("judge", "writer", 9).unwrap();
    model.set_active_adapter("judge").unwrap();
    assert!(logits(&model, &tokens).equal(&logits(&plain, &tokens)), "a new adapter changes nothing");
    model.set_active_adapter("writer").unwrap();
    assert!(logits(&model, &tokens).equal(&expected));
    assert_eq!(model.parameters().len(), 2 * names.len());
}

/// Three completions of a prompt that is long enough to be laid once, and a stranger.
fn sequences() -> Vec<Sequence> {
    let prompt: Vec<u32> = (0..40).map(|i| i * 7 % 29).collect();
    let mut all: Vec<Sequence> =
        [vec![1, 2, 3], vec![1, 2, 4, 5], vec![9]].iter().map(|end| Sequence::new(&prompt, end)).collect();
    all.push(Sequence::new(&[8, 8], &[7, 6]));
    all
}

/// The gradients of Σ (i + 1) logprob_i + 0.1 · entropy² over the learned tokens of `parts`, each part scored by itself.
fn gradients(model: &Model, parts: &[Vec<Sequence>]) -> (Vec<f64>, HashMap<String, Tensor>) {
    let (mut values, mut from) = (Vec::new(), 0);
    for (_, mut parameter) in model.parameters() {
        parameter.zero_grad();
    }
    for part in parts {
        let scored = model.score(part, 0.8, Grad::Yes).unwrap();
        let count = scored.logprobs.size()[0];
        let weights = Tensor::arange_start(from + 1, from + count + 1, (Kind::Float, Device::Cpu));
        let loss = (&scored.logprobs * weights + scored.entropy.square() * 0.1).sum(Kind::Float);
        values.extend(Vec::<f64>::try_from(scored.logprobs.to_kind(Kind::Double)).unwrap());
        scored.backward(&loss).unwrap();
        from += count;
    }
    let grads = model.parameters().into_iter().map(|(name, p)| (name, p.grad().copy())).collect();
    (values, grads)
}

#[test]
fn shared_beginnings_and_recomputed_layers_change_no_gradient() {
    let mut model = model();
    model.train_all();
    let all = sequences();
    let alone: Vec<Vec<Sequence>> = all.iter().map(|sequence| vec![sequence.clone()]).collect();
    let (expected, by_parameter) = gradients(&model, &alone);
    for checkpointing in [false, true] {
        model.checkpointing = checkpointing;
        let (values, grads) = gradients(&model, std::slice::from_ref(&all));
        assert_eq!(values.len(), expected.len());
        assert!(values.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-4));
        assert_eq!(grads.len(), by_parameter.len());
        for (name, grad) in &grads {
            let largest = by_parameter[name].abs().max().double_value(&[]);
            assert!(largest > 0.0, "{name} has no gradient");
            let off = far(grad, &by_parameter[name]);
            assert!(off < 1e-3 * largest + 1e-6, "{name}: {off} of {largest}");
        }
    }
}

/// The analytic gradient against a difference quotient, of base weights and of adapters.
#[test]
fn gradients_are_difference_quotients() {
    let whole = model();
    whole.train_all();
    let value = |model: &Model| {
        let scored = model.score(&sequences(), 0.8, Grad::No).unwrap();
        let weights = Tensor::arange_start(1, scored.logprobs.size()[0] + 1, (Kind::Double, Device::Cpu));
        let sum = scored.logprobs.to_kind(Kind::Double) * weights
            + scored.entropy.to_kind(Kind::Double).square() * 0.1;
        sum.sum(Kind::Double).double_value(&[])
    };
    let layers = "model.layers";
    let of_whole =
        ["0.attn.k_proj.weight", "1.ff.w1.weight", "2.ff.scale", "3.mlp.fall.bias", "0.norm.weight"];
    let of_adapters = ["0.attn.q_proj.lora_A.weight", "3.ff.w1.lora_B.weight"];
    let of_whole = of_whole.map(|name| format!("{layers}.{name}")).to_vec();
    let of_adapters = of_adapters.map(|name| format!("base_model.model.{layers}.{name}")).to_vec();
    for (model, names) in [(whole, of_whole), (adapted(), of_adapters)] {
        let (_, grads) = gradients(&model, &[sequences()]);
        let parameters = by_name(model.parameters());
        for name in names {
            let (grad, mut tensor) = (&grads[&name], parameters[&name].shallow_clone());
            let direction = grad / grad.norm();
            let mut at = |by: f64| {
                let _ = tch::no_grad(|| tensor.g_add_(&(&direction * by)));
                value(&model)
            };
            let step = 2e-3;
            let (up, down) = (at(step), at(-2.0 * step));
            at(step);
            let (quotient, expected) = ((up - down) / (2.0 * step), grad.norm().double_value(&[]));
            assert!((quotient / expected - 1.0).abs() < 0.02, "{name}: {quotient} for {expected}");
        }
    }
}

/// Decoding behind shared prompts, with fewer slots than samples, against whole passes.
#[test]
fn a_new_block_decodes_its_own_distribution() {
    let model = adapted();
    let prompt: Vec<u32> = (0..40).map(|i| i * 7 % 29).collect();
    let request =
        |end: &[u32], seeds: &[u64]| Request { prompt: [&prompt[..], end].concat(), seeds: seeds.to_vec() };
    let requests = [
        request(&[1], &[11, 12, 13]),
        request(&[2, 3], &[21, 22]),
        Request { prompt: vec![4], seeds: vec![31] },
    ];
    let sampling = Sampling { max_new_tokens: 12, ..Sampling::default() };
    let words = |ids: &[u32]| ids.iter().map(|&id| char::from(b'a' + id as u8)).collect::<String>();
    let mut decoder = Decoder::new(&model, Stops { eos: &[], decode: Box::new(words) }, 2);
    let generated = decoder.generate(&requests, &sampling, &mut |_| {}).unwrap();
    let mut seen = 0;
    for (request, group) in requests.iter().zip(&generated.completions) {
        for completion in group {
            let all = [request.prompt.clone(), completion.tokens.clone()].concat();
            let logprobs = logits(&model, &all).log_softmax(-1, Kind::Float);
            for (index, (&token, &logprob)) in completion.tokens.iter().zip(&completion.logprobs).enumerate()
            {
                let at = [(request.prompt.len() + index) as i64 - 1, i64::from(token)];
                assert!((logprobs.double_value(&at) - f64::from(logprob)).abs() < 1e-4);
                seen += 1;
            }
        }
    }
    assert_eq!(seen, 6 * 12);
}

/// What a block does not list would be neither trained nor saved.
#[test]
fn a_block_or_blueprint_that_leaves_something_out_is_refused() {
    #[derive(Debug)]
    struct Forgetful(Parallel);
    impl Block for Forgetful {
        fn forward(&self, x: &Tensor, rows: &mut Rows<'_>) -> Tensor {
            self.0.forward(x, rows)
        }
        fn parts(&self) -> Vec<Part<'_>> {
            self.0.parts().into_iter().filter(|part| matches!(part, Part::Linear(_))).collect()
        }
        fn linears_mut(&mut self) -> Vec<&mut Linear> {
            self.0.linears_mut()
        }
    }
    static BLUEPRINT: Blueprint = Blueprint {
        linears: PARALLEL.linears,
        residual: PARALLEL.residual,
        activations: PARALLEL.activations,
        attends,
        recurs: |_, _| false,
        build: |config, _, layer, parts| Ok(Box::new(Forgetful(Parallel::new(config, layer, parts)?))),
    };
    static ROW: Family = Family { model_type: "forgetful", block: &BLUEPRINT, ..Family::PLAIN };
    let config = Config { family: &ROW, ..shape() };
    let why = Model::init(config, Kind::Float, Device::Cpu, 1).unwrap_err().to_string();
    assert!(why.contains("layer 0 of a forgetful model lists other weights than it was built of"), "{why}");

    static SHORT: Blueprint = Blueprint { linears: &["mlp.rise"], ..PARALLEL };
    static OTHER: Family = Family { model_type: "short", block: &SHORT, ..Family::PLAIN };
    let config = Config { family: &OTHER, num_hidden_layers: 2, ..shape() };
    let why = Model::init(config, Kind::Float, Device::Cpu, 1).unwrap_err().to_string();
    assert!(
        why.contains("layer 0 of a short model has a linear map attn.q_proj that its blueprint"),
        "{why}"
    );
}
