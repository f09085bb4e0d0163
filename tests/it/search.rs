//! Searches among completions from the command line: `[rollout.best_of]`, `weighted_vote`, `beam` and `guided` in `evaluate` and
//! in collecting, judged by a reward model of the same run.

use crate::program::{Program, number, rows};
use crate::recipes::Tiny;
use serde_json::{Value, json};

/// The sums 1+1 to 1+4, of which the policy learns two right and two wrong until it says nothing else: every share of right answers is a
/// half.
const BASE: &str = r#"
[run]
steps = 4
[data]
prompts_per_step = 4
template.chat = false
template.user = "{{ question }}\n"
[policy.sampling]
max_new_tokens = 16
[[stage]]
name = "prm"
data.train = "labels.jsonl"
[stage.loop.prm]
[[stage]]
name = "sft"
run.steps = 150
data.train = "rows.jsonl"
[stage.loop.sft]
[stage.optim]
lr = 1e-2
[[stage]]
name = "ask"
[stage.data]
train = "rows.jsonl"
eval = "rows.jsonl"
[stage.policy]
model = "@sft"
[stage.reward.process]
model = "@prm"
"#;

const EVALUATE: &str = "[stage.loop.evaluate]\n[stage.eval]\ntemperature = 0.2\n";

fn last(program: &Program, stage: &str) -> Value {
    program.of_stage(stage).pop().unwrap()
}

/// The stages that the policy and its judge come from, then `more`.
fn program(more: &str) -> Program {
    let program = Program::new(&Tiny::SUMS.recipe(&format!("{BASE}{more}")));
    let sum = |i: usize| (format!("1+{i}"), i + 1, i + 1 + i % 2);
    let row = |i: usize| {
        let (question, answer, said) = sum(i);
        let completion = format!("{question}: {said}\n#### {said}");
        json!({"question": question, "completion": completion, "answer": answer.to_string()})
    };
    let label = |i: usize| {
        let (question, answer, _) = sum(i);
        let steps = [format!("{question}: {answer}"), format!("{i}: 0")];
        json!({"prompt": format!("{question}\n"), "completions": steps, "labels": [true, false]})
    };
    program.write("rows.jsonl", &rows(&(1..5).map(row).collect::<Vec<_>>()));
    program.write("labels.jsonl", &rows(&(1..5).map(label).collect::<Vec<_>>()));
    program
}

#[test]
fn every_kind_answers_and_is_drawn_against_n() {
    for (kind, keys) in [
        ("best_of", "n = 4"),
        ("weighted_vote", "n = 4"),
        ("beam", "n = 4\nbranching = 2\nby = \"process\""),
        ("guided", "n = 4\nstep_tokens = 2\ntemperature = 0.5"),
    ] {
        let program = program(&format!("{EVALUATE}[stage.rollout.{kind}]\n{keys}\n"));
        let said = program.train(&["--quiet"]).success();
        let found = last(&program, "ask");
        for n in [1, 2, 4] {
            for name in [kind, "best_of", "weighted_vote", "maj", "pass"] {
                assert_eq!(number(&found, &format!("eval/{name}@{n}")), 0.5, "{kind}: {name}@{n}");
            }
        }
        assert_eq!(
            [number(&found, &format!("eval/{kind}_gain")), number(&found, "eval/accuracy")],
            [0.0, 0.5]
        );
        // The one that is kept has 14 tokens: `1+1: 2`, the answer and the end. The others cost something too.
        assert!(number(&found, "eval/search_tokens") > 14.0, "{kind}: {found}");
        let svg = std::fs::read_to_string(program.out().join("ask-by-n.svg")).unwrap();
        assert!(svg.contains("completions") && svg.contains(kind), "{svg}");
        assert!(said.contains(&format!("{kind}@4")), "{said}");
    }
}

#[test]
fn collecting_keeps_the_answer_that_the_search_found() {
    let collect = "[stage.loop.collect]\n[stage.run]\nsteps = 2\n[stage.reward.answer]\nweight = 0.0\n\
        [stage.rollout.best_of]\nn = 3\nby = \"process\"\n";
    let program = program(collect);
    program.train(&["--quiet"]).success();
    let traces = program.traces("ask");
    assert_eq!(traces.len(), 2 * 4, "one a question");
    assert!(traces.iter().all(|trace| trace["scores"]["process"].is_number()));
    // Three of up to 16 tokens each, of which one is kept.
    assert!(number(&last(&program, "ask"), "search/tokens") >= 3.0);
}

#[test]
fn what_does_not_fit_a_search_is_named_with_the_remedy() {
    let said = |recipe: &str| program(recipe).train(&["--dry-run"]).code(2);
    let best = "[stage.rollout.best_of]\n";
    let greedy = said(&format!("[stage.loop.evaluate]\n[stage.eval]\n{best}"));
    assert!(greedy.contains("leave rollout.best_of no choice"), "{greedy}");
    let samples = said(&format!("{EVALUATE}samples = 4\n{best}"));
    assert!(samples.contains("rollout.best_of gives one answer to a question"), "{samples}");
    let learns = said(&format!("[stage.loop.grpo]\n{best}"));
    assert!(learns.contains("loop.grpo learns from the policy's own samples"), "{learns}");
    let by = said(&format!("{EVALUATE}{best}by = \"proces\"\n"));
    assert!(by.contains("rollout.best_of.by = \"proces\" names no reward"), "{by}");
    let none = said(&format!("{EVALUATE}[stage.rollout.beam]\nn = 0\n"));
    assert!(none.contains("rollout.beam.n = 0"), "{none}");
    let bare = BASE.replace("[stage.reward.process]\nmodel = \"@prm\"\n", "");
    let bare =
        Program::new(&Tiny::SUMS.recipe(&format!("{bare}{EVALUATE}{best}"))).train(&["--dry-run"]).code(2);
    assert!(bare.contains("nothing judges what rollout.best_of is to choose among"), "{bare}");
}

/// Rows that are shown answered as traces have it; the files are read before the model is.
#[test]
fn solved_rows_are_shown_with_rationales_of_traces() {
    let recipe = "[data]\ntrain = \"rows.jsonl\"\neval = \"rows.jsonl\"\ntemplate.chat = false\ntemplate.user = \"{{ question }}\\n\"\n\
        template.few_shot = 2\n[policy.sampling]\nmax_new_tokens = 8\n[rollout.variants]\nn = 2\nvary = \"rationale\"\nfrom = \"traces.jsonl\"\n\
        [loop.evaluate]\n[eval]\ntemperature = 0.0\n";
    let program = Program::new(&Tiny::SUMS.recipe(recipe));
    let row = |i: usize| {
        let (completion, answer) = (format!("#### {}", i + 1), (i + 1).to_string());
        json!({"question": format!("1+{i}"), "completion": completion, "answer": answer})
    };
    program.write("rows.jsonl", &rows(&(1..5).map(row).collect::<Vec<_>>()));
    let trace = |i: usize, said: usize| {
        json!({
            "id": format!("{i}/1-0"), "example": i.to_string(), "step": 1, "prompt": format!("1+{i}\n"), "answer": (i + 1).to_string(),
            "steps": [], "completion": format!("1+{i}: {said}\n#### {said}"), "predicted": said.to_string(), "stop": "length", "scores": {},
            "reward": 1.0, "advantage": null, "prompt_ids": [1], "completion_ids": [2], "logprobs": [-0.5],
        })
    };
    program.write("traces.jsonl", &rows(&[trace(1, 2), trace(2, 3)]));
    program.train(&["--quiet"]).success();
    assert_eq!(program.evaluations()[0]["report"]["search"]["kind"], "variants");
    let told = |name: &str, sets: &[&str]| {
        let out = program.out().with_file_name(name);
        program.train_into("recipe.toml", &out, &[&["--quiet"][..], sets].concat()).code(2)
    };
    let none = told("none", &["--set", "rollout.variants.from=none.jsonl"]);
    assert!(none.contains("rollout.variants.from = \"none.jsonl\": there is no such file"), "{none}");
    program.write("traces.jsonl", &rows(&[trace(1, 5)]));
    assert!(told("wrong", &[]).contains("none of its traces has the right answer"));
    program.write("traces.jsonl", &rows(&[trace(4, 5)]));
    assert!(told("other", &[]).contains("a right answer to none of the 2 solved rows"));
}
