//! Reports: of every kind of loop, of runs that end otherwise, of data that would be markup, of runs that are long.

use crate::compare::shown;
use crate::faults::recipes::{self, Tried};
use crate::program::{Program, list};
use crate::recipes::Tiny;
use serde_json::{Value, json};
use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::Instant;

/// What the report in a run's folder shows.
fn report(program: &Program) -> Value {
    let html = fs::read_to_string(program.out().join("report.html")).unwrap();
    shown(&html).unwrap_or_else(|| panic!("no report: {html}"))
}

/// Runs one of the recipes that every loop is in.
fn tried(name: &str) -> Program {
    let Tried { recipe, rows, .. } = recipes::all().into_iter().find(|tried| tried.name == name).unwrap();
    let program = Program::new(&recipe);
    program.write("rows.jsonl", &rows);
    program.train(&["--quiet"]).success();
    program
}

fn figures(report: &Value, stage: &str) -> Vec<String> {
    let stages = list(report, "stages");
    let found = stages.iter().find(|one| one["name"] == stage).unwrap_or_else(|| panic!("no stage {stage}"));
    assert_eq!((&found["done"], &found["begun"]), (&json!(true), &json!(true)), "{stage}");
    found["figures"].as_object().map_or(vec![], |all| all.keys().cloned().collect())
}

fn has(program: &Program, file: &str) -> bool {
    fs::metadata(program.out().join(file)).is_ok_and(|found| found.len() > 0)
}

#[test]
fn of_supervised_and_policy_gradient_stages() {
    let program = tried("policy-gradient");
    let report = report(&program);
    assert_eq!((&report["state"]["is"], &report["name"]), (&json!("done"), &json!("out")));
    assert!(figures(&report, "warm").contains(&"loss".to_string()));
    let of_rl = figures(&report, "rl");
    for figure in ["reward", "completions/mean_length", "rewards/answer/mean", "step_time"] {
        assert!(of_rl.contains(&figure.to_string()), "{figure}: {of_rl:?}");
    }
    for file in ["warm-curves.svg", "rl-curves.svg", "table.md", "table.csv", "machine.json"] {
        assert!(has(&program, file), "{file}");
    }
    let svg = fs::read_to_string(program.out().join("rl-curves.svg")).unwrap();
    assert!(svg.contains("Reward") && svg.contains("Tokens of a completion"));
    // All of a short run is there, each rollout as its trace has it.
    let rollouts = list(&report["rollouts"], "all");
    let traces = program.traces("rl");
    assert_eq!(rollouts.len(), traces.len());
    for (shown, trace) in rollouts.iter().zip(&traces) {
        assert_eq!((&shown["text"], &shown["step"]), (&trace["completion"], &trace["step"]));
        assert_eq!(shown["right"].as_bool(), Some(trace["scores"]["answer"] == 1.0));
        let lengths: u64 = list(shown, "lengths").iter().filter_map(Value::as_u64).sum();
        let units = trace["completion"].as_str().unwrap().encode_utf16().count();
        assert_eq!(lengths as usize, units, "the tokens make the text");
        assert_eq!(shown["shades"].as_str().unwrap().len(), list(trace, "logprobs").len());
    }
    // Held-out completions with their questions; the last evaluation is the table's last column.
    let held_out = list(&report["held_out"], "all");
    assert!(!held_out.is_empty() && held_out.iter().all(|one| one["at"].is_number()));
    let prompt = held_out[0]["at"].as_u64().unwrap() as usize;
    let question = held_out[0]["question"].as_str().unwrap().split(':').next_back().unwrap();
    assert!(list(&report["held_out"], "prompts")[prompt].as_str().unwrap().contains(question));
    let title = list(&report["table"], "header").last().unwrap();
    assert_eq!(title, &list(&report, "evaluations").last().unwrap()["title"]);
    assert!(fs::read_to_string(program.out().join("table.md")).unwrap().contains(title.as_str().unwrap()));
    assert_eq!(
        fs::read_to_string(program.out().join("table.csv")).unwrap().lines().count(),
        program.evaluations().len() + 1
    );
    // What the recipe says is told from what it would be by itself.
    let rows = list(&report["recipe"], "rows");
    let row = |key: &str| rows.iter().find(|row| row["key"] == key && row["stage"] != "warm").unwrap();
    assert_eq!(
        (&row("loop.grpo.kl.coefficient")["changed"], &row("loop.grpo.kl.coefficient")["value"]),
        (&json!(true), &json!("0.1"))
    );
    for key in ["loop.grpo.minibatches", "loop.grpo.loss.clip_low", "loop.grpo.kl.estimator"] {
        assert_eq!(row(key)["changed"], false, "{key}");
    }
    assert!(!row("loop.grpo.minibatches")["meaning"].as_str().unwrap().is_empty());
}

#[test]
fn of_preferences_and_the_rollouts_that_they_are_made_of() {
    let program = tried("iterative");
    let report = report(&program);
    assert!(figures(&report, "dpo").contains(&"rewards/margins".to_string()));
    assert!(figures(&report, "collect").contains(&"reward".to_string()));
    // Two rounds of two stages.
    assert_eq!(list(&report, "stages").len(), 4);
    for file in ["dpo-curves.svg", "dpo-r2-curves.svg", "collect-curves.svg"] {
        assert!(has(&program, file), "{file}");
    }
    let svg = fs::read_to_string(program.out().join("dpo-curves.svg")).unwrap();
    assert!(svg.contains("Preference accuracy") && svg.contains("Log-probabilities of a pair"));
}

#[test]
fn of_bootstrapped_rationales_trees_and_reward_models() {
    let star = tried("bootstrapped");
    assert!(figures(&report(&star), "star").contains(&"star/coverage".to_string()));
    assert!(has(&star, "star-accuracy.svg") && has(&star, "star-curves.svg"));
    let trees = tried("trees");
    let report = report(&trees);
    assert!(!figures(&report, "prm").is_empty());
    let tree = &list(&report["rollouts"], "trees")[0];
    let nodes = list(tree, "nodes");
    assert!(
        nodes.iter().any(|node| node["parent"].is_null())
            && nodes.iter().any(|node| node["parent"].is_number())
    );
    assert_eq!(tree["all"], nodes.len());
}

#[test]
fn of_rewards_as_tokens_online_preferences_and_counterfactuals() {
    let adapted = report(&tried("adapted"));
    assert!(!figures(&adapted, "mario").is_empty() && !figures(&adapted, "online").is_empty());
    let contrasted = report(&tried("contrasted"));
    assert!(figures(&contrasted, "contrast").contains(&"loss".to_string()));
}

/// A question, a rationale, an answer and a class that would be markup, an escape of a terminal, a text that turns about, or the end of
/// the report.
const HOSTILE: &str = "</script><script>alert('x')</script><img src=x onerror=alert(1)> \u{1b}[31m&amp; \u{202e}cba <!-- \u{2028} | `=1+1`";

#[test]
fn what_rows_say_is_text_and_never_markup() {
    let recipe = Tiny::BYTES.recipe(
        "[run]\nsteps = 2\n[data]\ntrain = \"rows.jsonl\"\neval = \"rows.jsonl\"\nprompts_per_step = 2\ntemplate.chat = false\n\
         template.user = \"{{ question }}\"\n[policy.sampling]\nmax_new_tokens = 4\n[eval]\nby = \"kind\"\nshow = 1\n[loop.sft]\n",
    );
    let program = Program::new(&recipe);
    let row = |id: usize| json!({ "id": format!("{id}{HOSTILE}"), "question": HOSTILE, "completion": HOSTILE, "answer": HOSTILE, "kind": HOSTILE });
    program.write("rows.jsonl", &format!("{}\n{}\n", row(1), row(2)));
    program.train(&["--quiet"]).success();
    let html = fs::read_to_string(program.out().join("report.html")).unwrap();
    // The page's own two scripts, and no other tag of data's.
    assert_eq!((html.matches("<script").count(), html.matches("</script").count()), (2, 2));
    for markup in ["<img", "<!--", "alert('x')</script", "\u{1b}", "\u{2028}"] {
        assert!(!html.contains(markup), "{markup:?}");
    }
    // It is all there, as it was.
    let report = report(&program);
    let held_out = list(&report["held_out"], "all");
    assert!(held_out[0]["gold"] == HOSTILE && held_out[0]["question"].as_str().unwrap().ends_with(HOSTILE));
    assert_eq!(list(&report["held_out"], "prompts")[0], HOSTILE);
    assert!(list(&list(&report, "before_after")[0], "points").len() == 2);
    let table = fs::read_to_string(program.out().join("table.md")).unwrap();
    assert!(!table.contains("<img") && !table.contains('\u{1b}') && table.contains("&lt;img"), "{table}");
    // A cell cannot make another: as many as the header has, each time.
    let cells = |line: &str| line.replace("\\|", "").matches('|').count();
    assert!(table.lines().all(|line| cells(line) == cells(table.lines().next().unwrap())), "{table}");
}

#[test]
fn of_a_run_that_was_stopped_and_of_one_that_failed() {
    let Tried { recipe, .. } =
        recipes::all().into_iter().find(|tried| tried.name == "policy-gradient").unwrap();
    let program = Program::new(&recipe);
    let begun =
        |program: &Program| program.out().join("metrics.jsonl").metadata().is_ok_and(|file| file.len() > 0);
    // Long enough that the signal comes while it trains.
    let long = ["--quiet", "--set", "stage.warm.run.steps=400"];
    program.signalled(&long, libc::SIGTERM, begun).code(143);
    let of_stop = report(&program);
    assert_eq!(of_stop["state"]["is"], "stopped");
    assert!(of_stop["state"]["why"].as_str().unwrap().contains("--resume"), "{}", of_stop["state"]);
    // The folder alone says that nobody works on it.
    program.verb(&["report", "out"]).success();
    assert_eq!(report(&program)["state"], json!({ "is": "stopped", "why": null }));
    program.train(&["--quiet", "--resume", "--set", "stage.warm.run.steps=5"]).success();
    assert_eq!(report(&program)["state"]["is"], "done");

    // Four completions a step: the ninth is of the third.
    let reward = "n=0; while read -r _; do n=$((n + 1)); [ $n = 9 ] && exit 3; echo 0; done";
    let recipe = Tiny::SUMS.recipe(&format!(
        "{ADDITION}[reward.command]\ncommand = [\"sh\", \"-c\", {reward:?}]\n[rollout.group]\nsize = 2\n[loop.grpo]\n"
    ));
    let failing = Program::new(&recipe);
    failing.train(&["--quiet"]).code(1);
    let of_failure = report(&failing);
    assert_eq!(of_failure["state"]["is"], "failed");
    assert!(of_failure["state"]["why"].as_str().unwrap().contains("reward"), "{}", of_failure["state"]);
    assert_eq!(list(&of_failure, "stages")[0]["step"], 2);
}

const ADDITION: &str = "[run]\nsteps = 3\n[data]\nprompts_per_step = 2\ntemplate.chat = false\ntemplate.user = \"{{ question }}\\n\"\n\
    [data.task.addition]\ndigits = [1]\ntrain = 20\neval = 4\n[policy.sampling]\nmax_new_tokens = 6\n";

#[test]
fn a_report_that_cannot_be_written_takes_nothing_with_it() {
    let program = Program::new(&Tiny::SUMS.recipe(&format!("{ADDITION}[loop.sft]\n")));
    program.train(&["--quiet"]).success();
    let path = program.out().join("report.html");
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    fs::write(path.join("in the way"), "x").unwrap();
    let said = program.train(&["--quiet", "--resume", "--set", "run.steps=5"]).success();
    assert!(said.contains("report.html cannot be written, and the run goes on"), "{said}");
    assert!(program.out().join("sft-step-000005").is_dir());
}

#[test]
fn the_verb_writes_reports_and_prints_figures() {
    let program = Program::new(&Tiny::SUMS.recipe(&format!("{ADDITION}[eval]\n[loop.sft]\n")));
    program.train(&["--quiet"]).success();
    fs::remove_file(program.out().join("report.html")).unwrap();
    assert!(program.verb(&["report", "out"]).success().contains("report: out/report.html"));
    assert_eq!(report(&program)["state"]["is"], "done");
    let csv = program.verb(&["report", "out", "--csv"]).success();
    let lines: Vec<&str> = csv.lines().collect();
    let at = |name: &str| lines[0].split(',').position(|column| column == name).unwrap();
    // Before the first step there is an evaluation alone.
    assert_eq!(lines.len(), 5, "{csv}");
    let (loss, step) = (at("loss"), at("step"));
    let of_step_2 = program.steps("sft")[1]["loss"].as_f64().unwrap();
    let cells: Vec<&str> = lines[3].split(',').collect();
    assert_eq!((cells[step], cells[loss].parse::<f64>().unwrap()), ("2", of_step_2));
    let markdown = program.verb(&["report", "out", "--markdown"]).success();
    assert_eq!(markdown, fs::read_to_string(program.out().join("table.md")).unwrap());
    assert!(program.verb(&["report", "nowhere"]).code(2).contains("nowhere"));
    program.verb(&["report", "out", "--csv", "--markdown"]).code(2);
}

/// Whoever opens a pipe waits for who writes into it.
#[test]
fn a_run_of_which_a_file_is_a_pipe_is_refused_and_listed() {
    let program = Program::new(&Tiny::SUMS.recipe(&format!("{ADDITION}[eval]\n[loop.sft]\n")));
    program.train(&["--quiet"]).success();
    for name in ["stages.json", "recipe.toml", "machine.json", "metrics.jsonl"] {
        let (path, aside) = (program.out().join(name), program.out().join("aside"));
        fs::rename(&path, &aside).unwrap();
        let made = std::process::Command::new("mkfifo").arg(&path).status().unwrap();
        assert!(made.success());
        for verb in [&["report", "out"][..], &["report", "out", "--csv"], &["compare", "out", "out"]] {
            let said = program.verb(verb).code(2);
            assert!(said.contains(&format!("{name}: a pipe or a device")), "{verb:?}: {said}");
        }
        let listed = program.verb(&["list", "out"]).success();
        assert!(listed.contains("unreadable") && listed.contains("a pipe or a device"), "{listed}");
        fs::rename(&aside, &path).unwrap();
    }
    program.verb(&["report", "out"]).success();
}

/// A run of 60 000 rollouts with 5000 steps of figures has a report of a few megabytes, which says what is left out.
#[test]
fn of_a_long_run_is_bounded() {
    let program = tried("policy-gradient");
    let out = program.out();
    let traces = fs::read_to_string(out.join("traces/rl.jsonl")).unwrap();
    let one: Value = serde_json::from_str(traces.lines().next().unwrap()).unwrap();
    let mut file = std::io::BufWriter::new(fs::File::create(out.join("traces/rl.jsonl")).unwrap());
    for rollout in 0..60_000 {
        let mut trace = one.clone();
        let (step, group, sample) = (rollout / 120 + 1, rollout / 8 % 15, rollout % 8);
        trace["step"] = json!(step);
        trace["example"] = json!(format!("q{group}"));
        trace["id"] = json!(format!("q{group}/{step}-{sample}"));
        trace["completion"] = json!(format!("{rollout}: {}", "because it is so, ".repeat(30)));
        writeln!(file, "{trace}").unwrap();
    }
    drop(file);
    lengthen(&out.join("metrics.jsonl"), 5000);
    let began = Instant::now();
    program.verb(&["report", "out"]).success();
    let (took, size) = (began.elapsed(), fs::metadata(out.join("report.html")).unwrap().len());
    println!("60 000 rollouts: {size} bytes in {:.1} s", took.as_secs_f64());
    assert!(size < 6 << 20, "{size} bytes");
    let report = report(&program);
    let part = &list(&report["rollouts"], "files")[0];
    let (lines, shown) = (part["lines"].as_u64().unwrap(), part["shown"].as_u64().unwrap());
    assert!(lines == 60_000 && (1000..=2000).contains(&shown), "{part}");
    let rollouts = list(&report["rollouts"], "all");
    assert_eq!(rollouts.len() as u64, shown);
    // Whole groups of eight, from the first step to the last.
    let steps: Vec<u64> = rollouts.iter().map(|one| one["step"].as_u64().unwrap()).collect();
    assert!(steps[0] == 1 && *steps.last().unwrap() == 500 && steps.is_sorted());
    for group in rollouts.chunks(8) {
        assert!(
            group
                .iter()
                .all(|one| (&one["step"], &one["example"]) == (&group[0]["step"], &group[0]["example"]))
        );
    }
    let rl = list(&report, "stages").iter().find(|stage| stage["name"] == "rl").unwrap().clone();
    assert!(list(&rl["figures"]["reward"], "steps").len() <= 300);
}

/// Writes the figures of `rl` again and again.
fn lengthen(path: &Path, steps: usize) {
    let text = fs::read_to_string(path).unwrap();
    let line = text.lines().rfind(|line| line.contains("\"rl\"") && line.contains("\"reward\"")).unwrap();
    let mut line: Value = serde_json::from_str(line).unwrap();
    let mut file = fs::File::options().append(true).open(path).unwrap();
    let mut all = String::new();
    for step in 6..=steps {
        line["step"] = json!(step);
        all += &format!("{line}\n");
    }
    file.write_all(all.as_bytes()).unwrap();
}
