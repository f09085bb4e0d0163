//! Trees over a rubric's questions, grown by a teacher behind a local server and by a small policy: what is asked, what the
//! traces hold, what is learned from them.

use crate::program::{Program, number};
use crate::recipes::Tiny;
use crate::server::{Teacher, last_turn};
use serde_json::{Value, json};

const MODEL: Tiny = Tiny { context: Some(160), ..Tiny::BYTES };

const RECIPE: &str = r#"
[data]
train = "rows.jsonl"
prompts_per_step = 1
template.user = "Marked: {{ question }}"
shuffle = false
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
fn teacher() -> Teacher {
    Teacher::says(|body, asked| match (body["n"].as_u64(), asked.rsplit_once("Is there light?")) {
        (Some(4), Some((_, after))) if after.starts_with("\nReply") => vec!["Yes", "yes.", "No", "Yes"],
        (Some(4), _) => vec!["no", "No", "perhaps", "no"],
        _ => vec!["it says \"sun\"\nand more"],
    })
}

/// The rows, the rubrics and `recipe` with the teacher's address.
fn program(recipe: &str, url: &str) -> Program {
    let program = Program::new(&MODEL.recipe(&recipe.replace("URL", url)));
    program.write("rows.jsonl", ROWS);
    program.write("rubrics.toml", RUBRICS);
    program
}

#[test]
fn a_teachers_votes_become_paths_and_paths_become_pairs() {
    let teacher = teacher();
    let program = program(RECIPE, &teacher.url);
    let said = program.train(&[]).success();

    // For each answer: one vote on light, two reasons, a vote on water on each of two paths, two reasons.
    let bodies = teacher.seen();
    assert_eq!(bodies.len(), 2 * 7);
    let last_of = |n: &Value| bodies.iter().rfind(|body| body["n"] == *n).unwrap();
    let asked = last_of(&json!(4));
    assert_eq!((&asked["max_tokens"], &last_of(&Value::Null)["max_tokens"]), (&json!(4), &json!(120)));
    // The replies on the way to a question stand before it.
    let expected = ["yes", "no"].map(|reply| {
        format!("Marked: it rains\n\nIs there light? {reply}\nIs there water?\nReply with yes or no only.")
    });
    assert!(expected.iter().any(|text| asked["messages"][0]["content"] == text.as_str()), "{asked}");

    let traces = program.traces("trees");
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

    let of = |stage: &str| program.of_stage(stage);
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

/// The paper's second step: each path written anew by somebody who sees the path, the rubric and the mark.
const REWRITTEN: &str = r#"
[[stage]]
name = "rewritten"
data.train = "@trees"
[stage.rollout.remote]
rewrite = true
user = "{{ prompt }}\n{{ completion }}\nRubric: {{ rubric }}. Mark: {{ predicted }}. Sum it up."
[stage.rollout.remote.endpoint]
url = "URL/v1"
model = "teacher"
[stage.reward.answer]
[stage.loop.collect]
[[stage]]
name = "prefer"
data.train = "@rewritten"
[stage.select.pairs]
kind = "path_label"
matching = "confidence"
[stage.loop.dpo]
"#;

#[test]
fn a_path_that_is_written_anew_keeps_its_label() {
    let votes = teacher();
    let writer = Teacher::says(|_, asked| {
        assert!(asked.contains("Rubric: leaf.") && asked.contains("Is there light?"), "{asked}");
        let mark = asked.split("Mark: ").nth(1).unwrap().split('.').next().unwrap();
        // Of the answer about rain the writer thinks better than the path with light.
        let mark = if asked.contains("rains") && mark == "2" { "3" } else { mark };
        let seen = if asked.contains("rains") { "it rains" } else { "the sun" };
        vec![format!("In short: \"{seen}\".\n#### {mark}")]
    });
    let trees = RECIPE.replace("URL", &votes.url);
    let trees = &trees[..trees.find("[[stage]]\nname = \"sft\"").unwrap()];
    let recipe = format!("{trees}{REWRITTEN}").replace("prompts_per_step = 1", "prompts_per_step = 2");
    let program = program(&recipe, &writer.url);
    program.train(&["--quiet"]).success();
    let (paths, again) = (program.traces("trees"), program.traces("rewritten"));
    assert_eq!((paths.len(), again.len()), (4, 3));
    // In the order of their examples, each with its path's votes, its own text and the mark that this came to.
    let seen = |trace: &Value| {
        let copies: Vec<u64> =
            trace["forks"].as_array().unwrap().iter().map(|fork| fork["copies"].as_u64().unwrap()).collect();
        (
            trace["example"].as_str().unwrap().to_string(),
            copies,
            trace["predicted"].as_str().unwrap().to_string(),
        )
    };
    let mut found: Vec<_> = again.iter().map(seen).collect();
    found.sort();
    let expected = [("a", [1, 3], "0"), ("a", [3, 3], "2"), ("b", [1, 3], "0")];
    assert_eq!(found, expected.map(|(id, copies, mark)| (id.to_string(), copies.to_vec(), mark.to_string())));
    assert!(again.iter().all(|trace| trace["completion"].as_str().unwrap().starts_with("In short: ")));
    let steps = program.of_stage("rewritten");
    assert_eq!(steps.iter().map(|step| number(step, "remote/other_answer")).sum::<f64>(), 0.5);
    // One answer has a right and a wrong path, as before; the other no right one.
    let prefer = program.of_stage("prefer").remove(0);
    assert_eq!((number(&prefer, "pairs/built"), number(&prefer, "pairs/dropped/none_good")), (1.0, 1.0));
    // Rows that are no traces are refused.
    let rows = program
        .train(&[
            "--quiet",
            "--overwrite",
            "--set",
            "stage.rewritten.data.train=\"rows.jsonl\"",
            "--set",
            "stage.rewritten.rollout.remote.user=\"{{ question }} completion\"",
            "--set",
            "stage.rewritten.data.template.chat=false",
        ])
        .code(2);
    assert!(rows.contains("rollout.remote.rewrite takes traces"), "{rows}");
}

#[test]
fn an_answer_with_right_paths_alone_gets_a_wrong_one() {
    // Everybody sees light and nobody water: one path, with 2 marks, which the first answer has. Its nearest other marks are 0
    // and 3, by one altered reply. The second answer's path is wrong already.
    let teacher =
        Teacher::says(|body, asked| match (body["n"].as_u64(), asked.rsplit_once("Is there light?")) {
            (Some(4), Some((_, after))) if after.starts_with("\nReply") => vec!["yes"; 4],
            (Some(4), _) => vec!["no"; 4],
            _ => vec!["because"],
        });
    let program = program(&RECIPE.replace("votes = 4", "votes = 4\nsynthetic = true"), &teacher.url);
    program.train(&["--quiet"]).success();
    let traces = program.traces("trees");
    let of = |id: &str| traces.iter().filter(|trace| trace["example"] == id).collect::<Vec<_>>();
    assert_eq!((of("a").len(), of("b").len()), (2, 1));
    let (path, made) = (of("a")[0], of("a")[1]);
    let light = made["completion"].as_str().unwrap().starts_with("Is there light? no.");
    assert_eq!(made["predicted"], if light { "0" } else { "3" });
    // One reply has no votes, and its reason was asked for; the other is the path's.
    let copies: Vec<u64> =
        made["forks"].as_array().unwrap().iter().map(|fork| fork["copies"].as_u64().unwrap()).collect();
    assert_eq!(copies, if light { [0, 4] } else { [4, 0] });
    let altered = if light { "Is there light? no\nSay" } else { "Is there water? yes\nSay" };
    let asked = teacher.seen().iter().filter(|body| last_turn(body).contains(altered)).count();
    assert_eq!(asked, 1);
    assert_eq!((number(path, "reward"), number(made, "reward")), (1.0, 0.0));
    let made: f64 = program.of_stage("trees").iter().map(|line| number(line, "tree/synthetic_paths")).sum();
    assert_eq!(made, 1.0);
    let dpo = program.of_stage("dpo").remove(0);
    assert_eq!((number(&dpo, "pairs/built"), number(&dpo, "pairs/synthetic")), (1.0, 1.0));
}

#[test]
fn a_rubric_that_is_not_there_is_named_and_grpo_refuses() {
    let nowhere = "http://127.0.0.1:9";
    let program = program(RECIPE, nowhere);
    program.write("rows.jsonl", &ROWS.replace("leaf", "moss"));
    assert!(program.train(&["--quiet"]).code(2).contains("no rubric `moss`; known: leaf, other"));
    program.write("rubrics.toml", &RUBRICS.replace("2 * light", "2 * lihgt"));
    assert!(program.train(&["--quiet", "--overwrite"]).code(2).contains("the formula `2 * lihgt + water`"));
    let program = self::program(&RECIPE.replacen("[stage.loop.collect]", "[stage.loop.grpo]", 1), nowhere);
    assert!(program.train(&["--dry-run"]).code(2).contains("log-probabilities"));
}

/// The shipped recipe in small: a policy that has just learned the form grows trees of its own, and marks agree better than by
/// chance.
#[test]
fn the_recipe_runs_from_warm_up_to_preferences() {
    let program = Program::new(include_str!("../../recipes/thought-tree-dpo.toml"));
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
    program.train_set(&small).success();
    let traces = program.traces("trees");
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
    let last = |stage: &str| program.of_stage(stage).pop().unwrap();
    for stage in ["warmup", "sft-marks", "dpo-marks"] {
        assert!((0.0..=1.0).contains(&number(&last(stage), "eval/macro_f1")), "{stage}");
    }
    assert!(number(&last("dpo"), "rewards/accuracies") >= 0.0);
}
