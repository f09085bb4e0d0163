//! A trainer with a method, a source, a reward, a task and a metric of its own, which recipes name as they name the built-in ones.
//!
//! `cargo run --release --example extending -- --recipe my.toml`; docs/extending.md explains it.

mod method;
mod reward;
mod source;
mod task;

use rationale::Registry;
use rationale::eval::Verdict;

/// The longest of the right completions, in tokens: `eval/longest_right`.
fn longest_right(verdicts: &[Verdict]) -> f64 {
    let right = verdicts.iter().filter(|verdict| verdict.right);
    right.map(|verdict| verdict.tokens as f64).fold(0.0, f64::max)
}

fn main() {
    let registry = Registry::default()
        .method::<method::Awr>("awr")
        .source::<source::Tempered>("tempered")
        .reward("budget", reward::Budget::checked)
        .task::<task::Doubling>("doubling")
        .metric("longest_right", longest_right);
    std::process::exit(rationale::cli(registry));
}
