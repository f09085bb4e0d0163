//! `train list`: recipes, and runs with where they stand.

use super::verb::Verb;
use crate::checkpoint::{Ledger, RunDir, TrialRecord, Trials, is_in_use, is_run, only_files};
use crate::error::{Error, Result};
use crate::limited;
use crate::log::terminal::tell;
use crate::log::{JsonLines, table};
use crate::recipe::{Recipe, Registry};
use crate::{report, run};
use clap::Parser;
use std::fs;
use std::path::{Path, PathBuf};

/// List recipes with what they are for, and runs with where they stand.
#[derive(Debug, Parser)]
#[command(after_help = EXAMPLES)]
pub(super) struct List {
    /// Folders with recipes or runs [default: recipes and checkpoints].
    dir: Vec<PathBuf>,
}

const EXAMPLES: &str = "Examples:
  train list
  train list recipes
  train list checkpoints /data/runs";

impl Verb for List {
    fn run(self, _: &Registry) -> Result<()> {
        let given = !self.dir.is_empty();
        let dirs = if given { self.dir } else { vec!["recipes".into(), "checkpoints".into()] };
        let mut text = String::new();
        for dir in &dirs {
            let Ok(entries) = fs::read_dir(dir) else {
                if given && dir.exists() {
                    let dir = dir.display();
                    return Err(Error::Recipe(format!(
                        "{dir}: is no folder that can be read; name one with recipes or runs in it"
                    )));
                }
                if given {
                    return Err(Error::Recipe(format!("{}: there is no such folder", dir.display())));
                }
                continue;
            };
            let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
            paths.sort();
            if is_run(dir) {
                paths = vec![dir.clone()];
            }
            text += &recipes(dir, &paths);
            text += &runs(dir, &paths);
        }
        if text.is_empty() {
            let dirs: Vec<String> = dirs.iter().map(|dir| dir.display().to_string()).collect();
            text = format!("no recipes and no runs in {}\n", dirs.join(" and "));
        }
        tell(&text).map_err(Error::io("standard output"))
    }
}

/// The recipes among `paths`: what each is for, by its first lines, and how long it takes, by the folder's README.
fn recipes(dir: &Path, paths: &[PathBuf]) -> String {
    let readme = limited::notes_text(&dir.join("README.md")).unwrap_or_default();
    let mut rows = Vec::new();
    for path in paths.iter().filter(|path| path.extension().is_some_and(|ending| ending == "toml")) {
        let Ok(text) = limited::notes_text(path) else { continue };
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let told: Vec<String> = ["needs ", "minutes: ", "memory: "]
            .into_iter()
            .zip(columns(&readme, &name))
            .filter(|(_, column)| !column.is_empty())
            .map(|(what, column)| format!("{what}{column}"))
            .collect();
        let told = told.join("; ");
        let why = Some(why(&text))
            .filter(|why| !why.is_empty())
            .map_or(String::new(), |why| format!("    {why}\n"));
        rows.push(format!("{}\n{why}", format!("{name:<26} {told}").trim_end()));
    }
    if rows.is_empty() {
        return String::new();
    }
    format!("Recipes in {}\n\n{}\n", dir.display(), rows.concat())
}

/// The first sentence of the comment that a recipe begins with.
fn why(recipe: &str) -> String {
    let lines =
        recipe.lines().skip_while(|line| line.starts_with("#:")).take_while(|line| line.starts_with('#'));
    let text = lines.map(|line| line.trim_start_matches('#').trim()).collect::<Vec<_>>().join(" ");
    let text = text.strip_prefix("Why: ").unwrap_or(&text);
    text.find(". ").map_or(text, |end| &text[..end]).trim_end_matches('.').to_owned()
}

/// What a recipe needs, its minutes and its memory: columns of its row in a README's table.
fn columns(readme: &str, name: &str) -> [String; 3] {
    let row = readme.lines().find(|line| line.contains(&format!("[`{name}`]")));
    let cells: Vec<&str> = row.unwrap_or_default().trim_matches('|').split('|').map(str::trim).collect();
    match cells[..] {
        [_, _, needs, minutes, memory, ..] => [needs, minutes, memory].map(str::to_owned),
        _ => Default::default(),
    }
}

/// The runs among `paths`.
fn runs(dir: &Path, paths: &[PathBuf]) -> String {
    let mut rows = Vec::new();
    for path in paths.iter().filter(|path| is_run(path)) {
        match Trials::read(path) {
            Ok(Some(trials)) => rows.extend(sweep_rows(path, &trials, paths.len() == 1)),
            _ => rows.push(run_row(path)),
        }
    }
    if rows.is_empty() {
        return String::new();
    }
    let header = ["run", "state", "stage", "step", "figures"].map(str::to_string);
    format!("Runs in {}\n{}\n\n", dir.display(), table(&header, &rows))
}

/// A row of all trials together and, where they are `listed`, one of each.
fn sweep_rows(path: &Path, trials: &Trials, listed: bool) -> Vec<Vec<String>> {
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    let mut rows = Vec::new();
    for trial in &trials.trials {
        let folder = path.join(&trial.name);
        let mut row = match (&trial.failed, is_run(&folder)) {
            (_, false) => {
                let (blank, state) = (String::new(), "not begun".to_owned());
                vec![trial.name.clone(), state, blank.clone(), blank.clone(), blank]
            }
            (None, true) => run_row(&folder),
            (Some(why), true) => {
                let mut row = run_row(&folder);
                (row[1], row[4]) = ("failed".to_owned(), why.clone());
                row
            }
        };
        row[0] = format!("  {}", trial.name);
        rows.push(row);
    }
    let count = |state: &str| rows.iter().filter(|row| row[1] == state).count();
    let (all, done, failed) = (rows.len(), count("done"), count("failed"));
    // What came to no numbers is passed over, and its run goes on; any other failure is the run's own.
    let is_passed = |trial: &&TrialRecord| trial.failed.is_some() && is_run(&path.join(&trial.name));
    let passed = trials.trials.iter().filter(is_passed).count();
    let state = match (is_in_use(path), done + passed == all) {
        (true, _) => "running",
        (false, true) => "done",
        _ if failed > passed => "failed",
        _ => "stopped",
    };
    let failed = if failed > 0 { format!(", {failed} failed") } else { String::new() };
    let last = rows.iter().rfind(|row| !["not begun"].contains(&row[1].as_str()));
    let [stage, step] = [2, 3].map(|at| last.map_or(String::new(), |row| row[at].clone()));
    let whole = vec![name, state.to_owned(), stage, step, format!("{done} of {all} trials done{failed}")];
    std::iter::once(whole).chain(rows.into_iter().filter(|_| listed)).collect()
}

fn run_row(path: &Path) -> Vec<String> {
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    let read = || -> Result<_> {
        only_files(path)?;
        Ok((RunDir::join(path).ledger()?, JsonLines::read(&path.join("metrics.jsonl"))?))
    };
    let (ledger, lines) = match read() {
        Ok(read) => read,
        // One broken run is no reason to say nothing of the others.
        Err(error) => {
            return vec![name, "unreadable".into(), String::new(), String::new(), error.to_string()];
        }
    };
    let planned = run::recipe_of(path)
        .and_then(|recipe| Recipe::read(&recipe, &[]).ok())
        .map(|recipe| recipe.plan().len());
    let stage = ledger.stages.last().map_or(String::new(), |record| match record.round {
        1 => record.stage.clone(),
        round => format!("{}, round {round}", record.stage),
    });
    let step = lines.last().and_then(|line| line["step"].as_u64());
    let step = step.map_or(String::new(), |step| step.to_string());
    let figures: Vec<String> =
        report::newest(&lines).into_iter().map(|(name, value)| format!("{name} {value:.3}")).collect();
    let state = state(path, &ledger, planned);
    let figures = match &ledger.failed {
        Some(why) if state == "failed" => why.lines().next().unwrap_or_default().to_owned(),
        _ => figures.join("  "),
    };
    vec![name, state.to_owned(), stage, step, figures]
}

fn state(path: &Path, ledger: &Ledger, planned: Option<usize>) -> &'static str {
    let done = ledger.stages.iter().filter(|record| record.done.is_some()).count();
    match (is_in_use(path), planned) {
        (true, _) => "running",
        (false, Some(planned)) if done >= planned => "done",
        _ if ledger.failed.is_some() => "failed",
        _ => "stopped",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recipe_says_why_in_its_first_sentence() {
        let text = "#:schema ./schema.json\n# Why: the engine in\n# five minutes. A model learns.\n\n[run]\n# not this.";
        assert_eq!(why(text), "the engine in five minutes");
        let readme = "| recipe | why | needs | minutes | memory | picture |\n\
                      | [`quickstart`](quickstart.toml) | The engine | nothing | 3 to 5 | 0.7 GB | [it](it.svg) |";
        assert_eq!(columns(readme, "quickstart"), ["nothing", "3 to 5", "0.7 GB"]);
        assert_eq!(columns(readme, "other"), ["", "", ""]);
    }
}
