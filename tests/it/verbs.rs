//! The verbs beside `--recipe`, as their user meets them.

use crate::program::{Program, list};
use crate::recipes::Tiny;
use serde_json::Value;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Stdio;

/// A model that has learned a few steps of one-digit sums, and the folder that it lies in.
fn trained() -> Program {
    let program = Program::new(&Tiny::SUMS.recipe(SUMS));
    program.train(&["-q"]).success();
    program
}

const SUMS: &str = r#"
[run]
steps = 3
[data]
prompts_per_step = 4
template.chat = false
template.user = "{{ question }}\n"
[data.task.addition]
digits = [1]
train = 20
[policy.sampling]
max_new_tokens = 8
[policy.lora]
rank = 2
[loop.sft]
"#;

fn json_lines(text: &str) -> Vec<Value> {
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}")))
        .collect()
}

#[test]
fn a_model_is_sampled_talked_to_listed_and_exported() {
    let program = trained();
    // A run, its checkpoint and its export are one model; greedy, they say the same.
    let said = program.verb(&["export", "out", "deep/model"]).success();
    assert!(said.contains("this run put its questions as plain text, with data.template.user = "), "{said}");
    let ask = |model: &str| {
        let said =
            program.verb(&["sample", model, "--prompt", "1+2", "--temperature", "0", "--json"]).success();
        json_lines(&said)
    };
    let run = ask("out");
    assert_eq!(run[0]["prompt"], "1+2\n", "the run's template renders the question");
    assert_eq!(list(&run[0], "completion_ids").len(), list(&run[0], "logprobs").len());
    assert_eq!(run, ask("out/sft-step-000003"));
    // The folder alone says nothing of templates: the prompt is put as it stood there.
    let raw = program.verb(&[
        "sample",
        "deep/model",
        "--prompt",
        "1+2\n",
        "--raw",
        "--temperature",
        "0",
        "--max-new-tokens",
        "8",
        "--json",
    ]);
    let raw = json_lines(&raw.success());
    assert_eq!(
        (&raw[0]["prompt_ids"], &raw[0]["completion_ids"]),
        (&run[0]["prompt_ids"], &run[0]["completion_ids"])
    );
    let files = |folder: &str| -> Vec<String> {
        let entries = fs::read_dir(program.path(folder)).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
        names.sort();
        names
    };
    assert_eq!(
        files("deep/model"),
        [
            "config.json",
            "generation_config.json",
            "model.safetensors",
            "special_tokens_map.json",
            "tokenizer.json",
            "tokenizer_config.json"
        ]
    );
    // Half the bytes a weight.
    program.verb(&["export", "out", "half", "--dtype", "bf16"]).success();
    let size = |folder: &str| fs::metadata(program.path(folder).join("model.safetensors")).unwrap().len();
    assert!(size("half") < size("deep/model") * 6 / 10, "{} and {}", size("half"), size("deep/model"));
    assert!(program.verb(&["export", "out", "half"]).code(2).contains("is there already"));

    // Rows, and several completions of each, drawn from the seed.
    program.write(
        "rows.jsonl",
        "{\"id\": \"a\", \"question\": \"3+4\"}\n{\"id\": \"b\", \"question\": \"5+6\"}\n",
    );
    let rows = |seed: &str| {
        let asked = ["sample", "out", "--file", "rows.jsonl", "-n", "2", "--seed", seed, "--json"];
        json_lines(&program.verb(&asked).success())
    };
    let said = rows("1");
    let ids: Vec<&str> = said.iter().map(|line| line["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["a", "a", "b", "b"]);
    assert_eq!(said, rows("1"));
    assert_ne!(said, rows("2"));
    assert!(program.verb(&["sample", "nowhere", "--prompt", "x"]).code(2).contains("nowhere"));
    let raw = program.verb(&["sample", "out", "--prompt", "x", "--raw", "--system", "y"]).code(2);
    assert!(raw.contains("--raw") && raw.contains("--system"), "{raw}");
    assert!(
        program.verb(&["sample", "out", "--prompt", "1", "--temperature=-1"]).code(2).contains("temperature")
    );

    // A turn a line; greedy, it says what sampling said.
    let said = program.typed(&["chat", "out", "--temperature", "0"], "1+2\n\n/new\n1+2\n/quit\nnot asked\n");
    let completion = run[0]["completion"].as_str().unwrap();
    assert_eq!(said, format!("{completion}\n{completion}\n"));

    let file = program.verb(&["list", "recipe.toml"]).code(2);
    assert!(file.contains("recipe.toml: is no folder"), "{file}");
    let listed = program.verb(&["list", "."]).success();
    let row = listed.lines().find(|line| line.contains("out")).unwrap_or_else(|| panic!("{listed}"));
    assert!(
        row.contains("done") && row.contains("sft") && row.contains('3') && row.contains("loss"),
        "{listed}"
    );
}

#[test]
fn a_run_says_what_comes_next_and_talks_to_programs() {
    let program = Program::new(&Tiny::SUMS.recipe(SUMS));
    let said = program.train(&[]).success();
    for part in ["model: out/sft-step-000003", "chat out", "export out DIR"] {
        assert!(said.contains(part), "{part} is not in\n{said}");
    }
    let asked = ["--set", "data.task.addition.eval=4", "--set", "eval.at_start=false"];
    let arguments = [&["--overwrite", "--log-format", "json"], &asked[..]].concat();
    let output = program.train_with(&arguments, &[("RATIONALE_LOG", "info")]).success();
    let lines: Vec<Value> = output
        .lines()
        .filter(|line| line.starts_with('{'))
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let steps: Vec<&Value> = lines.iter().filter(|line| line["event"] == "step").collect();
    assert_eq!(steps.iter().map(|line| line["step"].as_u64().unwrap()).collect::<Vec<_>>(), [1, 2, 3]);
    assert!(
        steps[0]["loss"].is_number() && steps[0]["stage"] == "sft" && steps[0]["steps"] == 3,
        "{}",
        steps[0]
    );
    let evaluated: Vec<&Value> = lines.iter().filter(|line| line["event"] == "evaluated").collect();
    assert!(evaluated.len() == 1 && evaluated[0]["step"] == 3, "{evaluated:?}");
    assert!(evaluated[0]["eval/accuracy"].is_number() && evaluated[0]["stage"] == "sft", "{evaluated:?}");
    let texts: Vec<&str> = lines.iter().filter_map(|line| line["text"].as_str()).collect();
    for part in ["run: out", "20 rows of addition", "a checkpoint of step 3"] {
        assert!(texts.iter().any(|text| text.contains(part)), "{part} is not in {texts:?}");
    }
    let refused = program.train(&["--log-format", "json", "--set", "optim.lr=-1"]).code(2);
    let refused: Value = serde_json::from_str(refused.trim()).unwrap();
    assert!(
        refused["level"] == "error" && refused["text"].as_str().unwrap().contains("optim.lr"),
        "{refused}"
    );
    // A command line that cannot be read, too, is a line of JSON.
    for (words, part) in [
        (&["--nosuch"][..], "--nosuch"),
        (&["report", "nosuch"][..], "report"),
        (&["--log-format", "json", "--recipe", "recipe.toml"][..], "--log-format"),
        (&["recipe.toml"][..], "recipe.toml"),
    ] {
        let refused = program.verb(&[&["--log-format", "json"][..], words].concat()).code(2);
        let refused: Value = serde_json::from_str(refused.trim()).unwrap();
        assert!(
            refused["level"] == "error" && refused["text"].as_str().unwrap().contains(part),
            "{words:?}: {refused}"
        );
    }
}

#[test]
fn a_preview_shows_what_is_learned_and_what_is_left_out() {
    let recipe = Tiny::BYTES.recipe(
        "[data]\ntrain = \"rows.jsonl\"\nprompts_per_step = 1\ntemplate.chat = false\n[loop.sft]\nmax_tokens = 30\n\
         [[stage]]\nname = \"one\"\nrun.steps = 1\n[[stage]]\nname = \"two\"\nrun.steps = 1\npolicy.model = \"@one\"\n\
         loop.grpo = {}\nreward.answer = {}\ndata.template.user = \"Q: {{ question }}\"",
    );
    let program = Program::new(&recipe);
    program.write(
        "rows.jsonl",
        "{\"question\": \"1+1=\", \"rationale\": \"easy\", \"answer\": \"2\"}\n{\"question\": \"a question that is too long for it\", \"rationale\": \"x\", \"answer\": \"3\"}\n",
    );
    let said = program.verb(&["preview", "--recipe", "recipe.toml"]).success();
    for part in [
        "stage `one` (loop.sft): 2 rows of rows.jsonl",
        "1 of 2 rows is longer (prompt and completion) than loop.sft.max_tokens = 30 tokens: ",
        // 4 of the prompt; "easy", a line end, "#### 2" and the end: 12.
        "completion: 16 tokens, 12 learned",
        "1+1=⟦easy",
        "#### 2<eos>⟧",
        "stage `two` (loop.grpo): 2 rows of rows.jsonl",
        "Q: 1+1=",
        "8 completions of at most 512 tokens are sampled",
        "gold answer: 2",
    ] {
        assert!(said.contains(part), "{part} is not in\n{said}");
    }
    let tokens = program
        .verb(&["preview", "--recipe", "recipe.toml", "--stage", "one", "--rows", "1", "--tokens"])
        .success();
    assert!(tokens.contains("⟦101:\"e\"⟧") && !tokens.contains("stage `two`"), "{tokens}");
    assert!(!program.out().exists(), "nothing was run");
    let unknown = program.verb(&["preview", "--recipe", "recipe.toml", "--stage", "too"]).code(2);
    assert!(unknown.contains("did you mean `two`?"), "{unknown}");
    let broken = program.verb(&["preview", "--recipe", "recipe.toml", "--set", "loop.grpo.beta=1"]).code(2);
    assert!(broken.contains("`beta` is `kl.coefficient` here"), "{broken}");
}

#[test]
fn a_recipe_is_made_of_ones_rows_and_never_written_over() {
    let program = Program::new("");
    program.write("train.jsonl", "{\"problem\": \"1+1\", \"answer\": \"2\", \"explanation\": \"easy\"}\n");
    let init = ["init", "--data", "train.jsonl", "--out", "mine.toml", "--held-out", "train.jsonl"];
    let said = program.verb(&init).success();
    assert!(
        said.contains("sft-grpo on train.jsonl") && said.contains("train preview --recipe mine.toml"),
        "{said}"
    );
    // What is to be typed next can be.
    let said = program.verb(&["init", "--data", "train.jsonl", "--out", "it's mine.toml"]).success();
    assert!(said.contains("\n  train --recipe 'it'\\''s mine.toml' --dry-run\n"), "{said}");
    let text = fs::read_to_string(program.path("mine.toml")).unwrap();
    // Editors complete and check it.
    assert!(text.starts_with("#:schema ./schema.json\n"), "{text}");
    let schema: Value =
        serde_json::from_str(&fs::read_to_string(program.path("schema.json")).unwrap()).unwrap();
    assert!(schema["properties"]["optim"].is_object());
    let pairs = ["init", "--data", "train.jsonl", "--out", "b.toml", "--method", "dpo"];
    let lacking = program.verb(&pairs).code(2);
    assert!(lacking.contains("needs chosen and rejected, and the first row has problem"), "{lacking}");
    for part in ["columns.question = \"problem\"", "columns.rationale = \"explanation\"", "@sft", "[eval]"] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    // The rows are read by it; the model is of the hub, and not fetched by a preview.
    let seen = program
        .verb_with(&["preview", "--recipe", "mine.toml"], &[("HF_HUB_OFFLINE", "1"), ("HF_HOME", "none")]);
    let seen = seen.success();
    for part in [
        "1 row of train.jsonl",
        "user:\n       1+1\n",
        "completion:\n       easy",
        "train sample HuggingFaceTB/",
    ] {
        assert!(seen.contains(part), "{part} is not in\n{seen}");
    }
    assert!(program.verb(&init).code(2).contains("is there already"));
    assert!(
        program.verb(&["init", "--data", "no.jsonl", "--out", "b.toml"]).code(2).contains("no such file")
    );
    let unnamed = program.verb(&["init", "--data", "train.jsonl", "--out", "b.toml", "--model", ""]).code(2);
    assert!(unnamed.contains("--model") && !program.path("b.toml").exists(), "{unnamed}");
    for (flag, value) in [("--held-out", "no.jsonl"), ("--model", "./no-model")] {
        let said = program.verb(&["init", "--data", "train.jsonl", "--out", "b.toml", flag, value]).code(2);
        assert!(said.contains(value) && said.contains("no such f"), "{said}");
        assert!(!program.path("b.toml").exists());
    }
    // Rows of other data sets and programs are read by what is written.
    for (name, row, words) in [
        ("kto", r#"{"prompt": "a", "completion": "b", "label": true}"#, "loss.kind = \"kto\""),
        (
            "aqua",
            r#"{"question": "1+1?", "options": ["A)1", "B)2"], "rationale": "easy", "correct": "B"}"#,
            "columns.choices = \"options\"",
        ),
        (
            "verl",
            r#"{"prompt": [{"role": "user", "content": "1+1?"}], "reward_model": {"ground_truth": "2", "style": "rule"}}"#,
            "columns.answer = \"reward_model.ground_truth\"",
        ),
    ] {
        program.write(&format!("{name}.jsonl"), &format!("{row}\n{row}\n"));
        let out = format!("{name}.toml");
        program.verb(&["init", "--data", &format!("{name}.jsonl"), "--out", &out]).success();
        assert!(fs::read_to_string(program.path(&out)).unwrap().contains(words), "{name}");
        let offline = [("HF_HUB_OFFLINE", "1"), ("HF_HOME", "none")];
        program.verb_with(&["preview", "--recipe", &out], &offline).success();
        let said = program.verb_with(&["--recipe", &out, "--dry-run"], &[("HF_HOME", "none")]);
        assert!(said.success().contains("# Plan"), "{name}");
    }
    program.write("odd.jsonl", "{\"title\": 1}\n");
    let odd = program.verb(&["init", "--data", "odd.jsonl", "--out", "b.toml"]).code(2);
    assert!(odd.contains("title") && odd.contains("--method"), "{odd}");
}

#[test]
fn a_crate_is_written_that_finds_libtorch() {
    let program = Program::new("");
    let source = env!("CARGO_MANIFEST_DIR");
    let said = program.verb(&["init", "--crate", "my-rewards", "--source", source]).success();
    assert!(said.contains("cargo test --release"), "{said}");
    let read = |file: &str| fs::read_to_string(program.path("my-rewards").join(file)).unwrap();
    let config: toml::Table = toml::from_str(&read(".cargo/config.toml")).unwrap();
    let torch = config["env"]["LIBTORCH"]["value"].as_str().unwrap();
    assert!(Path::new(torch).join("lib/libtorch_cpu.so").exists(), "{torch}");
    let manifest: toml::Table = toml::from_str(&read("Cargo.toml")).unwrap();
    assert_eq!(manifest["package"]["name"].as_str(), Some("my-rewards"));
    assert!(
        Path::new(manifest["dependencies"]["rationale"]["path"].as_str().unwrap())
            .join("src/lib.rs")
            .exists()
    );
    // What passes between both crates is of one version.
    let ours = fs::read_to_string(Path::new(source).join("Cargo.toml")).unwrap();
    let ours: toml::Table = toml::from_str(&ours).unwrap();
    for shared in ["anyhow", "tch"] {
        assert_eq!(manifest["dependencies"][shared], ours["dependencies"][shared], "{shared}");
    }
    // Its recipe is one, but for the reward that its own program registers.
    program.write("recipe.toml", &read("recipe.toml").replace("reward.brevity", "reward.length"));
    let said = program.verb(&["preview", "--recipe", "recipe.toml"]).code(2);
    assert!(said.contains("cost") && !said.contains("things are wrong"), "{said}");
    assert!(program.verb(&["init", "--crate", "my-rewards"]).code(2).contains("is there already"));
    let elsewhere = program.verb(&["init", "--crate", "b", "--source", "my-rewards"]).code(2);
    assert!(elsewhere.contains("is not the source of rationale"), "{elsewhere}");
}

#[test]
fn the_machine_is_told_without_secrets() {
    let program = Program::new("");
    let said =
        program.verb_with(&["env"], &[("HF_TOKEN", "hf_very_secret"), ("OMP_NUM_THREADS", "1")]).success();
    for part in ["rationale", "libtorch            2.", "memory", "HF_TOKEN is set", "OMP_NUM_THREADS=1"] {
        assert!(said.contains(part), "{part} is not in\n{said}");
    }
    assert!(!said.contains("secret"), "{said}");
}

#[test]
fn shells_are_told_the_verbs() {
    let program = Program::new("");
    for shell in ["bash", "zsh", "fish"] {
        let said = program.verb(&["completions", shell]).success();
        assert!(["preview", "export", "recipe"].iter().all(|word| said.contains(word)), "{shell}");
    }
    program.verb(&["completions", "tcl"]).code(2);
}

impl Program {
    /// A file or folder beside the recipe.
    fn path(&self, name: &str) -> std::path::PathBuf {
        self.out().with_file_name(name)
    }

    /// What a verb writes to standard output, that reads `input`.
    fn typed(&self, arguments: &[&str], input: &str) -> String {
        let mut command = self.command_of(arguments);
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let mut child = piped.spawn().unwrap();
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    }
}
