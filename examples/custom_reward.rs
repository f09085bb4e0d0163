//! A trainer with one more reward: `[reward.brevity]` prefers rationales of few steps.
//!
//! `cargo run --release --example custom_reward -- --recipe my.toml`

use rationale::Registry;

fn main() {
    let registry = Registry::default().reward_fn("brevity", |_example, rollout| {
        let steps = rollout.rationale.as_ref().map_or(0, |rationale| rationale.steps.len());
        if steps == 0 { -1.0 } else { -0.1 * steps as f64 }
    });
    std::process::exit(rationale::cli(registry));
}
