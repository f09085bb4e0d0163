//! The report of a run that sweeps: where its trials stand, and what they come to side by side.

use super::figures::{self, newest};
use super::{Known, State, against, name, now, read, run, stages};
use crate::checkpoint::{MACHINE, RunDir, TrialRecord, Trials, is_in_use, is_run};
use crate::compare::{self, Comparison, RESAMPLES};
use crate::error::Result;
use crate::section::toml as toml_of;
use serde::Serialize;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// A trial as the page shows it.
#[derive(Debug, PartialEq, Serialize)]
struct Trial {
    name: String,
    seed: u64,
    /// The swept keys with their values, as a recipe has them.
    values: BTreeMap<String, String>,
    is: Standing,
    /// Why it has failed.
    why: Option<String>,
    /// The stage that it has come to.
    stage: String,
    step: u64,
    steps: Option<u64>,
    figures: Vec<(&'static str, f64)>,
    /// Whether it has a report of its own.
    report: bool,
}

/// Where a trial stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Standing {
    /// Nothing of its own is done yet.
    Waiting,
    Running,
    Done,
    Stopped,
    Failed,
}

/// All that the page of a run that sweeps shows.
pub(super) fn content(folder: &Path, trials: &Trials, state: Option<State>, known: &Known) -> Result<Value> {
    let trials: Vec<Trial> =
        trials.trials.iter().map(|record| trial(folder, record)).collect::<Result<_>>()?;
    let over = |trial: &&Trial| matches!(trial.is, Standing::Done | Standing::Failed);
    let state = state.unwrap_or_else(|| match (is_in_use(folder), trials.iter().all(|trial| over(&trial))) {
        (true, _) => State::Running,
        (false, true) => State::Done,
        (false, false) => State::Stopped(None),
    });
    let ended: BTreeSet<&str> = trials.iter().filter(over).map(|trial| trial.name.as_str()).collect();
    let machine = trials.iter().find_map(|trial| read(&folder.join(&trial.name), MACHINE));
    Ok(json!({
        "name": name(folder),
        "state": state,
        "written_time": now(),
        "run": run(folder),
        "machine": machine.map(|machine| json!({ "rows": machine["rows"] })),
        "stages": [],
        "evaluations": [],
        "comparison": compared(folder, &ended),
        "recipe": against::Resolved::read(folder).against(known),
        "trials": trials,
    }))
}

fn trial(folder: &Path, record: &TrialRecord) -> Result<Trial> {
    let path = folder.join(&record.name);
    let (mut stage, mut step, mut steps) = (String::new(), 0, None);
    let (mut is, mut found) = (Standing::Waiting, vec![]);
    if is_run(&path) {
        let lines = figures::lines(&path)?;
        let recipe = against::Resolved::read(&path).recipe;
        let stages = stages::stages(&RunDir::join(&path).ledger()?, recipe.as_ref(), &lines);
        // What has the stages of another trial, and nothing of its own, has no recipe yet.
        is = match recipe.is_some() && stages.iter().all(|stage| stage.done) {
            true => Standing::Done,
            false if is_in_use(&path) => Standing::Running,
            false if recipe.is_none() => Standing::Waiting,
            false => Standing::Stopped,
        };
        if let Some(last) = stages.iter().rfind(|stage| stage.begun) {
            (stage, step, steps) = (last.name.clone(), last.step, last.steps);
        }
        found = newest(&lines);
    }
    if record.failed.is_some() {
        is = Standing::Failed;
    }
    let values = record.values.iter().map(|(key, value)| (key.clone(), toml_of(value))).collect();
    let report = path.join(super::REPORT).is_file();
    let (name, seed, why) = (record.name.clone(), record.seed, record.failed.clone());
    Ok(Trial { name, seed, values, is, why, stage, step, steps, figures: found, report })
}

/// What the trials that have ended come to, as `train compare` has it; or why there is nothing.
fn compared(folder: &Path, ended: &BTreeSet<&str>) -> Value {
    if ended.len() < 2 {
        return json!({ "none": "It is made once two trials have ended." });
    }
    let arms = compare::of_trials(folder, &|record| ended.contains(record.name.as_str()));
    let found = arms.and_then(|arms| match arms.is_empty() {
        true => Ok(None),
        false => compare::compare(&arms, None, RESAMPLES as usize).map(Some),
    });
    match found {
        Ok(Some(found)) => shown(&found),
        Ok(None) => json!({ "none": "No trial has held-out questions or rows: give the stages [eval]." }),
        Err(error) => json!({ "none": format!("The trials cannot be compared: {error}") }),
    }
}

fn shown(found: &Comparison) -> Value {
    let asked = found.arms.iter().filter(|arm| arm.questions > 0);
    let arms = asked.map(|arm| {
        let points: Vec<f64> = arm.runs.iter().map(|run| run.accuracy).collect();
        json!({ "name": arm.name, "value": arm.accuracy, "interval": arm.interval, "points": points })
    });
    json!({
        "arms": arms.collect::<Vec<_>>(),
        "sentences": compare::sentences(found),
        "sheets": compare::sheets(found),
        "warnings": found.warnings,
    })
}

#[cfg(test)]
mod tests {
    use super::super::html;
    use super::*;
    use crate::checkpoint::{Done, Ledger, StageRecord};
    use crate::eval::{Decoding, Evaluation, Report, Verdict};
    use std::fs;

    /// A trial's folder, its only stage done or not, with two questions of which so many are right.
    fn made(folder: &Path, name: &str, right: usize, done: bool) {
        let run = folder.join(name);
        fs::create_dir_all(run.join("evaluations")).unwrap();
        fs::write(run.join("run.json"), "{}").unwrap();
        fs::write(run.join("report.html"), "").unwrap();
        let recipe =
            "[data]\ntrain = \"rows.jsonl\"\n[policy]\nmodel = \"m\"\n[run]\nsteps = 4\n[loop.sft]\n";
        fs::write(run.join("recipe.toml"), recipe).unwrap();
        let done = done.then(|| Done { step: 4, ..Done::default() });
        let record = StageRecord { stage: "sft".into(), round: 1, done, ..StageRecord::default() };
        RunDir::join(&run).note(&Ledger { stages: vec![record], ..Ledger::default() }).unwrap();
        let line = json!({ "stage": "sft", "round": 1, "step": 4, "loss": 0.5, "eval/accuracy": right as f64 / 2.0 });
        fs::write(run.join("metrics.jsonl"), format!("{line}\n")).unwrap();
        let accuracy = right as f64 / 2.0;
        let decoding = Some(Decoding { samples: 1, seeds: 1, ..Decoding::default() });
        let report = Report { questions: 2, accuracy, decoding, ..Report::default() };
        let evaluation = Evaluation { stage: "sft".into(), round: 1, loop_round: None, step: 4, report };
        let of = |at: usize| Verdict { question: format!("q{at}"), right: at < right, ..Verdict::default() };
        let verdicts = (0..2).map(|at| serde_json::to_string(&of(at)).unwrap() + "\n");
        fs::write(run.join(evaluation.verdicts()), verdicts.collect::<String>()).unwrap();
        let line = serde_json::to_string(&evaluation).unwrap() + "\n";
        fs::write(run.join("evaluations.jsonl"), line).unwrap();
    }

    fn record(point: &str) -> TrialRecord {
        let values = [("optim.lr".to_string(), json!(0.0002))].into();
        TrialRecord { name: format!("{point}_seed=0"), point: point.into(), values, ..TrialRecord::default() }
    }

    fn told(folder: &Path, state: Option<State>) -> Value {
        let page = html(folder, state, &Known::default()).unwrap();
        let json = page.split("id=\"content\">").nth(1).unwrap().split("</script>").next().unwrap();
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn a_sweep_shows_its_trials_and_how_they_compare() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("run.json"), "{}").unwrap();
        let mut trials = Trials { trials: ["lr=1", "lr=2", "lr=3"].map(record).to_vec() };
        trials.write(folder.path()).unwrap();
        made(folder.path(), "lr=1_seed=0", 1, true);
        let one = told(folder.path(), Some(State::Running));
        assert_eq!((&one["state"]["is"], &one["trials"][0]["is"]), (&json!("running"), &json!("done")));
        assert_eq!(one["trials"][1]["is"], "waiting");
        assert!(one["comparison"]["none"].is_string(), "{one}");
        made(folder.path(), "lr=2_seed=0", 2, true);
        made(folder.path(), "lr=3_seed=0", 2, false);
        let two = told(folder.path(), None);
        assert_eq!((&two["state"]["is"], &two["trials"][2]["is"]), (&json!("stopped"), &json!("stopped")));
        // What has not ended is not compared.
        let names: Vec<&Value> =
            two["comparison"]["arms"].as_array().unwrap().iter().map(|arm| &arm["name"]).collect();
        assert_eq!(names, ["lr=1", "lr=2"]);
        assert_eq!(two["comparison"]["sheets"][0]["title"], "Accuracy and length");
        let trial = &two["trials"][1];
        assert_eq!((&trial["report"], &trial["values"]["optim.lr"]), (&json!(true), &json!("2e-4")));
        assert_eq!(trial["figures"], json!([["accuracy", 1.0], ["loss", 0.5]]));
        trials.trials[2].failed = Some("the loss is NaN".into());
        trials.write(folder.path()).unwrap();
        let all = told(folder.path(), None);
        assert_eq!((&all["state"]["is"], &all["trials"][2]["is"]), (&json!("done"), &json!("failed")));
    }
}
