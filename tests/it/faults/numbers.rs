//! Numbers that are none, or too large to count with: of rewards, weights, rates and rows. Each is named, and nothing is kept of it.

use super::{report, trials};
use crate::program::Program;
use crate::recipes::Tiny;
use rationale::checkpoint::load_tensors;
use serde_json::json;
use std::fs;
use tch::Tensor;

/// A run that cannot go well.
struct Case {
    name: String,
    recipe: String,
    rows: String,
    /// What has to be said, one of these.
    says: Vec<&'static str>,
    /// Whether weights may be asked to become something else first, so that it fails while it runs.
    late: bool,
}

const ON_ROWS: &str = "[run]\nsteps = 3\n[data]\ntrain = \"rows.jsonl\"\nprompts_per_step = 2\ntemplate.chat = false\n[checkpoint]\nevery = 1\n";

fn rows() -> String {
    (0..4)
        .map(|n| format!("{}\n", json!({"question": format!("{n}+1="), "answer": "x", "rationale": "so"})))
        .collect()
}

/// A program that says this of every completion.
fn reward(said: &str) -> Case {
    let program = format!("while read -r _; do echo '{said}'; done");
    let rest = format!(
        "{ON_ROWS}[policy.sampling]\nmax_new_tokens = 4\n[rollout.group]\nsize = 2\n[loop.grpo]\n\
         [reward.strange]\nkind = \"command\"\ncommand = [\"sh\", \"-c\", {program:?}]\n"
    );
    Case {
        name: format!("a reward of {said}"),
        recipe: Tiny::BYTES.recipe(&rest),
        rows: rows(),
        says: vec!["reward.strange", "[reward.strange]"],
        late: true,
    }
}

/// Rewards that are numbers, of which no mean or deviation is.
fn large(size: &str) -> Case {
    let program = format!(
        "n=0; while read -r _; do n=$((n + 1)); if [ $((n % 2)) = 0 ]; then echo {size}; else echo -{size}; fi; done"
    );
    let case = reward("0");
    Case {
        name: format!("rewards of ±{size}"),
        recipe: case.recipe.replace("\"while read -r _; do echo '0'; done\"", &format!("{program:?}")),
        says: vec!["reward"],
        ..case
    }
}

fn rate(key: &str, value: &str, method: &str) -> Case {
    let rest = format!("{ON_ROWS}[optim]\nmax_grad_norm = 0.0\nlr = 1e-3\n[loop.{method}]\n");
    let recipe = Tiny::BYTES.recipe(&rest);
    let recipe = match key {
        "optim.lr" => recipe.replace("lr = 1e-3", &format!("lr = {value}")),
        "optim.max_grad_norm" => recipe.replace("max_grad_norm = 0.0", &format!("max_grad_norm = {value}")),
        _ => format!("{recipe}{key} = {value}\n"),
    };
    let rows = match method {
        "dpo" => (0..4)
            .map(|n| format!("{}\n", json!({"prompt": format!("{n}"), "chosen": "yes", "rejected": "no"})))
            .collect(),
        _ => rows(),
    };
    let says = vec!["lr", "the loss is", "beta", "weight", "max_grad_norm", "grad", "temperature"];
    Case { name: format!("{key} = {value}"), recipe, rows, says, late: true }
}

fn row(name: &str, row: &str) -> Case {
    let recipe = Tiny::BYTES.recipe(&format!("{ON_ROWS}[loop.sft]\n[select]\nmin_reward = 0.5\n"));
    let rows = format!("{}{row}\n", trace("1.0").repeat(2));
    Case { name: name.to_string(), recipe, rows, says: vec!["rows.jsonl:3"], late: false }
}

fn trace(reward: &str) -> String {
    include_str!("../../fixtures/fuzz/traces.jsonl")
        .lines()
        .next()
        .unwrap()
        .replace("\"reward\":1.0", &format!("\"reward\":{reward}"))
        + "\n"
}

fn cases() -> Vec<Case> {
    let mut all: Vec<Case> =
        ["NaN", "null", "inf", "-inf", "1e309", "{\"score\": NaN}", ""].map(reward).into();
    all.extend(["1e200", "1e308"].map(large));
    all.extend(["1e38", "1e308", "nan", "inf", "-1.0"].map(|value| rate("optim.lr", value, "sft")));
    all.extend(["nan", "-1.0"].map(|value| rate("optim.max_grad_norm", value, "sft")));
    all.extend(["1e308", "nan", "inf"].map(|value| rate("loss.beta", value, "dpo")));
    for reward in ["NaN", "1e999", "-1e999", "null", "\"1\""] {
        let line = trace(reward);
        all.push(row(&format!("a trace of reward {reward}"), line.trim_end()));
    }
    all.push(row("a trace of log p null", &trace("1.0").trim_end().replace("-0.25", "null")));
    all.push(row("a trace of log p 1e999", &trace("1.0").trim_end().replace("-0.25", "1e999")));
    all.push(row("a trace of log p 1e300", &trace("1.0").trim_end().replace("-0.25", "1e300")));
    all
}

/// Each trial is one of the cases; as many trials as there are cases try all of them.
#[test]
fn what_is_no_number_is_named() {
    let cases = cases();
    let (trials, mut wrong) = (trials(3), Vec::new());
    for number in trials.clone() {
        // Steps of 7 meet all of them, and different kinds first.
        let case = &cases[number * 7 % cases.len()];
        let said = judge(case);
        wrong.extend(said.map(|said| format!("{}: {said}", case.name)));
    }
    report(&format!("numbers, {} cases", cases.len()), trials.len(), wrong);
}

fn judge(case: &Case) -> Option<String> {
    let program = Program::new(&case.recipe);
    program.write("rows.jsonl", &case.rows);
    let (code, said) = program.train(&["--quiet"]).parts();
    let wanted: &[i32] = if case.late { &[1, 2] } else { &[2] };
    if !code.is_some_and(|code| wanted.contains(&code)) {
        return Some(format!("code {code:?}: {said}"));
    }
    if said.contains("internal")
        || said.contains("Internal")
        || !case.says.iter().any(|part| said.contains(part))
    {
        return Some(format!("it says: {said}"));
    }
    let kept = fs::read_dir(program.out()).into_iter().flatten().map(|entry| entry.unwrap().path());
    let broken = kept.filter(|path| path.join("model.safetensors").is_file()).find(|path| {
        let tensors = load_tensors(path.join("model.safetensors")).unwrap();
        tensors.iter().any(|(_, tensor)| !finite(tensor))
    });
    broken.map(|path| format!("{} is kept, whose weights are none", path.display()))
}

fn finite(tensor: &Tensor) -> bool {
    tensor.isfinite().all().int64_value(&[]) == 1
}

/// A model whose weights are none is refused before anything trains, whatever is done with it.
#[test]
fn weights_that_are_no_numbers_are_refused() {
    let program = Program::new(&Tiny::BYTES.recipe(&format!("{ON_ROWS}[loop.sft]\n")));
    program.write("rows.jsonl", &rows());
    program.train(&["--quiet", "--set", "run.steps=1"]).success();
    let folder = program.checkpoint("step-000001");
    let file = folder.join("model.safetensors");
    let mut bytes = fs::read(&file).unwrap();
    let end = bytes.len();
    for (number, name) in [(f32::NAN, "NaN"), (f32::INFINITY, "infinity")] {
        bytes[end - 4..].copy_from_slice(&number.to_le_bytes());
        fs::write(&file, &bytes).unwrap();
        for method in ["sft", "grpo"] {
            let rest = format!("{ON_ROWS}[policy.sampling]\nmax_new_tokens = 4\n[loop.{method}]\n");
            let rest = if method == "grpo" { rest + "[reward.repetition]\n" } else { rest };
            let recipe = format!(
                "[policy]\nmodel = {folder:?}\ndtype = \"f32\"\n[devices]\npolicy = \"cpu\"\n{}",
                rest
            );
            let other = Program::new(&recipe);
            other.write("rows.jsonl", &rows());
            for how in ["--quiet", "--dry-run"] {
                let said = other.train(&[how]).code(2);
                assert!(
                    said.contains("model.safetensors") && said.contains("not finite"),
                    "{name}, {method}: {said}"
                );
                assert!(
                    said.contains("recipe.toml:2: ") && !other.out().exists(),
                    "{name}, {method}: {said}"
                );
            }
        }
    }
}
