//! What a stage's rewards, its method and its source need of the rows, looked at before it trains.

use crate::data::{Dataset, Example};
use crate::error::{Error, Result};
use crate::recipe::Stage;
use crate::reward::Rewards;
use crate::section::{Misfit, under};

/// Refuses a stage called `name` whose rewards, measures, method or source lack something of the rows; all of it is said.
pub fn check_stage(
    name: &str,
    stage: &Stage,
    rewards: [&Rewards; 2],
    train: Option<&Dataset>,
    held_out: Option<&Dataset>,
) -> Result<()> {
    let found = of_stage(stage, &rewards, train, held_out, true);
    let lines: Vec<String> = found.iter().map(Misfit::sentence).collect();
    if lines.is_empty() {
        Ok(())
    } else {
        Err(Error::Data(format!("stage `{name}`: {}", lines.join("\n  "))))
    }
}

/// All that a stage lacks of its rows, by the keys that ask for it. `whole` where these are all of the training rows.
pub(super) fn of_stage(
    stage: &Stage,
    rewards: &[&Rewards],
    train: Option<&Dataset>,
    held_out: Option<&Dataset>,
    whole: bool,
) -> Vec<Misfit> {
    let scored = rewards.iter().flat_map(|rewards| of_rewards(stage, rewards, train, held_out));
    let sections = train.into_iter().flat_map(|train| of_sections(stage, train, whole));
    let searched = held_out.into_iter().flat_map(|held_out| of_search(stage, held_out));
    scored.chain(sections).chain(searched).collect()
}

/// What the method lacks of the training rows, and the source of the questions that it is asked.
fn of_sections(stage: &Stage, train: &Dataset, whole: bool) -> Vec<Misfit> {
    let rows: Vec<&Example> = train.examples.iter().map(|row| &**row).collect();
    let mut found = under(&format!("loop.{}", stage.method.name()), stage.method.check_rows(&rows, whole));
    if stage.needs().rollouts {
        found.extend(of_source(stage, &rows));
    }
    let named = |misfit: Misfit| Misfit { message: format!("{} {}", misfit.key, misfit.message), ..misfit };
    found.into_iter().map(named).collect()
}

/// What a search lacks of the held-out rows, whose answers it is to find.
fn of_search(stage: &Stage, held_out: &Dataset) -> Vec<Misfit> {
    let rows: Vec<&Example> = held_out.examples.iter().map(|row| &**row).collect();
    if !scores_held_out(stage) || !stage.asks(rows.iter().copied()) {
        return vec![];
    }
    let named = |misfit: Misfit| Misfit {
        message: format!("of the held-out rows: {} {}", misfit.key, misfit.message),
        ..misfit
    };
    of_source(stage, &rows).into_iter().map(named).collect()
}

fn of_source(stage: &Stage, rows: &[&Example]) -> Vec<Misfit> {
    under(&format!("rollout.{}", stage.rollout.name()), stage.rollout.check_rows(rows))
}

/// What the rewards of a stage, or its measures, lack of the rows that they score.
fn of_rewards(
    stage: &Stage,
    rewards: &Rewards,
    train: Option<&Dataset>,
    held_out: Option<&Dataset>,
) -> Vec<Misfit> {
    let learned = rewards.section() == Rewards::none().section();
    let chosen = held_out.filter(|_| !learned && asks_held_out(stage)).map(|rows| chosen(stage, rows));
    let held_out = held_out.filter(|_| if learned { scores_held_out(stage) } else { asks_held_out(stage) });
    let scored =
        [(train.filter(|_| learned && stage.needs().rollouts), ""), (held_out, "of the held-out rows: ")];
    let mut found: Vec<Misfit> = chosen.into_iter().flatten().collect();
    for (rows, whose) in scored {
        let rows = rows.into_iter().flat_map(|rows| &rows.examples).map(|row| &**row);
        let misfits = under(rewards.section(), rewards.check_rows(rows)).into_iter();
        found
            .extend(misfits.map(|misfit| Misfit { message: format!("{whose}{}", misfit.message), ..misfit }));
    }
    found
}

/// What held-out rows lack of which the answer is a choice.
fn chosen(stage: &Stage, held_out: &Dataset) -> Option<Misfit> {
    let eval = stage.eval.as_ref().filter(|eval| eval.ask)?;
    let choosing = eval.choices.as_ref()?;
    let wrong = held_out.examples.iter().filter_map(|row| Some((row, choosing.read(row).err()?)));
    let wrong: Vec<_> = wrong.collect();
    let (first, what) = wrong.first()?;
    let message = format!(
        "{} of {} held-out rows cannot be chosen in: {first}: {what}",
        wrong.len(),
        held_out.examples.len()
    );
    Some(Misfit::new("eval.choices", message, ""))
}

/// Whether the stage asks its rewards at all.
pub(super) fn scores(stage: &Stage) -> bool {
    stage.needs().rollouts || scores_held_out(stage)
}

/// Whether answers to held-out questions are searched for by their scores.
fn scores_held_out(stage: &Stage) -> bool {
    asks_held_out(stage) && stage.rollout.search().is_some()
}

/// Whether held-out questions are asked at all, so that measures score the answers.
pub(super) fn asks_held_out(stage: &Stage) -> bool {
    stage.eval.is_some() && !stage.needs().head
}
