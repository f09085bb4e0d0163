//! What is looked at before anything trains: the recipe, and all that is cheap to open, of all its stages. All that is wrong is said at once.

mod fitting;
mod folders;
mod found;
mod handed;
mod heard;
mod hinted;
mod loaded;
mod machine;
mod models;
mod preview;
mod rows;
mod taught;
mod tokenized;

pub use preview::{Preview, preview};
pub(super) use taught::notes;

use crate::checkpoint::{Ledger, RunDir};
use crate::data::Split;
use crate::data::hub::Hub;
use crate::error::{Error, Result};
use crate::ranks::Local;
use crate::recipe::{Args, RULES, Recipe, Refusal, Registry, Source, Stage, StageTable, Trial, references};
use crate::reward::Rewards;
use crate::section::covers;
use folders::Folders;
use found::{Found, Kind, of_kind};
use heard::Heard;
use loaded::Loaded;
use models::{Known, Models};
use std::collections::{BTreeMap, BTreeSet};
use tracing::subscriber::with_default;

/// A recipe of which nothing is known to be wrong, and what has to be said of it.
#[derive(Debug)]
pub struct Looked {
    /// The recipe: of one that sweeps, as its first trial has it.
    pub recipe: Recipe,
    /// Its trials, of which an ordinary recipe has one, itself.
    pub trials: Vec<Ready>,
    /// Rows that are left out, and what could not be looked at: a line each.
    pub notes: Vec<String>,
}

/// A trial that can run.
#[derive(Debug, Clone)]
pub struct Ready {
    /// Its recipe, and what it is called.
    pub trial: Trial,
    /// Its stages.
    pub stages: Vec<Stage>,
    /// The training rows of each stage, where they could be looked at.
    pub rows: Vec<Option<Rows>>,
}

/// The training rows of a stage.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Rows {
    /// How many there are, where all were looked at.
    pub count: Option<usize>,
    /// Tokens of one that go through the model when it is learned as it stands; the prompt's alone where completions are sampled.
    pub tokens: Option<f64>,
    /// Held-out rows.
    pub held_out: usize,
}

/// A trial as far as it can be read: each stage with the keys that are refused.
type Read = (Trial, Vec<(Option<Stage>, Vec<String>)>);

/// Reads the recipe and looks at all that its stages need, of all its trials. A dry run fetches nothing; a run what it would fetch anyway,
/// once nothing else is wrong.
///
/// # Errors
/// All that is wrong, in the order of the recipe's lines.
pub fn look(args: &Args, registry: &Registry, hub: &Hub, local: Local) -> Result<Looked> {
    let (recipe, refused) = Recipe::merged(Source::read(&args.recipe)?, &args.set, &RULES);
    let mut found = Found { refused, ..Found::default() };
    let trials = read_all(&recipe, registry, &mut found);
    let at_rest = hub.at_rest();
    let fetches = !args.dry_run && found.refused.is_empty();
    let hub = if fetches { hub } else { &at_rest };
    let folders = Folders::new(hub, fetches);
    let models: Vec<Models> =
        trials.iter().map(|(trial, stages)| Models::new(&trial.recipe, stages, &folders)).collect();
    let first = trials[0].1.iter().find_map(|(stage, _)| stage.as_ref());
    let folder = super::run_folder(args, first);
    let mut looking_at = LookingAt {
        registry,
        hub,
        fetches,
        local,
        seen: BTreeSet::new(),
        sizes: BTreeMap::new(),
        loaded: Loaded::default(),
    };
    let mut urls = BTreeSet::new();
    for ((trial, stages), models) in trials.iter().zip(&models) {
        let done =
            folder.as_ref().map_or(Ledger::default(), |folder| done_before(args, &folder.join(&trial.name)));
        let before = found.refused.len();
        looking_at.look_at(trial, stages, models, &done, &mut urls, &mut found);
        if trial.name != trials[0].0.name && !trial.point.is_empty() {
            found.refused[before..].iter_mut().for_each(|refusal| at_point(refusal, &[&trial.point]));
        }
    }
    if fetches {
        machine::servers(&urls, &mut found);
    }
    let known = |stages: &'_ [(Option<Stage>, Vec<String>)]| -> Vec<Stage> {
        stages.iter().filter_map(|(stage, _)| stage.clone()).collect()
    };
    for (trial, stages) in &trials {
        let all: Vec<&Stage> = stages.iter().filter_map(|(stage, _)| stage.as_ref()).collect();
        found.refused.extend(machine::best_figures(&trial.recipe, &all, registry));
        found.refused.extend(machine::idle_ranks(&trial.recipe, &all, registry));
        found.refused.extend(handed::misfits(&trial.recipe, stages, registry));
    }
    match folder {
        Ok(folder) => {
            let all: Vec<(Vec<Stage>, &Models)> =
                trials.iter().zip(&models).map(|((_, stages), models)| (known(stages), models)).collect();
            machine::room(&folder, args.dry_run, &all, &mut found);
        }
        // A name that is refused where it stands.
        Err(_) if found.refused.iter().any(|refusal| refusal.key == "run.name") => {}
        Err(error) => found.refuse("--out", &error),
    }
    if !found.refused.is_empty() {
        return Err(found.error(&recipe));
    }
    let ready = trials.iter().map(|(trial, stages)| {
        let tables = trial.recipe.stages();
        Ready {
            trial: trial.clone(),
            stages: known(stages),
            rows: tables.iter().map(|table| looking_at.sizes.get(&rows_of(table)).copied()).collect(),
        }
    });
    Ok(Looked { trials: ready.collect(), notes: found.notes, recipe: recipe.clone() })
}

/// The stages of all trials as far as they can be read. What only some points have wrong is said with these.
fn read_all(recipe: &Recipe, registry: &Registry, found: &mut Found) -> Vec<Read> {
    let mut trials: Vec<Read> = Vec::new();
    let mut wrong: Vec<(Refusal, BTreeSet<String>)> = Vec::new();
    for (at, (trial, put_together)) in recipe.trials().into_iter().enumerate() {
        // Of the first, the recipe has said it.
        let mut refused = if at == 0 { vec![] } else { put_together };
        let mut stages = Vec::new();
        for table in trial.recipe.stages() {
            let (stage, of_stage) = Stage::attempt(&trial.recipe, table, registry);
            stages.push((stage, of_stage.iter().map(|refusal| refusal.key.clone()).collect::<Vec<_>>()));
            refused.extend(of_stage);
        }
        for refusal in refused {
            match wrong.iter_mut().find(|(other, _)| *other == refusal) {
                Some((_, points)) => drop(points.insert(trial.point.clone())),
                None => wrong.push((refusal, BTreeSet::from([trial.point.clone()]))),
            }
        }
        trials.push((trial, stages));
    }
    let points: BTreeSet<&String> = trials.iter().map(|(trial, _)| &trial.point).collect();
    for (mut refusal, of) in wrong {
        if of.len() < points.len() {
            at_point(&mut refusal, &of.iter().map(String::as_str).collect::<Vec<_>>());
        }
        found.refused.push(refusal);
    }
    trials
}

/// Points that are named with what is wrong at them alone.
const MOST_POINTS: usize = 3;

fn at_point(refusal: &mut Refusal, points: &[&str]) {
    let more = points.len().saturating_sub(MOST_POINTS);
    let more = if more > 0 { format!(" and {more} more") } else { String::new() };
    refusal.text += &format!(" (at {}{more})", points[..points.len().min(MOST_POINTS)].join(", "));
}

/// A stage's table without its seed: trials that differ in it alone need no second look.
fn without_seed(table: &StageTable) -> toml::Table {
    let mut table = table.table.clone();
    if let Some(toml::Value::Table(run)) = table.get_mut("run") {
        run.remove("seed");
    }
    table
}

/// The stage, and what its rows hang on.
fn rows_of(table: &StageTable) -> (usize, String) {
    let mut sections = without_seed(table);
    ["run", "optim", "checkpoint", "log", "devices"]
        .iter()
        .for_each(|section| drop(sections.remove(*section)));
    (table.index, sections.to_string())
}

/// What is the same for all trials, and what has been seen of them.
struct LookingAt<'a> {
    registry: &'a Registry,
    hub: &'a Hub,
    fetches: bool,
    local: Local,
    seen: BTreeSet<(usize, String)>,
    sizes: BTreeMap<(usize, String), Rows>,
    loaded: Loaded,
}

impl LookingAt<'_> {
    fn look_at(
        &mut self,
        trial: &Trial,
        stages: &[(Option<Stage>, Vec<String>)],
        models: &Models,
        ledger: &Ledger,
        urls: &mut BTreeSet<String>,
        found: &mut Found,
    ) {
        let recipe = &trial.recipe;
        let seed = stages.iter().find_map(|(stage, _)| stage.as_ref()).map_or(0, |stage| stage.run.seed);
        for planned in recipe.plan().into_iter().filter(|planned| planned.round <= 2) {
            let index = planned.stage.index;
            let (stage, wrong) = &stages[index];
            let Some(stage) = stage else { continue };
            if is_done(ledger, stage, recipe, &planned.stage)
                || !self.seen.insert((index, without_seed(&planned.stage).to_string()))
            {
                continue;
            }
            // In the first round a stage may be another than what is written.
            let other = (planned.stage.table != recipe.stages()[index].table)
                .then(|| Stage::attempt(recipe, &planned.stage, self.registry).0);
            let Some(stage) = other.as_ref().map_or(Some(stage), Option::as_ref) else { continue };
            machine::endpoints(&planned.stage.table, urls);
            let rewards = Rewards::build(&stage.reward, self.registry, &stage.data.format).ok();
            let measures = stage.eval.as_ref().map(|eval| &eval.measures);
            let measures =
                measures.and_then(|table| Rewards::measures(table, self.registry, &stage.data.format).ok());
            let waits = references(&planned.stage.table, RULES.references)
                .into_iter()
                .map(|(path, _)| path)
                .collect();
            let rows = rows_of(&planned.stage);
            let mut looking = Looking {
                recipe,
                table: &planned.stage,
                stage,
                rewards,
                measures,
                wrong,
                waits,
                registry: self.registry,
                hub: self.hub,
                fetches: self.fetches,
                seed,
                local: self.local,
                reads_rows: !self.sizes.contains_key(&rows),
                rows: Rows::default(),
                loaded: &mut self.loaded,
                found,
            };
            // What is warned of here is warned of again when the stage opens; a dry run opens none.
            let heard = Heard::default();
            let said = heard.said.clone();
            with_default(heard, || looking.look(models));
            let seen = looking.rows;
            if !looking.fetches {
                let said = said.lock().map(|said| said.clone()).unwrap_or_default();
                said.iter().for_each(|told| looking.note(told));
            }
            self.sizes.entry(rows).or_insert(seen);
        }
    }
}

/// What a run that is resumed has done in `folder`; nothing where none is.
fn done_before(args: &Args, folder: &std::path::Path) -> Ledger {
    if !args.resume {
        return Ledger::default();
    }
    RunDir::join(folder).ledger().unwrap_or_default()
}

/// Whether all rounds of the stage are done, so that its files may be gone.
fn is_done(ledger: &Ledger, stage: &Stage, recipe: &Recipe, table: &StageTable) -> bool {
    let last = ledger.of(&table.name, recipe.rounds()).and_then(|record| record.done.as_ref());
    last.is_some_and(|done| stage.run.steps.is_none_or(|steps| done.step >= steps))
}

/// A stage that is looked at.
struct Looking<'a> {
    recipe: &'a Recipe,
    table: &'a StageTable,
    stage: &'a Stage,
    /// None where they cannot be built.
    rewards: Option<Rewards>,
    /// The same of `[eval.measures]`.
    measures: Option<Rewards>,
    /// The keys that are refused already.
    wrong: &'a [String],
    /// The paths at which something of an earlier stage stands.
    waits: BTreeSet<String>,
    registry: &'a Registry,
    hub: &'a Hub,
    fetches: bool,
    seed: u64,
    local: Local,
    /// Whether its rows have not been read for another trial.
    reads_rows: bool,
    /// The training rows.
    rows: Rows,
    loaded: &'a mut Loaded,
    found: &'a mut Found,
}

impl Looking<'_> {
    fn look(&mut self, models: &Models) {
        if !self.is_wrong("devices")
            && let Err(error) = self.stage.devices.find(self.local)
        {
            self.refuse("devices", &error);
        } else if !self.is_wrong("devices") {
            self.look_at_places();
        }
        if !self.is_wrong("rollout")
            && self.samples()
            && !self.waits("rollout.variants.from")
            && let Err(error) = self.stage.rollout.build()
        {
            self.refuse(&format!("rollout.{}", self.stage.rollout.name()), &error);
        }
        self.look_at_machine();
        self.look_at_asked_models(models);
        let tokenized = if self.is_wrong("policy") { None } else { self.look_at_model(models) };
        // How many a step asks changes nothing of what the rows are.
        let how_many = ["data.prompts_per_step", "data.shuffle"];
        if self.reads_rows
            && !self.wrong.iter().any(|key| key.starts_with("data") && !how_many.contains(&key.as_str()))
            && self.look_at_shots()
        {
            self.look_at_rows(tokenized.as_ref(), models);
        }
    }

    /// Whether something of a section is refused already, so that what hangs on it is not looked at.
    fn is_wrong(&self, section: &str) -> bool {
        self.wrong.iter().any(|key| key.split('.').next() == Some(section) || key.is_empty())
    }

    /// Whether the rows that solved ones are shown from can be read, where they are not the stage's own: once for both splits.
    fn look_at_shots(&mut self) -> bool {
        let key = "data.template.few_shot_from";
        let data = &self.stage.data;
        let Some(from) = data.template.few_shot_from.as_ref().filter(|_| data.template.few_shot > 0) else {
            return true;
        };
        if self.waits(key) {
            return true;
        }
        if self.are_away(key, from, Split::Train) {
            return false;
        }
        match data.look_at_shots(self.hub, self.seed) {
            Ok(()) => true,
            Err(error) => {
                self.refuse_rows(key, &error);
                false
            }
        }
    }

    fn waits(&self, path: &str) -> bool {
        self.waits.iter().any(|waits| covers(path, waits))
    }

    /// Whether completions come to be in the stage.
    fn samples(&self) -> bool {
        self.stage.needs().rollouts || (self.stage.eval.is_some() && !self.stage.needs().head)
    }

    /// Notes an error that opening a part of the stage gave, about the key at `path`.
    fn refuse(&mut self, path: &str, error: &Error) {
        let (text, kind) = of_kind(error);
        self.refuse_as(path, &text, kind);
    }

    fn refuse_as(&mut self, path: &str, text: &str, kind: Option<Kind>) {
        self.found.kind = kind;
        let stage = Some(self.table.name.clone()).filter(|_| self.recipe.stages().len() > 1);
        self.found.refused.push(Refusal { stage, ..self.recipe.refusal(self.table, path, text) });
    }

    fn note(&mut self, text: &str) {
        self.found.note(format!("stage `{}`: {text}", self.table.name));
    }
}
