//! Which files a stage reads, and whether a stage that goes on reads the ones that it has begun with.

use super::session::Session;
use crate::checkpoint::{Fingerprint, StageRecord, differences, goes_with};
use crate::data::Split;
use crate::data::hub::DatasetId;
use crate::data::source::of_split;
use crate::error::{Error, Result};
use crate::recipe::{PlannedStage, Stage, texts};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use toml::Table;

/// Keys of models and files that a stage consults and does not learn from: a run that goes on may name others.
const CONSULTED: [&str; 6] = [
    "reward.*.model",
    "reward.*.model_without",
    "eval.measures.*.model",
    "eval.measures.*.model_without",
    "rollout.variants.from",
    "rollout.tree.schema.rubrics",
];

impl Session {
    /// The files that a stage learns from and begins with, as they are now, by what the recipe calls them.
    pub(super) fn inputs(&self, stage: &Stage) -> Result<BTreeMap<String, Fingerprint>> {
        let (data, mut files) = (&stage.data, Vec::new());
        let sources = [(&data.train, Split::Train), (&data.eval, Split::Eval)];
        let shots = data.template.few_shot_from.iter().map(|from| (from, Split::Train));
        for (sources, split) in sources.into_iter().chain(shots) {
            for source in &sources.0 {
                if let Some(of_split) = of_split(source) {
                    files.extend(of_split.into_iter().map(|file| (file.display().to_string(), file)));
                    continue;
                }
                if !source.starts_with("hub:") {
                    files.push((source.clone(), PathBuf::from(source)));
                    continue;
                }
                for file in self.hub.dataset(&DatasetId::parse(source)?, split)? {
                    let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
                    files.push((format!("{source}: {name}"), file));
                }
            }
        }
        if let Some(model) = &stage.policy.model {
            files.push((model.clone(), self.hub.model(model)?));
        }
        files.extend(
            stage.policy.steer.iter().map(|steered| (steered.from.clone(), PathBuf::from(&steered.from))),
        );
        // What is missing is named, with its key, by who opens it.
        files.retain(|(_, path)| path.is_file() || path.is_dir());
        self.fingerprints(files)
    }

    /// The models and files that a stage's rewards, measures and sources consult, as they are now, by what its `table` calls them.
    pub(super) fn consulted(&self, table: &Table) -> Result<BTreeMap<String, Fingerprint>> {
        let mut files = Vec::new();
        for text in texts(table, &CONSULTED) {
            let file = PathBuf::from(&text);
            // Where nothing is called so here, it is the hub's, or who opens it says what is wrong.
            let path = if file.exists() { Some(file) } else { self.hub.model(&text).ok() };
            // Of a folder that is no model's own, such as a whole run's, nobody knows what is read.
            let whole = |path: &PathBuf| path.is_file() || path.join("config.json").is_file();
            files.extend(path.filter(whole).map(|path| (text, path)));
        }
        self.fingerprints(files)
    }

    /// Of these files and folders, by their names; what the run itself made goes where the run goes.
    fn fingerprints(&self, mut files: Vec<(String, PathBuf)>) -> Result<BTreeMap<String, Fingerprint>> {
        let own = format!("{}/", self.dir.path().display());
        for (name, _) in &mut files {
            *name = name.strip_prefix(&own).map_or(name.clone(), str::to_string);
        }
        Fingerprint::of_all(&files)
    }
}

/// The files, folders and models that a stage with this table reads, as its recipe names them.
fn named(stage: &Stage, table: &Table) -> Vec<String> {
    let data = &stage.data;
    let sources = [Some(&data.train), Some(&data.eval), data.template.few_shot_from.as_ref()];
    let rows = sources.into_iter().flatten().flat_map(|sources| sources.0.iter().cloned());
    let steered = stage.policy.steer.iter().map(|steered| steered.from.clone());
    rows.chain(stage.policy.model.clone()).chain(steered).chain(texts(table, &CONSULTED)).collect()
}

/// Refuses to replace the run in `folder` by one that reads of it: its recipe, its rows or its models would be gone before they are read.
pub(super) fn reads_none_of<'a>(
    folder: &Path,
    recipe: &Path,
    stages: impl Iterator<Item = (&'a Stage, &'a Table)>,
) -> Result<()> {
    let recipe = recipe.display().to_string();
    let all = stages.flat_map(|(stage, table)| named(stage, table)).chain([recipe]);
    let found: BTreeSet<String> = all.filter(|name| goes_with(folder, Path::new(name))).collect();
    if found.is_empty() {
        return Ok(());
    }
    let found: Vec<String> = found.into_iter().collect();
    Err(Error::Checkpoint(format!(
        "{} {} to the run in {} that --overwrite replaces, and would be gone before the new one reads it; choose another --out, or copy it elsewhere first",
        found.join(", "),
        if found.len() == 1 { "belongs" } else { "belong" },
        folder.display()
    )))
}

/// Refuses a stage that has begun with other files than there are now.
pub(super) fn same_inputs(
    stage: &str,
    begun: &BTreeMap<String, Fingerprint>,
    now: &BTreeMap<String, Fingerprint>,
) -> Result<()> {
    same(stage, &differences(begun, now))
}

fn same(stage: &str, found: &[String]) -> Result<()> {
    if found.is_empty() {
        return Ok(());
    }
    Err(Error::Checkpoint(format!(
        "stage `{stage}` has begun with other files:\n  {}\nput back what they were, or start a new run: another --out, and \
         policy.model set to one of this run's checkpoints to go on from its weights",
        found.join("\n  ")
    )))
}

/// The same of what a stage consults: rewards and measures may change while a run goes on, so that only what it consulted then and still
/// does is looked at.
pub(super) fn same_consulted(
    stage: &str,
    begun: &BTreeMap<String, Fingerprint>,
    now: &BTreeMap<String, Fingerprint>,
) -> Result<()> {
    let in_both = |all: &BTreeMap<String, Fingerprint>, other: &BTreeMap<String, Fingerprint>| {
        let both = all.iter().filter(|(name, _)| other.contains_key(*name));
        both.map(|(name, print)| (name.clone(), print.clone())).collect::<BTreeMap<_, _>>()
    };
    same_inputs(stage, &in_both(begun, now), &in_both(now, begun))
}

/// The same as far as its files can be looked at before the stage opens: those that the recipe names by their paths.
pub(super) fn same_files(record: &StageRecord, plan: &[PlannedStage]) -> Result<()> {
    same(&record.stage, &other_files(record, plan)?)
}

/// How the files that the recipe names by their paths differ from those that a stage has read, a file a line.
pub(super) fn other_files(record: &StageRecord, plan: &[PlannedStage]) -> Result<Vec<String>> {
    let own = |planned: &&PlannedStage| (&planned.stage.name, planned.round) == (&record.stage, record.round);
    let named =
        plan.iter().find(own).map_or_else(Vec::new, |planned| texts(&planned.stage.table, &CONSULTED));
    let still = |name: &str| {
        let inside =
            |text: &String| name.strip_prefix(text.as_str()).is_some_and(|rest| rest.starts_with('/'));
        named.iter().any(|text| text == name || inside(text))
    };
    let consulted = record.consulted.iter().filter(|(name, _)| still(name));
    let there = |(name, _): &(&String, &Fingerprint)| Path::new(name).exists();
    let begun: BTreeMap<String, Fingerprint> = record
        .inputs
        .iter()
        .chain(consulted)
        .filter(there)
        .map(|(name, print)| (name.clone(), print.clone()))
        .collect();
    let files: Vec<(String, PathBuf)> =
        begun.keys().map(|name| (name.clone(), PathBuf::from(name))).collect();
    Ok(differences(&begun, &Fingerprint::of_all(&files)?))
}
