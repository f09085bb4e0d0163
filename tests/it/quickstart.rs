//! What the embedded default promises. Minutes a seed, so `make slow-test` runs it.

use crate::program::{Program, number};

/// From the warm-up's end to the run's end, held-out accuracy rises by at least 30 points, whatever the seed.
#[test]
#[ignore = "three runs of several minutes: make slow-test"]
fn reinforcement_learning_adds_thirty_points_to_the_warm_up() {
    for seed in 0..3 {
        let program = Program::new(include_str!("../../recipes/quickstart.toml"));
        let said = program.train(&["--set", &format!("run.seed={seed}")]).success();
        let evaluations = program.evaluations();
        let accuracy = |stage: &str| {
            let last = evaluations.iter().rfind(|e| e["stage"] == stage).unwrap();
            number(&last["report"], "accuracy")
        };
        let (before, after) = (accuracy("warmup"), accuracy("rl"));
        assert!(after - before >= 0.3, "seed {seed}: {before} to {after}\n{said}");
    }
}
