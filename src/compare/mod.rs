//! Runs against each other: what is more than noise, and what cannot be compared ("A Sober Look at Progress in Language Model
//! Reasoning", arXiv 2504.07086).
//!
//! Questions are the unit: all that is random within one (samples, seeds) is averaged first, and the same questions are held against
//! each other. Seeds are looked at for themselves, because runs of other seeds are other models.

mod arm;
mod figures;
mod measured;
mod picture;
mod settings;
mod show;
#[cfg(test)]
mod tests;
mod warnings;

pub use arm::{Arm, arms, of_trials};
pub use figures::{Against, ArmFigures, Gain, Noise, RunFigures, SeedNoise};
pub use measured::Measured;
pub use picture::picture;
pub use settings::Setting;
pub use show::{Sheet, csv, latex, markdown, sentences, sheets, text};

use crate::error::{Error, Result};
use crate::nearest::{did_you_mean, list, nearest, or_semicolon};
use serde::Serialize;

/// Resamples of a bootstrap.
pub const RESAMPLES: u32 = 10_000;

/// Several arms, and each against one of them.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// The arm that the others are held against.
    pub base: String,
    /// Each by itself.
    pub arms: Vec<ArmFigures>,
    /// Each but the base against it, in their order.
    pub against: Vec<Against>,
    /// How they decoded.
    pub decoding: Vec<Setting>,
    /// Where their recipes differ.
    pub recipes: Vec<Setting>,
    /// What stands in the way of believing it.
    pub warnings: Vec<String>,
}

/// Compares `arms` with the one called `base`, or the first.
///
/// # Errors
/// [`Error::Checkpoint`] where there is no arm of that name.
pub fn compare(arms: &[Arm], base: Option<&str>, resamples: usize) -> Result<Comparison> {
    let names = || arms.iter().map(|arm| arm.name.as_str());
    let place = match base {
        None => 0,
        Some(base) => {
            let of_run = |arm: &Arm| arm.runs.iter().any(|run| run.given == base || run.name == base);
            let found = names().position(|name| name == base).or_else(|| arms.iter().position(of_run));
            found.or_else(|| names().position(|name| same_point(name, base))).ok_or_else(|| {
                let near = nearest(base, names());
                let meant = or_semicolon(did_you_mean(near));
                Error::Checkpoint(format!(
                    "--base {base} is none of the arms{meant} known: {}",
                    list(names())
                ))
            })?
        }
    };
    let found: Vec<ArmFigures> = arms.iter().map(|arm| figures::of_arm(arm, resamples)).collect();
    let against = figures::against(arms, place, resamples);
    let decoding = settings::decoding(arms);
    let warnings = warnings::warnings(arms, place, &found, &against, &decoding);
    let recipes = settings::recipes(arms);
    Ok(Comparison { base: arms[place].name.clone(), arms: found, against, decoding, recipes, warnings })
}

/// Whether two names of points say the same, as `lr=1e-2` and `lr=0.01` do.
fn same_point(one: &str, other: &str) -> bool {
    let number = |text: &str| text.parse::<f64>().ok();
    let same = |(one, other): (&str, &str)| match (one.split_once('='), other.split_once('=')) {
        (Some((key, value)), Some((other_key, other))) => {
            key == other_key
                && (value == other || number(value).is_some_and(|value| number(other) == Some(value)))
        }
        _ => one == other,
    };
    let parts = |name: &str| name.split('_').count();
    parts(one) == parts(other) && one.split('_').zip(other.split('_')).all(same)
}
