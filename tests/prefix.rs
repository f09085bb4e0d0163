//! `[rollout.prefix]`: traces whose cuts carry Monte-Carlo values.

mod program;

use program::{Program, lines, number};
use serde_json::Value;

/// A model that has learned some single-digit sums; its rollouts are cut after every step.
const RECIPE: &str = r#"
[data]
prompts_per_step = 16
template.chat = false
template.user = "{{ question }}\n"
[data.task.addition]
digits = [1, 2]
train = 200
eval = 20
[policy]
dtype = "f32"
[policy.init]
tokenizer = "characters"
alphabet = "0123456789+=:# \n"
hidden_size = 32
layers = 2
heads = 2
kv_heads = 2
context = 96
[policy.sampling]
max_new_tokens = 40
[devices]
policy = "cpu"
threads = 1
[log]
tensorboard = false
[[stage]]
name = "sft"
run.steps = 120
[stage.loop.sft]
[stage.optim]
lr = 1e-2
schedule = "cosine"
[[stage]]
name = "collect"
run.steps = 2
policy.model = "@sft"
[stage.rollout.prefix]
size = 3
continuations = 4
[stage.reward.answer]
[stage.loop.collect]
"#;

fn traces(program: &Program) -> Vec<Value> {
    lines(&program.out().join("traces/collect.jsonl"))
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value[key].as_array().map_or(&[], Vec::as_slice)
}

#[test]
fn every_step_of_every_trace_has_a_value() {
    let program = Program::new(RECIPE);
    program.train(&["--quiet"]).success();
    let all = traces(&program);
    assert_eq!(all.len(), 2 * 16 * 3);
    let (mut cuts, mut good) = (0, 0.0);
    for trace in &all {
        let text = trace["completion"].as_str().unwrap();
        if trace["predicted"].is_string() {
            assert_eq!(list(trace, "cuts").len(), list(trace, "steps").len(), "{trace}");
        }
        for cut in list(trace, "cuts") {
            // One token a character, and all of them one byte: tokens are bytes.
            assert_eq!(cut["tokens"], cut["bytes"]);
            assert!(text[..number(cut, "bytes") as usize].ends_with('\n'));
            assert_eq!(number(cut, "continuations"), 4.0);
            // The reward of [reward.answer] is 1 for a right answer and 0 for any other: the value is the share of right ones.
            assert!((number(cut, "value") - number(cut, "good") / 4.0).abs() < 1e-12);
            assert_eq!(cut["shortest"].is_object(), number(cut, "good") > 0.0);
            cuts += 1;
            good += number(cut, "good");
        }
    }
    assert!(cuts > 90 && good > 0.0 && good < 4.0 * f64::from(cuts), "{good} of 4 × {cuts}");
    let metrics = lines(&program.out().join("metrics.jsonl"));
    let last = metrics.iter().rfind(|line| line["stage"] == "collect").unwrap();
    assert!(number(last, "prefix/cuts") > 0.9);
    // Every prompt and every completion is computed once, however many cuts there are: at most 16 × 3 × (6 + 40) tokens.
    assert!(number(last, "prefix/prefill_tokens") <= 16.0 * 3.0 * 46.0);
}
