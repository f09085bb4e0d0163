//! `train --recipe x.toml`, `train selftest` and `train scale`

use clap::Parser;
use rationale::{Registry, scale, selftest};

#[derive(Parser)]
#[command(name = "train")]
enum Verb {
    Selftest(selftest::Options),
    Scale(scale::Options),
}

fn main() {
    let verb = matches!(std::env::args().nth(1).as_deref(), Some("selftest" | "scale"));
    std::process::exit(if verb { code(&Verb::parse()) } else { rationale::cli(Registry::default()) });
}

fn code(verb: &Verb) -> i32 {
    let done = match verb {
        Verb::Selftest(options) => selftest::run(options),
        Verb::Scale(options) => scale::run(options),
    };
    done.map_or_else(
        |error| {
            eprintln!("error: {error}");
            error.exit_code()
        },
        |()| 0,
    )
}
