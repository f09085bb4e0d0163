//! Files of a run that was killed, cut, emptied, flipped, filled with zeros or gone when it goes on.

use super::{Right, Trial, draws, report, trials};
use crate::compare::files;
use rand::Rng;
use rand::seq::SliceRandom;
use std::fs;
use std::path::{Path, PathBuf};

#[derive(Debug, Clone, Copy, PartialEq)]
enum Damage {
    /// The second half is gone.
    Halved,
    /// The last bytes are gone.
    Cut,
    Emptied,
    /// One bit is another.
    Flipped,
    /// A stretch is zero, as a disk leaves it that lost power.
    Zeroed,
    /// A line is gone, where it has lines.
    Lined,
    Gone,
}

const DAMAGES: [Damage; 7] = [
    Damage::Halved,
    Damage::Cut,
    Damage::Emptied,
    Damage::Flipped,
    Damage::Zeroed,
    Damage::Lined,
    Damage::Gone,
];

#[test]
fn a_damaged_run_is_right_or_refused() {
    damaged("policy-gradient", "rl-step-000004");
}

#[test]
fn a_damaged_run_of_rounds_is_right_or_refused() {
    damaged("iterative", "dpo-r2-step-000002");
}

#[test]
#[ignore = "long: a third recipe of `make faults`"]
fn a_damaged_run_of_bootstrapped_rationales_is_right_or_refused() {
    damaged("bootstrapped", "star-step-000003");
}

/// Each trial damages one file of a run that was killed behind this checkpoint.
fn damaged(name: &str, checkpoint: &str) {
    let right = Right::of(name);
    let killed = Trial::new(&right.tried);
    killed.killed_behind(&format!("rename /{checkpoint}"), 60);
    assert!(killed.out().join(checkpoint).is_dir(), "it was killed too early");
    let from_it = |path: PathBuf| path.strip_prefix(killed.out()).unwrap().to_path_buf();
    let mut files: Vec<PathBuf> = files(&killed.out()).into_iter().map(from_it).collect();
    files.shuffle(&mut draws(name, 0));
    let (trials, mut wrong) = (trials(3), flipped(&right, checkpoint));
    for number in trials.clone() {
        let mut draw = draws("damage", number);
        // So many trials as there are files and damages try each on each.
        let file = &files[number % files.len()];
        let damage = DAMAGES[(number / files.len() + draw.random_range(0..DAMAGES.len())) % DAMAGES.len()];
        let trial = Trial::like(&right.tried, &killed);
        if !apply(damage, &trial.out().join(file), &mut draw) {
            continue;
        }
        let said = judge(&right, &trial, file, damage);
        wrong.extend(said.map(|said| format!("{name} {number}, {damage:?} {}: {said}", file.display())));
    }
    report(&format!("{name}, {} files", files.len()), trials.len(), wrong);
}

/// A bit of the weights or of the optimiser that a run goes on from is never passed over.
fn flipped(right: &Right, checkpoint: &str) -> Vec<String> {
    // Killed once it has its name: there is no newer one.
    let killed = Trial::new(&right.tried);
    killed.killed_behind(&format!("rename /{checkpoint}"), 1);
    let mut wrong = Vec::new();
    for name in ["model.safetensors", "optimizer.safetensors"] {
        let trial = Trial::like(&right.tried, &killed);
        let path = trial.out().join(checkpoint).join(name);
        let mut bytes = fs::read(&path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(&path, bytes).unwrap();
        let ended = trial.run();
        let refused = matches!(ended.code, Some(1 | 2)) && ended.said.contains(name);
        wrong.extend((!refused).then(|| format!("a bit of {name}: code {:?}: {}", ended.code, ended.said)));
    }
    wrong
}

/// What is wrong with how a run goes on that has this file damaged.
fn judge(right: &Right, trial: &Trial, file: &Path, damage: Damage) -> Option<String> {
    let damaged = fs::read(trial.out().join(file)).ok();
    let ended = trial.run();
    let file_name = file.file_name().unwrap_or_default().to_string_lossy();
    if ended.panicked() || ended.signal.is_some() {
        return Some(format!("a panic or a signal: {}", ended.said));
    }
    let named = ended.said.contains(&*file_name);
    if ended.code != Some(0) {
        let refused = matches!(ended.code, Some(1 | 2)) && named;
        return (!refused).then(|| format!("refused without its name: {}", ended.said));
    }
    let mut lines = right.differences(trial);
    let shown = file.to_string_lossy();
    // What a run has no more use for stays as it was damaged: an older checkpoint, a picture.
    let untouched = damaged == fs::read(trial.out().join(file)).ok();
    // A figure that was written may be flipped and nobody can tell; one that is lost has to be said.
    let log = ["metrics.jsonl", "evaluations.jsonl", "traces/", "tensorboard/"];
    let log = log.iter().any(|part| shown.contains(part)) && (damage == Damage::Flipped || named);
    if untouched || log {
        let stem = shown.rsplit_once("/events").map_or(&*shown, |(folder, _)| folder);
        // A report shows what the files say.
        lines.retain(|line| !line.starts_with(stem) && !line.starts_with("report.html"));
    }
    // A recipe that says something else is said, and the one that is given holds.
    if shown.starts_with("recipe") && ended.said.contains("the recipe has changed") {
        lines.retain(|line| !line.starts_with("recipe"));
    }
    (!lines.is_empty()).then(|| format!("exit 0, and\n  {}\n  it said: {}", lines.join("\n  "), ended.said))
}

/// Damages a file; whether it is another one now.
fn apply(damage: Damage, path: &Path, draw: &mut impl Rng) -> bool {
    let before = fs::read(path).unwrap();
    let mut bytes = before.clone();
    let length = bytes.len();
    if length == 0 {
        return false;
    }
    match damage {
        Damage::Halved => bytes.truncate(length / 2),
        Damage::Cut => bytes.truncate(length - draw.random_range(1..=length.min(8))),
        Damage::Emptied => bytes.clear(),
        Damage::Flipped => bytes[draw.random_range(0..length)] ^= 1 << draw.random_range(0..8),
        Damage::Zeroed => {
            let start = draw.random_range(0..length);
            bytes[start..(start + 64).min(length)].fill(0);
        }
        Damage::Lined => {
            let lines: Vec<&[u8]> = before.split_inclusive(|byte| *byte == b'\n').collect();
            let lost = draw.random_range(0..lines.len());
            bytes = lines
                .iter()
                .enumerate()
                .filter(|(at, _)| *at != lost)
                .flat_map(|(_, line)| *line)
                .copied()
                .collect();
        }
        Damage::Gone => {
            fs::remove_file(path).unwrap();
            return true;
        }
    }
    fs::write(path, &bytes).unwrap();
    bytes != before
}
