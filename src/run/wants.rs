//! What a stage's rewards need, looked at before it trains: of the rows, and of the machine.

use crate::data::Dataset;
use crate::error::{Error, Result};
use crate::recipe::{Recipe, Stage, StageTable};
use crate::reward::Rewards;
use crate::section::Misfit;

/// Refuses a stage called `name` whose rewards lack something of the rows that they score or of the machine; all of it is said.
pub fn check_stage(
    name: &str,
    stage: &Stage,
    rewards: &Rewards,
    train: Option<&Dataset>,
    held_out: Option<&Dataset>,
) -> Result<()> {
    let mut lines = Vec::new();
    let scored = [
        (train.filter(|_| stage.needs().rollouts), ""),
        (held_out.filter(|_| scores_held_out(stage)), "of the held-out rows: "),
    ];
    for (rows, whose) in scored {
        let rows = rows.into_iter().flat_map(|rows| &rows.examples).map(|row| &**row);
        lines.extend(rewards.check_rows(rows).iter().map(|misfit| format!("{whose}{}", misfit.sentence())));
    }
    let machine = if scores(stage) { rewards.check_machine() } else { vec![] };
    let of_rows = !lines.is_empty();
    lines.extend(machine.iter().map(Misfit::sentence));
    if lines.is_empty() {
        return Ok(());
    }
    let text = format!("stage `{name}`: {}", lines.join("\n  "));
    Err(if of_rows { Error::Data(text) } else { Error::Recipe(text) })
}

/// Refuses a recipe whose rewards lack something of the machine, as far as it has to be there before the run; all stages are
/// looked at.
pub fn check_machine<'a>(
    recipe: &Recipe,
    stages: impl Iterator<Item = (&'a StageTable, &'a Stage, &'a Rewards)>,
) -> Result<()> {
    let mut lines: Vec<String> = Vec::new();
    for (table, _, rewards) in stages.filter(|(_, stage, _)| scores(stage)) {
        for misfit in rewards.check_machine() {
            let path = format!("reward.{}", misfit.key);
            let text = match recipe.problem(table, &path, &misfit.message, &misfit.remedy) {
                Error::Recipe(text) => text,
                other => other.to_string(),
            };
            // What stages inherit is said once.
            if !lines.contains(&text) {
                lines.push(text);
            }
        }
    }
    if lines.is_empty() { Ok(()) } else { Err(Error::Recipe(lines.join("\n  "))) }
}

/// Whether the stage asks its rewards at all.
fn scores(stage: &Stage) -> bool {
    stage.needs().rollouts || scores_held_out(stage)
}

/// Whether answers to held-out questions are searched for by their scores.
fn scores_held_out(stage: &Stage) -> bool {
    let asks = stage.eval.is_some() && !stage.needs().head;
    asks && stage.rollout.search().is_some()
}
