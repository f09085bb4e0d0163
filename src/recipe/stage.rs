//! A stage's sections in their types, and the checks that need more than one of them.

use super::explain::take;
use super::{Recipe, Refusal, Registry, StageTable};
use super::{bounds, fits};
use crate::checkpoint::{Checkpoint, names_folder};
use crate::data::hub::Hub;
use crate::data::tasks::{OwnTask, Task};
use crate::data::{Data, Dataset, Example};
use crate::devices::Devices;
use crate::error::{Error, Result};
use crate::eval::Eval;
use crate::log::Log;
use crate::loops::{Needs, Section, Setup, StageView};
use crate::optim::Optim;
use crate::policy::PolicyConfig;
use crate::reward::Rewards;
use crate::rollout::SourceSection;
use crate::section::{Chosen, Kinds, Misfit, under};
use crate::select::Select;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashSet};
use std::ops::{Deref, DerefMut};
use toml::{Table, Value};

/// What is to be done: `[run]`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Run {
    /// The run's directory is `checkpoints/<name>`; the recipe file's name by default.
    pub name: Option<String>,
    /// Everything random derives from it.
    pub seed: u64,
    /// Seeds in place of the one: all stages run once with each, in a folder of the run each (`seed=0`), and the end of the run holds
    /// them against each other. With `[sweep]`, at each of its points.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub seeds: Vec<u64>,
    /// Steps of a stage; of `loop.star`, of its first round. With `loop.prm`, 0 measures a reward model that is there, as
    /// `[eval]` says, and trains nothing.
    pub steps: Option<usize>,
    /// Passes over the questions, where `steps` is not given.
    pub epochs: f64,
    /// How often the list of stages is run.
    pub rounds: usize,
}

impl Default for Run {
    fn default() -> Self {
        Self { name: None, seed: 0, seeds: Vec::new(), steps: None, epochs: 1.0, rounds: 1 }
    }
}

impl Run {
    fn check(&self) -> Option<Misfit> {
        let unfit = self.name.as_ref().filter(|name| !names_folder(name));
        unfit.map(|_| {
            Misfit::new(
                "name",
                "it names a folder",
                "use letters, digits, `-`, `_` and `.`, which it must not begin with",
            )
        })
    }
}

/// A stage's sections: one field a section of the recipe.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Sections {
    /// How long a stage is, and the run's name and seed.
    #[serde(default)]
    pub run: Run,
    /// What is learned from: rows, and how they become prompts and completions.
    #[serde(default)]
    pub data: Data,
    /// The model that is trained, and how it samples.
    #[serde(default)]
    pub policy: PolicyConfig,
    /// How completions come to be: one table `[rollout.NAME]`; `[rollout.group]` where there is none.
    // As it is written: `Stage::rollout` is it read.
    #[serde(rename = "rollout", default = "empty")]
    #[schemars(with = "Open")]
    rollout_written: Value,
    /// What completions are worth: any number of tables `[reward.NAME]`, each with its `weight`.
    #[serde(default)]
    #[schemars(with = "Open")]
    pub reward: Table,
    /// Which completions are learned, and which of them make pairs.
    #[serde(default)]
    pub select: Select,
    /// How the policy learns: exactly one table `[loop.NAME]`.
    // As it is written: `Stage::method` is it read.
    #[serde(rename = "loop")]
    #[schemars(with = "Open")]
    written: Value,
    /// How the weights move: AdamW under a learning-rate schedule, Muon beside it.
    #[serde(default)]
    pub optim: Optim,
    /// Which device holds what.
    #[serde(default)]
    pub devices: Devices,
    /// Held-out questions; none without this section.
    pub eval: Option<Eval>,
    /// Which checkpoints are kept, and how often they are written.
    #[serde(default)]
    pub checkpoint: Checkpoint,
    /// What is shown while a run works, and what is written beside its figures.
    #[serde(default)]
    pub log: Log,
}

/// An open section: which tables there are, the registry knows.
type Open = BTreeMap<String, serde_json::Value>;

/// A task of the program's own as far as it can be read, and what is wrong with it.
type OwnRead = (Option<Chosen<dyn OwnTask>>, Vec<Refusal>);

/// Adapters learn at ten times the rate of whole weights.
const ADAPTER_LR: f64 = 10.0;

/// A stage, resolved.
#[derive(Debug, Clone, PartialEq)]
pub struct Stage {
    sections: Sections,
    /// `[loop.NAME]`.
    pub method: Chosen<dyn Section>,
    /// `[rollout.NAME]`.
    pub rollout: Chosen<dyn SourceSection>,
}

impl Deref for Stage {
    type Target = Sections;

    fn deref(&self) -> &Sections {
        &self.sections
    }
}

impl DerefMut for Stage {
    fn deref_mut(&mut self) -> &mut Sections {
        &mut self.sections
    }
}

impl Stage {
    /// Reads and checks a stage.
    pub fn read(recipe: &Recipe, table: &StageTable, registry: &Registry) -> Result<Self> {
        match Self::attempt(recipe, table, registry) {
            (Some(stage), refused) if refused.is_empty() => Ok(stage),
            (_, refused) => Err(recipe.error(refused)),
        }
    }

    /// Reads and checks all stages of a recipe.
    ///
    /// # Errors
    /// [`Error::Recipe`] with all that is wrong with all of them.
    pub fn read_all(recipe: &Recipe, registry: &Registry) -> Result<Vec<Self>> {
        let (mut stages, mut refused) = (vec![], vec![]);
        for table in recipe.stages() {
            let (stage, found) = Self::attempt(recipe, table, registry);
            stages.extend(stage);
            refused.extend(found);
        }
        if refused.is_empty() { Ok(stages) } else { Err(recipe.error(refused)) }
    }

    /// The stage as far as it can be read, what cannot be read taken out, and all that is wrong with it.
    pub fn attempt(recipe: &Recipe, table: &StageTable, registry: &Registry) -> (Option<Self>, Vec<Refusal>) {
        let known = registry.known();
        let (own_task, without) = Self::own_task(recipe, table, registry, known);
        let (mut sections, mut refused) = Sections::attempt(recipe, &without, known);
        if let Some((task, found)) = own_task {
            refused.extend(found);
            if let (Some(sections), Some(task)) = (&mut sections, task) {
                sections.data.task = Some(Task::Own(task));
            }
        }
        let mut method = None;
        if table.table.contains_key("loop") {
            let (chosen, found) = recipe.choose(table, "loop", &registry.methods, known);
            refused.extend(found);
            method = chosen;
        }
        let mut rollout = Some(registry.default_source());
        if table.table.contains_key("rollout") {
            let (chosen, found) = recipe.choose(table, "rollout", &registry.sources, known);
            refused.extend(found);
            rollout = chosen;
        }
        let Some(sections) = sections else { return (None, refused) };
        let mut misfits = sections.check(registry);
        if let Some(method) = &method {
            misfits.extend(under(&format!("loop.{}", method.name()), method.check()));
        }
        if let Some(rollout) = &rollout {
            misfits.extend(under(&format!("rollout.{}", rollout.name()), rollout.check()));
        }
        let stage = method.zip(rollout).map(|(method, rollout)| Self::of(sections, method, rollout));
        if let Some(stage) = &stage {
            misfits.extend(stage.check_unused(&table.table));
            misfits.extend(fits::misfits(stage));
        }
        let beyond = bounds::beyond(&table.table);
        misfits.extend(
            beyond
                .into_iter()
                .filter(|beyond| misfits.iter().all(|own| own.key != beyond.key))
                .collect::<Vec<_>>(),
        );
        // What is missed only because it could not be read is not said.
        misfits.retain(|misfit| !refused.iter().any(|refusal| refusal.explains(misfit)));
        let mut keys = HashSet::new();
        misfits.retain(|misfit| keys.insert((misfit.key.clone(), misfit.message.clone())));
        refused.extend(recipe.located(table, misfits));
        (stage, refused)
    }

    /// `[data.task.NAME]` where the name is one of the program's own, and the stage without it.
    fn own_task(
        recipe: &Recipe,
        table: &StageTable,
        registry: &Registry,
        known: &[String],
    ) -> (Option<OwnRead>, StageTable) {
        let mut without = table.clone();
        let tasks =
            without.table.get_mut("data").and_then(|data| data.get_mut("task")).and_then(Value::as_table_mut);
        let names = registry.tasks.names();
        let Some((tasks, name)) = tasks.and_then(|tasks| {
            let name = tasks.keys().find(|name| names.contains(&name.as_str()))?.clone();
            Some((tasks, name))
        }) else {
            return (None, without);
        };
        let keys = tasks.remove(&name).and_then(|keys| keys.as_table().cloned()).unwrap_or_default();
        if tasks.is_empty() {
            drop(take(&mut without.table, "data.task"));
        }
        let reader = |keys: Table| registry.tasks.read(&name, keys).expect("a known name");
        let read = recipe.read_at(table, &format!("data.task.{name}"), keys, known, &reader);
        (Some(read), without)
    }

    fn of(mut sections: Sections, method: Chosen<dyn Section>, rollout: Chosen<dyn SourceSection>) -> Self {
        sections.follow(&*method);
        Self { sections, method, rollout }
    }

    /// Whether the stage would be the same without the key that is written at the dotted path.
    pub fn reads_alike_without(&self, table: &StageTable, key: &str, registry: &Registry) -> bool {
        let mut table = table.table.clone();
        drop(take(&mut table, key));
        let method = chosen(&table, "loop", &registry.methods);
        let rollout = match table.get("rollout").and_then(Value::as_table).is_none_or(Table::is_empty) {
            true => {
                table.remove("rollout");
                Some(registry.default_source())
            }
            false => chosen(&table, "rollout", &registry.sources),
        };
        let Ok(mut sections) = crate::section::read::<Sections>(table) else { return false };
        sections.follow(&*self.method);
        sections.rollout_written = self.sections.rollout_written.clone();
        sections.written = self.sections.written.clone();
        sections == self.sections
            && rollout.as_ref() == Some(&self.rollout)
            && method.as_ref() == Some(&self.method)
    }

    /// The sections as the method looks at them.
    pub fn view(&self) -> StageView<'_> {
        StageView {
            steps: self.run.steps,
            epochs: self.run.epochs,
            data: &self.data,
            policy: &self.policy,
            rollout: self.rollout.traits(),
            rewards: self.reward.keys().map(String::as_str).collect(),
            select: &self.select,
            eval: self.eval.as_ref(),
        }
    }

    /// What its method is built from, with these rows.
    pub fn setup<'a>(&'a self, rows: Dataset, hub: &'a Hub, run_seed: u64) -> Setup<'a> {
        Setup {
            rows,
            data: &self.data,
            hub,
            run_seed,
            steps: self.run.steps,
            epochs: self.run.epochs,
            select: &self.select,
            format: &self.data.format,
        }
    }

    /// Whether the held-out questions are asked of the policy: where `[eval]` says so and a row has a gold answer, and where nothing else can
    /// be told of the rows. A policy whose head tells it learns to write nothing, and is not asked to.
    pub fn asks<'r>(&self, rows: impl IntoIterator<Item = &'r Example>) -> bool {
        let Some(eval) = &self.eval else { return false };
        let (mut gold, mut measured) = (false, false);
        for row in rows {
            gold |= row.gold().is_some();
            measured |= self.method.measures(row);
        }
        eval.ask && (!measured || gold && !self.needs().head)
    }

    /// What the stage has to have for its method.
    pub fn needs(&self) -> Needs {
        self.method.needs(&self.view())
    }

    /// Its sections with every default, the rewards' as `registry` knows them, but for those that mean nothing to it.
    pub fn resolved(&self, registry: &Registry) -> Result<Table> {
        let unwritable = |error: String| Error::Recipe(format!("cannot be written as TOML: {error}"));
        let mut sections = self.sections.clone();
        sections.written = self.method.written().map_err(unwritable)?;
        sections.rollout_written = self.rollout.written().map_err(unwritable)?;
        registry.fill_rewards(&mut sections.reward);
        let mut table = Table::try_from(&sections).map_err(|error| unwritable(error.to_string()))?;
        let unused = self.needs().unused.map_or(&[][..], |(sections, _)| sections);
        unused.iter().for_each(|section| drop(table.remove(*section)));
        Ok(table)
    }

    /// Sections that are written and mean nothing to the method.
    fn check_unused(&self, table: &Table) -> Vec<Misfit> {
        let named = |path: &&&str| {
            table.get(**path).and_then(Value::as_table).is_some_and(|section| !section.is_empty())
        };
        let (sections, why) = self.needs().unused.unwrap_or_default();
        let remedy = "take it out; where other stages need it, put it in those";
        let misfit = |path: &&str| Misfit::new(*path, format!("{why} and reads no [{path}]"), remedy);
        sections.iter().filter(named).map(misfit).collect()
    }
}

impl Sections {
    /// Sets what the recipe leaves to the method.
    fn follow(&mut self, method: &dyn Section) {
        let by_adapter = if self.policy.lora.is_some() { ADAPTER_LR } else { 1.0 };
        // Rounded, since 10 · 1e-6 is 9.999999999999999e-6.
        let usual = (method.learning_rate() * by_adapter * 1e12).round() / 1e12;
        self.optim.lr.get_or_insert(usual);
    }

    /// The sections as far as they can be read; without `[loop]` too.
    fn attempt(recipe: &Recipe, table: &StageTable, known: &[String]) -> (Option<Self>, Vec<Refusal>) {
        let read = |table: Table| crate::section::read::<Self>(table);
        let (sections, refused) = recipe.read_at(table, "", table.table.clone(), known, &read);
        if sections.is_some() || table.table.contains_key("loop") {
            return (sections, refused);
        }
        let mut with_loop = table.table.clone();
        with_loop.insert("loop".into(), empty());
        let (sections, further) = recipe.read_at(table, "", with_loop, known, &read);
        let lacks = refused.into_iter().filter(|refusal| refusal.key == "loop");
        (sections, lacks.chain(further).collect())
    }

    /// What they find of themselves.
    fn check(&self, registry: &Registry) -> Vec<Misfit> {
        let rewards = Rewards::try_build(&self.reward, registry, &self.data.format);
        let measures = self.eval.iter().flat_map(|eval| {
            Rewards::try_measures(&eval.measures, registry, &self.data.format).err().unwrap_or_default()
        });
        [
            under("run", self.run.check()),
            under("data", self.data.check()),
            under("policy", self.policy.check()),
            under("select", self.select.check()),
            under("optim", self.optim.check()),
            under("checkpoint", self.checkpoint.check()),
            under("devices", self.devices.check()),
            under("eval", self.eval.iter().flat_map(Eval::check)),
            under("eval.measures", measures),
            under("reward", rewards.err().unwrap_or_default()),
        ]
        .concat()
    }
}

/// The kind that an open section names, where it can be read.
fn chosen<T: ?Sized + 'static>(table: &Table, section: &str, kinds: &Kinds<T>) -> Option<Chosen<T>> {
    let (name, keys) = table.get(section)?.as_table()?.iter().next()?;
    kinds.read(name, keys.as_table()?.clone())?.ok()
}

fn empty() -> Value {
    Value::Table(Table::new())
}
