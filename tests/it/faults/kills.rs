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

#[test]
fn sweeps_of_keys_and_seeds() {
    killed("swept");
}

/// How often a trial is drawn anew in which the run was over before anything came to it.
const ATTEMPTS: usize = 5;

/// A run that was killed some times, and goes on.
struct Killed {
    trial: Trial,
    said: Vec<String>,
    log: Vec<Call>,
    kills: usize,
    /// What a run said that ended with an error, though nothing killed it.
    failed: Option<String>,
}

impl Killed {
    /// Kills a run one to three times, or tries to.
    fn of(right: &Right, draw: &mut impl Rng) -> Self {
        let (trial, said, log) = (Trial::new(&right.tried), Vec::new(), Vec::new());
        let mut killed = Self { trial, said, log, kills: 0, failed: None };
        for _ in 0..draw.random_range(1..=3) {
            let (ended, calls, how) = if draw.random_bool(0.6) {
                let at = call(&right.calls, draw);
                let (ended, calls) = killed.trial.faulty(at, Fault::Kill);
                let last = calls.last().map(|call| format!("{} {}", call.name, call.path));
                (ended, calls, format!("killed at call {at}: {}", last.unwrap_or_default()))
            } else {
                let after = right.took.mul_f64(draw.random_range(0.1..1.0));
                let (ended, calls) = killed.trial.signalled(after, SIGKILL);
                (ended, calls, format!("killed after {} ms", after.as_millis()))
            };
            // What was under way has to be done again.
            let done = if ended.signal.is_some() { calls.len().saturating_sub(1) } else { calls.len() };
            killed.log.extend(calls.into_iter().take(done));
            killed.said.push(if ended.signal.is_some() { how } else { format!("not {how}") });
            killed.kills += usize::from(ended.signal == Some(SIGKILL));
            if ended.signal.is_none() && ended.code != Some(0) {
                killed.failed = Some(ended.said);
                break;
            }
        }
        killed
    }
}

/// Each trial kills a run of this recipe one to three times and goes on. One that no kill has come to is none, and is drawn anew.
fn killed(name: &str) {
    let right = Right::of(name);
    let (mut kills, mut counted, mut wrong) = (0, 0, Vec::new());
    for number in trials(1) {
        let mut attempts = (0..ATTEMPTS).map(|attempt| {
            let of = if attempt == 0 { name.to_string() } else { format!("{name}, again {attempt}") };
            Killed::of(&right, &mut draws(&of, number))
        });
        let Some(mut found) = attempts.find(|found| found.kills > 0 || found.failed.is_some()) else {
            wrong.push(format!("{name} {number}: in {ATTEMPTS} attempts no kill came to the run"));
            continue;
        };
        counted += 1;
        kills += found.kills;
        let said = &found.said;
        if let Some(words) = &found.failed {
            wrong.push(format!("{name} {number}, {said:?}: it ended with an error by itself: {words}"));
            continue;
        }
        let (ended, calls) = found.trial.noted();
        found.log.extend(calls);
        if ended.code != Some(0) {
            wrong.push(format!("{name} {number}, {said:?}: it cannot go on: {}", ended.said));
            continue;
        }
        let mut lines = right.differences(&found.trial);
        lines.extend(twice(&found.log));
        if !lines.is_empty() {
            wrong.push(format!("{name} {number}, {said:?}:\n  {}", lines.join("\n  ")));
        }
    }
    report(&format!("{name}, {kills} kills"), counted, wrong);
}

/// A call of a run: any of its kinds as often as another, so that rare ones come too.
fn call(calls: &[Call], draw: &mut impl Rng) -> usize {
    *kinds(calls).choose(draw).and_then(|kind| kind.choose(draw)).expect("a run that writes")
}

/// Checkpoints that were written twice, of the run or of one of its trials: steps that it has done and does again.
fn twice(log: &[Call]) -> Vec<String> {
    let mut written: BTreeMap<&str, usize> = BTreeMap::new();
    for call in log.iter().filter(|call| call.name == "rename") {
        let path = call.path.trim_start_matches('/');
        let (folder, name) = path.rsplit_once('/').unwrap_or(("", path));
        let whole = ![folder, name].iter().any(|part| part.starts_with('.')) && !folder.contains('/');
        if name.contains("step-") && whole {
            *written.entry(path).or_default() += 1;
        }
    }
    let twice = written.into_iter().filter(|(_, times)| *times > 1);
    twice.map(|(name, times)| format!("{name} was come to {times} times")).collect()
}

/// SIGINT and SIGTERM: the step is finished, all is saved and the run says how to go on. A run that was over before is no trial.
#[test]
fn a_run_that_is_asked_to_stop_saves_and_goes_on() {
    let right = Right::of("policy-gradient");
    let (mut counted, mut wrong) = (0, Vec::new());
    for number in trials(2) {
        let signal = if number % 2 == 0 { SIGTERM } else { SIGINT };
        let mut attempts = (0..ATTEMPTS).map(|attempt| {
            let of = if attempt == 0 { "signals".to_string() } else { format!("signals, again {attempt}") };
            let (trial, steps) = (Trial::new(&right.tried), draws(&of, number).random_range(1..9));
            let (ended, _) = trial.signalled_when(&|out| lines(&out.join("metrics.jsonl")) >= steps, signal);
            (trial, steps, ended)
        });
        let Some((trial, steps, ended)) = attempts.find(|(.., ended)| ended.code != Some(0)) else {
            wrong.push(format!("{number}: in {ATTEMPTS} attempts the run was over before the signal"));
            continue;
        };
        counted += 1;
        let lines_then = lines(&trial.out().join("metrics.jsonl"));
        if ended.code != Some(128 + signal) || !ended.said.contains("--resume") {
            wrong.push(format!("{number}, signal {signal} after {steps} lines: {ended:?}"));
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
    report("signals", counted, wrong);
}

fn lines(path: &std::path::Path) -> usize {
    std::fs::read_to_string(path).map_or(0, |text| text.lines().count())
}
