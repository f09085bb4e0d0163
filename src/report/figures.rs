//! The figures of a run: as series that a page can hold, as comma-separated values, and what in them is alarming.

use super::name;
use crate::checkpoint::Trials;
use crate::error::Result;
use crate::log::JsonLines;
use crate::log::table::csv_cell;
use crate::loops::dpo::alarm::{self, Falling};
use serde::Serialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The points of a series; of more, several are one.
const POINTS: usize = 300;
/// The points of all series together, where that leaves each a few.
const ALL: usize = 400_000;
/// The alarms that a page shows.
const ALARMS: usize = 200;
/// What a line has besides figures.
const PLACE: [&str; 5] = ["stage", "round", "loop_round", "step", "time"];
/// The list of what a step's alarms say.
const SAID: &str = crate::log::ALARMS;

/// A figure over the steps of a stage.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(super) struct Series {
    pub steps: Vec<u64>,
    /// None where it was no number.
    pub values: Vec<Option<f64>>,
    /// How many steps a point is the mean of; its step is their last.
    pub mean_of: usize,
}

/// A stage and its round.
pub(super) type Of<'a> = (&'a str, usize);

/// The lines of `metrics.jsonl`.
pub(super) fn lines(folder: &Path) -> Result<Vec<Value>> {
    JsonLines::read(&folder.join("metrics.jsonl"))
}

fn of(line: &Value) -> Of<'_> {
    (line["stage"].as_str().unwrap_or(""), line["round"].as_u64().unwrap_or(1) as usize)
}

/// The figures of a line; lists of examples are none.
fn numbers(line: &Value) -> impl Iterator<Item = (&String, Option<f64>)> {
    let all = line.as_object().into_iter().flatten();
    all.filter(|(name, value)| !PLACE.contains(&name.as_str()) && (value.is_number() || value.is_null()))
        .map(|(name, value)| (name, value.as_f64()))
}

/// By stage and name, the series.
pub(super) fn by_stage(lines: &[Value]) -> BTreeMap<Of<'_>, BTreeMap<String, Series>> {
    let mut all: BTreeMap<Of, BTreeMap<String, Series>> = BTreeMap::new();
    for line in lines {
        let step = line["step"].as_u64().unwrap_or(0);
        let stage = all.entry(of(line)).or_default();
        for (name, value) in numbers(line) {
            let series = stage.entry(name.clone()).or_default();
            series.steps.push(step);
            series.values.push(value);
        }
    }
    let count: usize = all.values().map(BTreeMap::len).sum();
    let most = (ALL / count.max(1)).clamp(10, POINTS);
    all.values_mut().flat_map(BTreeMap::values_mut).for_each(|series| series.shorten(most));
    all
}

impl Series {
    /// Makes several points one where there are more than `most`, and its numbers short.
    fn shorten(&mut self, most: usize) {
        let size = self.steps.len().div_ceil(most).max(1);
        let mean = |values: &[Option<f64>]| {
            let known: Vec<f64> = values.iter().copied().flatten().collect();
            (!known.is_empty()).then(|| short(known.iter().sum::<f64>() / known.len() as f64))
        };
        self.values = self.values.chunks(size).map(mean).collect();
        self.steps = self.steps.chunks(size).filter_map(|steps| steps.last().copied()).collect();
        self.mean_of = size;
    }
}

/// The figures that say in short where a run stands, at most one of each name: what it is called, and its newest value. Held-out accuracy
/// may be of any stage, the others are of the last.
pub fn newest(lines: &[Value]) -> Vec<(&'static str, f64)> {
    const FIGURES: [(&str, &str); 5] = [
        ("accuracy", "eval/accuracy"),
        ("preference accuracy", "eval/rewards/accuracies"),
        ("preference accuracy", "rewards/accuracies"),
        ("reward", "reward"),
        ("loss", "loss"),
    ];
    let Some(last) = lines.last().map(of) else { return vec![] };
    let mut found: Vec<(&str, f64)> = Vec::new();
    for (name, figure) in FIGURES {
        let mut there = lines.iter().rev().filter(|line| name == "accuracy" || of(line) == last);
        let value = there.find_map(|line| line[figure].as_f64());
        if let Some(value) = value.filter(|_| found.iter().all(|(known, _)| *known != name)) {
            found.push((name, value));
        }
    }
    found
}

/// A number with five digits that count.
pub(super) fn short(value: f64) -> f64 {
    format!("{value:.4e}").parse().unwrap_or(value)
}

/// Something that a run's owner should look at.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Alarm {
    pub stage: String,
    pub round: usize,
    pub step: u64,
    pub text: String,
}

/// What the alarms of the run have said, evaluations that failed, the first time that a figure was no number, and, over as many steps
/// as `windows` says of a stage, log-probabilities that fall on both sides of pairs; the newest first.
pub(super) fn alarms(lines: &[Value], windows: &BTreeMap<String, usize>) -> Vec<Alarm> {
    let (mut found, mut seen) = (Vec::new(), BTreeSet::new());
    let mut falling: BTreeMap<Of, Falling> = BTreeMap::new();
    for line in lines {
        let (stage, round) = of(line);
        let mut say = |text: String| {
            let step = line["step"].as_u64().unwrap_or(0);
            found.push(Alarm { stage: stage.into(), round, step, text });
        };
        let said = line[SAID].as_array().into_iter().flatten().filter_map(Value::as_str);
        said.for_each(|sentence| say(sentence.to_string()));
        let rewards = ["rewards/chosen", "rewards/rejected"].map(|name| line[name].as_f64());
        if let ([Some(chosen), Some(rejected)], Some(&window)) = (rewards, windows.get(stage))
            && falling.entry((stage, round)).or_default().push(chosen, rejected, window)
        {
            say(alarm::sentence(line["step"].as_u64().unwrap_or(0), window));
        }
        if line["eval/failed"].as_f64() == Some(1.0) {
            say("the evaluation failed, and the stage went on without it".into());
        }
        for (name, _) in numbers(line).filter(|(_, value)| value.is_none()) {
            if seen.insert((stage, round, name)) {
                say(format!("{name} is no finite number, here for the first time"));
            }
        }
    }
    found.reverse();
    found.truncate(ALARMS);
    found
}

/// A line a step with all figures, as trackers import them: `step` goes on over all stages, `stage_step` begins anew in each. Of a run of
/// trials those of all of them, a column in front telling which.
///
/// # Errors
/// Lines that are none.
pub fn csv(folder: &Path) -> Result<String> {
    let trials = Trials::read(folder)?.unwrap_or_default().begun(folder);
    let of = |path: &PathBuf| lines(path).map(|lines| (Some(name(path)), lines));
    let runs = match trials.is_empty() {
        true => vec![(None, lines(folder)?)],
        false => trials.iter().map(of).collect::<Result<Vec<_>>>()?,
    };
    let names: BTreeSet<&String> =
        runs.iter().flat_map(|(_, lines)| lines).flat_map(numbers).map(|(name, _)| name).collect();
    let trial = runs.iter().any(|(trial, _)| trial.is_some()).then_some("trial");
    let head = trial.into_iter().chain(["step", "stage", "round", "stage_step"]).map(str::to_string);
    let head: Vec<String> = head.chain(names.iter().map(|name| csv_cell(name))).collect();
    let mut text = head.join(",") + "\n";
    for (trial, lines) in &runs {
        add_steps(&mut text, trial.as_deref(), lines, &names);
    }
    Ok(text)
}

fn add_steps(text: &mut String, trial: Option<&str>, lines: &[Value], names: &BTreeSet<&String>) {
    let (mut before, mut last): (u64, Option<(Of, u64)>) = (0, None);
    // What was found after a step stands in lines of their own.
    let same = |a: &Value, b: &Value| of(a) == of(b) && a["step"] == b["step"];
    for step in lines.chunk_by(same) {
        let (stage, at) = (of(&step[0]), step[0]["step"].as_u64().unwrap_or(0));
        if let Some((other, reached)) = last
            && other != stage
        {
            before += reached;
        }
        last = Some((stage, at));
        let figures: BTreeMap<&String, f64> =
            step.iter().flat_map(numbers).filter_map(|(name, value)| Some((name, value?))).collect();
        let (name, round) = stage;
        let place = [(before + at).to_string(), csv_cell(name), round.to_string(), at.to_string()];
        let cell = |name: &&String| figures.get(*name).map_or(String::new(), f64::to_string);
        let place = trial.map(csv_cell).into_iter().chain(place);
        let cells: Vec<String> = place.chain(names.iter().map(cell)).collect();
        *text += &(cells.join(",") + "\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn line(stage: &str, step: u64, figures: Value) -> Value {
        let mut line = json!({ "stage": stage, "round": 1, "step": step });
        line.as_object_mut().unwrap().extend(figures.as_object().unwrap().clone());
        line
    }

    #[test]
    fn a_long_series_is_short_and_has_the_same_mean() {
        let lines: Vec<Value> = (1..=3000).map(|step| line("rl", step, json!({ "reward": step }))).collect();
        let found = by_stage(&lines);
        let series = &found[&("rl", 1)]["reward"];
        assert_eq!((series.steps.len(), series.mean_of), (300, 10));
        // The mean of 1 to 10 is 5.5, of 2991 to 3000 it is 2995.5.
        assert_eq!((series.steps[0], series.values[0]), (10, Some(5.5)));
        assert_eq!((series.steps[299], series.values[299]), (3000, Some(2995.5)));
        assert_eq!(short(0.123456789), 0.12346);
    }

    #[test]
    fn what_is_alarming_is_told_once_and_the_newest_first() {
        let lines = [
            line("rl", 1, json!({ "loss": null, "alarms": ["step 1: <b>bad</b>"] })),
            line("rl", 2, json!({ "loss": null, "eval/failed": 1.0 })),
        ];
        let none = BTreeMap::new();
        let texts: Vec<String> = alarms(&lines, &none).into_iter().map(|alarm| alarm.text).collect();
        assert_eq!(texts.len(), 3, "{texts:?}");
        assert!(texts[0].contains("evaluation failed") && texts[2] == "step 1: <b>bad</b>");
    }

    #[test]
    fn where_a_run_stands_is_said_of_every_kind_of_stage() {
        let warm = line("warm", 3, json!({ "loss": 0.5, "eval/accuracy": 0.25 }));
        let rl = line("rl", 1, json!({ "reward": 0.75 }));
        assert_eq!(newest(&[warm.clone(), rl]), [("accuracy", 0.25), ("reward", 0.75)]);
        // The last line of a stage is that of its evaluation.
        let step = line("dpo", 8, json!({ "loss": 0.625, "rewards/accuracies": 0.5 }));
        let evaluated = line("dpo", 8, json!({ "eval/loss": 0.5, "eval/rewards/accuracies": 0.75 }));
        assert_eq!(newest(&[step, evaluated]), [("preference accuracy", 0.75), ("loss", 0.625)]);
        assert!(newest(&[]).is_empty());
    }

    #[test]
    fn pairs_that_are_unlearned_are_an_alarm() {
        let of = |step: u64| {
            let fallen = -(step as f64);
            line("dpo", step, json!({ "rewards/chosen": fallen, "rewards/rejected": 2.0 * fallen }))
        };
        let lines: Vec<Value> = (0..8).map(of).collect();
        let found = alarms(&lines, &[("dpo".to_string(), 4)].into());
        assert!(found.len() == 1 && found[0].step == 3 && found[0].text.contains("unlearning"), "{found:?}");
        assert!(alarms(&lines, &[("other".to_string(), 4)].into()).is_empty());
    }

    #[test]
    fn a_line_a_step_and_steps_that_go_on() {
        let folder = tempfile::tempdir().unwrap();
        let lines = [
            line("warm", 1, json!({ "loss": 0.5, "rows_too_long": ["a"] })),
            line("warm", 2, json!({ "loss": 0.25 })),
            line("warm", 2, json!({ "eval/accuracy": 1.0 })),
            line("rl", 0, json!({ "eval/accuracy": 0.5 })),
            line("rl", 1, json!({ "loss": null })),
        ];
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        std::fs::write(folder.path().join("metrics.jsonl"), text).unwrap();
        let expected = "step,stage,round,stage_step,eval/accuracy,loss\n1,warm,1,1,,0.5\n2,warm,1,2,1,0.25\n\
                        2,rl,1,0,0.5,\n3,rl,1,1,,\n";
        assert_eq!(csv(folder.path()).unwrap(), expected);
    }
}
