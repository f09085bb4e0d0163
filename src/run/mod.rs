//! From a recipe to a trained policy: the command line, the stages in their order, the training loop.

mod lengths;
mod pictures;
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
use crate::devices::cuda;
use crate::error::{Error, Result, is_quiet, panic_message};
use crate::log::terminal::{Stderr, say, tell};
use crate::ranks::{Ranks, Single, agreed};
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
    listen();
    cuda::load();
    stop::listen();
    match catch_unwind(AssertUnwindSafe(|| execute(&args, &registry))) {
        Ok(Ok(())) => 0,
        Ok(Err(error)) => {
            let mark = if matches!(error, Error::Stopped { .. }) { "" } else { "error: " };
            say(&format!("{mark}{error}"));
            error.exit_code()
        }
        Err(_) => 1,
    }
}

/// Runs what `args` say; for programs that want the result instead of an exit code.
pub fn execute(args: &Args, registry: &Registry) -> Result<()> {
    execute_on(args, registry, Arc::new(Single))
}

/// Runs what `args` say as one of several ranks, each of which is called with the same arguments: the questions of a step are
/// shared out among them, gradients are summed, and the first writes the run's files.
pub fn execute_on(args: &Args, registry: &Registry, ranks: Arc<dyn Ranks>) -> Result<()> {
    let hub = Hub::from_env();
    let looked = preflight::look(args, registry, &hub);
    let Looked { recipe, stages, notes } = if args.dry_run { looked? } else { agreed(&*ranks, looked)? };
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
            plan::describe(&planned, &hub)
        );
        return tell(&text).map_err(Error::io("standard output"));
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
    session.finish()
}

fn resolved(stages: &[Stage]) -> Result<Vec<toml::Table>> {
    stages.iter().map(Stage::resolved).collect()
}

/// Warnings go to standard error; `RATIONALE_LOG` (such as `debug`) asks for more.
fn listen() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("RATIONALE_LOG")
        .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
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
