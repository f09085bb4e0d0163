//! From a recipe to a trained policy: the stages in their order, the training loop.

mod beside;
mod compared;
mod evaluating;
mod footprint;
mod inputs;
mod launch;
mod lengths;
mod outcome;
mod pictures;
mod placed;
mod places;
mod plan;
mod preflight;
mod reporting;
mod rescue;
mod resume;
mod room;
mod serving;
mod session;
mod stage;
mod stop;
mod traced;
mod train;
mod trials;
mod verdicts;
mod wants;
mod writing;

use crate::checkpoint::names_folder;
use crate::data::hub::Hub;
use crate::error::{Error, Result};
use crate::log::terminal::{say, tell};
use crate::ranks::{Place, Ranks, Single, agreed};
use crate::recipe::{Args, Registry, Stage, without_effect};
pub use outcome::{Outcome, StageOutcome, TrialOutcome};
use places::Claim;
use preflight::{Looked, Ready};
pub use preflight::{Preview, preview};
use session::Session;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The newest recipe of the run in `folder`, resolved; none where there is none.
pub fn recipe_of(folder: &Path) -> Option<PathBuf> {
    crate::checkpoint::recipes(folder).0
}

/// From here on the first signal (SIGINT, SIGTERM, SIGUSR1, SIGHUP) lets the step end and be saved, and the second ends the process.
pub fn heed_signals() {
    stop::listen();
}

/// Runs as the rank that this process is, or alone, or as many ranks as the recipe says; the exit code.
///
/// # Errors
/// As [`execute`] has them, and environments that contradict the recipe.
pub fn start(args: &Args, registry: &Registry, place: Option<Place>) -> Result<i32> {
    match place {
        // A plan needs nobody else.
        Some(place) if args.dry_run && place.rank > 0 => return Ok(0),
        Some(place) if !args.dry_run => return placed::run(args, registry, place).map(|()| 0),
        _ => {}
    }
    match look_and_run(args, registry, Arc::new(Single))? {
        Ended::Needs(count) => launch::launch(count),
        Ended::Done(_) => Ok(0),
    }
}

/// Runs what `args` say, and says what came of it: for programs that want the result instead of an exit code.
///
/// ```no_run
/// use rationale::{Registry, recipe::Args, run};
/// let args = Args { recipe: "recipes/quickstart.toml".into(), overwrite: true, quiet: true, ..Args::default() };
/// let outcome = run::execute(&args, &Registry::default())?;
/// let last = outcome.last().expect("the recipe has a stage");
/// println!("{}: accuracy {:?} in {:?}", last.name, last.metrics.get("eval/accuracy"), last.checkpoint);
/// # Ok::<(), rationale::Error>(())
/// ```
///
/// # Errors
/// What is wrong with the recipe, what failed while it ran, and [`Error::Stopped`] where a signal stopped it after saving.
pub fn execute(args: &Args, registry: &Registry) -> Result<Outcome> {
    execute_on(args, registry, Arc::new(Single))
}

/// Runs what `args` say as one of several ranks, each of which is called with the same arguments: the questions of a step are
/// shared out among them, gradients are summed, and the first writes the run's files.
///
/// # Errors
/// As [`execute`], and what failed on another rank.
pub fn execute_on(args: &Args, registry: &Registry, ranks: Arc<dyn Ranks>) -> Result<Outcome> {
    match look_and_run(args, registry, ranks)? {
        Ended::Done(outcome) => Ok(outcome),
        Ended::Needs(count) => Err(Error::Devices(format!(
            "devices.ranks = {count}: here it is the program `train`, or one like it, that starts ranks"
        ))),
    }
}

/// What came of a call.
enum Ended {
    /// It ran, or said what would run.
    Done(Outcome),
    /// So many ranks have to be started for it.
    Needs(usize),
}

/// Looks at everything, then runs, or says how many ranks there have to be for that.
fn look_and_run(args: &Args, registry: &Registry, ranks: Arc<dyn Ranks>) -> Result<Ended> {
    let hub = Hub::from_env();
    // The first looks first: what is wrong is found once, and what it fetches the others find.
    let mut looked = None;
    for first in [true, false] {
        let own = (ranks.is_first() == first).then(|| preflight::look(args, registry, &hub, ranks.local()));
        let own = agreed(&*ranks, own.transpose())?;
        looked = looked.or(own);
        if ranks.count() == 1 {
            break;
        }
    }
    let Looked { recipe, trials, notes } = looked.expect("every rank is the first or not");
    let first = trials[0].stages.first();
    let devices = first.map(|stage| stage.devices.clone()).unwrap_or_default();
    let place = Place::from_env()?.filter(|place| place.count > 1);
    let count = place.as_ref().map_or(ranks.count(), |place| place.count);
    if count > 1 {
        placed::same_count(devices.ranks, count, place.as_ref())?;
    }
    ranks.wait_at_most(devices.timeout())?;
    // Those that are not there yet are planned for.
    let planned_ranks = devices.ranks.unwrap_or(count.max(devices.reward_ranks + 1)) - devices.reward_ranks;
    let mut said: Vec<String> = Vec::new();
    for Ready { trial, stages, .. } in &trials {
        let idle = without_effect(&trial.recipe, stages, registry);
        said.extend(idle.into_iter().filter(|_| !args.quiet));
    }
    said.extend(notes.into_iter().filter(|_| !args.quiet));
    let mut seen = BTreeSet::new();
    said.retain(|told| seen.insert(told.clone()));
    let folder = run_folder(args, first)?;
    let kept = || {
        let stages = trials.iter().flat_map(|ready| ready.stages.iter().zip(ready.trial.recipe.stages()));
        let stages = stages.map(|(stage, of)| (stage, &of.table));
        if args.overwrite { inputs::reads_none_of(&folder, &args.recipe, stages) } else { Ok(()) }
    };
    if args.dry_run {
        let text = recipe.resolved_with_all_keys(&resolved(&trials[0].stages, registry)?, registry)?;
        let opening = match recipe.sweeps() {
            true => trials::look(args, &trials, &folder, registry),
            false => {
                places::look(&folder, places::mode(args), &text, &trials[0].trial.recipe.plan(), registry)
            }
        };
        let opening = opening.and_then(|told| kept().map(|()| told));
        said.extend(opening.iter().flatten().cloned());
        let notes: String = said.iter().map(|told| format!("# note: {told}\n")).collect();
        let plan = plan::of_trials(&trials, registry, &hub, planned_ranks);
        tell(&format!("{text}\n{plan}{notes}")).map_err(Error::io("standard output"))?;
        // The plan is of use also where the folder is another run's.
        return opening.map(|_| Ended::Done(Outcome::default()));
    }
    kept()?;
    if let (1, Some(count @ 2..)) = (ranks.count(), devices.ranks) {
        return Ok(Ended::Needs(count));
    }
    let Some(training) = serving::set_apart(ranks, &devices, &hub)? else {
        return Ok(Ended::Done(Outcome::default()));
    };
    let ranks = training.0.clone();
    said.iter().filter(|_| ranks.is_first()).for_each(|told| tracing::warn!("{told}"));
    if recipe.sweeps() {
        trials::run(args, (&recipe, &trials), &folder, registry, hub, ranks)?;
        return Outcome::of(&folder).map(Ended::Done);
    }
    let (session, worked) =
        work(&Claim::of_run(&folder, args), &trials[0], registry, hub, ranks, &mut |_, _| Ok(()))?;
    if args.resume && !worked && session.ranks.is_first() {
        say(
            "all stages are complete: there is nothing to resume; with more run.steps the last stage goes on",
        );
    }
    session.finish()?;
    Outcome::of(&folder).map(Ended::Done)
}

/// Runs the stages of a trial in its directory, or what is left of them, and calls `after` with how many are done. The session, and whether
/// there was anything to do. Nothing is left of one that never began.
fn work(
    place: &Claim,
    Ready { trial, stages, .. }: &Ready,
    registry: &Registry,
    hub: Hub,
    ranks: Arc<dyn Ranks>,
    after: &mut dyn FnMut(&Session, usize) -> Result<()>,
) -> Result<(Session, bool)> {
    let (recipe, plan) = (&trial.recipe, trial.recipe.plan());
    let mut session = Session::open(place, recipe, (stages, registry), &plan, hub, ranks)?;
    let mut any = false;
    for (at, planned) in plan.iter().enumerate() {
        let worked = session.run_stage(recipe, planned, registry);
        match worked.and_then(|worked| after(&session, at + 1).map(|()| worked)) {
            Ok(worked) => any |= worked,
            Err(error) => {
                session.abandon(&error);
                return Err(error);
            }
        }
    }
    Ok((session, any))
}

fn resolved(stages: &[Stage], registry: &Registry) -> Result<Vec<toml::Table>> {
    stages.iter().map(|stage| stage.resolved(registry)).collect()
}

/// The run's directory: `--out`, or the one that `run.name` of its first stage, or else the recipe's file, names.
fn run_folder(args: &Args, first: Option<&Stage>) -> Result<PathBuf> {
    if let Some(out) = &args.out {
        return Ok(out.clone());
    }
    let given = first.and_then(|stage| stage.run.name.clone());
    let file = || args.recipe.file_stem().map_or(String::new(), |stem| stem.to_string_lossy().into_owned());
    let name = given.unwrap_or_else(file);
    if !names_folder(&name) {
        return Err(Error::Recipe(format!(
            "{}: no folder of a run can be called `{name}`; give run.name, of letters, digits, `-`, `_` and `.`, or --out",
            args.recipe.display()
        )));
    }
    Ok(PathBuf::from("checkpoints").join(name))
}
