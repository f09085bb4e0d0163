//! A model as a command line names it: a run, a checkpoint, a folder, a hub id; with what the run's recipe says of its questions.

use crate::checkpoint::{Saved, is_run, no_such_folder, only_files};
use crate::data::{Data, Hub};
use crate::devices::Devices;
use crate::engine::Sampling;
use crate::error::{Error, Result};
use crate::policy::{Dtype, Policy};
use crate::ranks::Local;
use crate::recipe::{Recipe, Registry, Stage};
use crate::run;
use clap::Args;
use std::path::{Path, PathBuf};

/// Which model, and where it runs.
#[derive(Debug, Clone, Args)]
pub(super) struct Model {
    /// A run's folder (its newest checkpoint), a checkpoint's or another model's folder, or a hub id (owner/name).
    #[arg(value_name = "RUN|MODEL")]
    model: String,
    /// Where it runs: auto, cpu or cuda:N.
    #[arg(long, default_value = "auto")]
    device: String,
    /// CPU threads [default: all cores].
    #[arg(long)]
    threads: Option<usize>,
}

/// How it is asked, over what the run's recipe says.
#[derive(Debug, Clone, Args)]
pub(super) struct Asking {
    /// What the system turn says [default: as in the run's recipe].
    #[arg(long, value_name = "TEXT")]
    system: Option<String>,
    /// Sampling temperature; 0 takes the most likely token [default: as in the run's recipe, or else 1].
    #[arg(long)]
    temperature: Option<f64>,
    /// Draw from the fewest tokens that hold this much probability.
    #[arg(long)]
    top_p: Option<f64>,
    /// The longest answer, in tokens [default: as in the run's recipe, or else 512].
    #[arg(long, value_name = "TOKENS")]
    max_new_tokens: Option<usize>,
    /// What the answers are drawn from.
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
}

/// The folder of a model, and what is known of how it was trained.
pub(super) struct Found {
    /// Where its weights are.
    pub folder: PathBuf,
    /// How its questions were rendered.
    pub data: Data,
    /// How it was sampled.
    pub sampling: Sampling,
    /// The seed of its run, which draws the solved rows that its questions show.
    pub run_seed: u64,
    /// What reads more.
    pub hub: Hub,
}

impl Model {
    /// Finds it; a hub model is fetched.
    ///
    /// # Errors
    /// That there is none of that name.
    pub fn find(&self, registry: &Registry) -> Result<Found> {
        let hub = Hub::from_env();
        let path = Path::new(&self.model);
        if path.is_dir() {
            only_files(path)?;
            path.parent().filter(|run| is_run(run)).map_or(Ok(()), only_files)?;
        }
        if path.is_dir() && is_run(path) && Saved::newest_model(path)?.is_none() {
            return Err(Error::Checkpoint(format!("{} has no checkpoint with a model yet", path.display())));
        }
        let saved = match Saved::newest_model(path).ok().flatten() {
            Some(newest) => Some(newest),
            None => Saved::open(path).ok(),
        };
        let (mut data, mut sampling, mut run_seed) = (Data::default(), Sampling::default(), 0);
        if let Some(saved) = &saved
            && let Some(stage) = stage_of(saved, registry)?
        {
            (data, sampling, run_seed) = (stage.data.clone(), stage.policy.sampling.clone(), stage.run.seed);
        }
        let folder = match saved {
            Some(saved) => saved.path,
            None if hub.lacks_folder(&self.model) => return Err(no_such_folder(path)),
            None if !path.exists() && !Hub::names_model(&self.model) => return Err(no_such_folder(path)),
            None => hub.model(&self.model).map_err(|error| nowhere(path, error))?,
        };
        Ok(Found { folder, data, sampling, run_seed, hub })
    }

    /// What it is called: the name of the folder that was named, or the hub's id.
    pub fn name(&self) -> String {
        let path = Path::new(&self.model);
        let named = |path: &Path| path.file_name().map(|name| name.to_string_lossy().into_owned());
        match path.is_dir() {
            true => named(path).or_else(|| named(&path.canonicalize().ok()?)).unwrap_or("model".into()),
            false => self.model.clone(),
        }
    }

    /// Loads it, for `slots` answers at once.
    ///
    /// # Errors
    /// A device that there is not; a folder that is no model's, or that of a reward model, which writes nothing.
    pub fn load(&self, found: &Found, slots: usize) -> Result<Policy> {
        let devices = Devices { policy: self.device.clone(), threads: self.threads, ..Devices::default() };
        let device = devices.open(Local::ALONE)?.policy;
        let policy = Policy::load(&found.folder, Dtype::Auto.kind(device), device, slots)?;
        if policy.model.score.is_some() {
            let folder = found.folder.display();
            return Err(Error::Model(format!("{folder} is a reward model: it scores texts and writes none")));
        }
        Ok(policy)
    }
}

impl Asking {
    /// Puts what is asked for over what the recipe says; a model without a chat template is asked in plain text.
    ///
    /// # Errors
    /// Values that cannot be used.
    pub fn apply(&self, found: &mut Found, policy: &Policy) -> Result<()> {
        if let Some(system) = &self.system {
            found.data.template.system = Some(system.as_str().into());
        }
        found.data.template.chat &= policy.tokenizer.has_chat();
        let sampling = &mut found.sampling;
        sampling.temperature = self.temperature.unwrap_or(sampling.temperature);
        sampling.top_p = self.top_p.unwrap_or(sampling.top_p);
        // A short context leaves room for a question all the same.
        let most = (policy.context() / 2).max(1);
        let given = self.max_new_tokens.unwrap_or(sampling.max_new_tokens.min(most));
        sampling.max_new_tokens = given;
        sampling.validate()
    }
}

/// What the hub says of a name that no folder has: more often than not a run's was meant.
fn nowhere(path: &Path, error: Error) -> Error {
    match error {
        Error::Model(what) if !path.exists() => {
            Error::Model(format!("{}\n  as a model of the hub: {what}", no_such_folder(path).what()))
        }
        error => error,
    }
}

/// The stage of its run that made a checkpoint; none where it lies in no run.
///
/// # Errors
/// The run's recipe is gone or damaged, so that nobody knows how its questions were put.
fn stage_of(saved: &Saved, registry: &Registry) -> Result<Option<Stage>> {
    let Some(run) = saved.path.parent().filter(|run| is_run(run)) else { return Ok(None) };
    let recipe = run::recipe_of(run).ok_or_else(|| {
        Error::Checkpoint(format!(
            "{}/recipe.toml is gone, which says how this run's questions were put; copy the checkpoint out of the run to ask it in its own \
             chat template alone",
            run.display()
        ))
    })?;
    let recipe = Recipe::read(&recipe, &[])?;
    let table = recipe.stages().iter().find(|table| table.name == saved.state.progress.stage);
    // Rewards that this program does not know, or files that are gone, are nothing to a question.
    Ok(table.and_then(|table| Stage::attempt(&recipe, table, registry).0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_folder_is_not_looked_for_on_the_hub() {
        let around = tempfile::tempdir().unwrap();
        std::fs::create_dir(around.path().join("mine")).unwrap();
        let of = |name: &str| Model { model: name.to_owned(), device: "cpu".into(), threads: None };
        let path = around.path().join("mime");
        let said = match of(&path.to_string_lossy()).find(&Registry::default()) {
            Err(error) => error.to_string(),
            Ok(_) => panic!("there is no such folder"),
        };
        let meant = around.path().join("mine");
        let expected = format!("{}: no such folder; did you mean {}?", path.display(), meant.display());
        assert!(said.contains(&expected), "{said}");
        let beyond = match of("runs/of/mine").find(&Registry::default()) {
            Err(error) => error.to_string(),
            Ok(_) => panic!("there is no such folder"),
        };
        assert!(beyond.contains("runs/of/mine: no such folder; `train list` shows the runs"), "{beyond}");
        let elsewhere = around.path().join("elsewhere");
        let said = nowhere(&elsewhere, Error::Model("it is not in the cache".into())).to_string();
        let expected = format!(
            "model: {}: no such folder; `train list` shows the runs\n  as a model of the hub: it is not in the cache",
            elsewhere.display()
        );
        assert_eq!(said, expected);
        let hub = Hub::from_env();
        assert!(hub.lacks_folder("checkpoints/min") && hub.lacks_folder("./min"));
        assert!(!hub.lacks_folder("owner/name") && !hub.lacks_folder("name"));
        assert_eq!(of(&meant.to_string_lossy()).name(), "mine");
        assert_eq!(of(&format!("{}/", meant.display())).name(), "mine");
        assert_eq!(of("owner/name").name(), "owner/name");
    }
}
