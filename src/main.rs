//! `train --recipe x.toml`, and its verbs.

fn main() {
    std::process::exit(rationale::cli(rationale::Registry::default()));
}
