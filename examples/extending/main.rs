//! A trainer with a method, a source and a reward of its own, which recipes name as they name the built-in ones.
//!
//! `cargo run --release --example extending -- --recipe my.toml`; docs/extending.md explains it.

mod method;
mod reward;
mod source;

use rationale::Registry;

fn main() {
    let registry = Registry::default()
        .method::<method::Awr>("awr")
        .source::<source::Tempered>("tempered")
        .reward("budget", reward::Budget::checked);
    std::process::exit(rationale::cli(registry));
}
