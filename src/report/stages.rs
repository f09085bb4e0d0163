//! The stages of a run, with where each of them stands.

use crate::checkpoint::{Ledger, label};
use crate::recipe::Recipe;
use serde::Serialize;
use serde_json::Value;

/// A stage in a round.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Stage {
    pub name: String,
    /// The pass over the list of stages, counted from 1.
    pub round: usize,
    /// What its files' names begin with.
    pub label: String,
    /// Its loop.
    pub method: String,
    /// Steps that it is to have, where the recipe says so.
    pub steps: Option<u64>,
    /// Steps that have figures.
    pub step: u64,
    pub begun: bool,
    pub done: bool,
    /// Seconds of all its steps.
    pub step_time: f64,
}

/// All stages of the plan in their order; without a recipe, those that have begun.
pub(super) fn stages(ledger: &Ledger, recipe: Option<&Recipe>, lines: &[Value]) -> Vec<Stage> {
    let planned: Vec<Stage> = match recipe {
        Some(recipe) => {
            recipe.plan().iter().map(|p| planned(&p.stage.name, p.round, &p.stage.table)).collect()
        }
        None => {
            let begun = ledger.stages.iter();
            begun.map(|record| planned(&record.stage, record.round, &toml::Table::new())).collect()
        }
    };
    planned.into_iter().map(|stage| standing(stage, ledger, lines)).collect()
}

fn planned(name: &str, round: usize, table: &toml::Table) -> Stage {
    let of = |section: &str| table.get(section).and_then(toml::Value::as_table);
    let method = of("loop").and_then(|all| all.keys().next()).cloned().unwrap_or_default();
    let steps = of("run").and_then(|run| run.get("steps")?.as_integer());
    Stage {
        name: name.into(),
        round,
        label: label(name, round),
        method,
        steps: steps.and_then(|steps| u64::try_from(steps).ok()),
        step: 0,
        begun: false,
        done: false,
        step_time: 0.0,
    }
}

fn standing(mut stage: Stage, ledger: &Ledger, lines: &[Value]) -> Stage {
    if let Some(record) = ledger.of(&stage.name, stage.round) {
        stage.begun = true;
        stage.done = record.done.is_some();
    }
    for line in lines.iter().filter(|line| line["stage"] == stage.name && line["round"] == stage.round) {
        stage.step = stage.step.max(line["step"].as_u64().unwrap_or(0));
        stage.step_time += line["step_time"].as_f64().unwrap_or(0.0);
    }
    stage
}
