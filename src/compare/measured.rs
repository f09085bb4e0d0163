//! A run at one of its evaluations, as its folder tells it.

use crate::checkpoint::{only_files, recipes};
use crate::error::{Error, Result};
use crate::eval::{Evaluation, RowFigures, Verdict, Weighed};
use crate::limited;
use crate::log::JsonLines;
use crate::nearest::list;
use crate::recipe::flat::{Keys, keys};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use toml::Value;

/// A question: its id and its gold answer, since of other data the same id may be another question.
pub type Question = (String, String);

/// A run at one of its evaluations.
#[derive(Debug, Clone)]
pub struct Measured {
    /// As it was asked for.
    pub given: String,
    /// Its folder's name, with the stage where one was asked for.
    pub name: String,
    /// The run's seed.
    pub seed: i64,
    /// Its resolved recipe, but for what differs between seeds of one recipe.
    pub recipe: Keys,
    /// The evaluation.
    pub evaluation: Evaluation,
    /// Its verdicts; none where nothing was asked.
    pub verdicts: Vec<Verdict>,
    /// What the method's own loss says of each held-out row, where it says something.
    pub rows: Vec<RowFigures>,
}

impl Measured {
    /// Reads `FOLDER`, `FOLDER@STAGE` or `FOLDER@STAGE:STEP`: the last evaluation of held-out questions, of the stage where one is
    /// named, or that after the step.
    ///
    /// # Errors
    /// [`Error::Checkpoint`] where the folder holds no run, no such evaluation, or not its verdicts as they were written.
    pub fn read(given: &str) -> Result<Self> {
        let (folder, stage, step) = split(given)?;
        let path = Path::new(folder);
        if !path.join("run.json").is_file() {
            return Err(wrong(
                path,
                "holds no run; give the folder that a run has written, such as checkpoints/quickstart",
            ));
        }
        only_files(path)?;
        let all = Evaluation::all(path)?;
        let fits = |one: &&Evaluation| {
            one.report.process.is_none()
                && stage.is_none_or(|stage| one.stage == stage)
                && step.is_none_or(|step| one.step == step)
        };
        let Some(evaluation) = all.iter().rev().find(fits).cloned() else {
            let known: BTreeSet<String> =
                all.iter().map(|one| format!("@{}:{}", one.stage, one.step)).collect();
            let what = match known.len() {
                0 => "has no evaluation: it has come to none yet, or its stages have no [eval]".to_string(),
                _ => format!(
                    "has no such evaluation of questions; known: {}",
                    list(known.iter().map(String::as_str))
                ),
            };
            return Err(wrong(path, &what));
        };
        let rows: Vec<RowFigures> = match &evaluation.report.held_out {
            Some(_) => JsonLines::read_as(&path.join(evaluation.rows()))?,
            None => vec![],
        };
        let file = path.join(evaluation.verdicts());
        if let Some(held_out) = &evaluation.report.held_out
            && rows.len() != held_out.rows
        {
            return Err(wrong(
                &path.join(evaluation.rows()),
                "holds other rows than those that the run's evaluation counted; put it back as it was",
            ));
        }
        let asked = evaluation.report.questions > 0;
        if asked && !file.is_file() {
            return Err(wrong(
                &file,
                "is not there: the run was evaluated by an earlier version, or it was removed; evaluate again, by a recipe with \
                 [loop.evaluate] and policy.model set to the run's folder",
            ));
        }
        let verdicts: Vec<Verdict> = if asked { JsonLines::read_as(&file)? } else { vec![] };
        if asked && !is_of(&verdicts, &evaluation) {
            return Err(wrong(
                &file,
                "holds other verdicts than those that the run's evaluation counted; put it back as it was",
            ));
        }
        let (recipe, seed) = recipe(path, &evaluation.stage)?;
        let name =
            path.canonicalize().ok().and_then(|path| Some(path.file_name()?.to_string_lossy().into_owned()));
        let mut name = name.unwrap_or_else(|| folder.to_string());
        name += given.strip_prefix(folder).unwrap_or_default();
        Ok(Self { given: given.to_string(), name, seed, recipe, evaluation, verdicts, rows })
    }

    /// By question, the share of its completions that is right.
    pub fn accuracies(&self) -> BTreeMap<Question, f64> {
        self.by_question(|verdict| f64::from(u8::from(verdict.right)))
    }

    /// The name of its folder, and the `@STAGE[:STEP]` at which it was asked for; empty without one.
    pub fn asked(&self) -> (&str, &str) {
        let place = split(&self.given).map_or("", |(folder, ..)| &self.given[folder.len()..]);
        (self.name.strip_suffix(place).unwrap_or(&self.name), place)
    }

    /// The names of what was measured beside right and wrong.
    pub fn measured(&self) -> BTreeSet<String> {
        let all = |name: &&String| self.verdicts.iter().all(|verdict| verdict.measures.contains_key(*name));
        let asked = self.evaluation.report.measures.keys().filter(all);
        let of_rows = self.rows.iter().flat_map(|row| row.figures.keys());
        asked.chain(of_rows).cloned().collect()
    }

    /// A measure by question, or by held-out row, with what it weighs.
    pub fn measure(&self, name: &str) -> BTreeMap<Question, Weighed> {
        let of_row = |row: &RowFigures| Some(((row.row.clone(), String::new()), *row.figures.get(name)?));
        let of_rows: BTreeMap<Question, Weighed> = self.rows.iter().filter_map(of_row).collect();
        if !of_rows.is_empty() {
            return of_rows;
        }
        let of = |verdict: &Verdict| verdict.measures.get(name).copied().unwrap_or(f64::NAN);
        self.by_question(of).into_iter().map(|(question, value)| (question, (value, 1.0))).collect()
    }

    /// By question, the mean of `value`.
    pub fn by_question(&self, value: impl Fn(&Verdict) -> f64) -> BTreeMap<Question, f64> {
        let mut sums: BTreeMap<Question, (f64, f64)> = BTreeMap::new();
        for verdict in &self.verdicts {
            let sum = sums.entry((verdict.question.clone(), verdict.gold.clone())).or_default();
            *sum = (sum.0 + value(verdict), sum.1 + 1.0);
        }
        sums.into_iter().map(|(question, (sum, count))| (question, sum / count)).collect()
    }
}

/// `FOLDER[@STAGE[:STEP]]`; a folder of the whole name comes first.
pub(super) fn split(given: &str) -> Result<(&str, Option<&str>, Option<usize>)> {
    let Some((folder, of)) = given.rsplit_once('@').filter(|_| !Path::new(given).is_dir()) else {
        return Ok((given, None, None));
    };
    let Some((stage, step)) = of.rsplit_once(':') else { return Ok((folder, Some(of), None)) };
    let step = step.parse().map_err(|_| {
        Error::Checkpoint(format!(
            "{given}: `{step}` is no step; a run is given as FOLDER, FOLDER@STAGE or FOLDER@STAGE:STEP"
        ))
    })?;
    Ok((folder, Some(stage), Some(step)))
}

fn wrong(path: &Path, what: &str) -> Error {
    Error::Checkpoint(format!("{} {what}", path.display()))
}

/// Whether these are the verdicts that the evaluation was counted from.
fn is_of(verdicts: &[Verdict], evaluation: &Evaluation) -> bool {
    let report = &evaluation.report;
    let questions: BTreeSet<&str> = verdicts.iter().map(|verdict| verdict.question.as_str()).collect();
    let right = verdicts.iter().filter(|verdict| verdict.right).count() as f64;
    // Every question has as many completions as any other.
    !verdicts.is_empty()
        && questions.len() == report.questions
        && (right / verdicts.len() as f64 - report.accuracy).abs() < 1e-9
}

/// The recipe that the run last had, without its seed and its name, and the seed.
fn recipe(run: &Path, stage: &str) -> Result<(Keys, i64)> {
    let Some(file) = recipes(run).0 else { return Err(wrong(run, "holds no recipe.toml")) };
    let text = limited::notes_text(&file).map_err(Error::io(&file))?;
    let table = toml::from_str(&text).map_err(|error| wrong(&file, &format!("is no recipe: {error}")))?;
    let mut keys = keys(&table, stage);
    let seed = keys.remove(&(String::new(), "run.seed".to_string()));
    keys.remove(&(String::new(), "run.name".to_string()));
    Ok((keys, seed.as_ref().and_then(Value::as_integer).unwrap_or(0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_given_with_its_stage_and_step() {
        assert_eq!(split("runs/a").unwrap(), ("runs/a", None, None));
        assert_eq!(split("runs/a@rl").unwrap(), ("runs/a", Some("rl"), None));
        assert_eq!(split("runs/a@b@rl:40").unwrap(), ("runs/a@b", Some("rl"), Some(40)));
        assert!(split("runs/a@rl:last").unwrap_err().to_string().contains("`last` is no step"));
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().join("a@b");
        std::fs::create_dir(&at).unwrap();
        assert_eq!(split(at.to_str().unwrap()).unwrap(), (at.to_str().unwrap(), None, None));
    }
}
