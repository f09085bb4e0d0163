//! Trees over a rubric's questions, grown by a teacher behind a local server and by a small policy: what is asked, what the
//! traces hold, what is learned from them.

mod program;
mod server;

use program::{Program, lines, number};
use serde_json::{Value, json};
use std::sync::{Arc, Mutex};

const RECIPE: &str = r#"
[data]
train = "rows.jsonl"
prompts_per_step = 1
template.user = "Marked: {{ question }}"
shuffle = false
[policy]
dtype = "f32"
[policy.init]
tokenizer = "bytes"
hidden_size = 16
layers = 1
heads = 2
kv_heads = 2
context = 160
[devices]
policy = "cpu"
threads = 1
[log]
tensorboard = false
[[stage]]
name = "trees"
data.template.chat = false
[stage.rollout.tree]
at = "questions"
[stage.rollout.tree.schema]
rubrics = "rubrics.toml"
votes = 4
[stage.rollout.tree.schema.endpoint]
url = "URL/v1"
model = "teacher"
[stage.reward.answer]
[stage.loop.collect]
[[stage]]
name = "sft"
data.train = "@trees"
[stage.select]
correct = true
[stage.loop.sft]
[[stage]]
name = "dpo"
data.train = "@trees"
[stage.select.pairs]
kind = "path_label"
matching = "confidence"
[stage.loop.dpo]
"#;

const RUBRICS: &str = "[[rubric]]\nname = 'leaf'\nformula = '2 * light + water'\n\
    questions = [{ name = 'light', ask = 'Is there light?' }, { name = 'water', ask = 'Is there water?' }]\n\
    [[rubric]]\nname = 'other'\nquestions = [{ name = 'x' }]\n";

const ROWS: &str = r#"{"id": "a", "question": "the sun shines", "answer": "2", "rubric": "leaf"}
{"id": "b", "question": "it rains", "answer": "3", "rubric": "leaf"}
"#;

/// Of four votes on the light three say yes; nobody sees water, and one vote says neither.
fn teacher() -> (String, Arc<Mutex<Vec<Value>>>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let heard = seen.clone();
    let url = server::serve(move |received| {
        let body: Value = serde_json::from_str(&received.body).unwrap();
        let asked = body["messages"][0]["content"].as_str().unwrap().to_owned();
        let texts = match (body["n"].as_u64(), asked.rsplit_once("Is there light?")) {
            (Some(4), Some((_, after))) if after.starts_with("\nReply") => vec!["Yes", "yes.", "No", "Yes"],
            (Some(4), _) => vec!["no", "No", "perhaps", "no"],
            _ => vec!["it says \"sun\"\nand more"],
        };
        heard.lock().unwrap().push(body);
        let choices: Vec<Value> =
            texts.iter().map(|text| json!({"message": {"content": text}, "finish_reason": "stop"})).collect();
        server::json("200 OK", json!({ "choices": choices }))
    });
    (url, seen)
}

#[test]
fn a_teachers_votes_become_paths_and_paths_become_pairs() {
    let (url, seen) = teacher();
    let program = Program::new(&RECIPE.replace("URL", &url));
    program.write("rows.jsonl", ROWS);
    program.write("rubrics.toml", RUBRICS);
    let said = program.train(&[]).success();

    // For each answer: one vote on light, two reasons, a vote on water on each of two paths, two reasons.
    let bodies = seen.lock().unwrap().clone();
    assert_eq!(bodies.len(), 2 * 7);
    let last_of = |n: &Value| bodies.iter().rfind(|body| body["n"] == *n).unwrap();
    let asked = last_of(&json!(4));
    assert_eq!((&asked["max_tokens"], &last_of(&Value::Null)["max_tokens"]), (&json!(4), &json!(120)));
    // The replies on the way to a question stand before it.
    let expected = ["yes", "no"].map(|reply| {
        format!("Marked: it rains\n\nIs there light? {reply}\nIs there water?\nReply with yes or no only.")
    });
    assert!(expected.iter().any(|text| asked["messages"][0]["content"] == text.as_str()), "{asked}");

    let traces = lines(&program.out().join("traces/trees.jsonl"));
    let texts: Vec<&str> = traces[..2].iter().map(|trace| trace["completion"].as_str().unwrap()).collect();
    let text = |reply: &str, mark: usize| {
        format!("Is there light? {reply}. it says \"sun\"\nIs there water? no. it says \"sun\"\n#### {mark}")
    };
    assert_eq!(texts, [text("yes", 2), text("no", 0)]);
    let vote = |marks: f64| json!({"asked": 4, "marks": marks});
    let fork = &traces[0]["forks"][0];
    assert_eq!((&fork["copies"], &fork["vote"], number(fork, "value")), (&json!(3), &vote(1.0), 1.0));
    assert_eq!(traces[0]["forks"][1]["copies"], 3);
    // The first answer's human mark is the first path's; the second's is no path's.
    let rewards: Vec<f64> = traces.iter().map(|trace| number(trace, "reward")).collect();
    assert_eq!(rewards, [1.0, 0.0, 0.0, 0.0]);
    assert!(
        said.contains("tree of a, 2 leaves\n1.00 3/4 +1  Is there light? yes. it says \"sun\""),
        "{said}"
    );
    let svg = std::fs::read_to_string(program.out().join("trees/trees-000001.svg")).unwrap();
    assert!(svg.contains("0.00 1/4 +0  Is there light? no"), "{svg}");

    let metrics = lines(&program.out().join("metrics.jsonl"));
    let of = |stage: &str| metrics.iter().filter(|line| line["stage"] == stage).cloned().collect::<Vec<_>>();
    // Of an answer's twelve votes the two on water's neither are none; one question of three splits.
    let trees = &of("trees")[0];
    assert_eq!(
        [number(trees, "tree/invalid_votes"), number(trees, "tree/split_questions")],
        [2.0 / 12.0, 1.0 / 3.0]
    );
    assert_eq!(number(trees, "remote/requests"), 7.0);
    // One path is right, and it makes one pair with the wrong one of the same answer.
    assert_eq!(of("sft").len(), 1);
    assert_eq!(
        (number(&of("dpo")[0], "pairs/built"), number(&of("dpo")[0], "pairs/dropped/none_good")),
        (1.0, 1.0)
    );
}

#[test]
fn a_rubric_that_is_not_there_is_named_and_grpo_refuses() {
    let recipe = RECIPE.replace("URL", "http://127.0.0.1:9");
    let program = Program::new(&recipe);
    program.write("rows.jsonl", &ROWS.replace("leaf", "moss"));
    program.write("rubrics.toml", RUBRICS);
    assert!(program.train(&["--quiet"]).code(2).contains("no rubric `moss`; known: leaf, other"));
    program.write("rubrics.toml", &RUBRICS.replace("2 * light", "2 * lihgt"));
    assert!(program.train(&["--quiet", "--overwrite"]).code(2).contains("the formula `2 * lihgt + water`"));
    let program = Program::new(&recipe.replacen("[stage.loop.collect]", "[stage.loop.grpo]", 1));
    assert!(program.train(&["--dry-run"]).code(2).contains("log-probabilities"));
}

/// The shipped recipe in small: a policy that has just learned the form grows trees of its own, and marks agree better than by
/// chance.
#[test]
fn the_recipe_runs_from_warm_up_to_preferences() {
    let program = Program::new(include_str!("../recipes/thought-tree-dpo.toml"));
    let small = [
        "policy.init.hidden_size=48",
        "data.prompts_per_step=8",
        "data.task.marking.train=64",
        "data.task.marking.eval=8",
        "data.task.marking.vague=0.6",
        "stage.warmup.run.steps=80",
        "stage.warmup.optim.lr=6e-3",
        "stage.trees.run.steps=2",
        "stage.trees.rollout.tree.schema.votes=4",
        "stage.sft.run.steps=2",
        "stage.dpo.run.steps=2",
        "log.tensorboard=false",
        "devices.policy=cpu",
        "devices.threads=1",
    ];
    let arguments: Vec<&str> = small.iter().flat_map(|set| ["--set", set]).chain(["--quiet"]).collect();
    program.train(&arguments).success();
    let traces = lines(&program.out().join("traces/trees.jsonl"));
    assert!(!traces.is_empty());
    for trace in &traces {
        // Four lines of the form `light? yes: …`, and the mark that the rubric gives them.
        let text = trace["completion"].as_str().unwrap();
        let (replies, mark) = text.split_once("#### ").unwrap();
        let yes = replies.lines().filter(|line| line.split(": ").next().unwrap().ends_with("? yes")).count();
        assert_eq!(replies.lines().count(), 4, "{text}");
        assert_eq!(
            mark.trim_end_matches(|c: char| !c.is_ascii_digit()),
            [0, 0, 1, 2, 3][yes].to_string(),
            "{text}"
        );
        let forks = trace["forks"].as_array().unwrap();
        assert!(forks.len() == 4 && forks.iter().all(|fork| fork["vote"]["asked"] == 4));
    }
    let metrics = lines(&program.out().join("metrics.jsonl"));
    let last = |stage: &str| metrics.iter().rfind(|line| line["stage"] == stage).unwrap();
    for stage in ["warmup", "sft-marks", "dpo-marks"] {
        assert!((0.0..=1.0).contains(&number(last(stage), "eval/macro_f1")), "{stage}");
    }
    assert!(number(last("dpo"), "rewards/accuracies") >= 0.0);
}
