//! `train --recipe x.toml`

fn main() {
    std::process::exit(rationale::cli(rationale::Registry::default()));
}
