//! A run that sweeps keys and seeds: each of its trials is what its recipe alone would have come to, and what they come to together.

use crate::compare::{differences, shown};
use crate::program::{Program, fatal, lines};
use crate::recipes::{Tiny, warmed_up};
use rationale::checkpoint::{Ledger, RunDir};
use serde_json::Value;
use std::fs;
use std::path::Path;

const MODEL: Tiny = Tiny { hidden_size: 16, kv_heads: 1, context: Some(64), ..Tiny::SUMS };

/// Supervised, then by reinforcement: what is swept is the second stage's.
fn stages() -> String {
    warmed_up(
        "",
        [3, 4],
        r#"[stage.reward.length]
max_tokens = 12
buffer = 11
[stage.loop.grpo]
[stage.eval]
every = 2
"#,
    )
}

const SWEEP: &str = "[run]\nseeds = [3, 4]\n[sweep]\nstage.rl.optim.lr = [1e-3, 1e-2]\n";

fn sweep(head: &str) -> Program {
    Program::new(&format!("{head}{}", MODEL.recipe(&stages())))
}

fn ledger(run: &Path) -> Ledger {
    RunDir::join(run).ledger().unwrap()
}

/// The weights that a trial ends with.
fn weights(run: &Path) -> Vec<u8> {
    fs::read(run.join("rl-step-000004/model.safetensors")).unwrap()
}

/// Nothing but the provenance of a recipe tells a trial from the run of its recipe: all figures, rollouts, verdicts, weights and what the
/// optimiser remembers are the same bit for bit, those of the stage that two trials share too.
#[test]
fn a_trial_is_the_run_of_its_recipe_alone() {
    let all = sweep(SWEEP);
    let said = all.train(&[]).success();
    assert!(
        said.contains("2 points × 2 seeds = 4 trials") && said.contains("trial 4 of 4: lr=0.01_seed=4"),
        "{said}"
    );
    for (seed, lr, name) in
        [(3, "1e-3", "lr=1e-3_seed=3"), (4, "1e-3", "lr=1e-3_seed=4"), (4, "1e-2", "lr=0.01_seed=4")]
    {
        let alone = sweep("");
        alone.train_set(&[&format!("run.seed={seed}"), &format!("stage.rl.optim.lr={lr}")]).success();
        let trial = all.out().join(name);
        for folder in [&trial, &alone.out()] {
            let recipe = fs::read_to_string(folder.join("recipe.toml")).unwrap();
            let body: Vec<&str> = recipe.lines().filter(|line| !line.starts_with('#')).collect();
            fs::write(folder.join("recipe.toml"), body.join("\n")).unwrap();
        }
        assert_eq!(differences(&alone.out(), &trial), Vec::<String>::new(), "{name}");
    }
    // Run once a seed: the second point of a seed has the first one's file itself, and another one's weights.
    let [first, second] = ["lr=1e-3_seed=3", "lr=0.01_seed=3"].map(|name| all.out().join(name));
    let file = |run: &Path| {
        std::os::unix::fs::MetadataExt::ino(
            &fs::metadata(run.join("warmup-step-000003/model.safetensors")).unwrap(),
        )
    };
    assert_eq!(file(&first), file(&second));
    assert!(weights(&first) != weights(&second));
    assert_eq!(said.matches("warmup 3/3").count(), 2, "{said}");
    let trials: Value = serde_json::from_slice(&fs::read(all.out().join("trials.json")).unwrap()).unwrap();
    assert_eq!(trials["trials"][1]["shares"], serde_json::json!(["lr=1e-3_seed=3", 1]));
    assert_eq!(trials["trials"][1]["values"]["stage.rl.optim.lr"], 0.01);
}

/// What a stage is made of is its table and the seed: with a swept key in the first stage nothing is shared.
#[test]
fn what_a_swept_key_reaches_is_not_shared() {
    let all = sweep("[sweep]\n\"optim.lr\" = [1e-3, 1e-2]\n");
    let said = all.train(&[]).success();
    assert_eq!(said.matches("warmup 3/3").count(), 2, "{said}");
    let [first, second] = ["lr=1e-3_seed=0", "lr=0.01_seed=0"]
        .map(|name| fs::read(all.out().join(name).join("warmup-step-000003/model.safetensors")).unwrap());
    assert!(first != second);
}

/// Killed in the third of four trials, and again as it goes on, it comes to the same.
#[test]
fn a_killed_sweep_resumes_bit_for_bit() {
    let [whole, killed] = [sweep(SWEEP), sweep(SWEEP)];
    // A trial scores 4 steps of 16 completions.
    let set = |nth: usize| format!("stage.rl.reward.fatal={}", fatal(nth));
    whole.train_set(&[&set(100_000)]).success();
    for nth in [20, 50] {
        let _ = fs::remove_file(killed.out().parent().unwrap().join("killed"));
        let resume = if nth == 20 { vec!["-q"] } else { vec!["-q", "--resume"] };
        let set = set(nth);
        killed.train(&[&resume[..], &["--set", &set]].concat()).killed();
    }
    killed.train(&["-q", "--resume", "--set", &set(100_000)]).success();
    for name in ["lr=1e-3_seed=3", "lr=0.01_seed=3", "lr=1e-3_seed=4", "lr=0.01_seed=4"] {
        assert!(weights(&whole.out().join(name)) == weights(&killed.out().join(name)), "{name}");
        let verdicts =
            |of: &Program| fs::read(of.out().join(name).join("evaluations/rl-000004.jsonl")).unwrap();
        assert!(verdicts(&whole) == verdicts(&killed), "{name}");
        let steps = lines(&killed.out().join(name).join("metrics.jsonl"));
        assert_eq!(steps.iter().filter(|line| line["loss"].is_number()).count(), 7, "{name}");
        assert!(ledger(&killed.out().join(name)).stages.iter().all(|record| record.done.is_some()));
    }
    let said = killed.train(&["-q", "--resume", "--set", &set(100_000)]).success();
    assert!(said.contains("all trials are complete"), "{said}");
    // A trial that was killed right behind the stages that it shares has no recipe yet: a dry run passes it as the run does.
    fs::remove_file(killed.out().join("lr=0.01_seed=3/recipe.toml")).unwrap();
    let said = killed.train(&["--dry-run", "--resume", "--set", &set(100_000)]).success();
    assert!(said.contains("trial lr=0.01_seed=3: all stages are complete"), "{said}");
}

/// The comparison is that of `train compare`: an arm a point, seeds paired, and it is kept as text, Markdown and JSON.
#[test]
fn a_sweep_ends_in_a_comparison_which_compare_understands() {
    let all = sweep(SWEEP);
    let said = all.train(&["-q"]).success();
    for file in ["comparison.txt", "comparison.md", "comparison.csv", "comparison.json", "comparison.svg"] {
        assert!(all.out().join(file).is_file(), "{file}");
    }
    assert_eq!(
        fs::read_to_string(all.out().join("comparison.csv")).unwrap(),
        all.verb(&["compare", "out", "--csv"]).success()
    );
    // All evaluations, and all figures by step, each with the trial that it is of.
    let trials = ["lr=1e-3_seed=3", "lr=0.01_seed=3", "lr=1e-3_seed=4", "lr=0.01_seed=4"];
    let table = fs::read_to_string(all.out().join("table.csv")).unwrap();
    let figures = all.verb(&["report", "out", "--csv"]).success();
    for (text, begins) in [(&table, "trial,stage,round,"), (&figures, "trial,step,stage,")] {
        assert!(text.starts_with(begins), "{text}");
        for trial in trials {
            let begins = format!("{trial},");
            assert!(text.lines().any(|line| line.starts_with(&begins)), "{trial}: {text}");
        }
    }
    assert!(said.contains(&fs::read_to_string(all.out().join("comparison.txt")).unwrap()));
    let found: Value = serde_json::from_slice(&fs::read(all.out().join("comparison.json")).unwrap()).unwrap();
    assert_eq!((found["base"].as_str(), found["arms"].as_array().unwrap().len()), (Some("lr=1e-3"), 2));
    assert_eq!(found["arms"][1]["runs"].as_array().unwrap().len(), 2);
    assert!(found["arms"][0]["deviation"].is_number() && found["against"][0]["seeds"]["paired"] == true);
    let of_verb: Value = serde_json::from_str(&all.verb(&["compare", "out", "--json"]).success()).unwrap();
    assert_eq!(of_verb, found);
    // The page has the trials, each with a page of its own, and the same comparison; the verb writes the same.
    let page = || {
        let mut page = shown(&fs::read_to_string(all.out().join("report.html")).unwrap()).unwrap();
        page["written_time"].take();
        page
    };
    let report = page();
    assert_eq!(report["state"]["is"], "done");
    let trials = report["trials"].as_array().unwrap();
    assert_eq!(trials.len(), 4);
    for trial in trials {
        assert_eq!((trial["is"].as_str(), trial["report"].as_bool()), (Some("done"), Some(true)), "{trial}");
        assert!(all.out().join(trial["name"].as_str().unwrap()).join("report.html").is_file(), "{trial}");
    }
    assert_eq!(report["comparison"]["arms"][1]["value"], found["arms"][1]["accuracy"]);
    all.verb(&["report", "out"]).success();
    assert_eq!(page(), report);
    assert!(all.verb(&["report", "out", "--markdown"]).success().contains("| lr=0.01 |"));
    // At another step, and as runs of their own.
    let before = all.verb(&["compare", "out@rl:2", "--json"]).success();
    assert!(before.contains("out/lr=1e-3_seed=3@rl:2"), "{before}");
    let listed = all.verb(&["list", "out"]).success();
    assert!(listed.contains("4 of 4 trials done") && listed.contains("lr=0.01_seed=4"), "{listed}");
    // What wants one model says that there are several.
    let refused = all.verb(&["sample", "out", "--prompt", "1+1"]).code(2);
    assert!(
        refused.contains("out is a run of 4 trials; name one of them, such as out/lr=1e-3_seed=3"),
        "{refused}"
    );
}

/// Values and seeds may be added; what is done stays, and what has begun with another recipe is refused before anything runs.
#[test]
fn a_sweep_grows() {
    let all = sweep("[run]\nseeds = [3]\n[sweep]\nstage.rl.optim.lr = [1e-2]\n");
    all.train(&["-q"]).success();
    let before = weights(&all.out().join("lr=0.01_seed=3"));
    let more = ["--set", "run.seeds=[3,4]", "--set", "sweep.stage.rl.optim.lr=[1e-3,1e-2]"];
    let refused =
        all.train(&[&["-q", "--resume", "--set", "data.prompts_per_step=5"][..], &more].concat()).code(2);
    assert!(
        refused.contains("trial lr=0.01_seed=3:") && !all.out().join("lr=1e-3_seed=3").exists(),
        "{refused}"
    );
    let said = all.train(&[&["--resume"][..], &more].concat()).success();
    // Of the new seed one stage that both points share, and the second stage of each trial but the one that is done.
    assert_eq!((said.matches("warmup 3/3").count(), said.matches("rl 4/4").count()), (1, 3), "{said}");
    assert!(weights(&all.out().join("lr=0.01_seed=3")) == before);
    let other = sweep("[run]\nseeds = [3, 4]\n[sweep]\nstage.rl.optim.lr = [1e-3, 1e-2]\n");
    other.train(&["-q"]).success();
    for name in ["lr=1e-3_seed=3", "lr=0.01_seed=4"] {
        assert!(weights(&all.out().join(name)) == weights(&other.out().join(name)), "{name}");
    }
    all.write("plain.toml", &MODEL.recipe(&stages()));
    let refused = all.train_into("plain.toml", &all.out(), &["--resume"]).code(2);
    assert!(refused.contains("holds a run that sweeps, and the recipe sweeps nothing"), "{refused}");
    // A trial that the recipe has no more stays where it is.
    let said = all.train(&["--resume"]).success();
    assert!(said.contains("trial lr=1e-3_seed=4 is no more among those of the recipe"), "{said}");
    assert!(all.out().join("lr=1e-3_seed=4").is_dir());
}

/// A learning rate at which the weights cease to be numbers is a result of a sweep, and no reason to lose the others.
#[test]
fn a_trial_that_diverges_is_told_and_the_others_go_on() {
    let all = sweep("[run]\nseeds = [3, 4]\n[sweep]\nstage.warmup.optim.lr = [1e38, 1e-3]\n");
    let said = all.train(&["-q"]).code(1);
    assert!(said.contains("2 of 4 trials have failed: lr=1e38_seed=3, lr=1e38_seed=4"), "{said}");
    assert!(said.contains("lr=1e-3") && all.out().join("lr=1e-3_seed=4/rl-step-000004").is_dir(), "{said}");
    let listed = all.verb(&["list", "out"]).success();
    assert!(listed.contains("2 of 4 trials done, 2 failed"), "{listed}");
    let report = shown(&fs::read_to_string(all.out().join("report.html")).unwrap()).unwrap();
    let count =
        |is: &str| report["trials"].as_array().unwrap().iter().filter(|trial| trial["is"] == is).count();
    assert_eq!((count("done"), count("failed")), (2, 2), "{}", report["trials"]);
    let again = all.train(&["-q", "--resume"]).code(1);
    assert!(again.contains("is passed over; delete"), "{again}");
}

/// All that is wrong with all points is said at once, with the line of the value, before anything is made.
#[test]
fn a_dry_run_looks_at_every_point() {
    let all = sweep(
        "[sweep]\noptim.lr = [1e-3, -1.0, -2.0]\nstage.rl.rollout.group.size = [4, 0]\npolicy.sampling.temperature = [1.0]\n",
    );
    let refused = all.train(&["--dry-run"]).code(2);
    for words in [
        "recipe.toml:2: optim.lr = -1.0",
        "recipe.toml:2: optim.lr = -2.0",
        "recipe.toml:3: rollout.group.size = 0",
    ] {
        assert!(refused.contains(words), "{refused}");
    }
    assert!(refused.contains("(at lr=-1_size=0_temperature=1, lr=-1_size=4_temperature=1)"), "{refused}");
    // What holds at every point is said once, without one.
    let of_all = all.train(&["--dry-run", "--set", "policy.init.layers=0"]).code(2);
    assert!(of_all.contains("policy.init.layers = 0: it must be at least 1\n"), "{of_all}");
    assert_eq!(of_all.matches("policy.init.layers").count(), 2, "{of_all}");

    let well = sweep(SWEEP);
    let plan = well.train(&["--dry-run"]).success();
    assert!(
        plan.contains("# 2 points × 2 seeds = 4 trials; 6 stages are run, and 2 that are the same"),
        "{plan}"
    );
    // 2 seeds of 3 steps, and 4 trials of 4.
    assert!(plan.contains("# in all 22 steps; at most"), "{plan}");
    assert!(!well.out().exists() && !all.out().exists());
    // What a run resolves to is the same sweep.
    let text: String = plan.split("# Sweep").next().unwrap().to_string();
    let again = Program::new(&text).train(&["--dry-run"]).success();
    // What a process takes before it does anything is measured, and never the same to the byte.
    let points = |plan: &str| {
        let lines = plan.lines().filter(|line| line.starts_with("#   ") && !line.contains(" MB"));
        lines.map(str::to_string).collect::<Vec<_>>()
    };
    assert_eq!(points(&plan), points(&again));
}

#[test]
fn what_cannot_be_swept_is_refused_with_a_remedy() {
    let told = |head: &str, sets: &[&str]| {
        let sets: Vec<&str> = sets.iter().flat_map(|set| ["--set", set]).collect();
        sweep(head).train(&[&["--dry-run"][..], &sets].concat()).code(2)
    };
    let lr = "[sweep]\noptim.lr = [1e-3, 1e-2]\n";
    for (head, sets, words) in [
        (
            "[sweep]\noptim.lr = 1e-3\n",
            &[][..],
            "recipe.toml:2: sweep.optim.lr = 0.001: a swept key has a list of values; write optim.lr = [0.001]",
        ),
        ("[sweep]\noptim.lr = []\n", &[], "sweep.optim.lr has no value"),
        ("[sweep]\noptim.lr = [1.0, 1.0]\n", &[], "sweep.optim.lr has 1.0 twice"),
        ("[sweep]\nrun.seed = [1, 2]\n", &[], "run.seeds = [0, 1, 2]"),
        ("[sweep]\nrun.name = [\"a\"]\n", &[], "it is the name of the run"),
        ("[sweep]\noptim.lr = [1.0]\noptim.\"lr\".x = [1]\n", &[], "recipe.toml"),
        (
            "[sweep]\nstage.nope.optim.lr = [1e-3]\n",
            &[],
            "recipe.toml:2: sweep.stage.nope.optim.lr=0.001: no stage `nope`",
        ),
        ("[sweep]\nstage.rl = [1]\n", &[], "a stage's key is stage.NAME.section.key"),
        (lr, &["optim.lr=1"], "--set optim.lr=1: sweep.optim.lr gives it several values"),
        ("[run]\nseeds = [0, 0]\n", &[], "run.seeds has 0 twice"),
        ("[run]\nseeds = 3\n", &[], "run.seeds = 3: a list of whole numbers"),
        ("[run]\nseeds = [0]\nseed = 1\n", &[], "recipe.toml:3: run.seed beside run.seeds"),
        ("[run]\nseeds = [0]\n", &["run.seed=1"], "write --set 'run.seeds=[1]'"),
        ("sweep = 3\n", &[], "`sweep` is a table of keys"),
        (lr, &["stage.rl.sweep.optim.lr=[1]"], "sweep"),
        // What the command line gives is not the file's.
        (
            lr,
            &["sweep.sweep.x=[1]"],
            "--set sweep.sweep.x=[1]: sweep.sweep.x: a swept key is named once by its section",
        ),
        ("[sweep]\nsweep.x = [1]\n", &[], "recipe.toml:2: sweep.sweep.x: a swept key is named once"),
        (lr, &["sweep.optim.lr=[1,1]"], "--set sweep.optim.lr=[1,1]: sweep.optim.lr has 1 twice"),
        (
            lr,
            &["sweep.optim.lr=3"],
            "--set sweep.optim.lr=3: sweep.optim.lr = 3: a swept key has a list of values; write --set 'sweep.optim.lr=[3]'",
        ),
        (lr, &["sweep.run.seed=[1]"], "--set sweep.run.seed=[1]: sweep.run.seed: seeds are a list"),
        (lr, &["sweep.optim.nosuch=[1]"], "--set sweep.optim.nosuch=[1]: [optim] unknown key `nosuch`"),
        (lr, &["sweep.optim.lr=[-1.0]"], "--set sweep.optim.lr=[-1.0]: optim.lr = -1.0"),
        ("[run]\nseeds = [0]\n", &["run.seeds=[2,2]"], "--set run.seeds=[2,2]: run.seeds has 2 twice"),
        ("", &["run.seeds=3"], "--set run.seeds=3: run.seeds = 3: a list of whole numbers"),
    ] {
        let said = told(head, sets);
        assert!(said.contains(words), "{head}{sets:?}:\n{said}");
    }
    let many = format!("[sweep]\noptim.lr = {:?}\n", (1..400).map(|n| n as f64).collect::<Vec<_>>());
    assert!(
        told(&many, &["run.seeds=[0,1]"])
            .contains("399 points (399 of optim.lr) × 2 seeds × 2 stages are 1596")
    );
    let in_stage = MODEL
        .recipe(&stages())
        .replace("[stage.loop.grpo]", "[stage.loop.grpo]\n[stage.sweep]\noptim.lr = [1]");
    let said = Program::new(&in_stage).train(&["--dry-run"]).code(2);
    assert!(
        said.contains(
            "[sweep] stands at the top of the file; of this stage alone it is sweep.stage.rl.optim.lr"
        ),
        "{said}"
    );
}

/// Several ranks work on the same trial and come to one table.
#[test]
fn ranks_share_each_trial() {
    let all = sweep("[run]\nseeds = [3]\n[sweep]\nstage.rl.optim.lr = [1e-3, 1e-2]\n");
    let said = all.train(&["-q", "--set", "devices.ranks=2"]).success();
    assert!(said.contains("lr=0.01") && all.out().join("comparison.json").is_file(), "{said}");
    for name in ["lr=1e-3_seed=3", "lr=0.01_seed=3"] {
        assert!(ledger(&all.out().join(name)).stages.iter().all(|record| record.done.is_some()), "{name}");
    }
}
