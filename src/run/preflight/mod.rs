//! What is looked at before anything trains: the recipe, and all that is cheap to open, of all its stages. All that is wrong is said at once.

mod machine;
mod models;
mod preview;
mod rows;

pub use preview::{Preview, preview};

use crate::checkpoint::{Ledger, RunDir};
use crate::data::hub::Hub;
use crate::error::{Error, Result};
use crate::ranks::Local;
use crate::recipe::{Args, RULES, Recipe, Refusal, Registry, Source, Stage, StageTable, references};
use crate::reward::Rewards;
use crate::section::covers;
use models::{Known, Models};
use std::collections::BTreeSet;
use tracing::subscriber::{NoSubscriber, with_default};

/// A recipe of which nothing is known to be wrong, and what has to be said of it.
#[derive(Debug)]
pub struct Looked {
    /// The recipe.
    pub recipe: Recipe,
    /// Its stages.
    pub stages: Vec<Stage>,
    /// Rows that are left out, and what could not be looked at: a line each.
    pub notes: Vec<String>,
}

/// Reads the recipe and looks at all that its stages need. A dry run fetches nothing; a run what it would fetch anyway, once nothing
/// else is wrong.
///
/// # Errors
/// All that is wrong, in the order of the recipe's lines.
pub fn look(args: &Args, registry: &Registry, hub: &Hub, local: Local) -> Result<Looked> {
    let (recipe, refused) = Recipe::merged(Source::read(&args.recipe)?, &args.set, &RULES);
    let mut found = Found { refused, ..Found::default() };
    let mut stages = Vec::new();
    for table in recipe.stages() {
        let (stage, refused) = Stage::attempt(&recipe, table, registry);
        stages.push((stage, refused.iter().map(|refusal| refusal.key.clone()).collect::<Vec<_>>()));
        found.refused.extend(refused);
    }
    let at_rest = hub.at_rest();
    let fetches = !args.dry_run && found.refused.is_empty();
    let hub = if fetches { hub } else { &at_rest };
    let models = Models::new(&recipe, &stages, hub, fetches);
    let all: Vec<&Stage> = stages.iter().filter_map(|(stage, _)| stage.as_ref()).collect();
    let seed = all.first().map_or(0, |stage| stage.run.seed);
    let ledger = done_before(args, all.first().copied());
    let (mut seen, mut urls) = (BTreeSet::new(), BTreeSet::new());
    for planned in recipe.plan().into_iter().filter(|planned| planned.round <= 2) {
        let index = planned.stage.index;
        let (stage, wrong) = &stages[index];
        let Some(stage) = stage else { continue };
        if !seen.insert((index, planned.stage.table.to_string()))
            || is_done(&ledger, stage, &recipe, &planned.stage)
        {
            continue;
        }
        // In the first round a stage may be another than what is written.
        let other = (planned.stage.table != recipe.stages()[index].table)
            .then(|| Stage::attempt(&recipe, &planned.stage, registry).0);
        let Some(stage) = other.as_ref().map_or(Some(stage), Option::as_ref) else { continue };
        machine::endpoints(&planned.stage.table, &mut urls);
        let rewards = Rewards::build(&stage.reward, registry, &stage.data.format).ok();
        let measures = stage.eval.as_ref().map(|eval| &eval.measures);
        let measures = measures.and_then(|table| Rewards::measures(table, registry, &stage.data.format).ok());
        let waits =
            references(&planned.stage.table, RULES.references).into_iter().map(|(path, _)| path).collect();
        let mut looking = Looking {
            recipe: &recipe,
            table: &planned.stage,
            stage,
            rewards,
            measures,
            wrong,
            waits,
            hub,
            fetches,
            seed,
            local,
            found: &mut found,
        };
        // What is warned of here is warned of again when the stage opens.
        with_default(NoSubscriber::default(), || looking.look(&models));
    }
    if fetches {
        machine::servers(&urls, &mut found);
    }
    found.refused.extend(machine::best_figures(&recipe, &all));
    match super::run_folder(args, all.first().copied()) {
        Ok(folder) => machine::room(&folder, args.dry_run, &all, &models, &mut found),
        // A name that is refused where it stands.
        Err(_) if found.refused.iter().any(|refusal| refusal.key == "run.name") => {}
        Err(error) => found.refuse("--out", &error),
    }
    if !found.refused.is_empty() {
        return Err(found.error(&recipe));
    }
    Ok(Looked {
        recipe,
        stages: stages.into_iter().filter_map(|(stage, _)| stage).collect(),
        notes: found.notes,
    })
}

/// What a run that is resumed has done; nothing where none is.
fn done_before(args: &Args, first: Option<&Stage>) -> Ledger {
    let folder = super::run_folder(args, first).ok().filter(|_| args.resume);
    folder.and_then(|folder| RunDir::join(&folder).ledger().ok()).unwrap_or_default()
}

/// Whether all rounds of the stage are done, so that its files may be gone.
fn is_done(ledger: &Ledger, stage: &Stage, recipe: &Recipe, table: &StageTable) -> bool {
    let last = ledger.of(&table.name, recipe.rounds()).and_then(|record| record.done.as_ref());
    last.is_some_and(|done| stage.run.steps.is_none_or(|steps| done.step >= steps))
}

/// One of the errors that only have a text.
type Kind = fn(String) -> Error;

/// What has been found.
#[derive(Default)]
struct Found {
    refused: Vec<Refusal>,
    /// What the only one is an error of, where it is not one of the recipe.
    kind: Option<Kind>,
    notes: Vec<String>,
}

impl Found {
    fn note(&mut self, text: String) {
        if !self.notes.contains(&text) {
            self.notes.push(text);
        }
    }

    /// What is no key's of a stage.
    fn refuse(&mut self, key: &str, error: &Error) {
        let (text, kind) = of_kind(error);
        self.kind = kind;
        self.refused.push(Refusal::new(key, text));
    }

    fn error(self, recipe: &Recipe) -> Error {
        let texts: BTreeSet<&String> = self.refused.iter().map(|refusal| &refusal.text).collect();
        let kind = self.kind.filter(|_| texts.len() == 1);
        match (recipe.error(self.refused), kind) {
            (Error::Recipe(text), Some(kind)) => kind(text),
            (error, _) => error,
        }
    }
}

/// What an error says, and of which kind it is, where not of the recipe.
fn of_kind(error: &Error) -> (String, Option<Kind>) {
    match error {
        Error::Recipe(text) => (text.clone(), None),
        Error::Data(text) => (text.clone(), Some(Error::Data)),
        Error::Model(text) => (text.clone(), Some(Error::Model)),
        Error::Devices(text) => (text.clone(), Some(Error::Devices)),
        Error::Checkpoint(text) => (text.clone(), Some(Error::Checkpoint)),
        other => (other.to_string(), Some(Error::Model)),
    }
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
    hub: &'a Hub,
    fetches: bool,
    seed: u64,
    local: Local,
    found: &'a mut Found,
}

impl Looking<'_> {
    fn look(&mut self, models: &Models) {
        if !self.is_wrong("devices")
            && let Err(error) = self.stage.devices.find(self.local)
        {
            self.refuse("devices", &error);
        }
        if !self.is_wrong("rollout")
            && self.samples()
            && let Err(error) = self.stage.rollout.build()
        {
            self.refuse(&format!("rollout.{}", self.stage.rollout.name()), &error);
        }
        self.look_at_machine();
        let tokenized = if self.is_wrong("policy") { None } else { self.look_at_model(models) };
        // How many a step asks changes nothing of what the rows are.
        let how_many = ["data.prompts_per_step", "data.shuffle"];
        if !self.wrong.iter().any(|key| key.starts_with("data") && !how_many.contains(&key.as_str())) {
            self.look_at_rows(tokenized.as_ref());
        }
    }

    /// Whether something of a section is refused already, so that what hangs on it is not looked at.
    fn is_wrong(&self, section: &str) -> bool {
        self.wrong.iter().any(|key| key.split('.').next() == Some(section) || key.is_empty())
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
