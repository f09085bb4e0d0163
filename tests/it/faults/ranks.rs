//! Runs of four ranks of which one is killed at a random moment: the others end, and the run that goes on loses nothing and does nothing twice.

use super::{Right, Trial, draws, report, trials};
use crate::compare;
use crate::launch::ranks_of;
use rand::Rng;
use std::time::{Duration, Instant};

/// What is divided, in turn over the trials.
const LAYOUTS: [(&str, usize); 4] = [("none", 1), ("optimizer", 1), ("parameters", 1), ("parameters", 2)];

#[test]
fn a_killed_rank_ends_all_and_nothing_is_lost() {
    let tried = Right::of("policy-gradient").tried;
    let trials = trials(2);
    let sets = LAYOUTS.map(|(shard, replicas)| {
        let shared = ["devices.ranks=4", "devices.threads=4"].map(String::from);
        [&shared[..], &[format!("devices.shard={shard}"), format!("devices.replicas={replicas}")]].concat()
    });
    let begin = |trial: &Trial, layout: usize| {
        trial.begin(&sets[layout].iter().map(String::as_str).collect::<Vec<_>>())
    };
    let mut right: [Option<(Trial, Duration)>; 4] = [const { None }; 4];
    let (mut kills, mut counted, mut wrong) = (0, 0, Vec::new());
    for number in trials.clone() {
        let before = kills;
        // Every rank of four is the first victim of a quarter of them, under each layout.
        let (layout, mut victim) = (number % 4, number / 4 % 4);
        let (right, took) = right[layout].get_or_insert_with(|| {
            let (right, began) = (Trial::new(&tried), Instant::now());
            let ended = right.end(begin(&right, layout));
            assert_eq!(ended.code, Some(0), "{}", ended.said);
            (right, began.elapsed())
        });
        let (trial, mut draw) = (Trial::new(&tried), draws("ranks", number));
        let mut said = vec![format!("{:?}", LAYOUTS[layout])];
        for _ in 0..draw.random_range(1..=2) {
            let after = took.mul_f64(draw.random_range(0.1..0.9));
            let child = begin(&trial, layout);
            std::thread::sleep(after);
            let found = ranks_of(child.id()).into_iter().find(|(number, _)| *number == victim);
            if let Some((_, pid)) = found {
                // SAFETY: kill(2) touches no memory.
                unsafe { libc::kill(pid, libc::SIGKILL) };
            }
            let (launcher, dying) = (child.id(), Instant::now());
            let ended = trial.end(child);
            said.push(format!("rank {victim} killed after {} ms", after.as_millis()));
            match ended.code {
                Some(0) => {}
                Some(1) if ended.said.contains(&format!("rank {victim} failed: it was ended by SIGKILL")) => {
                    kills += 1;
                }
                // Before the ranks have met, or after they have parted.
                Some(1) if ended.said.contains("error: ") => kills += 1,
                _ => wrong.push(format!("{number}, {said:?}: {ended:?}")),
            }
            if !ranks_of(launcher).is_empty() || dying.elapsed() > Duration::from_secs(30) {
                wrong.push(format!("{number}, {said:?}: others go on"));
            }
            victim = draw.random_range(0..4);
        }
        // A run that was over before any kill is no trial.
        counted += usize::from(kills > before);
        let ended = trial.end(begin(&trial, layout));
        if ended.code != Some(0) {
            wrong.push(format!("{number}, {said:?}: it cannot go on: {}", ended.said));
            continue;
        }
        let lines = compare::differences(&right.out(), &trial.out());
        if !lines.is_empty() {
            wrong.push(format!("{number}, {said:?}:\n  {}", lines.join("\n  ")));
        }
    }
    if counted == 0 {
        wrong.push(format!("of {} runs none was reached by a kill", trials.len()));
    }
    report(&format!("ranks, {kills} kills"), counted, wrong);
}
