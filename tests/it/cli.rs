//! The program as its user meets it: runs in temporary folders, read back from the files that they leave.

use crate::program::{Program, fatal, number};
use crate::recipes::{Tiny, on_rows, warmed_up};
use serde_json::Value;
use std::fs;

const MODEL: Tiny = Tiny { hidden_size: 16, kv_heads: 1, context: Some(64), tensorboard: true, ..Tiny::SUMS };

/// Two stages on the addition task with a model of a few thousand weights: seconds, not minutes.
fn stages() -> String {
    warmed_up(
        "[eval]\nby = \"digits\"\n",
        [4, 10],
        r#"[stage.reward.length]
max_tokens = 12
buffer = 11
[stage.loop.grpo]
kl.coefficient = 0.01
reference.every = 3
[stage.optim]
lr = 1e-3
[stage.checkpoint]
every = 5
"#,
    )
}

fn tiny() -> String {
    MODEL.recipe(&stages())
}

#[test]
fn a_run_leaves_everything_it_promises() {
    let program = Program::new(&tiny());
    program.train(&[]).success();
    let run = program.out();
    for file in ["recipe.toml", "run.json", "metrics.jsonl", "evaluations.jsonl"] {
        assert!(run.join(file).is_file(), "{file} is missing");
    }
    // By which command it was made, where, when, and how it ended; and when each of its steps.
    let of_run: Value = serde_json::from_slice(&fs::read(run.join("run.json")).unwrap()).unwrap();
    let starts = of_run["starts"].as_array().unwrap();
    assert_eq!((starts.len(), &starts[0]["state"]["is"]), (1, &Value::from("done")), "{of_run}");
    assert!(starts[0]["command"].as_str().unwrap().contains(" --recipe recipe.toml"), "{of_run}");
    assert!(!starts[0]["host"].as_str().unwrap().is_empty());
    let [begun, ended] = ["time", "end_time"].map(|name| number(&starts[0], name));
    let rl = program.steps("rl");
    assert!(rl.iter().all(|line| (begun..=ended + 1.0).contains(&number(line, "time"))), "{begun} {ended}");
    assert_eq!((program.steps("warmup").len(), rl.len()), (4, 10));
    let rl = &rl[0];
    for name in [
        "loss",
        "grad_norm",
        "learning_rate",
        "reward",
        "reward_std",
        "frac_reward_zero_std",
        "rewards/length/mean",
        "completions/mean_length",
        "completions/clipped_ratio",
        "entropy",
        "kl",
        "clip_ratio/region_mean",
        "num_tokens",
        "computed_tokens",
        "step_time",
        "sampling/decoded_tokens",
        "sampling/prefill_tokens",
        "sampling/sampling_logp_difference/mean",
    ] {
        assert!(rl[name].is_number(), "{name} is missing from {rl}");
    }
    // Sampler and trainer compute the same quantity: in f32 they may differ by rounding alone.
    assert!(number(rl, "sampling/sampling_logp_difference/max") < 1e-4);
    let mut traces = program.all_traces();
    traces.retain(|trace| trace["advantage"].is_number());
    assert_eq!(traces.len(), 10 * 4 * 4, "10 steps of 4 prompts with 4 completions");
    let trace = &traces[0];
    assert_eq!(
        trace["completion_ids"].as_array().unwrap().len(),
        trace["logprobs"].as_array().unwrap().len(),
        "one log-probability a token"
    );
    let checkpoint = run.join("rl-step-000010");
    for file in ["config.json", "model.safetensors", "tokenizer.json", "generation_config.json", "state.json"]
    {
        assert!(checkpoint.join(file).is_file(), "{file} is missing from the checkpoint");
    }
    assert!(fs::read_dir(run.join("tensorboard")).unwrap().next().is_some());
}

#[test]
fn a_killed_run_resumes_bit_for_bit() {
    // 10 steps of 16 completions with a checkpoint after 5: the 100th is one of step 7.
    let [whole, killed] = [Program::new(&tiny()), Program::new(&tiny())];
    let sets = |nth: usize| format!("stage.rl.reward.fatal={}", fatal(nth));
    whole.train(&["--set", &sets(1000)]).success();
    killed.train(&["--set", &sets(100)]).killed();
    assert!(killed.out().join("rl-step-000005").exists() && !killed.out().join("rl-step-000010").exists());
    killed.train(&["--set", &sets(100), "--resume"]).success();

    let bytes = |program: &Program| fs::read(program.out().join("rl-step-000010/model.safetensors")).unwrap();
    assert!(bytes(&whole) == bytes(&killed), "the weights differ");
    let curve = |program: &Program| -> Vec<(u64, f64, f64)> {
        program
            .steps("rl")
            .iter()
            .map(|m| (m["step"].as_u64().unwrap(), number(m, "loss"), number(m, "reward")))
            .collect()
    };
    assert_eq!(curve(&whole), curve(&killed), "each step is there once, with the same figures");
}

#[test]
fn a_run_that_resumes_with_fewer_steps_than_it_made_ends() {
    let program = Program::new(&tiny());
    program.train(&["--set", "stage.rl.checkpoint.every=2"]).success();
    program.forget("rl-step-000010");
    for steps in [8, 3] {
        program.train(&["--resume", "--set", &format!("stage.rl.run.steps={steps}")]).success();
        assert_eq!(program.steps("rl").len(), 8, "what was trained stays as it is");
        assert!(program.checkpoint("rl-step-000008").join("state.json").is_file());
    }
}

#[test]
fn micro_batches_change_nothing_but_memory() {
    let curve = |tokens: &str| -> Vec<f64> {
        let program = Program::new(&tiny());
        program.train(&["--set", &format!("optim.tokens_per_microbatch={tokens}")]).success();
        program.metrics().iter().filter_map(|m| m["grad_norm"].as_f64()).collect()
    };
    // One sequence at a time against the whole step at once.
    let (each, whole) = (curve("1"), curve("100000"));
    assert_eq!((each.len(), whole.len()), (4 + 10, 4 + 10));
    for (one, all) in each.iter().zip(whole) {
        assert!((one - all).abs() <= 1e-3 * all.abs() + 1e-6, "{one} and {all}");
    }
}

#[test]
fn a_run_directory_is_never_overwritten_by_accident() {
    let program = Program::new(&tiny());
    let quick = ["--set", "run.steps=1"];
    program.train(&quick).success();
    let refused = program.train(&quick).code(2);
    assert!(refused.contains("--resume") && refused.contains("--overwrite"), "{refused}");
    program.train(&[&quick[..], &["--overwrite"]].concat()).success();
}

#[test]
fn a_dry_run_says_everything_and_does_nothing() {
    let program = Program::new(&tiny());
    let said = program.train(&["--dry-run"]).success();
    assert!(!program.out().exists());
    for words in ["max_grad_norm", "a step samples 4 × 4 = 16 completions", "memory: about"] {
        assert!(said.contains(words), "`{words}` is missing from:\n{said}");
    }
    // What it prints is a recipe: the same plan comes out of it.
    let again = Program::new(&said);
    // What a process takes before it does anything is measured, and never the same to the byte.
    let plan = |text: &str| {
        let lines = text.split("# Plan").nth(1).unwrap().lines();
        lines.filter(|line| !line.contains(" MB")).collect::<Vec<_>>().join("\n")
    };
    assert_eq!(plan(&again.train(&["--dry-run"]).success()), plan(&said));
}

#[test]
fn mistakes_are_named_before_anything_starts() {
    let cases: [(&[&str], &[&str]); 5] = [
        (&["--set", "optim.learning_rate=1"], &["learning_rate", "lr"]),
        (&["--set", "reward.lenght.max_tokens=3"], &["lenght", "length"]),
        (&["--set", "policy.dtype=f8"], &["f8", "bf16"]),
        (&["--set", "devices.policy=cuda:77"], &["cuda:77", "cpu"]),
        (&["--set", "stage.rl.rollout.group.size=1"], &["group of one"]),
    ];
    for (arguments, words) in cases {
        let program = Program::new(&tiny());
        let said = program.train(arguments).code(2);
        for word in words {
            assert!(said.contains(word), "{arguments:?}: `{word}` is missing from: {said}");
        }
    }
}

#[test]
fn a_bad_row_is_named_by_file_and_line() {
    let rows = "{\"question\": \"1+1\", \"answer\": \"2\"}\n{\"question\": \"\", \"answer\": \"2\"}\n{oops\n";
    let program = Program::new(&on_rows("sft"));
    program.write("rows.jsonl", rows);
    let said = program.train(&[]).code(2);
    assert!(said.contains("rows.jsonl:2") && said.contains("rows.jsonl:3"), "{said}");
}

#[test]
fn collect_scores_the_rows_own_completions() {
    let rows = "{\"id\": \"a\", \"question\": \"1+1\", \"completions\": [\"1+1+0=2: 2\\n#### 2\", \"#### 3\"], \"answer\": \"2\"}\n";
    let recipe = on_rows("collect") + "[rollout.dataset]\n[reward.answer]\n";
    let program = Program::new(&recipe);
    program.write("rows.jsonl", rows);
    program.train(&[]).success();
    let traces = program.all_traces();
    assert_eq!(traces.len(), 2);
    assert_eq!(traces.iter().map(|t| number(&t["scores"], "answer")).collect::<Vec<_>>(), [1.0, 0.0]);
    let first = &traces[0];
    assert_eq!(
        (&first["example"], &first["predicted"], &first["completion"]),
        (&"a".into(), &"2".into(), &"1+1+0=2: 2\n#### 2".into())
    );
    assert_eq!(first["steps"], serde_json::json!(["1+1+0=2: 2"]));
    assert_eq!(
        first["stop"],
        serde_json::json!({"eos": first["completion_ids"].as_array().unwrap().last().unwrap()})
    );
    // 17 characters and the end of sequence.
    assert_eq!(first["logprobs"].as_array().unwrap().len(), 18);
}

#[test]
fn traces_are_a_dataset_for_the_next_stage() {
    let recipe = tiny().replace(
        "[[stage]]\nname = \"rl\"",
        "[[stage]]\nname = \"sample\"\nrun.steps = 2\n[stage.policy]\nmodel = \"@warmup\"\n[stage.rollout.group]\nsize = 2\n\
         [stage.loop.collect]\n[[stage]]\nname = \"again\"\nrun.steps = 1\n[stage.policy]\nmodel = \"@warmup\"\n\
         [stage.data]\ntrain = \"@sample\"\neval = \"@sample\"\n[stage.loop.sft]\n[[stage]]\nname = \"rl\"",
    );
    let program = Program::new(&recipe);
    program.train(&["--set", "stage.rl.run.steps=1"]).success();
    let again = program.steps("again");
    assert!(again.len() == 1 && number(&again[0], "loss") > 0.0, "{again:?}");
}

#[test]
fn a_broken_reward_command_stops_the_run_with_its_own_words() {
    let program = Program::new(&tiny());
    let command =
        "reward.judge={kind=\"command\", command=[\"sh\",\"-c\",\"echo no such judge >&2; exit 3\"]}";
    let said = program.train(&["--set", &format!("stage.rl.{command}")]).code(1);
    assert!(said.contains("no such judge") && said.contains("judge"), "{said}");
}

#[test]
fn lora_trains_little_and_saves_a_whole_model() {
    let program = Program::new(&tiny());
    program.train(&["--set", "stage.rl.policy.lora.rank=2", "--set", "stage.rl.run.steps=2"]).success();
    let read = |step: &str| fs::read(program.out().join(step).join("model.safetensors")).unwrap();
    let (before, after) = (read("warmup-step-000004"), read("rl-step-000002"));
    assert_eq!(before.len(), after.len(), "merged: the same tensors as the base");
    assert!(before != after, "the adapters changed something");
}
