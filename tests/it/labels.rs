//! Step labels from trees of continuations and from a judge: what they say, what they cost, and that a killed run goes on.

use crate::program::{Program, fatal, list, number, rows};
use crate::recipes::{Tiny, after_sums, sums};
use crate::server::Teacher;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::fs;

/// A model that has learned some sums grows trees of prefixes; a reward model learns their labels.
fn trees() -> String {
    let label = "data.prompts_per_step = 4\n[stage.rollout.prefix]\ncuts = \"tree\"\nsize = 4\ncontinuations = 4\n\
                 [stage.rollout.prefix.tree]\nsearches = 5\n[stage.reward.answer]\n[stage.loop.collect]\n\
                 [stage.checkpoint]\nevery = 1\n";
    let learn = "data.prompts_per_step = 4\ndata.train = \"@label\"\n[stage.loop.prm]\n";
    sums(&(after_sums("label", 12, label) + &after_sums("prm", 2, learn)))
}

/// The figures of a stage's steps, without times.
fn figures(program: &Program, stage: &str) -> Vec<Value> {
    let mut all = program.of_stage(stage);
    for line in &mut all {
        line.as_object_mut()
            .unwrap()
            .retain(|name, _| !["time", "per_second", "seconds"].iter().any(|word| name.contains(word)));
    }
    all
}

#[test]
fn trees_are_labelled_once_each_prefix_and_a_killed_run_goes_on() {
    let recipe = trees();
    let [whole, killed] = [Program::new(&recipe), Program::new(&recipe)];
    // Each of the 12 steps has at least 16 completions to be scored.
    let sets = |nth: usize| format!("stage.label.reward.fatal={}", fatal(nth));
    whole.train(&["--quiet", "--set", &sets(usize::MAX)]).success();
    killed.train(&["--quiet", "--set", &sets(150)]).killed();
    let left = killed.traces("label").len();
    assert!(0 < left && left < whole.traces("label").len(), "{left} traces were left");
    killed.train(&["--quiet", "--set", &sets(150), "--resume"]).success();
    assert!(whole.traces("label") == killed.traces("label"), "the labels differ");
    assert_eq!(figures(&whole, "label"), figures(&killed, "label"));
    assert_eq!(figures(&whole, "prm"), figures(&killed, "prm"));

    let (mut values, mut searched) = (HashMap::new(), 0);
    for trace in whole.traces("label") {
        let cuts = list(&trace, "cuts");
        searched += usize::from(!cuts.is_empty());
        let good = |cut: &&Value| number(cut, "good") > 0.0;
        let last_good = cuts.iter().filter(good).map(|cut| cut["step"].as_u64()).max();
        let first_bad = cuts.iter().filter(|cut| !good(cut)).map(|cut| cut["step"].as_u64()).min();
        if let (Some(last_good), Some(first_bad)) = (last_good, first_bad) {
            assert!(last_good < first_bad, "the search ends between a good prefix and a bad one: {cuts:?}");
        }
        for cut in cuts {
            assert_eq!(number(cut, "continuations"), 4.0);
            let ids = &list(&trace, "completion_ids")[..cut["tokens"].as_u64().unwrap() as usize];
            let prefix = json!([trace["example"], trace["step"], ids]).to_string();
            let said = (number(cut, "good"), number(cut, "value"));
            assert_eq!(*values.entry(prefix).or_insert(said), said, "a prefix was continued twice");
        }
    }
    assert!(searched > 0 && !values.is_empty(), "nothing was searched, so this shows nothing");
    let (mut taken, mut naive) = (0.0, 0.0);
    for line in figures(&whole, "label") {
        assert!(number(&line, "prefix/searches") <= 5.0);
        if number(&line, "labels/count") > 0.0 {
            taken += number(&line, "labels/count") * number(&line, "labels/tokens");
            naive += number(&line, "labels/count") * number(&line, "labels/naive_tokens");
        }
    }
    assert!(taken > 0.0 && taken < naive, "{taken} {naive}");
    let share = number(&figures(&whole, "prm")[0], "labels/right");
    assert!(share > 0.0 && share < 1.0, "{share}");
}

const DATA: &str = r#"
[data]
prompts_per_step = 2
template.chat = false
"#;

#[test]
fn a_judge_labels_the_rows_own_completions() {
    let teacher = Teacher::says(|_, asked| {
        let first = asked.lines().position(|step| step.contains("bad")).map_or(0, |at| at + 1);
        vec![format!("{{\"first_wrong\": {first}}}")]
    });
    let url = &teacher.url;
    let stages = format!(
        "[[stage]]\nname = \"label\"\ndata.train = \"rows.jsonl\"\n[stage.rollout.dataset]\n[stage.loop.collect]\n\
         [stage.reward.judge]\nsteps = true\nkey = \"first_wrong\"\nprompt = '''{{% for step in steps %}}{{{{ step }}}}\n\
         {{% endfor %}}'''\nendpoint = {{ url = \"{url}/v1\", model = \"m\" }}\n\
         [[stage]]\nname = \"prm\"\ndata.train = \"@label\"\n[stage.loop.prm]\nlabels = \"judge\"\n"
    );
    let program = Program::new(&Tiny::BYTES.recipe(&format!("[run]\nsteps = 1\n{DATA}{stages}")));
    let row = |id: &str, text: &str| {
        format!("{}\n", json!({"id": id, "prompt": "p", "completion": text, "answer": "5"}))
    };
    program.write("rows.jsonl", &(row("x", "a\nbad\nc\n#### 5") + &row("y", "b\n#### 5")));
    program.train(&["--quiet"]).success();
    let mut said: Vec<Value> =
        program.traces("label").iter().map(|trace| trace["step_scores"]["judge"].clone()).collect();
    said.sort_by_key(Value::to_string);
    assert_eq!(said, [json!([1.0, 0.0, 0.0, 0.0]), json!([1.0, 1.0])]);
    // Of the labels up to the first error, 1 and 0, and of two right ones, three say right.
    assert_eq!(number(&figures(&program, "prm")[0], "labels/right"), 0.75);
}

#[test]
fn labels_are_kept_where_two_agree() {
    // "a\nb\n#### 5": steps end at 1, 3 and 10. The judge's first error against that of the continuations.
    let row = |id: &str, goods: [usize; 2], judged: Value| {
        let cut = |step: usize, good: usize| {
            json!({"step": step, "tokens": 2 * step, "bytes": 2 * step, "continuations": 4,
            "good": good, "value": 0.0})
        };
        let cuts = [cut(1, goods[0]), cut(2, goods[1])];
        let trace = json!({"id": id, "prompt": id, "completion": "a\nb\n#### 5", "answer": "5", "cuts": cuts,
            "step_scores": {"judge": judged}});
        format!("{trace}\n")
    };
    let recipe = Tiny::BYTES.recipe(&format!("[run]\nsteps = 1\n{DATA}[loop.prm]\nlabels = \"consensus\"\n"));
    let recipe = recipe.replace("[data]\n", "[data]\ntrain = \"rows.jsonl\"\n");
    let program = Program::new(&recipe);
    let rows = row("u", [2, 0], json!([1, 0, 0]))
        + &row("v", [1, 1], json!([1, 1, 1]))
        + &row("w", [0, 0], json!([1, 1, 0]));
    program.write("rows.jsonl", &rows);
    program.train(&["--quiet"]).success();
    let first = &figures(&program, "prm")[0];
    // Two of three agree; labels 1, 0 (what follows is left out) and 1, 1, 1.
    assert!((number(first, "labels/agreeing") - 2.0 / 3.0).abs() < 1e-12);
    assert_eq!(number(first, "labels/right"), 0.8);
    program.write("rows.jsonl", &row("w", [0, 0], json!([1, 1, 0])));
    let none = program.train(&["--quiet", "--overwrite"]).code(2);
    assert!(none.contains("agree on the first error of none of 1 rows"), "{none}");
    program.write("rows.jsonl", &row("w", [0, 0], json!([1, 1])));
    let counts = program.train(&["--quiet", "--overwrite"]).code(2);
    assert!(counts.contains("rows.jsonl:1: [reward.judge] judged 2 steps and it has 3"), "{counts}");
}

#[test]
fn a_reward_model_that_is_there_is_measured() {
    let stages = "[[stage]]\nname = \"prm\"\nrun.steps = 1\n[stage.loop.prm]\n[[stage]]\nname = \"measure\"\nrun.steps = 0\n\
        policy.model = \"@prm\"\n[stage.loop.prm]\n[stage.eval]\n";
    let data = "train = \"rows.jsonl\"\neval = \"rows.jsonl\"\n";
    let program =
        Program::new(&Tiny::BYTES.recipe(&(DATA.replace("[data]\n", &format!("[data]\n{data}")) + stages)));
    let row =
        |id: &str, labels: Value| json!({"id": id, "prompt": id, "steps": ["a", "bcd"], "labels": labels});
    let data: Vec<Value> = (0..8).map(|n| row(&format!("x{n}"), json!([true, n % 4 < 2]))).collect();
    program.write("rows.jsonl", &rows(&data));
    program.train(&["--quiet"]).success();
    let found = &program.evaluations()[0]["report"]["process"];
    assert_eq!((number(found, "steps"), found["first_error"]["rows"].as_u64()), (16.0, Some(4)));
    assert!(found["length_only"]["f1"].is_number(), "{found}");
    let svg = fs::read_to_string(program.out().join("measure-reliability.svg")).unwrap();
    assert!(svg.contains("share right"));
    // A run that is done has nothing left to do.
    program.train(&["--quiet", "--resume"]).success();
    assert_eq!(program.evaluations().len(), 1);
}
