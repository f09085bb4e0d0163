//! What the arms of a comparison were told: how they decoded, and where their recipes differ.

use super::arm::Arm;
use super::measured::Measured;
use crate::eval::Decoding;
use serde::Serialize;
use std::collections::BTreeSet;

/// A setting, with its value in each arm; where the runs of an arm differ, all of them. `–` where it is not known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Setting {
    /// Its key.
    pub key: String,
    /// A value an arm.
    pub values: Vec<String>,
}

impl Setting {
    /// Whether the arms differ.
    pub fn differs(&self) -> bool {
        self.values.iter().any(|value| *value != self.values[0])
    }

    /// Whether those differ of which it is known.
    pub fn is_known_to_differ(&self) -> bool {
        let known: BTreeSet<&String> = self.values.iter().filter(|value| *value != UNKNOWN).collect();
        known.len() > 1
    }
}

/// What stands where a value is not known.
const UNKNOWN: &str = "–";

/// Characters of a value that are shown.
const SHOWN: usize = 48;

/// What was sampled, how, and of how many prompts.
pub fn decoding(arms: &[Arm]) -> Vec<Setting> {
    let of = |key: &str, value: &dyn Fn(&Decoding) -> String| {
        let of_run =
            |run: &Measured| run.evaluation.report.decoding.as_ref().map_or(UNKNOWN.to_string(), value);
        Setting { key: key.to_string(), values: arms.iter().map(|arm| joined(arm, &of_run)).collect() }
    };
    vec![
        of("temperature", &|told| told.sampling.temperature.to_string()),
        of("top_p", &|told| told.sampling.top_p.to_string()),
        of("top_k", &|told| told.sampling.top_k.to_string()),
        of("min_p", &|told| told.sampling.min_p.to_string()),
        of("repetition_penalty", &|told| told.sampling.repetition_penalty.to_string()),
        of("max_new_tokens", &|told| told.sampling.max_new_tokens.to_string()),
        of("stop", &|told| match told.sampling.stop.len() {
            0 => "none".to_string(),
            _ => format!("{:?}", told.sampling.stop),
        }),
        of("samples", &|told| told.samples.to_string()),
        of("seeds", &|told| told.seeds.to_string()),
        of("search", &|told| told.search.clone().unwrap_or("none".to_string())),
    ]
}

/// Keys of the recipes, `stage.NAME.key`, whose values are not the same in all arms.
pub fn recipes(arms: &[Arm]) -> Vec<Setting> {
    let keys: BTreeSet<&(String, String)> =
        arms.iter().flat_map(|arm| &arm.runs).flat_map(|run| run.recipe.keys()).collect();
    let of = |at: &(String, String)| {
        let (stage, key) = at;
        let of_run = |run: &Measured| {
            run.recipe.get(at).map_or(UNKNOWN.to_string(), |value| shown(&value.to_string()))
        };
        Setting {
            key: if stage.is_empty() { key.clone() } else { format!("stage.{stage}.{key}") },
            values: arms.iter().map(|arm| joined(arm, &of_run)).collect(),
        }
    };
    keys.into_iter().map(of).filter(Setting::differs).collect()
}

/// The values of an arm's runs, each once.
fn joined(arm: &Arm, of: &dyn Fn(&Measured) -> String) -> String {
    let values: BTreeSet<String> = arm.runs.iter().map(of).collect();
    values.into_iter().collect::<Vec<_>>().join(" | ")
}

fn shown(value: &str) -> String {
    let line = value.replace('\n', "⏎");
    match line.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}
