//! `loop.extract` and `loop.think` as programs: what is learned, refused, saved and shown.

use crate::program::{Program, lines, number};
use crate::recipes::{Tiny, sums, thinking};
use serde_json::{Value, json};

/// Six words of a text, of which one decides the label; another one, `site`, agrees with it where `agrees`.
fn row(n: usize, agrees: bool, marked: bool) -> Value {
    let hash = |salt: usize| (n * 7919 + salt * 104_729 + n / 3) % 997;
    let label = ["low", "high"][hash(1) % 2];
    let site = if agrees { label } else { ["low", "high"][hash(2) % 2] };
    let site = if site == "low" { "qa" } else { "qb" };
    let mut words: Vec<String> = (0..4).map(|at| format!("w{}", hash(10 + at) % 9)).collect();
    let place = hash(3) % 5;
    words.insert(place, label.to_string());
    words.insert(hash(4) % 6, site.to_string());
    let at = words.iter().position(|word| word == label).unwrap();
    let start = words[..at].iter().map(|word| word.len() + 1).sum::<usize>();
    let mut row = json!({"question": words.join(" "), "answer": label});
    if marked {
        row["spans"] = json!([[start, start + label.len()]]);
    }
    row
}

fn file(numbers: std::ops::Range<usize>, agrees: impl Fn(usize) -> bool, marked: bool) -> String {
    numbers.map(|n| format!("{}\n", row(n, agrees(n), marked))).collect()
}

const HEAD: &str = "[data]\ntrain = \"train.jsonl\"\neval = \"eval.jsonl\"\nprompts_per_step = 16\ntemplate.chat = false\n\
    [optim]\nlr = 1e-2\nschedule = \"cosine\"\n[eval]\nat_start = false\n";

const WORDS: Tiny<'static> =
    Tiny { alphabet: Some("abcdefghijklmnopqrstuvwxyz0123456789 \n"), context: Some(128), ..Tiny::SUMS };

fn held_out(program: &Program, stage: &str, name: &str) -> f64 {
    let lines = program.of_stage(stage);
    let line = lines.iter().rev().find(|line| line.get(name).is_some());
    number(line.unwrap_or_else(|| panic!("{stage} says nothing of {name}")), name)
}

/// With its words marked, the word that decides is selected, and the label is told from it alone; the texts lie beside, and on the page.
#[test]
fn what_decides_is_selected_where_it_is_marked() {
    let recipe = WORDS.recipe(&format!(
        "[run]\nsteps = 150\n{HEAD}[loop.extract]\nshare = 0.17\nplausible = 1.0\nmask.kind = \"top_k\"\n"
    ));
    let program = Program::new(&recipe);
    program.write("train.jsonl", &file(0..200, |_| false, true));
    program.write("eval.jsonl", &file(200..240, |_| false, true));
    program.train(&["--quiet"]).success();
    let of = |name: &str| held_out(&program, "extract", name);
    assert!(of("eval/accuracy") > 0.9, "{}", of("eval/accuracy"));
    assert!(of("eval/rationale/accuracy") > 0.9);
    assert!(of("eval/rationale/token_f1") > 0.8, "{}", of("eval/rationale/token_f1"));
    assert!(of("eval/rationale/auprc") > 0.8);
    // It has learned to tell labels, and is not made to write.
    assert!(
        program.of_stage("extract").iter().all(|line| line.get("eval/completions/mean_length").is_none())
    );
    let shown = lines(&program.out().join("evaluations/extract-000150-rows.jsonl"));
    assert_eq!(shown.len(), 40);
    let first = &shown[0]["extracted"];
    assert_eq!(first["units"].as_array().unwrap().iter().filter(|unit| unit["selected"] == true).count(), 1);
    assert_eq!(first["gold"].as_array().unwrap().len(), 1);
    let page = std::fs::read_to_string(program.out().join("report.html")).unwrap();
    assert!(page.contains("\"rationales\":{\"all\":[{"), "the texts are on the page");
    let saved = program.checkpoint("000150");
    let config = std::fs::read_to_string(saved.join("config.json")).unwrap();
    assert!(config.contains("ForSequenceClassification") && config.contains("\"high\": 0"), "{config}");
    assert!(saved.join("extractor.safetensors").is_file() && saved.join("extractor.json").is_file());
}

/// Every kind of mask and term makes steps with finite losses, and what does not fit is refused by its key.
#[test]
fn masks_and_terms_go_together_or_are_refused() {
    let arms = [
        "mask = { kind = \"gumbel\", temperature = [1.0, 0.5] }\nsparsity = 0.1\ncontinuity = 0.1",
        "mask.kind = \"sigmoid\"\nunits = \"sentence\"\ncomprehensive = { weight = 1.0, margin = 0.5, against = \"rationale\" }\nsingular = { weight = 1.0, margin = 0.5 }",
        "mask.kind = \"attention\"\ncouple = 0.1\nnoise = 0.5",
        "mask.kind = \"none\"\nrationale = 0.0\ncontrast.weight = 1.0",
        "mask.kind = \"top_k\"\necho = false\nsufficient = { weight = 1.0, margin = 0.1 }\nevery = 2",
    ];
    let stages: String = arms
        .iter()
        .enumerate()
        .map(|(at, arm)| {
            format!("[[stage]]\nname = \"arm-{at}\"\nrun.steps = 3\n[stage.loop.extract]\n{arm}\n")
        })
        .collect();
    let program = Program::new(&WORDS.recipe(&format!("{HEAD}{stages}")));
    program.write("train.jsonl", &file(0..40, |_| true, true));
    program.write("eval.jsonl", &file(200..206, |_| false, true));
    program.train(&["--quiet"]).success();
    for at in 0..arms.len() {
        for step in program.steps(&format!("arm-{at}")) {
            assert!(number(&step, "loss").is_finite() && number(&step, "grad_norm") > 0.0, "arm {at}");
        }
        assert!(held_out(&program, &format!("arm-{at}"), "eval/rationale/comprehensiveness").abs() <= 1.0);
    }
    let refused = |arm: &str, said: &str| {
        let recipe = WORDS.recipe(&format!("[run]\nsteps = 1\n{HEAD}[loop.extract]\n{arm}\n"));
        let program = Program::new(&recipe);
        program.write("train.jsonl", &file(0..40, |_| true, false));
        program.write("eval.jsonl", &file(200..206, |_| false, false));
        let text = program.train(&["--quiet"]).code(2);
        assert!(text.contains(said), "{text}");
    };
    refused("plausible = 1.0", "no row has a column `spans`");
    refused("shortcut = 1.0", "loop.extract.shortcut");
    refused("plausible = 1.0\nmarked = 0.0", "loop.extract.marked");
    refused("labels = [\"low\", \"middle\"]", "its label \"high\" is none of low, middle");
    refused("several = \"conditions\"", "give it a column `conditions`");
    refused("mask.kind = \"none\"", "loop.extract.rationale");
}

/// Thoughts are sampled, rewarded, learned and measured; the model is loaded by the next stage with and without thinking.
#[test]
fn a_model_thinks_and_is_measured_with_and_without_thoughts() {
    let stage = |name: &str, keys: &str| thinking(name, &format!("{keys}\noptim.lr = 1e-3"), [24, 5, 6]);
    let stages = [
        stage("think", "policy.model = \"@sft\"\nrun.steps = 3") + "[stage.eval]\n",
        stage("further", "policy.model = \"@think\"\nrun.steps = 1"),
        "[[stage]]\nname = \"plain\"\npolicy.model = \"@think\"\nrun.steps = 1\n[stage.loop.sft]\n"
            .to_string(),
    ]
    .concat();
    let program = Program::new(&sums(&stages));
    program.train(&["--quiet"]).success();
    let steps = program.steps("think");
    assert_eq!(steps.len(), 3);
    assert_eq!(number(&steps[0], "thoughts"), 16.0 * 6.0 * 2.0);
    // At first the head gives thoughts no share, so that they change nothing.
    assert_eq!((number(&steps[0], "thoughts/share"), number(&steps[0], "thoughts/reward")), (0.0, 0.0));
    assert!(number(&steps[2], "thoughts/share") != 0.0);
    for name in
        ["eval/loss", "eval/loss/hard", "eval/loss/answer", "eval/thoughts/loss", "eval/thoughts/loss/hard"]
    {
        assert!(held_out(&program, "think", name) > 0.0, "{name}");
    }
    assert!(held_out(&program, "think", "eval/loss/hard") > held_out(&program, "think", "eval/loss"));
    // The head goes on from where it was.
    assert!(number(&program.steps("further")[0], "thoughts/share") != 0.0);
    let saved = |stage: &str| program.out().join(stage).join("thoughts.safetensors").is_file();
    assert!(saved("think-step-000003") && saved("plain-step-000001"));
    let refused = Program::new(&sums(&stages.replace("window = 24", "window = 96")));
    let said = refused.train(&["--quiet"]).code(2);
    assert!(said.contains("loop.think.window = 96") && said.contains("context of 96"), "{said}");
}
