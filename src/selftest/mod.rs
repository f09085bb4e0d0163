//! `train selftest`: is all well on this machine? A line a check with its figures, a short table of speeds, and the quickstart.
//!
//! A check computes something in two ways and says by how much they differ; what it may differ by, and why, stands beside the
//! comparison. One that fails to run at all has failed.

mod figure;
mod formats;
mod learning;
mod machine;
mod memory;
mod optimiser;
#[cfg(test)]
mod planted;
mod quickstart;
mod ranks;
mod report;
mod resume;
mod sampling;
mod scores;
mod sharing;
mod speed;
mod tiny;

pub use figure::{Bound, Figure, Side};

use crate::devices::{Devices, name_of};
use crate::error::{Error, Result, quietly};
use crate::log::terminal::tell;
use crate::ranks::Local;
use report::{Outcome, Report};
use std::path::PathBuf;
use std::time::Instant;
use tch::Device;

/// Is all well on this machine? A line a check, a short table of speeds, the quickstart in short.
#[derive(Debug, Clone, PartialEq, clap::Parser)]
#[command(after_help = EXAMPLES)]
pub struct Options {
    /// The device to test: `auto` (the first CUDA device, else the CPU), `cpu` or `cuda:N`.
    #[arg(long, value_name = "DEVICE", default_value = "auto")]
    pub device: String,
    /// Write all figures to this file too, as JSON.
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Only these checks, by name, with commas between.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    pub only: Vec<String>,
}

const EXAMPLES: &str = "Examples:
  train selftest
  train selftest --device cuda:1 --json selftest.json
  train selftest --only machine,scores,memory

Exit codes: 0 all passed, 1 a check failed, 2 something for you to fix.";

/// What a check is given.
#[derive(Debug, Clone, Copy)]
pub struct Bench {
    /// The device under test.
    pub device: Device,
}

/// A check: its name, what it tells, and what computes its figures.
struct Check {
    name: &'static str,
    tells: &'static str,
    run: fn(&Bench) -> Result<Vec<Figure>>,
    /// Whether its figures are a table's rows rather than one line.
    table: bool,
}

const fn line(name: &'static str, tells: &'static str, run: fn(&Bench) -> Result<Vec<Figure>>) -> Check {
    Check { name, tells, run, table: false }
}

/// All checks, in their order. Memory comes before those that leave freed memory behind them.
const CHECKS: [Check; 12] = [
    line("machine", "libtorch and its CUDA half are those that are needed", machine::check),
    line("memory", "a training step takes the memory that a plan says", memory::check),
    line("scores", "logits, log-probabilities and gradients are the CPU's in f64", scores::check),
    line("formats", "each number format rounds as it should", formats::check),
    line("sampling", "tokens are the CPU's, the same again, and the trainer agrees on them", sampling::check),
    line("sharing", "what sequences begin with is computed once and changes nothing", sharing::check),
    line("optimiser", "an update is AdamW's formula", optimiser::check),
    line("resume", "a checkpoint holds every bit and training goes on from it", resume::check),
    line("ranks", "what ranks sum, gather and exchange is right", ranks::check),
    line("learning", "the loss falls in each number format", learning::check),
    Check { name: "speed", tells: "how fast it is", run: speed::check, table: true },
    line("quickstart", "a recipe runs", quickstart::check),
];

/// Runs the checks and prints what they find.
///
/// # Errors
/// [`Error::Checks`] names those that failed. A device that is not there, a check of no known name, a file that cannot be written.
pub fn run(options: &Options) -> Result<()> {
    let checks = chosen(&options.only)?;
    let device = Devices { policy: options.device.clone(), ..Devices::default() }.open(Local::ALONE)?.policy;
    let bench = Bench { device };
    let print = |text: String| tell(&text).map_err(Error::io("standard output"));
    let machine = machine::described(device)?;
    print(machine.join("\n") + "\n\n")?;
    let mut report = Report { device: name_of(device), machine, checks: Vec::new() };
    for check in checks {
        let start = Instant::now();
        let found = quietly(|| (check.run)(&bench)).unwrap_or_else(|panic| Err(Error::Devices(panic)));
        let outcome = Outcome::new(check.name, check.tells, found, start.elapsed());
        print(outcome.shown(check.table))?;
        report.checks.push(outcome);
        if let Some(file) = &options.json {
            report.write(file)?;
        }
    }
    print(report.verdict()?)
}

fn chosen(only: &[String]) -> Result<Vec<&'static Check>> {
    if let Some(unknown) = only.iter().find(|name| CHECKS.iter().all(|check| check.name != *name)) {
        let names: Vec<&str> = CHECKS.iter().map(|check| check.name).collect();
        return Err(Error::Recipe(format!("--only {unknown}: no such check; known: {}", names.join(", "))));
    }
    Ok(CHECKS.iter().filter(|check| only.is_empty() || only.iter().any(|name| name == check.name)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checks_are_chosen_by_name_in_their_own_order() {
        let names = |only: &[&str]| -> Vec<&str> {
            let only: Vec<String> = only.iter().map(|name| name.to_string()).collect();
            chosen(&only).unwrap().iter().map(|check| check.name).collect()
        };
        assert_eq!(names(&["optimiser", "scores"]), ["scores", "optimiser"]);
        assert_eq!(names(&[]).len(), CHECKS.len());
        let error = chosen(&["speeed".into()]).err().unwrap();
        assert!(error.exit_code() == 2 && error.to_string().contains("known: machine, memory"), "{error}");
    }
}
