//! From a recipe to a trained policy: the command line, the stages in their order, the training loop.

mod launch;
mod pictures;
mod placed;
mod places;
mod plan;
mod preflight;
mod resume;
mod session;
mod stage;
mod stop;
mod summary;
mod train;
mod wants;
mod writing;

use crate::data::hub::Hub;
use crate::error::{Error, Result, is_quiet, panic_message};
use crate::log::terminal::{Stderr, say, tell};
use crate::ranks::{Place, Ranks, Single, agreed};
use crate::recipe::{Args, Registry, Stage, without_effect};
use clap::Parser;
use preflight::Looked;
use session::Session;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;

/// The program `train`, with the rewards of `registry`: reads the command line, runs, and returns the exit code
/// (0 done, 1 failed while running, 2 the user can fix it, 130, 138 or 143 stopped by SIGINT, SIGUSR1 or SIGTERM).
pub fn cli(registry: Registry) -> i32 {
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => {
            let _ = error.print();
            return error.exit_code();
        }
    };
    let place = Place::from_env().map(|place| place.filter(|place| place.count > 1));
    listen(!matches!(&place, Ok(Some(place)) if place.rank > 0));
    stop::listen();
    match catch_unwind(AssertUnwindSafe(|| start(&args, &registry, place?))) {
        Ok(Ok(code)) => code,
        Ok(Err(error)) => {
            let mark = if matches!(error, Error::Stopped { .. }) { "" } else { "error: " };
            say(&format!("{mark}{error}"));
            error.exit_code()
        }
        Err(_) => 1,
    }
}

/// Runs as the rank that this process is, or alone, or as many ranks as the recipe says; the exit code.
fn start(args: &Args, registry: &Registry, place: Option<Place>) -> Result<i32> {
    match place {
        // A plan needs nobody else.
        Some(place) if args.dry_run && place.rank > 0 => return Ok(0),
        Some(place) if !args.dry_run => return placed::run(args, registry, place).map(|()| 0),
        _ => {}
    }
    match look_and_run(args, registry, Arc::new(Single))? {
        Some(count) => launch::launch(count),
        None => Ok(0),
    }
}

/// Runs what `args` say; for programs that want the result instead of an exit code.
pub fn execute(args: &Args, registry: &Registry) -> Result<()> {
    execute_on(args, registry, Arc::new(Single))
}

/// Runs what `args` say as one of several ranks, each of which is called with the same arguments: the questions of a step are
/// shared out among them, gradients are summed, and the first writes the run's files.
pub fn execute_on(args: &Args, registry: &Registry, ranks: Arc<dyn Ranks>) -> Result<()> {
    match look_and_run(args, registry, ranks)? {
        None => Ok(()),
        Some(count) => Err(Error::Devices(format!(
            "devices.ranks = {count}: here it is the program `train`, or one like it, that starts ranks"
        ))),
    }
}

/// Looks at everything, then runs, or says how many ranks there have to be for that.
fn look_and_run(args: &Args, registry: &Registry, ranks: Arc<dyn Ranks>) -> Result<Option<usize>> {
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
    let Looked { recipe, stages, notes } = looked.expect("every rank is the first or not");
    let devices = stages.first().map(|stage| stage.devices.clone()).unwrap_or_default();
    let place = Place::from_env()?.filter(|place| place.count > 1);
    let count = place.as_ref().map_or(ranks.count(), |place| place.count);
    if count > 1 {
        placed::same_count(devices.ranks, count, place.as_ref())?;
    }
    ranks.wait_at_most(devices.timeout())?;
    let planned_ranks = devices.ranks.unwrap_or(count);
    let idle = without_effect(&recipe, &stages, registry);
    let said = idle.iter().chain(&notes).filter(|_| !args.quiet);
    let plan = recipe.plan();
    if args.dry_run {
        let planned: Vec<plan::Planned> = plan
            .iter()
            .map(|p| plan::Planned { round: p.round, name: &p.stage.name, stage: &stages[p.stage.index] })
            .collect();
        let notes: String = said.map(|told| format!("# note: {told}\n")).collect();
        let text = format!(
            "{}\n{}{notes}",
            recipe.resolved_toml(&resolved(&stages)?)?,
            plan::describe(&planned, &hub, planned_ranks)
        );
        return tell(&text).map(|()| None).map_err(Error::io("standard output"));
    }
    if let (1, Some(count @ 2..)) = (ranks.count(), devices.ranks) {
        return Ok(Some(count));
    }
    said.filter(|_| ranks.is_first()).for_each(|told| tracing::warn!("{told}"));
    let mut session = Session::open(args, &recipe, &stages, &plan, hub, ranks)?;
    let mut idle = args.resume;
    for planned in &plan {
        match session.run_stage(&recipe, planned, registry) {
            Ok(worked) => idle &= !worked,
            Err(error) => {
                session.abandon();
                return Err(error);
            }
        }
    }
    if idle && session.ranks.is_first() {
        say(
            "all stages are complete: there is nothing to resume; with more run.steps the last stage goes on",
        );
    }
    session.finish().map(|()| None)
}

fn resolved(stages: &[Stage]) -> Result<Vec<toml::Table>> {
    stages.iter().map(Stage::resolved).collect()
}

/// Warnings go to standard error, of several ranks those of the `first`; `RATIONALE_LOG` (such as `debug`) asks for more.
fn listen(first: bool) {
    let filter = tracing_subscriber::EnvFilter::try_from_env("RATIONALE_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(if first { "warn" } else { "error" }));
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_target(false)
        .without_time()
        .with_writer(|| Stderr)
        .log_internal_errors(false)
        .try_init();
    let standard = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        if is_quiet() {
            return;
        }
        say(&format!("error: internal: {}", panic_message(info.payload())));
        if std::env::var_os("RUST_BACKTRACE").is_some() {
            standard(info);
        }
    }));
}

/// The run's directory: `--out`, or the one that `run.name` of its first stage, or else the recipe's file, names.
fn run_folder(args: &Args, first: Option<&Stage>) -> Result<PathBuf> {
    let given = first.and_then(|stage| stage.run.name.clone());
    let name = given.or_else(|| args.recipe.file_stem().map(|stem| stem.to_string_lossy().into_owned()));
    let safe = |name: &String| {
        !name.is_empty()
            && !name.starts_with('.')
            && name.chars().all(|c| c.is_alphanumeric() || "-_.".contains(c))
    };
    let name = name.filter(safe).ok_or_else(|| {
        Error::Recipe(
            "run.name must be made of letters, digits, `-`, `_` and `.`, because it names a folder".into(),
        )
    })?;
    Ok(args.out.clone().unwrap_or_else(|| PathBuf::from("checkpoints").join(name)))
}
