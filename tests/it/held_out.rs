//! What a method's own loss says of held-out rows, against TRL and transformers (`fixtures/preference/held_out.py`), whatever rows come
//! together; what was evaluated once and is not again; rollouts that nothing is learned of.

use crate::program::{Program, lines, number, rows};
use crate::recipes::{Tiny, warmed_up};
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures");

const HEAD: &str = r#"
[policy]
dtype = "f32"
model = "model"
[devices]
policy = "cpu"
threads = 1
[data]
train = "rows.jsonl"
eval = "held_out.jsonl"
prompts_per_step = 4
shuffle = false
template.chat = false
[eval]
[optim]
lr = 1e-3
"#;

fn fixture(name: &str) -> String {
    fs::read_to_string(format!("{FIXTURES}/preference/trl/{name}")).unwrap()
}

/// What TRL and transformers said.
fn expected() -> Value {
    serde_json::from_str(&fixture("held_out.json")).unwrap()
}

/// The tiny Llama of the fixtures, on TRL's pairs.
fn on_pairs(rest: &str) -> Program {
    let program = Program::new(&format!("{HEAD}{rest}"));
    let model: PathBuf = program.out().with_file_name("model");
    fs::create_dir_all(&model).unwrap();
    for (folder, name) in [
        ("models/llama", "config.json"),
        ("models/llama", "model.safetensors"),
        ("preference/trl", "tokenizer.json"),
        ("preference/trl", "tokenizer_config.json"),
    ] {
        fs::copy(format!("{FIXTURES}/{folder}/{name}"), model.join(name)).unwrap();
    }
    program.write("rows.jsonl", &fixture("rows.jsonl"));
    program.write("held_out.jsonl", &fixture("held_out.jsonl"));
    program
}

/// The same rows as prompts with the chosen completion.
fn completions(name: &str) -> String {
    let rows: Vec<Value> = fixture(name)
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .map(|row| json!({"prompt": row["prompt"], "completion": row["chosen"]}))
        .collect();
    crate::program::rows(&rows)
}

fn on_completions(rest: &str) -> Program {
    let program = on_pairs(rest);
    program.write("rows.jsonl", &completions("rows.jsonl"));
    program.write("held_out.jsonl", &completions("held_out.jsonl"));
    program
}

/// The means of an evaluation.
fn figure(evaluation: &Value, name: &str) -> f64 {
    number(&evaluation["report"]["held_out"]["figures"][name], "mean")
}

/// The figures of each row of an evaluation, by the row.
fn of_rows(program: &Program, file: &str) -> Vec<(String, f64, f64)> {
    let mut rows: Vec<(String, f64, f64)> = lines(&program.out().join("evaluations").join(file))
        .iter()
        .map(|row| {
            let loss = &row["figures"]["loss"];
            (row["row"].as_str().unwrap().to_string(), loss[0].as_f64().unwrap(), loss[1].as_f64().unwrap())
        })
        .collect();
    rows.sort_by(|a, b| a.0.cmp(&b.0));
    rows
}

fn near(found: f64, expected: f64, tolerance: f64, what: &str) {
    assert!((found - expected).abs() <= tolerance * expected.abs().max(0.1), "{what}: {found}, {expected}");
}

#[test]
fn preferences_of_held_out_pairs_are_trls() {
    let trl = expected();
    for (case, loss) in
        [("sigmoid", "beta = 0.1"), ("ipo", "beta = 0.5\nkind = \"ipo\""), ("rpo", "beta = 0.3\nnll = 0.5")]
    {
        let program = on_pairs(&format!("[run]\nsteps = 20\n[loop.dpo]\n[loop.dpo.loss]\n{loss}\n"));
        let said = program.train(&[]).success();
        assert!(said.contains("held-out loss") && said.contains("preference accuracy"), "{said}");
        let evaluations = program.evaluations();
        for (evaluation, when, tolerance) in
            [(&evaluations[0], "before", 1e-5), (&evaluations[1], "after", 2e-4)]
        {
            let theirs = &trl["dpo"][case][when];
            for name in [
                "loss",
                "rewards/chosen",
                "rewards/rejected",
                "rewards/margins",
                "logps/chosen",
                "logps/rejected",
            ] {
                near(
                    figure(evaluation, name),
                    number(theirs, name),
                    tolerance,
                    &format!("{case} {when} {name}"),
                );
            }
            // Shares of eleven rows.
            near(figure(evaluation, "rewards/accuracies"), number(theirs, "rewards/accuracies"), 1e-5, case);
            assert_eq!(
                (
                    evaluation["report"]["questions"].as_u64(),
                    evaluation["report"]["held_out"]["rows"].as_u64()
                ),
                (Some(0), Some(11))
            );
        }
        let line = program.of_stage("dpo").into_iter().rfind(|line| line["eval/loss"].is_number()).unwrap();
        assert_eq!(number(&line, "eval/loss"), figure(&evaluations[1], "loss"));
        assert!(line["eval/rewards/accuracies"].is_number() && line.get("eval/accuracy").is_none(), "{line}");
    }
}

/// The reference's share can be worked out before the first step, for held-out rows too.
#[test]
fn a_precomputed_reference_changes_nothing() {
    let figures = |more: &str| {
        let program = on_pairs(&format!("[run]\nsteps = 3\n[loop.dpo]\n{more}"));
        program.train(&["-q"]).success();
        let last = program.evaluations().pop().unwrap();
        [figure(&last, "loss"), figure(&last, "rewards/margins")]
    };
    let (plain, precomputed) = (figures(""), figures("precompute_reference = true\n"));
    for (a, b) in plain.iter().zip(precomputed) {
        near(b, *a, 1e-5, "precomputed");
    }
    assert!(plain[1] != 0.0);
}

#[test]
fn a_held_out_loss_is_transformers() {
    let theirs = &expected()["sft"];
    let program = on_completions("[run]\nsteps = 2\n[loop.sft]\n");
    program.train(&["-q"]).success();
    let first = &program.evaluations()[0];
    near(figure(first, "loss"), number(theirs, "loss"), 1e-6, "loss");
    near(figure(first, "perplexity"), number(theirs, "perplexity"), 1e-5, "perplexity");
    // In the data's order, each with the tokens that it weighs.
    let file = program.out().join("evaluations/sft-000000-rows.jsonl");
    for (at, row) in lines(&file).iter().enumerate() {
        let loss = &row["figures"]["loss"];
        near(loss[0].as_f64().unwrap(), theirs["rows"][at].as_f64().unwrap(), 1e-5, "a row");
        assert_eq!(loss[1].as_f64(), theirs["tokens"][at].as_f64());
    }
    // What was learned is learned of these rows alone: the weights are what they are without an evaluation.
    let weights =
        |program: &Program| fs::read(program.out().join("sft-step-000002/model.safetensors")).unwrap();
    let unseen = on_completions("[run]\nsteps = 2\n[loop.sft]\n");
    unseen.train_set(&["eval.at_start=false", "eval.at_end=false"]).success();
    assert!(weights(&program) == weights(&unseen));
}

/// A row's figures are its own: neither the rows beside it, nor their order, nor how many go through the model at once, nor how many ranks
/// share them changes any.
#[test]
fn order_padding_micro_batches_and_ranks_change_nothing() {
    for (loss, make) in [
        ("[loop.sft]\n", on_completions as fn(&str) -> Program),
        ("[loop.dpo]\nloss.nll = 0.5\nloss.average = true\nloss.nll_mean = \"sequences\"\n", on_pairs),
        ("[loop.dpo]\nloss.kind = \"orpo\"\nloss.nll_mean = \"sequences\"\n", on_pairs),
    ] {
        let stage = if loss.contains("sft") { "sft" } else { "dpo" };
        let file = format!("{stage}-000001-rows.jsonl");
        let recipe = format!("[run]\nsteps = 1\n{loss}");
        let found = |rows: &dyn Fn(&str) -> String, sets: &[&str]| {
            let program = make(&recipe);
            let held_out = program.out().with_file_name("held_out.jsonl");
            // Rows keep their names wherever they stand.
            let text = fs::read_to_string(&held_out).unwrap();
            let named: String = text
                .lines()
                .enumerate()
                .map(|(at, line)| line.replacen('{', &format!("{{\"id\": \"r{at:02}\", "), 1) + "\n")
                .collect();
            program.write("held_out.jsonl", &rows(&named));
            program.train_set(sets).success();
            of_rows(&program, &file)
        };
        let as_is = |text: &str| text.to_string();
        let whole = found(&as_is, &[]);
        assert_eq!(whole.len(), 11);
        let same = |others: &[(String, f64, f64)], what: &str| {
            for (one, other) in
                whole.iter().filter_map(|one| Some((one, others.iter().find(|other| other.0 == one.0)?)))
            {
                near(other.1, one.1, 2e-5, &format!("{stage}, {what}: {}", one.0));
                assert_eq!(one.2, other.2);
            }
        };
        for tokens in ["1", "40", "90"] {
            let set = format!("optim.tokens_per_microbatch={tokens}");
            same(&found(&as_is, &[&set]), tokens);
        }
        let turned = |text: &str| text.lines().rev().map(|line| format!("{line}\n")).collect::<String>();
        same(&found(&turned, &[]), "turned");
        let alone = |text: &str| text.lines().nth(4).unwrap().to_string() + "\n";
        let only = found(&alone, &[]);
        assert_eq!(only.len(), 1);
        same(&only, "alone");
        same(&found(&as_is, &["devices.ranks=2"]), "two ranks");
    }
}

/// Pairs have no answers, so that nothing is asked; rows with both are asked and measured, unless the recipe says otherwise.
#[test]
fn what_is_asked_and_what_is_measured() {
    const MODEL: Tiny = Tiny { hidden_size: 16, kv_heads: 1, context: Some(64), ..Tiny::SUMS };
    let recipe = "[run]\nsteps = 1\n[data]\nprompts_per_step = 2\ntemplate.chat = false\n[data.task.addition]\ndigits = [1]\ntrain = 8\neval = 4\n\
                  [policy.sampling]\nmax_new_tokens = 4\n[eval]\n[loop.sft]\n";
    let both = Program::new(&MODEL.recipe(recipe));
    both.train(&["-q"]).success();
    let report = &both.evaluations()[0]["report"];
    assert_eq!((report["questions"].as_u64(), report["held_out"]["rows"].as_u64()), (Some(4), Some(4)));
    let measured = Program::new(&MODEL.recipe(recipe));
    let said = measured.train(&["--set", "eval.ask=false"]).success();
    let report = &measured.evaluations()[0]["report"];
    assert_eq!((report["questions"].as_u64(), report["accuracy"].is_null()), (Some(0), true));
    assert!(
        !measured.out().join("evaluations/sft-000000.jsonl").exists() && !said.contains("accuracy"),
        "{said}"
    );
    // The loss can choose the best checkpoint, of which less is better.
    let best = ["--set", "eval.ask=false", "--set", "checkpoint.best=eval/loss"];
    let refused = measured.train(&[&best[..], &["--dry-run"]].concat()).code(2);
    assert!(
        refused.contains("of a loss the lower value is the better one; set best_mode = \"lower\""),
        "{refused}"
    );
    measured
        .train(&[&best[..], &["-q", "--overwrite", "--set", "checkpoint.best_mode=lower"]].concat())
        .success();

    let none = "[run]\nsteps = 1\n[data]\ntrain = \"rows.jsonl\"\neval = \"rows.jsonl\"\ntemplate.chat = false\n[eval]\n[rollout.group]\nsize = 2\n[reward.length]\nmax_tokens = 4\nbuffer = 2\n[loop.grpo]\n";
    let program = Program::new(&MODEL.recipe(none));
    program.write(
        "rows.jsonl",
        &rows(&[json!({"prompt": "1+1", "answer": "2"}), json!({"prompt": "1+2", "answer": "3"})]),
    );
    let refused = program.train(&["--dry-run", "--set", "eval.ask=false"]).code(2);
    assert!(
        refused.contains(
            "eval.ask = false leaves the loss of loop.grpo on held-out rows, which it has of none of them"
        ),
        "{refused}"
    );
}

/// Supervised, then by reinforcement from there.
fn stages() -> String {
    warmed_up(
        "[eval]\nsamples = 2\ntemperature = 1.0\n",
        [3, 2],
        r#"[stage.reward.answer]
[stage.loop.grpo]
zero_variance = "drop"
"#,
    )
}

const SUMS: Tiny = Tiny { hidden_size: 16, kv_heads: 1, context: Some(64), ..Tiny::SUMS };

/// The second stage begins with the weights that the first was evaluated with: its first evaluation is that one, and the one that asking
/// them again comes to.
#[test]
fn what_was_just_evaluated_is_not_evaluated_again() {
    let program = Program::new(&SUMS.recipe(&stages()));
    let said = program.train(&[]).success();
    assert!(
        said.contains("rl: these weights were already evaluated after step 3 of warmup; that result is used"),
        "{said}"
    );
    let verdicts = |file: &str| fs::read(program.out().join("evaluations").join(file)).unwrap();
    assert!(verdicts("warmup-000003.jsonl") == verdicts("rl-000000.jsonl"));
    let evaluations = program.evaluations();
    let of = |stage: &str, step: u64| {
        let fits = |line: &&Value| line["stage"] == stage && line["step"] == step;
        evaluations.iter().find(fits).unwrap()["report"].clone()
    };
    // The held-out loss is of the first stage's method alone.
    let [mut last, first] = [of("warmup", 3), of("rl", 0)];
    assert!(last["held_out"].is_object() && first.get("held_out").is_none());
    last.as_object_mut().unwrap().remove("held_out");
    assert_eq!(last, first);
    let weights = program.out().join("warmup-step-000003");
    let anew = Program::new(
        &SUMS.recipe(&stages().replace("\"@warmup\"", &format!("{:?}", weights.to_string_lossy()))),
    );
    let said = anew.train(&[]).success();
    assert!(!said.contains("are not asked again"), "{said}");
    assert!(fs::read(anew.out().join("evaluations/rl-000000.jsonl")).unwrap() == verdicts("rl-000000.jsonl"));
    // Asked otherwise, they are asked.
    for set in [
        "stage.rl.eval.temperature=0.5",
        "stage.rl.data.template.user=# {{ question }}",
        "stage.rl.policy.sampling.max_new_tokens=11",
    ] {
        let other = Program::new(&SUMS.recipe(&stages()));
        let said = other.train(&["--set", set]).success();
        assert!(!said.contains("are not asked again"), "{set}: {said}");
    }
}

/// Rollouts of groups that are all right or all wrong are in the traces, marked, so that means over traces are those of the figures; a
/// stage that learns from traces does not learn from them.
#[test]
fn dropped_groups_are_traces_with_a_mark() {
    let collect = "[[stage]]\nname = \"imitate\"\n[stage.data]\ntrain = \"@rl\"\n[stage.loop.sft]\n[stage.run]\nsteps = 1\n";
    let reward =
        stages().replace("[stage.reward.answer]", "[stage.reward.length]\nmax_tokens = 12\nbuffer = 2");
    let reward = reward.replace("[eval]\nsamples = 2\ntemperature = 1.0\n", "");
    let program = Program::new(&SUMS.recipe(&format!("{reward}{collect}")));
    program.train(&["-q", "--set", "stage.rl.run.steps=6"]).success();
    let traces = program.traces("rl");
    let (dropped, learned): (Vec<&Value>, Vec<&Value>) =
        traces.iter().partition(|trace| trace["dropped"].is_string());
    assert!(!dropped.is_empty() && !learned.is_empty(), "{} {}", dropped.len(), learned.len());
    assert!(dropped.iter().all(|trace| trace["dropped"] == "zero_variance" && trace["advantage"].is_null()));
    assert!(learned.iter().all(|trace| trace["advantage"].is_number()));
    assert_eq!(traces.len(), 6 * 4 * 4);
    let ids: std::collections::BTreeSet<&str> =
        traces.iter().map(|trace| trace["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), traces.len());
    for step in program.steps("rl") {
        let of_step = traces.iter().filter(|trace| trace["step"] == step["step"]);
        let rewards: Vec<f64> = of_step.map(|trace| number(trace, "reward")).collect();
        near(rewards.iter().sum::<f64>() / rewards.len() as f64, number(&step, "reward"), 1e-6, "reward");
    }
    let previewed = program.verb(&["preview", "--recipe", "recipe.toml"]).success();
    assert!(previewed.contains("imitate"), "{previewed}");
    // The rows of the last stage are what was learned.
    let rows = program
        .verb(&[
            "preview",
            "--recipe",
            "recipe.toml",
            "--set",
            &format!("stage.imitate.data.train={}", program.out().join("traces/rl.jsonl").display()),
            "--stage",
            "imitate",
        ])
        .success();
    assert!(rows.contains(&format!("{} rows of", learned.len())), "{rows}");
}

/// A scratchpad is the only right one of its sum: what follows it is counted, and a right answer under a wrong step is said.
#[test]
fn a_wrong_step_under_a_right_answer_is_said() {
    let recipe = stages()
        .replace("[eval]\n", "[eval]\nshow = 1\nown_steps = true\n")
        .replace("[stage.loop.grpo]", "[stage.eval]\nevery = 1\n[stage.loop.grpo]");
    let program = Program::new(&SUMS.recipe(&recipe));
    let said = program.train(&["--set", "stage.warmup.run.steps=60"]).success();
    assert!(said.contains("all steps right"), "{said}");
    for evaluation in program.evaluations() {
        let verdicts = lines(&program.out().join(format!(
            "evaluations/{}-{:06}.jsonl",
            evaluation["stage"].as_str().unwrap(),
            evaluation["step"].as_u64().unwrap()
        )));
        let followed = verdicts.iter().filter(|verdict| verdict["wrong_step"].is_null()).count() as f64
            / verdicts.len() as f64;
        near(number(&evaluation["report"]["own_steps"], "followed"), followed, 1e-9, "followed");
        // One digit each: the rationale is `a+b+0=s: s`, and nothing else follows it.
        for verdict in &verdicts {
            let (a, b) = verdict["question"].as_str().unwrap().split_once('+').unwrap();
            let (a, b): (u64, u64) = (a.parse().unwrap(), b.parse().unwrap());
            let written = verdict["completion"].as_str().unwrap();
            let line = written.lines().next().unwrap_or_default();
            let fits = line.starts_with(&format!("{a}+{b}+0={}", a + b));
            assert!(fits || verdict["wrong_step"] == 1, "{verdict}");
        }
    }
    let none = stages()
        .replace("eval = 6\n", "eval = 6\nrationale = false\n")
        .replace("[eval]\n", "[eval]\nown_steps = true\n");
    let refused = Program::new(&SUMS.recipe(&none)).train(&["--dry-run"]).code(2);
    assert!(
        refused.contains("eval.own_steps holds completions against each held-out row's own rationale"),
        "{refused}"
    );
}

/// A sweep of a method that asks nothing is compared by its loss on the same rows, over rows and over seeds.
#[test]
fn a_sweep_is_compared_by_its_held_out_loss() {
    let program =
        on_completions("[run]\nsteps = 3\nseeds = [0, 1, 2]\n[sweep]\noptim.lr = [1e-3, 1e-2]\n[loop.sft]\n");
    // Another order of rows a seed.
    let said = program.train(&["-q", "--set", "data.shuffle=true"]).success();
    assert!(said.contains("Measures and held-out rows") && !said.contains("Accuracy and length"), "{said}");
    let found: Value =
        serde_json::from_slice(&fs::read(program.out().join("comparison.json")).unwrap()).unwrap();
    let arm = &found["arms"][1]["measures"]["loss"];
    assert_eq!(arm["runs"].as_array().unwrap().len(), 3);
    let gain = &found["against"][0]["measures"]["loss"];
    // Means over seeds of what each run's last evaluation says.
    let losses = |lr: &str| -> Vec<f64> {
        (0..3)
            .map(|seed| {
                lines(&program.out().join(format!("lr={lr}_seed={seed}/evaluations.jsonl"))).pop().unwrap()
            })
            .map(|last| figure(&last, "loss"))
            .collect()
    };
    let (base, other) = (losses("1e-3"), losses("0.01"));
    let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
    near(number(arm, "mean"), mean(&other), 1e-9, "mean");
    near(number(gain, "difference"), mean(&other) - mean(&base), 1e-9, "difference");
    near(number(&gain["seeds"], "difference"), mean(&other) - mean(&base), 1e-9, "over seeds");
    assert_eq!(gain["seeds"]["paired"], true);
    let spread: f64 = other.iter().map(|loss| (loss - mean(&other)).powi(2)).sum::<f64>() / 2.0;
    near(number(arm, "deviation"), spread.sqrt(), 1e-9, "deviation");
}
