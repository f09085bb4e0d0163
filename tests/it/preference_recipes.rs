//! The recipes of preference papers, as they are but for a model of a few thousand weights and rows of a few characters.

use crate::program::{Ended, Program, lines, number};
use crate::server;
use serde_json::{Value, json};
use std::fs;

/// The recipe `name` with a new model in the place of SmolLM2, over `rows.jsonl`, `more` in front of its first stage.
fn tiny(name: &str, more: &str) -> String {
    let path = format!("{}/recipes/{name}.toml", env!("CARGO_MANIFEST_DIR"));
    let recipe = fs::read_to_string(path).unwrap();
    let model = "model = \"HuggingFaceTB/SmolLM2-135M-Instruct\"\n";
    assert!(recipe.contains(model), "{name} starts from another model");
    let init = "dtype = \"f32\"\n[policy.init]\ntokenizer = \"bytes\"\nhidden_size = 16\nlayers = 1\nheads = 2\n\
        kv_heads = 2\ncontext = 256\n";
    let (head, stages) = recipe.split_once("[[stage]]").unwrap();
    let more =
        format!("[devices]\npolicy = \"cpu\"\nthreads = 1\n[log]\ntensorboard = false\n{more}[[stage]]");
    format!("{}{more}{stages}", head.replace(model, init))
}

fn run(program: &Program, sets: &[&str]) -> Ended {
    let sets: Vec<&str> = sets.iter().flat_map(|set| ["--set", set]).collect();
    program.train(&[&["--quiet"], &sets[..]].concat())
}

/// The figures of a stage's steps.
fn of_stage(program: &Program, stage: &str) -> Vec<Value> {
    let all = lines(&program.out().join("metrics.jsonl"));
    all.into_iter().filter(|line| line["stage"] == stage && line["loss"].is_number()).collect()
}

#[test]
fn planning_ranks_rationales_by_their_process() {
    let recipe = tiny("planning-dpo", "[data.format]\nanswer = [\"last_number\"]\n")
        .replace("hub:openai/gsm8k:main/train", "rows.jsonl")
        .replace("\"bytes\"", "\"characters\"\nalphabet = \"12 \\n\"");
    let program = Program::new(&recipe);
    let rows: String = (0..12)
        .map(|i| format!("{{\"question\":\"{}\",\"answer\":\"{}\"}}\n", "1 2 ".repeat(i % 4 + 1), 1 + i % 2))
        .collect();
    program.write("rows.jsonl", &rows);
    let sets = [
        "data.template.chat=false",
        "policy.sampling.max_new_tokens=12",
        "policy.sampling.temperature=1.0",
        "stage.values.rollout.prefix.share=0.8",
        "stage.values.run.steps=2",
        "stage.prm.run.steps=4",
        "stage.trajectories.run.steps=1",
        "stage.dpo.run.steps=2",
        "stage.dpo.select.pairs.min_gap=0.001",
    ];
    run(&program, &sets).success();
    let cut = |trace: &Value| trace["cuts"].as_array().is_some_and(|cuts| !cuts.is_empty());
    let values = lines(&program.out().join("traces/values.jsonl"));
    assert!(values.iter().filter(|trace| cut(trace)).all(|trace| trace["cuts"][0]["continuations"] == 3));
    assert!(values.iter().any(cut));
    assert_eq!(of_stage(&program, "prm").len(), 4);
    // A product of shares lies between 0 and 1, and pairs are more than right against wrong alone would be.
    let trajectories = lines(&program.out().join("traces/trajectories.jsonl"));
    let reward = |trace: &Value| number(trace, "reward");
    assert!(trajectories.iter().all(|trace| (0.0..=1.0).contains(&reward(trace))));
    let dpo = of_stage(&program, "dpo");
    assert!((number(&dpo[0], "loss") - std::f64::consts::LN_2).abs() < 1e-6);
    let built = |stage: &Value| number(stage, "pairs/built");
    let ranked = built(&dpo[0]);
    let plain =
        [&sets[..], &["stage.dpo.select.pairs.kind=\"correct_wrong\"", "stage.dpo.select.pairs.min_gap=0.0"]]
            .concat();
    let again = Program::new(&recipe);
    again.write("rows.jsonl", &rows);
    run(&again, &plain).success();
    assert!(ranked > built(&of_stage(&again, "dpo")[0]), "{ranked}");
}

/// Rows with a right rationale; the text of each question names its numbers.
fn rationales() -> String {
    let row = |i: u32| json!({"question": format!("{i}+1"), "rationale": format!("{i} and 1"), "answer": (i + 1).to_string()});
    (0..4).map(|i| format!("{}\n", row(i))).collect()
}

/// A teacher that makes every sum greater by 5, but says the right answer of 3+1; and what it was asked.
fn teacher() -> String {
    server::serve(|received| {
        let body: Value = serde_json::from_str(&received.body).unwrap();
        let asked =
            body["messages"].as_array().unwrap().last().unwrap()["content"].as_str().unwrap().to_string();
        let answer: u32 =
            asked.split("The right answer is ").nth(1).unwrap().split('.').next().unwrap().parse().unwrap();
        let other = if answer == 4 { 4 } else { answer + 5 };
        let text = format!("{} and 6\n#### {other}", answer - 1);
        let choice = json!({"message": {"content": text}, "finish_reason": "stop"});
        server::json("200 OK", json!({"choices": [choice], "usage": {}}))
    })
}

#[test]
fn frodo_teaches_a_writer_and_a_reader() {
    let recipe = tiny("frodo", "")
        .replace("rationales.jsonl", "rows.jsonl")
        .replace("http://127.0.0.1:8000", &teacher())
        .replace("lr = 5e-6", "lr = 1e-2");
    let program = Program::new(&recipe);
    program.write("rows.jsonl", &rationales());
    run(&program, &["data.template.chat=false", "stage.writer.run.steps=3", "stage.reader.run.steps=20"])
        .success();
    // Of four questions one came to its gold answer all the same.
    let writer = of_stage(&program, "writer");
    assert_eq!(
        (number(&writer[0], "pairs/built"), number(&writer[0], "pairs/dropped/same_answer")),
        (3.0, 1.0)
    );
    assert!((number(&writer[0], "loss") - std::f64::consts::LN_2).abs() < 1e-6);
    assert!(number(&writer[2], "rewards/margins") > 0.0);
    // The reader knows no difference at first, and reads and learns both answers: max(0, 1 − 0) and the two −log p.
    let reader = of_stage(&program, "reader");
    let (first, last) = (&reader[0], &reader[19]);
    assert!(
        number(first, "rewards/margins").abs() < 0.5 && number(first, "rows_without_answer") == 0.0,
        "{first}"
    );
    assert!(
        number(first, "loss") > 1.0 && number(last, "loss") < 0.5 * number(first, "loss"),
        "{first} {last}"
    );
    assert!(number(last, "logps/chosen") > number(first, "logps/chosen"), "{first} {last}");
}

#[test]
fn poda_contrasts_what_premises_turn_round() {
    // The teacher reads the right letter off the question, and alters it as it is asked to; the second question it then answers as if
    // nothing had been altered, and of the third it forgets an option.
    let url = server::serve(|received| {
        let body: Value = serde_json::from_str(&received.body).unwrap();
        let asked = body["messages"].as_array().unwrap().last().unwrap()["content"].as_str().unwrap();
        let number = asked.split("question ").nth(1).unwrap().split(' ').next().unwrap();
        let letter = asked.split("holds ").nth(1).unwrap().chars().next().unwrap();
        let altering = asked.split("so that (").nth(1).and_then(|rest| rest.chars().next());
        let says = |option: char| if option == letter { "follows" } else { "fails" };
        let text = if let Some(other) = altering {
            format!("question {number} now\nholds {other}\nThe answer is ({other}).")
        } else {
            let right = if number == "1" { 'A' } else { letter };
            let options = if number == "2" { "AB" } else { "ABC" };
            let lines: String =
                options.chars().map(|option| format!("({option}) {}\n", says(option))).collect();
            format!("{lines}The answer is ({right}).")
        };
        let choice = json!({"message": {"content": text}, "finish_reason": "stop"});
        let choices: Vec<Value> = vec![choice; body["n"].as_u64().unwrap_or(1) as usize];
        server::json("200 OK", json!({"choices": choices, "usage": {}}))
    });
    let recipe = tiny("poda-contrastive", "")
        .replace("options.jsonl", "rows.jsonl")
        .replace("http://127.0.0.1:8000", &url)
        .replace("lr = 1e-6", "lr = 1e-2")
        .replace("context = 256", "context = 512");
    let program = Program::new(&recipe);
    let row = |i: usize| json!({"question": format!("question {i} holds A"), "choices": ["x", "y", "z"], "answer": "A"});
    program.write("rows.jsonl", &(0..5).map(|i| format!("{}\n", row(i))).collect::<String>());
    let sets = ["data.template.chat=false", "stage.sft.run.steps=2", "stage.contrast.run.steps=6"];
    run(&program, &sets).success();
    let traces = |stage: &str| lines(&program.out().join(format!("traces/{stage}.jsonl")));
    assert_eq!((traces("annotated").len(), traces("altered").len()), (5, 10));
    // Of each question's two wrong options four questions' come to what was meant; each names the question that it alters.
    let again = traces("reanswered");
    let of =
        |trace: &Value| (trace["counterfactual_of"].as_str().unwrap().to_string(), trace["answer"].clone());
    let both = |line: i32| ["(B)", "(C)"].map(|answer| (format!("rows:{line}"), json!(answer)));
    let expected: Vec<_> = [1, 3, 4, 5].into_iter().flat_map(both).collect();
    let mut found: Vec<_> = again.iter().map(of).collect();
    found.sort_by_key(|(id, answer)| (id.clone(), answer.to_string()));
    assert_eq!(found, expected);
    let to_b = again.iter().find(|trace| trace["answer"] == "(B)").unwrap();
    let prompt = to_b["prompt"].as_str().unwrap();
    assert!(prompt.ends_with("now\nholds B\n(A) x\n(B) y\n(C) z"), "{prompt}");
    let contrast = of_stage(&program, "contrast");
    let (first, last) = (&contrast[0], &contrast[5]);
    assert_eq!((number(first, "pairs/built"), number(first, "pairs/dropped/not_analysed")), (6.0, 2.0));
    assert!(number(last, "loss") < number(first, "loss"), "{first} {last}");
    assert!(number(last, "cosine/margins") > number(first, "cosine/margins"), "{first} {last}");
}

#[test]
fn flow_teaches_two_adapters_and_then_one_model() {
    let recipe = tiny("flow-dpo", "[data.format]\nanswer = [\"last_number\"]\n")
        .replace("hub:openai/gsm8k:main/train", "rows.jsonl")
        .replace("\"bytes\"", "\"characters\"\nalphabet = \"12 \\n\"");
    let program = Program::new(&recipe);
    let rows: String = (0..12)
        .map(|i| format!("{{\"question\":\"{}\",\"answer\":\"{}\"}}\n", "1 2 ".repeat(i % 4 + 1), 1 + i % 2))
        .collect();
    program.write("rows.jsonl", &rows);
    let sets = [
        "data.template.chat=false",
        "policy.sampling.temperature=1.0",
        "stage.flow.loop.dpo.flow.chunk_tokens=2",
        "stage.flow.loop.dpo.flow.chunks=3",
        "stage.flow.loop.dpo.flow.question=\"1\"",
        "stage.flow.loop.dpo.flow.yes=\"2\"",
        "stage.flow.loop.dpo.flow.no=\"1\"",
    ];
    run(&program, &sets).success();
    // A pass over twelve questions, four a step; then three over those that the flow solved, each once.
    let metrics = lines(&program.out().join("metrics.jsonl"));
    assert_eq!(metrics.iter().filter(|line| line["stage"] == "flow").count(), 3);
    let traces = lines(&program.out().join("traces/flow.jsonl"));
    let right = traces.iter().filter(|trace| trace["reward"] == 1.0);
    let solved: std::collections::BTreeSet<&str> =
        right.map(|trace| trace["example"].as_str().unwrap()).collect();
    assert!(!solved.is_empty());
    let compiled = of_stage(&program, "compile");
    assert_eq!(compiled.len(), 3 * solved.len().div_ceil(16));
    assert!(number(&compiled[0], "num_tokens") > 0.0);
}
