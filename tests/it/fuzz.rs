//! Hostile input, made by mutating small valid files: whatever is read, the program neither panics nor hangs nor fills the memory,
//! and what it refuses it names.
//!
//! Inputs are drawn from a seed, so a number says which input it is. The gate tries a few hundred of each kind; RATIONALE_FUZZ says
//! how many, RATIONALE_FIRST from which number on (`make fuzz`). What fails lies in `target/fuzz`; RATIONALE_REPLAY=FILE with the
//! test's name tries that file alone.

mod data;
mod mutate;
mod parquet;
mod recipes;
mod runner;
mod runs;
mod texts;
mod tokens;
mod weights;

use runner::{Tried, try_all};

/// The tests that try a kind of input each, and how many inputs the gate has of each.
const KINDS: [(&str, u64); 18] = [
    ("fuzz::data::jsonl", 300),
    ("fuzz::data::traces", 300),
    ("fuzz::parquet::parquet", 800),
    ("fuzz::recipes::recipes", 100),
    ("fuzz::recipes::sets", 60),
    ("fuzz::runs::state", 300),
    ("fuzz::runs::marks_and_locks", 300),
    ("fuzz::runs::lines", 300),
    ("fuzz::runs::tensors", 300),
    ("fuzz::texts::chat_templates", 150),
    ("fuzz::texts::recipe_templates", 150),
    ("fuzz::texts::replies", 300),
    ("fuzz::texts::completions", 100),
    ("fuzz::weights::config", 300),
    ("fuzz::weights::safetensors", 300),
    ("fuzz::weights::index", 300),
    ("fuzz::weights::tokenizer", 150),
    ("fuzz::weights::tokenizer_config", 100),
];

/// In two processes, which takes the time of two cores once and that of starting twice.
#[test]
fn a_few_inputs_of_every_kind() {
    let half = |odd: usize| {
        let own = KINDS.iter().enumerate().filter(move |(at, _)| at % 2 == odd);
        own.map(|(_, (test, count))| Tried { test, inputs: 0..*count }).collect::<Vec<_>>()
    };
    let threads = [0, 1].map(|odd| std::thread::spawn(move || try_all(half(odd))));
    let wrong: Vec<String> = threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
