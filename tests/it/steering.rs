//! A direction is found in what completions contrast, kept in the run, and added in later stages while they sample.

use crate::program::{Program, number, rows};
use crate::recipes::{Tiny, saved_model};
use serde_json::{Value, json};

const STAGES: &str = r#"
[data]
template.chat = false
[data.task.addition]
digits = [1]
train = 20
eval = 10
[policy.sampling]
max_new_tokens = 8
[[stage]]
name = "start"
run.steps = 4
[stage.data]
template.user = "{{ question }}\n"
[stage.loop.sft]
[[stage]]
name = "direction"
[stage.data]
train = "pairs.jsonl"
[stage.policy]
model = "@start"
[stage.loop.steer]
of = "pairs"
"#;

fn evaluated(name: &str, steer: &str) -> String {
    format!(
        "[[stage]]\nname = {name:?}\n[stage.data]\ntemplate.user = \"{{{{ question }}}}\\n\"\n[stage.policy]\nmodel = \"@start\"\n{steer}\n\
         [stage.loop.evaluate]\n[stage.eval]\nsamples = 2\ntemperature = 1.0\n"
    )
}

fn program(stages: &str) -> Program {
    let program = Program::new(&Tiny::SUMS.recipe(&format!("{STAGES}{stages}")));
    let pair = |n: usize| json!({"prompt": format!("{n}+1=\n"), "chosen": "#### 2", "rejected": "1+1=2\n1+1=2\n#### 2"});
    program.write("pairs.jsonl", &rows(&(1..6).map(pair).collect::<Vec<Value>>()));
    program
}

/// Of no strength the completions are those of the policy as it is; with some they are others, and the other way others again.
#[test]
fn a_direction_is_found_kept_and_added() {
    let steer = |strength: f64| format!("steer = {{ from = \"@direction\", strength = {strength:?} }}");
    let stages = [
        evaluated("plain", ""),
        evaluated("none", &steer(0.0)),
        evaluated("some", &steer(8.0)),
        evaluated("away", &steer(-8.0)),
    ];
    let program = program(&stages.concat());
    program.train(&["--quiet"]).success();
    let found = &program.of_stage("direction")[0];
    assert_eq!(number(found, "steer/contrasts"), 5.0);
    // An answer alone is taken whole, six characters and the end; of the other the two lines and the break between them.
    assert_eq!((number(found, "steer/tokens_towards"), number(found, "steer/tokens_away")), (7.0, 11.0));
    assert!(number(found, "steer/norm") > 0.0);
    let kept =
        rationale::checkpoint::load_tensors(program.out().join("reference/direction.safetensors")).unwrap();
    assert_eq!((kept.len(), kept[0].1.size()), (1, vec![2, 32]));
    let written = |stage: &str| -> Vec<Value> {
        let files = std::fs::read_dir(program.out().join("evaluations")).unwrap();
        let mut paths: Vec<_> = files.map(|file| file.unwrap().path()).collect();
        paths.retain(|path| path.file_name().unwrap().to_string_lossy().starts_with(stage));
        let lines = paths.iter().flat_map(|path| crate::program::lines(path));
        lines.map(|line| line["completion"].clone()).filter(|text| !text.is_null()).collect()
    };
    let plain = written("plain");
    assert!(!plain.is_empty());
    assert_eq!(written("none"), plain);
    assert!(written("some") != plain && written("away") != plain && written("some") != written("away"));
    // The run is done; going on with it finds nothing to do, its direction among what it has.
    program.train(&["--quiet", "--resume"]).success();
}

#[test]
fn what_cannot_be_steered_is_said_before_anything_trains() {
    let said = |stages: &str| program(stages).train(&["--dry-run"]).code(2);
    let from = |from: &str, rest: &str| evaluated("x", &format!("steer = {{ from = {from:?}{rest} }}"));
    assert!(said(&from("@start", "")).contains("loop.sft finds no direction; name a stage of loop.steer"));
    assert!(said(&from("@nowhere", "")).contains("no stage `nowhere`"));
    assert!(said(&from("nowhere.safetensors", "")).contains("there is no such file"));
    assert!(said(&from("@direction", ", layers = [3]")).contains("there is no layer 3 of 2"));
    let other = saved_model("llama").join("model.safetensors");
    assert!(
        said(&from(other.to_str().unwrap(), "")).contains("a direction is one tensor, and this file has")
    );
    let trains = "[[stage]]\nname = \"x\"\nrun.steps = 1\n[stage.policy]\nmodel = \"@start\"\nsteer = { from = \"@direction\" }\n[stage.loop.sft]\n";
    assert!(said(trains).contains("would be saved without it"));
    let unlike = STAGES.replace("of = \"pairs\"", "of = \"length\"");
    let program = Program::new(&Tiny::SUMS.recipe(&unlike));
    program.write(
        "pairs.jsonl",
        &rows(&[json!({"prompt": "1+1=\n", "chosen": "#### 2", "rejected": "#### 3"})]),
    );
    let said = program.train(&["--dry-run"]).code(2);
    assert!(said.contains("pairs.jsonl:1: it is no trace of a completion"), "{said}");
}
