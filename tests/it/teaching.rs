//! What `loop.sft` teaches of a row besides its completion, against plain torch (`fixtures/teaching/make.py`): views, weights of spans, choices, tokens left out and
//! voted passes, values and gradients, whatever comes together; and what is refused.

use crate::program::{Program, apart, number, rows};
use crate::recipes::Tiny;
use rationale::Result;
use rationale::batch::micro_batches;
use rationale::data::{Data, Dataset, Example, Hub, Questions, Tokenizer};
use rationale::log::Metrics;
use rationale::loops::sft::Sft;
use rationale::loops::{Item, Output, Section, Setup, Worker};
use rationale::model::layout::sizes;
use rationale::model::{Grad, Model, Sequence};
use rationale::policy::Policy;
use rationale::rationale::Format;
use rationale::reward::Rewards;
use rationale::select::Select;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tch::{Device, Kind, Tensor};

const FIXTURES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures");

fn expected() -> Value {
    let text = std::fs::read_to_string(format!("{FIXTURES}/teaching/expected.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

fn model() -> Model {
    let model =
        Model::load(Path::new(&format!("{FIXTURES}/models/llama")), Kind::Float, Device::Cpu).unwrap();
    model.train_all();
    model
}

/// A worker over these rows, all of which make a step, in this order.
fn worker(all: &Value, columns: Vec<Value>) -> Worker {
    let tokenizer = Tokenizer::characters(all["alphabet"].as_str().unwrap()).unwrap();
    let eos = vec![tokenizer.eos()];
    let policy = Policy::new(model(), tokenizer, eos, 1).unwrap();
    let example = |(index, row): (usize, Value)| {
        let text = |name: &str| row[name].as_str().map(str::to_string);
        let choices = row["choices"].as_array().into_iter().flatten();
        Arc::new(Example {
            index,
            completion: text("answer"),
            answer: text("answer"),
            choices: choices.map(|choice| choice.as_str().unwrap().to_string()).collect(),
            fields: row.as_object().cloned().unwrap(),
            ..Example::text(format!("row:{index}"), text("question").unwrap())
        })
    };
    let examples = columns.into_iter().enumerate().map(example).collect::<Vec<_>>();
    let count = examples.len();
    let rows = Dataset { name: "rows".into(), examples };
    let questions = Questions::new(&rows, &policy.tokenizer, 128, count, false, 0).unwrap();
    Worker::new(policy, questions, Rewards::none(), Format::default())
}

/// Loss and gradients of one step of `sft`, in micro-batches of so many tokens.
fn step(worker: &mut Worker, sft: &str, budget: usize) -> Result<f64> {
    let sft: Sft = toml::from_str(sft).unwrap();
    assert_eq!(sft.check(), []);
    let rows = Dataset {
        name: "rows".into(),
        examples: worker.questions.all.iter().map(|row| row.example.clone()).collect(),
    };
    let mut setup = Setup {
        rows,
        data: &Data::default(),
        hub: &Hub::from_env(),
        run_seed: 0,
        steps: None,
        epochs: 1.0,
        select: &Select::default(),
        format: &Format::default(),
    };
    let mut method = sft.build(&mut setup)?;
    method.begin(worker, None)?;
    let mut metrics = Metrics::default();
    let batch = method.batch(worker, 1, &mut metrics)?;
    let weight = batch.updates[0].weight;
    let costs = sizes(batch.items.iter().map(|item| (&item.sequences[..], &item.places[..])));
    let mut total = 0.0;
    for indices in micro_batches(&costs, budget) {
        let items: Vec<&Item> = indices.iter().map(|&at| &batch.items[at]).collect();
        let sequences: Vec<Sequence> = items.iter().flat_map(|item| item.sequences.clone()).collect();
        let model = &worker.policy.model;
        let scored = model.score(&sequences, 1.0, Grad::Yes)?;
        let tokens = sequences.iter().map(Sequence::learned).sum();
        let loss =
            method.loss(&items, &Output { model, scored: &scored, weight, tokens }, &mut metrics)? / weight;
        total += loss.double_value(&[]);
        scored.backward(&loss)?;
    }
    Ok(total)
}

/// Holds a loss and the parameters' gradients against those of the fixture.
fn compare(of: &Value, loss: f64, model: &Model) {
    assert!((loss - number(of, "loss")).abs() < 2e-5 * loss.abs().max(1.0), "{loss} and {}", of["loss"]);
    let gradients = of["gradients"].as_object().unwrap();
    let parameters = model.parameters();
    assert_eq!(parameters.len(), gradients.len());
    for (name, parameter) in parameters {
        let flat = parameter.grad().to_kind(Kind::Double).reshape([-1]);
        let cosines = Tensor::arange(flat.size()[0], (Kind::Double, Device::Cpu)).cos();
        let found = [flat.norm().double_value(&[]), (flat * cosines).sum(Kind::Double).double_value(&[])];
        let norm = gradients[&name][0].as_f64().unwrap();
        for (found, expected) in found.into_iter().zip(gradients[&name].as_array().unwrap()) {
            let expected = expected.as_f64().unwrap();
            assert!((found - expected).abs() < 2e-4 * norm.max(1e-3), "{name}: {found} and {expected}");
        }
    }
}

const SECTIONS: [(&str, &str); 3] = [
    (
        "views",
        "[[view]]\nname = 'label'\n[[view]]\nname = 'why'\nweight = 0.5\nwhen = 'verified'\n\
         template.user = '{{ question }} why'\ntemplate.assistant = '{{ rationale }}'",
    ),
    ("spans", "spans_from = 'weights'\n[[spans]]\npattern = '=(\\d+)'"),
    (
        "choices",
        "[choices]\nrationale = '{{ rationales[at] }}'\nsmoothing = 0.05\n\
         perturb = { weight = 0.7, hide = 1.0, smoothing = 0.1 }",
    ),
];

/// Rows in either order, in one micro-batch and in one for each, shared beginnings packed once or not: the same values and gradients as plain
/// torch's, which reads a sequence at a time.
#[test]
fn values_and_gradients_are_plain_torchs() {
    let all = expected();
    for (name, sft) in SECTIONS {
        let rows = all[name]["rows"].as_array().unwrap().clone();
        let reversed: Vec<Value> = rows.iter().rev().cloned().collect();
        for (rows, budget) in [(rows.clone(), 4096), (rows, 1), (reversed, 4096)] {
            let mut worker = worker(&all, rows);
            let loss = step(&mut worker, sft, budget).unwrap();
            compare(&all[name], loss, &worker.policy.model);
        }
    }
}

fn tokens(of: &Value) -> Vec<u32> {
    of.as_array().unwrap().iter().map(|id| id.as_u64().unwrap() as u32).collect()
}

/// −Σ log p and its gradients, in passes of these sequences.
fn nll(model: &Model, passes: &[&[Sequence]]) -> f64 {
    let of = |sequences: &&[Sequence]| {
        let scored = model.score(sequences, 1.0, Grad::Yes).unwrap();
        let loss = -scored.logprobs.sum(Kind::Float);
        let value = loss.double_value(&[]);
        scored.backward(&loss).unwrap();
        value
    };
    passes.iter().map(of).sum()
}

#[test]
fn tokens_left_out_keep_the_positions_of_the_others() {
    let (all, of) = (expected(), &expected()["gaps"]);
    let (ids, gone) = (tokens(&of["tokens"]), tokens(&of["gone"]));
    let whole = Sequence::new(&ids[..number(of, "begin") as usize], &ids[number(of, "begin") as usize..]);
    let without = whole.clone().without(|place| gone.contains(&(place as u32)));
    let both = [whole, without];
    for passes in [&[&both[..]][..], &[&both[1..], &both[..1]]] {
        let model = model();
        let loss = nll(&model, passes);
        compare(&all["gaps"], loss, &model);
    }
}

/// The mean of three passes' states, with masks that the fixture works out number by number; with checkpointing, where layers are computed again, too.
#[test]
fn voted_passes_are_the_mean_of_their_states() {
    let of = &expected()["votes"];
    let sequence = |one: &Value| {
        let (ids, begin) = (tokens(&one["tokens"]), number(one, "begin") as usize);
        let seeds =
            one["seeds"].as_array().unwrap().iter().map(|seed| seed.as_str().unwrap().parse().unwrap());
        Sequence::new(&ids[..begin], &ids[begin..]).dropping(seeds.collect())
    };
    let all: Vec<Sequence> = of["sequences"].as_array().unwrap().iter().map(sequence).collect();
    for (passes, checkpointing) in [(&[&all[..]][..], false), (&[&all[1..], &all[..1]], true)] {
        let mut model = model();
        (model.dropout, model.checkpointing) = (number(of, "share"), checkpointing);
        let loss = nll(&model, passes);
        compare(of, loss, &model);
    }
    // Without dropout all passes are one, and give what it gives.
    let plain: Vec<Sequence> = all.iter().map(|one| one.clone().dropping(vec![])).collect();
    let (with, without) = (nll(&model(), &[&all]), nll(&model(), &[&plain]));
    assert!((with - without).abs() < 1e-4, "{with} and {without}");
}

const HEAD: &str = "[run]\nsteps = 2\n[data]\ntrain = \"train.jsonl\"\neval = \"eval.jsonl\"\nprompts_per_step = 4\ntemplate.chat = false\n\
    [optim]\nlr = 1e-3\n[eval]\nat_start = false\n";

const WORDS: Tiny<'static> = Tiny {
    alphabet: Some("abcdefghijklmnopqrstuvwxyzAB0123456789 \n#=?()"),
    context: Some(128),
    ..Tiny::SUMS
};

fn row(n: usize) -> Value {
    let choices = ["ash", "bur"];
    json!({
        "question": format!("is it {n}? "), "choices": choices, "answer": choices[n % 2], "kept": n.is_multiple_of(3),
        "spans": [[6, 7]],
        "rationale": format!("n={n} so"), "rationales": [format!("{n} is even"), format!("{n} is odd")],
    })
}

fn program(sft: &str, eval: &str, change: impl Fn(&mut Value)) -> Program {
    let program = Program::new(&WORDS.recipe(&format!("{HEAD}{eval}\n[loop.sft]\n{sft}")));
    let mut all: Vec<Value> = (0..16).map(row).collect();
    all.iter_mut().for_each(change);
    program.write("train.jsonl", &rows(&all));
    program.write("eval.jsonl", &rows(&all[..6]));
    program
}

/// Each goes through a run, says its figures and is measured on held-out rows.
#[test]
fn each_kind_of_teaching_runs_and_tells_its_figures() {
    let arms = [
        (
            SECTIONS[0].1.replace("verified", "kept"),
            "",
            &["views/label/loss", "views/why/loss", "eval/loss"][..],
        ),
        (
            "[[loop.sft.spans]]\npattern = 'n=(\\d+)'\nweight = 0.5".into(),
            "",
            &["loss", "eval/perplexity"][..],
        ),
        (
            "words.share = 1.0".into(),
            "greedy.most = 4",
            &["loss", "eval/loss", "eval/greedy/size", "eval/greedy/iou", "eval/greedy/random/found"][..],
        ),
        ("votes = 3".into(), "", &["loss", "eval/loss"][..]),
        (
            "[loop.sft.choices]\nrationale = '{{ rationales[at] }}'\nperturb = {}".into(),
            "choices.rationale = '{{ rationales[at] }}'",
            &[
                "choices/loss",
                "choices/perturbed_loss",
                "choices/accuracy",
                "eval/accuracy",
                "eval/gold",
                "eval/gold_swapped",
            ][..],
        ),
    ];
    for (sft, eval, figures) in arms {
        let sft = sft.replace("[[view]]", "[[loop.sft.view]]");
        let program = program(&sft, eval, |_| {});
        let dropout = if sft.contains("choices") { "policy.dropout=0.0" } else { "policy.dropout=0.1" };
        program.train(&["--quiet", "--set", dropout]).success();
        let said = program.of_stage("sft");
        for figure in figures {
            let line = said.iter().rev().find(|line| line.get(*figure).is_some());
            let line = line.unwrap_or_else(|| panic!("{sft}: nothing of {figure}"));
            assert!(number(line, figure).is_finite(), "{sft}: {figure}");
        }
    }
}

/// A run that goes on drops what it would have dropped.
#[test]
fn dropout_outlives_a_resume() {
    let program = program("votes = 3", "", |_| {});
    let run = |name: &str, sets: &[&str]| -> PathBuf {
        let out = program.out().with_file_name(name);
        let arguments = [&["--quiet", "--set", "policy.dropout=0.1"], sets].concat();
        program.train_into("recipe.toml", &out, &arguments).success();
        out
    };
    let whole = run("whole", &["--set", "run.steps=4"]);
    run("half", &[]);
    let half = run("half", &["--resume", "--set", "run.steps=4"]);
    assert_eq!(apart(&whole.join("sft-step-000004"), &half.join("sft-step-000004")), 0.0);
}

/// What `[loop.sft]` and `[eval]` say, what becomes of each row, and what is told.
type Case<'a> = (&'a str, &'a str, fn(&mut Value), &'a str);

/// Rows that lack what is asked of them, and sections that do not fit, end a dry run with code 2, in words that name the key or the row.
#[test]
fn what_is_lacking_is_refused_before_anything_trains() {
    let choices = "choices.rationale = '{{ rationales[at] }}'";
    let cases: [Case; 14] = [
        (
            "[[loop.sft.view]]\nname = 'v'\ntemplate.assistant = '{{ nothing }}'",
            "",
            |_| {},
            "view `v`: template.assistant",
        ),
        (
            "[[loop.sft.view]]\nname = 'v'\nwhen = 'n == 99'",
            "",
            |row| row["n"] = 1.into(),
            "no view of loop.sft is learned",
        ),
        ("[[loop.sft.spans]]\npattern = 'zz'", "", |_| {}, "looks for by \"zz\""),
        ("spans_from = 'w'", "", |row| row["w"] = json!([[0, 500, 1]]), "list of [start, end, weight]"),
        ("spans_from = 'w'", "", |_| {}, "no column `w`"),
        (choices, choices, |row| row["choices"] = json!(["ash"]), "choices"),
        (
            choices,
            choices,
            |row| drop(row.as_object_mut().unwrap().remove("rationales")),
            "no rationale of its choice",
        ),
        (choices, "", |_| {}, "add [eval.choices]"),
        (choices, "choices = {}", |_| {}, "it is not that of loop.sft.choices"),
        ("votes = 5", "", |_| {}, "without dropout all passes are alike"),
        ("words = {}", "greedy.most = 0", |_| {}, "at least one token is added"),
        (
            "words = {}",
            "greedy = {}",
            |row| row["spans"] = json!([[3, 99]]),
            "the span [3, 99] of its `spans` is empty or leaves its text",
        ),
        ("choices = {}\nwords = {}", "ask = false", |_| {}, "learns choices, and this is of completions"),
        (
            "words = {}",
            "ask = false",
            |row| *row = json!({"text": "a text alone"}),
            "no prompt, of which loop.sft.words",
        ),
    ];
    for (sft, eval, change, told) in cases {
        let program = program(sft, eval, change);
        let said = program.train(&["--dry-run"]).code(2);
        assert!(said.contains(told), "{sft}: {said}");
    }
    let grpo = WORDS.recipe(&format!("{HEAD}[reward.answer]\n[loop.grpo]\n"));
    let program = Program::new(&grpo);
    program.write("train.jsonl", &rows(&(0..4).map(row).collect::<Vec<_>>()));
    program.write("eval.jsonl", &rows(&[row(0)]));
    let said = program.train(&["--dry-run", "--set", "policy.dropout=0.1"]).code(2);
    assert!(said.contains("policy.dropout") && said.contains("only loop.sft reads it"), "{said}");
}
