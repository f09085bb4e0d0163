//! Runs of several ranks of which one is killed at a random moment: the others end, and the run that goes on loses nothing.

use super::{Right, Trial, draws, report, trials};
use crate::compare;
use crate::launch::ranks_of;
use rand::Rng;
use std::time::{Duration, Instant};

const SETS: [&str; 2] = ["devices.ranks=3", "devices.threads=3"];

#[test]
fn a_killed_rank_ends_all_and_nothing_is_lost() {
    let tried = Right::of("policy-gradient").tried;
    let right = Trial::new(&tried);
    let began = Instant::now();
    let ended = right.end(right.begin(&SETS));
    assert_eq!(ended.code, Some(0), "{}", ended.said);
    let (took, mut kills, mut wrong) = (began.elapsed(), 0, Vec::new());
    let trials = trials(2);
    for number in trials.clone() {
        let (trial, mut draw) = (Trial::new(&tried), draws("ranks", number));
        let mut said = Vec::new();
        for _ in 0..draw.random_range(1..=2) {
            let (rank, after) = (draw.random_range(0..3), took.mul_f64(draw.random_range(0.1..0.9)));
            let child = trial.begin(&SETS);
            std::thread::sleep(after);
            let pid =
                ranks_of(child.id()).into_iter().find(|(number, _)| *number == rank).map(|(_, pid)| pid);
            if let Some(pid) = pid {
                // SAFETY: kill(2) touches no memory.
                unsafe { libc::kill(pid, libc::SIGKILL) };
            }
            let (launcher, dying) = (child.id(), Instant::now());
            let ended = trial.end(child);
            said.push(format!("rank {rank} killed after {} ms", after.as_millis()));
            match ended.code {
                Some(0) => {}
                Some(1) if ended.said.contains(&format!("rank {rank} failed: it was ended by SIGKILL")) => {
                    kills += 1;
                }
                // Before the ranks have met, or after they have parted.
                Some(1) if ended.said.contains("error: ") => kills += 1,
                _ => wrong.push(format!("{number}, {said:?}: {ended:?}")),
            }
            if !ranks_of(launcher).is_empty() || dying.elapsed() > Duration::from_secs(30) {
                wrong.push(format!("{number}, {said:?}: others go on"));
            }
        }
        let ended = trial.end(trial.begin(&SETS));
        if ended.code != Some(0) {
            wrong.push(format!("{number}, {said:?}: it cannot go on: {}", ended.said));
            continue;
        }
        let lines = compare::differences(&right.out(), &trial.out());
        if !lines.is_empty() {
            wrong.push(format!("{number}, {said:?}:\n  {}", lines.join("\n  ")));
        }
    }
    report(&format!("ranks, {kills} kills"), trials.len(), wrong);
}
