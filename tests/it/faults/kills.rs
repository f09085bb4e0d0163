//! Runs that are killed, several times over, at random moments and at calls that change their folder.

use super::shim::{Call, Fault, kinds};
use super::{Right, Trial, draws, report, trials};
use rand::Rng;
use rand::seq::IndexedRandom;
use std::collections::BTreeMap;

const SIGINT: i32 = 2;
const SIGKILL: i32 = 9;
const SIGTERM: i32 = 15;

#[test]
fn policy_gradients_evaluations_and_curricula() {
    killed("policy-gradient");
}

#[test]
fn rounds_of_preferences_of_which_the_newest_checkpoint_is_kept() {
    killed("iterative");
}

#[test]
fn rounds_of_bootstrapped_rationales() {
    killed("bootstrapped");
}

#[test]
fn trees_cut_rollouts_and_reward_models() {
    killed("trees");
}

#[test]
fn rewards_as_tokens_and_preferences_while_sampling() {
    killed("adapted");
}

#[test]
fn counterfactuals_and_adapters() {
    killed("contrasted");
}

#[test]
fn thoughts_and_extractive_rationales() {
    killed("reading");
}

/// Each trial kills a run of this recipe one to three times and goes on.
fn killed(name: &str) {
    let right = Right::of(name);
    let (mut kills, mut wrong) = (0, Vec::new());
    let trials = trials(1);
    for number in trials.clone() {
        let (trial, mut said, mut log) = (Trial::new(&right.tried), Vec::new(), Vec::new());
        let mut draw = draws(name, number);
        for _ in 0..draw.random_range(1..=3) {
            let (ended, calls, how) = if draw.random_bool(0.6) {
                let at = call(&right.calls, &mut draw);
                let (ended, calls) = trial.faulty(at, Fault::Kill);
                let last = calls.last().map(|call| format!("{} {}", call.name, call.path));
                (ended, calls, format!("killed at call {at}: {}", last.unwrap_or_default()))
            } else {
                let after = right.took.mul_f64(draw.random_range(0.1..1.0));
                let (ended, calls) = trial.signalled(after, SIGKILL);
                (ended, calls, format!("killed after {} ms", after.as_millis()))
            };
            // What was under way has to be done again.
            let done = if ended.signal.is_some() { calls.len().saturating_sub(1) } else { calls.len() };
            log.extend(calls.into_iter().take(done));
            said.push(if ended.signal.is_some() { how } else { format!("not {how}") });
            kills += usize::from(ended.signal == Some(SIGKILL));
            if ended.signal.is_none() && ended.code != Some(0) {
                said.push(ended.said);
            }
        }
        let (ended, calls) = trial.noted();
        log.extend(calls);
        if ended.code != Some(0) {
            wrong.push(format!("{name} {number}, {said:?}: it cannot go on: {}", ended.said));
            continue;
        }
        let mut lines = right.differences(&trial);
        lines.extend(twice(&log));
        if !lines.is_empty() {
            wrong.push(format!("{name} {number}, {said:?}:\n  {}", lines.join("\n  ")));
        }
    }
    report(&format!("{name}, {kills} kills"), trials.len(), wrong);
}

/// A call of a run: any of its kinds as often as another, so that rare ones come too.
fn call(calls: &[Call], draw: &mut impl Rng) -> usize {
    *kinds(calls).choose(draw).and_then(|kind| kind.choose(draw)).expect("a run that writes")
}

/// Checkpoints that were written twice: steps that a run has done and does again.
fn twice(log: &[Call]) -> Vec<String> {
    let mut written: BTreeMap<&str, usize> = BTreeMap::new();
    for call in log.iter().filter(|call| call.name == "rename") {
        let name = call.path.trim_start_matches('/');
        if name.contains("step-") && !name.contains('/') && !name.starts_with('.') {
            *written.entry(name).or_default() += 1;
        }
    }
    let twice = written.into_iter().filter(|(_, times)| *times > 1);
    twice.map(|(name, times)| format!("{name} was come to {times} times")).collect()
}

/// SIGINT and SIGTERM: the step is finished, all is saved and the run says how to go on.
#[test]
fn a_run_that_is_asked_to_stop_saves_and_goes_on() {
    let right = Right::of("policy-gradient");
    let (trials, mut wrong) = (trials(2), Vec::new());
    for number in trials.clone() {
        let (trial, mut draw) = (Trial::new(&right.tried), draws("signals", number));
        let signal = if number % 2 == 0 { SIGTERM } else { SIGINT };
        let steps = draw.random_range(1..9);
        let (ended, _) = trial.signalled_when(&|out| lines(&out.join("metrics.jsonl")) >= steps, signal);
        let lines_then = lines(&trial.out().join("metrics.jsonl"));
        match ended.code {
            Some(0) => {}
            Some(code) if code == 128 + signal && ended.said.contains("--resume") => {}
            _ => wrong.push(format!("{number}, signal {signal} after {steps} lines: {ended:?}")),
        }
        let kept = trial.noted().0;
        if kept.code != Some(0) {
            wrong.push(format!("{number}: it cannot go on: {}", kept.said));
        }
        let differences = right.differences(&trial);
        if !differences.is_empty() {
            wrong.push(format!(
                "{number}, signal {signal}, {lines_then} lines:\n  {}",
                differences.join("\n  ")
            ));
        }
    }
    report("signals", trials.len(), wrong);
}

fn lines(path: &std::path::Path) -> usize {
    std::fs::read_to_string(path).map_or(0, |text| text.lines().count())
}
