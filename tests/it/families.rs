//! Every family that can be loaded decodes what it learns from, is adapted, trained, saved and gone on with
//! (`fixtures/models/make.py` made the models; `model_parity.rs` holds them to transformers).

use crate::compare::differences;
use crate::near::far;
use crate::program::{Program, number};
use crate::recipes::saved_model;
use rationale::data::Tokenizer;
use rationale::engine::{Decoder, Request, Sampler, Sampling, Stops};
use rationale::model::attention::Packed;
use rationale::model::{Config, FAMILIES, Family, Grad, Lora, Model, Rope, Sequence};
use serde_json::{Value, json};
use std::collections::HashSet;
use tch::{Device, Kind, Tensor};

/// The models of the folder, by name.
fn names() -> Vec<String> {
    let folders = std::fs::read_dir(saved_model("")).unwrap().map(|entry| entry.unwrap().path());
    let models = folders.filter(|path| path.join("config.json").is_file());
    let mut names: Vec<String> =
        models.map(|path| path.file_name().unwrap().to_string_lossy().into_owned()).collect();
    names.sort();
    assert!(names.len() >= 26);
    names
}

fn load(name: &str) -> Model {
    Model::load(&saved_model(name), Kind::Float, Device::Cpu).unwrap()
}

#[test]
fn every_family_has_a_model() {
    let there: HashSet<&str> = names().iter().map(|name| load(name).config.family.model_type).collect();
    let missing: Vec<&str> =
        FAMILIES.iter().map(|f| f.model_type).filter(|name| !there.contains(name)).collect();
    assert!(missing.is_empty(), "no tiny model of {missing:?}");
}

fn logprobs(model: &Model, tokens: &[u32]) -> Tensor {
    let ids: Vec<i64> = tokens.iter().map(|&id| i64::from(id)).collect();
    let mut packed = Packed::new(&[ids.len()], Device::Cpu);
    let positions = packed.positions();
    let mut hidden = || model.hidden(&Tensor::from_slice(&ids), &positions, &mut packed);
    tch::no_grad(|| model.logits(&hidden()).log_softmax(-1, Kind::Float))
}

/// Decoding behind shared prompts, with fewer slots than samples and prompts that go on from what was kept, against whole passes. Windows of
/// 8 tokens end within what is shared, within a prompt's own end and within what is sampled.
#[test]
fn decoding_is_the_forward_pass() {
    let shared: Vec<u32> = (0..36).map(|i| 3 + i * 7 % 61).collect();
    let request = |prompt: &[u32], seeds: &[u64]| Request { prompt: prompt.to_vec(), seeds: seeds.to_vec() };
    let sampling = Sampling { max_new_tokens: 12, ..Sampling::default() };
    for name in names() {
        for lora in [false, true] {
            let mut model = load(&name);
            if lora {
                adapt(&mut model);
            }
            let requests = [
                request(&[&shared[..], &[5]].concat(), &[11, 12, 13]),
                request(&[&shared[..], &[6, 7]].concat(), &[21, 22]),
                request(&[4], &[31]),
                request(&shared[..9], &[41]),
            ];
            let mut decoder = Decoder::new(&model, Stops::at(&[]), 2);
            decoder.keep_cache(true);
            let first = decoder.generate(&requests, &sampling, &mut |_| {}).unwrap().completions;
            // Two of them go on.
            let longer: Vec<Request> = [(0, 1), (1, 0)]
                .iter()
                .map(|&(at, sample)| {
                    let grown = [&requests[at].prompt[..], &first[at][sample].tokens].concat();
                    request(&grown, &[51, 52])
                })
                .collect();
            let second = decoder.generate(&longer, &sampling, &mut |_| {}).unwrap().completions;
            let mut seen = 0;
            for (request, group) in requests.iter().zip(&first).chain(longer.iter().zip(&second)) {
                for completion in group {
                    let all = [&request.prompt[..], &completion.tokens].concat();
                    let expected = logprobs(&model, &all);
                    for (index, &logprob) in completion.logprobs.iter().enumerate() {
                        let at = (request.prompt.len() + index) as i64;
                        let known = expected.double_value(&[at - 1, i64::from(all[at as usize])]);
                        assert!((known - f64::from(logprob)).abs() < 1e-4, "{name}: {known} {logprob}");
                        seen += 1;
                    }
                }
            }
            assert_eq!(seen, (7 + 4) * 12, "{name}");
        }
    }
}

/// Adapters of all linear maps, whose B is no longer zero.
fn adapt(model: &mut Model) {
    tch::manual_seed(4);
    model.add_lora(&Lora { rank: 2, alpha: 4.0, ..Lora::default() }, 1).unwrap();
    for (_, mut tensor) in model.parameters() {
        let _ = tch::no_grad(|| tensor.g_add_(&(tensor.randn_like() * 0.1)));
    }
}

#[test]
fn adapters_of_every_family_merge_and_are_kept() {
    let tokens: Vec<u32> = (0..30).map(|i| 3 + i * 11 % 61).collect();
    for name in names() {
        let mut model = load(&name);
        let plain = logprobs(&model, &tokens);
        adapt(&mut model);
        let expected = logprobs(&model, &tokens);
        let off = |other: &Tensor| far(other, &expected);
        assert!(off(&plain) > 0.01, "{name}: adapters matter");
        let dir = tempfile::tempdir().unwrap();
        let [merged, adapters] = ["merged", "adapters"].map(|folder| dir.path().join(folder));
        model.save(&merged).unwrap();
        let merged = Model::load(&merged, Kind::Float, Device::Cpu).unwrap();
        assert!(off(&logprobs(&merged, &tokens)) < 1e-4, "{name}");
        model.save_adapters(&adapters).unwrap();
        let mut again = load(&name);
        again.load_adapters(&adapters).unwrap();
        assert_eq!(off(&logprobs(&again, &tokens)), 0.0, "{name}");
        let copy = model.copy(Kind::Float, Device::Cpu);
        assert!(off(&logprobs(&copy, &tokens)) < 1e-4 && copy.adapters().is_empty(), "{name}");
        let size: usize = model.parameters().iter().map(|(_, t)| t.numel()).sum();
        assert_eq!(model.lora.as_ref().unwrap().size(&model.config), size, "{name}");
    }
}

/// Of 40 tokens each passes through 3 of 5 experts of the second layer, the first is dense; what was counted is not counted again.
#[test]
fn the_load_of_experts_is_counted() {
    let model = load("qwen3_moe");
    let tokens: Vec<u32> = (0..41).map(|i| 3 + i * 7 % 61).collect();
    let sequence = Sequence::new(&tokens[..1], &tokens[1..]);
    let _ = model.score(&[sequence], 1.0, Grad::No).unwrap();
    let loads = model.expert_loads();
    assert_eq!(loads.len(), 1);
    let counts = Vec::<f64>::try_from(loads[0].to_kind(Kind::Double)).unwrap();
    assert_eq!((counts.len(), counts.iter().sum::<f64>()), (5, 40.0 * 3.0));
    assert_eq!(model.expert_loads()[0].max().double_value(&[]), 0.0);
    assert!(load("llama").expert_loads().is_empty());
}

fn refusal(changes: Value) -> String {
    let mut map = json!({"vocab_size": 64, "hidden_size": 32, "intermediate_size": 24, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2});
    map.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("config.json"), map.to_string()).unwrap();
    Config::read(dir.path()).unwrap_err().to_string()
}

#[test]
fn what_cannot_be_loaded_is_named_with_what_can() {
    for (changes, words) in [
        (json!({"model_type": "gemma3n"}), "the nearest that is: gemma3_text (Gemma 3)"),
        (json!({"model_type": "gemma3"}), "text_config is missing"),
        (
            json!({"model_type": "mistral3", "text_config": {"model_type": "ministral3"}}),
            "\"ministral3\" is not supported within mistral3",
        ),
        (json!({"model_type": "qwen2_moe"}), "the nearest that is: qwen3_moe"),
        (json!({"model_type": "olmoo3"}), "`olmoo3` is not supported; did you mean `olmo3`? known: llama"),
        (json!({"model_type": "mamba"}), "`mamba` is not supported; known: llama"),
        (json!({"model_type": "gemma3_text", "use_bidirectional_attention": true}), "only causal attention"),
        (
            json!({"model_type": "gemma2", "layer_types": ["linear_attention"]}),
            "layer_types: `linear_attention` is not",
        ),
        (
            json!({"model_type": "gemma2", "query_pre_attn_scalar": 0}),
            "query_pre_attn_scalar: a positive number",
        ),
        (
            json!({"model_type": "smollm3", "no_rope_layers": [1]}),
            "no_rope_layers: it is shorter than the layers",
        ),
        (
            json!({"model_type": "phi3", "partial_rotary_factor": 0.1}),
            "0.1 of a head of 8 numbers is no even number",
        ),
        (
            json!({"model_type": "phi3", "rope_scaling": {"type": "longrope", "short_factor": [1.0], "long_factor": [1.0]}}),
            "short_factor: 1 numbers, and 4 are turned",
        ),
        (json!({"model_type": "qwen3_5"}), "text_config is missing"),
        (
            json!({"model_type": "qwen3_5_text", "linear_num_key_heads": 3, "linear_num_value_heads": 4}),
            "linear_num_value_heads = 4 is not a multiple of linear_num_key_heads = 3",
        ),
        (
            json!({"model_type": "qwen3_5_text", "layer_types": ["linear_attention"]}),
            "layer_types: it is shorter than the layers",
        ),
        (
            json!({"model_type": "qwen3_5_text", "layer_types": ["sliding_attention", "full_attention"]}),
            "`sliding_attention` is not supported; known: full_attention, linear_attention",
        ),
        (json!({"model_type": "qwen3_5_text", "attn_output_gate": false}), "attention without a gate"),
        (json!({"model_type": "qwen3_next", "linear_conv_kernel_dim": 0}), "linear_conv_kernel_dim = 0"),
        (
            json!({"model_type": "qwen3_next", "shared_expert_intermediate_size": 0}),
            "shared_expert_intermediate_size = 0",
        ),
        (json!({"model_type": "granite", "logits_scaling": "x"}), "logits_scaling: invalid type"),
        (json!({"model_type": "mixtral", "num_experts_per_tok": 9}), "num_experts_per_tok = 9 of 8 experts"),
        (json!({"model_type": "mistral", "sliding_window": 0}), "sliding_window = 0"),
    ] {
        let why = refusal(changes);
        assert!(why.contains(words), "{why}");
    }
}

/// docs/families.md: the long factors throughout.
#[test]
fn long_factors_can_be_made_the_only_ones() {
    let (short, long) = ([1.0; 4], [2.0, 3.0, 4.0, 5.0]);
    let read = |short: [f64; 4], more: Value| {
        let mut table = json!({"type": "longrope", "short_factor": short, "long_factor": long});
        let mut map = json!({"model_type": "phi3", "vocab_size": 64, "hidden_size": 32, "intermediate_size": 24,
            "num_hidden_layers": 1, "num_attention_heads": 4, "max_position_embeddings": 131_072});
        for (key, value) in more.as_object().unwrap() {
            let place = if key == "attention_factor" { &mut table } else { &mut map };
            place[key] = value.clone();
        }
        map["rope_scaling"] = table;
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("config.json"), map.to_string()).unwrap();
        Config::read(dir.path()).unwrap()
    };
    let before = read(short, json!({"original_max_position_embeddings": 4096}));
    let factor = (1.0 + 32f64.ln() / 4096f64.ln()).sqrt();
    let after = read(long, json!({"original_max_position_embeddings": 131_072, "attention_factor": factor}));
    assert_eq!((before.context(), after.context()), (4096, 131_072));
    let turned = |config: &Config| {
        let positions = Tensor::from_slice(&[0i64, 7]);
        let rotation = Rope::new(&config.form().unwrap().ropes, Device::Cpu).at(&positions, Kind::Float);
        rotation.apply(0, &Tensor::ones([2, 1, 8], (Kind::Float, Device::Cpu)))
    };
    let numbers = |t: Tensor| Vec::<f64>::try_from(t.to_kind(Kind::Double).reshape([-1])).unwrap();
    let (before, after) = (numbers(turned(&before)), numbers(turned(&after)));
    // At position 0 both are the factor alone; at 7 pair i turns by 7 · 10000^(−i / 4) over its long factor.
    assert!((before[0] - factor).abs() < 1e-6 && (after[0] - factor).abs() < 1e-6);
    for i in 0..4 {
        let angle = 7.0 * 10_000f64.powf(-(i as f64) / 4.0) / long[i];
        assert!((after[8 + i] - factor * (angle.cos() - angle.sin())).abs() < 1e-5);
    }
}

/// What the hub's Gemma 3 of 4B says of its language model, and what it leaves to transformers' defaults.
#[test]
fn a_language_model_beside_others_is_loaded_alone() {
    let text = json!({"hidden_size": 2560, "intermediate_size": 10240, "model_type": "gemma3_text",
        "num_hidden_layers": 34, "rope_scaling": {"factor": 8.0, "rope_type": "linear"}, "sliding_window": 1024});
    let map = json!({"architectures": ["Gemma3ForConditionalGeneration"], "model_type": "gemma3", "text_config": text,
        "eos_token_id": [1, 106], "torch_dtype": "bfloat16", "vision_config": {}});
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("config.json"), map.to_string()).unwrap();
    let config = Config::read(dir.path()).unwrap();
    assert_eq!(config.family.model_type, "gemma3_text");
    // "3 880 263 168 weights" of google/gemma-3-4b-pt are the language model's.
    assert_eq!(config.size(), 3_880_263_168);
    let saved = config.to_json(Kind::BFloat16);
    assert_eq!(saved["architectures"], json!(["Gemma3ForCausalLM"]));
    assert_eq!((&saved["eos_token_id"], &saved["vocab_size"]), (&json!([1, 106]), &json!(262_208)));
    let form = config.form().unwrap();
    assert_eq!(form.layers.iter().filter(|layer| !layer.slides).count(), 5);

    let model = load("gemma3_images");
    assert!(model.tensors().iter().all(|(name, _)| name.starts_with("model.") && !name.contains("vision")));
}

/// Gates stand above what they gate.
#[test]
fn experts_in_one_tensor_are_read_one_by_one() {
    let (model, dir) = (load("qwen3_5_moe"), tempfile::tempdir().unwrap());
    model.save(dir.path()).unwrap();
    let file = dir.path().join("model.safetensors");
    let mut tensors = Tensor::read_safetensors(&file).unwrap();
    tensors.retain(|(name, _)| !name.contains(".experts."));
    let own = model.tensors();
    let stack = |layer: usize, name: &str| {
        let name = format!("model.layers.{layer}.mlp.experts.*.{name}_proj.weight");
        own.iter().find(|(known, _)| *known == name).unwrap().1.shallow_clone()
    };
    for layer in 0..2 {
        let both = Tensor::cat(&[stack(layer, "gate"), stack(layer, "up")], 1);
        for (name, tensor) in [("gate_up_proj", both), ("down_proj", stack(layer, "down"))] {
            tensors.push((format!("model.layers.{layer}.mlp.experts.{name}"), tensor));
        }
    }
    Tensor::write_safetensors(&tensors, &file).unwrap();
    let again = Model::load(dir.path(), Kind::Float, Device::Cpu).unwrap();
    assert!(again.tensors().iter().zip(&own).all(|((a, x), (b, y))| a == b && x.equal(y)));
}

/// What predicts further tokens at once has no place in the model that is trained, and its recurrence none for gaps.
#[test]
fn a_hybrid_is_told_from_what_stands_beside_it() {
    let (model, dir) = (load("qwen3_5"), tempfile::tempdir().unwrap());
    model.save(dir.path()).unwrap();
    let file = dir.path().join("model.safetensors");
    let mut tensors = Tensor::read_safetensors(&file).unwrap();
    tensors.push(("mtp.fc.weight".into(), Tensor::ones([4, 4], (Kind::Float, Device::Cpu))));
    Tensor::write_safetensors(&tensors, &file).unwrap();
    let again = Model::load(dir.path(), Kind::Float, Device::Cpu).unwrap();
    assert!(again.tensors().iter().zip(model.tensors()).all(|((a, x), (b, y))| *a == b && x.equal(&y)));
    assert_eq!((model.config.attention_layers(), model.config.recurrent_layers()), (1, 1));
    let gap = Sequence::new(&[3, 4, 5, 6], &[7, 8]).without(|place| place == 1);
    let why = model.score(&[gap], 1.0, Grad::No).unwrap_err().to_string();
    assert!(why.contains("recurrent layers go over what is there"), "{why}");
}

/// What the hub's older files say is what transformers 5 writes of them.
#[test]
fn older_files_mean_the_same() {
    let read = |changes: Value| {
        let mut map: Value =
            serde_json::from_str(&std::fs::read_to_string(saved_model("gemma3/config.json")).unwrap())
                .unwrap();
        let keys = map.as_object_mut().unwrap();
        keys.retain(|key, _| {
            !["rope_parameters", "layer_types", "_sliding_window_pattern"].contains(&key.as_str())
        });
        keys.extend(changes.as_object().unwrap().clone());
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("config.json"), map.to_string()).unwrap();
        Config::read(dir.path()).unwrap().form().unwrap()
    };
    let new = load("gemma3").config.form().unwrap();
    let old = read(json!({"rope_theta": 1e6, "rope_local_base_freq": 100.0, "sliding_window_pattern": 2,
        "rope_scaling": {"rope_type": "linear", "factor": 8.0}}));
    assert_eq!(old, new);
    // Six layers, of which the last alone sees everything, and the defaults of both bases.
    let plain = read(json!({"num_hidden_layers": 7}));
    let slides: Vec<bool> = plain.layers.iter().map(|layer| layer.slides).collect();
    assert_eq!(slides, [true, true, true, true, true, false, true]);
    assert_eq!(plain.ropes.iter().map(|rope| rope.theta).collect::<Vec<_>>(), [1e6, 1e4]);
}

/// gpt-oss's own files: bytes of two numbers, an exponent for 32 of them, a row for each output.
#[test]
fn experts_in_mxfp4_are_read_as_what_they_mean() {
    let family = Family::named("gpt_oss").unwrap();
    let original = json!({"num_local_experts": 3, "num_experts_per_tok": 2}).as_object().unwrap().clone();
    let config = Config {
        family,
        original,
        hidden_size: 64,
        intermediate_size: 32,
        num_hidden_layers: 1,
        ..Config::default()
    };
    let dir = tempfile::tempdir().unwrap();
    Model::init(config, Kind::Float, Device::Cpu, 1).unwrap().save(dir.path()).unwrap();
    let (file, keys) = (dir.path().join("model.safetensors"), dir.path().join("config.json"));
    let mut tensors = Tensor::read_safetensors(&file).unwrap();
    let mut packed = Vec::new();
    tch::manual_seed(5);
    tensors.retain(|(name, tensor)| {
        let experts = name.ends_with("experts.gate_up_proj") || name.ends_with("experts.down_proj");
        if experts {
            let (input, out) = (tensor.size()[1], tensor.size()[2]);
            let random = |size: &[i64], most: i64| Tensor::randint(most, size, (Kind::Int64, Device::Cpu));
            let blocks = random(&[3, out, input / 32, 16], 256).to_kind(Kind::Uint8);
            let scales = (random(&[3, out, input / 32], 9) + 120).to_kind(Kind::Uint8);
            packed.push((name.clone(), blocks, scales));
        }
        !experts
    });
    assert_eq!(packed.len(), 2);
    for (name, blocks, scales) in &packed {
        tensors.push((format!("{name}_blocks"), blocks.shallow_clone()));
        tensors.push((format!("{name}_scales"), scales.shallow_clone()));
    }
    Tensor::write_safetensors(&tensors, &file).unwrap();
    let mut map: Value = serde_json::from_str(&std::fs::read_to_string(&keys).unwrap()).unwrap();
    map["quantization_config"] = json!({"quant_method": "mxfp4", "modules_to_not_convert": []});
    std::fs::write(&keys, map.to_string()).unwrap();

    let model = Model::load(dir.path(), Kind::Float, Device::Cpu).unwrap();
    let loaded = model.tensors();
    for (name, blocks, scales) in &packed {
        let ours = &loaded.iter().find(|(known, _)| known == name).unwrap().1;
        let [experts, out, groups, _] = blocks.size()[..] else { panic!("four dimensions") };
        for (expert, row, group, place) in (0..experts).flat_map(|e| {
            (0..out).flat_map(move |r| (0..groups).flat_map(move |g| (0..32).map(move |p| (e, r, g, p))))
        }) {
            let byte = blocks.int64_value(&[expert, row, group, place / 2]);
            let code = if place % 2 == 0 { byte & 15 } else { byte >> 4 };
            // A sign, two bits of exponent, one of mantissa; without an exponent the mantissa is a half.
            let (sign, exponent, mantissa) =
                (1.0 - (code >> 3) as f64 * 2.0, code >> 1 & 3, (code & 1) as f64 / 2.0);
            let number =
                if exponent == 0 { mantissa } else { (1.0 + mantissa) * 2f64.powi(exponent as i32 - 1) };
            let power = 2f64.powi(scales.int64_value(&[expert, row, group]) as i32 - 127);
            assert_eq!(ours.double_value(&[expert, group * 32 + place, row]), sign * number * power);
        }
    }
    // It is saved as what was read.
    let again = tempfile::tempdir().unwrap();
    model.save(again.path()).unwrap();
    let same = Model::load(again.path(), Kind::Float, Device::Cpu).unwrap();
    assert!(same.tensors().iter().zip(&loaded).all(|((a, x), (b, y))| a == b && x.equal(y)));
    assert!(
        !std::fs::read_to_string(again.path().join("config.json")).unwrap().contains("quantization_config")
    );
}

const ALPHABET: &str = "0123456789+=:# \nabcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRST";

/// A step of supervised and two of reinforcement learning, and an evaluation.
const STAGES: &str = r#"
[policy]
model = "model"
dtype = "f32"
[devices]
policy = "cpu"
threads = 1
[data]
prompts_per_step = 2
template.chat = false
template.user = "{{ question }}\n"
[data.task.addition]
digits = [1]
train = 8
eval = 2
[policy.sampling]
max_new_tokens = 10
[optim]
lr = 1e-3
[eval]
at_start = false
[[stage]]
name = "sft"
run.steps = 1
[stage.loop.sft]
[[stage]]
name = "rl"
run.steps = 2
checkpoint.every = 1
policy.model = "@sft"
[stage.rollout.group]
size = 3
[stage.reward.length]
max_tokens = 10
buffer = 9
[stage.loop.grpo]
"#;

/// A run on a tiny model of a family: its folder with a tokenizer of as many tokens as it has.
fn run_of(name: &str, more: &str) -> Program {
    let program = Program::new(&format!("{STAGES}{more}"));
    let model = program.out().parent().unwrap().join("model");
    load(name).save(&model).unwrap();
    let tokenizer = Tokenizer::characters(ALPHABET).unwrap();
    assert_eq!(tokenizer.vocab_size(), 64);
    tokenizer.save(&model).unwrap();
    program
}

#[test]
fn every_family_trains_and_goes_on_where_it_was_cut_off() {
    for family in FAMILIES {
        let all = names();
        let of = |name: &&String| load(name).config.family == family;
        let name = all.iter().rfind(of).unwrap();
        let [whole, cut] = [(), ()].map(|()| run_of(name, ""));
        whole.train(&["--quiet"]).success();
        cut.train(&["--quiet"]).success();
        // As if it had been killed after the first step of two.
        cut.forget("rl-step-000002");
        cut.train(&["--quiet", "--resume"]).success();
        assert_eq!(differences(&whole.out(), &cut.out()), Vec::<String>::new(), "{name}");
        let steps = whole.steps("rl");
        assert!(steps.iter().all(|step| number(step, "loss").is_finite()), "{name}");
        let difference = number(&steps[0], "sampling/sampling_logp_difference/max");
        assert!(difference < 1e-4, "{name}: sampler and trainer differ by {difference}");
        // No expert has more than all of its layer's tokens, each of which has one expert at most once.
        if let Some(experts) = load(name).form.experts {
            let most = experts.count as f64 / experts.per_token as f64;
            assert!((1.0..=most).contains(&number(&steps[0], "experts/load_max")), "{name}: {:?}", steps[0]);
            assert!((0.0..1.0).contains(&number(&steps[0], "experts/idle")), "{name}");
        }
        // What was saved is of the family, and other weights than those it began with.
        let saved = Model::load(&whole.out().join("rl-step-000002"), Kind::Float, Device::Cpu).unwrap();
        assert_eq!(saved.config.family, Family::named(family.model_type).unwrap());
        let before = load(name).tensors();
        assert!(
            saved.tensors().iter().zip(&before).all(|((a, new), (b, old))| a == b && !new.equal(old)),
            "{name}"
        );
    }
}
