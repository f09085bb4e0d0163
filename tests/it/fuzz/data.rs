//! Rows and traces as JSON Lines.

use super::mutate::Grammar;
use super::runner::{file, fuzz, refused};
use rationale::Error;
use rationale::data::{Data, Hub, Split};
use rationale::rationale::Format;
use rationale::rollout::trace;
use std::path::Path;

const ROWS: [&str; 6] = [
    r#"{"id": "a", "question": "2+3?", "answer": 5, "rationale": "two and three\nmake five", "choices": ["4", "5"]}
{"question": "what?", "answer": "B) yes", "choices": {"label": ["A", "B"], "text": ["no", "yes"]}, "level": 3}
"#,
    r#"{"prompt": [{"role": "system", "content": "be"}, {"role": "user", "content": "hi"}], "completion": [{"role": "assistant", "content": "ho"}]}
{"prompt": "The sky is", "completion": " blue.", "label": true}
"#,
    r#"{"messages": [{"role": "user", "content": "2+3?"}, {"role": "assistant", "content": "5"}, {"role": "user", "content": "and 1?"}, {"role": "assistant", "content": "6", "reasoning_content": "5+1"}]}
"#,
    r#"{"question": "q", "chosen": "yes", "rejected": "no", "rationale": "because", "margin": 0.5}
{"chosen": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "yes"}], "rejected": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "no"}]}
"#,
    r#"{"text": "The sky is blue."}

{"prompt": "x", "completions": ["a", "b"], "labels": [true, false], "steps": ["one", "two"]}
"#,
    r#"{"conversations": [{"from": "human", "value": "hi"}, {"from": "gpt", "value": "ho"}], "tools": [{"name": "f"}], "answer": "x"}
"#,
];

/// Two rollouts of a question, then a tree of two leaves.
pub const TRACES: [&str; 2] =
    [include_str!("../../fixtures/fuzz/traces.jsonl"), include_str!("../../fixtures/fuzz/tree.jsonl")];

#[test]
#[ignore = "long: the gate tries a few inputs of it, `make fuzz` many"]
fn jsonl() {
    let rows = ROWS.iter().chain(&TRACES).map(|rows| rows.as_bytes().to_vec());
    let both = format!("{}{}", ROWS.concat(), TRACES.concat()).into_bytes();
    fuzz("fuzz::data::jsonl", Grammar::Json, rows.chain([both]).collect(), |bytes, folder| {
        load(&file(folder, "rows.jsonl", bytes), bytes)
    });
}

/// What is learned of traces is read as rows first.
#[test]
#[ignore = "long: the gate tries a few inputs of it, `make fuzz` many"]
fn traces() {
    let traces = TRACES.map(|traces| traces.as_bytes().to_vec()).to_vec();
    fuzz("fuzz::data::traces", Grammar::Json, traces, |bytes, folder| {
        load(&file(folder, "rows.jsonl", bytes), bytes)
    });
}

/// Reads a file as a dataset, and its rows as traces: both refuse by name.
pub fn load(path: &Path, bytes: &[u8]) -> Result<(), String> {
    let name = path.file_name().unwrap().to_string_lossy().into_owned();
    let recipe = format!("train = {:?}\ntemplate.chat = true", path.display().to_string());
    let data: Data = toml::from_str(&recipe).unwrap();
    let hub = Hub::at(path.with_file_name("hub"), "http://127.0.0.1:9", None, true);
    let dataset = match data.load(Split::Train, &hub, 0) {
        Ok(dataset) => dataset,
        Err(error @ (Error::Data(_) | Error::Io { .. })) => return refused(&error, &[&name], bytes),
        Err(other) => return Err(format!("another kind of error: {other}")),
    };
    if dataset.examples.is_empty() {
        return Err("no rows, and no error".into());
    }
    let format = Format::default();
    if let Ok(groups) = trace::groups(&dataset.examples, &format) {
        for rollout in groups.iter().flat_map(|group| &group.rollouts) {
            if !rollout.reward.is_finite() || rollout.logprobs.iter().any(|p| !p.is_finite()) {
                return Err(format!("a trace of reward {} is taken: {:?}", rollout.reward, rollout.logprobs));
            }
        }
    }
    Ok(())
}
