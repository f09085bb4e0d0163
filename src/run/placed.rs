//! This process as one of the ranks that somebody has started: it meets the others, runs, and fails as one of many.

use super::{execute_on, stop};
use crate::endpoint;
use crate::error::{Error, Result, panic_message};
use crate::log::terminal::say;
use crate::ranks::{Launcher, Place, Processes};
use crate::recipe::{Args, Registry};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// Runs what `args` say as the rank at `place`. Where a rank fails, the first says it in that one's words; all end with its exit code.
pub(super) fn run(args: &Args, registry: &Registry, place: Place) -> Result<()> {
    let speaks = place.rank == 0 || place.launcher == Launcher::Own;
    if place.rank > 0 {
        stop::silence();
    }
    let end = move |error: &Error| {
        if speaks {
            say(&format!("error: {error}"));
        }
        stop::leave(error.exit_code())
    };
    endpoint::shared_by(place.count);
    let ranks = Arc::new(Processes::meet(place, end)?);
    let done = catch_unwind(AssertUnwindSafe(|| execute_on(args, registry, ranks.clone())));
    let error = match done {
        Ok(Ok(_)) => return ranks.finish(),
        Ok(Err(error @ Error::Stopped { .. })) => {
            let _ = ranks.finish();
            if !speaks {
                stop::leave(error.exit_code());
            }
            return Err(error);
        }
        Ok(Err(error)) => error,
        Err(panic) => Error::Ranks(format!("internal: {}", panic_message(panic.as_ref()))),
    };
    // Who does not reach the others cannot leave it to them.
    if speaks || matches!(error, Error::Ranks(_)) {
        say(&format!("error: {error}"));
    }
    ranks.fail(&error);
    // Calls that never come back may be under way: nothing is taken down in order.
    stop::leave(error.exit_code())
}

/// Refuses a number of ranks that is not the one that was started.
pub(super) fn same_count(asked: Option<usize>, count: usize, place: Option<&Place>) -> Result<()> {
    let Some(asked) = asked.filter(|asked| *asked != count) else { return Ok(()) };
    let who = place.map_or_else(
        || format!("there are {count}"),
        |place| format!("{} has started {count} ({})", place.launcher, place.launcher.variable()),
    );
    Err(Error::Devices(format!(
        "devices.ranks = {asked}, and {who}: leave devices.ranks out where another program starts the ranks"
    )))
}
