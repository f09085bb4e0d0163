//! The report of a run: one page that opens in any browser, made of what lies in the run's folder.
//!
//! All that comes from data is put into the page as JSON, and its script shows it as text: nothing of it is ever markup. A policy in the
//! page forbids any other script and every connection.

mod against;
mod figures;
mod held_out;
mod page;
pub mod panels;
mod pieces;
mod picked;
mod rationales;
mod rollouts;
mod stages;
pub mod summary;
mod tables;
mod trees;
mod trials;

pub use against::Known;
pub use figures::{csv, newest};
pub use panels::curves;
pub use tables::{tables, write_tables};

use crate::checkpoint::{RunDir, Trials, is_in_use, write_atomic};
use crate::error::{Error, Result};
use crate::eval::{Evaluation, Shown};
use crate::limited;
use crate::log::described::{Described, described};
use serde::Serialize;
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// The file in a run's folder.
pub const REPORT: &str = "report.html";
/// Evaluations of which the shown questions stand side by side.
const SIDES: usize = 8;

/// How it goes with a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case", tag = "is", content = "why")]
pub enum State {
    /// A process works on it.
    Running,
    /// All its stages are done.
    Done,
    /// No process works on it, and some stage is not done; why, where that is known.
    Stopped(Option<String>),
    /// It ended with an error.
    Failed(String),
}

impl State {
    /// What the folder says of it.
    fn of(folder: &Path, stages: &[stages::Stage]) -> Self {
        match (is_in_use(folder), stages.iter().all(|stage| stage.done)) {
            (true, _) => State::Running,
            (false, true) => State::Done,
            (false, false) => {
                let ledger = RunDir::join(folder).ledger().ok();
                ledger.and_then(|ledger| ledger.failed).map_or(State::Stopped(None), State::Failed)
            }
        }
    }
}

/// Writes the report of the run in `folder` into it, whole or not at all; its path. The folder says how it goes with the run where
/// `state` does not, and `known` what the recipe's keys are by default. Of a run that sweeps, the report has its trials.
///
/// # Errors
/// A folder that is no run, files in it that cannot be read, a disk that fails.
pub fn write(folder: &Path, state: Option<State>, known: &Known) -> Result<PathBuf> {
    let path = folder.join(REPORT);
    let html = html(folder, state, known)?;
    write_atomic(&path, html.as_bytes())?;
    Ok(path)
}

/// The report's text.
pub fn html(folder: &Path, state: Option<State>, known: &Known) -> Result<String> {
    let content = match Trials::read(folder)? {
        Some(trials) => trials::content(folder, &trials, state, known)?,
        None => content(folder, state, known)?,
    };
    let name = name(folder);
    page::page(&name, &content)
}

/// What a run is called: its folder's name.
fn name(folder: &Path) -> String {
    let whole = folder.canonicalize().unwrap_or_else(|_| folder.to_path_buf());
    whole.file_name().map_or("run".into(), |name| name.to_string_lossy().into_owned())
}

/// A file of the run that is JSON; none where it is not there.
fn read(folder: &Path, name: &str) -> Option<Value> {
    serde_json::from_slice(&limited::notes(&folder.join(name)).ok()?).ok()
}

/// By which program, and when, it was begun.
fn run(folder: &Path) -> Option<Value> {
    let run = read(folder, "run.json")?;
    Some(json!({
        "version": run["version"], "git": run["git"], "started_time": run["started"],
        "starts": run["starts"].as_array().cloned().unwrap_or_default(),
    }))
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// All that the page shows.
fn content(folder: &Path, state: Option<State>, known: &Known) -> Result<Value> {
    let ledger = RunDir::join(folder).ledger()?;
    let lines = figures::lines(folder)?;
    let recipe = against::Resolved::read(folder);
    let stages = stages::stages(&ledger, recipe.recipe.as_ref(), &lines);
    let state = state.unwrap_or_else(|| State::of(folder, &stages));
    let evaluations = Evaluation::all(folder)?;
    let pieces = pieces::Pieces::of(folder);
    let rollouts = rollouts::pick(folder, &stages, &pieces)?;
    let held_out = held_out::pick(folder, &stages, &evaluations)?;
    let rationales = rationales::pick(folder, &stages, &evaluations)?;
    let points = summary::points(&evaluations);
    let (header, rows) = summary::table(&points);
    let figures = figures::by_stage(&lines);
    Ok(json!({
        "name": name(folder),
        "state": state,
        "written_time": now(),
        "run": run(folder),
        "machine": read(folder, crate::checkpoint::MACHINE),
        "stages": told(&stages, &figures)?,
        "evaluations": evaluations.iter().map(evaluation).collect::<Vec<_>>(),
        "panels": panels::PANELS,
        "described": meanings(figures.values().flat_map(|all| all.keys())),
        "table": json!({ "header": header, "rows": if points.is_empty() { vec![] } else { rows } }),
        "before_after": before_after(&points),
        "alarms": figures::alarms(&lines, &recipe.falling_windows()),
        "rollouts": rollouts,
        "held_out": held_out,
        "rationales": rationales,
        "recipe": recipe.against(known),
    }))
}

/// The stages, each with its figures.
fn told(
    stages: &[stages::Stage],
    figures: &BTreeMap<figures::Of, BTreeMap<String, figures::Series>>,
) -> Result<Vec<Value>> {
    let one = |stage: &stages::Stage| {
        let mut told = serde_json::to_value(stage).map_err(no_json)?;
        told["figures"] =
            serde_json::to_value(figures.get(&(stage.name.as_str(), stage.round))).map_err(no_json)?;
        Ok(told)
    };
    stages.iter().map(one).collect()
}

fn no_json(error: serde_json::Error) -> Error {
    Error::Checkpoint(format!("the report cannot be written: {error}"))
}

/// An evaluation as the curve of all stages shows it.
fn evaluation(one: &Evaluation) -> Value {
    let report = &one.report;
    json!({
        "title": one.title(),
        "stage": one.stage,
        "accuracy": report.accuracy,
        "interval": report.interval,
        "questions": report.questions,
    })
}

/// What is known of these figures.
fn meanings<'a>(names: impl Iterator<Item = &'a String>) -> Map<String, Value> {
    let of = |name: &String| {
        let Described { unit, meaning, healthy, .. } = *described(name)?;
        Some((name.clone(), json!({ "unit": unit, "meaning": meaning, "healthy": healthy })))
    };
    let names: BTreeSet<&String> = names.collect();
    names.into_iter().filter_map(of).collect()
}

/// The shown questions, each with what these evaluations have of it; of many, some have.
fn before_after(points: &[&Evaluation]) -> Vec<Value> {
    let mut places: Vec<usize> = picked::spread(points.len()).take(SIDES).collect();
    places.sort_unstable();
    let points: Vec<&Evaluation> = places.into_iter().map(|place| points[place]).collect();
    let Some(first) = points.first() else { return vec![] };
    let one = |(place, shown): (usize, &Shown)| {
        let same = |point: &&&Evaluation| {
            point.report.shown.get(place).is_some_and(|other| other.prompt == shown.prompt)
        };
        let of = |point: &&Evaluation| {
            let found = &point.report.shown[place];
            json!({ "title": point.title(), "text": found.completion, "right": found.correct })
        };
        json!({
            "prompt": shown.prompt,
            "gold": shown.answer,
            "points": points.iter().filter(same).map(of).collect::<Vec<_>>(),
        })
    };
    first.report.shown.iter().enumerate().map(one).collect()
}
