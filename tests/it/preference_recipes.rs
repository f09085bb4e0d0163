//! The recipes of preference papers, as they are but for a model of a few thousand weights and rows of a few characters.

use crate::program::{Program, number, rows};
use crate::recipes::{Tiny, shipped, small};
use crate::server::Teacher;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::process::Command;

/// The recipe `name` with a new model in the place of SmolLM2, over `rows.jsonl`, `more` in front of its first stage.
fn tiny(name: &str, model: &Tiny, more: &str) -> String {
    let recipe = shipped(name);
    let named = "model = \"HuggingFaceTB/SmolLM2-135M-Instruct\"\n";
    assert!(recipe.contains(named), "{name} starts from another model");
    let (head, stages) = recipe.split_once("[[stage]]").unwrap();
    // Its own [policy] has the type of the weights.
    let head = head.replace(named, "dtype = \"f32\"\n");
    format!("{head}{}[[stage]]{stages}", Tiny { dtype: None, ..*model }.recipe(more))
}

const BYTES: Tiny = Tiny { context: Some(256), ..Tiny::BYTES };
const LAST_NUMBER: &str = "[data.format]\nanswer = [\"last_number\"]\n";
const DIGITS: Tiny = Tiny { alphabet: Some("12 \n"), context: Some(256), ..Tiny::BYTES };

/// Questions of ones and twos, of which the answer is one.
fn digits() -> String {
    let row = |i: usize| json!({"question": "1 2 ".repeat(i % 4 + 1), "answer": (1 + i % 2).to_string()});
    rows(&(0..12).map(row).collect::<Vec<_>>())
}

#[test]
fn planning_ranks_rationales_by_their_process() {
    let recipe =
        tiny("planning-dpo", &DIGITS, LAST_NUMBER).replace("hub:openai/gsm8k:main/train", "rows.jsonl");
    let program = Program::new(&recipe);
    program.write("rows.jsonl", &digits());
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
    program.train_set(&sets).success();
    let cut = |trace: &Value| trace["cuts"].as_array().is_some_and(|cuts| !cuts.is_empty());
    let values = program.traces("values");
    assert!(values.iter().filter(|trace| cut(trace)).all(|trace| trace["cuts"][0]["continuations"] == 3));
    assert!(values.iter().any(cut));
    assert_eq!(program.steps("prm").len(), 4);
    // Of a question's ten completions a right one stands above a wrong one, and above a right one whose product of scores is smaller by
    // 0.001.
    let mut questions: BTreeMap<String, Vec<(bool, f64)>> = BTreeMap::new();
    for trace in program.traces("trajectories") {
        let kept = (trace["predicted"] == trace["answer"], number(&trace, "reward"));
        questions.entry(trace["example"].to_string()).or_default().push(kept);
    }
    let better = |a: &(bool, f64), b: &(bool, f64)| a.0 && (!b.0 || a.1 - b.1 >= 0.001);
    let pairs = |all: &Vec<(bool, f64)>| {
        all.iter().map(|a| all.iter().filter(|b| better(a, b)).count()).sum::<usize>()
    };
    let expected: usize = questions.values().map(pairs).sum();
    let dpo = program.steps("dpo");
    assert!((number(&dpo[0], "loss") - std::f64::consts::LN_2).abs() < 1e-6);
    assert!(expected > 0, "no pair, so this shows nothing");
    assert_eq!(number(&dpo[0], "pairs/built"), expected as f64);
}

/// Rows with a right rationale; the text of each question names its numbers.
fn rationales() -> String {
    let row = |i: u32| json!({"question": format!("{i}+1"), "rationale": format!("{i} and 1"), "answer": (i + 1).to_string()});
    rows(&(0..4).map(row).collect::<Vec<_>>())
}

/// A teacher that makes every sum greater by 5, but says the right answer of 3+1; and what it was asked.
fn teacher() -> String {
    let teacher = Teacher::says(|_, asked| {
        let answer: u32 =
            asked.split("The right answer is ").nth(1).unwrap().split('.').next().unwrap().parse().unwrap();
        let other = if answer == 4 { 4 } else { answer + 5 };
        vec![format!("{} and 6\n#### {other}", answer - 1)]
    });
    teacher.url
}

#[test]
fn frodo_teaches_a_writer_and_a_reader() {
    let recipe = tiny("frodo", &BYTES, "")
        .replace("recipes/samples/rationales.jsonl", "rows.jsonl")
        .replace("http://127.0.0.1:8000", &teacher())
        .replace("lr = 5e-6", "lr = 1e-2");
    let program = Program::new(&recipe);
    program.write("rows.jsonl", &rationales());
    program
        .train_set(&["data.template.chat=false", "stage.writer.run.steps=3", "stage.reader.run.steps=20"])
        .success();
    // Of four questions one came to its gold answer all the same.
    let writer = program.steps("writer");
    assert_eq!(
        (number(&writer[0], "pairs/built"), number(&writer[0], "pairs/dropped/same_answer")),
        (3.0, 1.0)
    );
    assert!((number(&writer[0], "loss") - std::f64::consts::LN_2).abs() < 1e-6);
    assert!(number(&writer[2], "rewards/margins") > 0.0);
    // The reader knows no difference at first, and reads and learns both answers: max(0, 1 − 0) and the two −log p.
    let reader = program.steps("reader");
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
    let teacher = Teacher::says(|body, asked| {
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
        vec![text; body["n"].as_u64().unwrap_or(1) as usize]
    });
    let recipe = tiny("poda-contrastive", &BYTES, "")
        .replace("recipes/samples/options.jsonl", "rows.jsonl")
        .replace("http://127.0.0.1:8000", &teacher.url)
        .replace("lr = 1e-6", "lr = 1e-2")
        .replace("context = 256", "context = 512");
    let program = Program::new(&recipe);
    let row = |i: usize| json!({"question": format!("question {i} holds A"), "choices": ["x", "y", "z"], "answer": "A"});
    program.write("rows.jsonl", &rows(&(0..5).map(row).collect::<Vec<_>>()));
    let sets = ["data.template.chat=false", "stage.sft.run.steps=2", "stage.contrast.run.steps=6"];
    program.train_set(&sets).success();
    assert_eq!((program.traces("annotated").len(), program.traces("altered").len()), (5, 10));
    // Of each question's two wrong options four questions' come to what was meant; each names the question that it alters.
    let again = program.traces("reanswered");
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
    let contrast = program.steps("contrast");
    let (first, last) = (&contrast[0], &contrast[5]);
    assert_eq!((number(first, "pairs/built"), number(first, "pairs/dropped/not_analysed")), (6.0, 2.0));
    assert!(number(last, "loss") < number(first, "loss"), "{first} {last}");
    assert!(number(last, "cosine/margins") > number(first, "cosine/margins"), "{first} {last}");
}

/// Rows as the hub has them become those that three recipes ask for; what cannot be used is counted, and the recipes read the rest.
#[test]
fn public_rows_become_those_of_the_recipes() {
    let reading = json!({"id_string": "r", "context": "All sleep.", "question": "Who?", "answers": ["a", "b", "c"], "label": 1});
    let explained = json!({"id": "e", "question": "Where?", "choices": {"label": ["A", "B"], "text": ["sea", "land"]}, "answerKey": "B", "rationale": "It walks."});
    let sum = json!({"question": "1+1?", "answer": "one and one: <<1+1=2>>2\n#### 2"});
    let rated =
        |response: &str, mark: i32| json!({"prompt": "3+4?", "response": response, "helpfulness": mark});
    let judged = |response: &str| {
        format!("Asked: 3+4?\nAnswered: {response}\nRubric: 5 is as helpful as can be, 1 does not help.")
    };
    let cases = [
        (
            ["frodo", "rationales", "2 of 3 rows; left out: 1 no answer"],
            vec![sum, explained.clone(), json!({"question": "2+2?", "rationale": "two and two"})],
            vec![
                json!({"id": "train-1", "question": "1+1?", "rationale": "one and one: 2", "answer": "2"}),
                json!({"id": "e", "question": "Where?\n(A) sea\n(B) land", "rationale": "It walks.", "answer": "B", "choices": ["sea", "land"]}),
            ],
        ),
        (
            [
                "poda-contrastive",
                "options",
                "1 of 3 rows; left out: 1 not three to ten options that differ, 1 come again",
            ],
            vec![explained, reading.clone(), reading],
            vec![
                json!({"id": "r", "question": "All sleep.\nWho?", "choices": ["a", "b", "c"], "answer": "B"}),
            ],
        ),
        (
            ["self-rationalizing-judge", "judgements", "2 of 3 rows; left out: 1 no mark"],
            vec![rated("7", 4), rated("9", 0), rated("8", 5)],
            vec![
                json!({"id": "train-1", "question": judged("7"), "answer": "5"}),
                json!({"id": "train-2", "question": judged("9"), "answer": "1"}),
            ],
        ),
    ];
    for ([recipe, kind, counted], public, expected) in cases {
        let program = Program::new(&tiny(recipe, &Tiny { context: Some(2048), ..Tiny::BYTES }, ""));
        let (data, made) = (program.out().with_file_name("public"), program.out().with_file_name("made"));
        std::fs::create_dir(&data).unwrap();
        program.write("public/train.jsonl", &rows(&public));
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/public/rows.py");
        let convert = || Command::new("python3").args([script, kind]).args([&data, &made]).output().unwrap();
        let output = convert();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success() && said.contains(counted), "{recipe}: {said}");
        let text = std::fs::read_to_string(made.join("train.jsonl")).unwrap();
        let found: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(found, expected, "{recipe}");
        let sets = ["data.train=made/train.jsonl", "data.template.chat=false"];
        program.train(&["--dry-run", "--set", sets[0], "--set", sets[1]]).success();
        // A line that is no row is told by its place, and leaves what was made as it was.
        program.write("public/train.jsonl", &format!("{}{{\n", rows(&public)));
        let said = String::from_utf8_lossy(&convert().stderr).into_owned();
        assert!(said.contains(&format!("train.jsonl:{}: ", public.len() + 1)), "{recipe}: {said}");
        assert_eq!(std::fs::read_to_string(made.join("train.jsonl")).unwrap(), text, "{recipe}");
    }
}

#[test]
fn flow_teaches_two_adapters_and_then_one_model() {
    let recipe = tiny("flow-dpo", &DIGITS, LAST_NUMBER).replace("hub:openai/gsm8k:main/train", "rows.jsonl");
    let program = Program::new(&recipe);
    program.write("rows.jsonl", &digits());
    let sets = [
        "data.template.chat=false",
        "policy.sampling.temperature=1.0",
        "stage.flow.loop.dpo.flow.chunk_tokens=2",
        "stage.flow.loop.dpo.flow.chunks=3",
        "stage.flow.loop.dpo.flow.question=\"1\"",
        "stage.flow.loop.dpo.flow.yes=\"2\"",
        "stage.flow.loop.dpo.flow.no=\"1\"",
    ];
    program.train_set(&sets).success();
    // A pass over twelve questions, four a step; then three over those that the flow solved, each once.
    assert_eq!(program.of_stage("flow").len(), 3);
    let traces = program.traces("flow");
    let right = traces.iter().filter(|trace| trace["reward"] == 1.0);
    let solved: std::collections::BTreeSet<&str> =
        right.map(|trace| trace["example"].as_str().unwrap()).collect();
    assert!(!solved.is_empty());
    let compiled = program.steps("compile");
    assert_eq!(compiled.len(), 3 * solved.len().div_ceil(16));
    assert!(number(&compiled[0], "num_tokens") > 0.0);
}

/// What makes the recipes of sums small: a model that learns some of them in 120 steps, of rationales of a line or two.
const SUMS: [&str; 11] = [
    "policy.init.hidden_size=32",
    "policy.init.layers=2",
    "policy.sampling.max_new_tokens=40",
    "policy.sampling.temperature=1.0",
    "data.prompts_per_step=16",
    "data.task.addition.digits=[1, 2]",
    "data.task.addition.train=200",
    "data.task.addition.eval=8",
    "stage.sft.run.steps=120",
    "stage.sft.data.train_limit=200",
    "stage.sft.optim.lr=1e-2",
];

#[test]
fn branches_are_held_against_whole_rationales() {
    let sets = [
        "stage.explore.data.train_limit=48",
        "stage.explore.rollout.prefix.size=3",
        "stage.explore.rollout.prefix.continuations=4",
        "stage.sample.data.train_limit=48",
        "stage.sample.rollout.group.size=6",
        "stage.rft.run.steps=1",
        "stage.orpo.run.steps=1",
        "stage.branches.run.steps=1",
        "stage.branches-whole.run.steps=1",
    ];
    let program = small("rpo-arithmetic", &[&SUMS[..], &sets].concat());
    let of = |stage: &str, figure: &str| number(&program.steps(stage)[0], figure);
    assert!(of("orpo", "pairs/built") > 0.0 && of("branches", "pairs/built") > 0.0);
    // The same pairs of the same weights: what they share counts in one of the two preferences.
    assert_eq!(of("branches", "pairs/built"), of("branches-whole", "pairs/built"));
    assert!((of("branches", "logps/chosen") - of("branches-whole", "logps/chosen")).abs() > 1e-6);
    let kept = program.traces("explore").iter().filter(|trace| trace["branched_at"].is_object()).count();
    assert!(kept > 0 && kept % 4 == 0, "{kept} continuations");
    assert_eq!(program.evaluations().len(), 5, "the start and four arms");
}

#[test]
fn a_process_is_held_against_the_outcome() {
    let sets = [
        "stage.values.data.train_limit=48",
        "stage.values.rollout.prefix.size=3",
        "stage.values.rollout.prefix.share=0.9",
        "stage.prm.run.steps=2",
        "stage.trajectories.data.train_limit=48",
        "stage.trajectories.rollout.group.size=6",
        "stage.outcome.run.steps=1",
        "stage.process.run.steps=1",
        "stage.process.select.pairs.min_gap=0.0001",
    ];
    let program = small("planning-dpo-arithmetic", &[&SUMS[..], &sets].concat());
    let built = |stage: &str| number(&program.steps(stage)[0], "pairs/built");
    assert!(built("outcome") > 0.0 && built("process") > built("outcome"), "right ones are ranked besides");
    let kept =
        std::fs::read_to_string(program.checkpoint("prm-step-000002").join("reward_model.json")).unwrap();
    let kept: Value = serde_json::from_str(&kept).unwrap();
    assert_eq!(kept["score_classes"], json!([2, 3]));
    // A product of probabilities.
    assert!(
        program.traces("trajectories").iter().all(|trace| (0.0..=1.0).contains(&number(trace, "reward")))
    );
    assert_eq!(program.evaluations().len(), 3);
}

#[test]
fn critiques_are_filtered_and_counted_by_several() {
    let judged = ["judged", "judged-once", "judged-before"].map(|stage| {
        ["data.eval_limit=4", "rollout.best_of.n=2", "reward.critic.max_new_tokens=12"]
            .map(|set| format!("stage.{stage}.{set}"))
    });
    let mut sets: Vec<&str> = judged.iter().flatten().map(String::as_str).collect();
    sets.extend(&SUMS[..8]);
    sets.extend([
        "stage.critic.run.steps=100",
        "stage.critic.optim.lr=1e-2",
        "stage.critiques.data.train_limit=64",
        "stage.agree.run.steps=1",
        "stage.agree-plainly.run.steps=1",
        "stage.solver.run.steps=20",
        "stage.judged.reward.critic.samples=2",
        "stage.judged-before.reward.critic.samples=2",
    ]);
    let program = small("r-prm", &sets);
    // By hand: of each line's ten critiques those that come to a verdict, and of these the share that agree.
    let mut lines: BTreeMap<String, Vec<(bool, bool)>> = BTreeMap::new();
    for trace in program.traces("critiques") {
        let told = (!trace["predicted"].is_null(), number(&trace, "reward") == 1.0);
        lines.entry(trace["example"].to_string()).or_default().push(told);
    }
    let mut dropped = 0;
    for critiques in lines.values() {
        let valid = critiques.iter().filter(|(valid, _)| *valid).count();
        let agree = critiques.iter().filter(|(_, agrees)| *agrees).count();
        dropped += critiques.len() - if valid < 3 * agree { valid } else { 0 };
    }
    let of = |stage: &str, figure: &str| number(&program.steps(stage)[0], figure);
    assert_eq!(of("agree", "pairs/dropped/filtered"), dropped as f64);
    assert_eq!(of("agree-plainly", "pairs/dropped/filtered"), 0.0);
    let (filtered, all) = (of("agree", "pairs/built"), of("agree-plainly", "pairs/built"));
    assert!(filtered > 0.0 && filtered <= all && dropped > 0, "{filtered} of {all} pairs");
    let evaluations = program.evaluations();
    let stages = ["critic-held-out", "agree-held-out", "agree-plainly-held-out"];
    for stage in stages {
        let evaluation = evaluations.iter().find(|evaluation| evaluation["stage"] == stage).unwrap();
        assert_eq!(evaluation["report"]["majority_at"].as_object().unwrap().len(), 3, "{evaluation}");
    }
}

/// The paper's shape: ten ways on from every cut of one right path, and eight pairs of a question.
#[test]
fn reasoning_paths_are_branched_from() {
    let recipe = tiny("rpo", &DIGITS, LAST_NUMBER)
        .replace("hub:openai/gsm8k:main/train", "rows.jsonl")
        .replace("hub:openai/gsm8k:main/test", "held-out.jsonl");
    let program = Program::new(&recipe);
    program.write("rows.jsonl", &digits());
    program.write("held-out.jsonl", &rows(&[json!({"question": "2 1", "answer": "1"})]));
    let sets = [
        "data.template.chat=false",
        "policy.sampling.max_new_tokens=12",
        "policy.sampling.temperature=1.0",
        "stage.optimise.run.steps=2",
        "stage.explore.run.steps=1",
    ];
    program.train_set(&sets).success();
    let traces = program.traces("explore");
    let cut = traces.iter().filter_map(|trace| trace["cuts"].as_array()).flatten();
    assert!(cut.clone().count() > 0 && cut.clone().all(|cut| cut["continuations"] == 10));
    let first = &program.steps("optimise")[0];
    assert!(number(first, "pairs/built") > 0.0 && number(first, "pairs/dropped/over_cap") > 0.0, "{first}");
}
