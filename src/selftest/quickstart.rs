//! The quickstart in short, on the device: a few steps of each of its stages, as a recipe runs.

use super::{Bench, Figure};
use crate::error::{Error, Result};
use crate::recipe::{Args, LogFormat, Registry};
use crate::run::execute;
use serde_json::Value;

const LEARNS: &str =
    "the loss of a model that writes each of 16 characters alike is ln 16 = 2.77; 60 steps learn the form";
const SAMPLES: &str = "a reward for the form alone is 0.1, which a policy that has learned it gets";
const STEPS: [(&str, usize); 2] = [("warmup", 60), ("rl", 5)];

/// As the first line says.
pub fn check(bench: &Bench) -> Result<Vec<Figure>> {
    let folder = tempfile::tempdir().map_err(Error::io(std::env::temp_dir()))?;
    let recipe = folder.path().join("quickstart.toml");
    std::fs::write(&recipe, include_str!("../../recipes/quickstart.toml")).map_err(Error::io(&recipe))?;
    let steps = STEPS.iter().map(|(stage, steps)| format!("stage.{stage}.run.steps={steps}"));
    let sets = [
        format!("devices.policy=\"{}\"", crate::devices::name_of(bench.device)),
        "data.task.addition.eval=40".into(),
        "eval.show=0".into(),
    ];
    let out = folder.path().join("run");
    let args = Args {
        recipe,
        set: steps.chain(sets).collect(),
        dry_run: false,
        resume: false,
        overwrite: false,
        out: Some(out.clone()),
        log_format: LogFormat::Text,
        quiet: true,
    };
    execute(&args, &Registry::default())?;
    let file = out.join("metrics.jsonl");
    judged(&std::fs::read_to_string(&file).map_err(Error::io(&file))?)
}

fn judged(metrics: &str) -> Result<Vec<Figure>> {
    let lines = metrics.lines().map(serde_json::from_str);
    let lines: Vec<Value> = lines
        .collect::<std::result::Result<_, _>>()
        .map_err(|error| Error::Data(format!("metrics.jsonl of the quickstart: {error}")))?;
    let last = |stage: &str, name: &str| {
        let of_stage = lines.iter().rfind(|line| line["stage"] == stage && line[name].is_number());
        of_stage.and_then(|line| line[name].as_f64()).unwrap_or(f64::NAN)
    };
    let made =
        |stage: &str, step: usize| lines.iter().any(|line| line["stage"] == stage && line["step"] == step);
    let missing = |&(stage, all): &(&str, usize)| (1..=all).filter(|&step| !made(stage, step)).count();
    let missing: usize = STEPS.iter().map(missing).sum();
    Ok(vec![
        Figure::at_most("steps missing", missing as f64, 0.0, "each stage makes all that it is told to"),
        Figure::at_most("loss", last("warmup", "loss"), 2.0, LEARNS),
        Figure::at_least("reward", last("rl", "reward"), 0.02, SAMPLES),
    ])
}

#[cfg(test)]
mod tests {
    use super::super::planted::failing;
    use super::*;

    #[test]
    fn missing_steps_and_a_model_that_learned_nothing_fail() {
        let line = |stage: &str, step: usize, loss: f64, reward: f64| {
            format!("{{\"stage\":\"{stage}\",\"step\":{step},\"loss\":{loss},\"reward\":{reward}}}\n")
        };
        let run = |loss: f64, reward: f64, last: usize| -> String {
            let warmup = (1..=60).map(|step| line("warmup", step, loss, 0.0));
            warmup.chain((1..=last).map(|step| line("rl", step, 0.1, reward))).collect()
        };
        assert_eq!(failing(&judged(&run(1.0, 0.1, 5)).unwrap()), [""; 0]);
        assert_eq!(failing(&judged(&run(2.77, 0.0, 5)).unwrap()), ["loss", "reward"]);
        assert_eq!(failing(&judged(&run(1.0, 0.1, 4)).unwrap()), ["steps missing"]);
        assert_eq!(failing(&judged(&run(1.0, 0.1, 0)).unwrap()), ["steps missing", "reward"]);
        assert!(judged("{").is_err());
    }
}
