//! A run that sweeps: its trials one after the other, each in a folder of its own in the run's, and what they come to side by side.
//!
//! A trial is run as its recipe alone would be, so that its folder is that of an ordinary run. All points of a seed come before those of
//! the next, so that what is cut short can be compared. Stages at the beginning that are the same for two points of one seed are run once:
//! the other trial begins as the first was after them (`checkpoint::fork`). Other seeds share nothing, because all that a stage does
//! derives from its seed.

use super::compared::finish;
use super::places::{Claim, changed, mode, resumed};
use super::preflight::Ready;
use super::reporting::{ended, note_end, note_start, written};
use super::resume::is_over;
use super::session::Session;
use super::{resolved, stop, work};
use crate::checkpoint::{
    Mode, RunDir, TrialRecord, Trials, abandon, could_create, fork, is_run, recipes, write_atomic,
};
use crate::data::hub::Hub;
use crate::error::{Error, Result};
use crate::limited;
use crate::log::terminal::say;
use crate::ranks::{Ranks, agreed, gathered};
use crate::recipe::{Args, Recipe, Registry};
use crate::report::{Known, State};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// For each trial, the one before it that it can begin as, and after how many of its stages; none where it has to begin anew.
///
/// The stages are the same where all that they are made of is: their tables as merged, the seed in them, their names and their places. What
/// a stage reads of earlier ones is then the same too, since these come before it in the list, unless the list is repeated.
pub(super) fn shared(trials: &[Ready]) -> Vec<Option<(usize, usize)>> {
    let of = |at: usize| {
        let all = (0..at).map(|other| (other, alike(&trials[other], &trials[at])));
        // Of equals the first.
        let best = all.rev().max_by_key(|(_, stages)| *stages);
        best.filter(|(_, stages)| *stages > 0)
    };
    (0..trials.len()).map(of).collect()
}

/// How many stages two trials begin with that are the same.
fn alike(a: &Ready, b: &Ready) -> usize {
    let (a, b) = (&a.trial.recipe, &b.trial.recipe);
    let once = a.rounds() == 1 && b.rounds() == 1;
    let pairs = a.stages().iter().zip(b.stages());
    if once { pairs.take_while(|(a, b)| a == b).count() } else { 0 }
}

/// Runs all trials, or what is left of them, and says how they compare.
pub(super) fn run(
    args: &Args,
    (recipe, trials): (&Recipe, &[Ready]),
    folder: &Path,
    registry: &Registry,
    hub: Hub,
    ranks: Arc<dyn Ranks>,
) -> Result<()> {
    let first = ranks.is_first();
    let shared = shared(trials);
    let opened = if first { open(args, (recipe, trials), &shared, folder, registry) } else { Ok(None) };
    let dir = agreed(&*ranks, opened)?;
    let moment = agreed(&*ranks, RunDir::join(folder).started())?;
    let known = first.then(|| Known::of_run(folder, registry));
    let report = |state: State| known.as_ref().is_none_or(|known| written(folder, state, known, false));
    dir.iter().for_each(note_start);
    let mut failed: Vec<Option<String>> = noted(folder, trials)?;
    let (mut times, mut any) = (Vec::new(), false);
    for (at, ready) in trials.iter().enumerate() {
        let name = &ready.trial.name;
        let path = folder.join(name);
        if let Some(why) = &failed[at] {
            if first {
                tracing::warn!(
                    "trial {name} has failed ({why}) and is passed over; delete {} to have it run anew",
                    path.display()
                );
            }
            continue;
        }
        let begun = if first { begin(folder, trials, at) } else { Ok(()) };
        agreed(&*ranks, begun)?;
        let place = Claim {
            path: &path,
            mode: if is_run(&path) { Mode::Resume } else { Mode::Fresh },
            quiet: args.quiet,
            trial: name,
            said: format!("trial {} of {}: {name}{}", at + 1, trials.len(), left(&times, trials.len() - at)),
            moment,
        };
        let began = Instant::now();
        let mut after = |session: &Session, done: usize| {
            if !session.ranks.is_first() {
                return agreed(&*session.ranks, Ok(()));
            }
            let forked = hand_on(folder, trials, &shared, (at, done));
            report(State::Running);
            agreed(&*session.ranks, forked.and_then(|()| dir.as_ref().map_or(Ok(()), RunDir::replace)))
        };
        let worked = work(&place, ready, registry, hub.clone(), ranks.clone(), &mut after);
        // All ranks have failed, of which one may know why.
        let diverged = match &worked {
            Ok(_) => false,
            Err(error) => {
                let own = vec![matches!(error, Error::Diverged(_))];
                gathered(&*ranks, own).is_ok_and(|all| all.concat().contains(&true))
            }
        };
        match worked {
            Ok((mut session, worked)) => {
                any |= worked;
                times.extend(worked.then(|| began.elapsed()));
                if first {
                    session.write_end();
                }
            }
            Err(error) if diverged => {
                let why = error.to_string();
                if first {
                    tracing::warn!("trial {name} has failed, and the run goes on with the others: {why}");
                }
                failed[at] = Some(why);
                let noted = if first { note(folder, trials, &shared, &failed) } else { Ok(()) };
                agreed(&*ranks, noted)?;
            }
            Err(error) => {
                if let Some(dir) = &dir {
                    let _ = abandon(dir.path(), dir.made());
                    if is_run(folder) {
                        note_end(dir, &ended(&error));
                        report(ended(&error));
                    }
                }
                return Err(error);
            }
        }
        report(State::Running);
    }
    dir.iter().for_each(|dir| note_end(dir, &State::Done));
    report(State::Done);
    if args.resume && !any && first {
        say(
            "all trials are complete: there is nothing to resume; with more run.steps, seeds or values there is",
        );
    }
    let told = if first { finish(folder, args.quiet) } else { Ok(()) };
    agreed(&*ranks, told)?;
    let gone: Vec<&str> = trials
        .iter()
        .zip(&failed)
        .filter(|(_, why)| why.is_some())
        .map(|(t, _)| t.trial.name.as_str())
        .collect();
    match gone.len() {
        0 => Ok(()),
        n => Err(Error::Diverged(format!(
            "{n} of {} trials have failed: {}; the others are complete and compared above",
            trials.len(),
            gone.join(", ")
        ))),
    }
}

/// What [`open`] would say of the run's directory and of the trials in it; writes nothing.
///
/// # Errors
/// What it would refuse.
pub(super) fn look(args: &Args, trials: &[Ready], folder: &Path, registry: &Registry) -> Result<Vec<String>> {
    sweeps(args, folder)?;
    could_create(folder, mode(args))?;
    if !args.resume {
        return Ok(vec![]);
    }
    let (mut said, mut refused) = (Vec::new(), Vec::new());
    for Ready { trial, stages, .. } in trials {
        let path = folder.join(&trial.name);
        if is_run(&path) {
            let text = trial.recipe.resolved_with_all_keys(&resolved(stages, registry)?, registry)?;
            match resumed(&RunDir::join(&path), true, &text, &trial.recipe.plan(), registry) {
                Ok((words, _)) => {
                    said.extend(words.iter().map(|word| format!("trial {}: {word}", trial.name)))
                }
                Err(error) => refused.push(format!("trial {}: {}", trial.name, error.what())),
            }
        }
    }
    if refused.is_empty() { Ok(said) } else { Err(Error::Recipe(refused.join("\n"))) }
}

/// Refuses to go on with a run that does not sweep by a recipe that does.
fn sweeps(args: &Args, folder: &Path) -> Result<()> {
    let begun = is_run(folder) && !RunDir::join(folder).ledger()?.stages.is_empty();
    match args.resume && begun && Trials::read(folder)?.is_none() {
        false => Ok(()),
        true => Err(Error::Checkpoint(format!(
            "{} holds a run that sweeps nothing, and the recipe sweeps; start another with --out",
            folder.display()
        ))),
    }
}

/// The run's directory, with the recipe of all trials and their list in it.
fn open(
    args: &Args,
    (recipe, trials): (&Recipe, &[Ready]),
    shared: &[Option<(usize, usize)>],
    folder: &Path,
    registry: &Registry,
) -> Result<Option<RunDir>> {
    sweeps(args, folder)?;
    let dir = RunDir::create(folder, mode(args))?;
    stop::of_run(dir.path().to_path_buf(), dir.made());
    // What cannot go on is said of all trials before any of them does.
    let (mut refused, mut goes_on): (Vec<String>, bool) = (Vec::new(), false);
    let failed = noted(folder, trials)?;
    for (Ready { trial, stages, .. }, failed) in trials.iter().zip(&failed) {
        let (path, plan) = (folder.join(&trial.name), trial.recipe.plan());
        if !is_run(&path) {
            goes_on = true;
            continue;
        }
        let text = trial.recipe.resolved_with_all_keys(&resolved(stages, registry)?, registry)?;
        let dir = RunDir::join(&path);
        match changed(&dir, &text, &plan, registry) {
            Err(Error::Recipe(why) | Error::Checkpoint(why)) => {
                refused.push(format!("trial {}: {why}", trial.name))
            }
            found => {
                let longer = found?.unwrap_or_default().longer;
                goes_on |= failed.is_none() && !is_over(&path, &plan, &dir.ledger()?, &longer, None);
            }
        }
    }
    if !refused.is_empty() {
        return Err(Error::Recipe(refused.join("\n")));
    }
    if let Some(before) = Trials::read(folder)? {
        let now = |name: &String| trials.iter().any(|ready| ready.trial.name == *name);
        for gone in
            before.trials.iter().filter(|record| !now(&record.name) && is_run(&folder.join(&record.name)))
        {
            tracing::warn!(
                "trial {} is no more among those of the recipe; its folder stays as it is",
                gone.name
            );
        }
    }
    let text = recipe.resolved_with_all_keys(&resolved(&trials[0].stages, registry)?, registry)?;
    let (had, next) = recipes(folder);
    let is_new = had.is_none();
    let same = had.and_then(|had| limited::notes_text(&had).ok()).is_some_and(|had| had == text);
    // Where no trial runs any more, the recipe stays the one by which they ran.
    if !same && (goes_on || is_new) {
        write_atomic(next, text.as_bytes())?;
    }
    note(folder, trials, shared, &failed)?;
    if !args.quiet {
        let (points, seeds) = recipe.sweep_shape();
        say(&format!("run: {} ({})", folder.display(), product(points, seeds, trials.len())));
    }
    Ok(Some(dir))
}

/// How many trials there are, as a product: `2 points × 1 seed = 2 trials`.
pub(super) fn product(points: usize, seeds: usize, trials: usize) -> String {
    let of = |count: usize, noun: &str| format!("{count} {noun}{}", if count == 1 { "" } else { "s" });
    format!("{} × {} = {}", of(points, "point"), of(seeds, "seed"), of(trials, "trial"))
}

/// Of each trial, why it has failed, where it has and its folder is still there.
fn noted(folder: &Path, trials: &[Ready]) -> Result<Vec<Option<String>>> {
    let before = Trials::read(folder)?.unwrap_or_default();
    let of = |ready: &Ready| {
        let record = before.trials.iter().find(|record| record.name == ready.trial.name)?;
        record.failed.clone().filter(|_| is_run(&folder.join(&record.name)))
    };
    Ok(trials.iter().map(of).collect())
}

/// Writes which trials there are.
fn note(
    folder: &Path,
    trials: &[Ready],
    shared: &[Option<(usize, usize)>],
    failed: &[Option<String>],
) -> Result<()> {
    let of = |(at, ready): (usize, &Ready)| TrialRecord {
        name: ready.trial.name.clone(),
        point: ready.trial.point.clone(),
        seed: ready.stages.first().map_or(0, |stage| stage.run.seed),
        values: ready
            .trial
            .values
            .iter()
            .map(|(key, value)| (key.clone(), serde_json::to_value(value).unwrap_or_default()))
            .collect(),
        shares: shared[at].map(|(from, stages)| (trials[from].trial.name.clone(), stages)),
        failed: failed[at].clone(),
    };
    Trials { trials: trials.iter().enumerate().map(of).collect() }.write(folder)
}

/// Gives a trial that has not begun what it shares with another one that has it: one before it, or, where values were added, after it.
fn begin(folder: &Path, trials: &[Ready], at: usize) -> Result<()> {
    let to = folder.join(&trials[at].trial.name);
    if is_run(&to) {
        return Ok(());
    }
    let mut best: Option<(usize, PathBuf)> = None;
    for other in trials {
        let (stages, from) = (alike(other, &trials[at]), folder.join(&other.trial.name));
        if stages <= best.as_ref().map_or(0, |(most, _)| *most) || from == to {
            continue;
        }
        let done =
            RunDir::join(&from).ledger()?.stages.iter().take_while(|record| record.done.is_some()).count();
        if done >= stages {
            best = Some((stages, from));
        }
    }
    best.map_or(Ok(()), |(stages, from)| fork(&from, &to, stages))
}

/// Gives what the trial `at` has come to after its first `done` stages to all that share so much with it.
fn hand_on(
    folder: &Path,
    trials: &[Ready],
    shared: &[Option<(usize, usize)>],
    (at, done): (usize, usize),
) -> Result<()> {
    let others = (0..trials.len()).filter(|other| shared[*other] == Some((at, done)));
    others.into_iter().try_for_each(|other| begin(folder, trials, other))
}

/// How long the trials that are left will take, if they take as long as those before.
fn left(times: &[Duration], trials: usize) -> String {
    let Some(count) = u32::try_from(times.len()).ok().filter(|count| *count > 0) else {
        return String::new();
    };
    let mean = times.iter().sum::<Duration>() / count;
    let minutes = (mean * u32::try_from(trials).unwrap_or(u32::MAX)).as_secs_f64() / 60.0;
    format!(", about {minutes:.1} minutes are left")
}
