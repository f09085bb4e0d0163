//! The seams from outside the crate: a method, a source and a reward that `examples/extending` registers through the public API
//! alone, named by recipes as the built-in ones are.

use crate::program::{Program, fatal, list, number, rows};
use crate::recipes::Tiny;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fs;

const MODEL: Tiny = Tiny { layers: 1, kv_heads: 1, context: Some(64), ..Tiny::SUMS };

/// Four questions of three to five tokens, two a step; a completion may have three tokens or six.
const RECIPE: &str = r#"
[run]
steps = 8
[data]
train = "rows.jsonl"
prompts_per_step = 2
template.chat = false
[policy.sampling]
max_new_tokens = 12
[optim]
lr = 3e-2
[checkpoint]
every = 4
[rollout.tempered]
[reward.budget]
[loop.awr]
"#;

fn program(sets: &[(&str, &str)]) -> Program {
    let recipe = sets.iter().fold(MODEL.recipe(RECIPE), |recipe, (from, to)| {
        assert!(recipe.contains(from), "{from}");
        recipe.replace(from, to)
    });
    let program = Program::of_example("extending", &recipe);
    let row = |(sum, budget): (&str, usize)| json!({"question": sum, "answer": "0", "budget": budget});
    program.write("rows.jsonl", &rows(&[("1+2=", 3), ("3+4=", 6), ("5+6=", 3), ("7+8=", 6)].map(row)));
    program
}

/// The traces of each step, in order.
fn by_step(program: &Program) -> Vec<Vec<Value>> {
    let mut steps: BTreeMap<u64, Vec<Value>> = BTreeMap::new();
    for trace in program.all_traces() {
        steps.entry(trace["step"].as_u64().unwrap()).or_default().push(trace);
    }
    steps.into_values().collect()
}

fn tokens(trace: &Value) -> &[Value] {
    list(trace, "completion_ids")
}

#[test]
fn a_recipe_runs_a_method_a_source_and_a_reward_from_outside() {
    let program = program(&[
        ("[rollout.tempered]", "[rollout.tempered]\ntemperatures = [1.0, 1.0]"),
        ("[reward.budget]", "[reward.budget]\nslope = 2.0\nweight = 0.5"),
        ("[loop.awr]", "[loop.awr]\nbeta = 0.5\ncap = 1.5\ndecay = 0.75"),
    ]);
    program.train(&["-q"]).success();
    let (metrics, steps) = (program.metrics(), by_step(&program));
    assert_eq!((metrics.len(), steps.len()), (8, 8));
    let mut baseline = None;
    for (line, traces) in metrics.iter().zip(&steps) {
        assert_eq!(traces.len(), 4, "two prompts at two temperatures");
        // The reward: half of twice the tokens over the budget, by the budget.
        for trace in traces {
            let (n, budget) = (tokens(trace).len() as f64, number(trace, "budget"));
            assert_eq!(number(trace, "reward"), 0.5 * (2.0 * ((budget - n) / budget).min(0.0)));
        }
        // The method's state: b = 0.75 b + 0.25 · the mean reward of the step, from the first one's mean.
        let mean = traces.iter().map(|trace| number(trace, "reward")).sum::<f64>() / 4.0;
        let before = baseline.unwrap_or(mean);
        let now = 0.75 * before + 0.25 * mean;
        assert!((number(line, "awr/baseline") - now).abs() < 1e-12);
        assert!((number(line, "reward") - mean).abs() < 1e-12);
        baseline = Some(now);
        // The loss: what is learned is what was sampled, with the weights that sampled it, so that −Σ w log p / Σ tokens is known from
        // the log-probabilities of the sampling.
        let (mut sum, mut count) = (0.0, 0.0);
        for trace in traces {
            let advantage = number(trace, "reward") - now;
            assert!((number(trace, "advantage") - advantage).abs() < 1e-12);
            let logprobs: f64 = list(trace, "logprobs").iter().map(|p| p.as_f64().unwrap()).sum();
            sum -= (advantage / 0.5).exp().min(1.5) * logprobs;
            count += tokens(trace).len() as f64;
        }
        assert!(
            (number(line, "loss") - sum / count).abs() < 1e-4,
            "{} and {}",
            number(line, "loss"),
            sum / count
        );
    }
}

/// The seeds are those of `[rollout.group]`, so that a draw at a temperature is the same draw of a group at that temperature.
#[test]
fn a_source_from_outside_samples_as_its_section_says() {
    let first = |sets: &[(&str, &str)]| {
        let program = program(&[&[("steps = 8", "steps = 1")], sets].concat());
        program.train(&["-q"]).success();
        let traces = program.all_traces();
        traces.iter().map(|trace| tokens(trace).to_vec()).collect::<Vec<_>>()
    };
    let own = first(&[("[rollout.tempered]", "[rollout.tempered]\ntemperatures = [1.0, 0.0, 1.2]")]);
    let group = |temperature: &str| {
        let sampling = format!("max_new_tokens = 12\ntemperature = {temperature}");
        first(&[("[rollout.tempered]", "[rollout.group]\nsize = 3"), ("max_new_tokens = 12", &sampling)])
    };
    let groups = ["1.0", "0.0", "1.2"].map(group);
    assert_eq!(own.len(), 6);
    for (at, completion) in own.iter().enumerate() {
        assert_eq!(*completion, groups[at % 3][at], "completion {at}");
    }
    assert!(own[0] != own[1] && own[1] != own[2], "temperatures tell them apart");
}

/// Completions over their budget weigh less, so that the policy learns to write short ones.
#[test]
fn it_trains() {
    let program = program(&[("steps = 8", "steps = 30"), ("[loop.awr]", "[loop.awr]\nbeta = 0.25")]);
    program.train(&["-q"]).success();
    let lengths: Vec<f64> =
        program.metrics().iter().map(|line| number(line, "completions/mean_length")).collect();
    let mean = |lengths: &[f64]| lengths.iter().sum::<f64>() / lengths.len() as f64;
    let (before, after) = (mean(&lengths[..5]), mean(&lengths[25..]));
    assert!(after < before / 2.0, "{before} and then {after} tokens");
}

#[test]
fn a_dry_run_writes_out_its_keys_with_their_defaults() {
    let said = program(&[("[loop.awr]", "[loop.awr]\nbeta = 0.5")]).train(&["--dry-run"]).success();
    for section in [
        "[loop.awr]\nbeta = 0.5\ncap = 20.0\ndecay = 0.9\n",
        "[rollout.tempered]\ntemperatures = [0.6, 0.8, 1.0, 1.2]\n",
        "[reward.budget]\n",
        "loop.awr, 8 steps of 2 prompts\n",
        "a step samples 2 × 4 = 8 completions of at most 12 tokens: 96 tokens\n",
    ] {
        assert!(said.contains(section), "{section} is not in\n{said}");
    }
}

#[test]
fn its_mistakes_are_told_with_file_line_and_key() {
    let said = |sets: &[(&str, &str)]| program(sets).train(&["-q"]).code(2);
    let line = |of: &str| MODEL.recipe(RECIPE).lines().position(|line| line == of).unwrap() + 2;
    // Keys that it does not have, of all three at once, with those that it has.
    let unknown = said(&[
        ("[loop.awr]", "[loop.awr]\nbetta = 1.0"),
        ("[rollout.tempered]", "[rollout.tempered]\ntemperature = 1.0"),
        ("[reward.budget]", "[reward.budget]\ncolum = \"x\""),
    ]);
    let [rollout, reward, method] = [("[rollout.tempered]", 0), ("[reward.budget]", 1), ("[loop.awr]", 2)]
        .map(|(of, before)| format!("recipe.toml:{}: ", line(of) + before));
    for part in [
        "3 things are wrong",
        &format!(
            "{rollout}[rollout.tempered] unknown key `temperature`; did you mean `temperatures`? known: temperatures"
        ),
        &format!(
            "{reward}reward.budget.colum = \"x\": unknown key `colum`; did you mean `column`? known: column, slope, weight, kind, limit_s, device"
        ),
        &format!("{method}[loop.awr] unknown key `betta`; did you mean `beta`? known: beta, cap, decay"),
    ] {
        assert!(unknown.contains(part), "{part} is not in\n{unknown}");
    }
    // Values that cannot be used, of all three.
    let misfits = said(&[
        ("[loop.awr]", "[loop.awr]\ndecay = 1.0"),
        ("[rollout.tempered]", "[rollout.tempered]\ntemperatures = []"),
        ("[reward.budget]", "[reward.budget]\nslope = 0.0"),
    ]);
    for part in [
        &format!("{method}loop.awr.decay = 1.0: it must be at least 0 and below 1"),
        &format!("{rollout}rollout.tempered.temperatures = []: at least one is needed, each from 0 to 10"),
        &format!("{reward}reward.budget.slope = 0.0: it must be above 0"),
    ] {
        assert!(misfits.contains(part), "{part} is not in\n{misfits}");
    }
    // What does not go together: a source that it cannot learn from, and a method that cannot learn from its source.
    let fits = said(&[("[rollout.tempered]", "[rollout.dataset]")]);
    assert!(
        fits.contains("loop.awr: it learns from fresh completions, not the rows' own; use loop.sft"),
        "{fits}"
    );
    let own = said(&[("[loop.awr]", "[loop.grpo]")]);
    assert!(own.contains("loop.grpo: it learns from the policy's own samples"), "{own}");
    // What its reward needs of a row is looked at before anything trains.
    let lacks = said(&[("[reward.budget]", "[reward.budget]\ncolumn = \"room\"")]);
    let needs = "[reward.budget] needs a whole number above 0 in column `room` and 4 of 4 rows have none";
    assert!(lacks.contains(needs), "{lacks}");
    // A name that nobody registered: the own ones are among those that are known.
    let unknown = said(&[("[loop.awr]", "[loop.awt]")]);
    assert!(unknown.contains("[loop.awt] no such loop; did you mean `awr`? known: sft, "), "{unknown}");
}

#[test]
fn a_killed_run_of_it_comes_to_the_same_bits() {
    // 8 steps of 8 completions with a checkpoint after 4: the 45th is one of step 6.
    let [whole, killed] = [program(&[]), program(&[])];
    let sets = |nth: usize| format!("reward.fatal={}", fatal(nth));
    whole.train(&["--set", &sets(1000)]).success();
    killed.train(&["--set", &sets(45)]).killed();
    assert!(killed.out().join("awr-step-000004").exists() && !killed.out().join("awr-step-000008").exists());
    killed.train(&["--set", &sets(45), "--resume"]).success();
    let bytes =
        |program: &Program| fs::read(program.out().join("awr-step-000008/model.safetensors")).unwrap();
    assert!(bytes(&whole) == bytes(&killed), "the weights differ");
    let curve = |program: &Program| -> Vec<[f64; 3]> {
        let of = |line: &Value| ["loss", "reward", "awr/baseline"].map(|name| number(line, name));
        program.metrics().iter().map(of).collect()
    };
    assert_eq!(curve(&whole).len(), 8);
    assert_eq!(curve(&whole), curve(&killed), "its baseline too is what it was");
}

/// docs/extending.md shows the example, line by line.
#[test]
fn the_how_to_shows_the_example() {
    let text = include_str!("../../docs/extending.md");
    assert_eq!(
        text.matches("```rust").count(),
        text.matches("```rust\n").count(),
        "each is one of these files"
    );
    let blocks: Vec<&str> =
        text.split("```rust\n").skip(1).map(|rest| rest.split_once("```").unwrap().0).collect();
    let files = [
        include_str!("../../examples/extending/main.rs"),
        include_str!("../../examples/extending/method.rs"),
        include_str!("../../examples/extending/source.rs"),
        include_str!("../../examples/extending/reward.rs"),
        include_str!("../../examples/extending/task.rs"),
        include_str!("../../examples/run_recipe.rs"),
    ];
    assert_eq!(blocks, files);
}

/// A program that runs a recipe is told what came of it: its stages in order, with steps, figures and checkpoints that are there.
#[test]
fn a_program_is_told_what_a_run_came_to() {
    const RECIPE: &str = "[data]\nprompts_per_step = 4\ntemplate.chat = false\n[data.task.addition]\ndigits = [1]\ntrain = 20\neval = 4\n\
        [policy.sampling]\nmax_new_tokens = 8\n[eval]\n[[stage]]\nname = \"one\"\nrun.steps = 2\nloop.sft = {}\n[[stage]]\nname = \"two\"\n\
        run.steps = 1\npolicy.model = \"@one\"\nloop.sft = {}\n";
    let program = Program::of_example("run_recipe", &MODEL.recipe(RECIPE));
    let output = program.command_of(&["recipe.toml"]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8(output.stdout).unwrap();
    let stages: Vec<&str> = said.lines().filter(|line| line.contains(" steps, accuracy Some(")).collect();
    assert_eq!(stages.len(), 2, "{said}");
    for (line, (name, steps)) in stages.iter().zip([("one", 2), ("two", 1)]) {
        assert!(line.starts_with(&format!("{name}: {steps} steps")), "{line}");
        let folder = line.split('"').nth(1).unwrap_or_else(|| panic!("{line}"));
        let folder = program.out().parent().unwrap().join(folder);
        assert!(folder.join("model.safetensors").exists(), "{}", folder.display());
    }
}

/// Rows of a task of the program's own, with its keys, checks and held-out rows; and a figure of its own in each evaluation.
#[test]
fn a_recipe_names_a_task_and_has_a_metric_from_outside() {
    const RECIPE: &str = "[run]\nsteps = 2\n[data]\nprompts_per_step = 4\ntemplate.chat = false\n[data.task.doubling]\nmost = 11\n[policy.sampling]\n\
        max_new_tokens = 8\n[eval]\n[loop.sft]\n";
    let program = Program::of_example("extending", &MODEL.recipe(RECIPE));
    program.train(&["-q"]).success();
    // 5 and 10 are held out of 1 to 11.
    let report = &program.evaluations()[1]["report"];
    assert_eq!((report["questions"].as_u64(), report["held_out"]["rows"].as_u64()), (Some(2), Some(2)));
    let longest = number(&report["metrics"], "longest_right");
    let lines = crate::program::lines(&program.out().join("metrics.jsonl"));
    assert!(lines.iter().any(|line| line["eval/longest_right"].as_f64() == Some(longest)), "{lines:?}");
    let verdicts = crate::program::lines(&program.out().join("evaluations/sft-000002.jsonl"));
    let right =
        verdicts.iter().filter(|verdict| verdict["right"] == true).map(|verdict| number(verdict, "tokens"));
    assert_eq!(longest, right.fold(0.0, f64::max));
    assert_eq!(
        verdicts.iter().map(|verdict| verdict["question"].as_str().unwrap()).collect::<Vec<_>>(),
        ["2*5", "2*10"]
    );
    // The resolved recipe has its keys, reads back, and a wrong one is named.
    let resolved = fs::read_to_string(program.out().join("recipe.toml")).unwrap();
    assert!(resolved.contains("[data.task.doubling]\nmost = 11"), "{resolved}");
    Program::of_example("extending", &resolved).train(&["--dry-run"]).success();
    let refused = program.train(&["--dry-run", "--set", "data.task.doubling.most=3"]).code(2);
    assert!(refused.contains("data.task.doubling.most = 3: it must be at least 5"), "{refused}");
    let unknown = program.train(&["--dry-run", "--set", "data.task.doubling.mots=9"]).code(2);
    assert!(unknown.contains("unknown key `mots`") && unknown.contains("`most`"), "{unknown}");
    let keys = program.verb(&["keys", "doubling"]).success();
    assert!(keys.contains("data.task.doubling.most") && keys.contains("The largest number"), "{keys}");
}
