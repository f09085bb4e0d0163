//! Disks that are full from a call on, and disks that fail at one.

use super::runs::Ended;
use super::shim::{Call, Fault, kinds};
use super::{Right, Trial, draws, report, trials};
use rand::Rng;
use rand::seq::{IndexedRandom, SliceRandom};

/// What a run can do without: it says that it could not write it.
const SPARED: [&str; 8] =
    ["/tensorboard", ".svg", "/trees", "/.lock", "report.html", "machine.json", "table.md", "table.csv"];

#[test]
fn a_disk_that_fails_is_named_and_nothing_is_lost() {
    failing("policy-gradient");
}

#[test]
fn a_disk_that_fails_under_rounds_is_named_and_nothing_is_lost() {
    failing("iterative");
}

#[test]
#[ignore = "long: a third recipe of `make faults`"]
fn a_disk_that_fails_while_sampling_is_named_and_nothing_is_lost() {
    failing("bootstrapped");
}

/// The last line of figures finds no room: what was saved before is there, and how to go on with it is said.
#[test]
fn a_disk_that_fills_up_in_mid_run_is_told_with_how_to_go_on() {
    let right = Right::of("policy-gradient");
    let of_figures = |call: &Call| call.name == "write" && call.path.ends_with("metrics.jsonl");
    let (_, ended) = failing_last(&right, of_figures, Fault::Full);
    let said = ended.said;
    assert!(said.contains("is saved") && said.contains("Go on with:") && said.contains("--resume"), "{said}");
}

/// A checkpoint behind the end of the last stage that cannot be removed ends the run; once it can be, nothing tells it as failed.
#[test]
fn what_failed_behind_the_end_is_not_told_for_ever() {
    let right = Right::of("policy-gradient");
    let goes = |call: &Call| call.name == "unlink" && call.path.contains("/.tmp-removed-rl-");
    let (failed, ended) = failing_last(&right, goes, Fault::Broken);
    assert_eq!((ended.code, failed.run().code), (Some(1), Some(0)), "{}", ended.said);
    assert_eq!(right.differences(&failed), Vec::<String>::new());
}

/// A run that fails at one of the last of such calls. Reports are written by the clock, so that a call may come some sooner or later.
fn failing_last(right: &Right, such: impl Fn(&Call) -> bool, fault: Fault) -> (Trial, Ended) {
    let last = right.calls.iter().rfind(|call| such(call)).expect("there are such calls").number;
    let near = (0..12).flat_map(|away| [last + away, last.saturating_sub(away)]);
    let failed = near.skip(1).find_map(|at| {
        let trial = Trial::new(&right.tried);
        let (ended, calls) = trial.faulty(at, fault);
        calls.iter().any(|call| call.number == at && such(call)).then_some((trial, ended))
    });
    failed.expect("one of them is such a call")
}

/// Each trial fails at one kind of call; as many trials as there are kinds try all of them.
fn failing(name: &str) {
    let right = Right::of(name);
    let mut kinds = kinds(&right.calls);
    kinds.shuffle(&mut draws(name, 0));
    let (trials, mut wrong) = (trials(2), Vec::new());
    for number in trials.clone() {
        let mut draw = draws("disk", number);
        let at = *kinds[number % kinds.len()].choose(&mut draw).expect("a call of each kind");
        let fault = if draw.random_bool(0.5) { Fault::Full } else { Fault::Broken };
        let lines = trial(&right, at, fault);
        if !lines.is_empty() {
            wrong.push(format!("{name} {number}, {fault:?} at call {at}: {}", lines.join("\n  ")));
        }
    }
    report(&format!("{name}, {} kinds of calls", kinds.len()), trials.len(), wrong);
}

fn trial(right: &Right, at: usize, fault: Fault) -> Vec<String> {
    let trial = Trial::new(&right.tried);
    let (ended, calls) = trial.faulty(at, fault);
    let Some(failed) = calls.iter().find(|call| call.number == at) else { return vec![] };
    let what = format!("{} {}", failed.name, failed.path);
    let mut lines = Vec::new();
    if ended.panicked() {
        lines.push(format!("{what}: a panic: {}", ended.said));
    }
    let spared = SPARED.iter().any(|part| failed.path.contains(part));
    match ended.code {
        Some(1) if names(&ended.said, failed) => {}
        Some(0) if spared || names(&ended.said, failed) => {}
        _ => lines.push(format!("{what}: code {:?}, signal {:?}: {}", ended.code, ended.signal, ended.said)),
    }
    if ended.code != Some(0) {
        let again = trial.run();
        if again.code != Some(0) {
            lines.push(format!("{what}: it cannot go on: {}", again.said));
            return lines;
        }
    }
    let different = right.differences(&trial);
    // What a run goes on without is not there.
    let excused = |line: &String| {
        ended.code == Some(0) && spared && SPARED.iter().any(|part| format!("/{line}").contains(part))
    };
    lines.extend(different.into_iter().filter(|line| !excused(line)).map(|line| format!("{what}: {line}")));
    lines
}

/// Whether what was said names the file that failed, or the folder that is only to become something or is going.
fn names(said: &str, failed: &Call) -> bool {
    let file = failed.path.rsplit('/').next().unwrap_or_default();
    let around = failed.path.split('/').any(|part| part.starts_with(".tmp-") && said.contains(part));
    said.contains("out") && (file.starts_with(".tmp-") || said.contains(file) || around)
}
