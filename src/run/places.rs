//! Where a run keeps what its stages left, and what a recipe's `"@stage"` stands for.

use super::inputs::{other_files, same_files};
use super::resume::{Changes, body, changes, holding, is_done, is_over};
use super::session::Session;
use super::stop;
use crate::checkpoint::{
    Ledger, Mode, RunDir, Saved, StageRecord, Trials, could_create, label, recipes, write_atomic,
};
use crate::error::{Error, Result};
use crate::eval::Evaluation;
use crate::limited;
use crate::log::terminal::say;
use crate::recipe::{Args, PlannedStage, Registry, Stage};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// What the name of a stage's file of pairs has beside that of its traces.
pub(super) const PAIRS: &str = "-pairs";

/// The key that takes the direction that a stage has found.
pub(super) const DIRECTION: &str = "policy.steer.from";

/// Whether what stands at `path` is a model: `policy.model`, `reward.gain.model_without`.
fn is_of_model(path: &str) -> bool {
    [".model", ".model_without"].iter().any(|key| path.ends_with(key))
}

/// The stage that `"@target"` names at `path`, and what of it is meant: [`PAIRS`], or nothing further.
///
/// # Errors
/// A part that no stage has.
pub(super) fn part<'a>(path: &str, target: &'a str) -> Result<(&'a str, &'static str)> {
    match target.split_once('/') {
        None => Ok((target, "")),
        Some((target, "pairs")) if !is_of_model(path) && path != DIRECTION => Ok((target, PAIRS)),
        Some((target, other)) => Err(Error::Recipe(format!(
            "{path} = \"@{target}/{other}\": a stage has no `{other}` there; known: @{target}, and for data @{target}/pairs"
        ))),
    }
}

/// The directory that a run, or one of its trials, is to have.
pub(super) struct Claim<'a> {
    pub path: &'a Path,
    pub mode: Mode,
    pub quiet: bool,
    /// What the trial is called, and how it stands among the others; empty where the run has one alone.
    pub trial: &'a str,
    pub said: String,
    /// When the run began that it is a trial of.
    pub moment: Option<u64>,
}

impl<'a> Claim<'a> {
    /// That of an ordinary run.
    pub fn of_run(path: &'a Path, args: &Args) -> Self {
        let said = format!("run: {}", path.display());
        Self { path, mode: mode(args), quiet: args.quiet, trial: "", said, moment: None }
    }
}

/// What the command line says of a directory that is there.
pub(super) fn mode(args: &Args) -> Mode {
    match (args.resume, args.overwrite) {
        (true, _) => Mode::Resume,
        (_, true) => Mode::Overwrite,
        _ => Mode::Fresh,
    }
}

/// Refuses to go on with a run that sweeps by a recipe that does not.
fn sweeps_nothing(path: &Path, mode: Mode) -> Result<()> {
    match mode == Mode::Resume && Trials::read(path)?.is_some() {
        false => Ok(()),
        true => Err(Error::Checkpoint(format!(
            "{} holds a run that sweeps, and the recipe sweeps nothing; start another with --out, or go on with one of its trials by a recipe of \
             its own",
            path.display()
        ))),
    }
}

/// What [`claim`] would say of the directory and of what is done in it, and what the stage under way would refuse to go on from; writes nothing.
///
/// # Errors
/// What it would refuse.
pub(super) fn look(
    path: &Path,
    mode: Mode,
    resolved: &str,
    plan: &[PlannedStage],
    registry: &Registry,
) -> Result<Vec<String>> {
    sweeps_nothing(path, mode)?;
    could_create(path, mode)?;
    if mode != Mode::Resume {
        return Ok(vec![]);
    }
    let (mut said, found) = resumed(&RunDir::join(path), false, resolved, plan, registry)?;
    said.extend(read_otherwise(path, plan, found.as_ref())?);
    Ok(said)
}

/// What would be said of a run, or of a trial, that is gone on with, and what has changed of its recipe.
pub(super) fn resumed(
    dir: &RunDir,
    is_trial: bool,
    resolved: &str,
    plan: &[PlannedStage],
    registry: &Registry,
) -> Result<(Vec<String>, Option<Changes>)> {
    let path = dir.path();
    let found = changed(dir, resolved, plan, registry)?;
    let ledger = dir.ledger()?;
    needs_recipe(path, is_trial, &ledger)?;
    let mut said: Vec<String> = Vec::new();
    if let Some(Changes { words, .. }) = found.as_ref().filter(|found| !found.words.is_empty()) {
        said.push(format!("the recipe has changed: {}", words.join("; ")));
    }
    let goes_on = |record: &&StageRecord| {
        found.as_ref().is_some_and(|found| found.longer.contains(&record.stage))
            || !is_done(path, &ledger, &record.stage, record.round)
    };
    let under_way = ledger.stages.last().filter(goes_on);
    let Some(record) = under_way else {
        let done = |planned: &PlannedStage| {
            ledger.of(&planned.stage.name, planned.round).is_some_and(|record| record.done.is_some())
        };
        if plan.iter().all(done) {
            said.push("all stages are complete: there is nothing to resume".to_owned());
        }
        return Ok((said, found));
    };
    // Where the recipe has changed, `changed` has looked at the files.
    if found.is_none() {
        same_files(record, plan)?;
    }
    let of_stage = |saved: &Saved| {
        let progress = &saved.state.progress;
        (&progress.stage, progress.round) == (&record.stage, record.round)
    };
    let newest =
        dir.checkpoints()?.into_iter().filter(of_stage).max_by_key(|saved| saved.state.progress.step);
    let kept = newest.as_ref().map_or(&record.before, |saved| &saved.state.progress.files);
    kept.iter().try_for_each(|(name, extent)| extent.check(&path.join(name)))?;
    match newest {
        None => said.push(format!("stage `{}` goes on from its beginning", record.stage)),
        Some(saved) => {
            saved.can_go_on()?;
            dir.check(&saved)
                .map_err(|error| Error::Checkpoint(format!("{}; {}", error.what(), dir.remedy(&saved))))?;
            let step = saved.state.progress.step;
            said.push(format!("stage `{}` goes on from step {step}: {}", record.stage, saved.path.display()));
        }
    }
    Ok((said, found))
}

/// What a run of which nothing is left to do has read otherwise than it is now: nobody notices, since nothing is read any more.
fn read_otherwise(path: &Path, plan: &[PlannedStage], found: Option<&Changes>) -> Result<Vec<String>> {
    let ledger = RunDir::join(path).ledger()?;
    let longer = found.map_or_else(BTreeSet::new, |found| found.longer.clone());
    if !is_over(path, plan, &ledger, &longer, None) {
        return Ok(vec![]);
    }
    let mut said = Vec::new();
    for record in &ledger.stages {
        let found = other_files(record, plan)?;
        if !found.is_empty() {
            said.push(format!(
                "stage `{}` has read other files than there are now, and is done: {}; nothing is made of these, for which another --out \
                 starts a new run",
                record.stage,
                found.join(", ")
            ));
        }
    }
    Ok(said)
}

/// Refuses a run that has begun and whose recipe is gone. A trial begins with stages that it shares, before it has a recipe.
fn needs_recipe(path: &Path, is_trial: bool, ledger: &Ledger) -> Result<()> {
    let (had, next) = recipes(path);
    if had.is_some() || is_trial || ledger.stages.is_empty() {
        return Ok(());
    }
    Err(Error::Checkpoint(format!(
        "{} is gone, which says what this run was begun with; put it back, or start a new run with policy.model set to one of its \
         checkpoints",
        next.display()
    )))
}

/// The directory, made or taken over, with the resolved recipe in it.
pub(super) fn claim(
    place: &Claim,
    resolved: &str,
    plan: &[PlannedStage],
    registry: &Registry,
) -> Result<RunDir> {
    sweeps_nothing(place.path, place.mode)?;
    let dir = RunDir::create(place.path, place.mode)?;
    stop::of_run(dir.path().to_path_buf(), dir.made());
    // What is refused leaves no recipe.
    let found = match place.mode {
        Mode::Resume => resumed(&dir, !place.trial.is_empty(), resolved, plan, registry)?.1,
        Mode::Fresh | Mode::Overwrite => None,
    };
    read_otherwise(dir.path(), plan, found.as_ref())?.iter().for_each(|told| tracing::warn!("{told}"));
    go_on(&dir, place, resolved, found)?;
    if !place.quiet {
        say(&place.said);
    }
    Ok(dir)
}

/// What has changed of the recipe since the run in `dir` last had one; none where nothing has, or where it has had none.
///
/// # Errors
/// What cannot change.
pub(super) fn changed(
    dir: &RunDir,
    resolved: &str,
    plan: &[PlannedStage],
    registry: &Registry,
) -> Result<Option<Changes>> {
    let Some(had) = recipes(dir.path()).0 else { return Ok(None) };
    let ledger = dir.ledger()?;
    if ledger.stages.is_empty() && !dir.checkpoints()?.is_empty() {
        return Err(Error::Checkpoint(format!(
            "{} has checkpoints and no stages.json: that is lost, or it was begun by an older version of this program, which \
             alone can resume it; its checkpoints can be used: \
             start a new run with policy.model set to one",
            dir.path().display()
        )));
    }
    let before = limited::notes_text(&had).map_err(Error::io(&had))?;
    if body(&before) == body(resolved) {
        return Ok(None);
    }
    let old: toml::Table = toml::from_str(&before).map_err(|error| {
        let shown = had.display();
        Error::Checkpoint(format!(
            "{shown} is not any more what this run wrote: {error}; put it back as it was"
        ))
    })?;
    let new = toml::from_str(resolved)
        .map_err(|error| Error::Recipe(format!("what it resolves to is no TOML: {error}")))?;
    let mut found = changes(&old, &new, plan, &ledger, registry)?;
    let is_over = |only: Option<&str>| is_over(dir.path(), plan, &ledger, &found.longer, only);
    found.holds = holding(&old, new, is_over);
    let goes_on = |record: &&StageRecord| record.done.is_none() || found.longer.contains(&record.stage);
    ledger.stages.last().filter(goes_on).map_or(Ok(()), |record| same_files(record, plan))?;
    Ok(Some(found))
}

/// Writes the recipe beside those that the run has had, where it is another and can be.
fn go_on(dir: &RunDir, place: &Claim, resolved: &str, found: Option<Changes>) -> Result<()> {
    let (had, next) = recipes(dir.path());
    if had.is_none() {
        needs_recipe(dir.path(), !place.trial.is_empty(), &dir.ledger()?)?;
        return write_atomic(&next, resolved.as_bytes());
    }
    let Some(found) = found else { return Ok(()) };
    let words = found.words.join("\n  ");
    match &found.holds {
        None if !words.is_empty() => tracing::warn!(
            "the recipe has changed, and none of it has an effect on what this run still does:\n  {words}"
        ),
        None => {}
        Some(held) => {
            write_atomic(&next, recipe_text(held, resolved)?.as_bytes())?;
            let file = next.display();
            if !words.is_empty() {
                tracing::warn!(
                    "the recipe has changed, and holds from here on as it is in {file}:\n  {words}"
                );
            }
        }
    }
    let mut ledger = dir.ledger()?;
    if let Some(record) = ledger.stages.last_mut().filter(|record| found.longer.contains(&record.stage))
        && let Some(done) = record.done.take()
    {
        tracing::warn!(
            "stage `{}` was done after step {} and goes on from there, if it now has more; its learning rate is that of a stage \
             of the new length from here on",
            record.stage,
            done.step
        );
        dir.note(&ledger)?;
    }
    Ok(())
}

/// The recipe that `holds`: what it resolved to, where it is that, and else anew behind where that comes from.
fn recipe_text(holds: &toml::Table, resolved: &str) -> Result<String> {
    if toml::from_str::<toml::Table>(resolved).is_ok_and(|table| table == *holds) {
        return Ok(resolved.to_owned());
    }
    let head = resolved.lines().take_while(|line| line.starts_with('#'));
    let text = toml::to_string(holds)
        .map_err(|error| Error::Recipe(format!("it cannot be written as TOML: {error}")))?;
    let kept = "# Stages that were complete have the values with which they ran.";
    Ok(head.chain([kept, ""]).map(|line| format!("{line}\n")).collect::<String>() + &text)
}

impl Session {
    /// The file of what a stage's method has had kept.
    pub(super) fn keeping(&self, name: &str, round: usize) -> PathBuf {
        self.dir.path().join("reference").join(format!("{}.safetensors", label(name, round)))
    }

    /// The file of a stage's traces or, by `what`, of its pairs.
    pub(super) fn traces_of(&self, name: &str, round: usize, what: &str) -> PathBuf {
        self.dir.path().join("traces").join(format!("{}{what}.jsonl", label(name, round)))
    }

    /// The run's evaluations so far.
    pub(super) fn evaluations(&self) -> Result<Vec<Evaluation>> {
        Evaluation::all(self.dir.path())
    }

    /// The newest checkpoint of a stage in a round.
    pub(super) fn saved(&self, name: &str, round: usize) -> Result<Option<Saved>> {
        let of_stage =
            |saved: &Saved| saved.state.progress.stage == name && saved.state.progress.round == round;
        let all = self.dir.checkpoints()?.into_iter().filter(of_stage);
        Ok(all.max_by_key(|saved| saved.state.progress.step))
    }

    /// What `"@target"` stands for at `path` in the stage `reader`: the result of the newest execution of that stage before it, a
    /// checkpoint, a direction or traces, or, of `"@target/pairs"`, its pairs.
    pub(super) fn product(
        &self,
        ledger: &Ledger,
        (path, target): (&str, &str),
        reader: (&str, usize),
    ) -> Result<String> {
        let (target, what) = part(path, target)?;
        let missing = |why: &str| Error::Checkpoint(format!("{path} = \"@{target}\": {why}"));
        let (record, done) = ledger
            .result(target, reader)
            .ok_or_else(|| missing(&format!("this run has no result of stage `{target}`")))?;
        if is_of_model(path) {
            let folder = done.checkpoint.as_ref().map(|folder| self.dir.path().join(folder));
            let folder = folder.filter(|folder| folder.exists()).ok_or_else(|| {
                missing(&format!("the checkpoint of stage `{target}` in round {} is gone", record.round))
            })?;
            Saved::open(&folder)?.check()?;
            return Ok(folder.to_string_lossy().into_owned());
        }
        if path == DIRECTION {
            let file = self.keeping(target, record.round);
            let lost = || missing("its direction is gone; loop.steer finds one");
            return if file.is_file() { Ok(file.to_string_lossy().into_owned()) } else { Err(lost()) };
        }
        let file = self.traces_of(target, record.round, what);
        // What is learned from has to be all that was written.
        let name = file.strip_prefix(self.dir.path()).unwrap_or(&file).to_string_lossy();
        done.files.get(name.as_ref()).map_or(Ok(()), |extent| extent.check(&file))?;
        Ok(file.to_string_lossy().into_owned())
    }

    /// `policy.model` may name the directory of another run: its newest checkpoint is meant.
    pub(super) fn use_newest_checkpoint(&self, stage: &mut Stage) -> Result<()> {
        if let Some(model) = &stage.policy.model
            && let Some(saved) = Saved::newest_model(model)?
        {
            stage.policy.model = Some(saved.path.to_string_lossy().into_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_a_checkpoint_and_has_no_pairs() {
        for path in ["policy.model", "reward.gain.model_without", "eval.measures.gain.model_without"] {
            assert!(is_of_model(path) && part(path, "a/pairs").is_err(), "{path}");
        }
        assert!(!is_of_model("data.train") && !is_of_model(DIRECTION));
        assert_eq!(part("data.train", "a/pairs").unwrap(), ("a", PAIRS));
    }
}
