//! Completions to be scored: an example's group, and rewards built from a piece of a recipe.

use rationale::Registry;
use rationale::data::Example;
use rationale::engine::StopReason;
use rationale::rationale::Format;
use rationale::reward::Rewards;
use rationale::rollout::{Group, Rollout};
use std::sync::Arc;

/// A completion of one token with this text.
pub fn rollout(text: &str, format: &Format) -> Rollout {
    Rollout::new(vec![1], text.to_owned(), vec![0.0], StopReason::Eos(0), format)
}

/// `texts` as completions of `example`.
pub fn group(example: Example, texts: &[&str], format: &Format) -> Group {
    let rollouts = texts.iter().map(|text| rollout(text, format)).collect();
    Group { example: Arc::new(example), prompt: vec![], rollouts, place: 0 }
}

/// The built-in rewards that a recipe's `[reward]` names, which is `recipe`.
pub fn rewards(recipe: &str) -> rationale::Result<Rewards> {
    Rewards::build(&toml::from_str(recipe).unwrap(), &Registry::default(), &Format::default())
}
