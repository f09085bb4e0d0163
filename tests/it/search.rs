//! Searches among completions from the command line: `[rollout.best_of]`, `weighted_vote`, `beam` and `guided` in `evaluate` and
//! in collecting, judged by a reward model of the same run.

use crate::program::{Program, number};
use crate::recipes::Tiny;
use serde_json::Value;

const MODEL: Tiny = Tiny { hidden_size: 16, layers: 1, context: Some(80), ..Tiny::SUMS };

const BASE: &str = r#"
[run]
steps = 4
[data]
prompts_per_step = 4
template.chat = false
template.user = "{{ question }}\n"
[data.task.addition]
digits = [1]
train = 40
eval = 6
faults.share = 0.7
[policy.sampling]
max_new_tokens = 16
[[stage]]
name = "prm"
[stage.loop.prm]
[[stage]]
name = "sft"
[stage.loop.sft]
[[stage]]
name = "ask"
[stage.policy]
model = "@sft"
[stage.reward.process]
model = "@prm"
"#;

const EVALUATE: &str = "[stage.loop.evaluate]\n[stage.eval]\ntemperature = 1.0\n";

fn last(program: &Program, stage: &str) -> Value {
    program.of_stage(stage).pop().unwrap()
}

/// The stages that the model and its judge come from, then `more`.
fn program(more: &str) -> Program {
    Program::new(&MODEL.recipe(&format!("{BASE}{more}")))
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
                let share = number(&found, &format!("eval/{name}@{n}"));
                assert!((0.0..=1.0).contains(&share), "{kind}: {name}@{n} = {share}");
            }
        }
        // Of one completion nothing is chosen.
        assert_eq!(found["eval/best_of@1"], found["eval/pass@1"], "{kind}");
        let gain = number(&found, &format!("eval/{kind}@4")) - number(&found, "eval/maj@4");
        assert_eq!(number(&found, &format!("eval/{kind}_gain")), gain);
        if ["best_of", "beam", "guided"].contains(&kind) {
            assert_eq!(found["eval/accuracy"], found[&format!("eval/{kind}@4")], "{kind}");
        }
        assert!(number(&found, "eval/search_tokens") > 0.0);
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
    let bare = Program::new(&MODEL.recipe(&format!("{bare}{EVALUATE}{best}"))).train(&["--dry-run"]).code(2);
    assert!(bare.contains("nothing judges what rollout.best_of is to choose among"), "{bare}");
}
