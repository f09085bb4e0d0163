//! A recipe: one TOML file of sections and stages, with the command line's `--set` over it.
//!
//! [`Recipe`] knows nothing of what the sections mean. It merges, checks stages and their references, and reads each
//! stage's table into whatever type the caller names, turning serde's errors into the user's words.

mod absent;
mod aliases;
mod args;
mod bounds;
mod effects;
mod explain;
mod fits;
pub mod flat;
mod meant;
mod overrides;
mod references;
mod refusal;
mod registry;
mod resolved;
mod rules;
mod schema;
mod source;
mod stage;
mod stages;
mod sweep;
mod unset;
mod waiting;

pub use absent::absent;
pub use aliases::{Alias, called, names_of};
pub use args::{Args, LogFormat};
pub use effects::without_effect;
pub use overrides::Override;
pub use references::{references, substitute, texts};
pub use refusal::Refusal;
pub use registry::Registry;
pub use rules::{Choice, RULES, Rules};
pub use source::Source;
pub use stage::{Run, Stage};
pub use stages::{PlannedStage, StageTable};
pub use sweep::Trial;

use crate::{Error, Result};
use std::path::Path;
use sweep::Sweep;
use toml::{Table, Value};

/// A recipe as read, its stages merged.
#[derive(Debug, Clone)]
pub struct Recipe {
    source: Source,
    rules: &'static Rules,
    overrides: Vec<Override>,
    /// Those of them that were typed.
    typed: Vec<Override>,
    /// What differs between its trials, of which this is the first.
    sweep: Sweep,
    /// The top level, with the overrides that reach it.
    base: Table,
    stages: Vec<StageTable>,
    /// Whether the file has `[[stage]]` tables.
    listed: bool,
    rounds: usize,
}

impl Recipe {
    /// Reads the file and puts `sets`, each `section.key=value`, over it.
    pub fn read(path: &Path, sets: &[String]) -> Result<Self> {
        Self::new(Source::read(path)?, sets, &RULES)
    }

    /// Reads `text`, called `file` in messages.
    pub fn parse(file: &str, text: &str, sets: &[String]) -> Result<Self> {
        Self::new(Source::parse(file, text)?, sets, &RULES)
    }

    /// Merges and checks what was read, after `rules`.
    ///
    /// # Errors
    /// [`Error::Recipe`] with all that is wrong with how its stages are put together.
    pub fn new(source: Source, sets: &[String], rules: &'static Rules) -> Result<Self> {
        let (recipe, refused) = Self::merged(source, sets, rules);
        if refused.is_empty() { Ok(recipe) } else { Err(recipe.error(refused)) }
    }

    /// The same for who says further things too: what is wrong is taken out, and stands beside the rest. A recipe that sweeps is here as
    /// its first trial; [`trials`](Self::trials) has all of them.
    pub fn merged(mut source: Source, sets: &[String], rules: &'static Rules) -> (Self, Vec<Refusal>) {
        let mut refused = Vec::new();
        let mut typed = Vec::new();
        for set in sets {
            match Override::parse(set) {
                Ok(over) => typed.push(over),
                Err(Error::Recipe(text)) => refused.push(Refusal::new("", text)),
                Err(_) => unreachable!("a `--set` is refused as a part of the recipe"),
            }
        }
        let sweep = Sweep::take(&mut source, &mut typed, &mut refused);
        let overrides = [sweep.overrides(0, source.file()), typed.clone()].concat();
        let (recipe, found) = Self::put_together(source, overrides, rules);
        refused.extend(found);
        let recipe = Self { typed, sweep, ..recipe };
        match recipe.too_many_trials(MOST_RUNS) {
            None => (recipe, refused),
            Some(refusal) => {
                refused.push(refusal);
                (Self { sweep: Sweep::default(), ..recipe }, refused)
            }
        }
    }

    /// The stages of a source with the overrides over them.
    fn put_together(
        source: Source,
        mut overrides: Vec<Override>,
        rules: &'static Rules,
    ) -> (Self, Vec<Refusal>) {
        let mut refused = Vec::new();
        let (mut base, mut stages) = stages::split(&source, rules, &mut refused);
        refused.extend(overrides::apply(&mut overrides, &mut base, &mut stages, rules));
        let listed = source.table().contains_key("stage");
        if !listed {
            stages[0].name = stages::implicit_name(&stages[0].table);
        }
        let (typed, sweep) = (Vec::new(), Sweep::default());
        let mut recipe = Self { source, rules, overrides, typed, sweep, base, stages, listed, rounds: 1 };
        match recipe.read_rounds() {
            Ok(rounds) => recipe.rounds = rounds,
            Err(refusal) => {
                refused.push(refusal);
                recipe
                    .stages
                    .iter_mut()
                    .for_each(|stage| drop(explain::take(&mut stage.table, "run.rounds")));
            }
        }
        refused.extend(recipe.check_references());
        (recipe, refused)
    }

    /// The file's name as the user gave it.
    pub fn file(&self) -> &str {
        self.source.file()
    }

    /// The stages in the order in which they run.
    pub fn stages(&self) -> &[StageTable] {
        &self.stages
    }

    /// How often the list of stages runs: `run.rounds`, 1 where it is not given.
    pub fn rounds(&self) -> usize {
        self.rounds
    }

    /// Every execution of every stage, in order. In round 1, a reference to a stage that runs later in the list gives
    /// way to the top level's value; from round 2 on it means that stage's execution in the round before.
    pub fn plan(&self) -> Vec<PlannedStage> {
        let rounds = 1..=self.rounds;
        let run = |round| {
            self.stages.iter().map(move |stage| {
                let stage = if round == 1 { self.in_first_round(stage) } else { stage.clone() };
                PlannedStage { round, stage }
            })
        };
        rounds.flat_map(run).collect()
    }

    /// What the command line set, in its order.
    pub fn overrides(&self) -> &[Override] {
        &self.overrides
    }

    fn read_rounds(&self) -> std::result::Result<usize, Refusal> {
        let refused = |value: &Value, what: &str| {
            self.refusal(&self.stages[0], "run.rounds", &format!("run.rounds = {value}: {what}"))
        };
        match stages::at(&self.stages[0].table, &["run", "rounds"]) {
            None => Ok(1),
            Some(value @ Value::Integer(rounds)) if *rounds >= 1 => {
                match usize::try_from(*rounds).ok().filter(|rounds| rounds * self.stages.len() <= MOST_RUNS) {
                    Some(rounds) => Ok(rounds),
                    None => Err(refused(
                        value,
                        &format!("a run has at most {MOST_RUNS} stages, each round's counted"),
                    )),
                }
            }
            Some(other) => Err(refused(other, "expected a whole number, 1 or more")),
        }
    }
}

/// Executions of stages in the longest run: each is planned, named and kept.
const MOST_RUNS: usize = 1000;
