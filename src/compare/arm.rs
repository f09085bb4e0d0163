//! Arms of a comparison: runs that differ in their seed alone.

use super::measured::{Measured, Question, split};
use crate::checkpoint::{TrialRecord, Trials};
use crate::error::{Error, Result};
use crate::statistics::mean;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Runs that are looked at as one.
#[derive(Debug, Clone)]
pub struct Arm {
    /// What it is called.
    pub name: String,
    /// Its runs; at least one.
    pub runs: Vec<Measured>,
}

impl Arm {
    /// By question, the mean of what its runs come to.
    pub fn by_question(&self, of: impl Fn(&Measured) -> BTreeMap<Question, f64>) -> BTreeMap<Question, f64> {
        let mut all: BTreeMap<Question, Vec<f64>> = BTreeMap::new();
        for (question, value) in self.runs.iter().flat_map(of) {
            all.entry(question).or_default().push(value);
        }
        all.into_iter().map(|(question, values)| (question, mean(values))).collect()
    }

    /// The seeds of its runs.
    pub fn seeds(&self) -> Vec<i64> {
        self.runs.iter().map(|run| run.seed).collect()
    }
}

/// The arms: the `named` ones, each `NAME=RUN,RUN`, then of `runs` those together whose recipes differ in `run.seed` alone. In the
/// order in which they are given. A run that sweeps is its trials: an arm a point, those that are not evaluated yet left out.
///
/// # Errors
/// What is wrong with a run or a name.
pub fn arms(named: &[String], runs: &[String]) -> Result<Vec<Arm>> {
    let mut arms: Vec<Arm> = Vec::new();
    for group in named {
        let Some((name, list)) =
            group.split_once('=').filter(|(name, list)| !name.is_empty() && !list.is_empty())
        else {
            return Err(Error::Checkpoint(format!(
                "--group {group}: write NAME=RUN,RUN, such as grpo=runs/a,runs/b"
            )));
        };
        let mut all = Vec::new();
        for run in list.split(',').map(str::trim) {
            match of_sweep(run)? {
                Some(points) => all.extend(points.into_iter().flat_map(|point| point.runs)),
                None => all.push(Measured::read(run)?),
            }
        }
        arms.push(Arm { name: name.trim().to_string(), runs: all });
    }
    let mut found: Vec<Vec<Measured>> = Vec::new();
    let alone = named.is_empty() && runs.len() == 1;
    for run in runs {
        if let Some(points) = of_sweep(run)? {
            let title = |point: Arm| match alone {
                true => point,
                false => Arm { name: format!("{run} {}", point.name), ..point },
            };
            arms.extend(points.into_iter().map(title));
            continue;
        }
        let run = Measured::read(run)?;
        let at = |run: &Measured| (run.recipe.clone(), run.evaluation.stage.clone(), run.evaluation.step);
        let alike = found
            .iter_mut()
            .find(|known| at(&known[0]) == at(&run) && known.iter().all(|other| other.seed != run.seed));
        match alike {
            Some(known) => known.push(run),
            None => found.push(vec![run]),
        }
    }
    let called: Vec<(String, &str)> = found.iter().map(|runs| called(runs)).collect();
    // Of stages of one run the stages say it all.
    let folders: BTreeSet<&str> = called.iter().map(|(folder, _)| folder.as_str()).collect();
    let stages_alone = arms.is_empty()
        && called.len() > 1
        && folders.len() == 1
        && called.iter().all(|(_, place)| !place.is_empty());
    let names: Vec<String> = called
        .iter()
        .map(|(folder, place)| if stages_alone { place[1..].to_string() } else { format!("{folder}{place}") })
        .collect();
    arms.extend(names.into_iter().zip(found).map(|(name, runs)| Arm { name, runs }));
    same_twice(&mut arms)?;
    if arms.len() < 2 && arms.iter().all(|arm| arm.runs.len() < 2) {
        return Err(Error::Checkpoint(
            "one run alone is compared with nothing; give two or more, or one at two of its stages as RUN@STAGE".to_string(),
        ));
    }
    Ok(arms)
}

/// The points of the run in `folder`, which sweeps, each with those of its trials that fit; what has no evaluation is left out. None of an
/// ordinary run.
///
/// # Errors
/// A list of trials that cannot be read.
pub fn of_trials(folder: &Path, fits: &dyn Fn(&TrialRecord) -> bool) -> Result<Vec<Arm>> {
    let given = folder.to_string_lossy();
    Ok(points(&given, "", fits)?.map_or(vec![], |(points, _)| points))
}

/// The points of a run that sweeps, `FOLDER[@STAGE[:STEP]]`; none of an ordinary one.
fn of_sweep(given: &str) -> Result<Option<Vec<Arm>>> {
    let (folder, _, _) = split(given)?;
    let Some((points, left_out)) = points(folder, &given[folder.len()..], &|_| true)? else {
        return Ok(None);
    };
    for (trial, error) in &left_out {
        tracing::warn!("trial {trial} is left out: {error}");
    }
    match (points.is_empty(), left_out.into_iter().next()) {
        (true, Some((_, why))) => Err(why),
        _ => Ok(Some(points)),
    }
}

/// Points, and the trials that have not come so far, with why.
type Points = (Vec<Arm>, Vec<(String, Error)>);

/// The points of the run that sweeps in `folder`, `at` an evaluation, of the trials that fit.
fn points(folder: &str, at: &str, fits: &dyn Fn(&TrialRecord) -> bool) -> Result<Option<Points>> {
    let Some(trials) = Trials::read(Path::new(folder))? else { return Ok(None) };
    let (mut points, mut left_out): Points = (Vec::new(), Vec::new());
    for trial in trials.trials.into_iter().filter(|trial| fits(trial)) {
        let run = Path::new(folder).join(&trial.name);
        let read = Measured::read(&format!("{}{at}", run.display()));
        let name = if trial.point.is_empty() { name_of(folder) } else { trial.point };
        match read {
            Ok(run) => match points.iter_mut().find(|point| point.name == name) {
                Some(point) => point.runs.push(run),
                None => points.push(Arm { name, runs: vec![run] }),
            },
            Err(error) => left_out.push((trial.name, error)),
        }
    }
    Ok(Some((points, left_out)))
}

fn name_of(folder: &str) -> String {
    let path = Path::new(folder).canonicalize().ok();
    path.and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned()))
        .unwrap_or_else(|| folder.to_string())
}

/// Refuses a run that is given twice, and numbers arms of one name.
fn same_twice(arms: &mut [Arm]) -> Result<()> {
    let mut seen = BTreeSet::new();
    for run in arms.iter().flat_map(|arm| &arm.runs) {
        if !seen.insert(run.given.clone()) {
            return Err(Error::Checkpoint(format!("{} is given twice", run.given)));
        }
    }
    let mut names = BTreeSet::new();
    for arm in arms {
        let name = arm.name.clone();
        let mut others = (2..).map(|n| format!("{name} ({n})"));
        while !names.insert(arm.name.clone()) {
            arm.name = others.next().unwrap_or_default();
        }
    }
    Ok(())
}

/// What runs that differ in their seed are called together, and behind it the `@STAGE` at which all of them were asked for.
fn called(runs: &[Measured]) -> (String, &str) {
    let (folders, places): (Vec<&str>, BTreeSet<&str>) = runs.iter().map(Measured::asked).unzip();
    let place = places.first().filter(|_| places.len() == 1);
    (common(&folders), place.copied().unwrap_or_default())
}

/// What several names begin with, or else the first; of one, itself.
fn common(names: &[&str]) -> String {
    let first = names[0];
    let end = first
        .char_indices()
        .map(|(at, c)| at + c.len_utf8())
        .take_while(|&end| names.iter().all(|name| name.starts_with(&first[..end])))
        .last();
    let joint =
        first[..end.unwrap_or(0)].trim_end_matches(|c: char| "-_. ".contains(c) || c.is_ascii_digit());
    let joint = joint.strip_suffix("seed").unwrap_or(joint).trim_end_matches(['-', '_', '.', ' ']);
    if names.len() == 1 || joint.is_empty() { first.to_string() } else { joint.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seeds_of_one_recipe_are_called_by_what_they_share() {
        assert_eq!(common(&["shorter-0", "shorter-1", "shorter-12"]), "shorter");
        assert_eq!(common(&["rl_seed10", "rl_seed11"]), "rl");
        assert_eq!(common(&["gsm8k-1b"]), "gsm8k-1b");
        assert_eq!(common(&["a", "b"]), "a");
        assert_eq!(common(&["été-1", "étude"]), "ét");
    }
}
