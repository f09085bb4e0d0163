//! A run is never lost: it is stopped, killed, gone on with and extended, and comes to what an uninterrupted one comes to.

use crate::compare::{differences, files, shown};
use crate::program::{Program, lines, list, rows};
use crate::recipes::{Tiny, on_rows, warmed_up};
use serde_json::json;
use std::fs;
use std::io::Read;

pub const MODEL: Tiny =
    Tiny { hidden_size: 16, kv_heads: 1, context: Some(64), tensorboard: true, ..Tiny::SUMS };

/// A reward, and reinforcement by it.
pub const RL: &str = r#"[stage.reward.length]
max_tokens = 12
buffer = 11
[stage.loop.grpo]
reference.every = 2
reference.mix = 0.5
kl.coefficient = 0.01
[stage.optim]
lr = 1e-3
"#;

/// Supervised, then by reinforcement with an evaluation in between.
fn stages() -> String {
    warmed_up("", [3, 6], &format!("{RL}[stage.eval]\nevery = 3\n"))
}

fn two_stages() -> Program {
    Program::new(&MODEL.recipe(&stages()))
}

fn assert_same(one: &Program, other: &Program) {
    assert_eq!(differences(&one.out(), &other.out()), Vec::<String>::new());
}

fn steps(program: &Program, stage: &str) -> usize {
    let text = fs::read_to_string(program.out().join("metrics.jsonl")).unwrap_or_default();
    text.lines()
        .filter(|line| line.contains(&format!("\"stage\":\"{stage}\"")) && line.contains("\"loss\""))
        .count()
}

#[test]
fn the_first_signal_saves_and_says_how_to_go_on() {
    let [whole, stopped] = [two_stages(), two_stages()];
    whole.train(&["--quiet"]).success();
    let mut code = None;
    for (signal, expected) in [(libc::SIGTERM, 143), (libc::SIGINT, 130), (libc::SIGUSR1, 138)] {
        let before = steps(&stopped, "rl") + steps(&stopped, "warmup");
        let arguments: &[&str] = if code.is_none() { &["-q"] } else { &["-q", "--resume"] };
        let further = |program: &Program| steps(program, "rl") + steps(program, "warmup") > before;
        let said = stopped.signalled(arguments, signal, further).code(expected);
        assert!(said.contains("Go on with:") && said.contains("--resume"), "{said}");
        code = Some(expected);
    }
    stopped.train(&["-q", "--resume"]).success();
    assert_same(&whole, &stopped);
    let said = stopped.train(&["-q", "--resume"]).success();
    assert!(said.contains("all stages are complete"), "{said}");
    assert_same(&whole, &stopped);
}

/// Where optimisers are not kept, the newest checkpoint of what is under way has one; what is done has none, and says so before anything is written.
#[test]
fn a_stop_keeps_the_optimiser_that_the_recipe_does_not() {
    let leave = ["-q", "--set", "checkpoint.save_optimizer=false", "--set", "checkpoint.every=1"];
    let [whole, stopped] = [two_stages(), two_stages()];
    whole.train(&leave).success();
    stopped.signalled(&leave, libc::SIGTERM, |program| steps(program, "rl") > 1).code(143);
    let resumed = [&leave[..], &["--resume"]].concat();
    stopped.train(&resumed).success();
    assert_same(&whole, &stopped);
    let has = |step: &str| stopped.out().join(step).join("optimizer.safetensors").exists();
    assert!(!has("warmup-step-000003") && !has("rl-step-000001") && !has("rl-step-000006"));
    let longer = [&resumed[..], &["--set", "stage.rl.run.steps=8"]].concat();
    for more in [&["--dry-run"][..], &[]] {
        let said = stopped.train(&[&longer[..], more].concat()).code(2);
        let told = "rl-step-000006: it was written with checkpoint.save_optimizer = false";
        assert!(said.contains(told) && said.contains("policy.model"), "{said}");
    }
    assert!(!stopped.out().join("recipe-2.toml").exists());
}

/// What a resume refuses, its dry run refuses too, and neither leaves a recipe.
#[test]
fn what_has_lost_its_end_is_refused_by_a_dry_run_too() {
    let stopped = two_stages();
    stopped.signalled(&["-q"], libc::SIGTERM, |program| steps(program, "rl") > 1).code(143);
    let file = stopped.out().join("metrics.jsonl");
    let text = fs::read(&file).unwrap();
    fs::write(&file, &text[..text.len() / 3]).unwrap();
    for more in [&["--dry-run"][..], &[]] {
        let set = ["-q", "--resume", "--set", "stage.rl.optim.lr=2e-3"];
        let said = stopped.train(&[&set[..], more].concat()).code(2);
        assert!(said.contains("metrics.jsonl has lost its end"), "{said}");
    }
    assert!(!stopped.out().join("recipe-2.toml").exists());
}

/// The command that is said is one that works, at whatever moment the run was stopped.
#[test]
fn what_is_said_to_go_on_with_does() {
    let out = |program: &Program| program.out().exists();
    let marked = |program: &Program| program.out().join("run.json").exists();
    let recipe = |program: &Program| program.out().join("recipe.toml").exists();
    let moments: [&dyn Fn(&Program) -> bool; 3] = [&out, &marked, &recipe];
    let whole = two_stages();
    whole.train(&["--quiet"]).success();
    for (at, ready) in moments.into_iter().enumerate() {
        let stopped = two_stages();
        let said = stopped.signalled(&["-q"], libc::SIGTERM, ready).code(143);
        let command = said.rsplit_once("Go on with:\n  ").expect("a command").1.lines().next().unwrap();
        let mut shell = std::process::Command::new("sh");
        shell.args(["-c", command]).current_dir(stopped.out().parent().unwrap());
        let ended = shell.output().unwrap();
        assert!(ended.status.success(), "{at}: {command}\n{}", String::from_utf8_lossy(&ended.stderr));
        assert_same(&whole, &stopped);
    }
}

/// A hundred questions take a while; the checkpoint of the step is there before, and the evaluation is made up for.
#[test]
fn an_evaluation_can_be_cut_short() {
    let recipe =
        MODEL.recipe(&stages()).replace("eval = 6", "eval = 99\n").replace("digits = [1]", "digits = [2]");
    let recipe = recipe.replace("run.steps = 6", "run.steps = 2");
    let [whole, cut] = [Program::new(&recipe), Program::new(&recipe)];
    whole.train(&["--quiet"]).success();
    let saved = |program: &Program| program.out().join("rl-step-000002").exists();
    let ended = cut.signalled(&["-q"], libc::SIGTERM, saved).code(143);
    assert!(ended.contains("Go on with:"), "{ended}");
    cut.train(&["-q", "--resume"]).success();
    assert_same(&whole, &cut);
}

/// Both rounds' results but the newest are pruned: that round 1 is done does not depend on what is kept.
#[test]
fn a_run_of_rounds_goes_on_in_the_round_in_which_it_was_killed() {
    let recipe = MODEL.recipe(&stages()).replace("run.steps = 6", "run.steps = 2");
    let rounds = "[run]\nrounds = 3\n[checkpoint]\nkeep_last = 1\nevery = 1\n[data]";
    let recipe = recipe.replacen("[data]", rounds, 1);
    let [whole, killed] = [Program::new(&recipe), Program::new(&recipe)];
    // 32 completions a round: the 70th is one of round 3. A stage starts the program anew, so it counts in a file.
    let sets = |nth: usize| {
        let counts = format!(
            "while read -r _; do echo >> count; if [ $(wc -l < count) = {nth} ] && [ ! -e killed ]; then : > killed; \
             kill -9 $PPID; fi; echo 0; done"
        );
        format!(
            "stage.rl.reward.fatal={{kind=\"command\", weight=0.0, command=[\"sh\", \"-c\", {counts:?}]}}"
        )
    };
    whole.train(&["-q", "--set", &sets(1000)]).success();
    killed.train(&["-q", "--set", &sets(70)]).killed();
    assert!(!killed.out().join("warmup-step-000003").exists(), "round 1's result is pruned");
    let before = fs::read(killed.out().join("traces/rl.jsonl")).unwrap();
    killed.train(&["-q", "--set", &sets(70), "--resume"]).success();
    assert!(fs::read(killed.out().join("traces/rl.jsonl")).unwrap() == before, "round 1 is not made anew");
    // Their recipes name different kills.
    let mut found = differences(&whole.out(), &killed.out());
    found.retain(|line| !line.starts_with("recipe.toml: "));
    assert_eq!(found, Vec::<String>::new());
}

#[test]
fn a_finished_run_goes_on_with_more_steps() {
    let [whole, extended] = [two_stages(), two_stages()];
    // What an evaluation at the old end adds is left out of what is compared.
    let never = ["-q", "--set", "stage.rl.eval.at_end=false", "--set", "stage.rl.eval.every=0"];
    let with = |more: &[&'static str]| [&never[..], more].concat();
    whole.train(&with(&["--set", "stage.rl.run.steps=6"])).success();
    extended.train(&with(&["--set", "stage.rl.run.steps=4"])).success();
    let said = extended.train(&with(&["--set", "stage.rl.run.steps=6", "--resume"])).success();
    assert!(said.contains("stage.rl.run.steps: 4 → 6") && said.contains("goes on from there"), "{said}");
    let weights =
        |program: &Program| fs::read(program.out().join("rl-step-000006/model.safetensors")).unwrap();
    assert!(weights(&whole) == weights(&extended));
    let recipe = |name: &str| fs::read_to_string(extended.out().join(name)).unwrap();
    assert!(recipe("recipe.toml").contains("steps = 4") && recipe("recipe-2.toml").contains("steps = 6"));

    let refused = extended.train(&with(&[
        "--resume",
        "--set",
        "run.seed=9",
        "--set",
        "stage.warmup.run.steps=8",
        "--set",
        "stage.rl.run.steps=6",
    ]));
    let refused = refused.code(2);
    for words in ["run.seed: 0 → 9", "stage.warmup.run.steps: 3 → 8", "would not reach them"] {
        assert!(refused.contains(words), "{refused}");
    }
    assert!(!extended.out().join("recipe-3.toml").exists() && steps(&extended, "rl") == 6);
}

/// "I have seen enough of it": with fewer steps than it has made a stage ends, evaluated as at its end, and the next begins.
#[test]
fn a_stage_that_is_past_its_new_end_is_evaluated_and_closed() {
    let eval = "[eval]\nat_start = false\nevery = 0\n";
    let program = Program::new(&MODEL.recipe(&warmed_up(eval, [9000, 1], RL)));
    program.signalled(&["-q"], libc::SIGUSR1, |program| steps(program, "warmup") >= 3).code(138);
    let resumed = ["-q", "--resume", "--set", "stage.warmup.run.steps=2"];
    let said = program.train(&resumed).success();
    let ended = steps(&program, "warmup");
    assert!(ended >= 3);
    let words = format!("stage `warmup` was past step 2 already: it ends at step {ended}");
    assert!(said.contains(&words), "{said}");
    let evaluated: Vec<(String, u64)> = lines(&program.out().join("evaluations.jsonl"))
        .iter()
        .map(|line| (line["stage"].as_str().unwrap().to_owned(), line["step"].as_u64().unwrap()))
        .collect();
    assert_eq!(evaluated, [("warmup".to_owned(), ended as u64), ("rl".to_owned(), 1)]);
    let checkpoint = program.out().join(format!("warmup-step-{ended:06}/state.json"));
    assert!(fs::read_to_string(checkpoint).unwrap().contains("eval/accuracy"));
    let said = program.train(&resumed).success();
    assert!(said.contains("all stages are complete"), "{said}");
}

/// Rows that have become others are not learned, and a start that has become another one is not gone on from: both are said.
#[test]
fn a_run_that_is_done_tells_what_has_changed_under_it() {
    let program = Program::new(&on_rows("sft"));
    let rows = "{\"prompt\": \"q\", \"completion\": \"a\"}\n";
    program.write("rows.jsonl", rows);
    program.train(&["-q"]).success();
    let told = "has read other files than there are now, and is done: rows.jsonl had 35 bytes and has 70;";
    for (rows, changed) in [(rows.to_owned(), false), (rows.repeat(2), true)] {
        program.write("rows.jsonl", &rows);
        for arguments in [&["-q", "--resume"][..], &["--resume", "--dry-run"]] {
            let said = program.train(arguments).success();
            assert!(said.contains("all stages are complete") && said.contains(told) == changed, "{said}");
        }
    }
    let marker = program.out().join("run.json");
    let text = fs::read_to_string(&marker).unwrap();
    fs::write(&marker, text.replace("\"started\": 1", "\"started\": 2")).unwrap();
    let said = program.train(&["-q", "--resume"]).code(2);
    assert!(said.contains("run.json is not any more what was written"), "{said}");
}

/// What the report says of a stage's learning rate.
fn lr(program: &Program, stage: &str) -> f64 {
    let report = shown(&fs::read_to_string(program.out().join("report.html")).unwrap()).unwrap();
    let rows = list(&report["recipe"], "rows").to_vec();
    let row = rows.into_iter().find(|row| row["stage"] == stage && row["key"] == "optim.lr").unwrap();
    row["value"].as_str().unwrap().parse().unwrap()
}

/// Report and comparison say what ran, whatever recipe comes after it.
#[test]
fn a_resume_with_nothing_to_do_changes_nothing_that_is_told() {
    let program = two_stages();
    let set = |sets: &[&'static str]| -> Vec<&'static str> {
        ["-q", "--resume"].into_iter().chain(sets.iter().flat_map(|set| ["--set", *set])).collect()
    };
    program.train(&["-q", "--set", "stage.rl.run.steps=3"]).success();
    for sets in [
        &["stage.rl.run.steps=3", "stage.rl.optim.lr=0.5"][..],
        &["stage.rl.run.steps=3", "stage.warmup.optim.lr=0.5"],
        &["stage.rl.run.steps=2"],
    ] {
        let said = program.train(&set(sets)).success();
        assert!(said.contains("none of it has an effect") && said.contains("(without effect: "), "{said}");
        assert!(said.contains("all stages are complete") && !said.contains("holds from here on"), "{said}");
        assert!(!program.out().join("recipe-2.toml").exists());
        assert_eq!((lr(&program, "warmup"), lr(&program, "rl")), (1e-3, 1e-3));
    }
    // Where one goes on, the other says what it ran with, now and later.
    let longer = set(&["stage.rl.run.steps=4", "stage.rl.optim.lr=2e-3", "stage.warmup.optim.lr=0.5"]);
    for words in ["holds from here on", "none of it has an effect"] {
        let said = program.train(&longer).success();
        assert!(
            said.contains(words) && said.contains("stage.warmup.optim.lr: 0.001 → 0.5 (without"),
            "{said}"
        );
        assert_eq!((lr(&program, "warmup"), lr(&program, "rl")), (1e-3, 2e-3));
    }
    assert!(!program.out().join("recipe-3.toml").exists());
    let other = two_stages();
    other.train(&["-q", "--set", "stage.rl.run.steps=4", "--set", "stage.rl.optim.lr=2e-3"]).success();
    let sides = [&program, &other].map(|side| side.out().to_string_lossy().into_owned());
    let compared = program.verb(&["compare", &sides[0], &sides[1], "--json"]).success();
    assert!(compared.contains("\"recipes\": []"), "{compared}");
}

#[test]
fn what_was_lost_of_a_run_is_named() {
    let program = two_stages();
    program.train(&["-q", "--set", "stage.rl.checkpoint.every=2"]).success();
    let path = program.out().join("metrics.jsonl");
    let text = fs::read_to_string(&path).unwrap();
    let lines: Vec<&str> = text.split_inclusive('\n').collect();
    let garbage = [&lines[..2], &["\0\0\0\0\n"], &lines[3..]].concat().concat();
    let twice = [&lines[..2], &lines[1..]].concat().concat();
    for broken in [[&lines[..2], &lines[3..]].concat().concat(), garbage, twice, String::new()] {
        fs::write(&path, &broken).unwrap();
        let said = program.train(&["-q", "--resume", "--set", "stage.rl.run.steps=8"]).code(2);
        assert!(said.contains("metrics.jsonl"), "{said}");
        assert_eq!(fs::read_to_string(&path).unwrap(), broken, "nothing is repaired");
    }
    fs::write(&path, &text).unwrap();
    let optimizer = program.checkpoint("rl-step-000006").join("optimizer.safetensors");
    let bytes = fs::read(&optimizer).unwrap();
    let older = program.out().join(".kept");
    let resume = || program.train(&["-q", "--resume", "--set", "stage.rl.run.steps=8"]);
    fs::write(&optimizer, &bytes[..bytes.len() / 2]).unwrap();
    let said = resume().code(2);
    assert!(said.contains("optimizer.safetensors") && said.contains("to go on from"), "{said}");
    fs::rename(&optimizer, &older).unwrap();
    let said = resume().code(2);
    assert!(said.contains("optimizer.safetensors was written and is gone"), "{said}");
    fs::remove_file(&older).unwrap();
    fs::write(&optimizer, bytes).unwrap();
    resume().success();
}

#[test]
fn other_rows_under_the_same_path_are_refused() {
    let row = |at: usize| json!({"question": format!("{at}+1"), "answer": (at + 1).to_string()});
    let program = Program::new(&on_rows("sft").replace("steps = 1", "steps = 2"));
    program.write("rows.jsonl", &rows(&(0..4).map(row).collect::<Vec<_>>()));
    program.train(&["-q"]).success();
    program.write("rows.jsonl", &rows(&(1..5).map(row).collect::<Vec<_>>()));
    let said = program.train(&["-q", "--resume", "--set", "run.steps=4"]).code(2);
    assert!(said.contains("rows.jsonl has other content"), "{said}");
    // What was refused leaves no trace of itself.
    assert!(!program.out().join("recipe-2.toml").exists());
}

/// A reward may change while a run goes on, and is then named otherwise; other weights under the name that it had are refused.
#[test]
fn another_reward_model_under_the_same_path_is_refused() {
    let maker = Program::new(&MODEL.recipe(&warmed_up("", [1, 1], RL)));
    maker.train(&["-q"]).success();
    let asks = "[stage.reward.perplexity]\nmodel = \"judge\"\n[stage.loop.grpo]\n";
    let program = Program::new(&MODEL.recipe(&warmed_up("", [1, 2], asks)));
    let [judge, other] = ["judge", "other"].map(|name| program.out().with_file_name(name));
    fs::create_dir(&judge).unwrap();
    for file in files(&maker.checkpoint("rl-step-000001")) {
        fs::copy(&file, judge.join(file.file_name().unwrap())).unwrap();
    }
    program.train(&["-q"]).success();
    let weights = judge.join("model.safetensors");
    let mut bytes = fs::read(&weights).unwrap();
    *bytes.last_mut().unwrap() ^= 0x80;
    fs::write(&weights, bytes).unwrap();
    let longer = ["-q", "--resume", "--set", "stage.rl.run.steps=3"];
    let said = program.train(&longer).code(2);
    assert!(said.contains("judge/model.safetensors has other content"), "{said}");
    assert!(!program.out().join("recipe-2.toml").exists(), "what was refused leaves no trace of itself");
    fs::rename(&judge, &other).unwrap();
    let renamed = [&longer[..], &["--set", "stage.rl.reward.perplexity.model='other'"]].concat();
    program.train(&renamed).success();
}

#[test]
fn a_failed_start_leaves_what_was_there() {
    let program = Program::new(&on_rows("sft"));
    program.train(&["-q"]).code(2);
    assert!(!program.out().exists());
    program.write("rows.jsonl", "{\"question\": \"1+1\", \"answer\": \"2\"}\n");
    program.train(&["-q"]).success();
    let before: Vec<_> =
        files(&program.out()).into_iter().map(|path| (fs::read(&path).unwrap(), path)).collect();
    program.write("rows.jsonl", "no row\n");
    program.train(&["-q", "--overwrite"]).code(2);
    let after: Vec<_> =
        files(&program.out()).into_iter().map(|path| (fs::read(&path).unwrap(), path)).collect();
    assert!(before == after, "the finished run is where it was");
    program.write("rows.jsonl", "{\"question\": \"1+2\", \"answer\": \"3\"}\n");
    program.train(&["-q", "--overwrite"]).success();
    assert!(!program.out().join(".replaced").exists());
}

/// What a run reads cannot go with the one that it replaces; what is no part of that one stays.
#[test]
fn overwriting_takes_nothing_that_is_still_wanted() {
    let program = two_stages();
    program.train(&["-q"]).success();
    let out = program.out();
    let listed = || files(&out);
    for file in ["notes.md", "thesis/t.tex"] {
        let path = out.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "years").unwrap();
    }
    let before = listed();
    let refused = |said: &str, named: &str| {
        assert!(said.contains(&format!("{named} belongs to the run in ")), "{said}");
        assert!(said.contains("choose another --out") && listed() == before, "{said}");
    };
    for more in ["--dry-run", "-q"] {
        let own = ["--overwrite", more, "--set", "stage.rl.policy.model='out/rl-step-000006'"];
        refused(&program.train(&own).code(2), "out/rl-step-000006");
        refused(&program.train_into("out/recipe.toml", &out, &own[..2]).code(2), "out/recipe.toml");
    }
    program.train(&["-q", "--overwrite", "--set", "stage.rl.run.steps=1"]).success();
    assert!(!out.join("rl-step-000006").exists() && out.join("rl-step-000001").exists());
    for file in ["notes.md", "thesis/t.tex"] {
        assert_eq!(fs::read_to_string(out.join(file)).unwrap(), "years");
    }
}

#[test]
fn weights_that_are_none_are_never_saved() {
    let program = two_stages();
    program.train(&["-q", "--set", "stage.rl.run.steps=1"]).success();
    let good = fs::read(program.checkpoint("rl-step-000001").join("model.safetensors")).unwrap();
    let hot = ["-q", "--resume", "--set", "stage.rl.run.steps=9", "--set", "stage.rl.optim.lr=1e38"];
    let hot = [&hot[..], &["--set", "checkpoint.keep_last=1", "--set", "checkpoint.every=1"]].concat();
    let said = program.train(&hot).code(1);
    assert!(said.contains("finite") && !said.contains("Internal torch error"), "{said}");
    assert!(fs::read(program.checkpoint("rl-step-000001").join("model.safetensors")).unwrap() == good);
}

/// A reader that goes away after the first line, and one that was never there.
#[test]
fn nobody_has_to_read_what_is_said() {
    let program = two_stages();
    let mut child = program.start(&[], |_| true);
    let mut first = [0];
    child.stderr.take().unwrap().read_exact(&mut first).unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!((steps(&program, "warmup"), steps(&program, "rl")), (3, 6));
}

#[test]
fn nothing_in_the_data_is_obeyed_by_the_terminal() {
    let program = Program::new(&(on_rows("collect") + "[rollout.dataset]\n[reward.answer]\n"));
    let row =
        json!({"question": "\u{1b}]0;title\u{7}1+1", "answer": "2", "completions": ["\u{1b}[2J#### 2"]});
    program.write("rows.jsonl", &rows(&[row]));
    let said = program.train(&[]).success();
    assert!(said.contains("[2J") && !said.contains(['\u{1b}', '\u{7}']), "{said}");
}
