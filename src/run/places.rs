//! Where a run keeps what its stages left, and what a recipe's `"@stage"` stands for.

use super::session::Session;
use super::stage::Opened;
use super::summary::Evaluation;
use crate::checkpoint::{Mode, RunDir, Saved, write_atomic};
use crate::error::{Error, Result};
use crate::log::JsonLines;
use crate::recipe::{Args, Stage};
use std::path::{Path, PathBuf};

/// What the name of a stage's file of pairs has beside that of its traces.
pub(super) const PAIRS: &str = "-pairs";

/// A stage's name in file names: with its round where there are several.
pub(super) fn label(name: &str, round: usize) -> String {
    if round == 1 { name.to_string() } else { format!("{name}-r{round}") }
}

/// The run's directory, made or taken over, with the resolved recipe in it.
pub(super) fn claim(path: &Path, args: &Args, resolved: &str) -> Result<RunDir> {
    let mode = match (args.resume, args.overwrite) {
        (true, _) => Mode::Resume,
        (_, true) => Mode::Overwrite,
        _ => Mode::Fresh,
    };
    let dir = RunDir::create(path, mode)?;
    let file = dir.path().join("recipe.toml");
    if args.resume
        && let Ok(before) = std::fs::read_to_string(&file)
        && body(&before) != body(resolved)
    {
        tracing::warn!(
            "the recipe is not the one that this run began with; what it says now holds from here on"
        );
    }
    write_atomic(&file, resolved.as_bytes())?;
    if !args.quiet {
        eprintln!("run: {}", dir.path().display());
    }
    Ok(dir)
}

/// A resolved recipe without the comments that say where it comes from.
fn body(recipe: &str) -> String {
    recipe.lines().filter(|line| !line.starts_with('#')).collect::<Vec<_>>().join("\n")
}

impl Session {
    /// The file of what the stage's method has had kept.
    pub(super) fn keeping(&self, opened: &Opened) -> PathBuf {
        let label = label(&opened.name, opened.round);
        self.dir.path().join("reference").join(format!("{label}.safetensors"))
    }

    /// The file of a stage's traces or, by `what`, of its pairs.
    pub(super) fn traces_of(&self, name: &str, round: usize, what: &str) -> PathBuf {
        self.dir.path().join("traces").join(format!("{}{what}.jsonl", label(name, round)))
    }

    /// The run's evaluations so far.
    pub(super) fn evaluations(&self) -> Result<Vec<Evaluation>> {
        JsonLines::read_as(&self.dir.path().join("evaluations.jsonl"))
    }

    /// The newest checkpoint of a stage in a round.
    pub(super) fn saved(&self, name: &str, round: usize) -> Result<Option<Saved>> {
        let of_stage =
            |saved: &Saved| saved.state.progress.stage == name && saved.state.progress.round == round;
        Ok(self.dir.checkpoints()?.into_iter().rfind(of_stage))
    }

    /// What `"@target"` stands for at `path`: the stage's newest checkpoint, or its newest traces, or, of
    /// `"@target/pairs"`, its newest pairs.
    pub(super) fn product(&self, path: &str, target: &str) -> Result<String> {
        let (target, what) = match target.split_once('/') {
            None => (target, ""),
            Some((target, "pairs")) if !path.ends_with(".model") => (target, PAIRS),
            Some((target, other)) => {
                return Err(Error::Recipe(format!(
                    "{path} = \"@{target}/{other}\": a stage has no `{other}` there; known: @{target}, and for data @{target}/pairs"
                )));
            }
        };
        // Not one under way: where a stage goes on from its own result of the round before, that is what is meant.
        let of_stage = |saved: &Saved| saved.state.progress.stage == target && saved.state.progress.last;
        let saved = self.dir.checkpoints()?.into_iter().rfind(of_stage).ok_or_else(|| {
            Error::Checkpoint(format!("{path} = \"@{target}\": this run has no result of stage `{target}`"))
        })?;
        let found = if path.ends_with(".model") {
            saved.path
        } else {
            self.traces_of(target, saved.state.progress.round, what)
        };
        Ok(found.to_string_lossy().into_owned())
    }

    /// `policy.model` may name the directory of another run: its newest checkpoint is meant.
    pub(super) fn use_newest_checkpoint(&self, stage: &mut Stage) -> Result<()> {
        if let Some(model) = &stage.policy.model
            && let Some(saved) = Saved::newest_model(model)?
        {
            stage.policy.model = Some(saved.path.to_string_lossy().into_owned());
        }
        Ok(())
    }
}
