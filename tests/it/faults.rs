//! Faults: processes that are killed, disks that fill up or break, files that are damaged, numbers that are none. Whatever happens, a
//! run that is gone on with comes to what it would have come to, bit for bit, or says what is wrong, naming it.
//!
//! All is drawn from a seed. A test makes as many trials as RATIONALE_FAULTS says (`make faults`), from trial RATIONALE_FIRST on; the
//! gate makes a few.

mod damage;
mod disk;
mod extremes;
mod kills;
mod numbers;
mod ranks;
pub mod recipes;
mod runs;
mod shim;

use crate::compare;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use recipes::Tried;
use runs::Trial;
use shim::Call;
use std::time::Duration;

/// A run that nothing happened to.
struct Right {
    tried: Tried,
    trial: Trial,
    calls: Vec<Call>,
    took: Duration,
}

impl Right {
    /// Runs the recipe of this name.
    fn of(name: &str) -> Self {
        let tried = recipes::all().into_iter().chain([recipes::swept()]).find(|tried| tried.name == name);
        let tried = tried.expect("a recipe's name");
        let trial = Trial::new(&tried);
        let (ended, calls) = trial.noted();
        assert_eq!(ended.code, Some(0), "{name}: {}", ended.said);
        Self { tried, trial, calls, took: ended.took }
    }

    /// What is wrong with a run that has come to its end.
    fn differences(&self, other: &Trial) -> Vec<String> {
        compare::differences(&self.trial.out(), &other.out())
    }
}

/// The trials to make, where the gate makes `few`.
fn trials(few: usize) -> std::ops::Range<usize> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse::<usize>().ok());
    let first = number("RATIONALE_FIRST").unwrap_or(0);
    first..first + number("RATIONALE_FAULTS").unwrap_or(few)
}

/// What a trial draws from.
fn draws(of: &str, trial: usize) -> ChaCha8Rng {
    ChaCha8Rng::seed_from_u64(rationale::seed::derive(&[rationale::seed::of_text(of), trial as u64]))
}

/// Fails with all that went wrong in some trials; says how many there were.
fn report(what: &str, trials: usize, wrong: Vec<String>) {
    println!("{what}: {trials} trials, {} wrong", wrong.len());
    assert!(wrong.is_empty(), "{what}: {} of {trials} trials are wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// One run against another of the same recipe: what the comparison can see of no fault at all.
#[test]
fn a_run_is_the_same_twice() {
    let right = Right::of("policy-gradient");
    let again = Trial::new(&right.tried);
    assert_eq!(again.run().code, Some(0));
    assert_eq!(right.differences(&again), Vec::<String>::new());
    // And it sees a figure, a token and a bit.
    for (file, old, new) in [
        ("metrics.jsonl", "\"loss\":", "\"lost\":"),
        ("traces/rl.jsonl", "\"step\":3", "\"step\":4"),
        ("report.html", "\"shades\":\"", "\"shades\":\"A"),
    ] {
        let path = again.out().join(file);
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replacen(old, new, 1)).unwrap();
        assert_eq!(right.differences(&again).len(), 1, "{file}");
        std::fs::write(&path, text).unwrap();
    }
    let path = again.out().join("rl-step-000005/model.safetensors");
    let mut bytes = std::fs::read(&path).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(&path, bytes).unwrap();
    assert_eq!(right.differences(&again).len(), 1);
}
